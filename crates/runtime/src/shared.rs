//! Instances that serve several requests or messages at a time (`wasi:http@0.3` and
//! `wasmcloud:messaging@0.3` with `maxConcurrency`).
//!
//! Each runs in a task of its own, because its event loop drives all its calls at once. A call
//! whose client leaves can't be taken out of the guest: its instance takes no more calls and ends
//! with those it has; if it was the only one, the instance ends at once. A trap or a deadline ends the
//! instance, and its other calls are lost.
//!
//! Processor time is charged to the calls of an instance in equal parts, and a stretch in which the
//! guest does not come back to its event loop counts as one call's.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::{
        Arc, Weak,
        atomic::{
            AtomicBool, AtomicU32,
            Ordering::{Relaxed, SeqCst},
        },
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use futures::stream::{FuturesUnordered, Stream};
use parking_lot::Mutex;
use tokio::{
    sync::{
        Notify, mpsc,
        oneshot::{self, error::TryRecvError},
    },
    time::Sleep,
};
use wasmtime::component::Accessor;

use crate::{
    CallError, Ctx, Origin,
    call::{AFTER_RESPONSE, Call, Job, Seat},
    epoch::{Meter, Metered},
    error::CpuTimeExceeded,
    guest::GuestInner,
    instance::{Handlers, HttpHandler},
    p3,
};

/// The shared instances of one guest.
#[derive(Default)]
pub(crate) struct SharedInstances(Mutex<Vec<Worker>>);

/// One call in a shared instance, seen from outside. It is ready when the call has ended.
pub(crate) struct SharedCall {
    outcome: oneshot::Receiver<Outcome>,
    done: bool,
    load: Arc<Load>,
    /// Dropped when nobody wants the answer any more. It takes the call when all of it was read.
    wanted: Option<oneshot::Sender<Box<Call>>>,
}

type Outcome = Result<(), CallError>;

/// One shared instance, seen from outside.
struct Worker {
    jobs: mpsc::UnboundedSender<Box<Order>>,
    load: Arc<Load>,
    /// Calls it was given.
    given: u32,
}

/// What a worker says about itself.
#[derive(Default)]
struct Load {
    calls: AtomicU32,
    /// It holds a call that nobody waits for, and should get no more.
    retired: AtomicBool,
    /// Ends it. A guest that computes keeps its event loop from turning, so that this is looked at
    /// from outside of it.
    kill: Notify,
}

/// One call on its way into an instance.
struct Order {
    job: Job,
    origin: Origin,
    outcome: oneshot::Sender<Outcome>,
    left: oneshot::Receiver<Box<Call>>,
}

/// One call within an instance.
struct Running<'a> {
    future: Pin<Box<dyn Future<Output = wasmtime::Result<()>> + Send + 'a>>,
    left: oneshot::Receiver<Box<Call>>,
    /// Its answer was read to the end: what is left to do has so much time, and goes with this.
    answered: Option<(Pin<Box<Sleep>>, Box<Call>)>,
    origin: Origin,
    number: u64,
    cpu: u64,
}

/// How a call within an instance ended.
enum End {
    Done(wasmtime::Result<()>),
    /// Its client left, or it went on for too long after its answer.
    Left,
}

/// Tells the callers how their calls ended. Those that are not told learn that the instance is
/// lost, because their senders are dropped.
type Outcomes = Mutex<Vec<(u64, oneshot::Sender<Outcome>)>>;

/// The inside of a worker.
struct Inside {
    guest: Weak<GuestInner>,
    jobs: mpsc::UnboundedReceiver<Box<Order>>,
    load: Arc<Load>,
    meter: Arc<Meter>,
    cpu_time: u64,
    /// How long it may be idle; zero: as long as there is room.
    window: Duration,
    outcomes: Arc<Outcomes>,
}

impl SharedInstances {
    /// Gives a call to the instance with the fewest, or to a new one as long as the pool has room
    /// and all are busy.
    pub(crate) fn give(&self, guest: &Arc<GuestInner>, job: Job, origin: Origin) -> SharedCall {
        let (outcome, outcome_is_known) = oneshot::channel();
        let (wanted, left) = oneshot::channel();
        let mut order = Box::new(Order {
            job,
            origin,
            outcome,
            left,
        });
        let (size, most) = (guest.pool().size as usize, guest.pool().max_invocations);
        let mut workers = self.0.lock();
        let load = loop {
            // A worker that is dropped here finishes what it has.
            workers.retain(|worker| worker.takes_more(most));
            let full = workers.len() >= size;
            let best = workers.iter_mut().min_by_key(|worker| worker.calls());
            let chosen = match best {
                Some(worker)
                    if worker.calls() == 0 || (full && worker.calls() < guest.concurrency()) =>
                {
                    worker
                }
                _ => {
                    workers.push(Worker::start(guest));
                    let at = workers.len() - 1;
                    &mut workers[at]
                }
            };
            let load = chosen.load.clone();
            match chosen.give(order) {
                Ok(()) => break load,
                // It has just ended; the next round does without it.
                Err(back) => order = back,
            }
        };
        SharedCall {
            outcome: outcome_is_known,
            done: false,
            load,
            wanted: Some(wanted),
        }
    }
}

impl SharedInstances {
    /// Instances without a call.
    pub(crate) fn idle(&self) -> u64 {
        let workers = self.0.lock();
        let idle = workers.iter().filter(|worker| worker.is_idle());
        idle.count() as u64
    }

    /// Has an instance without a call end, if there is one.
    pub(crate) fn retire_idle(&self) -> bool {
        let mut workers = self.0.lock();
        let idle = workers.iter().position(Worker::is_idle);
        // Its task ends when no more calls can come.
        idle.map(|at| workers.swap_remove(at)).is_some()
    }

    /// Has one instance go that was idle for long, unless so few are left, or it was given a call
    /// just now.
    fn retire(&self, load: &Arc<Load>, least: usize) -> bool {
        let mut workers = self.0.lock();
        let place = workers
            .iter()
            .position(|worker| Arc::ptr_eq(&worker.load, load) && worker.is_idle());
        let may_go = place.filter(|_| workers.len() > least);
        may_go.map(|at| workers.swap_remove(at)).is_some()
    }
}

impl SharedCall {
    /// Nobody waits for it any more, and it is no client's leaving: the instance gets the call, to drop
    /// it when the guest is done.
    pub(crate) fn leave_to_instance(&mut self) -> Option<oneshot::Sender<Box<Call>>> {
        self.done = true;
        self.wanted.take()
    }

    /// Ends the instance, with all its calls.
    pub(crate) fn end_instance(&self) {
        self.load.retired.store(true, SeqCst);
        self.load.kill.notify_one();
    }
}

impl Future for SharedCall {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let outcome = Pin::new(&mut self.outcome).poll(cx);
        self.done = outcome.is_ready();
        outcome.map(|told| told.unwrap_or(Err(CallError::InstanceLost)))
    }
}

impl Drop for SharedCall {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        self.load.retired.store(true, SeqCst);
        if self.load.calls.load(SeqCst) <= 1 {
            self.load.kill.notify_one();
        }
    }
}

impl Worker {
    fn start(guest: &Arc<GuestInner>) -> Self {
        let mut seat = guest.take_seat();
        let cell = seat.cell();
        cell.begin_call(None, guest.limits().cpu_time);
        let meter = cell.meter.clone();
        let (jobs, jobs_given) = mpsc::unbounded_channel();
        let load = Arc::new(Load::default());
        let inside = Inside {
            guest: Arc::downgrade(guest),
            jobs: jobs_given,
            load: load.clone(),
            meter: meter.clone(),
            cpu_time: u64::try_from(guest.limits().cpu_time.as_nanos()).unwrap_or(u64::MAX),
            window: Duration::from_secs(guest.pool().reclaim_window_seconds.into()),
            outcomes: Arc::default(),
        };
        let whole = Box::pin(inside.run(seat));
        tokio::spawn(Metered::new(whole, guest.ticker().clone(), meter));
        Self {
            jobs,
            load,
            given: 0,
        }
    }

    fn is_idle(&self) -> bool {
        self.calls() == 0 && !self.jobs.is_closed()
    }

    fn calls(&self) -> u32 {
        self.load.calls.load(SeqCst)
    }

    fn takes_more(&self, max_invocations: u32) -> bool {
        let used_up = max_invocations != 0 && self.given >= max_invocations;
        !used_up && !self.load.retired.load(SeqCst) && !self.jobs.is_closed()
    }

    fn give(&mut self, order: Box<Order>) -> Result<(), Box<Order>> {
        self.load.calls.fetch_add(1, SeqCst);
        self.given += 1;
        self.jobs.send(order).map_err(|refused| refused.0)
    }
}

impl Future for Running<'_> {
    type Output = (End, u64);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let number = self.number;
        if let Poll::Ready(result) = self.future.as_mut().poll(cx) {
            return Poll::Ready((End::Done(result), number));
        }
        if self.answered.is_none() {
            let Ok(call) = ready!(Pin::new(&mut self.left).poll(cx)) else {
                return Poll::Ready((End::Left, number));
            };
            let time = Box::pin(tokio::time::sleep(AFTER_RESPONSE));
            self.answered = Some((time, call));
        }
        let time = self.answered.as_mut().map(|(time, _)| time.as_mut());
        if let Some(time) = time {
            ready!(time.poll(cx));
        }
        Poll::Ready((End::Left, number))
    }
}

impl Handlers {
    /// Does one job within a running event loop.
    async fn handle(&self, accessor: &Accessor<Ctx>, job: Job) -> wasmtime::Result<()> {
        match (job, &self.http, &self.messages) {
            (Job::Http(request, answer), Some(HttpHandler::P3(service)), _) => {
                p3::handle(accessor, service, request, answer).await
            }
            (Job::Message(message, handled), _, Some(handler)) => {
                handler.handle(accessor, message, handled).await
            }
            // Who gives a job knows what the component exports.
            _ => Err(wasmtime::format_err!("the instance has no such handler")),
        }
    }
}

impl Inside {
    /// The whole life of a shared instance.
    async fn run(mut self, seat: Seat) {
        // The guest is gone when its last caller is: then there is nothing to start for.
        let Some(guest) = self.guest.upgrade() else {
            return;
        };
        let mut instance = match guest.seated(seat).await {
            Ok(instance) => instance,
            Err(error) => return self.refuse_all(&error).await,
        };
        // An idle instance must not keep its guest.
        drop(guest);
        let handlers = &instance.handlers;
        let outcomes = self.outcomes.clone();
        let load = self.load.clone();
        let served = instance
            .cell
            .store
            .run_concurrent(async |accessor| self.serve(accessor, handlers).await);
        let result = tokio::select! {
            result = served => result.flatten(),
            () = load.kill.notified() => Ok(()),
        };
        instance.cell.store.data_mut().end_call();
        let (Err(error), Some(guest)) = (result, self.guest.upgrade()) else {
            return;
        };
        let error = guest.trapped(&mut instance.cell, &error);
        let mut outcomes = outcomes.lock();
        // With several calls it can't be told which one trapped.
        if outcomes.len() == 1
            && let Some((_, outcome)) = outcomes.pop()
        {
            let _ = outcome.send(Err(error));
        }
    }

    /// Tells all callers that there is no instance.
    async fn refuse_all(&mut self, error: &CallError) {
        self.jobs.close();
        while let Some(order) = self.jobs.recv().await {
            let _ = order.outcome.send(Err(error.clone()));
        }
    }

    /// Serves calls until no more can come and none is left.
    async fn serve(
        &mut self,
        accessor: &Accessor<Ctx>,
        handlers: &Handlers,
    ) -> wasmtime::Result<()> {
        let mut running = FuturesUnordered::<Running<'_>>::new();
        let mut number = 0;
        let mut retired = false;
        let mut idle = None;
        poll_fn(|cx| {
            self.charge(&mut running)?;
            loop {
                while let Poll::Ready(Some((end, number))) = Pin::new(&mut running).poll_next(cx) {
                    self.call_ended();
                    let outcome = self.take_outcome(number);
                    match end {
                        End::Done(result) => {
                            if let Err(error) = result {
                                self.outcomes.lock().extend(outcome);
                                return Poll::Ready(Err(error));
                            }
                            if let Some((_, outcome)) = outcome {
                                let _ = outcome.send(Ok(()));
                            }
                        }
                        End::Left => {
                            retired = true;
                            self.load.retired.store(true, SeqCst);
                        }
                    }
                    self.mark_lines(accessor, &running);
                }
                if retired && running.is_empty() {
                    self.jobs.close();
                }
                match self.jobs.poll_recv(cx) {
                    Poll::Ready(Some(mut order)) => {
                        idle = None;
                        if !matches!(order.left.try_recv(), Err(TryRecvError::Empty)) {
                            // Its client left while it was on its way.
                            self.call_ended();
                            continue;
                        }
                        number += 1;
                        self.outcomes.lock().push((number, order.outcome));
                        running.push(Running {
                            future: Box::pin(handlers.handle(accessor, order.job)),
                            left: order.left,
                            answered: None,
                            origin: order.origin,
                            number,
                            cpu: 0,
                        });
                        self.mark_lines(accessor, &running);
                    }
                    Poll::Ready(None) if running.is_empty() => return Poll::Ready(Ok(())),
                    Poll::Ready(None) => return Poll::Pending,
                    Poll::Pending if running.is_empty() => {
                        ready!(self.poll_idle(&mut idle, cx));
                    }
                    Poll::Pending => {
                        idle = None;
                        return Poll::Pending;
                    }
                }
            }
        })
        .await
    }

    fn call_ended(&self) {
        if self.load.calls.fetch_sub(1, SeqCst) == 1
            && let Some(guest) = self.guest.upgrade()
        {
            guest.neighbours().has_idle();
        }
    }

    /// Waits until an instance without a call has to go, and retires it then: its channel closes.
    fn poll_idle(&self, idle: &mut Option<Pin<Box<Sleep>>>, cx: &mut Context<'_>) -> Poll<()> {
        if self.window.is_zero() {
            return Poll::Pending;
        }
        let wait = || Box::pin(tokio::time::sleep(self.window));
        ready!(idle.get_or_insert_with(wait).as_mut().poll(cx));
        *idle = None;
        if let Some(guest) = self.guest.upgrade() {
            let least = guest.pool().reclaim_min_instances as usize;
            if guest.shared().retire(&self.load, least) {
                guest.counters.instances_reclaimed.fetch_add(1, Relaxed);
            }
        }
        Poll::Ready(())
    }

    /// Charges the time since the last turn of the event loop to the calls, in equal parts.
    fn charge(&self, running: &mut FuturesUnordered<Running<'_>>) -> wasmtime::Result<()> {
        let used = self.meter.take();
        if let Some(guest) = self.guest.upgrade() {
            guest.counters.cpu_nanos.fetch_add(used, Relaxed);
        }
        let share = used / running.len().max(1) as u64;
        for call in running.iter_mut() {
            call.cpu += share;
            if call.cpu > self.cpu_time {
                return Err(CpuTimeExceeded.into());
            }
        }
        Ok(())
    }

    /// Lines are marked with a request while it is the only one.
    fn mark_lines(&self, accessor: &Accessor<Ctx>, running: &FuturesUnordered<Running<'_>>) {
        let mut calls = running.iter();
        let origin = match (calls.next(), calls.next()) {
            (Some(only), None) => Some(only.origin.clone()),
            _ => None,
        };
        accessor.with(|mut store| store.get().set_origin(origin));
    }

    fn take_outcome(&self, number: u64) -> Option<(u64, oneshot::Sender<Outcome>)> {
        let mut outcomes = self.outcomes.lock();
        let at = outcomes.iter().position(|(known, _)| *known == number)?;
        Some(outcomes.swap_remove(at))
    }
}
