//! A workload, resolved: every reference to a ConfigMap, Secret or Artifact replaced by its value.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::{InterfaceName, Limits};

/// Identifies one replica of a workload for its whole life: the uid of its Workload object.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct WorkloadId(pub String);

/// One replica of a workload, ready to be started.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Workload {
    /// Unique among all workloads, past ones included.
    pub id: WorkloadId,
    /// Namespace of the Workload object; tenants are namespaces.
    pub namespace: String,
    /// Name of the Workload object.
    pub name: String,
    /// What its replicas have in common, those of a roll-out included: the name of its
    /// WorkloadDeployment, else of its WorkloadReplicaSet, else its own.
    pub app: String,
    /// Annotations of the Workload object.
    pub annotations: BTreeMap<String, String>,
    /// The components, in manifest order. Names are unique.
    pub components: Vec<Component>,
    /// The long-lived service beside the components, if any.
    pub service: Option<Service>,
    /// What the manifest grants, one per `hostInterfaces` entry.
    pub grants: Vec<CapabilityGrant>,
    /// Volumes that components may mount.
    pub volumes: Vec<Volume>,
}

/// One component of a workload.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Component {
    /// Unique in the workload; names the container, the log file and the log prefix.
    pub name: String,
    /// Where its bytes come from.
    pub image: Image,
    /// How its instances are kept and reused.
    pub pool: Pool,
    /// Its environment, configuration, mounts and egress rules.
    pub resources: LocalResources,
    /// Its limits.
    pub limits: Limits,
}

/// The long-lived component of a workload.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Service {
    /// Names the container, the log file and the log prefix.
    pub name: String,
    /// Where its bytes come from.
    pub image: Image,
    /// How often it is started again after it failed; 0 = never.
    pub max_restarts: u32,
    /// Its environment, configuration, mounts and egress rules.
    pub resources: LocalResources,
    /// Its limits.
    pub limits: Limits,
}

/// An image and how to get it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Image {
    /// The reference as the manifest gave it, Artifacts resolved: an OCI reference, `file:PATH` or
    /// `oci:LAYOUT`.
    pub reference: String,
    /// When to ask the registry.
    pub policy: PullPolicy,
    /// Credentials of the manifest's pull secret. `None`: the host's own configuration.
    pub credentials: Option<Credentials>,
}

/// When a registry is asked for an image.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub enum PullPolicy {
    /// Resolve the tag again at each start.
    Always,
    /// Use the cache when it has the reference; the registry is not called then.
    #[default]
    IfNotPresent,
    /// Use the cache, or fail.
    Never,
}

/// A `dockerconfigjson` document: the credentials of one pull secret, for any number of registries.
/// Its `Debug` prints none of it.
#[derive(Clone, Eq, PartialEq, Serialize, Deserialize)]
pub struct Credentials {
    /// The JSON text, as in `~/.docker/config.json`.
    pub docker_config_json: String,
}

/// How instances of a component are kept. Zero means "not set" in each field, as in the manifest.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct Pool {
    /// Most warm instances; 0 = a fresh instance per request.
    pub size: u32,
    /// Requests one instance serves before it is replaced; 0 = no bound.
    pub max_invocations: u32,
    /// Requests one instance serves at a time (`wasi:http@0.3` only); 0 = 1.
    pub max_concurrency: u32,
    /// Seconds after which an idle instance is given back; 0 = the host decides.
    pub reclaim_window_seconds: u32,
    /// Idle instances that are kept all the same.
    pub reclaim_min_instances: u32,
}

/// What one component may see and reach. Empty means nothing. Its `Debug` prints no values, because
/// some are those of Secrets.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LocalResources {
    /// Environment variables, sources already merged.
    pub environment: BTreeMap<String, String>,
    /// What `localResources.config` says: of the values that `wasi:config` reads, those that are this
    /// component's own; and what it wishes of its subscriptions.
    pub config: BTreeMap<String, String>,
    /// Mounted volumes.
    pub mounts: Vec<VolumeMount>,
    /// Hosts it may send to, in the manifest's forms.
    pub allowed_hosts: Vec<String>,
    /// Names it may look up.
    pub allowed_name_lookups: Vec<String>,
    /// Ports of the machine's loopback it may reach, in the manifest's forms.
    pub allowed_loopback_ports: Vec<String>,
}

/// A volume mounted into one component.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct VolumeMount {
    /// Name of the volume in the workload.
    pub volume: String,
    /// Absolute path in the guest.
    pub path: String,
    /// Whether writes are refused.
    pub read_only: bool,
}

/// A volume of a workload.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Volume {
    /// Unique in the workload.
    pub name: String,
    /// What is in it.
    pub source: VolumeSource,
}

/// Where a volume's content comes from. Its `Debug` prints no content.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub enum VolumeSource {
    /// An empty folder that ends with the workload.
    Ephemeral {
        /// Most bytes it may hold.
        size_limit: u64,
    },
    /// A folder of the machine.
    HostPath(PathBuf),
    /// Fixed files: path below the mount → content (ConfigMaps, Secrets).
    Files(BTreeMap<String, Vec<u8>>),
}

/// One `hostInterfaces` entry: a host interface that the workload may use, and its configuration.
/// Its `Debug` prints no values, because some are those of Secrets.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct CapabilityGrant {
    /// The instance's name, for workloads with several backends of one interface.
    pub name: Option<String>,
    /// `namespace:package`, with the version if the manifest gave one.
    pub package: InterfaceName,
    /// The interfaces of the package, for example `incoming-handler`.
    pub interfaces: Vec<String>,
    /// Configuration, sources already merged.
    pub config: BTreeMap<String, String>,
}

impl Workload {
    /// `namespace/name`, as logs and messages name it.
    pub fn key(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// The grants of one package, for example `("wasi", "http")`, whatever their version.
    pub fn grants_of<'a>(
        &'a self,
        namespace: &'a str,
        package: &'a str,
    ) -> impl Iterator<Item = &'a CapabilityGrant> {
        self.grants
            .iter()
            .filter(move |g| g.package.namespace == namespace && g.package.package == package)
    }
}

impl fmt::Display for WorkloadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for LocalResources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalResources")
            .field("environment", &self.environment.keys())
            .field("config", &self.config.keys())
            .field("mounts", &self.mounts)
            .field("allowed_hosts", &self.allowed_hosts)
            .field("allowed_name_lookups", &self.allowed_name_lookups)
            .field("allowed_loopback_ports", &self.allowed_loopback_ports)
            .finish()
    }
}

impl fmt::Debug for VolumeSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ephemeral { size_limit } => write!(f, "Ephemeral({size_limit})"),
            Self::HostPath(path) => write!(f, "HostPath({})", path.display()),
            Self::Files(files) => f.debug_tuple("Files").field(&files.keys()).finish(),
        }
    }
}

impl fmt::Debug for CapabilityGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CapabilityGrant")
            .field("name", &self.name)
            .field("package", &self.package)
            .field("interfaces", &self.interfaces)
            .field("config", &self.config.keys())
            .finish()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_for_debugging_has_no_values() {
        let values = || BTreeMap::from([("token".to_owned(), "hunter2".to_owned())]);
        let resources = LocalResources {
            environment: values(),
            config: values(),
            ..LocalResources::default()
        };
        let grant = CapabilityGrant {
            name: None,
            package: InterfaceName::new("wasmcloud", "secrets", None),
            interfaces: Vec::new(),
            config: values(),
        };
        let files = BTreeMap::from([("token".to_owned(), b"hunter2".to_vec())]);
        let volume = VolumeSource::Files(files);
        let printed = format!("{resources:?} {grant:?} {volume:?}");
        assert_eq!(printed.matches("token").count(), 4, "{printed}");
        let hunter = format!("{:?}", b"hunter2");
        assert!(!printed.contains("hunter2") && !printed.contains(&hunter));
    }
}
