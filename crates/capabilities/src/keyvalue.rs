//! `wasi:keyvalue`: buckets of keys and values, with counters and batches.
//!
//! A bucket belongs to a namespace: its workloads share it, and no other namespace can name it. An
//! entry of the manifest with a name grants the bucket of that name, one without a name grants any.
//! Which store a bucket is in says its entry; the stores themselves are the backends' business.

#[cfg(test)]
mod contract;
mod file;
mod memory;
mod nats;
mod redis;
mod store;
mod watch;

use std::sync::Arc;

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
use store::{Bucket, Store, StoreError};
use watch::{Hub, Watched};

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
type Granted = granted::Granted<Arc<dyn Store>>;

/// The store as a host call sees it.
struct View<'a>(&'a mut Ctx);

struct Getter;

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
                let file = Watched::new("file", Arc::new(File::open(&path)?), hub.clone());
                Ok(Arc::new(file) as Arc<dyn Store>)
            })
        });
        let redis = backends.redis.as_deref().map(Redis::new).transpose()?;
        Ok(Self(Arc::new(Stores {
            memory: Arc::new(Watched::new(
                "memory",
                Arc::new(Memory::default()),
                hub.clone(),
            )),
            hub,
            file,
            redis: redis.map(Arc::new),
            nats: nats.map(|nats| Arc::new(NatsStore::new(nats))),
            backends: backends.clone(),
        })))
    }
}

impl Stores {
    fn of(&self, grant: &CapabilityGrant) -> Result<Arc<dyn Store>, Failure> {
        Ok(
            match (self.backends.choose(grant), &self.redis, &self.nats) {
                (Backend::Redis, Some(redis), _) => {
                    let prefix = grant.config.get("prefix").map_or("", String::as_str);
                    Arc::new(redis.with_prefix(prefix))
                }
                (Backend::Nats, _, Some(nats)) => nats.clone(),
                (Backend::Memory, ..) => self.memory.clone(),
                _ => match &self.file {
                    Some(file) => file.get()?,
                    None => self.memory.clone(),
                },
            },
        )
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

async fn open(granted: &Granted, identifier: &str) -> Result<Option<Arc<dyn Bucket>>, StoreError> {
    match granted.find(identifier) {
        Some((store, bucket)) => store.open(&granted.namespace, bucket).await.map(Some),
        None => Ok(None),
    }
}

/// What a guest's handle is to.
fn held(bucket: Arc<dyn Bucket>) -> HeldBucket {
    HeldBucket(Arc::new(bucket))
}

impl View<'_> {
    fn bucket(&mut self, handle: &Resource<HeldBucket>) -> wasmtime::Result<Arc<dyn Bucket>> {
        let bucket = self
            .0
            .table()
            .get(handle)?
            .0
            .downcast_ref::<Arc<dyn Bucket>>();
        // Nothing else makes handles.
        let other = || wasmtime::format_err!("the handle is of no bucket");
        bucket.cloned().ok_or_else(other)
    }

    /// The answer to a guest. What it was refused is counted.
    fn answer<T>(&self, result: Result<T, StoreError>) -> Answer<T> {
        Ok(result.map_err(|error| {
            match &error {
                StoreError::NotOwned => self.0.count_refusal(Refusal::Bucket),
                StoreError::Full(_) => self.0.count_refusal(Refusal::StoreFull),
                _ => {}
            }
            error.into()
        }))
    }
}

impl wit::Host for View<'_> {
    async fn open(&mut self, identifier: String) -> Answer<Resource<HeldBucket>> {
        // Linking refuses components whose import was not granted, so this is the host's mistake.
        let granted = self.0.slot::<Arc<Granted>>(KEYVALUE).cloned();
        let missing = || wasmtime::format_err!("wasi:keyvalue was not granted");
        match open(&*granted.ok_or_else(missing)?, &identifier).await {
            Ok(Some(bucket)) => Ok(Ok(self.0.table().push(held(bucket))?)),
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
        let found = self.bucket(&bucket)?.get(&[key]).await;
        Ok(found
            .map(|mut values| values.pop().flatten())
            .map_err(Into::into))
    }

    async fn set(
        &mut self,
        bucket: Resource<HeldBucket>,
        key: String,
        value: Vec<u8>,
    ) -> Answer<()> {
        let set = self.bucket(&bucket)?.set(vec![(key, value)]).await;
        self.answer(set)
    }

    async fn delete(&mut self, bucket: Resource<HeldBucket>, key: String) -> Answer<()> {
        let deleted = self.bucket(&bucket)?.delete(&[key]).await;
        Ok(deleted.map_err(Into::into))
    }

    async fn exists(&mut self, bucket: Resource<HeldBucket>, key: String) -> Answer<bool> {
        let exists = self.bucket(&bucket)?.exists(&key).await;
        Ok(exists.map_err(Into::into))
    }

    async fn list_keys(
        &mut self,
        bucket: Resource<HeldBucket>,
        cursor: Option<u64>,
    ) -> Answer<wit::KeyResponse> {
        let found = self.bucket(&bucket)?.keys(cursor).await;
        Ok(found
            .map(|(keys, cursor)| wit::KeyResponse { keys, cursor })
            .map_err(Into::into))
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
        let sum = self.bucket(&bucket)?.increment(&key, delta).await;
        self.answer(sum)
    }
}

impl batch::Host for View<'_> {
    async fn get_many(
        &mut self,
        bucket: Resource<HeldBucket>,
        keys: Vec<String>,
    ) -> Answer<Vec<Option<(String, Vec<u8>)>>> {
        let found = self.bucket(&bucket)?.get(&keys).await;
        let values = match found {
            Ok(values) => values,
            Err(error) => return Ok(Err(error.into())),
        };
        let size: usize = values.iter().flatten().map(Vec::len).sum();
        if size > ANSWER {
            let text = format!("the values together have more than {ANSWER} bytes");
            return Ok(Err(wit::Error::Other(text)));
        }
        let pairs = keys.into_iter().zip(values);
        Ok(Ok(pairs
            .map(|(key, value)| value.map(|value| (key, value)))
            .collect()))
    }

    async fn set_many(
        &mut self,
        bucket: Resource<HeldBucket>,
        pairs: Vec<(String, Vec<u8>)>,
    ) -> Answer<()> {
        let set = self.bucket(&bucket)?.set(pairs).await;
        self.answer(set)
    }

    async fn delete_many(&mut self, bucket: Resource<HeldBucket>, keys: Vec<String>) -> Answer<()> {
        let deleted = self.bucket(&bucket)?.delete(&keys).await;
        Ok(deleted.map_err(Into::into))
    }
}

impl From<StoreError> for wit::Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotOwned => Self::AccessDenied,
            error => Self::Other(error.to_string()),
        }
    }
}
