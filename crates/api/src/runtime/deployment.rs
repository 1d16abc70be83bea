//! WorkloadDeployment: one WorkloadReplicaSet after another, so that a change is rolled out.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Condition, Kubernetes, LocalObjectReference, ReplicaCounts, WorkloadTemplate,
    names::RUNTIME_GROUP, resource::resource,
};

resource! {
    /// Rolls out a template: owns a WorkloadReplicaSet of the current one, and of the previous one
    /// until the current is ready.
    WorkloadDeployment: RUNTIME_GROUP, "WorkloadDeployment", "workloaddeployments",
    WorkloadDeploymentSpec, WorkloadDeploymentStatus
}

/// What is rolled out, and how.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadDeploymentSpec {
    /// How many replicas are wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = 1))]
    pub replicas: Option<i32>,
    /// What each replica is.
    pub template: WorkloadTemplate,
    /// RollingUpdate: the new set is ready before the old goes. Recreate: the old goes first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "RollingUpdate"))]
    pub deploy_policy: Option<String>,
    /// Artifacts that replace images of the template.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<DeploymentArtifact>,
    /// Replaces the template's entry of the same name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<Kubernetes>,
}

/// An Artifact that replaces an image of the template.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentArtifact {
    /// Component or service whose image is replaced, or the NAME of `artifact://NAME`.
    pub name: String,
    /// The Artifact.
    pub artifact_from: LocalObjectReference,
}

/// How far the rollout is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadDeploymentStatus {
    /// In this order: Artifact, Sync, Deploy, Scale, Ready.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The set of the wanted template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_replica_set: Option<LocalObjectReference>,
    /// The set that still serves until the current one is ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_replica_set: Option<LocalObjectReference>,
    /// Replicas, counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<ReplicaCounts>,
    /// How many replicas exist, for the scale subresource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_replicas: Option<i32>,
    /// Label selector of the replicas, for the scale subresource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// The `metadata.generation` that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Where it answers, if it is a route source of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}
