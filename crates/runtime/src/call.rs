//! One call: a place, an instance, and the future that drives the guest. Dropping it ends the call
//! and frees both.

use std::{
    future::Future,
    pin::{Pin, pin},
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{Method, StatusCode, header::CONTENT_LENGTH};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio_util::sync::CancellationToken;
use wasmtime::Store;
use wasmtime_wasi_http::WasiBody;

use crate::{
    CallError, Change, Ctx, HttpVersion, MessagingVersion, Origin, ResponseBody, changes,
    epoch::Meter,
    guest::GuestInner,
    instance::{Cell, Handlers, HttpHandler, Instance, Trap},
    lane::Driver,
    messages::{self, Handled, Message, MessageHandler},
    p2, p3,
    shared::{Outcome, SharedCall},
    stats::Counters,
    together::{self, Line},
};

/// What a guest answers: a response, with a channel on which the end of its body is told if the
/// guest waits for it, or the name of an error code.
pub(crate) type Answer = Result<(http::Response<WasiBody>, Option<oneshot::Sender<()>>), String>;

/// What a call asks of a guest, and where the answer goes.
pub(crate) enum Job {
    Http(http::Request<WasiBody>, oneshot::Sender<Answer>),
    Message(Arc<Message>, oneshot::Sender<Handled>),
    /// Several, for a handler of 0.2.
    Messages(Arc<Line>, oneshot::Sender<()>),
    Change(Change, oneshot::Sender<Handled>),
}

/// How long a guest may go on after its response has been read to the end.
pub(crate) const AFTER_RESPONSE: Duration = Duration::from_secs(15);

/// A running call.
pub(crate) struct Call {
    guest: Arc<GuestInner>,
    work: Work,
    done: bool,
    /// Whether its end has been counted, so that being dropped is not the client's leaving.
    counted: bool,
    _place: OwnedSemaphorePermit,
}

/// What drives the guest.
enum Work {
    /// This call itself: it has an instance for itself.
    Own {
        driver: Driver<Result<(), CallError>>,
        meter: Arc<Meter>,
        trap: Trap,
    },
    /// The task of an instance that serves others at the same time.
    Shared(SharedCall),
}

/// A call's life inside the guest, from its seat to its end.
type Whole = Pin<Box<dyn Future<Output = Result<(), CallError>> + Send>>;

/// An instance that waited for work, or a new one.
pub(crate) enum Seat {
    Warm(Instance),
    New(Cell),
}

impl Call {
    /// Begins a call; nothing runs until it is polled.
    pub(crate) fn begin(
        guest: Arc<GuestInner>,
        place: OwnedSemaphorePermit,
        job: Job,
        origin: Origin,
    ) -> Self {
        Counters::add(&guest.counters.in_flight);
        let work = if guest.shares_instances() {
            Work::Shared(guest.share(job, origin))
        } else {
            let mut seat = guest.take_seat();
            let cell = seat.cell();
            cell.begin_call(Some(origin), guest.limits().cpu_time);
            let (meter, trap) = (cell.meter.clone(), cell.trap.clone());
            let whole = whole(guest.clone(), seat, job);
            let driver = guest.driver(whole, meter.clone());
            Work::Own {
                driver,
                meter,
                trap,
            }
        };
        Self {
            guest,
            work,
            done: false,
            counted: false,
            _place: place,
        }
    }

    /// Counts that it took too long; ends what others may not use after it.
    pub(crate) fn give_up(&mut self) {
        self.counted = true;
        if let Work::Shared(call) = &self.work {
            call.end_instance();
        }
    }

    /// What there is to count of its end has been counted: that it is dropped is not the client's
    /// leaving.
    pub(crate) fn is_accounted_for(&mut self) {
        self.counted = true;
    }

    /// Why its guest will not go on, as soon as that is certain: before anything of the guest is gone, its
    /// bodies too.
    pub(crate) fn lost(&self) -> Option<CallError> {
        match &self.work {
            Work::Own { trap, .. } => trap.get().map(|&reason| CallError::Trap { reason }),
            Work::Shared(call) => call.is_lost().then_some(CallError::InstanceLost),
        }
    }

    /// Whether the guest may run while this is not polled.
    pub(crate) fn runs_elsewhere(&self) -> bool {
        match &self.work {
            Work::Own { driver, .. } => driver.is_far(),
            Work::Shared(_) => true,
        }
    }

    /// Cancelled when what goes on after its guest's calls has to end.
    pub(crate) fn over(&self) -> &CancellationToken {
        self.guest.over()
    }

    /// The response that its guest has begun; the rest of the call goes on as the body is read.
    pub(crate) fn into_response(
        self,
        method: &Method,
        response: http::Response<WasiBody>,
        body_done: Option<oneshot::Sender<()>>,
    ) -> Result<http::Response<ResponseBody>, CallError> {
        let (parts, body) = response.into_parts();
        if parts.status.is_informational() {
            self.finish_later();
            return Err(CallError::Malformed);
        }
        let bodiless = *method == Method::HEAD
            || matches!(
                parts.status,
                StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
            );
        let length = parts.headers.get(CONTENT_LENGTH);
        let length = length.and_then(|value| value.to_str().ok()?.parse().ok());
        let call = (!self.done).then_some(self);
        let body = ResponseBody::new(body, call, body_done, length, bodiless);
        Ok(http::Response::from_parts(parts, body))
    }

    /// Lets a guest that has answered in full do what it still has to do, for a while.
    pub(crate) fn finish_later(mut self) {
        self.counted = true;
        if self.done {
            return;
        }
        if let Work::Shared(call) = &mut self.work {
            if let Some(instance) = call.leave_to_instance() {
                // Taken back, it ends here: the instance is gone.
                let _ = instance.send(Box::new(self));
            }
            return;
        }
        // Without a runtime (it is shutting down) the guest ends here.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let over = self.over().clone();
            let rest = tokio::time::timeout(AFTER_RESPONSE, self);
            runtime.spawn(async move { over.run_until_cancelled(rest).await });
        }
    }
}

impl Future for Call {
    type Output = Result<(), CallError>;

    /// Lets the guest run. Must not be polled again once it was ready.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.done {
            return Poll::Ready(Ok(()));
        }
        let this = &mut *self;
        let result = loop {
            match &mut this.work {
                Work::Own { driver, .. } => break ready!(Pin::new(driver).poll(cx)),
                Work::Shared(call) => match ready!(Pin::new(&mut *call).poll(cx)) {
                    Outcome::Ended(result) => break result,
                    Outcome::Refused(back) => {
                        let (job, origin) = *back;
                        *call = this.guest.share(job, origin);
                    }
                },
            }
        };
        this.done = true;
        this.counted = true;
        Poll::Ready(result)
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let counters = &self.guest.counters;
        if !self.counted {
            Counters::add(&counters.clients_gone);
        }
        if let Work::Own { meter, .. } = &self.work {
            counters.cpu_nanos.fetch_add(meter.used(), Relaxed);
        }
        Counters::sub(&counters.in_flight);
    }
}

impl Seat {
    pub(crate) fn cell(&mut self) -> &mut Cell {
        match self {
            Self::Warm(instance) => &mut instance.cell,
            Self::New(cell) => cell,
        }
    }
}

/// Begins a call's life inside the guest. A kind of job has a future of its own: one for all
/// would have the size of the largest, which a small job would pay for.
fn whole(guest: Arc<GuestInner>, mut seat: Seat, job: Job) -> Whole {
    let is_p3 = match &job {
        Job::Http(..) => guest.http() == Some(HttpVersion::P3),
        Job::Message(..) => guest.messaging() == Some(MessagingVersion::P3),
        Job::Messages(..) | Job::Change(..) => false,
    };
    match (job, is_p3) {
        (Job::Http(request, answer), false) => {
            // Handed over here: the future need not have room for it.
            let arguments = p2::take_in(&mut seat.cell().store, request, answer);
            Box::pin(run(
                guest,
                seat,
                async move |store, handlers| match &handlers.http {
                    Some(HttpHandler::P2(proxy)) => p2::call(store, proxy, arguments?).await,
                    _ => Err(no_handler()),
                },
            ))
        }
        (Job::Http(request, answer), true) => Box::pin(run(
            guest,
            seat,
            async move |store, handlers| match &handlers.http {
                Some(HttpHandler::P3(service)) => p3::call(store, service, request, answer).await,
                _ => Err(no_handler()),
            },
        )),
        (Job::Message(message, handled), false) => Box::pin(run(
            guest,
            seat,
            async move |store, handlers| match &handlers.messages {
                Some(MessageHandler::P2(worker)) => {
                    messages::call_p2(store, worker, &message, handled).await
                }
                _ => Err(no_handler()),
            },
        )),
        (Job::Message(message, handled), true) => Box::pin(run(
            guest,
            seat,
            async move |store, handlers| match &handlers.messages {
                Some(MessageHandler::P3(worker)) => {
                    messages::call_p3(store, worker, message, handled).await
                }
                _ => Err(no_handler()),
            },
        )),
        (Job::Messages(line, over), _) => Box::pin(together::run(guest, seat, line, over)),
        (Job::Change(change, handled), _) => {
            Box::pin(run(guest, seat, async move |store, handlers| {
                let watcher = handlers.watcher.as_ref().ok_or_else(no_handler)?;
                changes::call(watcher, store, change).await?;
                // Nobody waits any more when the deadline has passed.
                let _ = handled.send(Ok(()));
                Ok(())
            }))
        }
    }
}

/// Who gives a job knows what the component exports.
pub(crate) fn no_handler() -> wasmtime::Error {
    wasmtime::format_err!("the instance has no such handler")
}

async fn run<F>(guest: Arc<GuestInner>, seat: Seat, job: F) -> Result<(), CallError>
where
    F: AsyncFnOnce(&mut Store<Ctx>, &Handlers) -> wasmtime::Result<()>,
{
    let mut instance = guest.seated(seat).await?;
    let Cell { store, meter, .. } = &mut instance.cell;
    let result = {
        let job = pin!(job(store, &instance.handlers));
        meter.within(job).await
    };
    instance.calls += 1;
    instance.cell.store.data_mut().end_call();
    match result {
        Ok(()) => {
            guest.counters.recent_traps.went_well();
            guest.give_back(instance);
            Ok(())
        }
        Err(error) => Err(guest.trapped(&mut instance.cell, &error)),
    }
}
