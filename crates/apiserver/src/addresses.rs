//! Addresses of Services. Nothing routes them, but clients take a Service without one for unfinished.

use std::collections::HashSet;

use serde_json::{Value, json};
use waft_apimachinery::registry::Resource;

use crate::open::ApiServer;

const STORAGE: &str = "/services";

/// The first two bytes of the addresses, those of most clusters.
const NETWORK: &str = "10.96";

impl ApiServer {
    /// Gives a new Service that needs one an address that no other has.
    pub(crate) fn give_address(&self, service: &mut Value, resource: &Resource) {
        let spec = &service["spec"];
        let wants = matches!(
            spec["type"].as_str(),
            Some("ClusterIP" | "NodePort" | "LoadBalancer")
        );
        if *resource.storage != *STORAGE || !wants {
            return;
        }
        if spec["clusterIP"].as_str().is_none_or(str::is_empty) {
            match self.free_address() {
                Some(address) => service["spec"]["clusterIP"] = address.into(),
                None => return,
            }
        }
        if service["spec"]["clusterIPs"].is_null() {
            service["spec"]["clusterIPs"] = json!([service["spec"]["clusterIP"]]);
        }
    }

    fn free_address(&self) -> Option<String> {
        let services = self.store.all(STORAGE, None);
        let taken: HashSet<String> = services
            .iter()
            .filter_map(|stored| Some(stored.value()["spec"]["clusterIP"].as_str()?.to_owned()))
            .collect();
        let bytes = uuid::Uuid::new_v4().into_bytes();
        // The first address is the API server's on clusters, the last one of a network is nobody's.
        (0..=u16::MAX)
            .map(|step| u16::from_be_bytes([bytes[0], bytes[1]]).wrapping_add(step))
            .filter(|host| (2..u16::MAX).contains(host))
            .map(|host| format!("{NETWORK}.{}.{}", host >> 8, host & 0xff))
            .find(|address| !taken.contains(address))
    }
}
