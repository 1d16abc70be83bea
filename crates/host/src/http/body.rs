//! Bodies on their way through the host: a request body that may not grow past its limit, and an
//! answer's body that knows when the request is over.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Instant,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use waft_runtime::{BodyError, ResponseBody};

use super::signals::Active;
use crate::{
    event::{Access, Event, Events},
    reason::Reason,
    running::{Counters, InFlight, RunningWorkload},
};

/// A request body of limited size.
pub(super) struct LimitedBody<B> {
    inner: B,
    left: Option<u64>,
    exceeded: Arc<AtomicBool>,
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
        cut_off: CancellationToken,
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
    pub(crate) in_flight: Option<InFlight>,
    /// Counts requests that no workload got.
    pub(crate) unrouted: Arc<Counters>,
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
    /// Also returns the flag that tells whether the body was too large.
    pub(super) fn new(inner: B, limit: Option<u64>) -> (Self, Arc<AtomicBool>) {
        let exceeded = Arc::new(AtomicBool::new(false));
        let body = Self {
            inner,
            left: limit,
            exceeded: exceeded.clone(),
        };
        (body, exceeded)
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for LimitedBody<B> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = std::task::ready!(Pin::new(&mut self.inner).poll_frame(cx));
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
    /// One line of the host's own.
    pub(crate) fn text(text: &'static str, finish: Finish) -> Self {
        Self {
            content: Content::Text(Some(Bytes::from_static(text.as_bytes()))),
            finish,
        }
    }

    /// What a guest sends, until its workload is cut off.
    pub(crate) fn guest(body: ResponseBody, cut_off: CancellationToken, finish: Finish) -> Self {
        Self {
            content: Content::Guest {
                body: Box::new(body),
                cut_off,
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
        let frame = match &mut self.content {
            Content::Text(text) => Poll::Ready(text.take().map(|t| Ok(Frame::data(t)))),
            Content::Guest { body, cut_off, cut } => {
                let frame = Pin::new(&mut **body).poll_frame(cx);
                if frame.is_pending() {
                    let cut =
                        cut.get_or_insert_with(|| Box::pin(cut_off.clone().cancelled_owned()));
                    std::task::ready!(cut.as_mut().poll(cx));
                    Poll::Ready(Some(Err(BodyError::Aborted)))
                } else {
                    frame
                }
            }
        };
        if let Poll::Ready(Some(Ok(frame))) = &frame
            && let Some(data) = frame.data_ref()
        {
            self.finish.bytes += data.len() as u64;
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
    pub(crate) fn new(active: Active, unrouted: Arc<Counters>) -> Self {
        Self {
            status: None,
            reason: None,
            workload: None,
            record: None,
            in_flight: None,
            unrouted,
            _active: active,
            started: Instant::now(),
            bytes: 0,
        }
    }
}

impl Drop for Finish {
    fn drop(&mut self) {
        let counters = self
            .workload
            .as_ref()
            .map_or(&*self.unrouted, |w| &w.counters);
        let took = self.started.elapsed();
        counters.count(self.status, self.reason, took);
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
