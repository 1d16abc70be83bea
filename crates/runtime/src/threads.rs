//! The threads of an engine beside those of requests: the one that interrupts guests, and those in which
//! guests go on that compute for long.

use std::sync::OnceLock;

use tokio::runtime::{Builder, Runtime};

use crate::{compile::lower_priority, ticker::Ticker};

/// Nice value of the threads for guests that compute. When all processors are wanted by others too,
/// these get about a tenth of them.
const NICENESS: i32 = 10;

/// All of them.
#[derive(Debug)]
pub(crate) struct Threads {
    pub(crate) ticker: Ticker,
    pub(crate) lane: SlowLane,
}

/// Threads for guests that compute, as many as there are processors. They are started when the first
/// is needed.
#[derive(Debug, Default)]
pub(crate) struct SlowLane(OnceLock<Option<Runtime>>);

impl SlowLane {
    /// `None`: no threads could be started, and guests stay where they are.
    pub(crate) fn threads(&self) -> Option<&Runtime> {
        let start = || {
            let started = Builder::new_multi_thread()
                .thread_name("waft-slow")
                .on_thread_start(|| lower_priority(NICENESS))
                .build();
            if let Err(error) = &started {
                tracing::warn!(%error, "can't start threads for guests that compute");
            }
            started.ok()
        };
        self.0.get_or_init(start).as_ref()
    }
}

impl Drop for SlowLane {
    fn drop(&mut self) {
        // Waiting for its threads is not possible within a task.
        if let Some(Some(threads)) = self.0.take() {
            threads.shutdown_background();
        }
    }
}
