//! Names of children: pure functions of the parent and of what the child holds.
//!
//! The same parent and content always give the same name, so that creating a child twice is
//! answered with a conflict, which means: already done.

use serde::Serialize;
use sha2::{Digest, Sha256};

/// Letters and digits that can't form words, as Kubernetes uses them in generated names.
const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// Characters of a template's hash.
const TEMPLATE_HASH: usize = 10;
/// Characters of a replica's hash.
const REPLICA_HASH: usize = 5;

/// A running hash over the parts that decide a name. Parts are length-prefixed, so that no two
/// lists of parts look the same.
#[derive(Clone, Default)]
pub(crate) struct Hasher(Sha256);

impl Hasher {
    /// Adds bytes.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
        self
    }

    /// Adds a value by its JSON form.
    pub(crate) fn value(&mut self, value: &impl Serialize) -> &mut Self {
        // Plain data of ours: maps have string keys and no serializer of theirs fails.
        let json = serde_json::to_vec(value).unwrap_or_default();
        self.bytes(&json)
    }

    /// The hash as `length` safe characters.
    pub(crate) fn finish(&self, length: usize) -> String {
        let digest = self.0.clone().finalize();
        digest
            .iter()
            .take(length)
            .map(|byte| char::from(ALPHABET[usize::from(*byte) % ALPHABET.len()]))
            .collect()
    }

    /// The hash of a template.
    pub(crate) fn template(&self) -> String {
        self.finish(TEMPLATE_HASH)
    }
}

/// Name of the replica set of a deployment for a template.
pub(crate) fn replica_set(deployment: &str, template_hash: &str) -> String {
    format!("{deployment}-{template_hash}")
}

/// Name of one replica of a set: by its ordinal and the hash of the set's template. Ordinals below
/// 27⁵ never share a name.
pub(crate) fn replica(replica_set: &str, template_hash: &str, ordinal: usize) -> String {
    let digest = Sha256::digest(template_hash.as_bytes());
    let offset = u64::from(u32::from_le_bytes([
        digest[0], digest[1], digest[2], digest[3],
    ]));
    let base = ALPHABET.len() as u64;
    let span = base.pow(REPLICA_HASH as u32);
    // A factor prime to the span permutes the ordinals, so that neighbours look unlike.
    let mut rest = (ordinal as u64 % span * 6_180_341 + offset) % span;
    let mut suffix = String::with_capacity(REPLICA_HASH);
    for _ in 0..REPLICA_HASH {
        suffix.push(char::from(ALPHABET[(rest % base) as usize]));
        rest /= base;
    }
    format!("{replica_set}-{suffix}")
}

/// Short hash for names of Events and the like.
pub(crate) fn short(parts: &[&str]) -> String {
    let mut hasher = Hasher::default();
    for part in parts {
        hasher.bytes(part.as_bytes());
    }
    hasher.finish(TEMPLATE_HASH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_depend_on_parts_only() {
        let hash = |parts: &[&str]| short(parts);
        assert_eq!(hash(&["a", "b"]), hash(&["a", "b"]));
        assert_ne!(hash(&["ab", ""]), hash(&["a", "b"]));
        assert_eq!(hash(&["a"]).len(), TEMPLATE_HASH);
        assert_ne!(replica("rs", "x", 0), replica("rs", "x", 1));
        assert_ne!(replica("rs", "x", 0), replica("rs", "y", 0));
        assert!(replica("rs", "x", 0).starts_with("rs-"));
    }

    #[test]
    fn replicas_of_a_large_set_have_distinct_names() {
        let names: std::collections::BTreeSet<_> =
            (0..20_000).map(|n| replica("rs", "x", n)).collect();
        assert_eq!(names.len(), 20_000);
    }
}
