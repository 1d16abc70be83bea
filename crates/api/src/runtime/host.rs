//! Host: a process that runs workloads. Its data stand beside the metadata, not in a spec.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

use crate::{Condition, names::RUNTIME_GROUP, resource::kube_resource};

/// A process that runs workloads, as it reports itself.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Host {
    /// Standard object metadata. The label `hostgroup` names the host's group.
    #[schemars(skip)]
    pub metadata: ObjectMeta,
    /// Identifies the process. Required, unless it stands in `spec`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_id: Option<String>,
    /// Name or address under which the host is reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Port of the host's HTTP listener.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_port: Option<i32>,
    /// Environment the host belongs to. A workload that names one runs only there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// Older place of the host's data. The fields beside the metadata win.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spec: Option<HostSpec>,
    /// What was observed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<HostStatus>,
}

kube_resource!(Host: RUNTIME_GROUP, "Host", "hosts");

/// A host's data as older manifests write them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostSpec {
    /// Identifies the process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_id: Option<String>,
    /// Name or address under which the host is reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Port of the host's HTTP listener.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_port: Option<i32>,
}

/// What a host reports of itself and its machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostStatus {
    /// In this order: Reporting, Ready.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Version of the host program.
    pub version: String,
    /// Operating system, for example `linux`.
    pub os_name: String,
    /// Architecture, for example `x86_64`.
    pub os_arch: String,
    /// Kernel release.
    pub os_kernel: String,
    /// Processor use of the machine, in percent.
    #[serde(rename = "systemCPUUsage")]
    pub system_cpu_usage: String,
    /// Memory of the machine, in bytes.
    pub system_memory_total: i64,
    /// Memory of the machine that is free, in bytes.
    pub system_memory_free: i64,
    /// Components of all running workloads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = null))]
    pub component_count: Option<i64>,
    /// Running workloads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = null))]
    pub workload_count: Option<i64>,
    /// When the host last reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<Time>,
}

impl Host {
    /// Its id, wherever it stands; an empty one counts as none.
    pub fn id(&self) -> Option<&str> {
        let in_spec = || self.spec.as_ref()?.host_id.as_deref();
        self.host_id
            .as_deref()
            .or_else(in_spec)
            .filter(|id| !id.is_empty())
    }
}

impl Serialize for Host {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap;
        let mut object = serializer.serialize_map(None)?;
        object.serialize_entry("apiVersion", &<Self as kube::Resource>::api_version(&()))?;
        object.serialize_entry("kind", "Host")?;
        object.serialize_entry("metadata", &self.metadata)?;
        let texts = [
            ("hostId", &self.host_id),
            ("hostname", &self.hostname),
            ("environment", &self.environment),
        ];
        for (name, text) in texts {
            if let Some(text) = text {
                object.serialize_entry(name, text)?;
            }
        }
        if let Some(port) = self.http_port {
            object.serialize_entry("httpPort", &port)?;
        }
        if let Some(spec) = &self.spec {
            object.serialize_entry("spec", spec)?;
        }
        if let Some(status) = &self.status {
            object.serialize_entry("status", status)?;
        }
        object.end()
    }
}
