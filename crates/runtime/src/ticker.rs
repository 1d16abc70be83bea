//! The thread that advances the engines' epochs while guests run, so that they are interrupted.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{
            AtomicBool, AtomicU32, AtomicUsize,
            Ordering::{Relaxed, SeqCst},
        },
    },
    thread::{self, Thread},
    time::Duration,
};

use wasmtime::{Engine, EngineWeak};

use crate::apart::Apart;

/// How often a running guest is interrupted: to let others on the same thread have their turn, and
/// to compare its time with its budget.
pub(crate) const TICK: Duration = Duration::from_millis(1);

/// Ticks without a running guest after which the ticker goes to sleep. Waking it costs a system
/// call, which requests that follow each other closely should not pay.
const TICKS_BEFORE_SLEEP: u32 = 50;

/// The thread that advances the epoch. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Ticker(Arc<TickerState>);

#[derive(Debug, Default)]
struct TickerState {
    /// Guests being polled right now, by the thread that does so.
    running: Apart<AtomicUsize>,
    asleep: AtomicBool,
    stop: AtomicBool,
    thread: OnceLock<Thread>,
    ticks: Ticks,
}

/// Read by each call, and written by the ticker alone: apart from what all calls write to.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Ticks(AtomicU32);

impl Ticker {
    pub(crate) fn start(engines: &[&Engine]) -> std::io::Result<Self> {
        let state = Arc::new(TickerState::default());
        let engines: Vec<_> = engines.iter().map(|engine| engine.weak()).collect();
        let shared = state.clone();
        let handle = thread::Builder::new()
            .name("waft-epoch".into())
            .spawn(move || shared.run(&engines))?;
        let _ = state.thread.set(handle.thread().clone());
        // The thread may have parked before its handle was known; a token makes it look again.
        handle.thread().unpark();
        Ok(Self(state))
    }

    /// Counts a guest in that is polled now, by the calling thread.
    pub(crate) fn enter(&self) {
        self.0.running.here().fetch_add(1, SeqCst);
        if self.0.asleep.load(SeqCst) {
            self.0.wake();
        }
    }

    /// Counts it out, by the same thread.
    pub(crate) fn leave(&self) {
        self.0.running.here().fetch_sub(1, SeqCst);
    }

    /// Ticks so far. They come while guests run, and for a while after.
    pub(crate) fn ticks(&self) -> u32 {
        self.0.ticks.0.load(Relaxed)
    }

    #[cfg(test)]
    fn is_asleep(&self) -> bool {
        self.0.asleep.load(SeqCst)
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.0.stop.store(true, SeqCst);
        self.0.wake();
    }
}

impl TickerState {
    fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    /// Whether no guest is being polled. Who has seen the announcement that this thread sleeps wakes it.
    fn is_idle(&self) -> bool {
        self.running.all().all(|here| here.load(SeqCst) == 0)
    }

    fn run(&self, engines: &[EngineWeak]) {
        let mut idle = 0;
        while !self.stop.load(SeqCst) {
            thread::sleep(TICK);
            self.ticks.0.fetch_add(1, Relaxed);
            for engine in engines {
                let Some(engine) = engine.upgrade() else {
                    return;
                };
                engine.increment_epoch();
            }
            idle = match self.is_idle() {
                true => idle + 1,
                false => 0,
            };
            if idle < TICKS_BEFORE_SLEEP {
                continue;
            }
            // Announced first, checked again afterwards: a guest that starts in between either
            // sees the announcement and wakes this thread, or is seen here.
            self.asleep.store(true, SeqCst);
            while self.is_idle() && !self.stop.load(SeqCst) {
                thread::park();
            }
            self.asleep.store(false, SeqCst);
            idle = 0;
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Instant;

    use super::*;

    /// Fails when it has waited for too long.
    pub(crate) fn wait_until(condition: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !condition() {
            assert!(Instant::now() < deadline, "waited in vain");
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn sleeps_while_no_guest_runs_and_wakes_when_one_does() {
        let engine = Engine::default();
        let ticker = Ticker::start(&[&engine]).unwrap();
        wait_until(|| ticker.is_asleep());
        ticker.enter();
        wait_until(|| !ticker.is_asleep());
        ticker.leave();
        wait_until(|| ticker.is_asleep());
    }
}
