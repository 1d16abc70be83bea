//! The port to images, as the control plane needs it: what a reference means right now.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{Failure, Image, InterfaceName};

/// What an image reference stands for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Artifact {
    /// Digest of what the reference names (the manifest for a registry, the bytes for a file), as
    /// `sha256:…`.
    pub digest: String,
    /// The same image by that digest: an OCI reference `repository@sha256:…`, or the `file:` or
    /// `oci:` reference as it was.
    pub pinned: String,
    /// Interfaces the component imports.
    pub imports: Vec<InterfaceName>,
    /// Interfaces the component exports.
    pub exports: Vec<InterfaceName>,
}

/// Resolves image references. Implemented over registries, layouts and files by the `oci` crate.
#[async_trait]
pub trait Artifacts: Send + Sync {
    /// Resolves a reference, fetching the image into the cache under its policy. A failure names
    /// the reference.
    async fn resolve(&self, image: &Image) -> Result<Artifact, Failure>;
}
