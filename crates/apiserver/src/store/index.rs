//! The current objects, in memory, by key, uid and owner.

use std::cmp::Ordering;
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
    /// Whether objects of the query come after the page.
    pub(crate) more: bool,
    /// How many objects the query has in all pages; not counted for one that goes on after a key.
    pub(crate) total: Option<usize>,
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
        let mut found = self.range(query);
        let objects: Vec<_> = found.by_ref().take(query.limit()).collect();
        Page {
            objects,
            revision,
            more: found.next().is_some(),
            total: query.after.is_none().then(|| self.count(query)),
        }
    }

    /// As the objects were at an earlier revision, when those in `past` were other ones or absent.
    pub(super) fn past_page(&self, query: &Query<'_>, at: u64, mut past: Past) -> Page {
        past.retain(|key, _| {
            query.namespace.is_none_or(|namespace| *key.0 == *namespace)
                && query.after.is_none_or(|after| (&*key.0, &*key.1) > after)
        });
        let total = query.after.is_none().then(|| {
            let was = past.values().filter(|object| object.is_some()).count();
            let is = past
                .keys()
                .filter(|key| self.has(query.resource, key))
                .count();
            (self.count(query) + was).saturating_sub(is)
        });
        let mut past = past.into_iter().peekable();
        let mut present = self.range(query).peekable();
        let mut found = std::iter::from_fn(|| {
            loop {
                let order = match (present.peek(), past.peek()) {
                    (None, None) => return None,
                    (Some(_), None) => Ordering::Less,
                    (None, Some(_)) => Ordering::Greater,
                    (Some(object), Some((key, _))) => {
                        (&object.key.namespace, &object.key.name).cmp(&(&key.0, &key.1))
                    }
                };
                if order == Ordering::Less {
                    return present.next();
                }
                if order == Ordering::Equal {
                    present.next();
                }
                if let Some((_, Some(object))) = past.next() {
                    return Some(object);
                }
            }
        });
        Page {
            objects: found.by_ref().take(query.limit()).collect(),
            revision: at,
            more: found.next().is_some(),
            total,
        }
    }

    fn has(&self, resource: &str, (namespace, name): &(Arc<str>, Arc<str>)) -> bool {
        let namespaces = self.objects.get(resource);
        namespaces
            .and_then(|namespaces| namespaces.get(namespace))
            .is_some_and(|names| names.contains_key(name))
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

    /// How many objects a query has that doesn't go on after a key.
    fn count(&self, query: &Query<'_>) -> usize {
        let Some(namespaces) = self.objects.get(query.resource) else {
            return 0;
        };
        match query.namespace {
            Some(namespace) => namespaces.get(namespace).map_or(0, BTreeMap::len),
            None => namespaces.values().map(BTreeMap::len).sum(),
        }
    }
}
