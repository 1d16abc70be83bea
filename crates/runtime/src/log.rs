//! What a guest prints, cut into lines and marked with the request it belongs to. Keeping, limiting
//! and showing the lines is the sink's business.

use std::{
    io, mem,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::{io::AsyncWrite, task::coop};
use waft_ir::LogSource;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};

use crate::{Origin, TraceContext};

/// Bytes of the longest line; a longer one is cut.
pub const MAX_LINE: usize = 16 << 10;

/// Bytes a guest may write in one call.
const WRITE_PERMIT: usize = 64 << 10;
/// Bytes that are taken of a stream at a time. As many times as a task may go on without giving way, they
/// are the work of some milliseconds, were each a line.
const PIECE: usize = 1 << 10;

/// Takes the lines of one component. It is called from guest tasks and must not block.
pub trait LogSink: Send + Sync {
    /// Takes one line, without its end. `request` is the request that was being served; `None` when
    /// there was none, or when several were and the line can't be told apart.
    fn line(&self, source: LogSource, request: Option<&str>, text: &str);

    /// Counts the lines of a text's rest, which was too long to be given to it.
    fn drop_rest(&self, _rest: &str) {}

    /// How many lines it has not taken so far.
    fn dropped(&self) -> u64 {
        0
    }
}

/// Where the lines of one instance go: the sink, and the call being served.
pub(crate) struct InstanceLog {
    sink: Arc<dyn LogSink>,
    origin: Mutex<Option<Origin>>,
    /// Of the deepest of the calls that run.
    depth: AtomicU8,
}

/// One of the guest's output streams. Clones share the line being written.
#[derive(Clone)]
pub(crate) struct LineStream(Arc<LineState>);

struct LineState {
    log: Arc<InstanceLog>,
    source: LogSource,
    partial: Mutex<Partial>,
}

/// A line that has no end yet.
#[derive(Default)]
struct Partial {
    bytes: Vec<u8>,
    /// What came before was passed on as a line of its own.
    is_rest: bool,
}

impl InstanceLog {
    pub(crate) fn new(sink: Arc<dyn LogSink>) -> Arc<Self> {
        Arc::new(Self {
            sink,
            origin: Mutex::new(None),
            depth: AtomicU8::new(0),
        })
    }

    /// Marks the lines from here on, and notes how many workloads called each other at most to get
    /// to what runs.
    pub(crate) fn set_origin(&self, origin: Option<Origin>, depth: u8) {
        *self.origin.lock() = origin;
        self.depth.store(depth, Relaxed);
    }

    /// How many workloads called each other to get here.
    pub(crate) fn depth(&self) -> u8 {
        self.depth.load(Relaxed)
    }

    /// The trace of the call that is running, if it is the only one.
    pub(crate) fn trace(&self) -> Option<TraceContext> {
        self.origin.lock().as_ref()?.trace.clone()
    }

    pub(crate) fn line(&self, source: LogSource, text: &str) {
        let origin = self.origin.lock().clone();
        let request = origin.as_ref().map(|origin| &*origin.request_id);
        self.sink.line(source, request, text);
    }

    pub(crate) fn drop_rest(&self, rest: &str) {
        self.sink.drop_rest(rest);
    }

    fn bytes(&self, source: LogSource, line: &[u8]) {
        self.line(source, &String::from_utf8_lossy(line));
    }
}

impl LineStream {
    pub(crate) fn new(log: Arc<InstanceLog>, source: LogSource) -> Self {
        Self(Arc::new(LineState {
            log,
            source,
            partial: Mutex::default(),
        }))
    }

    /// Passes on a line that was begun and not ended.
    pub(crate) fn end_line(&self) {
        self.0.end_line();
    }
}

impl LineState {
    fn write(&self, mut bytes: &[u8]) {
        let mut partial = self.partial.lock();
        while !bytes.is_empty() {
            let room = MAX_LINE - partial.bytes.len();
            let end = bytes.iter().take(room).position(|byte| *byte == b'\n');
            match end {
                Some(at) => {
                    self.pass_on(mem::take(&mut *partial), &bytes[..at]);
                    bytes = &bytes[at + 1..];
                }
                None if bytes.len() < room => {
                    partial.bytes.extend_from_slice(bytes);
                    return;
                }
                None => {
                    let (line, rest) = bytes.split_at(room);
                    partial.bytes.extend_from_slice(line);
                    let whole = whole(&partial.bytes);
                    let begun = partial.bytes.split_off(whole);
                    self.pass_on(mem::take(&mut *partial), b"");
                    partial.bytes = begun;
                    partial.is_rest = true;
                    bytes = rest;
                }
            }
        }
    }

    /// Passes on a line that ends with `end`. After one that was cut there may be nothing but the end of
    /// the line, which is no line.
    fn pass_on(&self, mut partial: Partial, end: &[u8]) {
        let line = match partial.bytes.is_empty() {
            true => end,
            false => {
                partial.bytes.extend_from_slice(end);
                &partial.bytes[..]
            }
        };
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if !(partial.is_rest && line.is_empty()) {
            self.log.bytes(self.source, line);
        }
    }

    fn end_line(&self) {
        let partial = mem::take(&mut *self.partial.lock());
        if !partial.bytes.is_empty() {
            self.pass_on(partial, b"");
        }
    }
}

/// How many of a line's bytes are whole characters: all, unless it was cut within its last one.
fn whole(line: &[u8]) -> usize {
    let tail = line.len().saturating_sub(4);
    let is_first = |byte: &u8| byte & 0b1100_0000 != 0b1000_0000;
    let last = line[tail..].iter().rposition(is_first);
    let is_cut = |at: &usize| {
        let character = std::str::from_utf8(&line[*at..]);
        character.is_err_and(|error| error.error_len().is_none())
    };
    last.map(|at| tail + at)
        .filter(is_cut)
        .unwrap_or(line.len())
}

impl Drop for LineState {
    fn drop(&mut self) {
        self.end_line();
    }
}

impl IsTerminal for LineStream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for LineStream {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait::async_trait]
impl Pollable for LineStream {
    async fn ready(&mut self) {}
}

impl OutputStream for LineStream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        if bytes.len() > WRITE_PERMIT {
            return Err(StreamError::trap("more was written than was permitted"));
        }
        self.0.write(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_PERMIT)
    }
}

impl AsyncWrite for LineStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        // Where the bytes come from the host too, no guest gives way between the pieces.
        ready!(coop::poll_proceed(cx)).made_progress();
        let piece = &bytes[..bytes.len().min(PIECE)];
        self.0.write(piece);
        Poll::Ready(Ok(piece.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Kept(Mutex<Vec<(Option<String>, String)>>);

    impl LogSink for Kept {
        fn line(&self, _: LogSource, request: Option<&str>, text: &str) {
            self.0
                .lock()
                .push((request.map(Into::into), text.to_owned()));
        }
    }

    #[test]
    fn lines_are_cut_and_marked() {
        let kept = Arc::new(Kept::default());
        let log = InstanceLog::new(kept.clone());
        let stream = LineStream::new(log.clone(), LogSource::Stdout);
        stream.0.write(b"one\r\ntw");
        log.set_origin(Some(Arc::<str>::from("r1").into()), 0);
        stream.clone().0.write(b"o\n\nthree");
        stream.end_line();
        stream.0.write(&[b'x'; MAX_LINE + 1]);
        drop(stream);
        let lines = mem::take(&mut *kept.0.lock());
        let texts: Vec<_> = lines.iter().map(|(_, text)| text.as_str()).collect();
        let long = "x".repeat(MAX_LINE);
        assert_eq!(texts, ["one", "two", "", "three", &long, "x"]);
        assert_eq!(lines[0].0, None);
        assert_eq!(lines[1].0.as_deref(), Some("r1"));
    }

    #[test]
    fn a_line_of_full_length_is_one_and_characters_stay_whole() {
        let long = "x".repeat(MAX_LINE);
        let before = &long[1..];
        let cut = format!("{before}é");
        for (written, expected) in [
            (format!("{long}\nnext\n"), vec![&*long, "next"]),
            (format!("{long}\r\n\n"), vec![&*long, ""]),
            (format!("{long}{long}\n"), vec![&*long, &*long]),
            (format!("{cut}\n"), vec![before, "é"]),
            (format!("{before}\u{10348}y"), vec![before, "\u{10348}y"]),
        ] {
            for piece in [1, 1000, MAX_LINE, written.len()] {
                let kept = Arc::new(Kept::default());
                let log = InstanceLog::new(kept.clone());
                let stream = LineStream::new(log, LogSource::Stdout);
                for piece in written.as_bytes().chunks(piece) {
                    stream.0.write(piece);
                }
                drop(stream);
                let lines = kept.0.lock();
                let texts: Vec<_> = lines.iter().map(|(_, text)| text.as_str()).collect();
                assert_eq!(texts, expected, "in pieces of {piece}");
            }
        }
    }
}
