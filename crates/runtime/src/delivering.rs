//! A message or a change on its way through a guest.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::sync::oneshot;

use crate::{
    CallError, CallInfo, Delivery,
    call::Job,
    calling::{Calling, Until},
    guest::GuestInner,
    messages::Handled,
    stats::Counters,
};

/// A delivery under way. The inner error is the guest's own, in its words, which are written to its
/// log as well. Dropping it ends the call.
pub struct Delivering {
    calling: Calling<Handled>,
    request_id: Arc<str>,
}

impl Delivering {
    pub(crate) fn new(guest: Arc<GuestInner>, delivery: Delivery, info: CallInfo) -> Self {
        Counters::add(&guest.counters.requests);
        let request_id = info.origin.request_id.clone();
        if !guest.takes(&delivery) {
            let calling = Calling::refused(guest, CallError::NotMessaging);
            return Self {
                calling,
                request_id,
            };
        }
        let (sender, handled) = oneshot::channel();
        let job = match delivery {
            Delivery::Message(message) => Job::Message(message, sender),
            Delivery::Change(change) => Job::Change(change, sender),
        };
        let timeout = info.timeout.unwrap_or(guest.limits().request_timeout);
        Self {
            calling: Calling::new(guest, job, handled, info.origin, timeout),
            request_id,
        }
    }
}

impl Future for Delivering {
    type Output = Result<Result<(), String>, CallError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let result = ready!(self.calling.poll_answer(cx, Until::End));
        let guest = self.calling.guest();
        match &result {
            Ok(Ok(())) => {}
            Ok(Err(text)) => {
                Counters::add(&guest.counters.bad_answers);
                let line = format!("the message was not handled: {text}");
                guest.log_line(&self.request_id, &line);
            }
            Err(error) => guest.counters.failed(error),
        }
        Poll::Ready(result)
    }
}
