//! What the entries of a manifest grant: which buckets of an interface a guest may name, where each is,
//! and which interfaces it may be used by. An entry grants the interfaces that it lists and no others.
//!
//! An entry with a name grants a bucket under that name, which is its `config.bucket` or the name
//! itself, and those of `config.buckets` under their own. One without a name grants those of
//! `config.bucket` and `config.buckets`, or any.

use std::{collections::BTreeMap, sync::Arc};

use waft_ir::{CapabilityGrant, Failure, InterfaceName};
use waft_runtime::{GuestSpec, grants_it};

use crate::backends;

/// What one guest may name; `S` is what an interface keeps for an entry: where its buckets are.
pub(crate) struct Granted<S> {
    /// The guest's.
    pub(crate) namespace: String,
    /// By the identifier that the guest says.
    named: BTreeMap<String, Arc<Entry<S>>>,
    /// Any other identifier, or those listed if any are.
    any: Option<Arc<Entry<S>>>,
}

/// One entry.
pub(crate) struct Entry<S> {
    /// Where its buckets are.
    pub(crate) of: S,
    interfaces: Vec<String>,
    /// The bucket behind its name.
    own: Option<String>,
    /// Those under their own names.
    shared: Vec<String>,
    /// All of them. None: any.
    buckets: Vec<String>,
}

impl<S> Granted<S> {
    /// What these entries grant.
    pub(crate) fn new(
        guest: &GuestSpec,
        grants: &[&CapabilityGrant],
        mut of: impl FnMut(&CapabilityGrant) -> Result<S, Failure>,
    ) -> Result<Self, Failure> {
        let namespace = guest.workload.split('/').next().unwrap_or_default();
        let mut granted = Self {
            namespace: namespace.into(),
            named: BTreeMap::new(),
            any: None,
        };
        for grant in grants {
            let entry = Arc::new(Entry::new(grant, of(grant)?));
            match &grant.name {
                Some(name) => _ = granted.named.insert(name.clone(), entry),
                None => granted.any = Some(entry),
            }
        }
        Ok(granted)
    }

    /// The entry that grants an identifier to an interface, and the name of the bucket behind it.
    pub(crate) fn find<'a>(
        &'a self,
        identifier: &'a str,
        interface: &str,
    ) -> Option<(&'a Arc<Entry<S>>, &'a str)> {
        let named = self.named.get(identifier);
        if let Some(entry) = named.filter(|entry| entry.lists(interface)) {
            return Some((entry, entry.own.as_ref()?));
        }
        let others = self.named.values().filter(|entry| entry.shares(identifier));
        let any = self.any.iter().filter(|entry| entry.has(identifier));
        let mut all = others.chain(any);
        Some((all.find(|entry| entry.lists(interface))?, identifier))
    }
}

impl<S: PartialEq> Granted<S> {
    /// Whether an interface may be used on a bucket that an entry granted: by that entry or by another
    /// that grants the same bucket.
    pub(crate) fn permits(&self, entry: &Entry<S>, bucket: &str, interface: &str) -> bool {
        let covers =
            |other: &Entry<S>| other.lists(interface) && other.of == entry.of && other.has(bucket);
        let mut others = self.named.values().chain(&self.any);
        entry.lists(interface) || others.any(|other| covers(other))
    }
}

impl<S> Entry<S> {
    /// What an entry grants.
    pub(crate) fn new(grant: &CapabilityGrant, of: S) -> Self {
        let bucket = grant.config.get("bucket").or(grant.name.as_ref());
        let shared = backends::list(grant.config.get("buckets"));
        let mut buckets = shared.clone();
        buckets.extend(bucket.cloned());
        buckets.sort();
        buckets.dedup();
        Self {
            of,
            interfaces: grant.interfaces.clone(),
            own: bucket.cloned(),
            shared,
            buckets,
        }
    }

    /// The buckets that it names.
    pub(crate) fn buckets(&self) -> &[String] {
        &self.buckets
    }

    fn lists(&self, interface: &str) -> bool {
        is_listed(&self.interfaces, interface)
    }

    fn shares(&self, bucket: &str) -> bool {
        self.shared.iter().any(|name| name == bucket)
    }

    fn has(&self, bucket: &str) -> bool {
        self.buckets.is_empty() || self.buckets.iter().any(|name| name == bucket)
    }
}

/// Whether an entry lists an interface of its package.
pub(crate) fn lists(grant: &CapabilityGrant, interface: &str) -> bool {
    is_listed(&grant.interfaces, interface)
}

fn is_listed(interfaces: &[String], interface: &str) -> bool {
    interfaces.is_empty() || interfaces.iter().any(|name| name == interface)
}

/// The entry that says what is behind an interface that has one backend for a guest: the one without a
/// name, else the first, of those that list it.
pub(crate) fn entry_of<'a>(
    grants: &[&'a CapabilityGrant],
    interface: &InterfaceName,
) -> Option<&'a CapabilityGrant> {
    let listing = || grants.iter().filter(|grant| grants_it(grant, interface));
    let unnamed = listing().find(|grant| grant.name.is_none());
    unnamed.or_else(|| listing().next()).copied()
}
