//! Buckets in one SQLite file, which outlive the process.
//!
//! What was acknowledged is on the disk: a thread of its own writes, as many waiting changes in one
//! transaction as there are, so that they share one sync. Reads go past it, on a connection of their
//! own; they take some microseconds, which is less than it costs to hand them to another thread.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension as _, params};
use waft_ir::Failure;

use super::{
    store::{Bucket, Store, StoreError, add, check_name, spend},
    watch::{self, Hub, Teller},
};
use crate::database::{Database, Refusal, account};

/// Bytes that the buckets of a namespace hold together, keys and values.
const NAMESPACE: usize = 1 << 30;
/// Bytes that each key and each bucket counts beside its own.
const ENTRY: usize = 64;
/// Keys in one answer.
const PAGE: usize = 1000;

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS buckets (
        id INTEGER PRIMARY KEY,
        namespace TEXT NOT NULL,
        name TEXT NOT NULL,
        UNIQUE (namespace, name)
    );
    CREATE TABLE IF NOT EXISTS entries (
        bucket INTEGER NOT NULL,
        key TEXT NOT NULL,
        value BLOB NOT NULL,
        PRIMARY KEY (bucket, key)
    ) WITHOUT ROWID;
";

/// The buckets of all namespaces.
pub(super) struct File {
    pub(super) database: Arc<Database<StoreError>>,
    /// Bytes that a namespace may hold.
    most: usize,
    hub: Arc<Hub>,
}

/// One bucket.
#[derive(Clone)]
struct Kept {
    id: i64,
    tenant: Arc<Tenant>,
    database: Arc<Database<StoreError>>,
    teller: Arc<Teller>,
}

/// A namespace, and what it may hold.
struct Tenant {
    namespace: String,
    most: usize,
}

impl File {
    /// Opens the file, or makes it. Only its user may read it. Its changes are told at the hub.
    pub(super) fn open(path: &Path, hub: Arc<Hub>) -> Result<Self, Failure> {
        Self::bounded(path, NAMESPACE, hub)
    }

    fn bounded(path: &Path, most: usize, hub: Arc<Hub>) -> Result<Self, Failure> {
        Ok(Self {
            database: Arc::new(Database::open(path, "key-value data", SCHEMA)?),
            most,
            hub,
        })
    }
}

#[async_trait]
impl Store for File {
    async fn open(&self, namespace: &str, name: &str) -> Result<Arc<dyn Bucket>, StoreError> {
        check_name(name)?;
        let tenant = Arc::new(Tenant {
            namespace: namespace.to_owned(),
            most: self.most,
        });
        let known = find(&self.database.reader(), namespace, name)?;
        let id = match known {
            Some(id) => id,
            None => {
                let (tenant, name) = (tenant.clone(), name.to_owned());
                let make = move |connection: &Connection| {
                    if let Some(known) = find(connection, &tenant.namespace, &name)? {
                        return Ok(known);
                    }
                    tenant.grow(connection, 0, name.len() + ENTRY)?;
                    let insert = "INSERT INTO buckets (namespace, name) VALUES (?1, ?2)";
                    connection.execute(insert, params![tenant.namespace, name])?;
                    Ok(connection.last_insert_rowid())
                };
                self.database.change(make).await?
            }
        };
        Ok(Arc::new(Kept {
            id,
            tenant,
            database: self.database.clone(),
            teller: Arc::new(self.hub.teller(watch::FILE, namespace, name)),
        }))
    }
}

impl Kept {
    fn tell(&self, key: &str, value: Option<&[u8]>) {
        self.teller.tell(|| Arc::new(self.clone()), key, value);
    }
}

#[async_trait]
impl Bucket for Kept {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        value(&self.database.reader(), self.id, key)
    }

    async fn get_many(
        &self,
        keys: &[String],
        most: usize,
    ) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let reader = self.database.reader();
        let mut left = most;
        let read = keys.iter().map(|key| {
            let value = value(&reader, self.id, key)?;
            spend(&mut left, value.as_deref(), most)?;
            Ok(value)
        });
        read.collect()
    }

    async fn exists(&self, key: &str) -> Result<bool, StoreError> {
        let reader = self.database.reader();
        let query = "SELECT 1 FROM entries WHERE bucket = ?1 AND key = ?2";
        Ok(reader
            .prepare_cached(query)?
            .exists(params![self.id, key])?)
    }

    async fn set(&self, pairs: Vec<(String, Vec<u8>)>) -> Result<(), StoreError> {
        // Of a key that is named twice the last value counts.
        let pairs: BTreeMap<String, Vec<u8>> = pairs.into_iter().collect();
        pairs.keys().try_for_each(|key| check_name(key))?;
        let (id, tenant) = (self.id, self.tenant.clone());
        let set = move |connection: &Connection| {
            for (key, value) in &pairs {
                tenant.put(connection, id, key, value)?;
            }
            Ok(pairs)
        };
        let this = self.clone();
        let tell = move |pairs: &BTreeMap<String, Vec<u8>>| {
            for (key, value) in pairs {
                this.tell(key, Some(value));
            }
        };
        self.database.change_and_tell(set, tell).await.map(drop)
    }

    async fn delete(&self, keys: &[String]) -> Result<(), StoreError> {
        let (id, tenant, keys) = (self.id, self.tenant.clone(), keys.to_vec());
        let delete = move |connection: &Connection| {
            let mut deleted = Vec::new();
            for key in keys {
                if let Some(old) = size(connection, id, &key)? {
                    let delete = "DELETE FROM entries WHERE bucket = ?1 AND key = ?2";
                    connection
                        .prepare_cached(delete)?
                        .execute(params![id, key])?;
                    tenant.grow(connection, cost(&key, old), 0)?;
                    deleted.push(key);
                }
            }
            Ok(deleted)
        };
        let this = self.clone();
        let tell = move |deleted: &Vec<String>| deleted.iter().for_each(|key| this.tell(key, None));
        self.database.change_and_tell(delete, tell).await.map(drop)
    }

    async fn increment(&self, key: &str, delta: u64) -> Result<u64, StoreError> {
        check_name(key)?;
        let (this, told) = (self.clone(), key.to_owned());
        let tell = move |sum: &u64| this.tell(&told, Some(sum.to_string().as_bytes()));
        let (id, tenant, key) = (self.id, self.tenant.clone(), key.to_owned());
        let increment = move |connection: &Connection| {
            let old = value(connection, id, &key)?;
            let sum = add(old.as_deref().unwrap_or(b"0"), delta)?;
            let digits = sum.to_string();
            tenant.put(connection, id, &key, digits.as_bytes())?;
            Ok(sum)
        };
        self.database.change_and_tell(increment, tell).await
    }

    async fn keys(&self, cursor: Option<u64>) -> Result<(Vec<String>, Option<u64>), StoreError> {
        let from = i64::try_from(cursor.unwrap_or(0)).unwrap_or(i64::MAX);
        let reader = self.database.reader();
        let mut query = reader.prepare_cached(
            "SELECT key FROM entries WHERE bucket = ?1 ORDER BY key LIMIT ?2 OFFSET ?3",
        )?;
        let rows = query.query_map(params![self.id, PAGE as i64, from], |row| row.get(0))?;
        let keys = rows.collect::<Result<Vec<String>, _>>()?;
        let next = (keys.len() == PAGE).then(|| from as u64 + PAGE as u64);
        Ok((keys, next))
    }
}

impl Refusal for StoreError {
    fn closed() -> Self {
        Self::Other("the host's key-value data is closed".into())
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        tracing::error!("key-value data: {error}");
        Self::Other("the host can't read or write its key-value data".into())
    }
}

fn find(connection: &Connection, namespace: &str, name: &str) -> Result<Option<i64>, StoreError> {
    let query = "SELECT id FROM buckets WHERE namespace = ?1 AND name = ?2";
    let mut query = connection.prepare_cached(query)?;
    let found = query.query_row(params![namespace, name], |row| row.get(0));
    Ok(found.optional()?)
}

fn value(connection: &Connection, bucket: i64, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
    let query = "SELECT value FROM entries WHERE bucket = ?1 AND key = ?2";
    let mut query = connection.prepare_cached(query)?;
    let found = query.query_row(params![bucket, key], |row| row.get(0));
    Ok(found.optional()?)
}

/// Bytes of a value.
fn size(connection: &Connection, bucket: i64, key: &str) -> Result<Option<usize>, StoreError> {
    let query = "SELECT length(value) FROM entries WHERE bucket = ?1 AND key = ?2";
    let mut query = connection.prepare_cached(query)?;
    let found = query.query_row(params![bucket, key], |row| row.get::<_, i64>(0));
    Ok(found
        .optional()?
        .map(|size| usize::try_from(size).unwrap_or(0)))
}

impl Tenant {
    fn put(
        &self,
        connection: &Connection,
        bucket: i64,
        key: &str,
        value: &[u8],
    ) -> Result<(), StoreError> {
        let freed = size(connection, bucket, key)?.map_or(0, |old| cost(key, old));
        self.grow(connection, freed, cost(key, value.len()))?;
        let upsert = "INSERT INTO entries (bucket, key, value) VALUES (?1, ?2, ?3)
             ON CONFLICT (bucket, key) DO UPDATE SET value = ?3";
        let mut upsert = connection.prepare_cached(upsert)?;
        upsert.execute(params![bucket, key, value])?;
        Ok(())
    }

    /// Counts what the namespace holds; refuses what would be too much.
    fn grow(&self, connection: &Connection, freed: usize, added: usize) -> Result<(), StoreError> {
        let (freed, added) = (freed as u64, added as u64);
        match account(connection, &self.namespace, freed, added, self.most as u64)? {
            true => Ok(()),
            false => Err(StoreError::Full(self.most)),
        }
    }
}

fn cost(key: &str, value: usize) -> usize {
    key.len() + value + ENTRY
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn keeps_what_a_store_keeps_and_again_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keyvalue.db");
        let open = || File::open(&path, Arc::default()).unwrap();
        crate::keyvalue::contract::check(&open()).await;
        let file = open();
        let bucket = file.open("one", "contract").await.unwrap();
        assert_eq!(bucket.increment("count", 1).await, Ok(6));
    }

    #[tokio::test]
    async fn changes_that_come_together_are_each_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keyvalue.db");
        let file = File::bounded(&path, 1000, Arc::default()).unwrap();
        let bucket = file.open("n", "b").await.unwrap();
        let large = || vec![0; 250];
        let fits = vec![("small".to_owned(), b"x".to_vec())];
        // The first pair alone would fit: with the others it must not stay.
        let much = ["a", "b", "c", "d"].map(|key| (key.to_owned(), large()));
        let (counted, set, refused) = tokio::join!(
            bucket.increment("count", 1),
            bucket.set(fits),
            bucket.set(much.to_vec()),
        );
        assert_eq!((counted, set), (Ok(1), Ok(())));
        assert_eq!(refused, Err(StoreError::Full(1000)));
        let (keys, _) = bucket.keys(None).await.unwrap();
        assert_eq!(keys, ["count", "small"]);
        // What was refused takes no room.
        let used = |file: &File| -> i64 {
            let reader = file.database.reader();
            reader
                .query_row("SELECT used FROM namespaces", [], |row| row.get(0))
                .unwrap()
        };
        let expected = cost("b", 0) + cost("count", 1) + cost("small", 1);
        assert_eq!(used(&file), expected as i64);
    }
}
