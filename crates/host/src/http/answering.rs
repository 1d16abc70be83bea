//! The answer to one request, while it is waited for, and what the client hears in the end.
//!
//! Written as a future by hand: as an async function it would take 6 KiB, copied for each request.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use http::{
    HeaderName, HeaderValue, Response, StatusCode,
    header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER},
};
use tokio_util::sync::WaitForCancellationFutureOwned;
use waft_runtime::{Handling, ResponseBody};

use super::body::{AnswerBody, Finish};
use crate::{reason::Reason, running::RunningWorkload};

/// The header that says why the host answered itself.
const WAFT_REASON: HeaderName = HeaderName::from_static("x-waft-reason");

/// An answer that is waited for. Dropping it, because the client left, ends the guest's call.
pub(crate) struct Answering {
    /// Or why the host answers itself.
    called: Result<Called, Reason>,
    /// Only the head of the answer is wanted.
    head_only: bool,
    /// Gone with the answer. Dropped behind the call otherwise.
    finish: Option<Finish>,
}

/// A workload that was asked.
pub(super) struct Called {
    handling: Handling,
    /// Whether the request's body was larger than it may be. `None`: it has none.
    exceeded: Option<Arc<AtomicBool>>,
    /// Set up only when the guest makes the client wait.
    cut: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
}

impl Answering {
    pub(super) fn new(called: Result<Called, Reason>, head_only: bool, finish: Finish) -> Self {
        Self {
            called,
            head_only,
            finish: Some(finish),
        }
    }
}

impl Called {
    pub(super) fn new(handling: Handling, exceeded: Option<Arc<AtomicBool>>) -> Self {
        Self {
            handling,
            exceeded,
            cut: None,
        }
    }

    /// The guest's response, until its workload is cut off.
    fn poll_response(
        &mut self,
        cx: &mut Context<'_>,
        workload: &RunningWorkload,
    ) -> Poll<Result<Response<ResponseBody>, Reason>> {
        let Poll::Ready(result) = Pin::new(&mut self.handling).poll(cx) else {
            let cut_off = || Box::pin(workload.cut_off().clone().cancelled_owned());
            ready!(self.cut.get_or_insert_with(cut_off).as_mut().poll(cx));
            return Poll::Ready(Err(Reason::InstanceLost));
        };
        let exceeded = self.exceeded.as_ref();
        let has_exceeded = exceeded.is_some_and(|exceeded| exceeded.load(Ordering::Relaxed));
        Poll::Ready(match result {
            // A guest can say nothing better of a body that ended so.
            Ok(response) if has_exceeded => {
                response.into_body().discard();
                Err(Reason::BodyTooLarge)
            }
            Err(_) if has_exceeded => Err(Reason::BodyTooLarge),
            Ok(response) if response.status().is_informational() => Err(Reason::MalformedResponse),
            Ok(response) => Ok(response),
            Err(error) => Err(Reason::from(&error)),
        })
    }
}

impl Future for Answering {
    type Output = Result<Response<AnswerBody>, Infallible>;

    /// Must not be polled again once it was ready.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let workload = this.finish.as_ref().and_then(|f| f.workload.as_deref());
        let result = match (&mut this.called, workload) {
            (Ok(called), Some(workload)) => ready!(called.poll_response(cx, workload)),
            // There is no call without a workload.
            (Ok(_), None) => return Poll::Pending,
            (Err(reason), _) => Err(*reason),
        };
        let Some(finish) = this.finish.take() else {
            return Poll::Pending;
        };
        Poll::Ready(Ok(match result {
            Ok(response) => guest_answer(response, finish),
            Err(reason) => {
                finish.note_error(reason);
                own_answer(reason, this.head_only, finish)
            }
        }))
    }
}

fn guest_answer(response: Response<ResponseBody>, mut finish: Finish) -> Response<AnswerBody> {
    finish.status = Some(response.status().as_u16());
    let (mut parts, body) = response.into_parts();
    // Only the host says why the host answered.
    parts.headers.remove(WAFT_REASON);
    if parts.status == StatusCode::NO_CONTENT {
        // There is no length of what can't be: RFC 9110, 8.6.
        parts.headers.remove(CONTENT_LENGTH);
    }
    let body = AnswerBody::guest(body, finish);
    Response::from_parts(parts, body)
}

fn own_answer(reason: Reason, head_only: bool, mut finish: Finish) -> Response<AnswerBody> {
    finish.status = Some(reason.status().as_u16());
    finish.reason = Some(reason);
    let text = reason.text();
    let body = AnswerBody::text((!head_only).then_some(text), finish);
    let mut response = Response::new(body);
    *response.status_mut() = reason.status();
    let headers = response.headers_mut();
    if head_only {
        headers.insert(CONTENT_LENGTH, text.len().into());
    }
    headers.insert(WAFT_REASON, HeaderValue::from_static(reason.as_str()));
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    if let Some(seconds) = reason.retry_after() {
        headers.insert(RETRY_AFTER, seconds.into());
    }
    if reason.ends_connection() {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}
