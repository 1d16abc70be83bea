//! A shared instance from within: its event loop and its calls.
//!
//! Processor time is charged to the calls of an instance in equal parts, and a stretch in which the
//! guest does not come back to its event loop counts as one call's.

use std::{
    future::{Future, poll_fn},
    mem,
    pin::Pin,
    sync::{
        Arc, Weak,
        atomic::Ordering::{Relaxed, SeqCst},
    },
    task::{Context, Poll, ready},
};

use futures::stream::{FuturesUnordered, Stream};
use parking_lot::Mutex;
use tokio::{
    sync::oneshot::{self, error::TryRecvError},
    time::Sleep,
};
use wasmtime::component::Accessor;

use super::{Busy, Outcome};
use crate::{
    CallError, Ctx, Origin,
    call::{AFTER_RESPONSE, Call, Job, Seat, no_handler},
    epoch::Meter,
    error::CpuTimeExceeded,
    guest::GuestInner,
    instance::{Handlers, HttpHandler},
    messages::{self, MessageHandler},
    p3,
    stats::Counters,
};

/// The inside of an instance that has calls.
pub(super) struct Inside {
    guest: Weak<GuestInner>,
    busy: Arc<Busy>,
    counters: Arc<Counters>,
    meter: Arc<Meter>,
    /// Nanoseconds each call may use.
    cpu_time: u64,
    /// Calls that it took in.
    taken: u32,
    outcomes: Outcomes,
}

/// Tells the callers how their calls ended. Those that are not told learn that the instance is
/// lost, because their senders are dropped.
type Outcomes = Mutex<Vec<(u64, oneshot::Sender<Outcome>)>>;

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
            (Job::Message(message, handled), _, Some(MessageHandler::P3(worker))) => {
                messages::handle(accessor, worker, message, handled).await
            }
            _ => Err(no_handler()),
        }
    }
}

impl Inside {
    pub(super) fn new(guest: &Arc<GuestInner>, busy: Arc<Busy>, meter: Arc<Meter>) -> Self {
        Self {
            guest: Arc::downgrade(guest),
            busy,
            counters: guest.counters.clone(),
            meter,
            cpu_time: u64::try_from(guest.limits().cpu_time.as_nanos()).unwrap_or(u64::MAX),
            taken: 0,
            outcomes: Outcomes::default(),
        }
    }

    /// From the first call to the last.
    pub(super) async fn run(mut self, seat: Seat) {
        // The guest is gone when its last caller is: then there is nothing to start for.
        let Some(guest) = self.guest.upgrade() else {
            return;
        };
        let mut instance = match guest.seated(seat).await {
            Ok(instance) => instance,
            Err(error) => {
                for order in self.busy.take_back() {
                    let _ = order.outcome.send(Outcome::Ended(Err(error.clone())));
                }
                return;
            }
        };
        // What goes on after the last call must not keep the guest.
        let over = instance.over(&guest);
        drop(guest);
        let busy = self.busy.clone();
        loop {
            let (store, handlers) = (&mut instance.cell.store, &instance.handlers);
            let served =
                store.run_concurrent(async |accessor| self.serve(accessor, handlers).await);
            let result = tokio::select! {
                result = served => Some(result.flatten()),
                () = busy.kill.notified() => None,
                () = over.cancelled() => None,
            };
            let Some(guest) = self.guest.upgrade() else {
                return;
            };
            let used = self.meter.take();
            self.counters.cpu_nanos.fetch_add(used, Relaxed);
            match result {
                Some(Ok(())) => {}
                Some(Err(error)) => {
                    // Before its callers are told: the next call of one of them is not for it.
                    busy.retire();
                    let error = guest.trapped(&mut instance.cell, &error);
                    return self.lose(Some(error));
                }
                None => return self.lose(None),
            }
            instance.calls += mem::take(&mut self.taken);
            instance.cell.store.data_mut().end_call();
            if busy.is_over() {
                return;
            }
            match guest.shared().keep(&guest, &busy, instance) {
                None => return,
                // A call has come meanwhile.
                Some(back) => instance = back,
            }
        }
    }

    /// Serves calls until there is none, and the guest has nothing left to do.
    async fn serve(
        &mut self,
        accessor: &Accessor<Ctx>,
        handlers: &Handlers,
    ) -> wasmtime::Result<()> {
        let mut running = FuturesUnordered::<Running<'_>>::new();
        let mut number = 0;
        let mut rest: Option<Pin<Box<Sleep>>> = None;
        poll_fn(|cx| {
            self.charge(&mut running)?;
            loop {
                while let Poll::Ready(Some((end, number))) = Pin::new(&mut running).poll_next(cx) {
                    match end {
                        End::Done(Ok(())) => {
                            self.counters.recent_traps.went_well();
                            self.busy.call_ended(self.take_outcome(number));
                        }
                        End::Done(Err(error)) => return Poll::Ready(Err(error)),
                        End::Left => {
                            self.busy.call_ended(self.take_outcome(number));
                            self.busy.retire();
                        }
                    }
                    self.mark_lines(accessor, &running);
                }
                if let Some(mut order) = self.busy.next(cx) {
                    rest = None;
                    self.taken += 1;
                    if !matches!(order.left.try_recv(), Err(TryRecvError::Empty)) {
                        // Its client left while it was on its way.
                        self.busy.call_ended(None);
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
                    continue;
                }
                if !running.is_empty() {
                    return Poll::Pending;
                }
                if accessor.poll_no_interesting_tasks(cx).is_pending() && !self.busy.is_retired() {
                    let time = || Box::pin(tokio::time::sleep(AFTER_RESPONSE));
                    ready!(rest.get_or_insert_with(time).as_mut().poll(cx));
                    self.busy.retire();
                }
                return Poll::Ready(Ok(()));
            }
        })
        .await
    }

    /// Charges the time since the last turn of the event loop to the calls, in equal parts.
    fn charge(&self, running: &mut FuturesUnordered<Running<'_>>) -> wasmtime::Result<()> {
        let used = self.meter.take();
        self.counters.cpu_nanos.fetch_add(used, Relaxed);
        let share = used / running.len().max(1) as u64;
        for call in running.iter_mut() {
            call.cpu += share;
            if call.cpu > self.cpu_time {
                return Err(CpuTimeExceeded.into());
            }
        }
        Ok(())
    }

    /// Lines are marked with a request while it is the only one, and after it until there is another:
    /// what it began to write and did not end is its own.
    fn mark_lines(&self, accessor: &Accessor<Ctx>, running: &FuturesUnordered<Running<'_>>) {
        let mut calls = running.iter();
        let origin = match (calls.next(), calls.next()) {
            (None, _) => return,
            (Some(only), None) => Some(only.origin.clone()),
            _ => None,
        };
        let depth = running.iter().map(|call| call.origin.depth).max();
        accessor.with(|mut store| store.get().set_origin(origin, depth.unwrap_or(0)));
    }

    fn take_outcome(&self, number: u64) -> Option<oneshot::Sender<Outcome>> {
        let mut outcomes = self.outcomes.lock();
        let at = outcomes.iter().position(|(known, _)| *known == number)?;
        Some(outcomes.swap_remove(at).1)
    }

    /// Tells the callers that the instance is lost, and what it trapped with, before anything of it is
    /// gone: that may take long, and the bodies of its answers end with it.
    fn lose(&self, error: Option<CallError>) {
        let mut outcomes = mem::take(&mut *self.outcomes.lock());
        // With several calls it can't be told which one trapped.
        if outcomes.len() == 1
            && let (Some(error), Some((_, outcome))) = (error, outcomes.pop())
        {
            let _ = outcome.send(Outcome::Ended(Err(error)));
        }
        drop(outcomes);
        self.busy.lost.store(true, SeqCst);
        self.refuse();
    }

    /// Has the calls that are on their way go to another instance.
    fn refuse(&self) {
        for order in self.busy.take_back() {
            let refused = Box::new((order.job, order.origin));
            // Nobody is told whose client has left.
            let _ = order.outcome.send(Outcome::Refused(refused));
        }
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        // What was used since the last turn, if it is dropped between two.
        self.counters
            .cpu_nanos
            .fetch_add(self.meter.used(), Relaxed);
        if let Some(guest) = self.guest.upgrade() {
            guest.shared().forget(&self.busy);
        }
        self.refuse();
    }
}
