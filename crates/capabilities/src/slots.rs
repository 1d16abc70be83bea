//! The slot of each capability. A number, once given, is not given again.

use waft_runtime::CapabilityId;

/// `wasi:config`.
pub(crate) const CONFIG: CapabilityId = CapabilityId::new(0);
/// `wasi:logging`.
pub(crate) const LOGGING: CapabilityId = CapabilityId::new(1);
/// `wasi:keyvalue`.
pub(crate) const KEYVALUE: CapabilityId = CapabilityId::new(2);
/// `wasmcloud:messaging`.
pub(crate) const MESSAGING: CapabilityId = CapabilityId::new(3);
/// `wasmcloud:secrets`.
pub(crate) const SECRETS: CapabilityId = CapabilityId::new(4);
/// `wasi:blobstore`.
pub(crate) const BLOBSTORE: CapabilityId = CapabilityId::new(5);
/// `wasmcloud:postgres`.
pub(crate) const POSTGRES: CapabilityId = CapabilityId::new(6);
/// `wasi:tls`.
pub(crate) const TLS: CapabilityId = CapabilityId::new(7);
/// `wasi:otel`.
pub(crate) const OTEL: CapabilityId = CapabilityId::new(8);
