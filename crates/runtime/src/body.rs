//! Bodies both ways. The response body owns the running guest: reading it drives the guest, and
//! dropping it before its end frees the instance.

use std::{
    mem,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::{BodyExt, combinators::UnsyncBoxBody};
use tokio::{runtime::Handle, sync::oneshot, time::timeout};
use wasmtime_wasi_http::{Error, WasiBody};

use crate::{call::Call, ctx::strip_forbidden};

/// How much of a body that nobody gets is read, and for how long: what an answer to HEAD has. What its
/// guest writes after that fails.
const DISCARDED: usize = 1 << 20;
const DISCARDED_FOR: Duration = Duration::from_secs(1);

/// A request body.
pub type Body = UnsyncBoxBody<Bytes, BodyError>;

/// Why a body ended early.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BodyError {
    /// The client left before it had sent all of it.
    #[error("the client left")]
    ClientGone,
    /// It is larger than it may be.
    #[error("the body is too large")]
    TooLarge,
    /// The guest ended before it had sent all of it.
    #[error("the component ended before the body did")]
    Aborted,
}

/// A response body. Reading it is what lets the guest go on; no task runs behind it.
pub struct ResponseBody {
    inner: WasiBody,
    call: Option<Call>,
    /// Told when the body was read to its end; dropped without a word otherwise.
    done: Option<oneshot::Sender<()>>,
    /// Bytes still to come, if the guest has said how many.
    left: Option<u64>,
    /// The client gets no bytes, whatever the guest writes.
    bodiless: bool,
    ended: bool,
    aborted: bool,
}

/// Boxes a request body.
pub fn request_body<B>(body: B) -> Body
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BodyError>,
{
    body.map_err(Into::into).boxed_unsync()
}

/// A request body as the guest's interfaces take it.
pub(crate) fn into_wasi(body: Body) -> WasiBody {
    if body.is_end_stream() {
        // Boxed at no cost.
        return WasiBody::default();
    }
    let body = body.map_frame(without_forbidden);
    body.map_err(|error| match error {
        BodyError::ClientGone | BodyError::Aborted => Error::ConnectionTerminated,
        BodyError::TooLarge => Error::HttpRequestBodySize(None),
    })
    .boxed_unsync()
}

/// A piece of a body from outside; trailers are headers too.
pub(crate) fn without_forbidden(mut frame: Frame<Bytes>) -> Frame<Bytes> {
    if let Some(trailers) = frame.trailers_mut() {
        strip_forbidden(trailers);
    }
    frame
}

impl From<std::convert::Infallible> for BodyError {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}

impl ResponseBody {
    pub(crate) fn new(
        inner: WasiBody,
        call: Option<Call>,
        done: Option<oneshot::Sender<()>>,
        content_length: Option<u64>,
        bodiless: bool,
    ) -> Self {
        Self {
            inner,
            call,
            done,
            left: content_length,
            bodiless,
            ended: false,
            aborted: false,
        }
    }

    /// Leaves out an answer that the client is not to get. Its guest may end it.
    pub fn discard(mut self) {
        self.bodiless = true;
    }

    /// Lets the guest go on.
    fn drive(&mut self, cx: &mut Context<'_>) {
        if let Some(call) = &mut self.call
            && let Poll::Ready(result) = Pin::new(call).poll(cx)
        {
            self.call = None;
            self.aborted = result.is_err();
        }
    }

    fn end(&mut self, cx: &mut Context<'_>) {
        self.ended = true;
        if let Some(done) = self.done.take() {
            let _ = done.send(());
        }
        // Most guests have nothing left to do but to return: then no task is needed for it.
        self.drive(cx);
    }

    /// Whether the guest ended before it was done. In another thread it may have a moment ago: its body
    /// then ends before its call does.
    fn is_lost(&self) -> bool {
        let call = self.call.as_ref();
        self.aborted || call.is_some_and(|call| call.lost().is_some())
    }

    fn was_read(&self) -> bool {
        self.ended || self.left == Some(0) || self.inner.is_end_stream()
    }

    /// Reads what the client doesn't get: a guest that checks what becomes of its bytes would take
    /// it for an error that nobody does.
    fn read_later(&mut self, mut call: Call) {
        call.is_accounted_for();
        let over = call.over().clone();
        let mut rest = Self {
            inner: mem::take(&mut self.inner),
            call: Some(call),
            done: self.done.take(),
            left: self.left,
            bodiless: false,
            ended: false,
            aborted: false,
        };
        let reading = async move {
            let discarding = async {
                let mut read = 0;
                while read < DISCARDED
                    && let Some(Ok(frame)) = rest.frame().await
                {
                    read += frame.data_ref().map_or(0, Bytes::len);
                }
            };
            let _ = timeout(DISCARDED_FOR, discarding).await;
            // Nobody takes more of it. What else the guest does may take its time.
            let call = rest.call.take();
            drop(rest);
            if let Some(call) = call {
                call.finish_later();
            }
        };
        // Without a runtime (it is shutting down) the guest ends here.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move { over.run_until_cancelled(reading).await });
        }
    }
}

impl http_body::Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if this.ended || this.bodiless {
            return Poll::Ready(None);
        }
        this.drive(cx);
        match Pin::new(&mut this.inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                if let (Some(left), Some(data)) = (&mut this.left, frame.data_ref()) {
                    *left = left.saturating_sub(data.len() as u64);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Pending if !this.aborted => Poll::Pending,
            Poll::Ready(None) if !this.is_lost() => {
                this.end(cx);
                Poll::Ready(None)
            }
            _ => {
                this.ended = true;
                Poll::Ready(Some(Err(BodyError::Aborted)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.bodiless || (!self.aborted && self.inner.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        match self.bodiless {
            true => SizeHint::with_exact(0),
            false => self.inner.size_hint(),
        }
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        let read = self.was_read();
        if self.bodiless
            && !read
            && let Some(call) = self.call.take()
        {
            return self.read_later(call);
        }
        if let Some(done) = self.done.take()
            && read
        {
            let _ = done.send(());
        }
        if let Some(call) = self.call.take()
            && read
        {
            call.finish_later();
        }
    }
}
