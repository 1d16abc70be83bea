//! Group `control.cosmonic.io`: HTTPTrigger, a workload and the routes that lead to it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Condition, WorkloadTemplate, names::CONTROL_GROUP, resource::resource};

resource! {
    /// Routes of a host name to a workload that serves HTTP. Owns the WorkloadDeployment.
    HttpTrigger: CONTROL_GROUP, "HTTPTrigger", "httptriggers", HttpTriggerSpec, HttpTriggerStatus
}

/// The routes, and what they lead to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpTriggerSpec {
    /// Host name and paths.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingress: Option<Ingress>,
    /// How many replicas are wanted. Unset: one at first, afterwards whoever scales decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// How a changed template is rolled out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "RollingUpdate"))]
    pub deploy_policy: Option<DeployPolicy>,
    /// Longest wait for response headers, such as `300s`; `0` for no bound; unset: 15 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,
    /// Labels that the host must carry; merged with the template's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub host_selector: BTreeMap<String, String>,
    /// The workload. Its inbound HTTP interface is added by the trigger.
    pub template: WorkloadTemplate,
}

/// Host name and paths of a trigger.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ingress {
    /// A name, `*.suffix`, or `*` for any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Paths that lead to the workload. Empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<IngressPath>,
}

/// One path of a trigger.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IngressPath {
    /// The path, beginning with a slash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "/"))]
    pub path: Option<String>,
    /// Exact: just this path. Prefix: this path and those below it, by path element.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "Prefix"))]
    pub path_type: Option<String>,
}

/// How a changed template is rolled out.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
pub enum DeployPolicy {
    #[default]
    #[expect(missing_docs, reason = "a doc comment would split the schema's enum")]
    RollingUpdate,
    #[expect(missing_docs, reason = "a doc comment would split the schema's enum")]
    Recreate,
}

/// Where a trigger is served.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpTriggerStatus {
    /// In this order: Accepted, Programmed, Ready.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// How many replicas exist, for the scale subresource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_replicas: Option<i32>,
    /// Label selector of the replicas, for the scale subresource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// Where the trigger answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The `metadata.generation` that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

impl DeployPolicy {
    /// The text as it stands in an object.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RollingUpdate => crate::names::ROLLING_UPDATE,
            Self::Recreate => crate::names::RECREATE,
        }
    }
}
