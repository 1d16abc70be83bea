//! Containers in a folder of the host, which outlive the process.
//!
//! An SQLite index says which objects there are, and each is a file under a name of its own, which
//! no guest chooses: so any name is safe, an object appears whole or not at all, and one that is
//! replaced is read to its end by whoever reads it. What was acknowledged is on the disk: the file
//! is synced before the index names it. A value becomes an object where it was staged, and is moved
//! to its place afterwards; what a crash left in between is put right when the folder is opened.

mod objects;
#[cfg(test)]
mod tests;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension as _, params};
use tempfile::NamedTempFile;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use waft_ir::{Failure, FailureReason};

use super::{
    staged::{Staged, on_disk, uncancelled},
    store::{Container, Content, Info, PAGE, Span, Store, StoreError, check_name, now},
};
use crate::database::{Database, Refusal, account};
use objects::Objects;

/// Bytes that the containers of a namespace hold together.
const NAMESPACE: u64 = 10 << 30;
/// Bytes that each object and each container counts beside its own: a file takes some.
const ENTRY: u64 = 4096;

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS containers (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        namespace TEXT NOT NULL,
        name TEXT NOT NULL,
        created INTEGER NOT NULL,
        UNIQUE (namespace, name)
    );
    CREATE TABLE IF NOT EXISTS objects (
        container INTEGER NOT NULL,
        name TEXT NOT NULL,
        file TEXT NOT NULL UNIQUE,
        size INTEGER NOT NULL,
        created INTEGER NOT NULL,
        PRIMARY KEY (container, name)
    ) WITHOUT ROWID;
";

/// The containers of all namespaces.
pub(super) struct File(Arc<Folder>);

struct Folder {
    database: Database<StoreError>,
    objects: Objects,
    /// Bytes that a namespace may hold.
    most: u64,
}

/// One container.
struct Kept {
    id: i64,
    created: u64,
    namespace: String,
    folder: Arc<Folder>,
}

/// An object that the index names, or did.
struct Row {
    file: String,
    info: Info,
}

impl File {
    /// Opens the folder, or makes it, and the one that values are staged in.
    pub(super) fn open(folder: &Path) -> Result<Self, Failure> {
        Self::bounded(folder, NAMESPACE)
    }

    fn bounded(folder: &Path, most: u64) -> Result<Self, Failure> {
        let failed = |error: io::Error| {
            let text = format!("can't use {} for objects: {error}", folder.display());
            Failure::new(FailureReason::Internal, text)
        };
        let (staging, stored) = (staging(folder), folder.join("objects"));
        fs::create_dir_all(&staging).map_err(failed)?;
        fs::create_dir_all(&stored).map_err(failed)?;
        let index = folder.join("index.db");
        let database: Database<StoreError> = Database::open(&index, "objects", SCHEMA)?;
        for entry in fs::read_dir(&staging).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let path = staging.join(&name);
            let is_named = is_named(&database.reader(), &name.to_string_lossy());
            match is_named.map_err(|error| failed(io::Error::other(error)))? {
                true => fs::rename(path, stored.join(name)).map_err(failed)?,
                false => fs::remove_file(path).map_err(failed)?,
            }
        }
        let folder = Arc::new(Folder {
            database,
            objects: Objects::new(staging, stored),
            most,
        });
        // Nothing waits for it: a file is moved here only once the index names it.
        let cleaned = folder.clone();
        thread::Builder::new()
            .name("waft-objects".into())
            .spawn(move || cleaned.clean())
            .map_err(failed)?;
        Ok(Self(folder))
    }
}

/// Where values are staged that a folder's store takes.
pub(super) fn staging(folder: &Path) -> PathBuf {
    folder.join("staging")
}

impl Folder {
    /// Deletes files that the index does not name: a crash left them.
    fn clean(&self) {
        let left = self.objects.files().filter(|file| {
            let is_named = is_named(&self.database.reader(), file);
            matches!(is_named, Ok(false))
        });
        for file in left {
            self.objects.remove(&file, "", 0);
        }
    }

    /// Makes a staged file an object, in the place of another one or not.
    async fn commit(
        self: Arc<Self>,
        whose: (String, i64),
        name: String,
        size: u64,
        staged: NamedTempFile,
    ) -> Result<(), StoreError> {
        let (namespace, container) = whose.clone();
        let file = Objects::name(&staged);
        // What is deleted and still read takes room as well.
        let most = self.most;
        let room = most.saturating_sub(self.objects.ghosts(&namespace));
        let change = move |connection: &Connection| {
            let query = "SELECT 1 FROM containers WHERE id = ?1";
            let mut query = connection.prepare_cached(query)?;
            if !query.exists(params![container])? {
                return Err(StoreError::Gone);
            }
            let old = find(connection, container, &name)?;
            let freed = old.as_ref().map_or(0, |old| cost(old.info.size));
            if !account(connection, &namespace, freed, cost(size), room)? {
                return Err(StoreError::Full(most));
            }
            let upsert = "INSERT INTO objects (container, name, file, size, created)
                 VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (container, name) DO UPDATE SET file = ?3, size = ?4, created = ?5";
            let mut upsert = connection.prepare_cached(upsert)?;
            upsert.execute(params![container, name, file, size as i64, now() as i64])?;
            Ok(old)
        };
        let old = self.database.change(change).await?;
        on_disk(move || {
            self.objects.keep(staged);
            if let Some(old) = old {
                self.objects
                    .remove(&old.file, &whose.0, cost(old.info.size));
            }
            Ok(())
        })
        .await
    }

    /// Deletes what a change has taken from the index.
    async fn remove(
        self: Arc<Self>,
        namespace: String,
        change: impl FnOnce(&Connection) -> Result<Vec<Row>, StoreError> + Send + 'static,
    ) -> Result<(), StoreError> {
        let gone = self.database.change(change).await?;
        on_disk(move || {
            for row in gone {
                self.objects
                    .remove(&row.file, &namespace, cost(row.info.size));
            }
            Ok(())
        })
        .await
    }
}

#[async_trait]
impl Store for File {
    async fn create(&self, namespace: &str, name: &str) -> Result<Arc<dyn Container>, StoreError> {
        check_name(name)?;
        if let Some(known) = self.find(namespace, name).await? {
            return Ok(known);
        }
        let (whose, named, most) = (namespace.to_owned(), name.to_owned(), self.0.most);
        let make = move |connection: &Connection| {
            let insert = "INSERT INTO containers (namespace, name, created) VALUES (?1, ?2, ?3)
                 ON CONFLICT (namespace, name) DO NOTHING";
            let made = connection.execute(insert, params![whose, named, now() as i64])?;
            if made > 0 && !account(connection, &whose, 0, cost(0), most)? {
                return Err(StoreError::Full(most));
            }
            Ok(())
        };
        self.0.database.change(make).await?;
        self.find(namespace, name).await?.ok_or(StoreError::Gone)
    }

    async fn find(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Arc<dyn Container>>, StoreError> {
        let reader = self.0.database.reader();
        let query = "SELECT id, created FROM containers WHERE namespace = ?1 AND name = ?2";
        let mut query = reader.prepare_cached(query)?;
        let found = query.query_row(params![namespace, name], |row| {
            Ok((row.get(0)?, row.get::<_, i64>(1)?))
        });
        let found = found.optional()?.map(|(id, created)| Kept {
            id,
            created: created.cast_unsigned(),
            namespace: namespace.to_owned(),
            folder: self.0.clone(),
        });
        Ok(found.map(|found| Arc::new(found) as Arc<dyn Container>))
    }

    async fn delete(&self, namespace: &str, name: &str) -> Result<(), StoreError> {
        let (whose, name) = (namespace.to_owned(), name.to_owned());
        let change = move |connection: &Connection| {
            let delete = "DELETE FROM containers WHERE namespace = ?1 AND name = ?2 RETURNING id";
            let id = connection.query_row(delete, params![whose, name], |row| row.get(0));
            let Some(id) = id.optional()? else {
                return Ok(Vec::new());
            };
            let id: i64 = id;
            let delete = "DELETE FROM objects WHERE container = ?1 RETURNING file, size, created";
            let mut delete = connection.prepare_cached(delete)?;
            let gone = delete.query_map(params![id], Row::of)?;
            let gone: Vec<_> = gone.collect::<Result<_, _>>()?;
            let objects: u64 = gone.iter().map(|row| cost(row.info.size)).sum();
            account(connection, &whose, cost(0) + objects, 0, 0)?;
            Ok(gone)
        };
        let removal = self.0.clone().remove(namespace.to_owned(), change);
        uncancelled(removal).await
    }
}

#[async_trait]
impl Container for Kept {
    fn created(&self) -> u64 {
        self.created
    }

    async fn info(&self, object: &str) -> Result<Option<Info>, StoreError> {
        let found = find(&self.folder.database.reader(), self.id, object)?;
        Ok(found.map(|found| found.info))
    }

    async fn read(&self, object: &str, span: Span) -> Result<Option<Content>, StoreError> {
        // An object that is replaced right now may be looked for again.
        for _ in 0..8 {
            let Some(row) = find(&self.folder.database.reader(), self.id, object)? else {
                return Ok(None);
            };
            let folder = self.folder.clone();
            let open = move || Ok(folder.objects.open(&row.file)?.map(|open| (open, row.info)));
            let Some((mut reader, info)) = on_disk(open).await? else {
                continue;
            };
            let (first, size) = span.within(info.size);
            reader.seek(io::SeekFrom::Start(first)).await?;
            let reader = Box::new(reader.take(size));
            return Ok(Some(Content { size, reader }));
        }
        Err(io::Error::from(io::ErrorKind::NotFound).into())
    }

    async fn write(&self, object: &str, value: Staged) -> Result<(), StoreError> {
        check_name(object)?;
        let (folder, name) = (self.folder.clone(), object.to_owned());
        let whose = (self.namespace.clone(), self.id);
        uncancelled(async move {
            let size = value.size();
            let synced = folder.clone();
            let sync = move || Ok(synced.objects.sync(value.into_file()?)?);
            let staged = on_disk(sync).await?;
            folder.commit(whose, name, size, staged).await
        })
        .await
    }

    async fn delete(&self, objects: &[String]) -> Result<(), StoreError> {
        let (id, namespace, names) = (self.id, self.namespace.clone(), objects.to_vec());
        let change = move |connection: &Connection| {
            let delete = "DELETE FROM objects WHERE container = ?1 AND name = ?2
                 RETURNING file, size, created";
            let mut delete = connection.prepare_cached(delete)?;
            let mut gone: Vec<Row> = Vec::new();
            for name in names {
                gone.extend(delete.query_row(params![id, name], Row::of).optional()?);
            }
            let freed = gone.iter().map(|row| cost(row.info.size)).sum();
            account(connection, &namespace, freed, 0, 0)?;
            Ok(gone)
        };
        let removal = self.folder.clone().remove(self.namespace.clone(), change);
        uncancelled(removal).await
    }

    async fn list(&self, after: Option<&str>) -> Result<Vec<String>, StoreError> {
        let reader = self.folder.database.reader();
        // No name is empty.
        let query = "SELECT name FROM objects WHERE container = ?1 AND name > ?2
             ORDER BY name LIMIT ?3";
        let mut query = reader.prepare_cached(query)?;
        let after = params![self.id, after.unwrap_or_default(), PAGE as i64];
        let names = query.query_map(after, |row| row.get(0))?;
        Ok(names.collect::<Result<_, _>>()?)
    }
}

impl Row {
    fn of(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            file: row.get(0)?,
            info: Info {
                size: row.get::<_, i64>(1)?.cast_unsigned(),
                created: row.get::<_, i64>(2)?.cast_unsigned(),
            },
        })
    }
}

impl Refusal for StoreError {
    fn closed() -> Self {
        Self::Other("the host's objects are closed".into())
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        tracing::error!("objects: {error}");
        Self::Other("the host can't read or write the index of its objects".into())
    }
}

fn find(connection: &Connection, container: i64, name: &str) -> Result<Option<Row>, StoreError> {
    let query = "SELECT file, size, created FROM objects WHERE container = ?1 AND name = ?2";
    let mut query = connection.prepare_cached(query)?;
    let found = query.query_row(params![container, name], Row::of);
    Ok(found.optional()?)
}

fn is_named(connection: &Connection, file: &str) -> rusqlite::Result<bool> {
    let query = "SELECT 1 FROM objects WHERE file = ?1";
    connection.prepare_cached(query)?.exists(params![file])
}

fn cost(size: u64) -> u64 {
    size + ENTRY
}
