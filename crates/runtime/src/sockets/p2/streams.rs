//! A connection's two directions as `wasi:io` streams.

use std::{
    future::{Future, poll_fn},
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use tokio::sync::oneshot;
use wasmtime_wasi_io::{
    poll::Pollable,
    streams::{InputStream, OutputStream, StreamError, StreamResult},
};

use crate::sockets::{
    error::Code,
    stream::{Incoming, Outgoing, PIECE, no_wait},
    tcp::Half,
};

/// How long the rest of what a guest wrote may take after the guest has gone.
const AFTER_STREAM: Duration = Duration::from_secs(10);

/// What arrives, as a stream.
pub(super) struct Input(pub(super) Half<Incoming>);

/// What is sent, as a stream.
pub(super) struct Output {
    half: Half<Outgoing>,
    /// Bytes that the kernel had no room for are sent by a task of their own: the guest may wait
    /// for something else meanwhile, an answer for example.
    rest: Option<oneshot::Receiver<Result<(), Code>>>,
    failed: Option<Code>,
}

#[async_trait::async_trait]
impl Pollable for Input {
    async fn ready(&mut self) {
        poll_fn(|cx| match &mut *self.0.lock() {
            Some(incoming) => incoming.poll_ready(cx),
            None => Poll::Ready(()),
        })
        .await;
    }
}

impl InputStream for Input {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        let mut half = self.0.lock();
        let Some(incoming) = &mut *half else {
            return Err(StreamError::Closed);
        };
        if size == 0 {
            return Ok(Bytes::new());
        }
        let mut bytes = BytesMut::zeroed(size.min(PIECE));
        match incoming.poll_read(&mut no_wait(), &mut bytes) {
            Poll::Pending => Ok(Bytes::new()),
            Poll::Ready(Ok(0)) => {
                *half = None;
                Err(StreamError::Closed)
            }
            Poll::Ready(Ok(length)) => {
                bytes.truncate(length);
                Ok(bytes.freeze())
            }
            Poll::Ready(Err(code)) => {
                *half = None;
                Err(failure(code))
            }
        }
    }
}

/// Ends what is sent, after the rest of what was written.
pub(super) fn shut(half: &Half<Outgoing>) {
    match &mut *half.lock() {
        Some(outgoing) if outgoing.has_rest => outgoing.is_shut = true,
        half => *half = None,
    }
}

/// What may still be written to.
fn open(half: &mut Option<Outgoing>) -> Option<&mut Outgoing> {
    half.as_mut().filter(|outgoing| !outgoing.is_shut)
}

impl Output {
    pub(super) fn new(half: Half<Outgoing>) -> Self {
        Self {
            half,
            rest: None,
            failed: None,
        }
    }

    /// Room for bytes, once what was written before is on its way.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Code>> {
        if let Some(rest) = &mut self.rest {
            let sent = ready!(Pin::new(rest).poll(cx));
            self.rest = None;
            if let Ok(Err(code)) = sent {
                self.failed = Some(code);
            }
        }
        if let Some(code) = self.failed {
            return Poll::Ready(Err(code));
        }
        match open(&mut self.half.lock()) {
            Some(outgoing) => outgoing.poll_room(cx),
            None => Poll::Ready(Err(Code::ConnectionBroken)),
        }
    }

    fn send_later(&mut self, bytes: Bytes) {
        let (mut sent, rest) = oneshot::channel();
        let half = self.half.clone();
        if let Some(outgoing) = &mut *half.lock() {
            outgoing.has_rest = true;
        }
        tokio::spawn(async move {
            let gone = async {
                sent.closed().await;
                tokio::time::sleep(AFTER_STREAM).await;
            };
            let result = tokio::select! {
                result = send_all(&half, bytes) => result,
                () = gone => Err(Code::Timeout),
            };
            end_rest(&half);
            let _ = sent.send(result);
        });
        self.rest = Some(rest);
    }
}

/// The rest is sent, or never will be.
fn end_rest(half: &Half<Outgoing>) {
    let mut half = half.lock();
    if let Some(outgoing) = &mut *half {
        outgoing.has_rest = false;
        if outgoing.is_shut {
            *half = None;
        }
    }
}

async fn send_all(half: &Half<Outgoing>, mut bytes: Bytes) -> Result<(), Code> {
    while !bytes.is_empty() {
        let write = poll_fn(|cx| match &mut *half.lock() {
            Some(outgoing) => outgoing.poll_write(cx, &bytes),
            None => Poll::Ready(Err(Code::ConnectionBroken)),
        });
        let length = write.await?;
        drop(bytes.split_to(length));
    }
    Ok(())
}

#[async_trait::async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {
        let _ = poll_fn(|cx| self.poll_room(cx)).await;
    }
}

impl OutputStream for Output {
    fn check_write(&mut self) -> StreamResult<usize> {
        match self.poll_room(&mut no_wait()) {
            Poll::Pending => Ok(0),
            Poll::Ready(Ok(room)) => Ok(room),
            Poll::Ready(Err(code)) => Err(failure(code)),
        }
    }

    fn write(&mut self, mut bytes: Bytes) -> StreamResult<()> {
        if let Some(code) = self.failed {
            return Err(failure(code));
        }
        // What can't be sent at once is kept: no more than is ever permitted, and none beside a rest. The
        // socket isn't asked again: it may have room for the one look and none for the next.
        if !bytes.is_empty() && (self.rest.is_some() || bytes.len() > PIECE) {
            return Err(StreamError::trap("more was written than was permitted"));
        }
        while !bytes.is_empty() {
            let written = match open(&mut self.half.lock()) {
                Some(outgoing) => outgoing.poll_write(&mut no_wait(), &bytes),
                None => Poll::Ready(Err(Code::ConnectionBroken)),
            };
            match written {
                Poll::Ready(Ok(length)) => drop(bytes.split_to(length)),
                Poll::Ready(Err(code)) => return Err(failure(code)),
                Poll::Pending => {
                    self.send_later(bytes);
                    break;
                }
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }
}

fn failure(code: Code) -> StreamError {
    match code {
        Code::ConnectionBroken => StreamError::Closed,
        code => StreamError::LastOperationFailed(io::Error::from(code).into()),
    }
}
