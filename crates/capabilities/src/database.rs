//! An SQLite file: readers on a connection of their own, and a thread that writes. Changes that wait
//! together share a transaction and its sync; each is a savepoint of its own, so that one that is
//! refused takes nothing with it. What the file holds is left to those who use it.

use std::{path::Path, thread};

use parking_lot::{Mutex, MutexGuard};
use rusqlite::{Connection, OpenFlags, params};
use tokio::sync::{mpsc, oneshot};
use waft_ir::{Failure, FailureReason};

/// Changes of one transaction.
const TOGETHER: usize = 256;
/// Changes that wait; whoever comes then waits before.
const WAITING: usize = 1024;

/// What each namespace uses, counted by [`account`].
const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS namespaces (
        name TEXT PRIMARY KEY,
        used INTEGER NOT NULL
    ) WITHOUT ROWID;
";

/// A file and what may go wrong with it, `E`. Dropping it ends the thread, once it has written what
/// waits.
pub(crate) struct Database<E> {
    reader: Mutex<Connection>,
    jobs: mpsc::Sender<Box<dyn Job<E>>>,
}

/// An error of those who use a file.
pub(crate) trait Refusal: Clone + From<rusqlite::Error> + Send + 'static {
    /// The thread that writes has ended.
    fn closed() -> Self;
}

/// A change, and then its answer.
trait Job<E>: Send {
    fn run(&mut self, transaction: &Connection) -> Result<(), E>;

    /// Tells how it went, once all is on the disk.
    fn answer(self: Box<Self>, written: Result<(), E>);
}

struct Change<F, G, T, E> {
    change: Option<F>,
    tell: G,
    result: Result<T, E>,
    answer: oneshot::Sender<Result<T, E>>,
}

impl<E: Refusal> Database<E> {
    /// Opens a file of some data (in words, for errors), or makes it.
    pub(crate) fn open(path: &Path, data: &str, schema: &str) -> Result<Self, Failure> {
        let failed = |error: rusqlite::Error| {
            let text = format!("can't use {} for {data}: {error}", path.display());
            Failure::new(FailureReason::Internal, text)
        };
        let connection = Connection::open(path).map_err(failed)?;
        // `journal_mode` answers with a row.
        connection
            .query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))
            .and_then(|()| connection.execute_batch("PRAGMA synchronous = FULL"))
            .and_then(|()| connection.execute_batch(SCHEMA))
            .and_then(|()| connection.execute_batch(schema))
            .map_err(failed)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let reader = Connection::open_with_flags(path, flags).map_err(failed)?;
        let (jobs, waiting) = mpsc::channel(WAITING);
        thread::Builder::new()
            .name("waft-database".into())
            .spawn(move || run(connection, waiting))
            .map_err(|error| {
                let text = format!("can't start the thread of {data}: {error}");
                Failure::new(FailureReason::Internal, text)
            })?;
        Ok(Self {
            reader: Mutex::new(reader),
            jobs,
        })
    }

    /// The connection to read with.
    pub(crate) fn reader(&self) -> MutexGuard<'_, Connection> {
        self.reader.lock()
    }

    /// Makes a change; once it is `Ok`, it is on the disk. It is made even when nobody waits for it
    /// any more.
    pub(crate) async fn change<T: Send + 'static>(
        &self,
        change: impl FnOnce(&Connection) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E> {
        self.change_and_tell(change, |_| {}).await
    }

    /// Makes a change, and tells of it once it is on the disk: of one after the other in the order in
    /// which they are made, and of one that nobody waits for any more as well.
    pub(crate) async fn change_and_tell<T: Send + 'static>(
        &self,
        change: impl FnOnce(&Connection) -> Result<T, E> + Send + 'static,
        tell: impl FnOnce(&T) + Send + 'static,
    ) -> Result<T, E> {
        let (answer, answered) = oneshot::channel();
        let job = Change {
            change: Some(change),
            tell,
            result: Err(E::closed()),
            answer,
        };
        self.jobs
            .send(Box::new(job))
            .await
            .map_err(|_| E::closed())?;
        answered.await.unwrap_or_else(|_| Err(E::closed()))
    }
}

/// Counts what a namespace uses; whether it is allowed. What makes it less always is.
pub(crate) fn account(
    connection: &Connection,
    namespace: &str,
    freed: u64,
    added: u64,
    most: u64,
) -> rusqlite::Result<bool> {
    let change = added as i64 - freed as i64;
    let upsert = "INSERT INTO namespaces (name, used) VALUES (?1, max(?2, 0))
         ON CONFLICT (name) DO UPDATE SET used = used + ?2 RETURNING used";
    let mut upsert = connection.prepare_cached(upsert)?;
    let used: i64 = upsert.query_row(params![namespace, change], |row| row.get(0))?;
    Ok(change <= 0 || used <= most as i64)
}

impl<F, G, T, E> Job<E> for Change<F, G, T, E>
where
    F: FnOnce(&Connection) -> Result<T, E> + Send,
    G: FnOnce(&T) + Send,
    T: Send,
    E: Refusal,
{
    fn run(&mut self, transaction: &Connection) -> Result<(), E> {
        if let Some(change) = self.change.take() {
            self.result = change(transaction);
        }
        self.result.as_ref().map(drop).map_err(Clone::clone)
    }

    fn answer(self: Box<Self>, written: Result<(), E>) {
        let result = written.and(self.result);
        if let Ok(made) = &result {
            (self.tell)(made);
        }
        // Whoever asked may be gone.
        let _ = self.answer.send(result);
    }
}

fn run<E: Refusal>(mut connection: Connection, mut jobs: mpsc::Receiver<Box<dyn Job<E>>>) {
    let mut together = Vec::new();
    while jobs.blocking_recv_many(&mut together, TOGETHER) > 0 {
        let written = write(&mut connection, &mut together);
        for job in together.drain(..) {
            job.answer(written.clone());
        }
    }
}

fn write<E: Refusal>(connection: &mut Connection, jobs: &mut [Box<dyn Job<E>>]) -> Result<(), E> {
    let mut transaction = connection.transaction()?;
    for job in jobs {
        let savepoint = transaction.savepoint()?;
        match job.run(&savepoint) {
            Ok(()) => savepoint.commit()?,
            // Rolled back when it is dropped; the job knows why.
            Err(_) => drop(savepoint),
        }
    }
    Ok(transaction.commit()?)
}
