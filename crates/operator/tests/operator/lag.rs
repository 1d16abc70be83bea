//! A client that learns of one kind later than of all others: each kind has a watch of its own, and
//! nothing orders them. Or one that misses what happened, and lists.

use std::sync::Arc;

use futures::StreamExt as _;
use http::Request;
use http_body_util::{BodyStream, StreamBody};
use kube::client::{Body, Client};
use tokio::sync::watch;
use tower::{ServiceExt as _, service_fn};
use waft_apiserver::ApiServer;

use crate::world::within;

/// The watch that lags.
pub(crate) struct Lag {
    /// How it is.
    state: watch::Sender<State>,
    /// Whether it was begun.
    begun: watch::Sender<bool>,
    /// Paths of single objects of the kind that were asked for.
    asked: watch::Sender<Vec<String>>,
}

/// How a watch is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// It tells nothing.
    Lags,
    /// It tells what has happened.
    CaughtUp,
    /// What has happened is told no more; a new watch tells what follows.
    Expired,
}

/// What a watch ends with whose place in the history is gone.
const EXPIRED: &str = concat!(
    r#"{"type": "ERROR", "object": {"kind": "Status", "apiVersion": "v1", "metadata": {}, "#,
    r#""status": "Failure", "reason": "Expired", "code": 410, "message": "too old"}}"#,
    "\n"
);

impl Lag {
    /// A client whose watch of a resource, for example `configmaps`, tells nothing until
    /// [`catch_up`](Self::catch_up). Lists and single objects are as they are.
    pub(crate) fn of(resource: &str, server: &Arc<ApiServer>) -> (Self, Client) {
        let lag = Self {
            state: watch::Sender::new(State::Lags),
            begun: watch::Sender::default(),
            asked: watch::Sender::default(),
        };
        let (state, begun, asked) = (lag.state.clone(), lag.begun.clone(), lag.asked.clone());
        let (all, one) = (format!("/{resource}"), format!("/{resource}/"));
        let service = server.service();
        let client = service_fn(move |request: Request<Body>| {
            let uri = request.uri();
            let watches = uri.query().is_some_and(|query| query.contains("watch="));
            let lags = watches && uri.path().ends_with(&all) && *state.borrow() == State::Lags;
            if request.method() == http::Method::GET && uri.path().contains(&one) {
                asked.send_modify(|asked| asked.push(uri.path().to_owned()));
            }
            begun.send_modify(|begun| *begun |= lags);
            let state = state.subscribe();
            let answer = service.clone().oneshot(request);
            async move {
                let answer = answer.await?;
                Ok::<_, std::convert::Infallible>(answer.map(|body| {
                    StreamBody::new(BodyStream::new(body).then(move |frame| {
                        let mut state = state.clone();
                        async move {
                            if !lags {
                                return frame;
                            }
                            match state
                                .wait_for(|state| *state != State::Lags)
                                .await
                                .as_deref()
                            {
                                Ok(State::Expired) => {
                                    frame.map(|frame| frame.map_data(|_| EXPIRED.into()))
                                }
                                // An error: the test is over.
                                _ => frame,
                            }
                        }
                    }))
                }))
            }
        });
        (lag, Client::new(client, "default"))
    }

    /// Waits until an object of the kind was asked for by its name.
    pub(crate) async fn asked(&self, name: &str) {
        let mut asked = self.asked.subscribe();
        let path = format!("/{name}");
        let found = asked.wait_for(|asked| asked.iter().any(|asked| asked.ends_with(&path)));
        within(found, &format!("the API server is asked for {name}"))
            .await
            .unwrap();
    }

    /// Waits until the watch begins: what was there before is known.
    pub(crate) async fn begun(&self) {
        let mut begun = self.begun.subscribe();
        let found = begun.wait_for(|begun| *begun);
        within(found, "the watch begins").await.unwrap();
    }

    /// Lets the watch tell what has happened.
    pub(crate) fn catch_up(&self) {
        self.state.send_replace(State::CaughtUp);
    }

    /// Ends the watch with what it has not told.
    pub(crate) fn expire(&self) {
        self.state.send_replace(State::Expired);
    }
}
