//! The thread that orders, logs and publishes all changes.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use parking_lot::RwLock;
use tokio::sync::{oneshot, watch};

use super::log::Log;
use super::object::{Key, Stored};
use super::window::{Event, EventKind};
use super::{Expect, State, Write, WriteError};

/// The most changes that share one transaction.
const GROUP: usize = 512;

/// How many dead rows one transaction removes at most, so that no commit waits long for it.
const SWEEP: usize = 2048;

pub(super) struct Command {
    pub(super) write: Write,
    pub(super) reply: oneshot::Sender<Result<Arc<Stored>, WriteError>>,
}

type Reply = oneshot::Sender<Result<Arc<Stored>, WriteError>>;

/// A change that passed its check, with its revision.
pub(super) struct Staged {
    pub(super) object: Arc<Stored>,
    pub(super) deleted: bool,
}

pub(super) struct Writer {
    state: Arc<RwLock<State>>,
    log: Option<Log>,
    published: watch::Sender<u64>,
    /// The last revision given out. A failed group leaves a gap rather than use one twice.
    last: u64,
    /// Revisions that left the window and may leave the log.
    superseded: Vec<u64>,
}

impl Writer {
    pub(super) fn new(
        state: Arc<RwLock<State>>,
        log: Option<Log>,
        superseded: Vec<u64>,
        published: watch::Sender<u64>,
    ) -> Writer {
        let last = state.read().revision;
        Writer {
            state,
            log,
            published,
            last,
            superseded,
        }
    }

    /// Works until every sender is gone.
    pub(super) fn run(mut self, commands: &Receiver<Command>) {
        while let Ok(first) = commands.recv() {
            let mut group = vec![first];
            while group.len() < GROUP {
                let Ok(next) = commands.try_recv() else { break };
                group.push(next);
            }
            self.commit(group);
        }
    }

    fn commit(&mut self, group: Vec<Command>) {
        let mut heads: HashMap<Key, u64> = HashMap::new();
        let mut staged: Vec<(Staged, Reply)> = Vec::with_capacity(group.len());
        let mut refused: Vec<(WriteError, Reply)> = Vec::new();
        for Command { write, reply } in group {
            let head = heads.get(&write.key).copied().unwrap_or_else(|| {
                self.state
                    .read()
                    .index
                    .get(&write.key)
                    .map_or(0, |object| object.revision)
            });
            if let Err(error) = check(write.expect, head) {
                refused.push((error, reply));
                continue;
            }
            self.last += 1;
            heads.insert(write.key.clone(), if write.delete { 0 } else { self.last });
            let object = Arc::new(write.object.at(write.key, self.last));
            staged.push((
                Staged {
                    object,
                    deleted: write.delete,
                },
                reply,
            ));
        }
        match self.store(staged.iter().map(|(staged, _)| staged)) {
            Ok(()) => self.publish(staged),
            Err(error) => {
                tracing::error!(%error, "the log refused a group of {} changes", staged.len());
                refused.extend(
                    staged
                        .into_iter()
                        .map(|(_, reply)| (WriteError::Unavailable(error.to_string()), reply)),
                );
            }
        }
        // Answered after publishing, so that whoever lost a race sees what it lost to.
        for (error, reply) in refused {
            let _ = reply.send(Err(error));
        }
    }

    fn store<'a>(
        &mut self,
        staged: impl Iterator<Item = &'a Staged>,
    ) -> Result<(), rusqlite::Error> {
        let Some(log) = &mut self.log else {
            return Ok(());
        };
        let (published, floor) = {
            let state = self.state.read();
            (state.revision, state.window.floor())
        };
        let sweep = self.superseded.len().min(SWEEP);
        log.append(staged, &self.superseded[..sweep], floor, published)?;
        self.superseded.drain(..sweep);
        Ok(())
    }

    fn publish(&mut self, staged: Vec<(Staged, Reply)>) {
        if staged.is_empty() {
            return;
        }
        let mut answers = Vec::with_capacity(staged.len());
        {
            let mut state = self.state.write();
            for (Staged { object, deleted }, reply) in staged {
                let previous = match deleted {
                    true => state.index.remove(&object.key),
                    false => state.index.put(object.clone()),
                };
                let kind = match (deleted, &previous) {
                    (true, _) => EventKind::Deleted,
                    (false, None) => EventKind::Added,
                    (false, Some(_)) => EventKind::Modified,
                };
                state.revision = object.revision;
                let gone = state.window.push(Arc::new(Event {
                    kind,
                    object: object.clone(),
                    previous,
                }));
                if self.log.is_some() {
                    self.superseded
                        .extend(gone.iter().flat_map(|event| superseded_by(event)));
                }
                answers.push((reply, object));
            }
        }
        self.published.send_replace(self.last);
        for (reply, object) in answers {
            let _ = reply.send(Ok(object));
        }
    }
}

/// The rows that nobody needs once an event has left the window.
pub(super) fn superseded_by(event: &Event) -> impl Iterator<Item = u64> {
    let tombstone = (event.kind == EventKind::Deleted).then(|| event.revision());
    event
        .previous
        .as_ref()
        .map(|previous| previous.revision)
        .into_iter()
        .chain(tombstone)
}

fn check(expect: Expect, head: u64) -> Result<(), WriteError> {
    match expect {
        Expect::Absent if head == 0 => Ok(()),
        Expect::Absent => Err(WriteError::Exists),
        Expect::Revision(revision) if head == revision => Ok(()),
        Expect::Revision(_) if head == 0 => Err(WriteError::Missing),
        Expect::Revision(_) => Err(WriteError::Conflict),
    }
}
