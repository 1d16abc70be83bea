//! The thread that writes logs. It alone touches the files, so what a reader gets and what it is
//! then told as news fit together without a gap.

use std::{
    collections::{HashMap, VecDeque},
    fs::File,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering, mpsc},
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::{mpsc as async_mpsc, oneshot};
use waft_ir::{LogLine, LogSource};

use super::{
    ComponentLog, ONE_TEXT,
    file::{self, RotatedFile},
    line,
};
use crate::event::{Event, Events};

/// Files kept open; past that all are closed and opened again as lines come.
const OPEN_FILES: usize = 128;
/// Messages handled before files are written.
const BATCH: usize = 1024;
/// Bytes collected for one file before it is written.
const COLLECTED: usize = 64 << 10;
/// Bytes of lines kept per component where there are no files.
const IN_MEMORY: usize = 256 << 10;
/// How long dropped lines are counted before a line says how many.
const DROPS_TOLD_AFTER: Duration = Duration::from_secs(1);

/// What the writer is asked to do.
pub(super) enum Message {
    Open(Arc<ComponentLog>),
    Line {
        log: Arc<ComponentLog>,
        cost: usize,
        line: LogLine,
    },
    /// The component has begun to drop lines.
    Dropping(Arc<ComponentLog>),
    Read(Read),
    Close(Vec<u64>),
}

/// A reader's request.
pub(super) struct Read {
    pub(super) numbers: Vec<u64>,
    /// Where new lines go, if they are wanted.
    pub(super) follow: Option<async_mpsc::Sender<LogLine>>,
    pub(super) reply: oneshot::Sender<Vec<Kept>>,
}

/// What is kept of one component's log.
pub(super) struct Kept {
    pub(super) component: Arc<str>,
    pub(super) lines: KeptLines,
}

pub(super) enum KeptLines {
    /// Files and how many bytes of each belong to the answer, oldest first.
    Files(Vec<(File, u64)>),
    Memory(Vec<LogLine>),
}

pub(super) struct Writer {
    queue: mpsc::Receiver<Message>,
    events: Arc<Events>,
    logs: HashMap<u64, Open>,
    files: HashMap<PathBuf, RotatedFile>,
    /// How many open logs have a path: a workload may come again while its namesake goes.
    paths: HashMap<PathBuf, usize>,
    dropping: VecDeque<(Instant, Arc<ComponentLog>)>,
}

/// A log that is open.
struct Open {
    component: Arc<str>,
    path: Option<PathBuf>,
    /// Formatted and not yet written.
    collected: Vec<u8>,
    memory: VecDeque<LogLine>,
    memory_bytes: usize,
    followers: Vec<Follower>,
    write_failed: bool,
}

struct Follower {
    sender: async_mpsc::Sender<LogLine>,
    missed: u64,
}

impl Writer {
    pub(super) fn new(queue: mpsc::Receiver<Message>, events: Arc<Events>) -> Self {
        Self {
            queue,
            events,
            logs: HashMap::new(),
            files: HashMap::new(),
            paths: HashMap::new(),
            dropping: VecDeque::new(),
        }
    }

    /// Writes until the last sender is gone.
    pub(super) fn run(mut self) {
        loop {
            let first = match self.dropping.front() {
                None => self.queue.recv().ok(),
                Some((since, _)) => {
                    let wait =
                        (*since + DROPS_TOLD_AFTER).saturating_duration_since(Instant::now());
                    match self.queue.recv_timeout(wait) {
                        Ok(message) => Some(message),
                        Err(mpsc::RecvTimeoutError::Timeout) => {
                            self.tell_drops();
                            continue;
                        }
                        Err(mpsc::RecvTimeoutError::Disconnected) => None,
                    }
                }
            };
            let Some(first) = first else {
                break;
            };
            self.handle(first);
            for _ in 0..BATCH {
                let Ok(message) = self.queue.try_recv() else {
                    break;
                };
                self.handle(message);
            }
            self.tell_drops();
            self.write_all();
        }
        self.write_all();
    }

    fn handle(&mut self, message: Message) {
        match message {
            Message::Open(log) => self.open(&log),
            Message::Line { log, cost, line } => {
                log.written(cost);
                self.line(&log, line);
            }
            Message::Dropping(log) => self.dropping.push_back((Instant::now(), log)),
            Message::Read(read) => self.read(read),
            Message::Close(numbers) => {
                for number in numbers {
                    self.close(number);
                }
            }
        }
    }

    fn open(&mut self, log: &ComponentLog) {
        if let Some(path) = &log.path {
            *self.paths.entry(path.clone()).or_default() += 1;
        }
        let open = Open {
            component: log.name.clone(),
            path: log.path.clone(),
            collected: Vec::new(),
            memory: VecDeque::new(),
            memory_bytes: 0,
            followers: Vec::new(),
            write_failed: false,
        };
        self.logs.insert(log.number, open);
    }

    fn line(&mut self, log: &ComponentLog, line: LogLine) {
        if self.events.wanted() {
            self.events.send(Event::Line {
                workload: log.workload.clone(),
                line: Arc::new(line.clone()),
            });
        }
        // Lines of a workload that has gone have nowhere to go.
        let Some(open) = self.logs.get_mut(&log.number) else {
            return;
        };
        open.followers.retain_mut(|follower| follower.send(&line));
        if open.path.is_none() {
            open.keep_in_memory(line);
            return;
        }
        line::format(&line, &mut open.collected);
        if open.collected.len() >= COLLECTED {
            write(&mut self.files, open);
        }
    }

    /// Says how many lines were dropped, for those components that began a while ago.
    fn tell_drops(&mut self) {
        while let Some((since, _)) = self.dropping.front()
            && since.elapsed() >= DROPS_TOLD_AFTER
            && let Some((_, log)) = self.dropping.pop_front()
        {
            let count = log.dropped.swap(0, Ordering::Relaxed);
            let line = LogLine {
                time: SystemTime::now(),
                component: log.name.to_string(),
                source: LogSource::Host,
                request: None,
                text: format!(
                    "dropped {count} lines: limits.logBytesPerSecond is {}, and of what is said at \
                     once {ONE_TEXT} bytes are taken",
                    log.bytes_per_second
                ),
            };
            self.line(&log, line);
            self.write_all();
        }
    }

    fn read(&mut self, read: Read) {
        self.write_all();
        let mut kept = Vec::new();
        for number in read.numbers {
            let Some(open) = self.logs.get_mut(&number) else {
                continue;
            };
            if let Some(sender) = &read.follow {
                open.followers.push(Follower {
                    sender: sender.clone(),
                    missed: 0,
                });
            }
            kept.push(Kept {
                component: open.component.clone(),
                lines: open.kept(),
            });
        }
        // The reader may have left.
        let _ = read.reply.send(kept);
    }

    fn close(&mut self, number: u64) {
        let Some(open) = self.logs.remove(&number) else {
            return;
        };
        let Some(path) = open.path else {
            return;
        };
        let Some(count) = self.paths.get_mut(&path) else {
            return;
        };
        *count -= 1;
        if *count == 0 {
            self.paths.remove(&path);
            self.files.remove(&path);
            file::remove(&path);
        }
    }

    fn write_all(&mut self) {
        for open in self.logs.values_mut() {
            if !open.collected.is_empty() {
                write(&mut self.files, open);
            }
        }
    }
}

/// Writes what was collected for a log. A disk that fails costs the lines, not the host.
fn write(files: &mut HashMap<PathBuf, RotatedFile>, open: &mut Open) {
    let lines = std::mem::take(&mut open.collected);
    let Some(path) = &open.path else {
        return;
    };
    match append(files, path, &lines) {
        Ok(()) => open.write_failed = false,
        Err(error) if !open.write_failed => {
            open.write_failed = true;
            tracing::warn!(path = %path.display(), %error, "log lines could not be written");
        }
        Err(_) => {}
    }
}

fn append(
    files: &mut HashMap<PathBuf, RotatedFile>,
    path: &Path,
    lines: &[u8],
) -> std::io::Result<()> {
    if let Some(file) = files.get_mut(path) {
        return file.append(lines);
    }
    if files.len() >= OPEN_FILES {
        files.clear();
    }
    let mut file = RotatedFile::open(path)?;
    file.append(lines)?;
    files.insert(path.into(), file);
    Ok(())
}

impl Open {
    fn keep_in_memory(&mut self, line: LogLine) {
        self.memory_bytes += line.text.len() + super::LINE_OVERHEAD;
        self.memory.push_back(line);
        while self.memory_bytes > IN_MEMORY
            && let Some(oldest) = self.memory.pop_front()
        {
            self.memory_bytes -= oldest.text.len() + super::LINE_OVERHEAD;
        }
    }

    fn kept(&self) -> KeptLines {
        let Some(path) = &self.path else {
            return KeptLines::Memory(self.memory.iter().cloned().collect());
        };
        let with_length = |file: File| {
            let length = file.metadata().ok()?.len();
            Some((file, length))
        };
        let halves = file::open_halves(path);
        KeptLines::Files(halves.into_iter().filter_map(with_length).collect())
    }
}

impl Follower {
    /// Hands a line over; `false` if the reader has left.
    fn send(&mut self, line: &LogLine) -> bool {
        if self.missed > 0 {
            let told = LogLine {
                source: LogSource::Host,
                request: None,
                text: format!("{} lines skipped: the reader is too slow", self.missed),
                ..line.clone()
            };
            if self.sender.try_send(told).is_ok() {
                self.missed = 0;
            }
        }
        match self.sender.try_send(line.clone()) {
            Ok(()) => true,
            Err(async_mpsc::error::TrySendError::Full(_)) => {
                self.missed += 1;
                true
            }
            Err(async_mpsc::error::TrySendError::Closed(_)) => false,
        }
    }
}
