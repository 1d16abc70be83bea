//! The bytes of one connection on their way to hyper.
//!
//! For HTTP/1 each request head is held back until it is whole and was checked (see
//! [`head`](super::head)), because hyper forgives shapes that smuggle requests past another server.
//! In place of a head that does not pass, hyper gets a harmless one, and the service is told to
//! answer it with the reason: so the refusal keeps its place behind the answers before it.
//!
//! It also tells a client that only closed its sending side from one that left. Both look alike at
//! first; but the kernel of the one that left rejects what is sent to it. So the end of the stream
//! is passed on to hyper, which then drops the request, only when nothing could be sent for
//! [`GONE_AFTER`]. While hyper reads nothing, because a guest does not take what its client sent or
//! the next request waits already, the system is asked for that end, past what is unread.

use std::{
    io::{self, IoSlice},
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf},
    task::yield_now,
    time::{Instant, Sleep, sleep_until},
};
use tokio_util::io::poll_read_buf;

use super::{
    framing::Remaining,
    head::{self, HEAD_BYTES},
    signals::Signals,
    socket::Peer,
};
use crate::reason::Reason;

/// Silence after which a client that closed its sending side counts as gone.
const GONE_AFTER: Duration = Duration::from_millis(50);
/// Longest wait for a request head, the idle time before it included.
pub(super) const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest wait for the client to read a last answer, before a connection with unread bytes is
/// closed and the kernel resets it.
const LINGER: Duration = Duration::from_secs(5);
/// Most bytes thrown away meanwhile.
const LINGER_BYTES: u64 = 64 << 20;
/// Bytes asked of the socket at a time, within heads and within bodies.
const HEAD_READ: usize = 4 << 10;
const BODY_READ: usize = 32 << 10;
/// How every HTTP/2 connection begins.
const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// What hyper gets in place of a refused head.
const SUBSTITUTE: &[u8] = b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n";

/// The protocol a client speaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

/// One connection's bytes.
pub(crate) struct Wire<T> {
    io: T,
    /// Read and not yet handed to hyper.
    buffer: BytesMut,
    stage: Stage,
    signals: Arc<Signals>,
    /// Heads handed to hyper.
    heads: u32,
    /// The client has closed its sending side, and all that it sent was read.
    ended: bool,
    /// Hyper waits for bytes, and so for their end. From one flush to the next: it says nothing when it
    /// reads no more, as of a body that its guest has dropped.
    reading: bool,
    /// The client has closed its sending side since hyper read last.
    closed_unread: bool,
    /// A write waits for the client to read.
    write_blocked: bool,
    /// When bytes could last be sent, or the client closed its sending side.
    quiet_since: Instant,
    timer: Option<Pin<Box<Sleep>>>,
    /// Rings when a head may have taken too long. It is not set anew for each one: that would be a
    /// good part of what a small request costs.
    head_timer: Option<Pin<Box<Sleep>>>,
    linger: Linger,
    turn: Turn,
}

/// Whether other connections have gone before the next request.
enum Turn {
    NotYet,
    Now(Pin<Box<dyn Future<Output = ()> + Send>>),
    Had,
}

/// Where in the stream of requests the buffer's first byte is.
enum Stage {
    /// In a head of which so many bytes hold no end.
    Head { searched: usize },
    /// So many bytes of the buffer are hyper's, and then the body goes on.
    Body {
        cleared: usize,
        remaining: Remaining,
    },
    /// After a refused head: so many bytes of the substitute are still to be handed over.
    Refused { left: usize },
    /// Not looked at: HTTP/2.
    Raw,
}

enum Linger {
    NotYet,
    Reading { until: Pin<Box<Sleep>>, left: u64 },
    Over,
}

impl<T: Peer> Wire<T> {
    /// Reads until it is clear which protocol the client speaks. Fails if the client leaves before.
    pub(crate) async fn open(mut io: T) -> io::Result<(Self, Protocol)> {
        let mut buffer = BytesMut::with_capacity(4096);
        let protocol = loop {
            if io.read_buf(&mut buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let common = buffer.len().min(H2_PREFACE.len());
            if buffer[..common] != H2_PREFACE[..common] {
                break Protocol::Http1;
            }
            if common == H2_PREFACE.len() {
                break Protocol::Http2;
            }
        };
        let stage = match protocol {
            Protocol::Http1 => Stage::Head { searched: 0 },
            Protocol::Http2 => Stage::Raw,
        };
        let wire = Self {
            io,
            buffer,
            stage,
            signals: Arc::default(),
            heads: 0,
            ended: false,
            reading: false,
            closed_unread: false,
            write_blocked: false,
            quiet_since: Instant::now(),
            timer: None,
            head_timer: None,
            linger: Linger::NotYet,
            turn: Turn::NotYet,
        };
        Ok((wire, protocol))
    }

    /// What this connection tells its service, and the other way.
    pub(crate) fn signals(&self) -> Arc<Signals> {
        self.signals.clone()
    }

    /// Reads more into the buffer; `Ok(0)` is the end of the stream. Fails when a head takes too
    /// long.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.ended {
            return Poll::Ready(Ok(0));
        }
        let Poll::Ready(read) = self.poll_more(cx) else {
            return self
                .poll_late(cx)
                .map(|()| Err(io::ErrorKind::TimedOut.into()));
        };
        let read = read?;
        self.turn = Turn::NotYet;
        if read == 0 {
            self.ended = true;
            self.quiet_since = Instant::now();
        }
        Poll::Ready(Ok(read))
    }

    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.buffer.is_empty() && !matches!(self.stage, Stage::Body { .. }) {
            ready!(self.poll_turn(cx))?;
        }
        let in_body = matches!(self.stage, Stage::Body { .. } | Stage::Raw);
        self.buffer
            .reserve(if in_body { BODY_READ } else { HEAD_READ });
        poll_read_buf(Pin::new(&mut self.io), cx, &mut self.buffer)
    }

    /// Lets other connections go first, once for each request, if this one is told to.
    ///
    /// That is done before anything of the request is read: what has been read would lie about meanwhile.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if matches!(self.turn, Turn::NotYet) && self.signals.gives_way() {
            ready!(self.io.poll_readable(cx))?;
            self.turn = Turn::Now(Box::pin(yield_now()));
        }
        if let Turn::Now(turn) = &mut self.turn {
            ready!(turn.as_mut().poll(cx));
            self.turn = Turn::Had;
        }
        Poll::Ready(Ok(()))
    }

    /// Waits until a head has taken too long.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !matches!(self.stage, Stage::Head { .. }) {
            return Poll::Pending;
        }
        let first = self.quiet_since + HEAD_TIMEOUT;
        let timer = self
            .head_timer
            .get_or_insert_with(|| Box::pin(sleep_until(first)));
        loop {
            ready!(timer.as_mut().poll(cx));
            // The wait begins behind the last answer.
            let since = match self.signals.is_active() {
                true => Instant::now(),
                false => self.quiet_since,
            };
            let until = since + HEAD_TIMEOUT;
            if until <= timer.deadline() {
                return Poll::Ready(());
            }
            timer.as_mut().reset(until);
        }
    }

    /// Takes a whole head out of doubt, or a substitute in its place.
    fn pass_head(&mut self, end: usize) {
        match head::check(&self.buffer[..end]) {
            Ok(framing) => {
                self.stage = Stage::Body {
                    cleared: end,
                    remaining: framing.into(),
                };
                self.heads += 1;
            }
            Err(reason) => self.refuse(reason),
        }
    }

    fn refuse(&mut self, reason: Reason) {
        self.signals.refuse(self.heads, reason);
        self.heads += 1;
        self.buffer.clear();
        self.stage = Stage::Refused {
            left: SUBSTITUTE.len(),
        };
    }

    /// Waits until a client that closed its sending side is really gone.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if !self.signals.is_active() && !self.write_blocked {
                return Poll::Ready(());
            }
            let until = self.quiet_since + GONE_AFTER;
            let timer = self
                .timer
                .get_or_insert_with(|| Box::pin(sleep_until(until)));
            if timer.deadline() < until {
                timer.as_mut().reset(until);
            }
            ready!(timer.as_mut().poll(cx));
            if self.write_blocked {
                // Its kernel still takes part, or the write would have failed.
                timer.as_mut().reset(Instant::now() + GONE_AFTER);
                continue;
            }
            if timer.deadline() >= self.quiet_since + GONE_AFTER {
                return Poll::Ready(());
            }
        }
    }

    /// Waits until a client is gone, while a request is worked on and nobody reads.
    fn poll_gone_unread(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let reading = mem::take(&mut self.reading);
        if reading || matches!(self.stage, Stage::Raw) || !self.signals.is_active() {
            return Poll::Pending;
        }
        ready!(self.io.poll_closed(cx));
        if !self.closed_unread {
            self.closed_unread = true;
            self.quiet_since = Instant::now();
        }
        self.poll_gone(cx)
    }

    /// Hands over bytes that are hyper's; `true` if there were any.
    fn hand_over(&mut self, target: &mut ReadBuf<'_>) -> bool {
        let ready = match &mut self.stage {
            Stage::Head { .. } => 0,
            Stage::Raw => self.buffer.len(),
            Stage::Refused { left } => {
                let at = SUBSTITUTE.len() - *left;
                let count = (*left).min(target.remaining());
                target.put_slice(&SUBSTITUTE[at..at + count]);
                *left -= count;
                return count > 0;
            }
            Stage::Body { cleared, remaining } => {
                *cleared += remaining.advance(&self.buffer[*cleared..]);
                *cleared
            }
        };
        let count = ready.min(target.remaining());
        target.put_slice(&self.buffer[..count]);
        self.buffer.advance(count);
        if let Stage::Body { cleared, remaining } = &mut self.stage {
            *cleared -= count;
            if *cleared == 0 && *remaining == Remaining::Nothing {
                self.stage = Stage::Head { searched: 0 };
            }
        }
        count > 0
    }

    /// The next bytes that are hyper's, or the end of the stream.
    fn poll_bytes(
        &mut self,
        cx: &mut Context<'_>,
        target: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if let Stage::Head { searched } = &mut self.stage {
                if let Some(end) = head::find_end(&self.buffer, searched.saturating_sub(2))
                    && end <= HEAD_BYTES
                {
                    self.pass_head(end);
                } else if !head::may_begin(&self.buffer) {
                    self.refuse(Reason::MalformedRequest);
                } else if self.buffer.len() >= HEAD_BYTES {
                    self.refuse(Reason::HeadersTooLarge);
                } else {
                    *searched = self.buffer.len();
                }
            }
            if self.hand_over(target) {
                return Poll::Ready(Ok(()));
            }
            if ready!(self.poll_fill(cx))? == 0 {
                ready!(self.poll_gone(cx));
                // A head that was never finished, and nothing before it that waits for its answer.
                if matches!(self.stage, Stage::Head { .. })
                    && !self.buffer.is_empty()
                    && !self.signals.is_active()
                {
                    self.refuse(Reason::MalformedRequest);
                    continue;
                }
                return Poll::Ready(Ok(()));
            }
            if matches!(self.stage, Stage::Refused { .. }) {
                self.buffer.clear();
            }
        }
    }

    /// Whether the client may still be sending what nobody will read.
    fn must_linger(&self) -> bool {
        match &self.stage {
            Stage::Refused { .. } | Stage::Body { .. } => true,
            Stage::Head { .. } => !self.buffer.is_empty(),
            Stage::Raw => false,
        }
    }
}

impl<T: Peer> AsyncRead for Wire<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        target: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let result = self.poll_bytes(cx, target);
        self.reading = result.is_pending();
        self.closed_unread = false;
        result
    }
}

impl<T: Peer> AsyncWrite for Wire<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.note_write(&result);
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.io).poll_write_vectored(cx, slices);
        self.note_write(&result);
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    /// Hyper flushes whenever it has done what it could, so that this is where to look for clients
    /// that are gone.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.poll_gone_unread(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            match &mut this.linger {
                Linger::NotYet => {
                    ready!(Pin::new(&mut this.io).poll_shutdown(cx))?;
                    this.linger = if this.must_linger() && !this.ended {
                        Linger::Reading {
                            until: Box::pin(tokio::time::sleep(LINGER)),
                            left: LINGER_BYTES,
                        }
                    } else {
                        Linger::Over
                    };
                }
                Linger::Reading { until, left } => {
                    let over = until.as_mut().poll(cx).is_ready() || *left == 0;
                    let spent = *left;
                    this.buffer.clear();
                    match if over {
                        Poll::Ready(Ok(0))
                    } else {
                        this.poll_fill(cx)
                    } {
                        Poll::Pending => return Poll::Pending,
                        Poll::Ready(Ok(read)) if read > 0 => {
                            if let Linger::Reading { left, .. } = &mut this.linger {
                                *left = spent.saturating_sub(read as u64);
                            }
                        }
                        // Whatever it is, the connection ends here.
                        Poll::Ready(_) => this.linger = Linger::Over,
                    }
                }
                Linger::Over => return Poll::Ready(Ok(())),
            }
        }
    }
}

impl<T> Wire<T> {
    fn note_write(&mut self, result: &Poll<io::Result<usize>>) {
        self.write_blocked = result.is_pending();
        if result.is_ready() {
            self.quiet_since = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    const HEAD: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";

    /// A wire with one request read, and its client.
    async fn with_request() -> (Wire<DuplexStream>, DuplexStream) {
        let (mut client, server) = duplex(1 << 10);
        client.write_all(HEAD).await.unwrap();
        let (mut wire, protocol) = Wire::open(server).await.unwrap();
        assert_eq!(protocol, Protocol::Http1);
        let mut head = vec![0; HEAD.len()];
        wire.read_exact(&mut head).await.unwrap();
        assert_eq!(head, HEAD);
        (wire, client)
    }

    async fn time_to_end(wire: &mut Wire<DuplexStream>) -> Duration {
        let started = Instant::now();
        assert_eq!(wire.read(&mut [0]).await.unwrap(), 0);
        started.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_ends_at_once() {
        let (mut wire, mut client) = with_request().await;
        client.shutdown().await.unwrap();
        assert_eq!(time_to_end(&mut wire).await, Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_client_counts_as_gone_a_little_later() {
        let (mut wire, mut client) = with_request().await;
        let (_active, refused) = wire.signals().begin();
        assert_eq!(refused, None);
        // However long it was quiet before.
        tokio::time::sleep(Duration::from_secs(5)).await;
        client.shutdown().await.unwrap();
        let took = time_to_end(&mut wire).await;
        assert!((GONE_AFTER..2 * GONE_AFTER).contains(&took), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_is_sent_to_is_there() {
        let (mut wire, mut client) = with_request().await;
        let (active, _) = wire.signals().begin();
        client.shutdown().await.unwrap();
        for _ in 0..10 {
            let early = tokio::time::timeout(GONE_AFTER / 2, time_to_end(&mut wire));
            assert!(early.await.is_err(), "gone while it was sent to");
            wire.write_all(b"x").await.unwrap();
        }
        // And one that does not read what it is sent is waited for.
        let full = tokio::time::timeout(GONE_AFTER, wire.write_all(&[b'x'; 2 << 10]));
        assert!(full.await.is_err());
        let blocked = tokio::time::timeout(100 * GONE_AFTER, time_to_end(&mut wire));
        assert!(blocked.await.is_err(), "gone while it was slow");
        drop(active);
    }

    #[tokio::test]
    async fn others_go_before_the_next_request_of_one_that_is_told_to_give_way() {
        for (gives_way, first) in [(false, "request"), (true, "other")] {
            let (mut wire, mut client) = with_request().await;
            wire.signals().give_way(gives_way);
            client.write_all(HEAD).await.unwrap();
            let order = parking_lot::Mutex::new(Vec::new());
            let request = async {
                wire.read_u8().await.unwrap();
                order.lock().push("request");
            };
            let other = async { order.lock().push("other") };
            tokio::join!(biased; request, other);
            assert_eq!(order.into_inner()[0], first);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_takes_too_long_ends_the_connection() {
        let (mut wire, mut client) = with_request().await;
        let trickle = async {
            for byte in HEAD {
                client.write_all(&[*byte]).await.unwrap();
                tokio::time::sleep(HEAD_TIMEOUT / 4).await;
            }
        };
        let started = Instant::now();
        let ended = tokio::select! {
            ended = wire.read_u8() => ended.unwrap_err(),
            () = trickle => panic!("a head of {:?}", started.elapsed()),
        };
        assert_eq!(ended.kind(), io::ErrorKind::TimedOut);
        let took = started.elapsed();
        assert!((HEAD_TIMEOUT..HEAD_TIMEOUT * 2).contains(&took), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_wait_for_a_head_begins_behind_the_last_answer() {
        let (mut wire, _client) = with_request().await;
        let (active, _) = wire.signals().begin();
        let busy = tokio::time::timeout(HEAD_TIMEOUT * 10, wire.read_u8());
        assert!(busy.await.is_err(), "ended while a request was answered");
        wire.write_all(b"x").await.unwrap();
        drop(active);
        let started = Instant::now();
        let ended = wire.read_u8().await.unwrap_err();
        assert_eq!(ended.kind(), io::ErrorKind::TimedOut);
        let took = started.elapsed();
        assert!((HEAD_TIMEOUT..HEAD_TIMEOUT * 2).contains(&took), "{took:?}");
    }

    #[tokio::test]
    async fn the_protocol_is_told_by_the_first_bytes() {
        for (bytes, expected) in [
            (
                &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..],
                Some(Protocol::Http2),
            ),
            (b"PRI * HTTP/1.1\r\n", Some(Protocol::Http1)),
            (b"P", None),
            (b"", None),
        ] {
            let (mut client, server) = duplex(64);
            client.write_all(bytes).await.unwrap();
            client.shutdown().await.unwrap();
            let opened = Wire::open(server).await.ok();
            assert_eq!(opened.map(|(_, protocol)| protocol), expected, "{bytes:?}");
        }
    }
}
