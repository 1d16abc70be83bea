//! One call: a place, an instance, and the future that drives the guest. Dropping it ends the call
//! and frees both.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll},
    time::Duration,
};

use http::{Method, StatusCode, header::CONTENT_LENGTH};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use waft_ir::LogSource;
use wasmtime::PoolConcurrencyLimitError;
use wasmtime_wasi_http::WasiBody;

use crate::{
    CallError, ResponseBody, TrapReason,
    epoch::{Meter, Metered},
    guest::GuestInner,
    instance::{Cell, Handler, Instance},
    p2, p3,
    stats::Counters,
};

/// What a guest answers: a response, with a channel on which the end of its body is told if the
/// guest waits for it, or the name of an error code.
pub(crate) type Answer = Result<(http::Response<WasiBody>, Option<oneshot::Sender<()>>), String>;

/// How long a guest may go on after its response has been read to the end.
const AFTER_RESPONSE: Duration = Duration::from_secs(15);

/// A running call.
pub(crate) struct Call {
    guest: Arc<GuestInner>,
    driver: Metered<Result<(), CallError>>,
    meter: Arc<Meter>,
    done: bool,
    /// Whether its end has been counted, so that being dropped is not the client's leaving.
    counted: bool,
    _place: OwnedSemaphorePermit,
}

/// Where a call runs: in an instance that waited for it, or in a new one.
enum Seat {
    Warm(Instance),
    New(Cell),
}

impl Call {
    /// Begins a call; nothing runs until it is polled.
    pub(crate) fn begin(
        guest: Arc<GuestInner>,
        place: OwnedSemaphorePermit,
        request: http::Request<WasiBody>,
        request_id: Arc<str>,
        answer: oneshot::Sender<Answer>,
    ) -> Self {
        let mut seat = match guest.take_warm() {
            Some(instance) => Seat::Warm(instance),
            None => Seat::New(guest.new_cell()),
        };
        let cell = seat.cell();
        cell.begin_call(Some(request_id), guest.limits().cpu_time);
        let meter = cell.meter.clone();
        Counters::add(&guest.counters.in_flight);
        let driver = Metered::new(
            Box::pin(run(guest.clone(), seat, request, answer)),
            guest.ticker().clone(),
            meter.clone(),
        );
        Self {
            guest,
            driver,
            meter,
            done: false,
            counted: false,
            _place: place,
        }
    }

    /// Runs the guest until it answers. The rest of the call goes on as the body is read.
    pub(crate) async fn respond(
        mut self,
        method: Method,
        timeout: Option<Duration>,
        answer: oneshot::Receiver<Answer>,
    ) -> Result<http::Response<ResponseBody>, CallError> {
        let answered = self.answer(answer);
        let result = match timeout {
            None => answered.await,
            Some(limit) => tokio::time::timeout(limit, answered)
                .await
                .unwrap_or(Err(CallError::Deadline)),
        };
        match result {
            Ok(Ok((response, body_done))) => self.into_response(method, response, body_done),
            Ok(Err(code)) => {
                self.finish_later();
                Err(CallError::GuestErrorCode(code))
            }
            Err(error) => {
                self.counted = true;
                Err(error)
            }
        }
    }

    async fn answer(&mut self, mut answer: oneshot::Receiver<Answer>) -> Result<Answer, CallError> {
        poll_fn(|cx| {
            let ended = match Pin::new(&mut *self).poll(cx) {
                // Nothing has been sent yet, so a trap is a failed request even if the guest had
                // begun its answer.
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Ready(Ok(())) => true,
                Poll::Pending => false,
            };
            match Pin::new(&mut answer).poll(cx) {
                Poll::Ready(Ok(answer)) => Poll::Ready(Ok(answer)),
                // A guest may drop its means to answer and still run; the answer is known.
                Poll::Ready(Err(_)) => Poll::Ready(Err(CallError::NoResponse)),
                Poll::Pending if ended => Poll::Ready(Err(CallError::NoResponse)),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }

    fn into_response(
        self,
        method: Method,
        response: http::Response<WasiBody>,
        body_done: Option<oneshot::Sender<()>>,
    ) -> Result<http::Response<ResponseBody>, CallError> {
        let (parts, body) = response.into_parts();
        if parts.status.is_informational() {
            self.finish_later();
            return Err(CallError::Malformed);
        }
        let bodiless = method == Method::HEAD
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
        // Without a runtime (it is shutting down) the guest ends here.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(tokio::time::timeout(AFTER_RESPONSE, self));
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
        let result = Pin::new(&mut self.driver).poll(cx);
        if result.is_ready() {
            self.done = true;
            self.counted = true;
        }
        result
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let counters = &self.guest.counters;
        if !self.counted {
            Counters::add(&counters.clients_gone);
        }
        counters.cpu_nanos.fetch_add(self.meter.used(), Relaxed);
        Counters::sub(&counters.in_flight);
    }
}

impl Seat {
    fn cell(&mut self) -> &mut Cell {
        match self {
            Self::Warm(instance) => &mut instance.cell,
            Self::New(cell) => cell,
        }
    }
}

/// The whole life of a call inside the guest.
async fn run(
    guest: Arc<GuestInner>,
    seat: Seat,
    request: http::Request<WasiBody>,
    answer: oneshot::Sender<Answer>,
) -> Result<(), CallError> {
    let mut instance = match seat {
        Seat::Warm(instance) => instance,
        Seat::New(cell) => instantiate(&guest, cell).await?,
    };
    let store = &mut instance.cell.store;
    let result = match &instance.handler {
        Handler::P2(proxy) => p2::call(store, proxy, request, answer).await,
        Handler::P3(service) => p3::call(store, service, request, answer).await,
    };
    instance.calls += 1;
    instance.cell.store.data_mut().end_call();
    match result {
        Ok(()) => {
            guest.give_back(instance);
            Ok(())
        }
        Err(error) => Err(trapped(&guest, &mut instance.cell, &error)),
    }
}

/// Makes an instance in a new store.
pub(crate) async fn instantiate(guest: &GuestInner, mut cell: Cell) -> Result<Instance, CallError> {
    let Some(pre) = guest.pre() else {
        return Err(CallError::NotHttp);
    };
    match pre.instantiate(&mut cell.store).await {
        Ok(handler) => {
            Counters::add(&guest.counters.instances_created);
            Ok(Instance {
                cell,
                handler,
                calls: 0,
            })
        }
        Err(error) if error.is::<PoolConcurrencyLimitError>() => Err(CallError::HostAtCapacity),
        Err(error) => Err(trapped(guest, &mut cell, &error)),
    }
}

/// Counts a trap and writes it to the component's log, backtrace and all.
fn trapped(guest: &GuestInner, cell: &mut Cell, error: &wasmtime::Error) -> CallError {
    let ctx = cell.store.data_mut();
    let reason = TrapReason::of(error, ctx.limiter().memory_refused());
    guest.counters.trap(reason);
    let memory = ctx.limiter().memory_used();
    ctx.log_line(
        LogSource::Host,
        &format!(
            "trap ({}), {memory} bytes of memory in use:",
            reason.as_str()
        ),
    );
    for line in format!("{error:?}").lines() {
        ctx.log_line(LogSource::Host, line);
    }
    CallError::Trap { reason }
}
