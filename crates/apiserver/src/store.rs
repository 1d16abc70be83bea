//! The objects and their history.
//!
//! One writer thread owns the order of all changes: it takes whatever requests are waiting, checks
//! each against the newest state, gives it the next revision, writes the whole group to the log in
//! one transaction, and only then publishes and acknowledges it. Readers see published state only,
//! from memory. A window of recent events, bounded in bytes, serves watches and lists of the past.
//!
//! What an object means is not known here: keys, bytes and the few metadata fields of [`Meta`].

mod index;
mod log;
mod object;
mod window;
mod writer;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use serde_json::Value;
use tokio::sync::{oneshot, watch};

use index::Index;
pub(crate) use index::Page;
use log::Log;
pub(crate) use object::{Encoded, Key, Stored};
use window::Window;
pub(crate) use window::{Event, EventKind};

/// What must be true of a key for a write to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expect {
    /// There is no object.
    Absent,
    /// The object has this revision.
    Revision(u64),
}

/// One change of one object.
#[derive(Debug)]
pub(crate) struct Write {
    pub(crate) key: Key,
    pub(crate) expect: Expect,
    /// The last state is kept with a deletion, for the watchers.
    pub(crate) delete: bool,
    pub(crate) object: Encoded,
}

/// Why a write did not happen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WriteError {
    #[error("the object exists")]
    Exists,
    #[error("the object has changed")]
    Conflict,
    #[error("the object does not exist")]
    Missing,
    #[error("the store cannot write: {0}")]
    Unavailable(String),
}

/// The asked revision is older than the kept history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Expired {
    /// The oldest revision that can still be asked for.
    pub(crate) oldest: u64,
}

/// Name of the file that holds the objects, in the data folder.
pub(crate) const FILE: &str = "state.db";

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The log's database refused.
    #[error("database: {0}")]
    Database(#[from] rusqlite::Error),
    /// There is no space for the files that SQLite keeps beside the database.
    #[error("the disk of {} is full", .0.display())]
    DiskFull(PathBuf),
    /// A file could not be made or read.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// The database was written by a newer program, or by something else.
    #[error("the database has format {found}, this program reads {expected}")]
    Format {
        /// The format found in the file.
        found: i64,
        /// The format this program writes.
        expected: i64,
    },
    /// A row is not an object.
    #[error("revision {revision} of {name} cannot be read: {message}")]
    Row {
        /// The row's revision.
        revision: u64,
        /// The row's key.
        name: String,
        /// What is wrong with it.
        message: String,
    },
}

impl StoreError {
    /// Whether the file itself is damaged, so that only a copy of it brings the objects back.
    pub fn is_damage(&self) -> bool {
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
        match self {
            Self::Database(error) => matches!(
                error.sqlite_error_code(),
                Some(DatabaseCorrupt | NotADatabase)
            ),
            Self::Row { .. } => true,
            Self::DiskFull(_) | Self::Io(_) | Self::Format { .. } => false,
        }
    }
}

struct State {
    index: Index,
    window: Window,
    revision: u64,
}

/// Handle of the store; the last one to go ends the writer thread.
pub(crate) struct Store {
    state: Arc<RwLock<State>>,
    revision: watch::Receiver<u64>,
    writer: Mutex<Option<std::sync::mpsc::Sender<writer::Command>>>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

impl Store {
    /// Opens the log in a folder, or an empty store in memory.
    pub(crate) fn open(folder: Option<&Path>, window_bytes: usize) -> Result<Store, StoreError> {
        let mut state = State {
            index: Index::default(),
            window: Window::new(window_bytes),
            revision: 0,
        };
        let mut superseded = Vec::new();
        let log = match folder {
            None => None,
            Some(folder) => {
                let log = Log::open(folder)?;
                (state.revision, superseded) = log.load(&mut state.index, &mut state.window)?;
                Some(log)
            }
        };
        let (published, revision) = watch::channel(state.revision);
        let state = Arc::new(RwLock::new(state));
        let (sender, receiver) = std::sync::mpsc::channel();
        let worker = writer::Writer::new(state.clone(), log, superseded, published);
        let thread = std::thread::Builder::new()
            .name("waft-store".into())
            .spawn(move || worker.run(&receiver))?;
        Ok(Store {
            state,
            revision,
            writer: Mutex::new(Some(sender)),
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Makes one change; returns when it is durable and visible.
    pub(crate) async fn write(&self, write: Write) -> Result<Arc<Stored>, WriteError> {
        let (reply, answer) = oneshot::channel();
        let closed = || WriteError::Unavailable("the store is closing".into());
        self.writer
            .lock()
            .as_ref()
            .ok_or_else(closed)?
            .send(writer::Command { write, reply })
            .map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }

    /// The newest published revision.
    pub(crate) fn revision(&self) -> u64 {
        self.state.read().revision
    }

    /// Changes with every published revision.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.revision.clone()
    }

    pub(crate) fn get(&self, key: &Key) -> Option<Arc<Stored>> {
        self.state.read().index.get(key)
    }

    /// The objects of a resource, in key order, as they are now or were at `at`.
    pub(crate) fn list(&self, query: &Query<'_>) -> Result<Page, Expired> {
        let state = self.state.read();
        match query.at.filter(|at| *at < state.revision) {
            None => Ok(state.index.page(query, state.revision)),
            Some(at) => {
                let past = state.window.undo(query.resource, at)?;
                Ok(state.index.past_page(query, at, past))
            }
        }
    }

    /// All objects of a resource as they are now, in key order: in a namespace, or everywhere.
    pub(crate) fn all(&self, resource: &str, namespace: Option<&str>) -> Vec<Arc<Stored>> {
        let query = Query {
            resource,
            namespace,
            after: None,
            limit: None,
            at: None,
        };
        let state = self.state.read();
        state.index.page(&query, state.revision).objects
    }

    /// The same as values, everywhere.
    pub(crate) fn values(&self, resource: &str) -> Vec<Value> {
        let objects = self.all(resource, None);
        objects.iter().map(|stored| stored.value()).collect()
    }

    /// The events of a resource after a revision, at most `limit` of them, and up to which revision
    /// they are complete.
    pub(crate) fn events(
        &self,
        resource: &str,
        after: u64,
        limit: usize,
    ) -> Result<(Vec<Arc<Event>>, u64), Expired> {
        let state = self.state.read();
        state
            .window
            .after(Some(resource), after, limit, state.revision)
    }

    /// As [`Store::events`], of all resources.
    pub(crate) fn all_events(
        &self,
        after: u64,
        limit: usize,
    ) -> Result<(Vec<Arc<Event>>, u64), Expired> {
        let state = self.state.read();
        state.window.after(None, after, limit, state.revision)
    }

    /// A number that is another after every change of an object of these resources.
    pub(crate) fn changes(&self, resources: &[&str]) -> u64 {
        self.state.read().index.changes(resources)
    }

    /// The object with this uid, of whatever resource.
    pub(crate) fn by_uid(&self, uid: &str) -> Option<Arc<Stored>> {
        self.state.read().index.by_uid(uid)
    }

    /// The objects that name this uid as an owner.
    pub(crate) fn dependents(&self, uid: &str) -> Vec<Arc<Stored>> {
        self.state.read().index.dependents(uid)
    }

    /// Every object, of all resources (for the collector's first look).
    pub(crate) fn everything(&self) -> (Vec<Arc<Stored>>, u64) {
        let state = self.state.read();
        (state.index.everything(), state.revision)
    }

    /// The objects of one namespace, of all resources.
    pub(crate) fn in_namespace(&self, namespace: &str) -> Vec<Arc<Stored>> {
        self.state.read().index.in_namespace(namespace)
    }

    /// Stops the writer after what it was given, and closes the log.
    pub(crate) fn close(&self) {
        self.writer.lock().take();
        if let Some(thread) = self.thread.lock().take() {
            // A panic of the writer was already reported by its own hook.
            let _ = thread.join();
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.close();
    }
}

/// Which objects a list wants.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Query<'a> {
    pub(crate) resource: &'a str,
    /// `None`: all namespaces. Cluster-scoped objects are in the namespace `""`.
    pub(crate) namespace: Option<&'a str>,
    /// Only keys after this (namespace, name).
    pub(crate) after: Option<(&'a str, &'a str)>,
    pub(crate) limit: Option<usize>,
    /// The state at this revision instead of now.
    pub(crate) at: Option<u64>,
}

impl Query<'_> {
    /// The most objects of a page.
    fn limit(&self) -> usize {
        self.limit.unwrap_or(usize::MAX)
    }
}
