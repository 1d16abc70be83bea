//! Buckets in NATS JetStream: each is a key-value bucket of its name.
//!
//! The server is shared by all namespaces. The bucket [`OWNERS`] says whose a bucket is: the first
//! namespace that opens it, unless somebody writes another there; `*` is everybody's. Several keys
//! are several messages: what is set together is not set in one step.

#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use async_nats::jetstream::{
    self,
    kv::{self, DeleteErrorKind, Operation, UpdateErrorKind},
};
use async_trait::async_trait;
use futures::{StreamExt as _, TryStreamExt as _};
use tokio::time::timeout;

use waft_runtime::{Change, Delivery};

use super::{
    Entry, held,
    store::{Bucket, Store, StoreError, add, check_name, spend},
};
use crate::{
    Source,
    nats::{self, Last, Nats, NatsError, OWNERS, Owners, WITHIN},
};

/// Keys in one answer.
const PAGE: usize = 1000;
/// How often a key is tried that others change at the same time.
const TRIES: usize = 100;
/// Between two tries to watch again.
const PAUSE: Duration = Duration::from_millis(250);
/// Keys that are read or written at a time.
const AT_A_TIME: usize = 16;

/// The server of a host.
pub(super) struct NatsStore {
    nats: Arc<Nats>,
    owners: Owners,
}

/// One bucket.
struct Kept {
    /// Asked for each call, so that one meanwhile lost is told at once.
    nats: Arc<Nats>,
    store: kv::Store,
}

/// Changes of a bucket.
struct Watching {
    kept: Arc<Kept>,
    /// As the entry calls it.
    bucket: String,
    /// The entry that grants to watch it.
    entry: Arc<Entry>,
    /// `None`: to be begun anew.
    changes: Option<kv::Watch>,
    /// The last revision that was told.
    seen: u64,
    is_over: bool,
}

impl NatsStore {
    pub(super) fn new(nats: Arc<Nats>) -> Self {
        Self {
            nats,
            owners: Owners::default(),
        }
    }
}

#[async_trait]
impl Store for NatsStore {
    async fn open(&self, namespace: &str, name: &str) -> Result<Arc<dyn Bucket>, StoreError> {
        Ok(Arc::new(self.kept(namespace, name).await?))
    }
}

impl NatsStore {
    /// Begins to watch a bucket.
    pub(super) async fn watch(
        &self,
        entry: &Arc<Entry>,
        namespace: &str,
        name: &str,
    ) -> Result<Box<dyn Source>, StoreError> {
        let kept = self.kept(namespace, &entry.of.full_name(name)).await?;
        let status = kept.store.status().await.map_err(NatsError::failed)?;
        let seen = status.info.state.last_sequence;
        let from = kept.store.watch_all_from_revision(seen + 1).await;
        Ok(Box::new(Watching {
            changes: Some(from.map_err(NatsError::failed)?),
            kept: Arc::new(kept),
            bucket: name.to_owned(),
            entry: entry.clone(),
            seen,
            is_over: false,
        }))
    }

    async fn kept(&self, namespace: &str, name: &str) -> Result<Kept, StoreError> {
        check_name(name)?;
        nats::check_bucket(name)?;
        if name == OWNERS {
            return Err(StoreError::NotOwned);
        }
        let client = self.nats.client().await.map_err(NatsError::from)?;
        let context = jetstream::new(client.clone());
        self.owners.check(&context, namespace, name).await?;
        let store = nats::bucket(&context, name);
        Ok(Kept {
            nats: self.nats.clone(),
            store: store.await.map_err(NatsError::failed)?,
        })
    }
}

#[async_trait]
impl Source for Watching {
    async fn next(&mut self) -> Option<Delivery> {
        while !self.is_over {
            let Some(changes) = &mut self.changes else {
                tokio::time::sleep(PAUSE).await;
                let from = self.kept.store.watch_all_from_revision(self.seen + 1);
                self.changes = from.await.ok();
                continue;
            };
            match changes.next().await {
                // One that was told before the watch was begun anew.
                Some(Ok(entry)) if entry.revision <= self.seen => {}
                Some(Ok(entry)) => {
                    self.seen = entry.revision;
                    return Some(Delivery::Change(Change {
                        bucket: held(self.kept.clone(), &self.entry, &self.bucket),
                        key: entry.key,
                        value: (entry.operation == Operation::Put).then(|| entry.value.into()),
                    }));
                }
                // From where it was, once the server answers again.
                Some(Err(_)) | None => self.changes = None,
            }
        }
        None
    }

    async fn drain(&mut self) {
        self.is_over = true;
    }
}

impl Kept {
    async fn store(&self) -> Result<&kv::Store, StoreError> {
        self.nats.client().await.map_err(NatsError::from)?;
        Ok(&self.store)
    }
}

#[async_trait]
impl Bucket for Kept {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let store = self.store().await?;
        // What can't be a key there has no value.
        if !is_key(key) {
            return Ok(None);
        }
        let value = read(store, key).await?.and_then(|last| last.value);
        Ok(value.map(Vec::from))
    }

    async fn get_many(
        &self,
        keys: &[String],
        most: usize,
    ) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        // As they are needed: a guest may name hundreds of thousands.
        let reads = futures::stream::iter(0..keys.len()).map(|at| self.get(&keys[at]));
        let mut reads = reads.buffered(AT_A_TIME);
        let (mut values, mut left) = (Vec::new(), most);
        while let Some(value) = reads.try_next().await? {
            spend(&mut left, value.as_deref(), most)?;
            values.push(value);
        }
        Ok(values)
    }

    async fn exists(&self, key: &str) -> Result<bool, StoreError> {
        Ok(self.get(key).await?.is_some())
    }

    async fn set(&self, pairs: Vec<(String, Vec<u8>)>) -> Result<(), StoreError> {
        pairs.iter().try_for_each(|(key, _)| check_name(key))?;
        let store = self.store().await?;
        if let Some((key, _)) = pairs.iter().find(|(key, _)| !is_key(key)) {
            return Err(invalid(key));
        }
        // Of a key that is named twice the last value counts.
        let pairs: std::collections::BTreeMap<_, _> = pairs.into_iter().collect();
        let writes = futures::stream::iter(pairs).map(|(key, value)| async move {
            let put = store.put(&key, value.into()).await;
            put.map(drop)
                .map_err(|error| NatsError::failed(error).into())
        });
        writes.buffer_unordered(AT_A_TIME).try_collect().await
    }

    async fn delete(&self, keys: &[String]) -> Result<(), StoreError> {
        let store = self.store().await?;
        let deletes = futures::stream::iter(0..keys.len()).map(|at| delete(store, &keys[at]));
        deletes.buffer_unordered(AT_A_TIME).try_collect().await
    }

    async fn increment(&self, key: &str, delta: u64) -> Result<u64, StoreError> {
        check_name(key)?;
        let store = self.store().await?;
        if !is_key(key) {
            return Err(invalid(key));
        }
        for _ in 0..TRIES {
            let (revision, sum) = match nats::last(store, key).await? {
                None => (0, delta),
                Some(last) => match last.value {
                    None => (last.revision, delta),
                    Some(value) => (last.revision, add(&value, delta)?),
                },
            };
            match store.update(key, sum.to_string().into(), revision).await {
                Ok(_) => return Ok(sum),
                // Somebody was faster.
                Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => {}
                Err(error) => return Err(NatsError::failed(error).into()),
            }
        }
        Err(busy())
    }

    async fn keys(&self, cursor: Option<u64>) -> Result<(Vec<String>, Option<u64>), StoreError> {
        let store = self.store().await?;
        let mut listed = store.keys().await.map_err(NatsError::failed)?;
        let mut keys = Vec::new();
        // A server that is lost meanwhile ends no list.
        loop {
            let next = timeout(WITHIN, listed.try_next()).await;
            let next = next.map_err(NatsError::failed)?;
            match next.map_err(NatsError::failed)? {
                None => break,
                Some(key) => keys.push(key),
            }
        }
        keys.sort();
        let from = usize::try_from(cursor.unwrap_or(0)).unwrap_or(usize::MAX);
        let next = from.saturating_add(PAGE);
        let next = (keys.len() > next).then_some(next as u64);
        Ok((keys.into_iter().skip(from).take(PAGE).collect(), next))
    }
}

impl From<NatsError> for StoreError {
    fn from(error: NatsError) -> Self {
        match error {
            NatsError::NotOwned => Self::NotOwned,
            error => Self::Other(error.to_string()),
        }
    }
}

/// Deletes a key that is there. Another one gets no mark that it was deleted: the mark would stay, and
/// be told to those who watch.
async fn delete(store: &kv::Store, key: &str) -> Result<(), StoreError> {
    if !is_key(key) {
        return Ok(());
    }
    for _ in 0..TRIES {
        let last = nats::last(store, key).await?;
        let Some(last) = last.filter(|last| last.value.is_some()) else {
            return Ok(());
        };
        let deleted = store.delete_expect_revision(key, Some(last.revision));
        match deleted.await {
            Ok(()) => return Ok(()),
            // Somebody was faster.
            Err(error) if error.kind() == DeleteErrorKind::WrongLastRevision => {}
            Err(error) => return Err(NatsError::failed(error).into()),
        }
    }
    Err(busy())
}

/// What was said last of a key. Where a bucket has replicas, the one is asked that takes all changes:
/// who has set a key reads what they have set. Where there is one, any way to ask leads to it.
async fn read(store: &kv::Store, key: &str) -> Result<Option<Last>, StoreError> {
    if store.stream.cached_info().config.num_replicas > 1 {
        return Ok(nats::last(store, key).await?);
    }
    let entry = store.entry(key).await.map_err(NatsError::failed)?;
    Ok(entry.map(|entry| Last {
        revision: entry.revision,
        value: (entry.operation == Operation::Put).then_some(entry.value),
    }))
}

/// Whether it can be a key in NATS, which is part of a subject.
fn is_key(key: &str) -> bool {
    let is_fine = |c: char| c.is_ascii_alphanumeric() || "-/_=.".contains(c);
    key.split('.').all(|part| !part.is_empty()) && key.chars().all(is_fine)
}

fn busy() -> StoreError {
    StoreError::Other("the key was changed by others each time it was tried".into())
}

fn invalid(key: &str) -> StoreError {
    StoreError::Other(format!(
        "`{}` can't be a key in NATS: use letters, digits and `-/_=.`",
        key.escape_debug()
    ))
}
