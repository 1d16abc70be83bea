//! A stored object: its key, its bytes, and what the store must know without parsing them.

use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;

/// Where an object lives.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    /// `group/plural` of the storage; core has the group `""`.
    pub(crate) resource: Arc<str>,
    /// Empty for cluster-scoped objects.
    pub(crate) namespace: Arc<str>,
    pub(crate) name: Arc<str>,
}

impl Key {
    pub(crate) fn new(resource: &Arc<str>, namespace: &str, name: &str) -> Key {
        Key {
            resource: resource.clone(),
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// The namespace of an object that is in one.
    pub(crate) fn namespace(&self) -> Option<&str> {
        Some(&*self.namespace).filter(|namespace| !namespace.is_empty())
    }

    /// The key as one string, for the log.
    pub(crate) fn text(&self) -> String {
        format!("{}/{}/{}", self.resource, self.namespace, self.name)
    }

    /// The inverse of [`Key::text`].
    pub(crate) fn parse(text: &str) -> Option<Key> {
        let mut parts = text.rsplitn(3, '/');
        let (name, namespace, resource) = (parts.next()?, parts.next()?, parts.next()?);
        Some(Key {
            resource: resource.into(),
            namespace: namespace.into(),
            name: name.into(),
        })
    }
}

/// The metadata that selection and garbage collection need.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) api_version: Box<str>,
    pub(crate) uid: Box<str>,
    pub(crate) labels: Box<[(Box<str>, Box<str>)]>,
    pub(crate) owners: Box<[Box<str>]>,
    pub(crate) terminating: bool,
}

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(rename = "apiVersion", borrow, default)]
    api_version: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    metadata: HeadMetadata<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HeadMetadata<'a> {
    #[serde(borrow, default)]
    uid: std::borrow::Cow<'a, str>,
    #[serde(default)]
    labels: Option<serde_json::Map<String, Value>>,
    #[serde(default)]
    owner_references: Option<Vec<HeadOwner>>,
    #[serde(default)]
    deletion_timestamp: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct HeadOwner {
    #[serde(default)]
    uid: Box<str>,
}

impl Meta {
    /// Reads the metadata out of an object's bytes, skipping the rest.
    pub(crate) fn read(bytes: &[u8]) -> Result<Meta, serde_json::Error> {
        let head: Head<'_> = serde_json::from_slice(bytes)?;
        let labels = head.metadata.labels.unwrap_or_default();
        Ok(Meta {
            api_version: head.api_version.into(),
            uid: head.metadata.uid.into(),
            labels: labels
                .into_iter()
                .filter_map(|(key, value)| Some((key.into(), value.as_str()?.into())))
                .collect(),
            owners: head
                .metadata
                .owner_references
                .unwrap_or_default()
                .into_iter()
                .map(|o| o.uid)
                .collect(),
            terminating: head.metadata.deletion_timestamp.is_some(),
        })
    }
}

/// One version of one object.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) key: Key,
    pub(crate) revision: u64,
    /// The object as JSON, with its resourceVersion.
    pub(crate) bytes: Bytes,
    pub(crate) meta: Meta,
}

impl Stored {
    /// The object as a value.
    pub(crate) fn value(&self) -> Value {
        serde_json::from_slice(&self.bytes).expect("only JSON that was encoded here is stored")
    }
}

/// An object ready to be stored: JSON with a gap where the revision goes.
#[derive(Debug)]
pub(crate) struct Encoded {
    before: Vec<u8>,
    after: Vec<u8>,
    meta: Meta,
}

impl Encoded {
    /// Encodes an object that has metadata; a resourceVersion in it is replaced.
    pub(crate) fn new(object: &Value) -> Encoded {
        let mut out = Vec::with_capacity(512);
        let mut gap = 0;
        out.push(b'{');
        for (key, value) in object.as_object().into_iter().flatten() {
            separate(&mut out);
            write_json(&mut out, key);
            out.push(b':');
            match value.as_object().filter(|_| key == "metadata") {
                Some(metadata) => gap = write_metadata(&mut out, metadata),
                None => write_json(&mut out, value),
            }
        }
        out.push(b'}');
        let after = out.split_off(gap);
        let mut whole = out.clone();
        whole.extend_from_slice(&after);
        let meta = Meta::read(&whole).unwrap_or_default();
        Encoded {
            before: out,
            after,
            meta,
        }
    }

    /// The finished object at a revision.
    pub(crate) fn at(self, key: Key, revision: u64) -> Stored {
        let digits = revision.to_string();
        let mut bytes = Vec::with_capacity(self.before.len() + digits.len() + self.after.len());
        bytes.extend_from_slice(&self.before);
        bytes.extend_from_slice(digits.as_bytes());
        bytes.extend_from_slice(&self.after);
        Stored {
            key,
            revision,
            bytes: bytes.into(),
            meta: self.meta,
        }
    }
}

/// Writes metadata with an empty resourceVersion; returns where its digits go.
fn write_metadata(out: &mut Vec<u8>, metadata: &serde_json::Map<String, Value>) -> usize {
    let mut gap = None;
    out.push(b'{');
    let version = |out: &mut Vec<u8>| {
        separate(out);
        out.extend_from_slice(b"\"resourceVersion\":\"");
        let at = out.len();
        out.push(b'"');
        at
    };
    for (key, value) in metadata {
        if key == "resourceVersion" {
            gap = Some(version(out));
            continue;
        }
        separate(out);
        write_json(out, key);
        out.push(b':');
        write_json(out, value);
    }
    let gap = gap.unwrap_or_else(|| version(out));
    out.push(b'}');
    gap
}

fn separate(out: &mut Vec<u8>) {
    if out.last().is_some_and(|last| *last != b'{') {
        out.push(b',');
    }
}

fn write_json<T: serde::Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    serde_json::to_writer(out, value).expect("JSON values always encode into memory");
}
