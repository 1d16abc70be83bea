//! The resolved model of a workload, as plain data, and the ports between control plane and host.
//!
//! The operator turns manifests into a [`Workload`] and a [`RouteTable`]; a host runs the one and
//! routes by the other. Neither sees how the other is reached: on one machine [`HostLink`] is an
//! object in the same process, on a cluster it is NATS.
//!
//! Nothing here knows Kubernetes or wasmtime, and nothing here does IO.
#![forbid(unsafe_code)]

mod artifacts;
pub mod catalog;
mod failure;
mod host;
mod interface;
mod limits;
mod link;
mod parts;
mod placement;
mod route;
mod workload;

pub use artifacts::{Artifact, Artifacts};
pub use failure::{Failure, FailureReason};
pub use host::{HostId, HostInfo};
pub use interface::{InterfaceName, ParseInterfaceError};
pub use limits::Limits;
pub use link::{
    ByteStream, ComponentState, Duplex, HostLink, Hosts, LogLine, LogQuery, LogSource, LogStream,
    Phase, StateMap, States, WorkloadState,
};
pub use parts::PartMap;
pub use placement::Placement;
pub use route::{
    Backend, HostPattern, HostRoutes, PathMatch, Route, RouteKey, RouteTable, Routes,
    normalize_host, split_port,
};
pub use workload::{
    CapabilityGrant, Component, Credentials, Image, LocalResources, Pool, PullPolicy, Service,
    Volume, VolumeMount, VolumeSource, Workload, WorkloadId,
};
