//! Requests from one workload to another on the same host, by the name of a route: no connection,
//! no name look-up, the same answer as from outside.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response, Version};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};
use wasmtime_wasi_http::{Error, WasiBody};

use super::{Timeouts, patience::Patience};
use crate::{Body, BodyError, body::into_wasi};

/// Workloads that call each other may be nested so deep; past it, they are taken for a loop.
pub(super) const MAX_DEPTH: u8 = 16;

/// Pieces of a body on their way.
const FRAMES: usize = 2;

/// How many workloads called each other to get to a request, as one of its extensions: nothing that
/// comes from outside or from a guest has it.
#[derive(Clone, Copy, Debug)]
struct Depth(u8);

/// The workloads that serve HTTP on this host. Implemented by the host.
#[async_trait]
pub trait LocalRoutes: Send + Sync {
    /// Whether a route names this very host, as [`waft_ir::normalize_host`] gives it, and has the
    /// path. Routes for `*` and `*.suffix` answer who comes from outside; they take nothing that
    /// a guest sends to others.
    fn serves(&self, host: &str, path: &str) -> bool;

    /// Answers a request as if it had come from outside. Dropping the future ends the call.
    async fn answer(&self, request: Request<Body>) -> Response<Body>;
}

/// How many workloads called each other to get to a request.
pub(crate) fn depth<B>(request: &Request<B>) -> u8 {
    request.extensions().get().map_or(0, |Depth(depth)| *depth)
}

/// Answers in a task of its own: one guest can't be driven from within another.
pub(super) async fn answer(
    routes: Arc<dyn LocalRoutes>,
    request: Request<WasiBody>,
    depth: u8,
    timeouts: Timeouts,
) -> Result<Response<WasiBody>, Error> {
    let (mut parts, body) = request.into_parts();
    parts.version = Version::HTTP_11;
    parts.extensions.insert(Depth(depth + 1));
    let body = body.map_err(|_| BodyError::ClientGone).boxed_unsync();
    let request = Request::from_parts(parts, body);
    let (head, head_is_known) = oneshot::channel();
    let (frames, received) = mpsc::channel(FRAMES);
    let whole = async move {
        let answer = routes.answer(request).await;
        // Behind the conversion it is not known any more.
        let size = answer.body().size_hint();
        let (parts, mut body) = answer.map(into_wasi).into_parts();
        if head.send((parts, size)).is_err() {
            return;
        }
        while let Some(frame) = body.frame().await {
            let failed = frame.is_err();
            if frames.send(frame).await.is_err() || failed {
                return;
            }
        }
    };
    let task = Task(tokio::spawn(whole));
    let (parts, size) = tokio::time::timeout(timeouts.first_byte, head_is_known)
        .await
        .map_err(|_| Error::ConnectionReadTimeout)?
        .map_err(|_| Error::ConnectionTerminated)?;
    let body = Received {
        frames: received,
        left: size,
        patience: Patience::new(timeouts.between_bytes),
        task: Some(task),
    };
    Ok(Response::from_parts(parts, body.boxed_unsync()))
}

/// Ends the other guest's call when nobody reads its answer any more.
struct Task(JoinHandle<()>);

/// The body as the caller reads it.
struct Received {
    frames: mpsc::Receiver<Result<Frame<Bytes>, Error>>,
    left: SizeHint,
    patience: Patience,
    task: Option<Task>,
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl http_body::Body for Received {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let Poll::Ready(frame) = self.frames.poll_recv(cx) else {
            ready!(self.patience.poll_end(cx));
            self.task = None;
            return Poll::Ready(Some(Err(Error::ConnectionReadTimeout)));
        };
        self.patience.renew();
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
            && let Some(left) = self.left.exact()
        {
            self.left = SizeHint::with_exact(left.saturating_sub(data.len() as u64));
        }
        Poll::Ready(frame)
    }

    fn size_hint(&self) -> SizeHint {
        self.left
    }
}
