//! Buckets in NATS JetStream: each is a key-value bucket of its name.
//!
//! The server is shared by all namespaces. The bucket [`OWNERS`] says whose a bucket is: the first
//! namespace that opens it, unless somebody writes another there; `*` is everybody's. Several keys
//! are several messages: what is set together is not set in one step.

#[cfg(test)]
mod tests;

use std::{collections::HashSet, sync::Arc};

use async_nats::jetstream::{
    self,
    kv::{
        self, CreateErrorKind, DeleteErrorKind, EntryErrorKind, Operation, PutErrorKind,
        UpdateErrorKind,
    },
};
use async_trait::async_trait;
use futures::{StreamExt as _, TryStreamExt as _};
use parking_lot::Mutex;

use super::store::{Bucket, Store, StoreError, add, check_name};
use crate::nats::{Nats, NotConnected};

/// The bucket with the owners of all others.
pub(crate) const OWNERS: &str = "waft-owners";
/// Keys in one answer.
const PAGE: usize = 1000;
/// How often a counter is tried that others change at the same time.
const TRIES: usize = 100;
/// Keys that are read or written at a time.
const AT_A_TIME: usize = 16;

/// The server of a host.
pub(super) struct NatsStore {
    nats: Arc<Nats>,
    /// (namespace, bucket) that were seen to fit.
    owned: Mutex<HashSet<(String, String)>>,
}

/// One bucket.
struct Kept {
    /// Asked for each call, so that one meanwhile lost is told at once.
    nats: Arc<Nats>,
    store: kv::Store,
}

impl NatsStore {
    pub(super) fn new(nats: Arc<Nats>) -> Self {
        Self {
            nats,
            owned: Mutex::default(),
        }
    }

    async fn check_owner(
        &self,
        context: &jetstream::Context,
        whose: &(String, String),
    ) -> Result<(), StoreError> {
        if self.owned.lock().contains(whose) {
            return Ok(());
        }
        let owners = bucket(context, OWNERS).await?;
        let (namespace, name) = whose;
        match owners.create(name, namespace.clone().into()).await {
            Ok(_) => {}
            Err(error) if error.kind() == CreateErrorKind::AlreadyExists => {
                let owner = owners.get(name.as_str()).await.map_err(of_entry)?;
                let owner = owner.unwrap_or_default();
                if owner != namespace.as_bytes() && &*owner != b"*" {
                    return Err(StoreError::NotOwned);
                }
            }
            Err(error) => return Err(failed(error)),
        }
        self.owned.lock().insert(whose.clone());
        Ok(())
    }
}

#[async_trait]
impl Store for NatsStore {
    async fn open(&self, namespace: &str, name: &str) -> Result<Arc<dyn Bucket>, StoreError> {
        check_name(name)?;
        let is_fine = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || !name.chars().all(is_fine) {
            let text = "a bucket in NATS has a name of letters, digits, `-` and `_`";
            return Err(StoreError::Other(text.into()));
        }
        if name == OWNERS {
            return Err(StoreError::NotOwned);
        }
        let client = self.nats.client().await?;
        let context = jetstream::new(client.clone());
        let whose = (namespace.to_owned(), name.to_owned());
        self.check_owner(&context, &whose).await?;
        Ok(Arc::new(Kept {
            nats: self.nats.clone(),
            store: bucket(&context, name).await?,
        }))
    }
}

impl Kept {
    async fn store(&self) -> Result<&kv::Store, StoreError> {
        self.nats.client().await?;
        Ok(&self.store)
    }
}

#[async_trait]
impl Bucket for Kept {
    async fn get(&self, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let store = self.store().await?;
        let reads = keys.iter().map(|key| async move {
            match store.get(key.as_str()).await {
                Ok(value) => Ok(value.map(Vec::from)),
                // What can't be a key there has no value.
                Err(error) if error.kind() == EntryErrorKind::InvalidKey => Ok(None),
                Err(error) => Err(of_entry(error)),
            }
        });
        let reads = futures::stream::iter(reads.collect::<Vec<_>>());
        reads.buffered(AT_A_TIME).try_collect().await
    }

    async fn exists(&self, key: &str) -> Result<bool, StoreError> {
        let found = self.get(&[key.to_owned()]).await?;
        Ok(found.iter().any(Option::is_some))
    }

    async fn set(&self, pairs: Vec<(String, Vec<u8>)>) -> Result<(), StoreError> {
        pairs.iter().try_for_each(|(key, _)| check_name(key))?;
        let store = self.store().await?;
        // Of a key that is named twice the last value counts.
        let pairs: std::collections::BTreeMap<_, _> = pairs.into_iter().collect();
        let writes = pairs.into_iter().map(|(key, value)| async move {
            let put = store.put(&key, value.into()).await;
            put.map(drop).map_err(|error| match error.kind() {
                PutErrorKind::InvalidKey => invalid(&key),
                _ => failed(error),
            })
        });
        let writes = futures::stream::iter(writes.collect::<Vec<_>>());
        writes.buffer_unordered(AT_A_TIME).try_collect().await
    }

    async fn delete(&self, keys: &[String]) -> Result<(), StoreError> {
        let store = self.store().await?;
        let deletes = keys.iter().map(|key| async move {
            match store.delete(key).await {
                Ok(()) => Ok(()),
                Err(error) if error.kind() == DeleteErrorKind::InvalidKey => Ok(()),
                Err(error) => Err(failed(error)),
            }
        });
        let deletes = futures::stream::iter(deletes.collect::<Vec<_>>());
        deletes.buffer_unordered(AT_A_TIME).try_collect().await
    }

    async fn increment(&self, key: &str, delta: u64) -> Result<u64, StoreError> {
        check_name(key)?;
        let store = self.store().await?;
        for _ in 0..TRIES {
            let entry = store.entry(key).await;
            let entry = entry.map_err(|error| match error.kind() {
                EntryErrorKind::InvalidKey => invalid(key),
                _ => of_entry(error),
            })?;
            let (revision, sum) = match entry {
                None => (0, delta),
                Some(entry) if entry.operation != Operation::Put => (entry.revision, delta),
                Some(entry) => (entry.revision, add(&entry.value, delta)?),
            };
            match store.update(key, sum.to_string().into(), revision).await {
                Ok(_) => return Ok(sum),
                // Somebody was faster.
                Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => {}
                Err(error) => return Err(failed(error)),
            }
        }
        let text = "the counter was changed by others each time it was tried";
        Err(StoreError::Other(text.into()))
    }

    async fn keys(&self, cursor: Option<u64>) -> Result<(Vec<String>, Option<u64>), StoreError> {
        let store = self.store().await?;
        let keys = store.keys().await.map_err(failed)?;
        let mut keys: Vec<String> = keys.try_collect().await.map_err(failed)?;
        keys.sort();
        let from = usize::try_from(cursor.unwrap_or(0)).unwrap_or(usize::MAX);
        let next = from.saturating_add(PAGE);
        let next = (keys.len() > next).then_some(next as u64);
        Ok((keys.into_iter().skip(from).take(PAGE).collect(), next))
    }
}

impl From<NotConnected> for StoreError {
    fn from(error: NotConnected) -> Self {
        Self::Other(error.to_string())
    }
}

/// A bucket of the server, made when it is first named.
async fn bucket(context: &jetstream::Context, name: &str) -> Result<kv::Store, StoreError> {
    if let Ok(known) = context.get_key_value(name).await {
        return Ok(known);
    }
    let config = kv::Config {
        bucket: name.to_owned(),
        history: 1,
        ..kv::Config::default()
    };
    context.create_key_value(config).await.map_err(failed)
}

fn of_entry(error: kv::EntryError) -> StoreError {
    failed(error)
}

fn invalid(key: &str) -> StoreError {
    StoreError::Other(format!(
        "`{}` can't be a key in NATS: use letters, digits and `-/_=.`",
        key.escape_debug()
    ))
}

/// Whether a change was made before the connection was lost is not known.
fn failed(error: impl std::fmt::Display) -> StoreError {
    tracing::warn!("NATS: {error}");
    StoreError::Other(format!("NATS does not answer as it should: {error}"))
}
