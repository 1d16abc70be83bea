//! Volumes of a workload.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use schemars::{JsonSchema, Schema, json_schema};
use serde::{Deserialize, Serialize};

use crate::crd::merge;

/// A volume that components may mount. It has exactly one source.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = volume_schema)]
pub struct Volume {
    /// A DNS label, unique in the workload.
    #[schemars(length(max = 63))]
    pub name: String,
    /// An empty folder that ends with the workload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ephemeral: Option<EphemeralVolume>,
    /// A folder of the machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_path: Option<HostPathVolume>,
    /// One file for each key of a ConfigMap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map: Option<ConfigMapVolume>,
    /// One file for each key of a Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretVolume>,
}

/// An empty folder that ends with the workload.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EphemeralVolume {
    /// Most bytes it may hold, such as `64Mi` (the default).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_limit: Option<Quantity>,
}

/// A folder of the machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostPathVolume {
    /// Its absolute path, below a folder that the host was started to share.
    pub path: String,
}

/// Files from a ConfigMap.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMapVolume {
    /// Name of the ConfigMap.
    pub name: String,
    /// Keys to use, and their file names. Empty: all, under their own names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<KeyToPath>,
    /// Whether the ConfigMap may be absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optional: Option<bool>,
}

/// Files from a Secret.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretVolume {
    /// Name of the Secret.
    pub secret_name: String,
    /// Keys to use, and their file names. Empty: all, under their own names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<KeyToPath>,
    /// Whether the Secret may be absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optional: Option<bool>,
}

/// A key and its file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeyToPath {
    /// The key.
    pub key: String,
    /// Path of the file, relative to the volume.
    pub path: String,
}

/// Rules of one volume.
fn volume_schema(schema: &mut Schema) {
    let sources =
        "[has(self.ephemeral), has(self.hostPath), has(self.configMap), has(self.secret)]";
    let rules = json_schema!({
        "x-kubernetes-validations": [
            {
                "rule": format!("{sources}.filter(x, x).size() == 1"),
                "message": "a volume has exactly one of ephemeral, hostPath, configMap and secret",
            },
            {
                "rule": "self.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",
                "message": "the name of a volume is a DNS label: lower case letters, digits and inner hyphens",
            },
        ],
    });
    merge(schema, rules);
}

/// Bounds and rules of the whole list. The bound is what lets an API server estimate the cost of
/// the rule.
pub(super) fn volumes_schema(schema: &mut Schema) {
    let rules = json_schema!({
        "maxItems": 64,
        "x-kubernetes-validations": [{
            "rule": "self.all(x, self.exists_one(y, y.name == x.name))",
            "message": "names of volumes must be unique",
        }],
    });
    merge(schema, rules);
}
