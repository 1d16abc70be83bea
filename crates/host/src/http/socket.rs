//! A client's bytes, and whether it has closed its sending side.
//!
//! Who reads learns of that behind the last byte only. While nobody reads, because a guest does not
//! take what its client sends, the system tells it all the same.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, Interest, ReadBuf},
    net::TcpStream,
};

/// What wakes up when the other side closes, and not for every byte that comes.
#[cfg(target_os = "linux")]
const CLOSED: Interest = Interest::PRIORITY;
#[cfg(not(target_os = "linux"))]
const CLOSED: Interest = Interest::ERROR;

/// Who is at the other end of a connection.
pub(crate) trait Peer: AsyncRead + AsyncWrite + Send + Unpin + 'static {
    /// Waits until the client has closed its sending side, however much it has sent before. For
    /// ever, where that can't be told.
    fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// Waits until reading has a result. It may be ready too early.
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

/// A connection over TCP.
pub(crate) struct Socket {
    /// Taken while it is watched.
    stream: Option<TcpStream>,
    watched: Option<Watched>,
    closed: bool,
}

/// A stream that is only waited for.
struct Watched {
    stream: Arc<TcpStream>,
    /// Holds the stream too.
    closed: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Socket {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self {
            stream: Some(stream),
            watched: None,
            closed: false,
        }
    }

    /// Ends the watch, if there is one.
    fn stream(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        if let Some(watched) = self.watched.take() {
            drop(watched.closed);
            self.stream = Arc::into_inner(watched.stream);
        }
        let stream = self.stream.as_mut().map(Pin::new);
        stream.ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl Watched {
    fn new(stream: TcpStream) -> Self {
        let stream = Arc::new(stream);
        let watched = stream.clone();
        let closed = Box::pin(async move {
            // It fails when the runtime ends, and the connection with it.
            let _ = watched.ready(CLOSED).await;
        });
        Self { stream, closed }
    }
}

impl Peer for Socket {
    fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.closed {
            return Poll::Ready(());
        }
        if let Some(stream) = self.stream.take() {
            self.watched = Some(Watched::new(stream));
        }
        if let Some(watched) = &mut self.watched {
            ready!(watched.closed.as_mut().poll(cx));
        }
        self.closed = true;
        Poll::Ready(())
    }

    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_read_ready(cx)
    }
}

/// Within the process. Who is at its other end reads what it asked for.
impl Peer for DuplexStream {
    fn poll_closed(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }

    fn poll_readable(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        target: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.stream()?.poll_read(cx, target)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stream()?.poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream()?.poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Nothing is kept back.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_shutdown(cx)
    }
}
