//! The revision log: one table in SQLite, one row a change, never updated.
//!
//! A row is a whole object, so the current state is the last row of each key, and the history is
//! the rest. Rows go only when their event has left the window; `floor` remembers up to where.

use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::ffi::SQLITE_IOERR_SHMSIZE;
use rusqlite::{Connection, ErrorCode, params};

use super::index::Index;
use super::object::{Key, Meta, Stored};
use super::window::{Event, EventKind, Window};
use super::writer::{Staged, superseded_by};
use super::{FILE, StoreError};

const FORMAT: i64 = 1;

pub(super) struct Log {
    connection: Connection,
    /// Rows past the published revision that a failed commit may have left.
    uncertain: bool,
}

/// Whether SQLite found no space: for the database or its log, or for the memory that its processes
/// share, which it calls an error of the disk.
fn is_for_want_of_space(error: &rusqlite::Error) -> bool {
    error.sqlite_error().is_some_and(|error| {
        error.code == ErrorCode::DiskFull || error.extended_code == SQLITE_IOERR_SHMSIZE
    })
}

impl Log {
    pub(super) fn open(folder: &Path) -> Result<Log, StoreError> {
        Log::open_file(&folder.join(FILE)).map_err(|error| match error {
            StoreError::Database(refused) if is_for_want_of_space(&refused) => {
                StoreError::DiskFull(folder.to_owned())
            }
            other => other,
        })
    }

    fn open_file(path: &Path) -> Result<Log, StoreError> {
        // SQLite gives its side files the mode of the main one.
        std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(path)?;
        let connection = Connection::open(path)?;
        // The folder has one owner; only a backup may hold a lock, and not for long.
        connection.busy_timeout(Duration::from_millis(500))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "cache_size", -2048)?;
        connection.set_prepared_statement_cache_capacity(8);
        let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        match found {
            0 => connection.execute_batch(
                "BEGIN IMMEDIATE;
                 CREATE TABLE revisions (id INTEGER PRIMARY KEY, name TEXT NOT NULL,
                   deleted INTEGER NOT NULL, value BLOB NOT NULL);
                 CREATE TABLE floor (revision INTEGER NOT NULL);
                 INSERT INTO floor VALUES (0);
                 PRAGMA user_version = 1;
                 COMMIT;",
            )?,
            FORMAT => {}
            found => {
                return Err(StoreError::Format {
                    found,
                    expected: FORMAT,
                });
            }
        }
        Ok(Log {
            connection,
            uncertain: false,
        })
    }

    /// Reads everything; returns the newest revision, and the rows that may be removed.
    pub(super) fn load(
        &self,
        index: &mut Index,
        window: &mut Window,
    ) -> Result<(u64, Vec<u64>), StoreError> {
        let mut superseded = Vec::new();
        let floor: i64 = self
            .connection
            .query_row("SELECT revision FROM floor", [], |row| row.get(0))?;
        let floor = floor.unsigned_abs();
        window.set_floor(floor);
        let mut newest = floor;
        let mut select = self
            .connection
            .prepare("SELECT id, name, deleted, value FROM revisions ORDER BY id")?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            let (revision, name): (i64, String) = (row.get(0)?, row.get(1)?);
            let revision = revision.unsigned_abs();
            let (deleted, bytes): (bool, Vec<u8>) = (row.get(2)?, row.get(3)?);
            let damaged = |message: String| StoreError::Row {
                revision,
                name: name.clone(),
                message,
            };
            let key = Key::parse(&name).ok_or_else(|| damaged("its key has no name".into()))?;
            let meta = Meta::read(&bytes).map_err(|error| damaged(error.to_string()))?;
            let object = Arc::new(Stored {
                key,
                revision,
                bytes: bytes.into(),
                meta,
            });
            let previous = match deleted {
                true => index.remove(&object.key),
                false => index.put(object.clone()),
            };
            newest = newest.max(revision);
            if revision > floor {
                let kind = match (deleted, &previous) {
                    (true, _) => EventKind::Deleted,
                    (false, None) => EventKind::Added,
                    (false, Some(_)) => EventKind::Modified,
                };
                let gone = window.push(Arc::new(Event {
                    kind,
                    object,
                    previous,
                }));
                superseded.extend(gone.iter().flat_map(|event| superseded_by(event)));
            }
        }
        Ok((newest, superseded))
    }

    /// Appends a group in one transaction, and removes rows that nobody needs any more.
    pub(super) fn append<'a>(
        &mut self,
        staged: impl Iterator<Item = &'a Staged>,
        superseded: &[u64],
        floor: u64,
        published: u64,
    ) -> Result<(), rusqlite::Error> {
        let mut staged = staged.peekable();
        if staged.peek().is_none() {
            return Ok(());
        }
        let transaction = self
            .connection
            .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate);
        let result = transaction.and_then(|transaction| {
            if self.uncertain {
                transaction.execute(
                    "DELETE FROM revisions WHERE id > ?1",
                    params![published.cast_signed()],
                )?;
            }
            {
                let mut insert = transaction.prepare_cached(
                    "INSERT INTO revisions (id, name, deleted, value) VALUES (?1, ?2, ?3, ?4)",
                )?;
                for Staged { object, deleted } in staged {
                    let name = object.key.text();
                    insert.execute(params![
                        object.revision.cast_signed(),
                        name,
                        deleted,
                        &object.bytes[..]
                    ])?;
                }
                let mut remove =
                    transaction.prepare_cached("DELETE FROM revisions WHERE id = ?1")?;
                for revision in superseded {
                    remove.execute(params![revision.cast_signed()])?;
                }
                if !superseded.is_empty() {
                    transaction
                        .prepare_cached("UPDATE floor SET revision = ?1")?
                        .execute(params![floor.cast_signed()])?;
                }
            }
            transaction.commit()
        });
        self.uncertain = result.is_err();
        result
    }
}
