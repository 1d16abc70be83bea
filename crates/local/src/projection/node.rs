//! A Host as a Node.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{
        DaemonEndpoint, Node, NodeAddress, NodeCondition, NodeDaemonEndpoints, NodeSpec,
        NodeStatus, NodeSystemInfo,
    },
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::ObjectMeta},
};
use kube::ResourceExt as _;
use waft_api::{Host, HostStatus, conditions};
use waft_apimachinery::platform;

/// Label of the Nodes that stand for Hosts.
pub(super) const LABEL: &str = "waft.dev/host";

/// Workloads that kubectl shows a Node has room for; the host's own budget decides.
const PODS: &str = "1000";

/// The Node of a host. Values that change all the time are left out: each would be a write.
pub(super) fn of(host: &Host) -> Node {
    let name = host.name_any();
    let status = host.status.as_ref();
    let mut labels = host.labels().clone();
    labels.insert("kubernetes.io/hostname".into(), name.clone());
    labels.insert(LABEL.into(), "true".into());
    if let Some(status) = status {
        let (os, arch) = platform_of(status);
        labels.insert("kubernetes.io/os".into(), os);
        labels.insert("kubernetes.io/arch".into(), arch);
    }
    labels.retain(|_, value| value.len() <= 63);
    Node {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            labels: Some(labels),
            ..ObjectMeta::default()
        },
        spec: Some(NodeSpec {
            provider_id: host.id().map(|id| format!("waft://{id}")),
            ..NodeSpec::default()
        }),
        status: Some(NodeStatus {
            addresses: Some(addresses(host, name)),
            conditions: Some(vec![ready(host)]),
            capacity: status.map(room),
            allocatable: status.map(room),
            node_info: Some(status.map(info).unwrap_or_default()),
            daemon_endpoints: Some(NodeDaemonEndpoints {
                kubelet_endpoint: Some(DaemonEndpoint {
                    port: host.http_port.unwrap_or_default(),
                }),
            }),
            ..NodeStatus::default()
        }),
    }
}

fn addresses(host: &Host, name: String) -> Vec<NodeAddress> {
    let address = |type_: &str, address: String| NodeAddress {
        address,
        type_: type_.into(),
    };
    let hostname = host.hostname.clone();
    let reached = hostname.map(|hostname| address("InternalIP", hostname));
    reached
        .into_iter()
        .chain([address("Hostname", name)])
        .collect()
}

/// Ready as the Host is.
fn ready(host: &Host) -> NodeCondition {
    let known = host.status.iter().flat_map(|status| &status.conditions);
    let ready = known.clone().find(|c| c.type_ == conditions::READY);
    NodeCondition {
        type_: conditions::READY.into(),
        status: ready.map_or("Unknown", |c| c.status.as_str()).into(),
        reason: ready.and_then(|c| c.reason.clone()),
        message: ready.and_then(|c| c.message.clone()),
        last_transition_time: ready.and_then(|c| c.last_transition_time.clone()),
        ..NodeCondition::default()
    }
}

fn room(status: &HostStatus) -> BTreeMap<String, Quantity> {
    // A Host does not report its processors; on one machine they are those of this process.
    let processors = std::thread::available_parallelism().map_or(1, |n| n.get());
    let memory = status.system_memory_total >> 10;
    [
        ("cpu".to_owned(), Quantity(processors.to_string())),
        ("memory".to_owned(), Quantity(format!("{memory}Ki"))),
        ("pods".to_owned(), Quantity(PODS.into())),
    ]
    .into()
}

/// The operating system and the architecture, as nodes call them.
fn platform_of(status: &HostStatus) -> (String, String) {
    let os = platform::os(&status.os_name);
    let arch = platform::arch(&status.os_arch);
    (os.into(), arch.into())
}

fn info(status: &HostStatus) -> NodeSystemInfo {
    let (os, arch) = platform_of(status);
    NodeSystemInfo {
        architecture: arch,
        container_runtime_version: "waft://wasmtime".into(),
        kernel_version: status.os_kernel.clone(),
        kubelet_version: format!("waft-{}", status.version),
        operating_system: os,
        os_image: status.os_name.clone(),
        ..NodeSystemInfo::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_node_is_ready_as_its_host_is() {
        let host: Host = serde_json::from_value(json!({
            "metadata": {"name": "here", "labels": {"hostgroup": "default"}},
            "hostId": "id",
            "hostname": "127.0.0.1",
            "status": {
                "version": "1.2.3", "osName": "linux", "osArch": "x86_64", "osKernel": "6",
                "systemCPUUsage": "1", "systemMemoryTotal": 4096, "systemMemoryFree": 1,
                "conditions": [{"type": "Ready", "status": "True", "reason": "Available"}],
            },
        }))
        .unwrap();
        let node = serde_json::to_value(of(&host)).unwrap();
        assert_eq!(node["metadata"]["labels"]["hostgroup"], "default");
        assert_eq!(node["status"]["conditions"][0]["status"], "True");
        assert_eq!(node["status"]["capacity"]["memory"], "4Ki");
        assert_eq!(node["status"]["nodeInfo"]["kubeletVersion"], "waft-1.2.3");
        assert_eq!(node["status"]["nodeInfo"]["architecture"], "amd64");
        assert_eq!(node["metadata"]["labels"]["kubernetes.io/arch"], "amd64");

        let silent: Host = serde_json::from_value(json!({"metadata": {"name": "s"}})).unwrap();
        let node = serde_json::to_value(of(&silent)).unwrap();
        assert_eq!(node["status"]["conditions"][0]["status"], "Unknown");
    }
}
