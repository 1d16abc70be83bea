//! Room for instances on the host: who has idle ones, and who waits for one to end.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};
use wasmtime::PoolConcurrencyLimitError;

use crate::{guest::GuestInner, stats::Counters};

/// All guests of an engine, so that one that needs room can have what another keeps idle.
#[derive(Default)]
pub(crate) struct Neighbours {
    guests: Mutex<Vec<Weak<GuestInner>>>,
    room: Arc<Room>,
}

/// Told whenever an instance has ended, or is idle and so may be ended.
#[derive(Debug, Default)]
pub(crate) struct Room {
    waiting: AtomicUsize,
    change: Notify,
}

/// Tells that an instance has ended, by being dropped behind it.
#[derive(Debug)]
pub(crate) struct Occupied(Arc<Room>);

/// The way of one new instance to its place.
pub(crate) struct Search<'a> {
    guest: &'a GuestInner,
    waiting: Option<Waiting<'a>>,
}

/// Counts somebody who waits for room.
struct Waiting<'a> {
    guest: &'a GuestInner,
    until: Instant,
}

impl Neighbours {
    pub(crate) fn add(&self, guest: &Arc<GuestInner>) {
        let mut guests = self.guests.lock();
        // Tidied when it would grow, so that a start costs the same however many there are.
        if guests.len() == guests.capacity() {
            guests.retain(|known| known.strong_count() > 0);
        }
        guests.push(Arc::downgrade(guest));
    }

    /// The mark of an instance that is about to be made.
    pub(crate) fn occupy(&self) -> Occupied {
        Occupied(self.room.clone())
    }

    /// Tells who waits that there is one more idle instance.
    pub(crate) fn has_idle(&self) {
        self.room.changed();
    }

    /// Ends one idle instance, of the guest that keeps the most. Returns whether there was one.
    fn reclaim_idle(&self) -> bool {
        let guests: Vec<_> = {
            let guests = self.guests.lock();
            guests.iter().filter_map(Weak::upgrade).collect()
        };
        let idle = guests.iter().map(|guest| (guest.idle(), guest));
        let most = idle.max_by_key(|(idle, _)| *idle);
        most.is_some_and(|(idle, guest)| idle > 0 && guest.reclaim_idle())
    }
}

impl Room {
    fn changed(&self) {
        // Nobody waits as a rule, and then this is all it costs.
        if self.waiting.load(SeqCst) > 0 {
            self.change.notify_one();
        }
    }
}

impl Drop for Occupied {
    fn drop(&mut self) {
        self.0.changed();
    }
}

impl<'a> Search<'a> {
    pub(crate) fn new(guest: &'a GuestInner) -> Self {
        Self {
            guest,
            waiting: None,
        }
    }

    /// Whether it is worth trying again after `result`, at once or after having waited: for the
    /// end of an idle instance, or of one that works.
    pub(crate) async fn again<T>(&mut self, result: &wasmtime::Result<T>) -> bool {
        let is_full = |error: &wasmtime::Error| error.is::<PoolConcurrencyLimitError>();
        if !result.as_ref().err().is_some_and(is_full) {
            return false;
        }
        let Some(waiting) = &self.waiting else {
            // What ended before this was counted has told nobody, so that one more look is due.
            self.waiting = Some(Waiting::new(self.guest));
            return true;
        };
        let neighbours = self.guest.neighbours();
        if neighbours.reclaim_idle() {
            return true;
        }
        let change = neighbours.room.change.notified();
        timeout_at(waiting.until, change).await.is_ok()
    }
}

impl<'a> Waiting<'a> {
    fn new(guest: &'a GuestInner) -> Self {
        guest.neighbours().room.waiting.fetch_add(1, SeqCst);
        Counters::add(&guest.counters.queued);
        let patience = guest.limits().queue_timeout;
        let now = Instant::now();
        // Longer than anybody waits, where the sum is no time.
        let forever = Duration::from_secs(1 << 30);
        Self {
            guest,
            until: now.checked_add(patience).unwrap_or(now + forever),
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.guest.neighbours().room.waiting.fetch_sub(1, SeqCst);
        Counters::sub(&self.guest.counters.queued);
    }
}
