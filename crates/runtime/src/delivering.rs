//! A message or a change on its way through a guest.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use crate::{
    CallError, CallInfo, Delivery,
    call::Job,
    calling::{Calling, Until},
    guest::GuestInner,
    messages::Handled,
};

/// A delivery under way. The inner error is the guest's own, in its words, which are written to its
/// log as well. Dropping it ends the call.
pub struct Delivering {
    calling: Calling<Handled>,
    request_id: Arc<str>,
}

impl Delivering {
    pub(crate) fn new(guest: Arc<GuestInner>, delivery: Delivery, info: CallInfo) -> Self {
        let takes = guest.takes(&delivery);
        Self {
            request_id: info.origin.request_id.clone(),
            calling: Calling::new(guest, info, |handled| match delivery {
                _ if !takes => Err(CallError::NotMessaging),
                Delivery::Message(message) => Ok(Job::Message(message, handled)),
                Delivery::Change(change) => Ok(Job::Change(change, handled)),
            }),
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
            Ok(Err(text)) => guest.refused(&self.request_id, text),
            Err(error) => guest.counters.failed(error),
        }
        Poll::Ready(result)
    }
}
