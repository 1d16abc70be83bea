//! Bodies on their way through the host: a request body that may not grow past its limit, and an
//! answer's body that knows when the request is over.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Sleep, sleep};
use tokio_util::sync::WaitForCancellationFutureOwned;
use waft_runtime::{BodyError, ResponseBody};

use super::{service::ConnectionService, signals::Active, trace::RequestSpan};
use crate::{
    event::{Access, Event, Events},
    reason::Reason,
    running::{InFlight, RunningWorkload},
};

/// Longest wait for the next piece of a request body that a guest reads. A client that stays silent
/// longer counts as gone: it must not hold an instance for ever. Before the response this is bounded
/// by the request's timeout; after it, streams both ways may well be quiet for minutes.
const STALL: Duration = Duration::from_secs(300);

/// A request body of limited size, from a client that goes on sending.
pub(super) struct LimitedBody<B> {
    inner: B,
    left: Option<u64>,
    exceeded: Arc<AtomicBool>,
    /// Set up only when the client makes the guest wait.
    stall: Option<Pin<Box<Sleep>>>,
}

/// The body of any answer.
pub(crate) struct AnswerBody {
    content: Content,
    /// Dropped last, so that what it counts is over.
    finish: Finish,
}

enum Content {
    Text(Option<Bytes>),
    Guest {
        body: Box<ResponseBody>,
        /// Set up only when the guest makes the client wait.
        cut: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    },
}

/// What is done when a request is over, however it ends.
pub(crate) struct Finish {
    pub(crate) status: Option<u16>,
    pub(crate) reason: Option<Reason>,
    pub(crate) workload: Option<Arc<RunningWorkload>>,
    pub(crate) record: Option<Record>,
    /// Boxed: most requests have none.
    pub(super) span: Option<Box<RequestSpan>>,
    pub(crate) in_flight: Option<InFlight>,
    service: Arc<ConnectionService>,
    _active: Active,
    started: Instant,
    bytes: u64,
}

/// What an access line needs beside the outcome; only made when somebody listens.
pub(crate) struct Record {
    pub(crate) events: Arc<Events>,
    pub(crate) request_id: Arc<str>,
    pub(crate) method: String,
    pub(crate) host: String,
    pub(crate) path: String,
}

impl<B> LimitedBody<B> {
    /// `exceeded` is set when the body is too large.
    pub(super) fn new(inner: B, limit: Option<u64>, exceeded: Arc<AtomicBool>) -> Self {
        Self {
            inner,
            left: limit,
            exceeded,
            stall: None,
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for LimitedBody<B> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(cx) else {
            let stall = self.stall.get_or_insert_with(|| Box::pin(sleep(STALL)));
            std::task::ready!(stall.as_mut().poll(cx));
            return Poll::Ready(Some(Err(BodyError::ClientGone)));
        };
        self.stall = None;
        let Some(frame) = frame else {
            return Poll::Ready(None);
        };
        let frame = frame.map_err(|_| BodyError::ClientGone)?;
        if let (Some(left), Some(data)) = (&mut self.left, frame.data_ref()) {
            let Some(rest) = left.checked_sub(data.len() as u64) else {
                self.exceeded.store(true, Ordering::Relaxed);
                return Poll::Ready(Some(Err(BodyError::TooLarge)));
            };
            *left = rest;
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl AnswerBody {
    /// One line of the host's own, or nothing for a client that expects no bytes.
    pub(crate) fn text(text: Option<&'static str>, finish: Finish) -> Self {
        Self {
            content: Content::Text(text.map(|text| Bytes::from_static(text.as_bytes()))),
            finish,
        }
    }

    /// What a guest sends, until its workload is cut off.
    pub(crate) fn guest(body: ResponseBody, finish: Finish) -> Self {
        Self {
            content: Content::Guest {
                body: Box::new(body),
                cut: None,
            },
            finish,
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let frame = match &mut this.content {
            Content::Text(text) => Poll::Ready(text.take().map(|t| Ok(Frame::data(t)))),
            Content::Guest { body, cut } => {
                let frame = Pin::new(&mut **body).poll_frame(cx);
                if let (true, Some(workload)) = (frame.is_pending(), &this.finish.workload) {
                    let cut_off = || Box::pin(workload.cut_off().clone().cancelled_owned());
                    std::task::ready!(cut.get_or_insert_with(cut_off).as_mut().poll(cx));
                    Poll::Ready(Some(Err(BodyError::Aborted)))
                } else {
                    frame
                }
            }
        };
        if let Poll::Ready(Some(Ok(frame))) = &frame
            && let Some(data) = frame.data_ref()
        {
            this.finish.bytes += data.len() as u64;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Text(text) => text.is_none(),
            Content::Guest { body, .. } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Text(text) => {
                SizeHint::with_exact(text.as_ref().map_or(0, |t| t.len() as u64))
            }
            Content::Guest { body, .. } => body.size_hint(),
        }
    }
}

impl Finish {
    pub(crate) fn new(active: Active, service: Arc<ConnectionService>) -> Self {
        Self {
            status: None,
            reason: None,
            workload: None,
            record: None,
            span: None,
            in_flight: None,
            service,
            _active: active,
            started: Instant::now(),
            bytes: 0,
        }
    }

    /// Tells of a trap in the state of its workload.
    pub(super) fn note_error(&self, reason: Reason) {
        if let Some(workload) = &self.workload
            && reason.is_trap()
            && workload.is_news(reason)
        {
            self.service.serving.report_error(workload, reason);
        }
    }
}

impl Drop for Finish {
    fn drop(&mut self) {
        let counters = self
            .workload
            .as_ref()
            .map_or(&*self.service.serving.unrouted, |w| &w.counters);
        let took = self.started.elapsed();
        counters.count(self.status, self.reason, took);
        if let Some(span) = self.span.take() {
            span.end(self.workload.as_deref(), self.status, self.reason);
        }
        let Some(record) = self.record.take() else {
            return;
        };
        let backend = self.workload.as_ref();
        record.events.send(Event::Access(Arc::new(Access {
            request_id: record.request_id,
            backend: backend.map(|w| (w.key.clone(), w.component.clone())),
            method: record.method,
            host: record.host,
            path: record.path,
            status: self.status,
            reason: self.reason,
            bytes: self.bytes,
            duration: took,
        })));
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::channel::mpsc::{self, UnboundedReceiver, UnboundedSender};
    use http_body_util::{BodyExt, StreamBody};
    use tokio::time::Instant;

    use super::*;

    type Piece = Result<Frame<Bytes>, Infallible>;

    fn body() -> (
        UnboundedSender<Piece>,
        LimitedBody<StreamBody<UnboundedReceiver<Piece>>>,
    ) {
        let (sender, pieces) = mpsc::unbounded();
        let body = LimitedBody::new(StreamBody::new(pieces), None, Arc::default());
        (sender, body)
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_stays_silent_counts_as_gone() {
        let (_sender, mut body) = body();
        let began = Instant::now();
        let ended = body.frame().await.unwrap();
        assert_eq!(ended.err(), Some(BodyError::ClientGone));
        let took = began.elapsed();
        assert!((STALL..STALL * 2).contains(&took), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_is_slow_may_take_for_ever() {
        let (sender, body) = body();
        let slow = async move {
            for _ in 0..10 {
                sleep(STALL * 9 / 10).await;
                let piece = Frame::data(Bytes::from_static(b"x"));
                sender.unbounded_send(Ok(piece)).unwrap();
            }
        };
        let (whole, ()) = tokio::join!(BodyExt::collect(body), slow);
        assert_eq!(whole.unwrap().to_bytes(), "xxxxxxxxxx");
    }
}
