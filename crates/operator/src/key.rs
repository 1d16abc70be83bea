//! What is reconciled: one key per object, and two for things that are one per operator.

use std::fmt;

/// A kind of work.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) enum Kind {
    /// The table of routes.
    Routes,
    /// Workloads on hosts whose object is gone.
    Strays,
    /// An HTTPTrigger.
    Trigger,
    /// A WorkloadDeployment.
    Deployment,
    /// A WorkloadReplicaSet.
    ReplicaSet,
    /// A Workload.
    Workload,
    /// An Artifact.
    Artifact,
    /// A Host.
    Host,
    /// A HostGroup.
    HostGroup,
}

/// One object to reconcile.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct Key {
    /// What it is.
    pub kind: Kind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Kind {
    /// The kind as it stands in an object.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Routes => "routes",
            Self::Strays => "strays",
            Self::Trigger => "HTTPTrigger",
            Self::Deployment => "WorkloadDeployment",
            Self::ReplicaSet => "WorkloadReplicaSet",
            Self::Workload => "Workload",
            Self::Artifact => "Artifact",
            Self::Host => "Host",
            Self::HostGroup => "HostGroup",
        }
    }
}

impl Key {
    /// The key of an object.
    pub(crate) fn new(kind: Kind, namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            kind,
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// The key of something that is one per operator.
    pub(crate) fn single(kind: Kind) -> Self {
        Self::new(kind, "", "")
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind.as_str(), self.namespace, self.name)
    }
}
