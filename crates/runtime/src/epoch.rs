//! Processor time: a meter of how long one call's guest code has run.
//!
//! Time is what passes while a call is being polled. Time spent waiting (for a body, a timer, its
//! turn on the thread) is nobody's.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use tokio::time::{Sleep, sleep};
use wasmtime::{Engine, EngineWeak, Store, UpdateDeadline};

use crate::{
    Ctx,
    error::CpuTimeExceeded,
    quota::Quota,
    threads::{SlowLane, Threads},
    ticker::TICK,
};

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Nanoseconds since the process first asked.
fn now() -> u64 {
    START.elapsed().as_nanos() as u64
}

/// The processor time of one instance's current call.
pub(crate) struct Meter {
    used: AtomicU64,
    poll_began: AtomicU64,
    budget: AtomicU64,
    /// Whether the running poll ends because others should have their turn.
    gave_way: AtomicBool,
    /// Nanoseconds used since the guest waited for anything but its turn.
    stretch: AtomicU64,
    /// The current call has taken much memory.
    is_heavy: AtomicBool,
    engine: EngineWeak,
    threads: Arc<Threads>,
    /// What all instances may use together.
    quota: Option<Arc<Quota>>,
    /// Up to when the running poll was charged to it.
    charged_until: AtomicU64,
}

/// A future of guest code: it is metered, and the ticker runs while it is polled.
pub(crate) struct Metered<T> {
    inner: Pin<Box<dyn Future<Output = T> + Send>>,
    meter: Arc<Meter>,
    /// The quota is used up until then.
    pause: Option<Pin<Box<Sleep>>>,
}

impl Meter {
    pub(crate) fn new(engine: &Engine, threads: Arc<Threads>, quota: Option<Arc<Quota>>) -> Self {
        Self {
            used: AtomicU64::default(),
            poll_began: AtomicU64::default(),
            budget: AtomicU64::default(),
            gave_way: AtomicBool::default(),
            stretch: AtomicU64::default(),
            is_heavy: AtomicBool::default(),
            engine: engine.weak(),
            threads,
            quota,
            charged_until: AtomicU64::default(),
        }
    }

    /// Starts a new call with a budget.
    pub(crate) fn begin_call(&self, budget: Duration) {
        self.used.store(0, Relaxed);
        let budget = u64::try_from(budget.as_nanos()).unwrap_or(u64::MAX);
        self.budget.store(budget, Relaxed);
        self.is_heavy.store(false, Relaxed);
    }

    /// Where what it meters goes on when it computes for long.
    pub(crate) fn lane(&self) -> &SlowLane {
        &self.threads.lane
    }

    /// Notes that the call has taken much memory, and has it give way at once. What goes on for as
    /// long as its workload is no call.
    pub(crate) fn takes_much(&self) {
        if self.budget.load(Relaxed) == u64::MAX || self.is_heavy.swap(true, Relaxed) {
            return;
        }
        // A tick before its time. Other guests have not run for long and go on.
        if let Some(engine) = self.engine.upgrade() {
            engine.increment_epoch();
        }
    }

    /// Nanoseconds used by the current call, the running poll not counted.
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Relaxed)
    }

    /// Takes what was used so far, the running poll counted, and starts from zero.
    pub(crate) fn take(&self) -> u64 {
        let now = now();
        let running = now.saturating_sub(self.poll_began.swap(now, Relaxed));
        self.used.swap(0, Relaxed) + running
    }

    fn in_this_poll(&self) -> u64 {
        now().saturating_sub(self.poll_began.load(Relaxed))
    }

    fn begin_poll(&self) {
        let now = now();
        self.poll_began.store(now, Relaxed);
        self.charged_until.store(now, Relaxed);
    }

    fn end_poll(&self) {
        let poll = self.in_this_poll();
        self.used.fetch_add(poll, Relaxed);
        let stretch = match self.gave_way.swap(false, Relaxed) {
            true => self.stretch.load(Relaxed) + poll,
            false => 0,
        };
        self.stretch.store(stretch, Relaxed);
        self.charge();
    }

    /// Charges the running poll to the quota.
    fn charge(&self) {
        if let Some(quota) = &self.quota {
            let now = now();
            let since = self.charged_until.swap(now, Relaxed);
            quota.charge(now.saturating_sub(since), now);
        }
    }

    /// How long the guest has to wait for its quota.
    fn must_wait(&self) -> Option<Duration> {
        self.quota.as_ref()?.wait(now())
    }

    /// What a guest does that meets a tick: stop when its budget is used up, give way when it has
    /// run for a while, go on otherwise.
    fn on_tick(&self) -> wasmtime::Result<UpdateDeadline> {
        let poll = self.in_this_poll();
        if self.used().saturating_add(poll) > self.budget.load(Relaxed) {
            return Err(CpuTimeExceeded.into());
        }
        self.charge();
        if let Some(wait) = self.must_wait() {
            self.gave_way.store(true, Relaxed);
            return Ok(UpdateDeadline::YieldCustom(1, Box::pin(sleep(wait))));
        }
        if poll < TICK.as_nanos() as u64 / 2 && !self.is_heavy.load(Relaxed) {
            return Ok(UpdateDeadline::Continue(1));
        }
        self.gave_way.store(true, Relaxed);
        // A plain yield wakes the task at once and runs it again before others had their turn.
        Ok(UpdateDeadline::YieldCustom(
            1,
            Box::pin(tokio::task::yield_now()),
        ))
    }

    /// Work of the current call, which ends here if it goes on past its budget. What only the host does
    /// for a guest, as from one stream into another, meets no tick.
    ///
    /// The work stays where it is pinned: taken over, it would lie twice in the future of its call, which is
    /// copied when it is boxed.
    pub(crate) fn within<T>(
        &self,
        mut work: Pin<&mut impl Future<Output = wasmtime::Result<T>>>,
    ) -> impl Future<Output = wasmtime::Result<T>> {
        poll_fn(move |cx| match self.used() > self.budget.load(Relaxed) {
            true => Poll::Ready(Err(CpuTimeExceeded.into())),
            false => work.as_mut().poll(cx),
        })
    }

    /// Makes a store ask this meter at each tick.
    pub(crate) fn watch(self: &Arc<Self>, store: &mut Store<Ctx>) {
        let meter = self.clone();
        store.epoch_deadline_callback(move |_| meter.on_tick());
        store.set_epoch_deadline(1);
    }
}

impl<T> Metered<T> {
    /// For how long the guest has computed without waiting for anything but its turn.
    pub(crate) fn stretch(&self) -> Duration {
        Duration::from_nanos(self.meter.stretch.load(Relaxed))
    }

    /// Whether its call has taken much memory.
    pub(crate) fn is_heavy(&self) -> bool {
        self.meter.is_heavy.load(Relaxed)
    }

    pub(crate) fn meter(&self) -> &Arc<Meter> {
        &self.meter
    }

    pub(crate) fn new(inner: Pin<Box<dyn Future<Output = T> + Send>>, meter: Arc<Meter>) -> Self {
        Self {
            inner,
            meter,
            pause: None,
        }
    }
}

impl<T> Future for Metered<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let this = &mut *self;
        loop {
            if let Some(pause) = &mut this.pause {
                ready!(pause.as_mut().poll(cx));
                this.pause = None;
            }
            match this.meter.must_wait() {
                None => break,
                Some(wait) => this.pause = Some(Box::pin(sleep(wait))),
            }
        }
        let _turn = Turn::begin(&this.meter);
        this.inner.as_mut().poll(cx)
    }
}

#[cfg(test)]
impl Meter {
    /// Of an engine that is gone.
    pub(crate) fn of_nobody() -> Self {
        let engine = Engine::default();
        let threads = Threads {
            ticker: crate::ticker::Ticker::start(&[&engine]).unwrap(),
            lane: SlowLane::default(),
        };
        Self::new(&engine, Arc::new(threads), None)
    }
}

/// One poll; ends by being dropped, so that a panic in a host function does not leave the ticker
/// running.
struct Turn<'a>(&'a Meter);

impl<'a> Turn<'a> {
    fn begin(meter: &'a Meter) -> Self {
        meter.begin_poll();
        meter.threads.ticker.enter();
        Self(meter)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.threads.ticker.leave();
        self.0.end_poll();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ticker::tests::wait_until;

    #[test]
    fn a_meter_stops_a_call_past_its_budget() {
        let meter = Meter::of_nobody();
        meter.begin_call(Duration::from_secs(3600));
        // On a busy machine a poll may last for half a tick before it is asked, but not each.
        wait_until(|| {
            meter.begin_poll();
            matches!(meter.on_tick(), Ok(UpdateDeadline::Continue(1)))
        });
        wait_until(|| meter.in_this_poll() > TICK.as_nanos() as u64);
        assert!(matches!(
            meter.on_tick(),
            Ok(UpdateDeadline::YieldCustom(1, _))
        ));
        meter.end_poll();
        assert!(meter.used() > TICK.as_nanos() as u64);
        meter.begin_call(Duration::ZERO);
        assert_eq!(meter.used(), 0);
        let stopped = meter.on_tick().err().unwrap();
        assert!(stopped.is::<CpuTimeExceeded>());
    }
}
