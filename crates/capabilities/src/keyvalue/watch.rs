//! Watching buckets: `wasi:keyvalue/watcher`, which a component exports.
//!
//! The host's own stores (memory and file) tell of each change here, where they make it: after it was
//! made, and of those of one bucket in their order. In NATS the server tells. Each replica is told of
//! each change. Redis can't say which field of a hash was changed.

#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use waft_ir::{Failure, FailureReason};
use waft_runtime::{Change, Delivery};

use super::{
    Backend, Entry, KeyValue, held,
    store::{Bucket, StoreError},
};
use crate::{Source, Subscribed, Subscriber, granted, source::Losses};

/// The stores that tell.
pub(super) const MEMORY: &str = "memory";
pub(super) const FILE: &str = "file";

/// Bytes of changes that may wait for one component.
const WAITING_BYTES: usize = 64 << 20;

/// Who watches which buckets of this host's stores.
#[derive(Default)]
pub(super) struct Hub {
    watchers: Mutex<HashMap<Place, Vec<Watcher>>>,
    /// How many there are, so that nobody is slower where nobody watches.
    count: AtomicUsize,
}

/// One bucket.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Place {
    store: &'static str,
    namespace: String,
    bucket: String,
}

/// One who watches.
struct Watcher {
    changes: mpsc::Sender<Waiting>,
    /// For the bytes of what waits for its component.
    room: Arc<Semaphore>,
    /// Changes that it was not told.
    losses: Losses,
}

/// A change, as those who watch are told.
#[derive(Clone)]
struct Told {
    bucket: Arc<dyn Bucket>,
    key: String,
    value: Option<Vec<u8>>,
}

/// A change that waits, and the room that it takes.
type Waiting = (Told, OwnedSemaphorePermit);

/// By which the store of a bucket tells of its changes.
pub(super) struct Teller {
    place: Place,
    hub: Arc<Hub>,
}

/// Changes of one bucket, as they come.
struct Watch {
    changes: mpsc::Receiver<Waiting>,
    /// As the entry calls it.
    bucket: String,
    /// The entry that grants to watch it.
    entry: Arc<Entry>,
    hub: Arc<Hub>,
}

impl KeyValue {
    /// Begins to watch for a component: the buckets of the entries that grant `watcher`.
    pub async fn watch(&self, of: &Subscriber<'_>) -> Result<Vec<Subscribed>, Failure> {
        let refuse = |text: String| Failure::new(FailureReason::StartFailed, text);
        let mut all = Vec::new();
        let room = Arc::new(Semaphore::new(WAITING_BYTES));
        let entries = of.grants.iter().filter(|grant| {
            let package = (
                grant.package.namespace.as_str(),
                grant.package.package.as_str(),
            );
            package == ("wasi", "keyvalue") && granted::lists(grant, "watcher")
        });
        for grant in entries {
            let entry = Arc::new(Entry::new(grant, self.0.of(grant)?));
            for bucket in entry.buckets() {
                let messages = self.watch_one(&entry, bucket, of, &room);
                all.push(Subscribed {
                    messages: messages.await?,
                    max_in_flight: None,
                    admission_wait: None,
                });
            }
        }
        if all.is_empty() {
            let text = "it exports a watcher of buckets and watches none: grant {namespace: wasi, \
                        package: keyvalue, interfaces: [watcher]} in spec.hostInterfaces, with the \
                        names of buckets in `config.buckets`";
            return Err(refuse(text.to_owned()));
        }
        Ok(all)
    }

    async fn watch_one(
        &self,
        entry: &Arc<Entry>,
        bucket: &str,
        of: &Subscriber<'_>,
        room: &Arc<Semaphore>,
    ) -> Result<Box<dyn Source>, Failure> {
        let (stores, namespace) = (&self.0, of.namespace);
        let unavailable = |error: StoreError| {
            let text = format!("the bucket `{bucket}` can't be watched: {error}");
            Failure::new(FailureReason::BackendUnavailable, text)
        };
        let name = match (entry.of.backend, &stores.nats) {
            (Backend::Nats, Some(nats)) => {
                let watch = nats.watch(entry, namespace, bucket).await;
                return watch.map_err(unavailable);
            }
            (Backend::Redis, _) => {
                let text = format!(
                    "the bucket `{bucket}` is in Redis, which does not say which key of a bucket was \
                     changed: watch one of another `backend`"
                );
                return Err(Failure::new(FailureReason::StartFailed, text));
            }
            (Backend::Memory, _) => MEMORY,
            _ if stores.file.is_some() => FILE,
            _ => MEMORY,
        };
        let place = Place {
            store: name,
            namespace: namespace.to_owned(),
            bucket: entry.of.full_name(bucket),
        };
        Ok(Box::new(stores.hub.watch(
            place,
            entry.clone(),
            bucket,
            of,
            room.clone(),
        )))
    }
}

impl Hub {
    fn watch(
        self: &Arc<Self>,
        place: Place,
        entry: Arc<Entry>,
        bucket: &str,
        of: &Subscriber<'_>,
        room: Arc<Semaphore>,
    ) -> Watch {
        let (sender, changes) = mpsc::channel(of.queue.max(1) as usize);
        let watcher = Watcher {
            changes: sender,
            room,
            losses: Losses::new(of.lost.clone()),
        };
        self.watchers.lock().entry(place).or_default().push(watcher);
        self.count.fetch_add(1, Relaxed);
        Watch {
            changes,
            bucket: bucket.to_owned(),
            entry,
            hub: self.clone(),
        }
    }

    /// For the changes of a bucket of a store.
    pub(super) fn teller(
        self: &Arc<Self>,
        store: &'static str,
        namespace: &str,
        bucket: &str,
    ) -> Teller {
        Teller {
            place: Place {
                store,
                namespace: namespace.to_owned(),
                bucket: bucket.to_owned(),
            },
            hub: self.clone(),
        }
    }

    fn tell(&self, place: &Place, change: impl FnOnce() -> Told) {
        if self.count.load(Relaxed) == 0 {
            return;
        }
        let watchers = self.watchers.lock();
        let Some(watchers) = watchers.get(place) else {
            return;
        };
        let change = change();
        for watcher in watchers {
            let is_lost = !watcher.tell(&change);
            if watcher.losses.note(is_lost) {
                tracing::warn!(
                    namespace = place.namespace,
                    bucket = place.bucket,
                    "a watcher is too slow: it is not told of changes until it has taken some"
                );
            }
        }
    }

    /// Forgets who has left.
    fn clear(&self) {
        self.watchers.lock().retain(|_, watchers| {
            watchers.retain(|watcher| !watcher.changes.is_closed());
            !watchers.is_empty()
        });
    }
}

impl Watcher {
    /// Tells of a change if there is room. Returns whether there was, or nobody is there any more.
    fn tell(&self, change: &Told) -> bool {
        let bytes = change.key.len() + change.value.as_ref().map_or(0, Vec::len);
        // A larger one has to be alone.
        let bytes = bytes.min(WAITING_BYTES) as u32;
        let Ok(room) = self.room.clone().try_acquire_many_owned(bytes) else {
            return false;
        };
        let sent = self.changes.try_send((change.clone(), room));
        !matches!(sent, Err(mpsc::error::TrySendError::Full(_)))
    }
}

impl Teller {
    /// Tells of a change that was made: what a key was set to, or that it was deleted. Those who watch
    /// get the bucket with it.
    pub(super) fn tell(
        &self,
        bucket: impl FnOnce() -> Arc<dyn Bucket>,
        key: &str,
        value: Option<&[u8]>,
    ) {
        self.hub.tell(&self.place, || Told {
            bucket: bucket(),
            key: key.to_owned(),
            value: value.map(<[u8]>::to_vec),
        });
    }
}

impl Watch {
    fn delivery(&self, (told, _): Waiting) -> Delivery {
        let Told { bucket, key, value } = told;
        let bucket = held(bucket, &self.entry, &self.bucket);
        Delivery::Change(Change { bucket, key, value })
    }
}

#[async_trait]
impl Source for Watch {
    async fn next(&mut self) -> Option<Delivery> {
        let waiting = self.changes.recv().await?;
        Some(self.delivery(waiting))
    }

    fn try_next(&mut self) -> Option<Delivery> {
        let waiting = self.changes.try_recv().ok()?;
        Some(self.delivery(waiting))
    }

    async fn drain(&mut self) {
        self.changes.close();
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.changes.close();
        self.hub.clear();
        self.hub.count.fetch_sub(1, Relaxed);
    }
}
