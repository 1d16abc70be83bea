//! The body of a response: while it is read its connection is in use, afterwards it waits for the
//! next request.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use wasmtime_wasi_http::{Error, WasiBody};

use crate::body::without_forbidden;

use super::{
    Network,
    patience::Patience,
    pool::{Key, Protocol, Sender, of_hyper},
};

/// How long a server may take until its connection can be used again.
const UNTIL_READY: Duration = Duration::from_secs(1);

struct Received {
    inner: Incoming,
    connection: Option<Connection>,
    patience: Patience,
}

struct Connection {
    sender: Sender,
    key: Key,
    network: Arc<Network>,
}

/// The response, with a body that gives the connection back.
pub(super) fn receive(
    response: Response<Incoming>,
    sender: Sender,
    key: Key,
    network: Arc<Network>,
    between_bytes: Duration,
) -> Response<WasiBody> {
    let connection = Connection {
        sender,
        key,
        network,
    };
    response.map(|inner| {
        let mut body = Received {
            inner,
            connection: Some(connection),
            patience: Patience::new(between_bytes),
        };
        if body.inner.is_end_stream() {
            body.give_back();
        }
        body.boxed_unsync()
    })
}

impl Received {
    fn give_back(&mut self) {
        let Some(mut connection) = self.connection.take() else {
            return;
        };
        if connection.sender.protocol() == Protocol::Http2 {
            // The pool has it; this was one of those who use it.
            return;
        }
        if connection.sender.is_ready() {
            return connection.keep();
        }
        tokio::spawn(async move {
            let ready = connection.sender.ready();
            if let Ok(true) = tokio::time::timeout(UNTIL_READY, ready).await {
                connection.keep();
            }
        });
    }
}

impl Connection {
    fn keep(self) {
        self.network.pool().give(self.key, self.sender);
    }
}

impl Body for Received {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match Pin::new(&mut self.inner).poll_frame(cx) {
            Poll::Ready(frame) => {
                self.patience.renew();
                if frame.is_none() || self.inner.is_end_stream() {
                    self.give_back();
                }
                Poll::Ready(frame.map(|frame| frame.map(without_forbidden).map_err(of_hyper)))
            }
            Poll::Pending => {
                ready!(self.patience.poll_end(cx));
                self.connection = None;
                Poll::Ready(Some(Err(Error::ConnectionReadTimeout)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
