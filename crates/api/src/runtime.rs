//! Group `runtime.wasmcloud.dev`: what runs, and on what.

mod artifact;
mod deployment;
mod host;
mod replica_set;
mod workload;

pub use artifact::{Artifact, ArtifactSpec, ArtifactStatus};
pub use deployment::{
    DeploymentArtifact, WorkloadDeployment, WorkloadDeploymentSpec, WorkloadDeploymentStatus,
};
pub use host::{Host, HostSpec, HostStatus};
pub use replica_set::{
    ReplicaCounts, TemplateMetadata, WorkloadReplicaSet, WorkloadReplicaSetSpec,
    WorkloadReplicaSetStatus, WorkloadTemplate,
};
pub use workload::{
    Component, ConfigLayer, ConfigMapVolume, EphemeralVolume, HostInterface, HostPathVolume,
    KeyToPath, Kubernetes, Limits, LocalResources, SecretVolume, Service, ServiceReference, Volume,
    VolumeMount, Workload, WorkloadSpec, WorkloadStatus,
};
