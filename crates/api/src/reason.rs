//! Why a condition has its status: a closed list.

use std::fmt;

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// The reason of a condition or an Event. Names never change their meaning; the list is
        /// printed in the documentation.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub enum Reason {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Reason {
            /// All of them, in the order of their declaration.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The CamelCase name, as it stands in conditions.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)+
                }
            }

            /// What it means, for the documentation.
            pub fn description(self) -> &'static str {
                match self {
                    $(Self::$name => concat!($($doc),+),)+
                }
            }
        }
    };
}

reasons! {
    // How things go.
    /// It is as it should be.
    Available,
    /// A change was seen and is being worked on.
    Reconciling,
    /// It waits for something else that its message names.
    Waiting,
    /// Images are being fetched.
    Pulling,
    /// Components are being compiled or loaded from the cache, and linked.
    Compiling,
    /// Workloads were told to start and do not serve yet.
    Starting,
    /// Requests are finished before it goes.
    Stopping,
    /// The service ended well and nothing else is left to serve.
    Completed,
    /// Replicas are being added.
    ScalingUp,
    /// Replicas are being taken away.
    ScalingDown,
    /// Replicas are missing that should serve; the message names the cause.
    ReplicasUnavailable,
    /// A new set takes over from an old one.
    RollingOut,
    /// No replicas are wanted.
    ScaledToZero,
    /// One machine runs one host, in the process of `waft up` itself.
    InProcess,

    // What a manifest got wrong.
    /// A field has a value that is refused; the message names both.
    InvalidSpec,
    /// A field or interface is accepted but not served yet; the message names it.
    NotSupportedYet,
    /// Two fields contradict each other.
    ConflictingFields,
    /// An object that would have to be created exists and belongs to someone else.
    NameTaken,
    /// A ConfigMap does not exist.
    ConfigMapNotFound,
    /// A Secret does not exist.
    SecretNotFound,
    /// A ConfigMap or Secret lacks a key.
    KeyNotFound,
    /// A value of a ConfigMap or Secret is not text, or can't be an environment variable.
    InvalidConfigValue,
    /// A pull secret is not of type `kubernetes.io/dockerconfigjson`, or does not parse.
    InvalidPullSecret,
    /// An Artifact does not exist.
    ArtifactNotFound,
    /// An Artifact exists, but its image is not resolved.
    ArtifactNotReady,
    /// A Service named under `kubernetes.service` does not exist.
    ServiceNotFound,
    /// More than one component of a workload exports an HTTP handler.
    MultipleHttpHandlers,
    /// A listen address was given; Waft routes by host name and listens on its own port only.
    AddressIgnored,
    /// A component is never called; the message says what it would have to export.
    ComponentUnused,
    /// An entry of `hostInterfaces` is for messages or changes that no component takes.
    EntryUnused,
    /// A host name is not routed: it stands in a Secret, or in a template below an HTTPTrigger, where
    /// the trigger's `ingress` alone counts.
    HostIgnored,

    // Routes.
    /// A host name is not one.
    InvalidHost,
    /// A path or its type is not served.
    InvalidPath,
    /// A timeout is not a duration.
    InvalidTimeout,
    /// An older object holds the same host and path.
    RouteConflict,

    // Hosts.
    /// No host fits the selector, the id, the environment and the interfaces asked for.
    NoMatchingHost,
    /// The host does not report.
    HostNotReporting,
    /// A default of this machine stands in for a server that was not configured, or for a `root`.
    EmbeddedBackend,
    /// An entry names a server by `url`; that of the platform is used instead.
    OtherServer,

    // What a host or a registry answers.
    /// The image reference does not parse.
    InvalidImageReference,
    /// A `file:` or `oci:` path lies outside the allowed folders.
    PathNotAllowed,
    /// The file or folder that the image or a volume names does not exist.
    FileNotFound,
    /// The registry has no such repository, tag or digest.
    ImageNotFound,
    /// The registry refused the credentials, or wanted some.
    ImagePullUnauthorized,
    /// The registry could not be reached, or answered with an error.
    ImagePullFailed,
    /// `imagePullPolicy: Never`, and the image is not in the cache.
    ImageNotCached,
    /// Bytes do not hash to the digest that names them.
    DigestMismatch,
    /// The bytes are not WebAssembly.
    NotWasm,
    /// The bytes are a core module; a component is needed.
    NotAComponent,
    /// The component does not validate.
    InvalidComponent,
    /// The image holds compiled code, which is never accepted from outside.
    PrecompiledRefused,
    /// The component imports an interface that no host offers or that was not granted.
    UnsupportedImport,
    /// The component exports nothing that the workload needs.
    MissingExport,
    /// Compiling or linking failed for another reason.
    LinkFailed,
    /// The component failed while it was started.
    StartFailed,
    /// The service failed and is started again after a pause; the message names the last error.
    CrashLoopBackOff,
    /// The service failed and has no restarts left.
    RestartsExhausted,
    /// Memory, disk or slots of the host are used up.
    HostAtCapacity,
    /// A server that one of its `hostInterfaces` needs does not answer; it is tried again.
    BackendUnavailable,
    /// A write to the API was refused; the message has its answer.
    ApplyFailed,
    /// Something failed that is not the user's doing.
    Internal,

    // Kinds that are stored but not run.
    /// Waft runs components, not containers.
    ContainersNotSupported,
}

impl Reason {
    /// The reason of a given name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|r| r.as_str() == name)
    }

    /// Whether a warning of this reason and message goes on, if one was told before: the message of
    /// a service that fails again and again counts how often, and is told once.
    pub fn goes_on(name: &str, message: &str, before: (&str, &str)) -> bool {
        name == before.0 && (message == before.1 || name == Self::CrashLoopBackOff.as_str())
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_back_and_are_camel_case() {
        for reason in Reason::ALL {
            let name = reason.as_str();
            assert_eq!(Reason::parse(name), Some(*reason));
            assert!(name.starts_with(|c: char| c.is_ascii_uppercase()), "{name}");
            assert!(name.chars().all(|c| c.is_ascii_alphanumeric()), "{name}");
            assert!(!reason.description().is_empty());
        }
        assert_eq!(Reason::parse("Nothing"), None);
    }
}
