//! What a connection's bytes and its service tell each other.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU32, Ordering},
};

use parking_lot::Mutex;

use crate::reason::Reason;

/// Shared by the bytes and the service of one connection.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    /// Requests that the service works on, until the last byte of their answers.
    active: AtomicU32,
    /// Requests that the service has begun.
    begun: AtomicU32,
    /// The number of the substitute among the requests, and what is wrong with the real one.
    refused: Mutex<Option<(u32, Reason)>>,
    /// Other connections go before the next request.
    gives_way: AtomicBool,
}

/// Marks one request as worked on.
#[derive(Debug)]
pub(crate) struct Active(Arc<Signals>);

impl Signals {
    /// Counts a request in. The reason is there if it is a substitute for a refused one.
    pub(crate) fn begin(self: &Arc<Self>) -> (Active, Option<Reason>) {
        self.active.fetch_add(1, Ordering::Relaxed);
        let number = self.begun.fetch_add(1, Ordering::Relaxed);
        let refused = *self.refused.lock();
        let reason = refused.filter(|(at, _)| *at == number).map(|(_, r)| r);
        (Active(self.clone()), reason)
    }

    /// Has a request refused, by its number.
    pub(super) fn refuse(&self, number: u32, reason: Reason) {
        *self.refused.lock() = Some((number, reason));
    }

    /// Says whether other connections go before the next request.
    pub(crate) fn give_way(&self, gives_way: bool) {
        self.gives_way.store(gives_way, Ordering::Relaxed);
    }

    pub(super) fn gives_way(&self) -> bool {
        self.gives_way.load(Ordering::Relaxed)
    }

    /// Whether the service works on a request.
    pub(super) fn is_active(&self) -> bool {
        self.active.load(Ordering::Relaxed) > 0
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::Relaxed);
    }
}
