//! Containers in memory. What a namespace may hold is bounded, so that no tenant takes the host's.

use std::{
    collections::{BTreeMap, HashMap},
    io::{self, Cursor},
    ops::Bound,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

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
    room: Arc<Room>,
}

/// The room of a namespace.
struct Room {
    used: Mutex<u64>,
    /// For the bytes of values that are read in, which may then be refused.
    arriving: Arc<Semaphore>,
}

/// One container.
struct Held {
    created: u64,
    /// `None`: it was deleted.
    objects: Mutex<Option<BTreeMap<String, Object>>>,
    /// Of the whole namespace.
    room: Arc<Room>,
}

struct Object {
    bytes: Arc<Counted>,
    created: u64,
}

/// Bytes of an object, which count until nobody reads them any more.
struct Counted {
    bytes: Vec<u8>,
    cost: AtomicU64,
    room: Arc<Room>,
}

/// Who reads an object.
struct Shared(Arc<Counted>);

#[async_trait]
impl Store for Memory {
    async fn create(&self, namespace: &str, name: &str) -> Result<Arc<dyn Container>, StoreError> {
        check_name(name)?;
        let mut tenants = self.0.lock();
        let tenant = tenants.entry(namespace.to_owned()).or_default();
        if let Some(known) = tenant.containers.get(name) {
            return Ok(known.clone());
        }
        tenant.room.grow(0, cost(name, 0))?;
        let made = Arc::new(Held {
            created: now(),
            objects: Mutex::new(Some(BTreeMap::new())),
            room: tenant.room.clone(),
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
            *tenant.room.used.lock() -= cost(name, 0);
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
            size: object.bytes.bytes.len() as u64,
        }))
    }

    async fn read(&self, object: &str, span: Span) -> Result<Option<Content>, StoreError> {
        let objects = self.objects.lock();
        let found = objects.as_ref().and_then(|objects| objects.get(object));
        Ok(found.map(|object| {
            let bytes = Bytes::from_owner(Shared(object.bytes.clone()));
            let (first, size) = span.within(bytes.len() as u64);
            // Both are within a slice's length.
            let part = bytes.slice(first as usize..(first + size) as usize);
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
        let arriving = self.room.arriving.clone().acquire_many_owned(size as u32);
        let arriving = arriving.await.map_err(io::Error::other)?;
        let (bytes, _arriving) = on_disk(move || Ok((value.into_bytes()?, arriving))).await?;
        let mut objects = self.objects.lock();
        let objects = objects.as_mut().ok_or(StoreError::Gone)?;
        let cost = cost(object, size);
        // An old one makes room if nobody reads it; nobody begins to meanwhile.
        let old = objects.get(object).map(|old| &old.bytes);
        let old = old.filter(|old| Arc::strong_count(old) == 1);
        let freed = old.map_or(0, |old| old.cost.load(Relaxed));
        self.room.grow(freed, cost)?;
        if let Some(old) = old {
            old.cost.store(0, Relaxed);
        }
        let made = Object {
            bytes: Arc::new(Counted {
                bytes,
                cost: AtomicU64::new(cost),
                room: self.room.clone(),
            }),
            created: now(),
        };
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

impl Room {
    /// Counts what is held from now on, in the place of something else or not.
    fn grow(&self, freed: u64, added: u64) -> Result<(), StoreError> {
        let mut used = self.used.lock();
        let sum = *used - freed + added;
        if sum > NAMESPACE {
            return Err(StoreError::Full(NAMESPACE));
        }
        *used = sum;
        Ok(())
    }
}

impl Default for Room {
    fn default() -> Self {
        Self {
            used: Mutex::default(),
            arriving: Arc::new(Semaphore::new(NAMESPACE as usize)),
        }
    }
}

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.0.bytes
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        *self.room.used.lock() -= *self.cost.get_mut();
    }
}

fn cost(name: &str, size: u64) -> u64 {
    name.len() as u64 + size + ENTRY
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blobstore::contract::{bytes, check, value};

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

    #[tokio::test]
    async fn what_is_replaced_makes_room_unless_it_is_read() {
        const LARGE: usize = 40 << 20;
        let full = Err(StoreError::Full(NAMESPACE));
        let memory = Memory::default();
        let one = memory.create("n", "a").await.unwrap();
        let used = || *memory.0.lock()["n"].room.used.lock();
        let empty = used();
        let large = |byte| value(&vec![byte; LARGE]);
        for byte in 0..3 {
            one.write("o", large(byte)).await.unwrap();
            let held = bytes(&*one, "o", Span::ALL).await.unwrap();
            assert!(held == vec![byte; LARGE]);
            assert_eq!(used(), empty + cost("o", LARGE as u64));
        }
        let reading = one.read("o", Span::ALL).await.unwrap();
        assert_eq!(one.write("o", large(3)).await, full);
        drop(reading);
        one.write("o", large(4)).await.unwrap();

        // Of those who write at the same time as many are refused as have no room.
        let (o, p, again) = tokio::join!(
            one.write("o", large(5)),
            one.write("p", large(6)),
            one.write("o", large(7)),
        );
        assert_eq!((o, p, again), (Ok(()), full, Ok(())));
        assert_eq!(used(), empty + cost("o", LARGE as u64));
        one.delete(&["o".to_owned()]).await.unwrap();
        assert_eq!(used(), empty);
    }
}
