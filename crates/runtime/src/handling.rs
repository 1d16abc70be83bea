//! A request on its way through a guest.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::Method;

use crate::{
    Body, CallError, CallInfo, ResponseBody,
    body::into_wasi,
    call::{Answer, Job},
    calling::{Calling, Until},
    guest::GuestInner,
    outgoing::depth,
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
        info.origin.depth = depth(&request);
        let is_http = guest.http().is_some();
        Self {
            method: request.method().clone(),
            calling: Calling::new(guest, info, |answer| match is_http {
                true => Ok(Job::Http(request.map(into_wasi), answer)),
                false => Err(CallError::NotHttp),
            }),
        }
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
