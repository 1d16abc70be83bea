//! `wasi:keyvalue`: buckets of keys and values, with counters and batches.
//!
//! A bucket belongs to a namespace: its workloads share it, and no other namespace can name it. An
//! entry of the manifest with a name grants the bucket of that name, one without a name grants any.

mod memory;

use std::{collections::BTreeSet, sync::Arc};

use waft_ir::{CapabilityGrant, Failure, InterfaceName};
use waft_runtime::{Capability, CapabilityId, Ctx, GuestSpec, Slot};
use wasmtime::component::{HasData, Linker, Resource};

use crate::slots::KEYVALUE;
use memory::{Bucket, Memory, Refused};

mod bindings {
    wasmtime::component::bindgen!({
        path: "wit/keyvalue",
        world: "wasi:keyvalue/imports",
        imports: { default: trappable },
        with: { "wasi:keyvalue/store.bucket": super::Open },
    });
}

use bindings::wasi::keyvalue::{atomics, batch, store};

/// The `wasi:keyvalue` capability: everything is kept in memory, as long as the host runs.
#[derive(Clone, Debug, Default)]
pub struct KeyValue {
    memory: Arc<Memory>,
}

/// A bucket that a guest has opened.
#[expect(unreachable_pub, reason = "the bindings re-export it")]
pub struct Open(Arc<Bucket>);

/// What one guest may open.
struct Granted {
    memory: Arc<Memory>,
    namespace: String,
    /// `None`: any.
    names: Option<BTreeSet<String>>,
}

/// The store as a host call sees it.
struct View<'a>(&'a mut Ctx);

struct Getter;

/// Keys in one answer of `list-keys`.
const PAGE: usize = 1000;
/// Bytes in one answer.
const ANSWER: usize = 8 << 20;

type Answer<T> = wasmtime::Result<Result<T, store::Error>>;

impl HasData for Getter {
    type Data<'a> = View<'a>;
}

impl Capability for KeyValue {
    fn id(&self) -> CapabilityId {
        KEYVALUE
    }

    fn interfaces(&self) -> Vec<InterfaceName> {
        ["store", "atomics", "batch"]
            .into_iter()
            .filter_map(|name| format!("wasi:keyvalue/{name}@0.2.0-draft").parse().ok())
            .collect()
    }

    fn link(&self, linker: &mut Linker<Ctx>) -> wasmtime::Result<()> {
        store::add_to_linker::<Ctx, Getter>(linker, |ctx| View(ctx))?;
        atomics::add_to_linker::<Ctx, Getter>(linker, |ctx| View(ctx))?;
        batch::add_to_linker::<Ctx, Getter>(linker, |ctx| View(ctx))
    }

    fn bind(&self, guest: &GuestSpec, grants: &[&CapabilityGrant]) -> Result<Slot, Failure> {
        let namespace = guest.workload.split('/').next().unwrap_or_default();
        let names: Option<BTreeSet<String>> =
            grants.iter().map(|grant| grant.name.clone()).collect();
        Ok(Arc::new(Granted {
            memory: self.memory.clone(),
            namespace: namespace.into(),
            names,
        }))
    }
}

impl View<'_> {
    fn bucket(&mut self, handle: &Resource<Open>) -> wasmtime::Result<Arc<Bucket>> {
        Ok(self.0.table().get(handle)?.0.clone())
    }
}

impl store::Host for View<'_> {
    fn open(&mut self, identifier: String) -> Answer<Resource<Open>> {
        // Linking refuses components whose import was not granted, so this is the host's mistake.
        let granted = self
            .0
            .slot::<Granted>(KEYVALUE)
            .ok_or_else(|| wasmtime::format_err!("wasi:keyvalue was not granted"))?;
        let names = granted.names.as_ref();
        if names.is_some_and(|names| !names.contains(&identifier)) {
            return Ok(Err(store::Error::NoSuchStore));
        }
        match granted.memory.open(&granted.namespace, &identifier) {
            Ok(bucket) => Ok(Ok(self.0.table().push(Open(bucket))?)),
            Err(refused) => Ok(Err(refused.into())),
        }
    }
}

impl store::HostBucket for View<'_> {
    fn get(&mut self, bucket: Resource<Open>, key: String) -> Answer<Option<Vec<u8>>> {
        Ok(Ok(self.bucket(&bucket)?.get(&key)))
    }

    fn set(&mut self, bucket: Resource<Open>, key: String, value: Vec<u8>) -> Answer<()> {
        Ok(self
            .bucket(&bucket)?
            .set([(key, value)])
            .map_err(Into::into))
    }

    fn delete(&mut self, bucket: Resource<Open>, key: String) -> Answer<()> {
        self.bucket(&bucket)?.delete(&[key]);
        Ok(Ok(()))
    }

    fn exists(&mut self, bucket: Resource<Open>, key: String) -> Answer<bool> {
        Ok(Ok(self.bucket(&bucket)?.get(&key).is_some()))
    }

    fn list_keys(
        &mut self,
        bucket: Resource<Open>,
        cursor: Option<u64>,
    ) -> Answer<store::KeyResponse> {
        let from = usize::try_from(cursor.unwrap_or(0)).unwrap_or(usize::MAX);
        let keys = self.bucket(&bucket)?.keys(from, PAGE);
        let cursor = (keys.len() == PAGE).then(|| (from + PAGE) as u64);
        Ok(Ok(store::KeyResponse { keys, cursor }))
    }

    fn drop(&mut self, bucket: Resource<Open>) -> wasmtime::Result<()> {
        self.0.table().delete(bucket)?;
        Ok(())
    }
}

impl atomics::Host for View<'_> {
    fn increment(&mut self, bucket: Resource<Open>, key: String, delta: u64) -> Answer<u64> {
        let sum = self.bucket(&bucket)?.increment(key, delta);
        Ok(sum.map_err(Into::into))
    }
}

impl batch::Host for View<'_> {
    fn get_many(
        &mut self,
        bucket: Resource<Open>,
        keys: Vec<String>,
    ) -> Answer<Vec<Option<(String, Vec<u8>)>>> {
        let bucket = self.bucket(&bucket)?;
        let mut left = ANSWER;
        let mut found = Vec::new();
        for key in keys {
            let value = bucket.get(&key);
            let size = value.as_ref().map_or(0, Vec::len);
            let Some(rest) = left.checked_sub(size) else {
                let text = format!("the values together have more than {ANSWER} bytes");
                return Ok(Err(store::Error::Other(text)));
            };
            left = rest;
            found.push(value.map(|value| (key, value)));
        }
        Ok(Ok(found))
    }

    fn set_many(&mut self, bucket: Resource<Open>, pairs: Vec<(String, Vec<u8>)>) -> Answer<()> {
        Ok(self.bucket(&bucket)?.set(pairs).map_err(Into::into))
    }

    fn delete_many(&mut self, bucket: Resource<Open>, keys: Vec<String>) -> Answer<()> {
        self.bucket(&bucket)?.delete(&keys);
        Ok(Ok(()))
    }
}

impl From<Refused> for store::Error {
    fn from(refused: Refused) -> Self {
        Self::Other(refused.to_string())
    }
}
