//! A request on its way through a guest.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::Method;
use tokio::sync::oneshot;

use crate::{
    Body, CallError, CallInfo, ResponseBody,
    body::into_wasi,
    call::{Answer, Job},
    calling::{Calling, Until},
    guest::GuestInner,
    outgoing::depth,
    stats::Counters,
};

/// A request under way, until the head of its response. The guest runs inside this future, and then
/// inside the body of the response: dropping either ends the call.
pub struct Handling {
    calling: Calling<Answer>,
    method: Method,
}

impl Handling {
    pub(crate) fn new(
        guest: Arc<GuestInner>,
        request: http::Request<Body>,
        mut info: CallInfo,
    ) -> Self {
        Counters::add(&guest.counters.requests);
        let method = request.method().clone();
        info.origin.depth = depth(&request);
        let calling = if guest.http().is_none() {
            Calling::refused(guest, CallError::NotHttp)
        } else {
            let (sender, answer) = oneshot::channel();
            let job = Job::Http(request.map(into_wasi), sender);
            let timeout = info.timeout.unwrap_or(guest.limits().request_timeout);
            Calling::new(guest, job, answer, info.origin, timeout)
        };
        Self { calling, method }
    }

    fn respond(&mut self, answer: Answer) -> Result<http::Response<ResponseBody>, CallError> {
        let call = self.calling.take_call().ok_or(CallError::NoResponse)?;
        match answer {
            Ok((response, body_done)) => call.into_response(&self.method, response, body_done),
            Err(code) => {
                call.finish_later();
                Err(CallError::GuestErrorCode(code))
            }
        }
    }
}

impl Future for Handling {
    type Output = Result<http::Response<ResponseBody>, CallError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = ready!(self.calling.poll_answer(cx, Until::Answer));
        let result = answer.and_then(|answer| self.respond(answer));
        if let Err(error) = &result {
            self.calling.guest().counters.failed(error);
        }
        Poll::Ready(result)
    }
}
