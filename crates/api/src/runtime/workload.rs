//! Workload: one replica of an application, and the spec that templates hold.

mod component;
mod interface;
mod volume;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use component::{Component, Limits, LocalResources, Service, VolumeMount};
pub use interface::{ConfigLayer, HostInterface};
pub use volume::{
    ConfigMapVolume, EphemeralVolume, HostPathVolume, KeyToPath, SecretVolume, Volume,
};

use crate::{Condition, names::RUNTIME_GROUP, resource::resource};
use interface::host_interfaces_schema;
use volume::volumes_schema;

resource! {
    /// One replica of an application: components, and a service beside them, on one host. Usually
    /// owned by a WorkloadReplicaSet.
    Workload: RUNTIME_GROUP, "Workload", "workloads", WorkloadSpec, WorkloadStatus
}

/// An application: its components, what they may use, and where they may run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadSpec {
    /// Labels that the host must carry.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub host_selector: BTreeMap<String, String>,
    /// One particular host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_id: Option<String>,
    /// Environment that the host must belong to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// The components.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub components: Vec<Component>,
    /// Host interfaces that the workload may use. The host must offer them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = host_interfaces_schema)]
    pub host_interfaces: Vec<HostInterface>,
    /// A long-lived component beside the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<Service>,
    /// Volumes that components may mount.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = volumes_schema)]
    pub volumes: Vec<Volume>,
    /// Kubernetes objects that go with the workload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<Kubernetes>,
}

/// Kubernetes objects that go with a workload.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Kubernetes {
    /// Service of the same namespace under whose name the workload is reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceReference>,
}

/// Names a Service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceReference {
    /// Name of the Service.
    pub name: String,
}

/// Where a workload runs and how it does.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadStatus {
    /// In this order: Config, HostSelection, Placement, Sync, Ready.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The chosen host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_id: Option<String>,
    /// Environment of the chosen host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// Under what id the host runs it: the uid of the Workload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload_id: Option<String>,
    /// The `metadata.generation` that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Where it answers, if it is a route source of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}
