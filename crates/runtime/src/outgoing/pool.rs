//! Connections of one guest, those that wait for another request.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use http::{Request, Response};
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http1, http2},
};
use parking_lot::Mutex;
use wasmtime_wasi_http::{Error, WasiBody};

/// How long a connection waits for another request.
const IDLE: Duration = Duration::from_secs(60);
/// Connections that wait for the same server.
const IDLE_PER_SERVER: usize = 32;

/// What a connection was made for; only requests for the same use it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Key {
    pub(super) tls: bool,
    pub(super) host: String,
    pub(super) port: u16,
    /// HTTP/2 without asking.
    pub(super) prior_knowledge: bool,
}

/// A connection that takes a request.
pub(super) enum Sender {
    Http1(http1::SendRequest<WasiBody>),
    Http2(http2::SendRequest<WasiBody>),
}

/// How a connection speaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

/// The connections that wait.
#[derive(Clone, Default)]
pub(super) struct Pool(Arc<Inner>);

#[derive(Default)]
struct Inner {
    waiting: Mutex<Vec<Waiting>>,
    is_tidied: AtomicBool,
}

struct Waiting {
    key: Key,
    sender: Sender,
    since: Instant,
}

impl Pool {
    /// A connection for a request, the one used last. One that speaks HTTP/2 stays for others.
    pub(super) fn take(&self, key: &Key) -> Option<Sender> {
        let mut waiting = self.0.waiting.lock();
        waiting.retain(|one| !one.sender.is_closed());
        let at = waiting
            .iter()
            .rposition(|one| one.key == *key && one.sender.is_ready())?;
        if let Sender::Http2(sender) = &waiting[at].sender {
            let sender = sender.clone();
            waiting[at].since = Instant::now();
            return Some(Sender::Http2(sender));
        }
        Some(waiting.remove(at).sender)
    }

    /// Keeps a connection for the next request.
    pub(super) fn give(&self, key: Key, sender: Sender) {
        if sender.is_closed() {
            return;
        }
        let mut waiting = self.0.waiting.lock();
        waiting.retain(|one| !one.sender.is_closed());
        if waiting.iter().filter(|one| one.key == key).count() >= IDLE_PER_SERVER {
            return;
        }
        waiting.push(Waiting {
            key,
            sender,
            since: Instant::now(),
        });
        drop(waiting);
        self.tidy();
    }

    /// Gives up the connection that has waited longest, to make room. `false`: none waits.
    pub(super) fn evict(&self) -> bool {
        let mut waiting = self.0.waiting.lock();
        let oldest = waiting
            .iter()
            .enumerate()
            .min_by_key(|(_, one)| one.since)
            .map(|(at, _)| at);
        oldest.map(|at| waiting.swap_remove(at)).is_some()
    }

    /// Closes what waits too long, as long as anything waits.
    fn tidy(&self) {
        if self.0.is_tidied.swap(true, SeqCst) {
            return;
        }
        let inner = Arc::downgrade(&self.0);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(IDLE).await;
                let Some(inner) = inner.upgrade() else { return };
                let mut waiting = inner.waiting.lock();
                waiting.retain(|one| !one.sender.is_closed() && one.since.elapsed() < IDLE);
                if waiting.is_empty() {
                    inner.is_tidied.store(false, SeqCst);
                    return;
                }
            }
        });
    }
}

impl Sender {
    pub(super) fn protocol(&self) -> Protocol {
        match self {
            Self::Http1(_) => Protocol::Http1,
            Self::Http2(_) => Protocol::Http2,
        }
    }

    /// Sends a request. If it fails before anything was sent, the request comes back.
    pub(super) async fn send(
        &mut self,
        request: Request<WasiBody>,
    ) -> Result<Response<Incoming>, (Error, Option<Box<Request<WasiBody>>>)> {
        let sent = match self {
            Self::Http1(sender) => sender.try_send_request(request).await,
            Self::Http2(sender) => sender.try_send_request(request).await,
        };
        sent.map_err(|mut error: TrySendError<Request<WasiBody>>| {
            let back = error.take_message().map(Box::new);
            (of_hyper(error.into_error()), back)
        })
    }

    /// Waits until another request may be sent. `false`: never.
    pub(super) async fn ready(&mut self) -> bool {
        match self {
            Self::Http1(sender) => sender.ready().await.is_ok(),
            Self::Http2(sender) => sender.ready().await.is_ok(),
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        match self {
            Self::Http1(sender) => sender.is_ready(),
            Self::Http2(sender) => sender.is_ready(),
        }
    }

    fn is_closed(&self) -> bool {
        match self {
            Self::Http1(sender) => sender.is_closed(),
            Self::Http2(sender) => sender.is_closed(),
        }
    }
}

/// The interface's error for what went wrong on a connection.
pub(super) fn of_hyper(error: hyper::Error) -> Error {
    if error.is_timeout() {
        Error::ConnectionReadTimeout
    } else if error.is_parse_too_large() {
        Error::HttpResponseHeaderSectionSize(None)
    } else if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
        Error::ConnectionTerminated
    } else {
        Error::HttpProtocolError
    }
}
