//! Workload lifecycle, HTTP server and router, log capture: the [`HostLink`](waft_ir::HostLink)
//! that runs workloads.
//!
//! A [`Host`] fetches, compiles and links what it is told to start, serves HTTP by the route table
//! it is given, and keeps what guests write. What a guest may do and how its instances live is left
//! to `waft-runtime`, images to `waft-oci`.
#![forbid(unsafe_code)]

mod composition;
mod event;
mod host;
mod http;
mod info;
mod lifecycle;
mod log;
mod member;
mod messages;
mod metrics;
mod reason;
mod roles;
mod running;
mod service;
mod serving;
mod states;
mod volumes;

pub use event::{Access, Event};
pub use host::{Host, HostConfig};
pub use reason::Reason;
