//! Artifact: an image by a name of its own, resolved once for all who use it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Condition, LocalObjectReference, names::RUNTIME_GROUP, resource::resource};

resource! {
    /// A WebAssembly component that workloads refer to by name. A new digest behind its tag rolls
    /// the WorkloadDeployments that use it.
    Artifact: RUNTIME_GROUP, "Artifact", "artifacts", ArtifactSpec, ArtifactStatus
}

/// Which image an Artifact stands for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ArtifactSpec {
    /// Reference of the image.
    pub image: String,
    /// Secret of type `kubernetes.io/dockerconfigjson` with the registry's credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_secret: Option<LocalObjectReference>,
}

/// What is known of an Artifact.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ArtifactStatus {
    /// In this order: Sync, Published, Ready.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The `metadata.generation` that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The image as workloads get it: pinned to a digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_url: Option<String>,
    /// Digest that the reference was resolved to, as `sha256:…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}
