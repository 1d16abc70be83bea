//! `waft up`: API server, operator, host and router composed in one process.
//!
//! The parts meet only here, through the ports of `waft-ir` and the traits of `waft-apiserver`.
#![forbid(unsafe_code)]

mod admin;
mod apply;
mod connect;
mod data_dir;
mod event;
mod folders;
mod index;
mod manifest;
mod options;
mod projection;
mod report;
mod up;
mod waiting;
mod watching;

pub use apply::{is_same, not_served_yet, stamp};
pub use data_dir::DataDir;
pub use event::{UpError, UpEvent};
pub use manifest::{ManifestError, Manifests, Object, Source, load};
pub use options::{UpOptions, default_cache_dir, default_data_dir};
pub use up::up;
