//! WorkloadReplicaSet: so many Workloads of one template.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Condition, WorkloadSpec, names::RUNTIME_GROUP, resource::resource};

resource! {
    /// Keeps a number of Workloads of one template running. Usually owned by a WorkloadDeployment.
    WorkloadReplicaSet: RUNTIME_GROUP, "WorkloadReplicaSet", "workloadreplicasets",
    WorkloadReplicaSetSpec, WorkloadReplicaSetStatus
}

/// How many Workloads, and of what template.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadReplicaSetSpec {
    /// How many replicas are wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = 1))]
    pub replicas: Option<i32>,
    /// What each replica is.
    pub template: WorkloadTemplate,
}

/// What each replica is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadTemplate {
    /// Labels of the Workloads.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations of the Workloads. A change rolls them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Labels and annotations in the form of core kinds; merged with those beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<TemplateMetadata>,
    /// The workload.
    pub spec: WorkloadSpec,
}

/// Labels and annotations in the form of core kinds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TemplateMetadata {
    /// Labels of the Workloads.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations of the Workloads.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// How far the set is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadReplicaSetStatus {
    /// In this order: ScaleUp, ScaleDown, Ready.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Replicas, counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<ReplicaCounts>,
    /// The `metadata.generation` that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Where it answers, if it is a route source of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// Replicas, counted.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReplicaCounts {
    /// How many are wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<i32>,
    /// How many exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<i32>,
    /// How many serve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<i32>,
    /// How many exist and do not serve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unavailable: Option<i32>,
}

impl WorkloadTemplate {
    /// The labels of both forms; of a key in both, the flat form's value.
    pub fn merged_labels(&self) -> BTreeMap<String, String> {
        merged(self.metadata.as_ref().map(|m| &m.labels), &self.labels)
    }

    /// The annotations of both forms; of a key in both, the flat form's value.
    pub fn merged_annotations(&self) -> BTreeMap<String, String> {
        let nested = self.metadata.as_ref().map(|m| &m.annotations);
        merged(nested, &self.annotations)
    }
}

fn merged(
    nested: Option<&BTreeMap<String, String>>,
    flat: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let mut all = nested.cloned().unwrap_or_default();
    all.extend(flat.clone());
    all
}
