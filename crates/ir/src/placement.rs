//! Which host a workload may run on.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{HostId, InterfaceName};

/// What a workload asks of its host. The scheduler is a pure function over this and the hosts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Placement {
    /// Labels that the host must carry.
    pub host_selector: BTreeMap<String, String>,
    /// One particular host.
    pub host_id: Option<HostId>,
    /// The environment that the host must be of.
    pub environment: Option<String>,
    /// Interfaces that the host must offer.
    pub interfaces: Vec<InterfaceName>,
}
