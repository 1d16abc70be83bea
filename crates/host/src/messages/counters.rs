//! What became of a worker's messages.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use parking_lot::Mutex;
use waft_runtime::CallError;

/// Messages by what became of them.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    handled: AtomicU64,
    /// Locked for failures only.
    failed: Mutex<BTreeMap<&'static str, u64>>,
    /// Those that were lost because too many waited.
    pub(crate) lost: Arc<AtomicU64>,
}

impl Counters {
    pub(crate) fn handled(&self) {
        self.handled.fetch_add(1, Relaxed);
    }

    pub(crate) fn failed(&self, reason: &'static str) {
        *self.failed.lock().entry(reason).or_default() += 1;
    }

    /// All of them, with `Handled` first.
    pub(crate) fn all(&self) -> Vec<(&'static str, u64)> {
        let mut failed = self.failed.lock().clone();
        let lost = self.lost.load(Relaxed);
        if lost > 0 {
            *failed.entry(CallError::QueueFull.reason()).or_default() += lost;
        }
        let mut all = vec![("Handled", self.handled.load(Relaxed))];
        all.extend(failed);
        all
    }
}
