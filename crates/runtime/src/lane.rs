//! Where guests run: in the task that called them, and, once they have computed for long, in threads
//! of their own that stand behind all others.
//!
//! A guest gives way at each tick, but with as many guests that compute as there are threads, every
//! other request waits for a tick. Behind them, it waits for nobody.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    runtime::{Builder, Runtime},
    task::JoinHandle,
};

use crate::{CallError, compile::lower_priority, epoch::Metered};

/// How long a guest may compute at a stretch before it goes on behind all others. What most requests
/// take ends before.
const LONG: Duration = Duration::from_millis(5);

/// Nice value of the threads for guests that compute. When all processors are wanted by others too,
/// these get about a tenth of them.
const NICENESS: i32 = 10;

/// Threads for guests that compute, as many as there are processors. They are started when the first
/// is needed.
#[derive(Debug, Default)]
pub(crate) struct SlowLane(OnceLock<Option<Runtime>>);

/// A future of guest code. It stays in the task that polls it unless it computes for long. Dropping
/// it ends it.
pub(crate) struct Driver<T> {
    near: Option<Metered<T>>,
    far: Option<JoinHandle<T>>,
    lane: Arc<SlowLane>,
}

/// What becomes of a guest whose threads are gone: the host is shutting down.
pub(crate) trait Lost {
    fn lost() -> Self;
}

impl Lost for () {
    fn lost() {}
}

impl Lost for Result<(), CallError> {
    fn lost() -> Self {
        Err(CallError::InstanceLost)
    }
}

impl SlowLane {
    /// `None`: no threads could be started, and guests stay where they are.
    fn threads(&self) -> Option<&Runtime> {
        let start = || {
            let started = Builder::new_multi_thread()
                .thread_name("waft-slow")
                .on_thread_start(|| lower_priority(NICENESS))
                .enable_all()
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

impl<T> Driver<T> {
    pub(crate) fn new(metered: Metered<T>, lane: Arc<SlowLane>) -> Self {
        Self {
            near: Some(metered),
            far: None,
            lane,
        }
    }

    /// Whether it goes on in threads of its own.
    pub(crate) fn is_far(&self) -> bool {
        self.far.is_some()
    }
}

impl<T> Drop for Driver<T> {
    fn drop(&mut self) {
        if let Some(far) = &self.far {
            far.abort();
        }
    }
}

impl<T: Lost + Send + 'static> Future for Driver<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let this = &mut *self;
        if let Some(near) = &mut this.near {
            let polled = Pin::new(&mut *near).poll(cx);
            if polled.is_ready() || near.stretch() < LONG {
                return polled;
            }
            let Some(threads) = this.lane.threads() else {
                return polled;
            };
            let near = this.near.take();
            this.far = near.map(|near| threads.spawn(near));
        }
        let Some(far) = &mut this.far else {
            return Poll::Ready(T::lost());
        };
        let ended = ready!(Pin::new(far).poll(cx));
        this.far = None;
        Poll::Ready(match ended {
            Ok(value) => value,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => T::lost(),
            },
        })
    }
}
