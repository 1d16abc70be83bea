//! A map that is cheap to copy, and cheap to compare with an older copy of itself: what watches of
//! whole values hand over, when the values are large.
//!
//! Its entries lie in parts. Copies share them, and a change copies the one part that it is in.

use std::{
    borrow::Borrow,
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher as _},
    sync::Arc,
};

/// Few enough to be looked through, and enough that with ten thousand entries each is small.
const PARTS: usize = 256;

/// The map. Its order means nothing.
#[derive(Clone, Debug)]
pub struct PartMap<K, V> {
    parts: Arc<[Arc<BTreeMap<K, V>>]>,
    len: usize,
}

impl<K, V> Default for PartMap<K, V> {
    fn default() -> Self {
        Self {
            parts: vec![Arc::default(); PARTS].into(),
            len: 0,
        }
    }
}

impl<K: Clone + Hash + Ord, V: Clone> PartMap<K, V> {
    /// The value of a key.
    pub fn get<Q: Hash + Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.parts[part(key)].get(key)
    }

    /// Whether there is a value.
    pub fn contains_key<Q: Hash + Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.get(key).is_some()
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All entries.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.parts.iter().flat_map(|part| part.iter())
    }

    /// All keys.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.iter().map(|(key, _)| key)
    }

    /// All values.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }

    /// Puts a value in the place of the one before, which is returned.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let before = self.part_mut(&key).insert(key, value);
        self.len += usize::from(before.is_none());
        before
    }

    /// Takes a value away.
    pub fn remove<Q: Hash + Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let before = self.part_mut(key).remove(key);
        self.len -= usize::from(before.is_some());
        before
    }

    fn part_mut<Q: Hash + ?Sized>(&mut self, key: &Q) -> &mut BTreeMap<K, V> {
        Arc::make_mut(&mut Arc::make_mut(&mut self.parts)[part(key)])
    }
}

impl<K: Clone + Hash + Ord, V: Clone + PartialEq> PartMap<K, V> {
    /// The keys whose values are others than in an older copy, and those that are in one of the two
    /// only. Costs what has changed, not what there is.
    pub fn changed<'a>(&'a self, older: &'a Self) -> impl Iterator<Item = &'a K> {
        let pairs = self.parts.iter().zip(older.parts.iter());
        let others = pairs.filter(|(new, old)| !Arc::ptr_eq(new, old));
        others.flat_map(|(new, old)| {
            let changed = new
                .iter()
                .filter(|(key, value)| old.get(*key) != Some(*value));
            let gone = old.keys().filter(|key| !new.contains_key(*key));
            changed.map(|(key, _)| key).chain(gone)
        })
    }
}

impl<K: Clone + Hash + Ord, V: Clone> FromIterator<(K, V)> for PartMap<K, V> {
    fn from_iter<T: IntoIterator<Item = (K, V)>>(entries: T) -> Self {
        let mut map = Self::default();
        for (key, value) in entries {
            map.insert(key, value);
        }
        map
    }
}

fn part<Q: Hash + ?Sized>(key: &Q) -> usize {
    // The same for every map, so that parts of two maps hold the same keys.
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    (hasher.finish() % PARTS as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_stay_as_they_were_and_tell_what_has_changed() {
        let mut map: PartMap<_, _> = (0..1000).map(|key| (key, "a")).collect();
        let older = map.clone();
        assert_eq!(map.changed(&older).count(), 0);
        assert_eq!(map.insert(1, "b"), Some("a"));
        assert_eq!(map.insert(2, "a"), Some("a"));
        assert_eq!(map.insert(1000, "a"), None);
        assert_eq!(map.remove(&3), Some("a"));
        assert_eq!(map.remove(&3), None);
        let mut changed: Vec<_> = map.changed(&older).copied().collect();
        changed.sort_unstable();
        assert_eq!(changed, [1, 3, 1000]);
        assert_eq!((older.get(&1), older.get(&3)), (Some(&"a"), Some(&"a")));
        assert_eq!((map.len(), older.len()), (1000, 1000));
        assert_eq!((map.keys().count(), map.contains_key(&3)), (1000, false));
    }
}
