//! Buckets in memory. What a namespace may hold is bounded, so that no tenant takes the host's.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use async_trait::async_trait;
use parking_lot::Mutex;

use super::{
    store::{Bucket, Store, StoreError, add, check_name, spend},
    watch::{self, Hub, Teller},
};

/// Bytes that the buckets of a namespace hold together, keys and values.
const NAMESPACE: usize = 64 << 20;
/// Bytes that each key and each bucket counts beside its own.
const ENTRY: usize = 64;
/// Keys in one answer.
const PAGE: usize = 1000;

/// The buckets of all namespaces.
#[derive(Default)]
pub(super) struct Memory {
    tenants: Mutex<HashMap<String, Tenant>>,
    hub: Arc<Hub>,
}

#[derive(Default)]
struct Tenant {
    buckets: HashMap<String, Arc<Held>>,
    used: Arc<Mutex<usize>>,
}

/// One bucket.
struct Held {
    entries: Mutex<BTreeMap<String, Vec<u8>>>,
    /// Of the whole namespace; locked within `entries`.
    used: Arc<Mutex<usize>>,
    /// Used within `entries`, so that changes are told in their order.
    teller: Teller,
}

impl Memory {
    /// Its changes are told there.
    pub(super) fn new(hub: Arc<Hub>) -> Self {
        Self {
            tenants: Mutex::default(),
            hub,
        }
    }
}

#[async_trait]
impl Store for Memory {
    async fn open(&self, namespace: &str, name: &str) -> Result<Arc<dyn Bucket>, StoreError> {
        check_name(name)?;
        let mut tenants = self.tenants.lock();
        let tenant = tenants.entry(namespace.to_owned()).or_default();
        if let Some(known) = tenant.buckets.get(name) {
            return Ok(Arc::new(known.clone()));
        }
        let mut used = tenant.used.lock();
        *used = grown(*used, name.len() + ENTRY)?;
        let bucket = Arc::new(Held {
            entries: Mutex::default(),
            used: tenant.used.clone(),
            teller: self.hub.teller(watch::MEMORY, namespace, name),
        });
        tenant.buckets.insert(name.to_owned(), bucket.clone());
        Ok(Arc::new(bucket))
    }
}

impl Held {
    fn tell(self: &Arc<Self>, key: &str, value: Option<&[u8]>) {
        self.teller.tell(|| Arc::new(self.clone()), key, value);
    }
}

#[async_trait]
impl Bucket for Arc<Held> {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.entries.lock().get(key).cloned())
    }

    async fn get_many(
        &self,
        keys: &[String],
        most: usize,
    ) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let entries = self.entries.lock();
        let mut left = most;
        let read = keys.iter().map(|key| {
            let value = entries.get(key);
            spend(&mut left, value.map(Vec::as_slice), most)?;
            Ok(value.cloned())
        });
        read.collect()
    }

    async fn exists(&self, key: &str) -> Result<bool, StoreError> {
        Ok(self.entries.lock().contains_key(key))
    }

    async fn set(&self, pairs: Vec<(String, Vec<u8>)>) -> Result<(), StoreError> {
        // Of a key that is named twice the last value counts.
        let pairs: BTreeMap<String, Vec<u8>> = pairs.into_iter().collect();
        pairs.keys().try_for_each(|key| check_name(key))?;
        let mut entries = self.entries.lock();
        let mut used = self.used.lock();
        let freed: usize = pairs
            .keys()
            .filter_map(|key| Some(cost(key, entries.get(key)?)))
            .sum();
        let added = pairs.iter().map(|(key, value)| cost(key, value)).sum();
        *used = grown(*used - freed, added)?;
        for (key, value) in pairs {
            self.tell(&key, Some(&value));
            entries.insert(key, value);
        }
        Ok(())
    }

    async fn delete(&self, keys: &[String]) -> Result<(), StoreError> {
        let mut entries = self.entries.lock();
        for key in keys {
            if let Some(value) = entries.remove(key) {
                *self.used.lock() -= cost(key, &value);
                self.tell(key, None);
            }
        }
        Ok(())
    }

    async fn increment(&self, key: &str, delta: u64) -> Result<u64, StoreError> {
        check_name(key)?;
        let mut entries = self.entries.lock();
        let old = entries.get(key);
        let sum = add(old.map_or(b"0", Vec::as_slice), delta)?;
        let value = sum.to_string().into_bytes();
        let freed = old.map_or(0, |old| cost(key, old));
        let mut used = self.used.lock();
        *used = grown(*used - freed, cost(key, &value))?;
        self.tell(key, Some(&value));
        entries.insert(key.to_owned(), value);
        Ok(sum)
    }

    async fn keys(&self, cursor: Option<u64>) -> Result<(Vec<String>, Option<u64>), StoreError> {
        let from = usize::try_from(cursor.unwrap_or(0)).unwrap_or(usize::MAX);
        let entries = self.entries.lock();
        let keys: Vec<_> = entries.keys().skip(from).take(PAGE).cloned().collect();
        let next = (keys.len() == PAGE).then(|| (from + PAGE) as u64);
        Ok((keys, next))
    }
}

fn cost(key: &str, value: &[u8]) -> usize {
    key.len() + value.len() + ENTRY
}

fn grown(used: usize, bytes: usize) -> Result<usize, StoreError> {
    let sum = used.checked_add(bytes).filter(|sum| *sum <= NAMESPACE);
    sum.ok_or(StoreError::Full(NAMESPACE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_namespace_holds_what_it_may_and_room_comes_back() {
        let memory = Memory::default();
        let one = memory.open("n", "a").await.unwrap();
        let other = memory.open("n", "b").await.unwrap();
        let large = || vec![("k".to_owned(), vec![0; NAMESPACE - 2000])];
        one.set(large()).await.unwrap();
        let refused = other.set(vec![("k".into(), vec![0; 2000])]).await;
        assert_eq!(refused, Err(StoreError::Full(NAMESPACE)));
        assert!(!other.exists("k").await.unwrap());
        // In the place of the old value it fits; another namespace has its own room.
        one.set(large()).await.unwrap();
        let elsewhere = memory.open("m", "a").await.unwrap();
        elsewhere.set(large()).await.unwrap();
        one.delete(&["k".into()]).await.unwrap();
        other.set(large()).await.unwrap();
    }

    #[tokio::test]
    async fn keeps_what_a_store_keeps() {
        crate::keyvalue::contract::check(&Memory::default()).await;
    }
}
