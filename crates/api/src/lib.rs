//! Every CRD Waft serves, as a Rust type: schema, CEL rules, printer columns, well-known names.
//!
//! The kinds are those of the ecosystem, so that existing manifests apply unchanged; what is ours
//! is optional and stands in `data/fields.tsv` as such. Nothing here has a client or judges an
//! object: the schema is all that is checked, the rest is the operator's.
//!
//! Every object that the schema accepts decodes into these types, an absent `spec` included: one
//! odd object must never stop a watch of all.
#![forbid(unsafe_code)]

mod condition;
mod crd;
mod duration;
mod host_group;
mod http_trigger;
pub mod names;
mod reason;
mod reference;
mod resource;
mod runtime;

pub use condition::{Condition, ConditionStatus, conditions};
pub use crd::{crds, crds_yaml};
pub use duration::{ParseDurationError, parse_duration};
pub use host_group::{
    ClusterReference, EnvVar, EnvVarSource, FieldSelector, HostGroup, HostGroupSpec,
    HostGroupStatus, KeySelector,
};
pub use http_trigger::{
    DeployPolicy, HttpTrigger, HttpTriggerSpec, HttpTriggerStatus, Ingress, IngressPath,
};
pub use reason::Reason;
pub use reference::LocalObjectReference;
pub use runtime::{
    Artifact, ArtifactSpec, ArtifactStatus, Component, ConfigLayer, ConfigMapVolume,
    DeploymentArtifact, EphemeralVolume, Host, HostInterface, HostPathVolume, HostSpec, HostStatus,
    KeyToPath, Kubernetes, Limits, LocalResources, ReplicaCounts, SecretVolume, Service,
    ServiceReference, TemplateMetadata, Volume, VolumeMount, Workload, WorkloadDeployment,
    WorkloadDeploymentSpec, WorkloadDeploymentStatus, WorkloadReplicaSet, WorkloadReplicaSetSpec,
    WorkloadReplicaSetStatus, WorkloadSpec, WorkloadStatus, WorkloadTemplate,
};
