//! Why a workload can't run, in words a user can act on.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The closed list of reasons a host or a registry gives for a failure. Each becomes the reason of
/// a condition, so the names are CamelCase and never change their meaning.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub enum FailureReason {
    /// The image reference does not parse.
    InvalidImageReference,
    /// A `file:` or `oci:` path lies outside the allowed folders.
    PathNotAllowed,
    /// The file or layout folder named by the image, or the folder named by a volume, does not exist.
    FileNotFound,
    /// The registry has no such repository, tag or digest.
    ImageNotFound,
    /// The registry refused the credentials, or wanted some.
    ImagePullUnauthorized,
    /// The registry could not be reached, or answered with an error.
    ImagePullFailed,
    /// `imagePullPolicy: Never` and the image is not in the cache.
    ImageNotCached,
    /// Bytes do not hash to the digest that names them.
    DigestMismatch,
    /// The bytes are not WebAssembly.
    NotWasm,
    /// The bytes are a core module; a component is needed.
    NotAComponent,
    /// The bytes start as a component but do not validate (truncated, malformed).
    InvalidComponent,
    /// The image holds compiled code, which is never accepted from outside.
    PrecompiledRefused,
    /// The component imports an interface that no host offers or that was not granted.
    UnsupportedImport,
    /// The component exports nothing that the workload needs (for example no HTTP handler).
    MissingExport,
    /// More than one component of the workload exports an HTTP handler.
    MultipleHttpHandlers,
    /// Compiling or linking failed for another reason.
    LinkFailed,
    /// The workload asks for a field or interface that Waft accepts but does not serve yet.
    NotSupportedYet,
    /// The component failed while it was started.
    StartFailed,
    /// The service failed and is started again after a pause.
    CrashLoopBackOff,
    /// The service failed and has no restarts left.
    RestartsExhausted,
    /// Memory, disk or slots of the host are used up.
    HostAtCapacity,
    /// A server behind one of its host interfaces does not answer.
    BackendUnavailable,
    /// The host lost the workload, or failed in a way that is not the user's doing.
    Internal,
}

/// A failure: its reason, and one sentence or two that say what happened and what to do.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The reason, for conditions and metrics.
    pub reason: FailureReason,
    /// The message, for people: names the object concerned and says what to do.
    pub message: String,
}

impl FailureReason {
    /// The CamelCase name, as it stands in conditions.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidImageReference => "InvalidImageReference",
            Self::PathNotAllowed => "PathNotAllowed",
            Self::FileNotFound => "FileNotFound",
            Self::ImageNotFound => "ImageNotFound",
            Self::ImagePullUnauthorized => "ImagePullUnauthorized",
            Self::ImagePullFailed => "ImagePullFailed",
            Self::ImageNotCached => "ImageNotCached",
            Self::DigestMismatch => "DigestMismatch",
            Self::NotWasm => "NotWasm",
            Self::NotAComponent => "NotAComponent",
            Self::InvalidComponent => "InvalidComponent",
            Self::PrecompiledRefused => "PrecompiledRefused",
            Self::UnsupportedImport => "UnsupportedImport",
            Self::MissingExport => "MissingExport",
            Self::MultipleHttpHandlers => "MultipleHttpHandlers",
            Self::LinkFailed => "LinkFailed",
            Self::NotSupportedYet => "NotSupportedYet",
            Self::StartFailed => "StartFailed",
            Self::CrashLoopBackOff => "CrashLoopBackOff",
            Self::RestartsExhausted => "RestartsExhausted",
            Self::HostAtCapacity => "HostAtCapacity",
            Self::BackendUnavailable => "BackendUnavailable",
            Self::Internal => "Internal",
        }
    }

    /// Whether trying again later, with no object changed, may help: a registry that was down, an image
    /// that was not pushed or built yet, a folder that was not made yet, a host that was full. Such
    /// failures are retried with backoff, the others wait for a change.
    pub fn is_transient(self) -> bool {
        matches!(
            self,
            Self::FileNotFound
                | Self::ImageNotFound
                | Self::ImagePullFailed
                | Self::HostAtCapacity
                | Self::BackendUnavailable
                | Self::Internal
        )
    }
}

impl fmt::Display for FailureReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Failure {
    /// A failure of a given reason.
    pub fn new(reason: FailureReason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
        }
    }
}
