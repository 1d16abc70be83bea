//! Which buckets of an interface a guest may name, and where each is: what the entries of its
//! manifest say.
//!
//! An entry with a name grants one bucket under that name, which is its `config.bucket` or the name
//! itself. One without a name grants those of `config.bucket` and `config.buckets`, or any.

use std::collections::BTreeMap;

use waft_ir::{CapabilityGrant, Failure};
use waft_runtime::GuestSpec;

use crate::backends;

/// What one guest may name; `S` is what an interface keeps for an entry.
pub(crate) struct Granted<S> {
    /// The guest's.
    pub(crate) namespace: String,
    /// By the identifier that the guest says, with the name of the bucket.
    named: BTreeMap<String, (S, String)>,
    /// Any other identifier, or those listed if any are.
    any: Option<(S, Vec<String>)>,
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
            let of = of(grant)?;
            let bucket = grant.config.get("bucket");
            match &grant.name {
                Some(name) => {
                    let bucket = bucket.unwrap_or(name).clone();
                    granted.named.insert(name.clone(), (of, bucket));
                }
                None => {
                    let mut buckets = backends::list(grant.config.get("buckets"));
                    buckets.extend(bucket.cloned());
                    granted.any = Some((of, buckets));
                }
            }
        }
        Ok(granted)
    }

    /// The entry that grants an identifier, and the name of the bucket behind it.
    pub(crate) fn find<'a>(&'a self, identifier: &'a str) -> Option<(&'a S, &'a str)> {
        if let Some((of, bucket)) = self.named.get(identifier) {
            return Some((of, bucket));
        }
        let (of, buckets) = self.any.as_ref()?;
        let is_granted = buckets.is_empty() || buckets.iter().any(|name| name == identifier);
        is_granted.then_some((of, identifier))
    }
}
