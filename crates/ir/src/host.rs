//! What a host says about itself.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::InterfaceName;

/// Identifies one host process.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct HostId(pub String);

/// A host as it last reported: what a heartbeat carries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HostInfo {
    /// The host.
    pub id: HostId,
    /// Name of its Host object.
    pub name: String,
    /// Name or address under which its HTTP port is reached.
    pub hostname: String,
    /// Port of its HTTP listener, if it has one.
    pub http_port: Option<u16>,
    /// Labels of its Host object, `hostgroup` among them.
    pub labels: BTreeMap<String, String>,
    /// Its environment; `None` matches any.
    pub environment: Option<String>,
    /// Version of the host program.
    pub version: String,
    /// Operating system, for example `linux`.
    pub os_name: String,
    /// Architecture, for example `x86_64`.
    pub os_arch: String,
    /// Kernel release.
    pub os_kernel: String,
    /// Processor use of the machine, in percent.
    pub cpu_percent: f32,
    /// Memory of the machine, in bytes.
    pub memory_total: u64,
    /// Memory of the machine that is free, in bytes.
    pub memory_free: u64,
    /// Components of all running workloads.
    pub components: u64,
    /// Running workloads.
    pub workloads: u64,
    /// Interfaces it offers to guests.
    pub offers: Vec<InterfaceName>,
}

impl fmt::Display for HostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
