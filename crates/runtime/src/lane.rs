//! Where guests run: in the task that called them, and, while they compute for long, in threads of
//! their own that stand behind all others. One that then waits for something comes back. A call that
//! takes much memory goes there at once and stays until it ends, for the kernel works for it that long.
//! Calls of a guest that often traps begin there: ending an instance and making the next one is work too.
//!
//! A guest gives way at each tick, but with as many guests that compute as there are threads, every
//! other request waits for a tick. Behind them, it waits for nobody.

use std::{
    future::Future,
    pin::Pin,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use tokio::{runtime::Handle, task::JoinHandle};

use crate::{CallError, RunError, epoch::Metered};

/// How long a guest may compute at a stretch before it goes on behind all others. What most requests
/// take ends before. One that has just come back may not: waiting for a moment now and then is no way
/// to stay before the others.
const LONG: Duration = Duration::from_millis(5);

/// How often a guest's calls trap: each trap counts, and is forgotten as others end well.
#[derive(Debug, Default)]
pub(crate) struct Traps(AtomicU32);

/// A future of guest code. It runs in the task that polls it unless it computes for long. Dropping it
/// ends it, in the slow threads at the next tick.
pub(crate) struct Driver<T> {
    near: Option<Metered<T>>,
    /// Whether it has yet to go behind, before it does anything.
    begins_behind: bool,
    far: Option<JoinHandle<Back<T>>>,
    /// When it last came back.
    back: Option<Instant>,
}

/// Guest code in the slow threads, until it ends or waits for anything but its turn; one that has taken
/// much memory, until it ends.
struct Behind<T> {
    metered: Option<Metered<T>>,
    /// Where it came from. What it starts belongs there: sockets, timers and tasks outlast its
    /// computing, and tasks that connections share are not its own.
    origin: Handle,
}

/// What comes back from the slow threads.
enum Back<T> {
    Ended(T),
    Waits(Metered<T>),
}

/// What becomes of a guest whose threads are gone: the host is shutting down.
pub(crate) trait Lost {
    fn lost() -> Self;
}

impl Lost for () {
    fn lost() {}
}

impl<T> Lost for Result<T, CallError> {
    fn lost() -> Self {
        Err(CallError::InstanceLost)
    }
}

impl Lost for Result<(), RunError> {
    fn lost() -> Self {
        Err(RunError::HostFailed)
    }
}

impl Traps {
    /// So many calls that end well make up for one trap.
    const WEIGHT: u32 = 8;
    /// From here on calls begin behind: after four traps in a row.
    const OFTEN: u32 = 4 * Self::WEIGHT;
    /// No more is remembered, so that a guest that has been mended comes back soon.
    const MOST: u32 = 2 * Self::OFTEN;

    /// Counts a call that trapped.
    pub(crate) fn trapped(&self) {
        let more = |score: u32| Some((score + Self::WEIGHT).min(Self::MOST));
        let _ = self.0.fetch_update(Relaxed, Relaxed, more);
    }

    /// Counts a call that ended well.
    pub(crate) fn went_well(&self) {
        // Nearly always there is nothing to forget, and nothing that all calls write to.
        if self.0.load(Relaxed) > 0 {
            let less = |score: u32| score.checked_sub(1);
            let _ = self.0.fetch_update(Relaxed, Relaxed, less);
        }
    }

    /// Whether they trap so often that the next one is to begin behind all others.
    pub(crate) fn are_often(&self) -> bool {
        self.0.load(Relaxed) >= Self::OFTEN
    }
}

impl<T> Driver<T> {
    pub(crate) fn new(metered: Metered<T>, begins_behind: bool) -> Self {
        Self {
            near: Some(metered),
            begins_behind,
            far: None,
            back: None,
        }
    }

    /// Whether it goes on in threads of its own.
    pub(crate) fn is_far(&self) -> bool {
        self.far.is_some()
    }

    /// Ends it. When this is ready nothing of it is left, wherever it was.
    pub(crate) async fn end(&mut self) {
        self.near = None;
        if let Some(far) = &mut self.far {
            far.abort();
            // What it ended with is of no interest any more.
            let _ = far.await;
        }
        self.far = None;
    }

    /// Whether a guest that has computed for so long, and does still, goes on behind all others.
    fn is_long(&self, stretch: Duration, is_heavy: bool) -> bool {
        let has_just_come = || self.back.is_some_and(|back| back.elapsed() < LONG);
        stretch >= LONG || !stretch.is_zero() && (is_heavy || has_just_come())
    }
}

impl<T: Send + 'static> Driver<T> {
    /// Has it go on in the slow threads, if there are any.
    fn go_behind(&mut self) {
        let Some(near) = self.near.take() else {
            return;
        };
        let meter = near.meter().clone();
        match (meter.lane().threads(), Handle::try_current()) {
            (Some(threads), Ok(origin)) => {
                let metered = Some(near);
                self.far = Some(threads.spawn(Behind { metered, origin }));
            }
            _ => self.near = Some(near),
        }
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
        if std::mem::take(&mut this.begins_behind) {
            this.go_behind();
        }
        loop {
            if let Some(near) = &mut this.near {
                let polled = Pin::new(&mut *near).poll(cx);
                let (stretch, is_heavy) = (near.stretch(), near.is_heavy());
                if polled.is_ready() || !this.is_long(stretch, is_heavy) {
                    return polled;
                }
                this.go_behind();
            }
            let Some(far) = &mut this.far else {
                // It stays, and has asked for its turn.
                return Poll::Pending;
            };
            let back = ready!(Pin::new(far).poll(cx));
            this.far = None;
            match back {
                Ok(Back::Ended(value)) => return Poll::Ready(value),
                // It is polled here at once: what it waits for has to know whom to wake.
                Ok(Back::Waits(metered)) => {
                    this.near = Some(metered);
                    this.back = Some(Instant::now());
                }
                Err(error) => match error.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    Err(_) => return Poll::Ready(T::lost()),
                },
            }
        }
    }
}

impl<T> Future for Behind<T> {
    type Output = Back<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Back<T>> {
        let Self { metered, origin } = &mut *self;
        let _there = origin.enter();
        let polled = metered.as_mut().map(|metered| {
            let polled = Pin::new(&mut *metered).poll(cx);
            // The memory that it has taken is cleaned here as well, when its call has ended.
            let waits = metered.stretch().is_zero() && !metered.is_heavy();
            (polled, waits)
        });
        match polled {
            Some((Poll::Ready(value), _)) => {
                *metered = None;
                Poll::Ready(Back::Ended(value))
            }
            Some((Poll::Pending, true)) => match metered.take() {
                Some(metered) => Poll::Ready(Back::Waits(metered)),
                None => Poll::Pending,
            },
            // Nobody polls it again once it was ready.
            Some((Poll::Pending, false)) | None => Poll::Pending,
        }
    }
}

impl<T> Drop for Behind<T> {
    fn drop(&mut self) {
        // What a guest leaves behind may start tasks as it ends.
        let _there = self.origin.enter();
        self.metered = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traps_are_often_until_many_more_calls_end_well() {
        let traps = Traps::default();
        traps.went_well();
        for _ in 0..3 {
            traps.trapped();
        }
        assert!(!traps.are_often());
        for _ in 0..100 {
            traps.trapped();
        }
        let calls = (0..100).position(|_| {
            traps.went_well();
            !traps.are_often()
        });
        assert_eq!(calls, Some(32));
        // One in nine keeps it where it is, one in ten doesn't.
        for _ in 0..50 {
            traps.trapped();
            (0..8).for_each(|_| traps.went_well());
        }
        traps.trapped();
        assert!(traps.are_often());
        for _ in 0..50 {
            (0..9).for_each(|_| traps.went_well());
            traps.trapped();
        }
        assert!(!traps.are_often());
    }
}
