//! What comes for a component that isn't a request, whatever it comes from.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

use async_trait::async_trait;
use waft_runtime::Delivery;

/// Counts what one component lost because too much waited for it.
#[derive(Debug)]
pub(crate) struct Losses {
    count: Arc<AtomicU64>,
    /// Whether the last one that came was lost.
    is_behind: AtomicBool,
}

impl Losses {
    /// Adds to this count.
    pub(crate) fn new(count: Arc<AtomicU64>) -> Self {
        Self {
            count,
            is_behind: AtomicBool::new(false),
        }
    }

    /// Notes whether one that came was lost. Returns whether that is worth a line of the log: for
    /// those that are lost after it, it is enough.
    pub(crate) fn note(&self, is_lost: bool) -> bool {
        if is_lost {
            self.count.fetch_add(1, Relaxed);
        }
        let was_behind = self.is_behind.swap(is_lost, Relaxed);
        is_lost && !was_behind
    }
}

/// Deliveries as they come. Dropping it leaves at once.
#[async_trait]
pub trait Source: Send {
    /// The next one; `None` once it was drained and all is handed out. Dropping the future loses
    /// none.
    async fn next(&mut self) -> Option<Delivery>;

    /// One that need not be waited for, if it can be told.
    fn try_next(&mut self) -> Option<Delivery> {
        None
    }

    /// Takes in what comes while there is nobody to hand it to, if what is not taken in is lost.
    /// Never ends; dropping the future loses nothing.
    async fn gather(&mut self) {
        std::future::pending().await
    }

    /// Lets no more come.
    async fn drain(&mut self);
}
