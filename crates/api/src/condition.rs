//! The condition type that all kinds share, and which types each kind has.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Reason;

/// One observation about an object. Not `metav1.Condition`: only `type` and `status` are required,
/// and there is a `lastProbeTime`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// What is observed. Unique in an object's conditions.
    #[serde(rename = "type")]
    pub type_: String,
    /// True, False or Unknown.
    pub status: String,
    /// The `metadata.generation` that was observed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// When `status` last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<Time>,
    /// When the condition was last looked at. Accepted from others; Waft never sets it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_probe_time: Option<Time>,
    /// Why, as one CamelCase word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Why, for people, and what to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// The values of a condition's `status`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// It is not known, or not yet.
    Unknown,
}

/// Condition types, and those of each kind in the order in which they are written.
pub mod conditions {
    /// The object works. Every kind has it.
    pub const READY: &str = "Ready";
    /// It works, but not as one should rely on. Any kind may have it; it stands last.
    pub const DEGRADED: &str = "Degraded";
    /// Artifact: its image was resolved. Workload: its host runs it. WorkloadDeployment: the
    /// current set is of the wanted template.
    pub const SYNC: &str = "Sync";
    /// Artifact: the resolved image can be used.
    pub const PUBLISHED: &str = "Published";
    /// Host: it reports.
    pub const REPORTING: &str = "Reporting";
    /// Workload: every ConfigMap and Secret it names was found and read.
    pub const CONFIG: &str = "Config";
    /// Workload: a host was chosen.
    pub const HOST_SELECTION: &str = "HostSelection";
    /// Workload: the host was told to start it.
    pub const PLACEMENT: &str = "Placement";
    /// WorkloadReplicaSet: no replica is missing.
    pub const SCALE_UP: &str = "ScaleUp";
    /// WorkloadReplicaSet: no replica is too many.
    pub const SCALE_DOWN: &str = "ScaleDown";
    /// WorkloadDeployment: every Artifact it names was found and is published.
    pub const ARTIFACT: &str = "Artifact";
    /// WorkloadDeployment: the set of the wanted template exists.
    pub const DEPLOY: &str = "Deploy";
    /// WorkloadDeployment: the sets have the wanted sizes.
    pub const SCALE: &str = "Scale";
    /// HTTPTrigger: its routes are its own.
    pub const ACCEPTED: &str = "Accepted";
    /// HTTPTrigger: the router has its routes.
    pub const PROGRAMMED: &str = "Programmed";

    /// Those of an Artifact.
    pub const OF_ARTIFACT: [&str; 3] = [SYNC, PUBLISHED, READY];
    /// Those of a Host.
    pub const OF_HOST: [&str; 2] = [REPORTING, READY];
    /// Those of a Workload.
    pub const OF_WORKLOAD: [&str; 5] = [CONFIG, HOST_SELECTION, PLACEMENT, SYNC, READY];
    /// Those of a WorkloadReplicaSet.
    pub const OF_WORKLOAD_REPLICA_SET: [&str; 3] = [SCALE_UP, SCALE_DOWN, READY];
    /// Those of a WorkloadDeployment.
    pub const OF_WORKLOAD_DEPLOYMENT: [&str; 5] = [ARTIFACT, SYNC, DEPLOY, SCALE, READY];
    /// Those of an HTTPTrigger.
    pub const OF_HTTP_TRIGGER: [&str; 3] = [ACCEPTED, PROGRAMMED, READY];
    /// Those of a HostGroup.
    pub const OF_HOST_GROUP: [&str; 1] = [READY];
}

impl Condition {
    /// A condition without a transition time: whoever writes it carries the old one over while the
    /// status stays the same.
    pub fn new(type_: &str, status: ConditionStatus, reason: Reason, message: &str) -> Self {
        Self {
            type_: type_.into(),
            status: status.as_str().into(),
            reason: Some(reason.as_str().into()),
            message: (!message.is_empty()).then(|| message.into()),
            ..Self::default()
        }
    }

    /// Whether it holds.
    pub fn is_true(&self) -> bool {
        self.status == ConditionStatus::True.as_str()
    }
}

impl ConditionStatus {
    /// The text as it stands in an object.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

impl From<bool> for ConditionStatus {
    fn from(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }
}
