//! The current objects, in memory, by key, uid and owner.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use super::Query;
use super::object::{Key, Stored};
use super::window::Past;

type Names = BTreeMap<Arc<str>, Arc<Stored>>;

/// One page of a list.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) objects: Vec<Arc<Stored>>,
    /// The revision at which the page is true.
    pub(crate) revision: u64,
    /// How many objects of the query come after the page.
    pub(crate) remaining: usize,
}

#[derive(Default)]
pub(super) struct Index {
    objects: HashMap<Arc<str>, BTreeMap<Arc<str>, Names>>,
    uids: HashMap<Box<str>, Key>,
    dependents: HashMap<Box<str>, BTreeSet<Key>>,
    /// How often objects of a resource have changed since the start.
    changes: HashMap<Arc<str>, u64>,
}

impl Index {
    pub(super) fn get(&self, key: &Key) -> Option<Arc<Stored>> {
        self.objects
            .get(&key.resource)?
            .get(&key.namespace)?
            .get(&key.name)
            .cloned()
    }

    /// Puts an object in place of what is there; returns what was there.
    pub(super) fn put(&mut self, object: Arc<Stored>) -> Option<Arc<Stored>> {
        let Key {
            resource,
            namespace,
            name,
        } = object.key.clone();
        self.changed(&resource);
        let names = self
            .objects
            .entry(resource)
            .or_default()
            .entry(namespace)
            .or_default();
        let previous = names.insert(name, object.clone());
        if let Some(previous) = &previous {
            self.forget(previous);
        }
        self.uids
            .insert(object.meta.uid.clone(), object.key.clone());
        for owner in &object.meta.owners {
            self.dependents
                .entry(owner.clone())
                .or_default()
                .insert(object.key.clone());
        }
        previous
    }

    pub(super) fn remove(&mut self, key: &Key) -> Option<Arc<Stored>> {
        let namespaces = self.objects.get_mut(&key.resource)?;
        let names = namespaces.get_mut(&key.namespace)?;
        let previous = names.remove(&key.name)?;
        if names.is_empty() {
            namespaces.remove(&key.namespace);
        }
        self.changed(&key.resource);
        self.forget(&previous);
        Some(previous)
    }

    fn changed(&mut self, resource: &Arc<str>) {
        match self.changes.get_mut(resource) {
            Some(count) => *count += 1,
            None => {
                self.changes.insert(resource.clone(), 1);
            }
        }
    }

    /// A number that is another after every change of an object of these resources.
    pub(super) fn changes(&self, resources: &[&str]) -> u64 {
        let counts = resources.iter().map(|resource| self.changes.get(*resource));
        counts.flatten().sum()
    }

    fn forget(&mut self, object: &Stored) {
        self.uids.remove(&object.meta.uid);
        for owner in &object.meta.owners {
            if let Some(keys) = self.dependents.get_mut(owner) {
                keys.remove(&object.key);
                if keys.is_empty() {
                    self.dependents.remove(owner);
                }
            }
        }
    }

    pub(super) fn by_uid(&self, uid: &str) -> Option<Arc<Stored>> {
        self.get(self.uids.get(uid)?)
    }

    pub(super) fn dependents(&self, uid: &str) -> Vec<Arc<Stored>> {
        self.dependents
            .get(uid)
            .into_iter()
            .flatten()
            .filter_map(|key| self.get(key))
            .collect()
    }

    pub(super) fn everything(&self) -> Vec<Arc<Stored>> {
        self.objects
            .values()
            .flat_map(BTreeMap::values)
            .flat_map(BTreeMap::values)
            .cloned()
            .collect()
    }

    pub(super) fn in_namespace(&self, namespace: &str) -> Vec<Arc<Stored>> {
        let of = |namespaces: &BTreeMap<Arc<str>, Names>| {
            namespaces
                .get(namespace)
                .into_iter()
                .flat_map(BTreeMap::values)
                .cloned()
                .collect::<Vec<_>>()
        };
        self.objects.values().flat_map(of).collect()
    }

    pub(super) fn page(&self, query: &Query<'_>, revision: u64) -> Page {
        let limit = query.limit.unwrap_or(usize::MAX);
        let objects: Vec<_> = self.range(query).take(limit).collect();
        let remaining = match objects.len() < limit {
            true => 0,
            // Counting what follows walks names, not objects; a client that pages sends the
            // count back, so it is asked for once a list.
            false => self.count(query).saturating_sub(objects.len()),
        };
        Page {
            objects,
            revision,
            remaining,
        }
    }

    pub(super) fn past_page(&self, query: &Query<'_>, at: u64, past: Past) -> Page {
        let mut all: BTreeMap<_, _> = self
            .range(query)
            .map(|object| {
                (
                    (object.key.namespace.clone(), object.key.name.clone()),
                    object,
                )
            })
            .collect();
        for (key, object) in past {
            let inside = query.namespace.is_none_or(|namespace| *key.0 == *namespace)
                && query.after.is_none_or(|after| (&*key.0, &*key.1) > after);
            match object {
                Some(object) if inside => all.insert(key, object),
                _ => all.remove(&key),
            };
        }
        let total = all.len();
        let objects: Vec<_> = all
            .into_values()
            .take(query.limit.unwrap_or(usize::MAX))
            .collect();
        Page {
            revision: at,
            remaining: total - objects.len(),
            objects,
        }
    }

    fn range<'a>(&'a self, query: &'a Query<'_>) -> impl Iterator<Item = Arc<Stored>> + 'a {
        let after = query.after;
        let first = match (query.namespace, after) {
            (Some(namespace), _) => Bound::Included(namespace),
            (None, Some((namespace, _))) => Bound::Included(namespace),
            (None, None) => Bound::Unbounded,
        };
        let last = match query.namespace {
            Some(namespace) => Bound::Included(namespace),
            None => Bound::Unbounded,
        };
        self.objects
            .get(query.resource)
            .into_iter()
            .flat_map(move |namespaces| {
                namespaces
                    .range::<str, _>((first, last))
                    .flat_map(move |(namespace, names)| {
                        let start = match after {
                            Some((of, name)) if *of == **namespace => Bound::Excluded(name),
                            _ => Bound::Unbounded,
                        };
                        names
                            .range::<str, _>((start, Bound::Unbounded))
                            .map(|(_, object)| object.clone())
                    })
            })
    }

    fn count(&self, query: &Query<'_>) -> usize {
        if query.after.is_some() {
            return self.range(query).count();
        }
        let Some(namespaces) = self.objects.get(query.resource) else {
            return 0;
        };
        match query.namespace {
            Some(namespace) => namespaces.get(namespace).map_or(0, BTreeMap::len),
            None => namespaces.values().map(BTreeMap::len).sum(),
        }
    }
}
