//! Pushing a component as a Wasm OCI artifact.

use bytes::Bytes;
use serde_json::json;
use waft_ir::{Credentials, Failure, FailureReason};

use crate::{
    Store,
    component::{self, Surface},
    digest::Digest,
    manifest::{MANIFEST, WASM_CONFIG, WASM_LAYER},
    reference::{self, Source},
    registry::RepositoryAccess,
};

/// When every artifact says it was made: the same component is the same image, whoever pushes it
/// and when.
const CREATED: &str = "1970-01-01T00:00:00Z";

impl Store {
    /// Pushes a component under a tag, with the given credentials or the user's own. Returns the
    /// digest of its manifest.
    pub async fn push(
        &self,
        reference: &str,
        component: Bytes,
        credentials: Option<&Credentials>,
    ) -> Result<String, Failure> {
        let Source::Registry(parsed) = reference::parse(reference)? else {
            let message =
                format!("`{reference}` is no registry's reference; only those are pushed");
            return Err(Failure::new(FailureReason::InvalidImageReference, message));
        };
        let Some(tag) = parsed.tag() else {
            let message = format!("`{reference}` has no tag to push under");
            return Err(Failure::new(FailureReason::InvalidImageReference, message));
        };
        let surface = component::inspect(reference, &component)?;
        let artifact = Artifact::new(&component, &surface);
        let access = RepositoryAccess::Push;
        let repository = self
            .registries()
            .open(&parsed, reference, credentials, access)
            .await?;
        repository.upload(artifact.layer_digest, component).await?;
        let config = artifact.config;
        repository.upload(Digest::of(&config), config).await?;
        let digest = Digest::of(&artifact.manifest);
        repository.upload_manifest(tag, artifact.manifest).await?;
        Ok(digest.to_string())
    }
}

/// The documents round a component.
struct Artifact {
    layer_digest: Digest,
    config: Bytes,
    manifest: Bytes,
}

impl Artifact {
    fn new(component: &[u8], surface: &Surface) -> Self {
        let layer_digest = Digest::of(component);
        let names = |list: &[waft_ir::InterfaceName]| -> Vec<String> {
            list.iter().map(ToString::to_string).collect()
        };
        let config = json!({
            "created": CREATED,
            "architecture": "wasm",
            "os": "wasip2",
            "layerDigests": [layer_digest.to_string()],
            "component": {
                "imports": names(&surface.imports),
                "exports": names(&surface.exports),
                "target": null,
            },
        });
        let config = Bytes::from(config.to_string());
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {
                "mediaType": WASM_CONFIG,
                "digest": Digest::of(&config).to_string(),
                "size": config.len(),
            },
            "layers": [{
                "mediaType": WASM_LAYER,
                "digest": layer_digest.to_string(),
                "size": component.len(),
            }],
        });
        Self {
            layer_digest,
            config,
            manifest: Bytes::from(manifest.to_string()),
        }
    }
}
