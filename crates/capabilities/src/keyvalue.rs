//! `wasi:keyvalue`: buckets of keys and values, with counters and batches.
//!
//! A bucket belongs to a namespace: its workloads share it, and no other namespace can name it. An
//! entry of the manifest with a name grants the bucket of that name, one without a name grants any.
//! Which store a bucket is in says its entry, and by which interfaces it may be used; the stores
//! themselves are the backends' business.

#[cfg(test)]
mod contract;
mod file;
mod memory;
mod nats;
mod redis;
mod store;
mod watch;

use std::{collections::BTreeMap, sync::Arc};

use waft_ir::{CapabilityGrant, Failure, InterfaceName};
use waft_runtime::{
    Capability, CapabilityId, Ctx, GuestSpec, HeldBucket, PLACES, Refusal, Slot, views,
};
use wasmtime::component::{HasData, LinkerInstance, Resource};

use crate::{
    backends::{Backend, Backends},
    granted,
    nats::Nats,
    on_need::OnNeed,
    slots::KEYVALUE,
};
use file::File;
use memory::Memory;
use nats::NatsStore;
use redis::Redis;
use store::{Bucket, Store, StoreError, check_count, spend};
use watch::Hub;

mod bindings {
    wasmtime::component::bindgen!({
        path: "../runtime/wit/keyvalue",
        world: "wasi:keyvalue/imports",
        imports: { default: async | trappable },
        with: { "wasi:keyvalue/store.bucket": waft_runtime::HeldBucket },
    });
}

use bindings::wasi::keyvalue::{atomics, batch, store as wit};

/// The `wasi:keyvalue` capability.
#[derive(Clone)]
pub struct KeyValue(Arc<Stores>);

/// The stores of a host.
struct Stores {
    memory: Arc<dyn Store>,
    hub: Arc<Hub>,
    /// Where the host keeps what is to outlive it.
    file: Option<OnNeed<dyn Store>>,
    redis: Option<Arc<Redis>>,
    nats: Option<Arc<NatsStore>>,
    backends: Backends,
}

/// What one guest may open.
type Granted = granted::Granted<Kept>;

type Entry = granted::Entry<Kept>;

/// Where the buckets of an entry are.
struct Kept {
    store: Arc<dyn Store>,
    backend: Backend,
    /// Stands before the names of its buckets.
    prefix: String,
}

/// What a guest's handle is to.
struct Held {
    bucket: Arc<dyn Bucket>,
    /// The entry that granted it.
    entry: Arc<Entry>,
    name: String,
}

/// The store as a host call sees it.
struct View<'a>(&'a mut Ctx);

struct Getter;

/// The interfaces that act on a bucket.
const STORE: &str = "store";
const ATOMICS: &str = "atomics";
const BATCH: &str = "batch";

/// Bytes in one answer.
const ANSWER: usize = 8 << 20;

type Answer<T> = wasmtime::Result<Result<T, wit::Error>>;

impl HasData for Getter {
    type Data<'a> = View<'a>;
}

impl KeyValue {
    pub(crate) fn new(backends: &Backends, nats: Option<Arc<Nats>>) -> Result<Self, Failure> {
        let hub = Arc::<Hub>::default();
        let file = backends.data_dir.as_ref().map(|folder| {
            let path = folder.join("keyvalue.db");
            let hub = hub.clone();
            OnNeed::new(move || {
                let file = File::open(&path, hub.clone())?;
                Ok(Arc::new(file) as Arc<dyn Store>)
            })
        });
        let redis = backends.redis.as_deref().map(Redis::new).transpose()?;
        Ok(Self(Arc::new(Stores {
            memory: Arc::new(Memory::new(hub.clone())),
            hub,
            file,
            redis: redis.map(Arc::new),
            nats: nats.map(|nats| Arc::new(NatsStore::new(nats))),
            backends: backends.clone(),
        })))
    }
}

impl Stores {
    fn of(&self, grant: &CapabilityGrant) -> Result<Kept, Failure> {
        let backend = self.backends.choose(grant);
        let store: Arc<dyn Store> = match (backend, &self.redis, &self.nats) {
            (Backend::Redis, Some(redis), _) => redis.clone(),
            (Backend::Nats, _, Some(nats)) => nats.clone(),
            (Backend::Memory, ..) => self.memory.clone(),
            _ => match &self.file {
                Some(file) => file.get()?,
                None => self.memory.clone(),
            },
        };
        Ok(Kept {
            store,
            backend,
            prefix: grant.config.get("prefix").cloned().unwrap_or_default(),
        })
    }
}

impl Kept {
    /// What the store calls a bucket of the entry.
    fn full_name(&self, bucket: &str) -> String {
        format!("{}{bucket}", self.prefix)
    }
}

impl Capability for KeyValue {
    fn id(&self) -> CapabilityId {
        KEYVALUE
    }

    fn interfaces(&self) -> Vec<InterfaceName> {
        crate::interfaces_of("wasi", "keyvalue")
    }

    fn link(
        &self,
        instance: &mut LinkerInstance<'_, Ctx>,
        interface: &InterfaceName,
        place: usize,
    ) -> wasmtime::Result<()> {
        const VIEWS: [fn(&mut Ctx) -> View<'_>; PLACES] = views!(ctx => View(ctx));
        let view = VIEWS[place];
        match interface.interface.as_deref() {
            Some("store") => wit::add_to_linker_instance::<Ctx, Getter>(instance, view),
            Some("atomics") => atomics::add_to_linker_instance::<Ctx, Getter>(instance, view),
            Some("batch") => batch::add_to_linker_instance::<Ctx, Getter>(instance, view),
            _ => Ok(()),
        }
    }

    fn bind(&self, guest: &GuestSpec, grants: &[&CapabilityGrant]) -> Result<Slot, Failure> {
        let granted = Granted::new(guest, grants, |grant| self.0.of(grant))?;
        Ok(Arc::new(Arc::new(granted)))
    }
}

impl PartialEq for Kept {
    fn eq(&self, other: &Self) -> bool {
        (self.backend, &self.prefix) == (other.backend, &other.prefix)
    }
}

async fn open(granted: &Granted, identifier: &str) -> Result<Option<HeldBucket>, StoreError> {
    let Some((entry, name)) = granted.find(identifier, STORE) else {
        return Ok(None);
    };
    let full = entry.of.full_name(name);
    let bucket = entry.of.store.open(&granted.namespace, &full).await?;
    Ok(Some(held(bucket, entry, name)))
}

/// A handle to a bucket that an entry granted.
fn held(bucket: Arc<dyn Bucket>, entry: &Arc<Entry>, name: &str) -> HeldBucket {
    HeldBucket(Arc::new(Held {
        bucket,
        entry: entry.clone(),
        name: name.to_owned(),
    }))
}

/// Pairs of keys and values, as many as fit into an answer. A key that is named more than once is read
/// once.
async fn get_many(
    bucket: &dyn Bucket,
    keys: Vec<String>,
) -> Result<Vec<Option<(String, Vec<u8>)>>, StoreError> {
    let mut known: Vec<String> = keys.clone();
    known.sort();
    known.dedup();
    let values = bucket.get_many(&known, ANSWER).await?;
    let values: BTreeMap<&String, Option<Vec<u8>>> = known.iter().zip(values).collect();
    let mut left = ANSWER;
    let pairs = keys.into_iter().map(|key| {
        let value = values.get(&key).and_then(Option::as_deref);
        spend(&mut left, value, ANSWER)?;
        Ok(value.map(|value| (key, value.to_vec())))
    });
    pairs.collect()
}

impl View<'_> {
    fn granted(&self) -> wasmtime::Result<Arc<Granted>> {
        // Linking refuses components whose import was not granted, so this is the host's mistake.
        let granted = self.0.slot::<Arc<Granted>>(KEYVALUE).cloned();
        granted.ok_or_else(|| wasmtime::format_err!("wasi:keyvalue was not granted"))
    }

    /// Does something with the bucket of a handle, if an interface may be used on it.
    async fn with<T, F>(
        &mut self,
        handle: &Resource<HeldBucket>,
        interface: &str,
        act: impl FnOnce(Arc<dyn Bucket>) -> F,
    ) -> Answer<T>
    where
        F: Future<Output = Result<T, StoreError>> + Send,
    {
        let granted = self.granted()?;
        let held = self.0.table().get(handle)?.0.downcast_ref::<Held>();
        // Nothing else makes handles.
        let held = held.ok_or_else(|| wasmtime::format_err!("the handle is of no bucket"))?;
        if !granted.permits(&held.entry, &held.name, interface) {
            return self.answer(Err(StoreError::NotGranted));
        }
        let done = act(held.bucket.clone()).await;
        self.answer(done)
    }

    /// The answer to a guest. What it was refused is counted.
    fn answer<T>(&self, result: Result<T, StoreError>) -> Answer<T> {
        Ok(result.map_err(|error| {
            match &error {
                StoreError::NotOwned | StoreError::NotGranted => {
                    self.0.count_refusal(Refusal::Bucket);
                }
                StoreError::Full(_) => self.0.count_refusal(Refusal::StoreFull),
                _ => {}
            }
            error.into()
        }))
    }
}

impl wit::Host for View<'_> {
    async fn open(&mut self, identifier: String) -> Answer<Resource<HeldBucket>> {
        let granted = self.granted()?;
        match open(&granted, &identifier).await {
            Ok(Some(bucket)) => Ok(Ok(self.0.table().push(bucket)?)),
            Ok(None) => {
                self.0.count_refusal(Refusal::Bucket);
                Ok(Err(wit::Error::NoSuchStore))
            }
            Err(error) => self.answer(Err(error)),
        }
    }
}

impl wit::HostBucket for View<'_> {
    async fn get(&mut self, bucket: Resource<HeldBucket>, key: String) -> Answer<Option<Vec<u8>>> {
        let get = |bucket: Arc<dyn Bucket>| async move { bucket.get(&key).await };
        self.with(&bucket, STORE, get).await
    }

    async fn set(
        &mut self,
        bucket: Resource<HeldBucket>,
        key: String,
        value: Vec<u8>,
    ) -> Answer<()> {
        let set = |bucket: Arc<dyn Bucket>| async move { bucket.set(vec![(key, value)]).await };
        self.with(&bucket, STORE, set).await
    }

    async fn delete(&mut self, bucket: Resource<HeldBucket>, key: String) -> Answer<()> {
        let delete = |bucket: Arc<dyn Bucket>| async move { bucket.delete(&[key]).await };
        self.with(&bucket, STORE, delete).await
    }

    async fn exists(&mut self, bucket: Resource<HeldBucket>, key: String) -> Answer<bool> {
        let exists = |bucket: Arc<dyn Bucket>| async move { bucket.exists(&key).await };
        self.with(&bucket, STORE, exists).await
    }

    async fn list_keys(
        &mut self,
        bucket: Resource<HeldBucket>,
        cursor: Option<u64>,
    ) -> Answer<wit::KeyResponse> {
        let keys = |bucket: Arc<dyn Bucket>| async move { bucket.keys(cursor).await };
        let found = self.with(&bucket, STORE, keys).await?;
        Ok(found.map(|(keys, cursor)| wit::KeyResponse { keys, cursor }))
    }

    async fn drop(&mut self, bucket: Resource<HeldBucket>) -> wasmtime::Result<()> {
        self.0.table().delete(bucket)?;
        Ok(())
    }
}

impl atomics::Host for View<'_> {
    async fn increment(
        &mut self,
        bucket: Resource<HeldBucket>,
        key: String,
        delta: u64,
    ) -> Answer<u64> {
        let add = |bucket: Arc<dyn Bucket>| async move { bucket.increment(&key, delta).await };
        self.with(&bucket, ATOMICS, add).await
    }
}

impl batch::Host for View<'_> {
    async fn get_many(
        &mut self,
        bucket: Resource<HeldBucket>,
        keys: Vec<String>,
    ) -> Answer<Vec<Option<(String, Vec<u8>)>>> {
        let get = |bucket: Arc<dyn Bucket>| async move {
            check_count(&keys)?;
            get_many(&*bucket, keys).await
        };
        self.with(&bucket, BATCH, get).await
    }

    async fn set_many(
        &mut self,
        bucket: Resource<HeldBucket>,
        pairs: Vec<(String, Vec<u8>)>,
    ) -> Answer<()> {
        let set = |bucket: Arc<dyn Bucket>| async move {
            check_count(&pairs)?;
            bucket.set(pairs).await
        };
        self.with(&bucket, BATCH, set).await
    }

    async fn delete_many(&mut self, bucket: Resource<HeldBucket>, keys: Vec<String>) -> Answer<()> {
        let delete = |bucket: Arc<dyn Bucket>| async move {
            check_count(&keys)?;
            bucket.delete(&keys).await
        };
        self.with(&bucket, BATCH, delete).await
    }
}

impl From<StoreError> for wit::Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotOwned | StoreError::NotGranted => Self::AccessDenied,
            error => Self::Other(error.to_string()),
        }
    }
}
