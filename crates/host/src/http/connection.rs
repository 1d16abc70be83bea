//! One connection, from its first byte to its last: HTTP/1 or HTTP/2, by what the client speaks.

use std::{future::Future, io, pin::pin, sync::Arc, time::Duration};

use hyper::{
    Request,
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{
    service::{ConnectionService, Entry},
    socket::Peer,
    wire::{HEAD_TIMEOUT, Protocol, Wire},
};
use crate::serving::Serving;

/// Streams of one HTTP/2 connection at a time, as many as nginx allows. One read may bring a request on each, and
/// all of them are begun before another connection is looked at.
const H2_STREAMS: u32 = 128;
/// Bytes of the headers of one HTTP/2 request.
const H2_HEADER_BYTES: u32 = super::head::HEAD_BYTES as u32;
/// How often an HTTP/2 client is asked whether it is there, and how long it may take to say so.
const H2_PING: Duration = Duration::from_secs(30);
const H2_PONG: Duration = Duration::from_secs(20);

/// Serves a connection until the client, the protocol or `stop` ends it. After `stop` the requests
/// in flight are still answered.
pub(crate) async fn serve<T: Peer>(
    io: T,
    serving: Arc<Serving>,
    entry: Entry,
    stop: CancellationToken,
) {
    let opened = tokio::select! {
        opened = timeout(HEAD_TIMEOUT, Wire::open(io)) => opened,
        () = stop.cancelled() => return,
    };
    // A client that says nothing gets no answer.
    let Ok(Ok((wire, protocol))) = opened else {
        return;
    };
    let service = Arc::new(ConnectionService {
        serving,
        entry,
        signals: wire.signals(),
    });
    let answer = service_fn(move |request: Request<Incoming>| service.clone().answer(request));
    let io = TokioIo::new(wire);
    let result = match protocol {
        Protocol::Http1 => {
            let connection = http1::Builder::new()
                // The wire watches the time of heads, for less.
                .header_read_timeout(None)
                .serve_connection(io, answer);
            run(connection, |c| c.graceful_shutdown(), stop).await
        }
        Protocol::Http2 => {
            let connection = http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .max_concurrent_streams(H2_STREAMS)
                .max_header_list_size(H2_HEADER_BYTES)
                .keep_alive_interval(H2_PING)
                .keep_alive_timeout(H2_PONG)
                .serve_connection(io, answer);
            run(connection, |c| c.graceful_shutdown(), stop).await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a connection ended early");
    }
}

async fn run<C>(
    connection: C,
    stop_gracefully: impl FnOnce(std::pin::Pin<&mut C>),
    stop: CancellationToken,
) -> Result<(), hyper::Error>
where
    C: Future<Output = Result<(), hyper::Error>>,
{
    let mut connection = pin!(connection);
    tokio::select! {
        result = connection.as_mut() => return result,
        () = stop.cancelled() => {}
    }
    stop_gracefully(connection.as_mut());
    connection.await
}

/// Whether accepting failed because of that one connection, so that the next may do.
pub(crate) fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}
