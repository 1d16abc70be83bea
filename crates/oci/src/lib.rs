//! Pulls, verifies, caches and pushes Wasm images: registries, OCI layouts, local files.
//!
//! [`Store`] turns an [`waft_ir::Image`] into bytes ([`Store::fetch`]) or into what the control
//! plane needs to know of it ([`waft_ir::Artifacts`]). Whatever it returns hashes to the digest
//! that names it, on download and on every read of the cache; what is half downloaded is never
//! visible. Failures are [`waft_ir::Failure`]s, in words for the user.
//!
//! Left to others: whether the bytes compile and link (`runtime`), and what `artifact://` names
//! (the operator replaces those before anybody asks here).
#![forbid(unsafe_code)]

mod cache;
mod component;
mod credentials;
mod digest;
mod files;
mod layout;
mod manifest;
mod mirror;
mod progress;
mod push;
mod reference;
mod registry;
mod store;

pub use credentials::DockerConfig;
pub use digest::{Digest, ParseDigestError};
pub use files::FileRoots;
pub use mirror::{Mirror, ParseMirrorError};
pub use progress::{Transfer, Transfers};
pub use registry::Retry;
pub use store::{Fetched, Store, StoreConfig};
