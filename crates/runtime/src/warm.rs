//! Instances that wait for work, and go when they have waited for too long.
//!
//! Each thread has those that it used last: what an instance touches is in the cache of that thread's processor.

use std::{
    collections::VecDeque,
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{runtime::Handle, time::Instant};

use crate::{apart::Apart, guest::GuestInner, instance::Instance};

/// The idle instances of one guest.
#[derive(Default)]
pub(crate) struct WarmInstances {
    /// Made when the first one is kept.
    shelves: OnceLock<Apart<Shelf>>,
    /// How many there are. One is counted before it is there, and until it is gone.
    count: AtomicUsize,
    /// Whether a task waits for the oldest one's time.
    is_watched: AtomicBool,
}

/// Those of one thread. The one that has waited longest comes first.
type Shelf = Mutex<VecDeque<(Instance, Instant)>>;

impl WarmInstances {
    /// The instance that the calling thread used last: its memory is warm. One of another thread's, if it has none.
    pub(crate) fn take(&self) -> Option<Instance> {
        if self.count() == 0 {
            return None;
        }
        let mut shelves = self.shelves.get()?.all();
        let (instance, _) = shelves.find_map(|shelf| shelf.lock().pop_back())?;
        self.count.fetch_sub(1, SeqCst);
        Some(instance)
    }

    /// The instance that has waited longest.
    pub(crate) fn take_oldest(&self) -> Option<Instance> {
        loop {
            let (shelf, since) = self.oldest()?;
            if let Some(instance) = self.take_that_waits_since(shelf, since) {
                return Some(instance);
            }
        }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.count.load(SeqCst)
    }

    /// Keeps an instance, unless there are enough.
    pub(crate) fn put(&self, guest: &Arc<GuestInner>, instance: Instance) {
        let pool = guest.pool();
        let count = self.count.fetch_add(1, SeqCst);
        if count >= pool.size as usize {
            self.count.fetch_sub(1, SeqCst);
            return;
        }
        let shelf = self.shelves.get_or_init(Apart::default).here();
        shelf.lock().push_back((instance, Instant::now()));
        let may_go = count >= pool.reclaim_min_instances as usize;
        if pool.reclaim_window_seconds > 0
            && may_go
            && !self.is_watched.load(SeqCst)
            && let Ok(runtime) = Handle::try_current()
            && !self.is_watched.swap(true, SeqCst)
        {
            runtime.spawn(watch(Arc::downgrade(guest)));
        }
    }

    /// The shelf of the instance that has waited longest, and since when that has.
    fn oldest(&self) -> Option<(&Shelf, Instant)> {
        let shelves = self.shelves.get()?.all();
        let firsts = shelves.filter_map(|shelf| Some((shelf, shelf.lock().front()?.1)));
        firsts.min_by_key(|(_, since)| *since)
    }

    /// The first instance of a shelf, if it is still the one that was found there.
    fn take_that_waits_since(&self, shelf: &Shelf, since: Instant) -> Option<Instance> {
        let mut shelf = shelf.lock();
        shelf
            .pop_front_if(|(_, waits_since)| *waits_since == since)
            .map(|(instance, _)| {
                self.count.fetch_sub(1, SeqCst);
                instance
            })
    }

    /// Takes out those that have waited for `window`, as long as `least` are left. Returns them,
    /// and when the next one's time comes.
    fn expired(&self, window: Duration, least: usize) -> (Vec<Instance>, Option<Instant>) {
        let mut gone = Vec::new();
        loop {
            while self.count() > least
                && let Some((shelf, since)) = self.oldest()
            {
                let until = since + window;
                if until > Instant::now() {
                    return (gone, Some(until));
                }
                gone.extend(self.take_that_waits_since(shelf, since));
            }
            self.is_watched.store(false, SeqCst);
            // One that came meanwhile has found it watched.
            let is_left = self.count() > least && self.oldest().is_some();
            if !is_left || self.is_watched.swap(true, SeqCst) {
                return (gone, None);
            }
        }
    }
}

/// Ends instances as their time comes, until there are none that may go.
async fn watch(guest: Weak<GuestInner>) {
    while let Some(guest) = guest.upgrade() {
        let pool = guest.pool();
        let window = Duration::from_secs(pool.reclaim_window_seconds.into());
        let (gone, next) = guest
            .warm()
            .expired(window, pool.reclaim_min_instances as usize);
        guest.count_reclaimed(gone.len() as u64);
        drop(gone);
        let Some(next) = next else {
            return;
        };
        // An idle instance must not keep its guest.
        drop(guest);
        tokio::time::sleep_until(next).await;
    }
}
