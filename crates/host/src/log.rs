//! What guests write: kept per workload and component, in files or, without a folder, in memory;
//! read back and followed. A guest never waits for a disk or a reader: past its rate, or past what
//! the writer has queued, lines are dropped and counted.

mod file;
mod limit;
mod line;
mod query;
mod writer;

use std::{
    io, iter,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc,
    },
    time::SystemTime,
};

use parking_lot::Mutex;
use tokio::sync::oneshot;
use waft_ir as ir;
use waft_runtime::{LogSink, MAX_LINE};

use crate::event::Events;
use limit::Bucket;
use writer::{Message, Read, Writer};

/// Bytes that one component may have queued for the writer.
const COMPONENT_QUEUE: usize = 512 << 10;
/// Bytes that all components may have queued for the writer.
const TOTAL_QUEUE: usize = 32 << 20;
/// Bytes that are taken of one text; of what follows, the lines are counted as dropped.
const ONE_TEXT: usize = 64 << 10;
/// What a line costs beside its text.
const LINE_OVERHEAD: usize = 64;

/// The logs of all workloads of a host.
pub(crate) struct Logs {
    shared: Arc<Shared>,
    directory: Option<PathBuf>,
}

/// The logs of one workload. They end with [`close`](Self::close).
pub(crate) struct WorkloadLog {
    components: Vec<Arc<ComponentLog>>,
    shared: Arc<Shared>,
}

/// The log of one component: what its guests write to.
pub(crate) struct ComponentLog {
    /// Unique for the life of the process, unlike names.
    number: u64,
    workload: Arc<str>,
    name: Arc<str>,
    path: Option<PathBuf>,
    bucket: Mutex<Bucket>,
    bytes_per_second: u64,
    queued: AtomicUsize,
    /// Since a line last said how many.
    dropped: AtomicU64,
    dropped_in_all: AtomicU64,
    shared: Arc<Shared>,
}

struct Shared {
    queue: mpsc::Sender<Message>,
    queued: AtomicUsize,
    next_number: AtomicU64,
}

impl Logs {
    /// Starts the writer. With a folder, logs are files below it.
    pub(crate) fn start(directory: Option<PathBuf>, events: Arc<Events>) -> io::Result<Self> {
        if let Some(directory) = &directory {
            std::fs::create_dir_all(directory)?;
        }
        let (queue, receiver) = mpsc::channel();
        let shared = Arc::new(Shared {
            queue,
            queued: AtomicUsize::new(0),
            next_number: AtomicU64::new(0),
        });
        let writer = Writer::new(receiver, events);
        std::thread::Builder::new()
            .name("waft-logs".into())
            .spawn(move || writer.run())?;
        Ok(Self { shared, directory })
    }

    /// Opens the logs of a workload, one for each (component, bytes per second).
    pub(crate) fn open<'a>(
        &self,
        workload: &ir::Workload,
        components: impl IntoIterator<Item = (&'a str, u64)>,
    ) -> WorkloadLog {
        let key: Arc<str> = workload.key().into();
        let directory = self.directory.as_ref().map(|directory| {
            directory
                .join(file::safe_name(&workload.namespace))
                .join(file::safe_name(&workload.name))
        });
        let open = |(name, bytes_per_second): (&str, u64)| {
            let log = Arc::new(ComponentLog {
                number: self.shared.next_number.fetch_add(1, Ordering::Relaxed),
                workload: key.clone(),
                name: name.into(),
                path: directory
                    .as_ref()
                    .map(|d| d.join(format!("{}.log", file::safe_name(name)))),
                bucket: Mutex::new(Bucket::new(bytes_per_second)),
                bytes_per_second,
                queued: AtomicUsize::new(0),
                dropped: AtomicU64::new(0),
                dropped_in_all: AtomicU64::new(0),
                shared: self.shared.clone(),
            });
            self.shared.send(Message::Open(log.clone()));
            log
        };
        WorkloadLog {
            components: components.into_iter().map(open).collect(),
            shared: self.shared.clone(),
        }
    }
}

impl Logs {
    /// Waits until the lines written so far are in their files.
    pub(crate) async fn flush(&self) {
        let (reply, done) = oneshot::channel();
        self.shared.send(Message::Read(Read {
            numbers: Vec::new(),
            follow: None,
            reply,
        }));
        // Fails if the writer is gone; then nothing more is written.
        let _ = done.await;
    }
}

impl WorkloadLog {
    /// The log of one component, by its place in the list it was opened with.
    pub(crate) fn component(&self, at: usize) -> Arc<ComponentLog> {
        self.components[at].clone()
    }

    /// Whether it is that of these (component, bytes per second).
    pub(crate) fn is_of<'a>(&self, components: impl IntoIterator<Item = (&'a str, u64)>) -> bool {
        let mut own = self.components.iter();
        let is_next = |(name, rate): (&str, u64)| {
            own.next()
                .is_some_and(|log| *log.name == *name && log.bytes_per_second == rate)
        };
        components.into_iter().all(is_next) && own.next().is_none()
    }

    /// Ends those who follow, and removes the files.
    pub(crate) fn close(&self) {
        let numbers = self.components.iter().map(|c| c.number).collect();
        self.shared.send(Message::Close(numbers));
    }

    /// The lines asked for, oldest first.
    pub(crate) async fn read(&self, query: ir::LogQuery) -> ir::LogStream {
        query::read(self, query).await
    }
}

impl ComponentLog {
    fn admit(self: &Arc<Self>, source: ir::LogSource, request: Option<&str>, text: &str) -> bool {
        let cost = text.len() + LINE_OVERHEAD;
        if !self.bucket.lock().take(cost as u64) {
            return false;
        }
        let own = self.queued.fetch_add(cost, Ordering::Relaxed);
        let all = self.shared.queued.fetch_add(cost, Ordering::Relaxed);
        if own + cost > COMPONENT_QUEUE || all + cost > TOTAL_QUEUE {
            self.written(cost);
            return false;
        }
        self.shared.send(Message::Line {
            log: self.clone(),
            cost,
            line: ir::LogLine {
                time: SystemTime::now(),
                component: self.name.to_string(),
                source,
                request: request.map(Into::into),
                text: line::escape(text),
            },
        });
        true
    }

    /// Counts lines that it has not taken.
    fn drop_lines(self: &Arc<Self>, count: u64) {
        self.dropped_in_all.fetch_add(count, Ordering::Relaxed);
        if self.dropped.fetch_add(count, Ordering::Relaxed) == 0 {
            self.shared.send(Message::Dropping(self.clone()));
        }
    }

    /// Gives back the room that a line took in the queue.
    fn written(&self, cost: usize) {
        self.queued.fetch_sub(cost, Ordering::Relaxed);
        self.shared.queued.fetch_sub(cost, Ordering::Relaxed);
    }
}

/// A component's log as the runtime writes to it.
pub(crate) struct Sink(pub(crate) Arc<ComponentLog>);

impl LogSink for Sink {
    fn line(&self, source: ir::LogSource, request: Option<&str>, text: &str) {
        let (mut text, rest) = text.split_at(text.floor_char_boundary(ONE_TEXT));
        if !rest.is_empty() {
            // Where it is cut, no line begins.
            text = text.strip_suffix('\n').unwrap_or(text);
        }
        // A text of several lines must not look like lines of somebody else.
        for piece in text.split('\n').flat_map(pieces) {
            if !self.0.admit(source, request, piece) {
                self.0.drop_lines(1);
            }
        }
        self.drop_rest(rest);
    }

    fn drop_rest(&self, rest: &str) {
        if rest.is_empty() {
            return;
        }
        let ends = rest.bytes().filter(|byte| *byte == b'\n').count() as u64;
        self.0.drop_lines(ends + u64::from(!rest.ends_with('\n')));
    }

    fn dropped(&self) -> u64 {
        self.0.dropped_in_all.load(Ordering::Relaxed)
    }
}

/// A line, cut where it is too long.
fn pieces(line: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(line);
    iter::from_fn(move || {
        let line = rest?;
        let (piece, more) = line.split_at(line.floor_char_boundary(MAX_LINE));
        rest = Some(more).filter(|more| !more.is_empty());
        Some(piece)
    })
}

impl Shared {
    fn send(&self, message: Message) {
        // The writer ends only after the last sender; if its thread died, logs are lost, guests
        // go on.
        let _ = self.queue.send(message);
    }
}

#[cfg(test)]
mod tests;
