//! Host interfaces of a workload, and layers of configuration.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, json_schema};
use serde::{Deserialize, Serialize};

use crate::{LocalObjectReference, crd::merge};

/// Configuration from up to three sources; later ones win: `config`, then `configFrom` in order,
/// then `secretFrom` in order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigLayer {
    /// ConfigMaps; each key is one value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub config_from: Vec<LocalObjectReference>,
    /// Secrets; each key is one value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secret_from: Vec<LocalObjectReference>,
    /// Values written out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub config: BTreeMap<String, String>,
}

/// A host interface that the workload may use, and its configuration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostInterface {
    /// ConfigMaps; each key is one value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub config_from: Vec<LocalObjectReference>,
    /// Secrets; each key is one value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secret_from: Vec<LocalObjectReference>,
    /// Values written out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub config: BTreeMap<String, String>,
    /// Tells several entries of one package apart: what the guest passes to `open`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[a-z0-9][a-z0-9-]*$"), length(max = 64))]
    pub name: Option<String>,
    /// Namespace of the WIT package, for example `wasi`.
    #[schemars(length(max = 128))]
    pub namespace: String,
    /// Name of the WIT package, for example `http`.
    #[schemars(length(max = 128))]
    pub package: String,
    /// Interfaces of the package, for example `incoming-handler`.
    #[schemars(length(min = 1))]
    pub interfaces: Vec<String>,
    /// Version of the package; any if unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub version: Option<String>,
}

impl HostInterface {
    /// Its configuration as a layer.
    pub fn layer(&self) -> ConfigLayer {
        ConfigLayer {
            config_from: self.config_from.clone(),
            secret_from: self.secret_from.clone(),
            config: self.config.clone(),
        }
    }
}

/// Bounds and rules of the whole list.
pub(super) fn host_interfaces_schema(schema: &mut Schema) {
    let rules = json_schema!({
        "maxItems": 64,
        "x-kubernetes-validations": [
            {
                "rule": "self.all(x, self.exists_one(y, y.__namespace__ == x.__namespace__ && y.__package__ == x.__package__ && (has(y.name) ? y.name : '') == (has(x.name) ? x.name : '') && (has(y.version) ? y.version : '') == (has(x.version) ? x.version : '')))",
                "message": "hostInterfaces must not contain duplicate entries with the same namespace, package, name, and version",
            },
            {
                "rule": "self.all(x, (has(x.name) && x.name != '') || self.filter(y, y.__namespace__ == x.__namespace__ && y.__package__ == x.__package__ && !(has(y.name) && y.name != '')).size() == 1)",
                "message": "at most one unnamed hostInterface is allowed per namespace:package; give the others a name",
            },
        ],
    });
    merge(schema, rules);
}
