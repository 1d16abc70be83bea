//! A client that learns of one kind later than of all others: each kind has a watch of its own, and
//! nothing orders them.

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
    /// Whether it has caught up.
    caught_up: watch::Sender<bool>,
    /// Paths of single objects of the kind that were asked for.
    asked: watch::Sender<Vec<String>>,
}

impl Lag {
    /// A client whose watch of a resource, for example `configmaps`, tells nothing until
    /// [`catch_up`](Self::catch_up). Lists and single objects are as they are.
    pub(crate) fn of(resource: &str, server: &Arc<ApiServer>) -> (Self, Client) {
        let lag = Self {
            caught_up: watch::Sender::new(false),
            asked: watch::Sender::default(),
        };
        let (caught_up, asked) = (lag.caught_up.clone(), lag.asked.clone());
        let (all, one) = (format!("/{resource}"), format!("/{resource}/"));
        let service = server.service();
        let client = service_fn(move |request: Request<Body>| {
            let uri = request.uri();
            let watches = uri.query().is_some_and(|query| query.contains("watch="));
            let lags = watches && uri.path().ends_with(&all);
            if request.method() == http::Method::GET && uri.path().contains(&one) {
                asked.send_modify(|asked| asked.push(uri.path().to_owned()));
            }
            let caught_up = caught_up.subscribe();
            let answer = service.clone().oneshot(request);
            async move {
                let answer = answer.await?;
                Ok::<_, std::convert::Infallible>(answer.map(|body| {
                    StreamBody::new(BodyStream::new(body).then(move |frame| {
                        let mut caught_up = caught_up.clone();
                        async move {
                            if lags {
                                // An error: the test is over.
                                let _ = caught_up.wait_for(|caught_up| *caught_up).await;
                            }
                            frame
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

    /// Lets the watch tell what has happened.
    pub(crate) fn catch_up(&self) {
        self.caught_up.send_replace(true);
    }
}
