//! Connections of one guest: those that wait for another request, and those of HTTP/2, which take
//! several at a time.

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
/// Requests that share one connection of HTTP/2 at a time. Servers allow more; this many streams
/// that nobody reads are what the connection has room for, so that they hold up no other.
pub(super) const STREAMS: u32 = 16;

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
    Http2(Shared),
}

/// One that several requests use at the same time: each has a clone until its response has ended.
#[derive(Clone)]
pub(super) struct Shared {
    sender: http2::SendRequest<WasiBody>,
    users: Arc<()>,
}

/// How a connection speaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

/// The connections that take another request.
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
    /// A connection for a request, the one used last. One that is shared stays for others.
    pub(super) fn take(&self, key: &Key) -> Option<Sender> {
        let mut waiting = self.0.waiting.lock();
        waiting.retain(|one| !one.sender.is_closed());
        let at = waiting
            .iter()
            .rposition(|one| one.key == *key && one.sender.is_ready())?;
        if let Some(shared) = waiting[at].sender.shared() {
            waiting[at].since = Instant::now();
            return Some(shared);
        }
        Some(waiting.remove(at).sender)
    }

    /// Keeps a connection for the next request, or the next ones where it is shared.
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
            .filter(|(_, one)| !one.sender.is_used())
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
                waiting.retain(|one| {
                    let is_fresh = one.sender.is_used() || one.since.elapsed() < IDLE;
                    is_fresh && !one.sender.is_closed()
                });
                if waiting.is_empty() {
                    inner.is_tidied.store(false, SeqCst);
                    return;
                }
            }
        });
    }
}

impl From<http2::SendRequest<WasiBody>> for Sender {
    fn from(sender: http2::SendRequest<WasiBody>) -> Self {
        let users = Arc::default();
        Self::Http2(Shared { sender, users })
    }
}

impl Sender {
    /// The same connection for others, if it is one that is shared.
    pub(super) fn shared(&self) -> Option<Self> {
        match self {
            Self::Http1(_) => None,
            Self::Http2(shared) => Some(Self::Http2(shared.clone())),
        }
    }

    /// Whether anybody has it beside the pool.
    fn is_used(&self) -> bool {
        match self {
            Self::Http1(_) => false,
            Self::Http2(shared) => shared.users() > 0,
        }
    }

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
            Self::Http2(shared) => shared.sender.try_send_request(request).await,
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
            Self::Http2(shared) => shared.sender.ready().await.is_ok(),
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        match self {
            Self::Http1(sender) => sender.is_ready(),
            Self::Http2(shared) => shared.sender.is_ready() && shared.users() < STREAMS as usize,
        }
    }

    fn is_closed(&self) -> bool {
        match self {
            Self::Http1(sender) => sender.is_closed(),
            Self::Http2(shared) => shared.sender.is_closed(),
        }
    }
}

impl Shared {
    /// Requests that use it, seen from the pool, which has one clone itself.
    fn users(&self) -> usize {
        Arc::strong_count(&self.users) - 1
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
