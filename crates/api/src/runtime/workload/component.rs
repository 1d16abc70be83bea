//! Components and services of a workload, and what each may use.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ConfigLayer;
use crate::LocalObjectReference;

/// A component that is called: for HTTP requests, for messages, by other components.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Component {
    /// Unique in the workload.
    pub name: String,
    /// OCI reference, `file:` path, `oci:` layout folder, or `artifact://NAME`.
    pub image: String,
    /// Secret of type `kubernetes.io/dockerconfigjson` with the registry's credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_secret: Option<LocalObjectReference>,
    /// Always, IfNotPresent (default) or Never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<String>,
    /// Most warm instances. Unset: a fresh instance per request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub pool_size: Option<i32>,
    /// Requests that one instance serves before it is replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub max_invocations: Option<i32>,
    /// Requests that one instance serves at a time (wasi:http@0.3).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub max_concurrency: Option<i32>,
    /// Seconds after which an idle instance is given back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub reclaim_window_seconds: Option<i32>,
    /// Idle instances that are kept all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub reclaim_min_instances: Option<i32>,
    /// What the component may see and reach.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_resources: Option<LocalResources>,
    /// Limits of the component.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
}

/// A component that runs as long as the workload does.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Service {
    /// Its name beside the components' names; `service` if unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// OCI reference, `file:` path, `oci:` layout folder, or `artifact://NAME`.
    pub image: String,
    /// Secret of type `kubernetes.io/dockerconfigjson` with the registry's credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_secret: Option<LocalObjectReference>,
    /// Always, IfNotPresent (default) or Never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<String>,
    /// How often it is started again after it failed. Unset: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_restarts: Option<i32>,
    /// What the service may see and reach.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_resources: Option<LocalResources>,
    /// Limits of the service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
}

impl Service {
    /// What it is called beside the components.
    pub fn called(&self) -> &str {
        let name = self.name.as_deref().filter(|name| !name.is_empty());
        name.unwrap_or("service")
    }
}

/// What one component may see and reach. Empty means nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LocalResources {
    /// Volumes of the workload that the component sees.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volume_mounts: Vec<VolumeMount>,
    /// Environment variables.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<ConfigLayer>,
    /// Values for `wasi:config`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub config: BTreeMap<String, String>,
    /// Hosts that the component may send to: names, `*.suffix`, with scheme and port if wanted;
    /// `*` for any. Empty: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(regex(pattern = ALLOWED_HOST)))]
    pub allowed_hosts: Vec<String>,
    /// Names that the component may look up. Empty: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(regex(pattern = ALLOWED_IP_NAME_LOOKUP)))]
    pub allowed_ip_name_lookups: Vec<String>,
    /// Ports of the machine's loopback that the component may reach as `host.wasmcloud.internal`.
    /// Empty: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(regex(pattern = ALLOWED_HOST_LOOPBACK_PORT)))]
    pub allowed_host_loopback_ports: Vec<String>,
    /// Most memory of one instance, in MiB; 0 or unset: 512.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub memory_limit_mb: Option<i32>,
    /// Most processor time of the workload, in thousandths of a core; 0 or unset: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub cpu_limit: Option<i32>,
}

/// A volume of the workload, seen by one component.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VolumeMount {
    /// Name of the volume.
    pub name: String,
    /// Absolute path in the component.
    pub mount_path: String,
    /// Whether writes are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_only: Option<bool>,
}

/// Limits of one component or service. Unset ones have the documented defaults.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Longest wait for response headers, such as `15s` (the default); `0s` for no bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = DURATION))]
    pub request_timeout: Option<String>,
    /// Guest time per call, such as `10s` (the default).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = DURATION))]
    pub cpu_time: Option<String>,
    /// Calls running at a time; 256 if unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_in_flight: Option<i32>,
    /// Calls waiting beyond those; 1024 if unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub queue: Option<i32>,
    /// Longest wait in the queue, such as `1s` (the default).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = DURATION))]
    pub queue_timeout: Option<String>,
    /// Elements of one table; 100000 if unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub table_elements: Option<i32>,
    /// Bytes of request headers; 65536 if unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub header_bytes: Option<i32>,
    /// Bytes of a request body; no bound if unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub body_bytes: Option<i64>,
    /// Outbound connections at a time; 128 if unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub outbound_connections: Option<i32>,
    /// Bytes of log lines per second; 1048576 if unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub log_bytes_per_second: Option<i64>,
}

/// One entry of `allowedHosts`.
const ALLOWED_HOST: &str = r"^\*$|^([A-Za-z][A-Za-z0-9+.-]*://)(\*\.)?[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*(:[0-9]{1,5})?/?$|^(\*\.)?[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*(:[0-9]{1,5})?$";

/// One entry of `allowedIpNameLookups`.
const ALLOWED_IP_NAME_LOOKUP: &str = r"^\*$|^(\*\.)?[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*$|^[0-9A-Fa-f:.]+$";

/// One entry of `allowedHostLoopbackPorts`.
const ALLOWED_HOST_LOOPBACK_PORT: &str = r"^[0-9]{1,5}(/(tcp|udp|TCP|UDP))?$";

/// A duration in Go's notation, as [`parse_duration`](crate::parse_duration) reads it.
const DURATION: &str = r"^(0|([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h)(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h))*)$";
