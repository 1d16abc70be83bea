//! Buckets in memory. What a namespace may hold is bounded, so that no tenant takes the host's.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use parking_lot::Mutex;

/// Bytes that the buckets of a namespace hold together, keys and values.
const NAMESPACE: usize = 64 << 20;
/// Bytes that each key and each bucket counts beside its own.
const ENTRY: usize = 64;
/// Bytes of a key, or of a bucket's name.
const NAME: usize = 1024;

/// The buckets of all namespaces.
#[derive(Debug, Default)]
pub(super) struct Memory(Mutex<HashMap<String, Tenant>>);

#[derive(Debug, Default)]
struct Tenant {
    buckets: HashMap<String, Arc<Bucket>>,
    used: Arc<Mutex<usize>>,
}

/// One bucket.
#[derive(Debug, Default)]
pub(crate) struct Bucket {
    entries: Mutex<BTreeMap<String, Vec<u8>>>,
    /// Of the whole namespace; locked within `entries`.
    used: Arc<Mutex<usize>>,
}

/// Why something was not kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum Refused {
    #[error("the namespace's buckets hold as much as they may ({NAMESPACE} bytes)")]
    Full,
    #[error("a key or name has more than {NAME} bytes")]
    LongName,
    #[error("the value is no counter: it is not 8 bytes long")]
    NoCounter,
    #[error("the counter would be too large")]
    Overflow,
}

impl Memory {
    /// A bucket of a namespace, made when it is first named.
    pub(super) fn open(&self, namespace: &str, name: &str) -> Result<Arc<Bucket>, Refused> {
        if name.len() > NAME {
            return Err(Refused::LongName);
        }
        let mut tenants = self.0.lock();
        let tenant = tenants.entry(namespace.to_owned()).or_default();
        if let Some(known) = tenant.buckets.get(name) {
            return Ok(known.clone());
        }
        let mut used = tenant.used.lock();
        *used = grown(*used, name.len() + ENTRY)?;
        let bucket = Arc::new(Bucket {
            entries: Mutex::default(),
            used: tenant.used.clone(),
        });
        tenant.buckets.insert(name.to_owned(), bucket.clone());
        Ok(bucket)
    }
}

impl Bucket {
    pub(super) fn get(&self, key: &str) -> Option<Vec<u8>> {
        self.entries.lock().get(key).cloned()
    }

    /// Sets all of them, or none.
    pub(super) fn set(
        &self,
        pairs: impl IntoIterator<Item = (String, Vec<u8>)>,
    ) -> Result<(), Refused> {
        // Of a key that is named twice the last value counts.
        let pairs: BTreeMap<String, Vec<u8>> = pairs.into_iter().collect();
        if pairs.keys().any(|key| key.len() > NAME) {
            return Err(Refused::LongName);
        }
        let mut entries = self.entries.lock();
        let mut used = self.used.lock();
        let freed: usize = pairs
            .keys()
            .filter_map(|key| Some(cost(key, entries.get(key)?)))
            .sum();
        let added = pairs.iter().map(|(key, value)| cost(key, value)).sum();
        *used = grown(*used - freed, added)?;
        entries.extend(pairs);
        Ok(())
    }

    pub(super) fn delete(&self, keys: &[String]) {
        let mut entries = self.entries.lock();
        for key in keys {
            if let Some(value) = entries.remove(key) {
                *self.used.lock() -= cost(key, &value);
            }
        }
    }

    /// Adds to a counter: eight bytes, the lowest first.
    pub(super) fn increment(&self, key: String, delta: u64) -> Result<u64, Refused> {
        if key.len() > NAME {
            return Err(Refused::LongName);
        }
        let mut entries = self.entries.lock();
        if let Some(value) = entries.get_mut(&key) {
            let bytes: [u8; 8] = value
                .as_slice()
                .try_into()
                .map_err(|_| Refused::NoCounter)?;
            let sum = u64::from_le_bytes(bytes).checked_add(delta);
            let sum = sum.ok_or(Refused::Overflow)?;
            value.copy_from_slice(&sum.to_le_bytes());
            return Ok(sum);
        }
        let value = delta.to_le_bytes().to_vec();
        let mut used = self.used.lock();
        *used = grown(*used, cost(&key, &value))?;
        entries.insert(key, value);
        Ok(delta)
    }

    /// Keys in order, so many from a place on.
    pub(super) fn keys(&self, from: usize, count: usize) -> Vec<String> {
        let entries = self.entries.lock();
        entries.keys().skip(from).take(count).cloned().collect()
    }
}

fn cost(key: &str, value: &[u8]) -> usize {
    key.len() + value.len() + ENTRY
}

fn grown(used: usize, bytes: usize) -> Result<usize, Refused> {
    let sum = used.checked_add(bytes).filter(|sum| *sum <= NAMESPACE);
    sum.ok_or(Refused::Full)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_its_namespaces_own() {
        let memory = Memory::default();
        let one = memory.open("one", "b").unwrap();
        one.set([("k".into(), b"v".to_vec())]).unwrap();
        assert_eq!(memory.open("one", "b").unwrap().get("k").unwrap(), b"v");
        assert_eq!(memory.open("two", "b").unwrap().get("k"), None);
        assert_eq!(memory.open("one", "c").unwrap().get("k"), None);
    }

    #[test]
    fn a_namespace_holds_what_it_may_and_room_comes_back() {
        let memory = Memory::default();
        let (one, other) = (
            memory.open("n", "a").unwrap(),
            memory.open("n", "b").unwrap(),
        );
        let large = || vec![0; NAMESPACE - 2000];
        one.set([("k".into(), large())]).unwrap();
        assert_eq!(other.set([("k".into(), vec![0; 2000])]), Err(Refused::Full));
        assert_eq!(other.get("k"), None);
        // In the place of the old value it fits; another namespace has its own room.
        one.set([("k".into(), large())]).unwrap();
        memory
            .open("m", "a")
            .unwrap()
            .set([("k".into(), large())])
            .unwrap();
        one.delete(&["k".into()]);
        other.set([("k".into(), large())]).unwrap();
    }

    #[test]
    fn counters_count() {
        let bucket = Bucket::default();
        assert_eq!(bucket.increment("c".into(), 2), Ok(2));
        assert_eq!(bucket.increment("c".into(), 3), Ok(5));
        assert_eq!(
            bucket.increment("c".into(), u64::MAX),
            Err(Refused::Overflow)
        );
        bucket.set([("c".into(), b"text".to_vec())]).unwrap();
        assert_eq!(bucket.increment("c".into(), 1), Err(Refused::NoCounter));
    }

    #[test]
    fn keys_come_in_pages_and_long_ones_are_refused() {
        let bucket = Bucket::default();
        for key in ["a", "b", "c"] {
            bucket.set([(key.into(), Vec::new())]).unwrap();
        }
        assert_eq!(bucket.keys(0, 2), ["a", "b"]);
        assert_eq!(bucket.keys(2, 2), ["c"]);
        assert!(bucket.keys(9, 2).is_empty());
        let long = "x".repeat(NAME + 1);
        assert_eq!(
            bucket.set([(long.clone(), Vec::new())]),
            Err(Refused::LongName)
        );
        assert_eq!(bucket.increment(long, 1), Err(Refused::LongName));
    }
}
