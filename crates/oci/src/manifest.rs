//! Manifests and indexes: which entry of an index, which layer of a manifest holds the component.
//! Pure; nothing here knows where the documents come from.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// Media type of a manifest.
pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// Media type of a Wasm artifact's configuration.
pub(crate) const WASM_CONFIG: &str = "application/vnd.wasm.config.v0+json";
/// Media type of a Wasm artifact's layer.
pub(crate) const WASM_LAYER: &str = "application/wasm";
/// What is asked of a registry, best first.
pub(crate) const ACCEPT: &str = "application/vnd.oci.image.manifest.v1+json, \
    application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json, \
    application/vnd.docker.distribution.manifest.list.v2+json";

/// Media types of layers that hold a component as it is, today's and earlier ones.
const WASM_LAYERS: [&str; 4] = [
    WASM_LAYER,
    "application/vnd.wasm.content.layer.v1+wasm",
    "application/vnd.module.wasm.content.layer.v1+wasm",
    "application/vnd.bytecodealliance.wasm.component.layer.v0+wasm",
];

/// A manifest or an index.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Document {
    /// Points to manifests.
    Index(Vec<Descriptor>),
    /// Points to layers.
    Manifest(Vec<Descriptor>),
}

/// A pointer to content.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    #[serde(default)]
    pub(crate) media_type: String,
    pub(crate) digest: String,
    pub(crate) size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) platform: Option<Platform>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
}

/// What a manifest in an index runs on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Platform {
    #[serde(default)]
    pub(crate) architecture: String,
    #[serde(default)]
    pub(crate) os: String,
}

#[derive(Deserialize)]
struct Raw {
    manifests: Option<Vec<Descriptor>>,
    layers: Option<Vec<Descriptor>>,
}

impl Document {
    /// Reads a document. The error says what is wrong with it.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let raw: Raw = serde_json::from_slice(bytes)
            .map_err(|e| format!("its manifest is not a JSON document as OCI has it: {e}"))?;
        match (raw.manifests, raw.layers) {
            (Some(manifests), None) => Ok(Self::Index(manifests)),
            (None, Some(layers)) => Ok(Self::Manifest(layers)),
            // A document that can be read both ways is how two readers of one digest are made to
            // see two images.
            (Some(_), Some(_)) => Err("its manifest is a manifest and an index at once".into()),
            (None, None) => Err("its manifest has neither `layers` nor `manifests`".into()),
        }
    }
}

impl Descriptor {
    /// The digest, if it is one.
    pub(crate) fn digest(&self) -> Result<Digest, String> {
        let digest = &self.digest;
        digest
            .parse()
            .map_err(|_| format!("its manifest names a digest that is not supported, `{digest}`"))
    }

    fn is_wasm_platform(&self) -> bool {
        self.platform.as_ref().is_some_and(|p| {
            p.architecture.starts_with("wasm") || p.os.starts_with("wasi") || p.os == "wasm"
        })
    }
}

/// The entry of an index that holds Wasm: the one marked so, or the only one.
pub(crate) fn choose_manifest(entries: &[Descriptor]) -> Result<&Descriptor, String> {
    if let Some(entry) = entries.iter().find(|e| e.is_wasm_platform()) {
        return Ok(entry);
    }
    match entries {
        [only] => Ok(only),
        [] => Err("its index is empty".into()),
        _ => {
            let name = |e: &Descriptor| match &e.platform {
                Some(p) => format!("{}/{}", p.os, p.architecture),
                None => "no platform".into(),
            };
            let list: Vec<_> = entries.iter().map(name).collect();
            Err(format!(
                "its index has no entry for Wasm, only {}",
                list.join(", ")
            ))
        }
    }
}

/// The first layer of a manifest that holds Wasm.
pub(crate) fn choose_layer(layers: &[Descriptor]) -> Result<&Descriptor, String> {
    let wasm = |layer: &&Descriptor| WASM_LAYERS.contains(&layer.media_type.as_str());
    layers.iter().find(wasm).ok_or_else(|| {
        let list: Vec<_> = layers.iter().map(|l| l.media_type.as_str()).collect();
        let found = if list.is_empty() {
            "it has none".into()
        } else {
            format!("it has {}", list.join(", "))
        };
        format!(
            "it has no layer of type `{WASM_LAYER}` ({found}); container images do not run here, \
             push the component as a Wasm artifact"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(media_type: &str) -> Descriptor {
        Descriptor {
            media_type: media_type.into(),
            ..Descriptor::default()
        }
    }

    fn entry(os: &str, architecture: &str) -> Descriptor {
        let (os, architecture) = (os.into(), architecture.into());
        Descriptor {
            platform: Some(Platform { architecture, os }),
            ..Descriptor::default()
        }
    }

    #[test]
    fn the_wasm_layer_is_found() {
        for media_type in WASM_LAYERS {
            let layers = [layer("text/plain"), layer(media_type), layer(WASM_LAYER)];
            assert_eq!(choose_layer(&layers).unwrap().media_type, media_type);
        }
        let tar = "application/vnd.oci.image.layer.v1.tar+gzip";
        let error = choose_layer(&[layer(tar)]).unwrap_err();
        assert!(error.contains(tar) && error.contains("container images"));
        assert!(choose_layer(&[]).unwrap_err().contains("has none"));
    }

    #[test]
    fn the_wasm_entry_is_found() {
        let entries = [entry("linux", "amd64"), entry("wasip2", "wasm")];
        assert_eq!(choose_manifest(&entries).unwrap(), &entries[1]);
        let wasi = [entry("unknown", "unknown"), entry("wasi", "wasm32")];
        assert_eq!(choose_manifest(&wasi).unwrap(), &wasi[1]);
        let only = [Descriptor::default()];
        assert_eq!(choose_manifest(&only).unwrap(), &only[0]);
        let none = [entry("linux", "amd64"), entry("linux", "arm64")];
        let error = choose_manifest(&none).unwrap_err();
        assert!(error.contains("linux/amd64, linux/arm64"), "{error}");
    }

    #[test]
    fn documents_are_told_apart() {
        let parse = |text: &str| Document::parse(text.as_bytes());
        assert_eq!(parse(r#"{"layers":[]}"#), Ok(Document::Manifest(vec![])));
        assert_eq!(parse(r#"{"manifests":[]}"#), Ok(Document::Index(vec![])));
        for bad in ["", "[]", "{}", r#"{"layers":[],"manifests":[]}"#] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
