//! How many calls of one guest run, how many wait, and for how long.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::CallError;

/// The places of one guest and the queue before them.
pub(crate) struct Admission {
    places: Arc<Semaphore>,
    total: u32,
    queue: u64,
    patience: Duration,
}

/// Counts a waiting call for as long as it waits, however the waiting ends.
struct Waiting<'a>(&'a AtomicU64);

impl Admission {
    pub(crate) fn new(places: u32, queue: u32, patience: Duration) -> Self {
        let total = places.max(1);
        Self {
            places: Arc::new(Semaphore::new(total as usize)),
            total,
            queue: queue.into(),
            patience,
        }
    }

    /// Takes a place if there is one, and nobody waits for it.
    pub(crate) fn try_enter(&self) -> Option<OwnedSemaphorePermit> {
        self.places.clone().try_acquire_owned().ok()
    }

    /// Takes a place, first come first served. `waiting` counts those in the queue.
    pub(crate) async fn enter(
        &self,
        waiting: &AtomicU64,
    ) -> Result<OwnedSemaphorePermit, CallError> {
        if let Some(place) = self.try_enter() {
            return Ok(place);
        }
        let ahead = waiting.fetch_add(1, Relaxed);
        let _waiting = Waiting(waiting);
        if ahead >= self.queue {
            return Err(CallError::QueueFull);
        }
        match tokio::time::timeout(self.patience, self.places.clone().acquire_owned()).await {
            Ok(Ok(place)) => Ok(place),
            Ok(Err(_)) => Err(CallError::InstanceLost),
            Err(_) => Err(CallError::QueueTimeout),
        }
    }

    /// Calls that may run at a time.
    pub(crate) fn places(&self) -> u32 {
        self.total
    }

    /// Waits until no call runs.
    pub(crate) async fn drained(&self) {
        let _ = self.places.acquire_many(self.total).await;
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waits_in_a_bounded_queue_for_a_bounded_time() {
        let waiting = AtomicU64::new(0);
        let admission = Admission::new(1, 1, Duration::from_secs(1));
        let first = admission.enter(&waiting).await.unwrap();
        let (second, third) = tokio::join!(admission.enter(&waiting), admission.enter(&waiting));
        assert_eq!(second.unwrap_err(), CallError::QueueTimeout);
        assert_eq!(third.unwrap_err(), CallError::QueueFull);
        assert_eq!(waiting.load(Relaxed), 0);
        let (second, ()) = tokio::join!(admission.enter(&waiting), async { drop(first) });
        drop(second.unwrap());
        admission.drained().await;
    }
}
