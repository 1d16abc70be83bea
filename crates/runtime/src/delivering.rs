//! A message or a change on its way through a guest.
//!
//! Written as a future by hand: most deliveries end when they are polled first, and then cost neither
//! a timer nor the copies of futures within futures.

use std::{
    future::Future,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, oneshot},
    time::{Sleep, sleep},
};

use crate::{
    CallError, CallInfo, Delivery, Origin,
    call::{Call, Job},
    guest::GuestInner,
    messages::Handled,
    stats::Counters,
};

/// A delivery under way. The inner error is the guest's own, in its words, which are written to its
/// log as well. Dropping it ends the call.
pub struct Delivering {
    guest: Arc<GuestInner>,
    request_id: Arc<str>,
    /// Longest run.
    timeout: Option<Duration>,
    stage: Stage,
}

enum Stage {
    /// The guest can't be called for it.
    Impossible,
    /// Before a place has been asked for.
    New(Delivery, Origin),
    /// All places are taken.
    Queued(Place, Delivery, Origin),
    Running {
        call: Call,
        handled: oneshot::Receiver<Handled>,
        /// Made when the call has to wait for something.
        deadline: Option<Pin<Box<Sleep>>>,
    },
}

type Place = Pin<Box<dyn Future<Output = Result<OwnedSemaphorePermit, CallError>> + Send>>;

impl Delivering {
    pub(crate) fn new(guest: Arc<GuestInner>, delivery: Delivery, info: CallInfo) -> Self {
        Counters::add(&guest.counters.requests);
        Self {
            request_id: info.origin.request_id.clone(),
            timeout: info.timeout.unwrap_or(guest.limits().request_timeout),
            stage: match guest.takes(&delivery) {
                true => Stage::New(delivery, info.origin),
                false => Stage::Impossible,
            },
            guest,
        }
    }

    fn poll_stages(&mut self, cx: &mut Context<'_>) -> Poll<Result<Handled, CallError>> {
        loop {
            self.stage = match &mut self.stage {
                Stage::Impossible => return Poll::Ready(Err(CallError::NotMessaging)),
                Stage::New(..) => self.enter(),
                Stage::Queued(place, ..) => {
                    let place = ready!(place.as_mut().poll(cx))?;
                    self.begin(place)
                }
                Stage::Running {
                    call,
                    handled,
                    deadline,
                } => {
                    if let Poll::Ready(ended) = Pin::new(&mut *call).poll(cx) {
                        let handled = handled.try_recv().map_err(|_| CallError::NoResponse);
                        return Poll::Ready(ended.and(handled));
                    }
                    let Some(timeout) = self.timeout else {
                        return Poll::Pending;
                    };
                    let deadline = deadline.get_or_insert_with(|| Box::pin(sleep(timeout)));
                    ready!(deadline.as_mut().poll(cx));
                    call.give_up();
                    return Poll::Ready(Err(CallError::Deadline));
                }
            };
        }
    }

    /// Takes a place, or joins the queue.
    fn enter(&mut self) -> Stage {
        if let Some(place) = self.guest.admission().try_enter() {
            return self.begin(place);
        }
        let guest = self.guest.clone();
        let place = async move { guest.admission().enter(&guest.counters.queued).await };
        match mem::replace(&mut self.stage, Stage::Impossible) {
            Stage::New(delivery, origin) => Stage::Queued(Box::pin(place), delivery, origin),
            other => other,
        }
    }

    fn begin(&mut self, place: OwnedSemaphorePermit) -> Stage {
        let (Stage::New(delivery, origin) | Stage::Queued(_, delivery, origin)) =
            mem::replace(&mut self.stage, Stage::Impossible)
        else {
            return Stage::Impossible;
        };
        let (sender, handled) = oneshot::channel();
        let job = match delivery {
            Delivery::Message(message) => Job::Message(message, sender),
            Delivery::Change(change) => Job::Change(change, sender),
        };
        Stage::Running {
            call: Call::begin(self.guest.clone(), place, job, origin),
            handled,
            deadline: None,
        }
    }
}

impl Future for Delivering {
    type Output = Result<Result<(), String>, CallError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let result = ready!(this.poll_stages(cx));
        match &result {
            Ok(Ok(())) => {}
            Ok(Err(text)) => {
                Counters::add(&this.guest.counters.bad_answers);
                let line = format!("the message was not handled: {text}");
                this.guest.log_line(&this.request_id, &line);
            }
            Err(error) => this.guest.counters.failed(error),
        }
        Poll::Ready(result)
    }
}
