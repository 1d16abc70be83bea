//! The thread that writes: changes that wait together share a transaction and its sync. Each is a
//! savepoint of its own, so that one that is refused takes nothing with it.

use std::thread;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use crate::keyvalue::store::StoreError;

/// Changes of one transaction.
const TOGETHER: usize = 256;
/// Changes that wait; whoever comes then waits before.
const WAITING: usize = 1024;

/// Dropping it ends the thread, once it has written what waits.
pub(super) struct Writer(mpsc::Sender<Box<dyn Job>>);

/// A change, and then its answer.
trait Job: Send {
    fn run(&mut self, transaction: &Connection) -> Result<(), StoreError>;

    /// Tells how it went, once all is on the disk.
    fn answer(self: Box<Self>, written: Result<(), StoreError>);
}

struct Change<F, T> {
    change: Option<F>,
    result: Result<T, StoreError>,
    answer: oneshot::Sender<Result<T, StoreError>>,
}

impl Writer {
    pub(super) fn start(connection: Connection) -> std::io::Result<Self> {
        let (sender, jobs) = mpsc::channel(WAITING);
        thread::Builder::new()
            .name("waft-keyvalue".into())
            .spawn(move || run(connection, jobs))?;
        Ok(Self(sender))
    }

    /// Makes a change; once it is `Ok`, it is on the disk. It is made even when nobody waits for it
    /// any more.
    pub(super) async fn change<T: Send + 'static>(
        &self,
        change: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let job = Change {
            change: Some(change),
            result: Err(gone()),
            answer,
        };
        self.0.send(Box::new(job)).await.map_err(|_| gone())?;
        answered.await.unwrap_or_else(|_| Err(gone()))
    }
}

impl<F, T> Job for Change<F, T>
where
    F: FnOnce(&Connection) -> Result<T, StoreError> + Send,
    T: Send,
{
    fn run(&mut self, transaction: &Connection) -> Result<(), StoreError> {
        if let Some(change) = self.change.take() {
            self.result = change(transaction);
        }
        self.result.as_ref().map(drop).map_err(Clone::clone)
    }

    fn answer(self: Box<Self>, written: Result<(), StoreError>) {
        // Whoever asked may be gone.
        let _ = self.answer.send(written.and(self.result));
    }
}

fn run(mut connection: Connection, mut jobs: mpsc::Receiver<Box<dyn Job>>) {
    let mut together = Vec::new();
    while jobs.blocking_recv_many(&mut together, TOGETHER) > 0 {
        let written = write(&mut connection, &mut together);
        for job in together.drain(..) {
            job.answer(written.clone());
        }
    }
}

fn write(connection: &mut Connection, jobs: &mut [Box<dyn Job>]) -> Result<(), StoreError> {
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

fn gone() -> StoreError {
    StoreError::Other("the host's key-value data is closed".into())
}
