//! The two directions of a TCP connection, within the workload or to the outside.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

use rustix::net::{Shutdown, shutdown};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::OwnedSemaphorePermit,
};

use super::{
    error::Code,
    loopback::Connection,
    pipe::{self, ReaderGone},
};

/// Most bytes moved in one step.
pub(crate) const PIECE: usize = 64 << 10;

/// Keeps a connection counted until both directions are gone.
type Place = Arc<OwnedSemaphorePermit>;

/// What arrives.
pub(crate) struct Incoming {
    from: Receiving,
    _place: Place,
}

/// What is sent. Dropping it tells the other side that nothing more comes.
pub(crate) struct Outgoing {
    to: Sending,
    /// A task of its own still sends what was written before.
    pub(crate) has_rest: bool,
    /// The guest writes nothing more: once that is sent, this is dropped.
    pub(crate) is_shut: bool,
    _place: Place,
}

enum Receiving {
    Inside(pipe::Reader),
    Outside(Arc<TcpStream>),
}

enum Sending {
    Inside(pipe::Writer),
    Outside(Sender),
}

/// Tells the other side that nothing more comes when it is dropped.
struct Sender(Arc<TcpStream>);

/// Both directions of a connection within the workload.
pub(crate) fn inside(connection: Connection) -> (Incoming, Outgoing) {
    let place = connection.place;
    (
        Incoming::new(Receiving::Inside(connection.reader), &place),
        Outgoing::new(Sending::Inside(connection.writer), &place),
    )
}

/// Both directions of a connection to the outside.
pub(crate) fn outside(
    stream: &Arc<TcpStream>,
    place: OwnedSemaphorePermit,
) -> (Incoming, Outgoing) {
    let place = Arc::new(place);
    let sender = Sender(stream.clone());
    (
        Incoming::new(Receiving::Outside(stream.clone()), &place),
        Outgoing::new(Sending::Outside(sender), &place),
    )
}

/// Both directions of a connection within the workload, for the host's own clients.
pub(crate) struct Inside {
    incoming: Incoming,
    outgoing: Option<Outgoing>,
}

impl Inside {
    pub(super) fn new(connection: Connection) -> Self {
        let (incoming, outgoing) = inside(connection);
        Self {
            incoming,
            outgoing: Some(outgoing),
        }
    }
}

impl AsyncRead for Inside {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let length = ready!(self.incoming.poll_read(cx, into.initialize_unfilled()))?;
        into.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Inside {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.outgoing {
            Some(outgoing) => outgoing.poll_write(cx, bytes).map_err(io::Error::from),
            None => Poll::Ready(Err(Code::ConnectionBroken.into())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outgoing = None;
        Poll::Ready(Ok(()))
    }
}

/// A context for trying without waiting.
pub(crate) fn no_wait() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

impl Incoming {
    fn new(from: Receiving, place: &Place) -> Self {
        Self {
            from,
            _place: place.clone(),
        }
    }

    /// Takes bytes; none where there was room for some: they have ended.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<Result<usize, Code>> {
        match &mut self.from {
            Receiving::Inside(reader) => reader.poll_read(cx, into).map(Ok),
            Receiving::Outside(stream) => {
                attempt(|| stream.poll_read_ready(cx), || stream.try_read(into))
            }
        }
    }

    /// Waits until there is something to read, be it the end.
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.from {
            Receiving::Inside(reader) => reader.poll_ready(cx),
            Receiving::Outside(stream) => stream.poll_read_ready(cx).map(|_| ()),
        }
    }
}

impl Outgoing {
    fn new(to: Sending, place: &Place) -> Self {
        Self {
            to,
            has_rest: false,
            is_shut: false,
            _place: place.clone(),
        }
    }

    /// Bytes that are worth writing now.
    pub(crate) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Code>> {
        match &mut self.to {
            Sending::Inside(writer) => writer.poll_room(cx).map_err(Code::from),
            Sending::Outside(Sender(stream)) => {
                let ready = ready!(stream.poll_write_ready(cx));
                Poll::Ready(ready.map(|()| PIECE).map_err(|error| Code::from(&error)))
            }
        }
    }

    /// Writes a part of these bytes.
    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize, Code>> {
        match &mut self.to {
            Sending::Inside(writer) => writer.poll_write(cx, bytes).map_err(Code::from),
            Sending::Outside(Sender(stream)) => {
                attempt(|| stream.poll_write_ready(cx), || stream.try_write(bytes))
            }
        }
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        // One that is closed already has been told.
        let _ = shutdown(&*self.0, Shutdown::Write);
    }
}

/// Does something with a socket of the machine once that can be done.
fn attempt(
    mut poll: impl FnMut() -> Poll<io::Result<()>>,
    mut act: impl FnMut() -> io::Result<usize>,
) -> Poll<Result<usize, Code>> {
    loop {
        let done = match ready!(poll()) {
            Ok(()) => act(),
            Err(error) => Err(error),
        };
        match done {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            done => return Poll::Ready(done.map_err(|error| Code::from(&error))),
        }
    }
}

impl From<ReaderGone> for Code {
    fn from(_: ReaderGone) -> Self {
        Self::ConnectionBroken
    }
}

impl From<Code> for io::Error {
    fn from(code: Code) -> Self {
        let kind = match code {
            Code::ConnectionRefused => io::ErrorKind::ConnectionRefused,
            Code::ConnectionReset => io::ErrorKind::ConnectionReset,
            Code::ConnectionBroken => io::ErrorKind::BrokenPipe,
            Code::Limit => io::ErrorKind::QuotaExceeded,
            Code::AccessDenied => io::ErrorKind::PermissionDenied,
            _ => io::ErrorKind::Other,
        };
        Self::new(kind, format!("{code:?}"))
    }
}
