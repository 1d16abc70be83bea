//! The embedded Kubernetes API server: SQLite revision log, watch hub, HTTP.
//!
//! [`ApiServer`] keeps objects and answers requests. It is reached as a `tower::Service` in the same
//! process ([`ApiServer::service`]) or over TLS ([`ApiServer::serve`]). What requests mean is decided
//! in `waft-apimachinery`; what runs behind pods comes through [`Connect`], further rules for writes
//! through [`Admit`].

#![forbid(unsafe_code)]

mod access;
mod addresses;
mod admission;
mod admit;
mod answer;
mod authorize;
mod body;
mod cached;
mod collector;
mod connect;
mod definitions;
mod delete;
mod evict;
mod forward;
mod identity;
mod impersonate;
mod list;
mod namespaces;
mod open;
mod read;
mod reviews;
mod root_certificate;
mod scale;
mod serve;
mod service;
mod service_accounts;
mod store;
mod tokens;
mod watch;
mod write;

pub use access::{Access, AccessError};
pub use admit::{Admit, Operation, ResourceId};
pub use connect::{ByteStream, Connect, LogOptions, NoConnect};
pub use open::{ApiServer, Config, OpenError};
pub use service::{Body, Service};
pub use store::StoreError;
pub use waft_apimachinery::status::Status;
