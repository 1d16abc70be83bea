//! Instances that wait for work, and go when they have waited for too long.

use std::{
    collections::VecDeque,
    sync::{Arc, Weak},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{runtime::Handle, time::Instant};

use crate::{guest::GuestInner, instance::Instance};

/// The idle instances of one guest.
#[derive(Default)]
pub(crate) struct WarmInstances(Mutex<Idle>);

#[derive(Default)]
struct Idle {
    /// The one that has waited longest comes first.
    instances: VecDeque<(Instance, Instant)>,
    /// Whether a task waits for the first one's time.
    is_watched: bool,
}

impl WarmInstances {
    /// The instance that was used last: its memory is warm.
    pub(crate) fn take(&self) -> Option<Instance> {
        Some(self.0.lock().instances.pop_back()?.0)
    }

    /// The instance that has waited longest.
    pub(crate) fn take_oldest(&self) -> Option<Instance> {
        Some(self.0.lock().instances.pop_front()?.0)
    }

    /// Keeps an instance, unless there are enough. Returns whether it was kept.
    pub(crate) fn put(&self, guest: &Arc<GuestInner>, instance: Instance) -> bool {
        let pool = guest.pool();
        let mut idle = self.0.lock();
        if idle.instances.len() >= pool.size as usize {
            // Dropped behind the lock.
            drop(idle);
            drop(instance);
            return false;
        }
        idle.instances.push_back((instance, Instant::now()));
        let may_go = idle.instances.len() > pool.reclaim_min_instances as usize;
        if pool.reclaim_window_seconds > 0
            && may_go
            && !idle.is_watched
            && let Ok(runtime) = Handle::try_current()
        {
            idle.is_watched = true;
            runtime.spawn(watch(Arc::downgrade(guest)));
        }
        true
    }

    /// Takes out those that have waited for `window`, as long as `least` are left. Returns them,
    /// and when the next one's time comes.
    fn expired(&self, window: Duration, least: usize) -> (Vec<Instance>, Option<Instant>) {
        let mut idle = self.0.lock();
        let mut gone = Vec::new();
        while idle.instances.len() > least
            && let Some((_, since)) = idle.instances.front()
        {
            let until = *since + window;
            if until > Instant::now() {
                return (gone, Some(until));
            }
            gone.extend(idle.instances.pop_front().map(|(instance, _)| instance));
        }
        idle.is_watched = false;
        (gone, None)
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
