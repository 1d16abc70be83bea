//! Kubernetes API semantics over JSON values, without IO.
//!
//! One half says what an object may be and become ([`schema`], [`patch`], [`managed`], [`crd`],
//! [`selector`]), the other what a request means and how it is answered ([`registry`], [`request`],
//! [`meta`], [`admission`], [`table`], [`discovery`]). Both are generic: kinds are data, and none of ours is known
//! here. Storing, watching and serving are the business of `waft-apiserver`.

#![forbid(unsafe_code)]

pub mod admission;
pub mod checks;
pub mod crd;
pub mod decode;
pub mod discovery;
pub mod events;
pub mod jsonpath;
pub mod managed;
pub mod meta;
pub mod names;
pub mod nesting;
pub mod openapi;
pub mod patch;
pub mod platform;
pub mod protobuf;
pub mod quantity;
pub mod registry;
pub mod request;
pub mod schema;
pub mod selector;
pub mod status;
pub mod table;
pub mod yaml;
