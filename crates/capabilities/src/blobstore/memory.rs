//! Containers in memory. What a namespace may hold is bounded, so that no tenant takes the host's.

use std::{
    collections::{BTreeMap, HashMap},
    io::Cursor,
    ops::Bound,
    sync::Arc,
};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;

use super::{
    staged::{Staged, on_disk},
    store::{Container, Content, Info, PAGE, Span, Store, StoreError, check_name, now},
};

/// Bytes that the containers of a namespace hold together, names and objects.
const NAMESPACE: u64 = 64 << 20;
/// Bytes that each object and each container counts beside its own.
const ENTRY: u64 = 128;

/// The containers of all namespaces.
#[derive(Default)]
pub(super) struct Memory(Mutex<HashMap<String, Tenant>>);

#[derive(Default)]
struct Tenant {
    containers: HashMap<String, Arc<Held>>,
    used: Arc<Mutex<u64>>,
}

/// One container.
struct Held {
    created: u64,
    /// `None`: it was deleted.
    objects: Mutex<Option<BTreeMap<String, Object>>>,
    /// Of the whole namespace.
    used: Arc<Mutex<u64>>,
}

struct Object {
    bytes: Bytes,
    created: u64,
}

/// Bytes of an object, which count until nobody reads them any more.
struct Counted {
    bytes: Vec<u8>,
    cost: u64,
    used: Arc<Mutex<u64>>,
}

#[async_trait]
impl Store for Memory {
    async fn create(&self, namespace: &str, name: &str) -> Result<Arc<dyn Container>, StoreError> {
        check_name(name)?;
        let mut tenants = self.0.lock();
        let tenant = tenants.entry(namespace.to_owned()).or_default();
        if let Some(known) = tenant.containers.get(name) {
            return Ok(known.clone());
        }
        grow(&tenant.used, cost(name, 0))?;
        let made = Arc::new(Held {
            created: now(),
            objects: Mutex::new(Some(BTreeMap::new())),
            used: tenant.used.clone(),
        });
        tenant.containers.insert(name.to_owned(), made.clone());
        Ok(made)
    }

    async fn find(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Arc<dyn Container>>, StoreError> {
        let tenants = self.0.lock();
        let found = tenants
            .get(namespace)
            .and_then(|tenant| tenant.containers.get(name));
        Ok(found.map(|found| found.clone() as Arc<dyn Container>))
    }

    async fn delete(&self, namespace: &str, name: &str) -> Result<(), StoreError> {
        let mut tenants = self.0.lock();
        let Some(tenant) = tenants.get_mut(namespace) else {
            return Ok(());
        };
        if let Some(gone) = tenant.containers.remove(name) {
            *gone.objects.lock() = None;
            *tenant.used.lock() -= cost(name, 0);
        }
        Ok(())
    }
}

#[async_trait]
impl Container for Held {
    fn created(&self) -> u64 {
        self.created
    }

    async fn info(&self, object: &str) -> Result<Option<Info>, StoreError> {
        let objects = self.objects.lock();
        let found = objects.as_ref().and_then(|objects| objects.get(object));
        Ok(found.map(|object| Info {
            created: object.created,
            size: object.bytes.len() as u64,
        }))
    }

    async fn read(&self, object: &str, span: Span) -> Result<Option<Content>, StoreError> {
        let objects = self.objects.lock();
        let found = objects.as_ref().and_then(|objects| objects.get(object));
        Ok(found.map(|object| {
            let (first, size) = span.within(object.bytes.len() as u64);
            // Both are within a slice's length.
            let part = object.bytes.slice(first as usize..(first + size) as usize);
            Content {
                size,
                reader: Box::new(Cursor::new(part)),
            }
        }))
    }

    async fn write(&self, object: &str, value: Staged) -> Result<(), StoreError> {
        check_name(object)?;
        let size = value.size();
        if size > NAMESPACE {
            return Err(StoreError::Full(NAMESPACE));
        }
        let cost = cost(object, size);
        grow(&self.used, cost)?;
        let mut counted = Counted {
            bytes: Vec::new(),
            cost,
            used: self.used.clone(),
        };
        counted.bytes = on_disk(move || value.into_bytes()).await?;
        let made = Object {
            bytes: Bytes::from_owner(counted),
            created: now(),
        };
        let mut objects = self.objects.lock();
        let objects = objects.as_mut().ok_or(StoreError::Gone)?;
        objects.insert(object.to_owned(), made);
        Ok(())
    }

    async fn delete(&self, names: &[String]) -> Result<(), StoreError> {
        let mut objects = self.objects.lock();
        let Some(objects) = objects.as_mut() else {
            return Ok(());
        };
        for name in names {
            objects.remove(name);
        }
        Ok(())
    }

    async fn list(&self, after: Option<&str>) -> Result<Vec<String>, StoreError> {
        let objects = self.objects.lock();
        let Some(objects) = objects.as_ref() else {
            return Ok(Vec::new());
        };
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let names = objects.range::<str, _>((from, Bound::Unbounded));
        Ok(names.take(PAGE).map(|(name, _)| name.clone()).collect())
    }
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        *self.used.lock() -= self.cost;
    }
}

fn cost(name: &str, size: u64) -> u64 {
    name.len() as u64 + size + ENTRY
}

/// Counts before it is held, so that those who write at the same time don't hold more together.
fn grow(used: &Mutex<u64>, added: u64) -> Result<(), StoreError> {
    let mut used = used.lock();
    let sum = *used + added;
    if sum > NAMESPACE {
        return Err(StoreError::Full(NAMESPACE));
    }
    *used = sum;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blobstore::contract::{check, value};

    #[tokio::test]
    async fn keeps_what_a_store_keeps() {
        check(&Memory::default(), &std::env::temp_dir()).await;
    }

    #[tokio::test]
    async fn a_namespace_holds_what_it_may_and_room_comes_back() {
        let memory = Memory::default();
        let one = memory.create("n", "a").await.unwrap();
        let other = memory.create("n", "b").await.unwrap();
        let large = || value(&vec![0; NAMESPACE as usize - 2000]);
        one.write("o", large()).await.unwrap();
        let refused = other.write("o", value(&[0; 2000])).await;
        assert_eq!(refused, Err(StoreError::Full(NAMESPACE)));
        assert_eq!(other.info("o").await, Ok(None));
        // Another namespace has its own room.
        let elsewhere = memory.create("m", "a").await.unwrap();
        elsewhere.write("o", large()).await.unwrap();
        // What is deleted counts as long as somebody reads it.
        let reading = one.read("o", Span::ALL).await.unwrap();
        memory.delete("n", "a").await.unwrap();
        let refused = other.write("o", large()).await;
        assert_eq!(refused, Err(StoreError::Full(NAMESPACE)));
        drop(reading);
        other.write("o", large()).await.unwrap();
        assert_eq!(one.write("o", value(b"x")).await, Err(StoreError::Gone));
    }
}
