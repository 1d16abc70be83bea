//! The newest known state of every object of one kind: filled by one watch, read by every
//! controller.
//!
//! Objects are indexed by the uid of their controlling owner, and by the deployment that a label
//! names, so that a parent finds its own without looking at all objects of the kind.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    hash::Hash,
    sync::Arc,
};

use kube::{Resource, ResourceExt as _, runtime::watcher::Event};
use parking_lot::RwLock;
use waft_api::names::LABEL_WORKLOAD_DEPLOYMENT;

/// Namespace and name.
pub(crate) type ObjectName = (String, String);

/// What a watch event did to one object: its state before and after.
#[derive(Debug)]
pub(crate) struct Change<K> {
    /// Before; `None`: it is new.
    pub old: Option<Arc<K>>,
    /// After; `None`: it is gone.
    pub new: Option<Arc<K>>,
}

/// All objects of one kind. Cheap to share by reference.
#[derive(Debug)]
pub(crate) struct Cache<K> {
    state: RwLock<State<K>>,
}

/// The names of some objects, shared with the table of all.
type Names = BTreeSet<Arc<ObjectName>>;

#[derive(Debug)]
struct State<K> {
    objects: BTreeMap<Arc<ObjectName>, Arc<K>>,
    by_owner: HashMap<String, Names>,
    by_deployment: HashMap<ObjectName, Names>,
    by_uid: HashMap<String, Arc<ObjectName>>,
    /// Objects of a list that is under way: they replace all others at its end.
    listing: Option<HashSet<ObjectName>>,
    listed: bool,
}

impl<K> Default for Cache<K> {
    fn default() -> Self {
        Self {
            state: RwLock::new(State {
                objects: BTreeMap::new(),
                by_owner: HashMap::new(),
                by_deployment: HashMap::new(),
                by_uid: HashMap::new(),
                listing: None,
                listed: false,
            }),
        }
    }
}

impl<K: Resource> Cache<K> {
    /// Takes in an event of the watch and says what it changed.
    pub(crate) fn apply(&self, event: Event<K>) -> Vec<Change<K>> {
        let mut state = self.state.write();
        match event {
            Event::Apply(object) => vec![state.put(object)],
            Event::Delete(object) => {
                let name = name_of(&object);
                state.remove(&name).into_iter().collect()
            }
            Event::Init => {
                state.listing = Some(HashSet::new());
                Vec::new()
            }
            Event::InitApply(object) => {
                if let Some(listing) = &mut state.listing {
                    listing.insert(name_of(&object));
                }
                vec![state.put(object)]
            }
            Event::InitDone => {
                state.listed = true;
                let Some(listing) = state.listing.take() else {
                    return Vec::new();
                };
                let gone: Vec<_> = state
                    .objects
                    .keys()
                    .filter(|name| !listing.contains(name.as_ref()))
                    .cloned()
                    .collect();
                gone.iter().filter_map(|name| state.remove(name)).collect()
            }
        }
    }

    /// Whether a first list was complete.
    pub(crate) fn is_listed(&self) -> bool {
        self.state.read().listed
    }

    /// One object.
    pub(crate) fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        let key = (namespace.to_owned(), name.to_owned());
        self.state.read().objects.get(&key).cloned()
    }

    /// All objects, by namespace and name.
    pub(crate) fn all(&self) -> Vec<Arc<K>> {
        self.state.read().objects.values().cloned().collect()
    }

    /// The objects of one namespace, by name.
    pub(crate) fn of_namespace(&self, namespace: &str) -> Vec<Arc<K>> {
        let state = self.state.read();
        let from = (namespace.to_owned(), String::new());
        state
            .objects
            .range::<ObjectName, _>(from..)
            .take_while(|(name, _)| name.0 == namespace)
            .map(|(_, object)| object.clone())
            .collect()
    }

    /// The object of a uid.
    pub(crate) fn by_uid(&self, uid: &str) -> Option<Arc<K>> {
        let state = self.state.read();
        state.objects.get(state.by_uid.get(uid)?).cloned()
    }

    /// The objects whose controlling owner has this uid, by name.
    pub(crate) fn owned_by(&self, uid: &str) -> Vec<Arc<K>> {
        let state = self.state.read();
        state.named(state.by_owner.get(uid))
    }

    /// The objects that are labelled with a WorkloadDeployment, whoever owns them, by name.
    pub(crate) fn of_deployment(&self, namespace: &str, name: &str) -> Vec<Arc<K>> {
        let state = self.state.read();
        let deployment = (namespace.to_owned(), name.to_owned());
        state.named(state.by_deployment.get(&deployment))
    }
}

impl<K: Resource> State<K> {
    fn named(&self, names: Option<&Names>) -> Vec<Arc<K>> {
        let names = names.into_iter().flatten();
        names
            .filter_map(|name| self.objects.get(name).cloned())
            .collect()
    }

    fn put(&mut self, object: K) -> Change<K> {
        let name = Arc::new(name_of(&object));
        let object = Arc::new(object);
        let old = self.objects.insert(name.clone(), object.clone());
        if let Some(old) = &old {
            self.unindex(old, &name);
        }
        if let Some(uid) = object.uid() {
            self.by_uid.insert(uid, name.clone());
        }
        if let Some(deployment) = deployment_of(object.as_ref()) {
            let names = self.by_deployment.entry(deployment).or_default();
            names.insert(name.clone());
        }
        if let Some(owner) = controller_uid(object.as_ref()) {
            self.by_owner.entry(owner).or_default().insert(name);
        }
        Change {
            old,
            new: Some(object),
        }
    }

    fn remove(&mut self, name: &ObjectName) -> Option<Change<K>> {
        let old = self.objects.remove(name)?;
        self.unindex(&old, name);
        Some(Change {
            old: Some(old),
            new: None,
        })
    }

    fn unindex(&mut self, object: &K, name: &ObjectName) {
        if let Some(uid) = object.uid() {
            self.by_uid.remove(&uid);
        }
        if let Some(deployment) = deployment_of(object) {
            forget(&mut self.by_deployment, &deployment, name);
        }
        if let Some(owner) = controller_uid(object) {
            forget(&mut self.by_owner, &owner, name);
        }
    }
}

/// Takes a name out of an index, and the entry with its last one.
fn forget<Q: Eq + Hash>(index: &mut HashMap<Q, Names>, entry: &Q, name: &ObjectName) {
    if let Some(names) = index.get_mut(entry) {
        names.remove(name);
        if names.is_empty() {
            index.remove(entry);
        }
    }
}

/// The WorkloadDeployment that an object's label names.
fn deployment_of<K: Resource>(object: &K) -> Option<ObjectName> {
    let name = object.labels().get(LABEL_WORKLOAD_DEPLOYMENT)?;
    Some((object.namespace().unwrap_or_default(), name.clone()))
}

/// Namespace and name of an object.
pub(crate) fn name_of<K: Resource>(object: &K) -> ObjectName {
    (object.namespace().unwrap_or_default(), object.name_any())
}

/// The uid of an object's controlling owner.
pub(crate) fn controller_uid<K: Resource>(object: &K) -> Option<String> {
    let owners = object.owner_references();
    let owner = owners.iter().find(|owner| owner.controller == Some(true))?;
    Some(owner.uid.clone())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::{
        api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::OwnerReference,
    };

    use super::*;

    fn object(name: &str, owner: Option<&str>) -> ConfigMap {
        let mut object = ConfigMap::default();
        object.metadata.namespace = Some("default".into());
        object.metadata.name = Some(name.into());
        object.metadata.owner_references = owner.map(|uid| {
            vec![OwnerReference {
                uid: uid.into(),
                controller: Some(true),
                ..OwnerReference::default()
            }]
        });
        object
    }

    fn names(objects: &[Arc<ConfigMap>]) -> Vec<String> {
        objects.iter().map(|object| object.name_any()).collect()
    }

    #[test]
    fn a_list_replaces_what_was_known() {
        let cache = Cache::default();
        cache.apply(Event::Apply(object("a", None)));
        cache.apply(Event::Apply(object("b", None)));
        cache.apply(Event::Init);
        cache.apply(Event::InitApply(object("b", None)));
        assert!(!cache.is_listed());
        let changes = cache.apply(Event::InitDone);
        assert_eq!(changes.len(), 1);
        assert!(changes[0].new.is_none());
        assert_eq!(names(&cache.all()), ["b"]);
        assert!(cache.is_listed());
    }

    #[test]
    fn children_are_found_by_their_owner_as_it_changes() {
        let cache = Cache::default();
        cache.apply(Event::Apply(object("b", Some("x"))));
        cache.apply(Event::Apply(object("a", Some("x"))));
        assert_eq!(names(&cache.owned_by("x")), ["a", "b"]);
        cache.apply(Event::Apply(object("a", Some("y"))));
        assert_eq!(names(&cache.owned_by("x")), ["b"]);
        cache.apply(Event::Delete(object("a", Some("y"))));
        assert!(cache.owned_by("y").is_empty());
    }

    #[test]
    fn the_workloads_of_a_deployment_are_found_by_their_label() {
        let labelled = |name: &str, deployment: &str| {
            let mut object = object(name, None);
            let labels = [(LABEL_WORKLOAD_DEPLOYMENT.to_owned(), deployment.to_owned())];
            object.metadata.labels = Some(labels.into());
            object
        };
        let cache = Cache::default();
        cache.apply(Event::Apply(labelled("b", "x")));
        cache.apply(Event::Apply(labelled("a", "x")));
        assert_eq!(names(&cache.of_deployment("default", "x")), ["a", "b"]);
        assert!(cache.of_deployment("other", "x").is_empty());
        cache.apply(Event::Apply(labelled("a", "y")));
        cache.apply(Event::Delete(labelled("b", "x")));
        assert!(cache.of_deployment("default", "x").is_empty());
        assert_eq!(names(&cache.of_deployment("default", "y")), ["a"]);
    }

    #[test]
    fn a_namespace_is_not_its_longer_neighbour() {
        let cache = Cache::default();
        let mut other = object("a", None);
        other.metadata.namespace = Some("default2".into());
        cache.apply(Event::Apply(other));
        cache.apply(Event::Apply(object("b", None)));
        assert_eq!(names(&cache.of_namespace("default")), ["b"]);
    }
}
