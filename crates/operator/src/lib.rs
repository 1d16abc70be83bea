//! Controllers: from manifests to workloads on hosts, and the status that tells how it went.
//!
//! ```text
//! HTTPTrigger ─→ WorkloadDeployment ─→ WorkloadReplicaSet ─→ Workload ─→ host
//!      └──────────────────┴──── routes ────┴──────────────────┘
//! ```
//!
//! Every controller goes the same way: *dereference* what the spec names (out of the caches),
//! *validate* and *build* (pure), *apply*, *status*. What decides anything is a pure function; the
//! files `apply`, `status` and `dereference` are the only ones that read or write the world.
//!
//! Leaves to others: running workloads and serving requests (`host`), what images hold (`oci`),
//! storing objects and collecting those whose owner is gone (the API server).
#![forbid(unsafe_code)]

mod artifact;
mod artifacts;
mod cache;
mod condition;
mod config_layers;
mod context;
mod deployment;
mod dereference;
mod events;
mod failure;
#[cfg(test)]
mod golden;
mod host;
mod host_group;
mod key;
mod looks;
mod names;
mod object;
mod operator;
mod problem;
mod queue;
mod replica_set;
mod routes;
mod routing;
mod schedule;
mod sources;
mod strays;
mod trigger;
mod unserved;
mod wake;
mod workload;
mod write;

pub use operator::{Operator, OperatorConfig};
