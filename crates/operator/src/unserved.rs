//! What Waft accepts in a workload but does not serve yet.
//!
//! Pure, and the only place that knows: as the pieces get served, lines leave this file. An object
//! that uses one of these says so by name, and nothing of it is started.

use waft_api::{HostInterface, WorkloadSpec};

/// Host interface packages that can be granted.
const SERVED_PACKAGES: [(&str, &str); 11] = [
    ("wasi", "http"),
    ("wasi", "logging"),
    ("wasi", "config"),
    ("wasi", "keyvalue"),
    ("wasmcloud", "messaging"),
    ("wasi", "io"),
    ("wasi", "clocks"),
    ("wasi", "random"),
    ("wasi", "cli"),
    ("wasi", "filesystem"),
    ("wasi", "sockets"),
];

/// The paths, below the workload's spec, of what is set but not served.
pub(crate) fn unserved(spec: &WorkloadSpec) -> Vec<String> {
    let mut found = Vec::new();
    for interface in &spec.host_interfaces {
        of_interface(interface, &mut found);
    }
    found
}

fn of_interface(interface: &HostInterface, found: &mut Vec<String>) {
    let package = (interface.namespace.as_str(), interface.package.as_str());
    if !SERVED_PACKAGES.contains(&package) {
        found.push(format!("hostInterfaces[{}:{}]", package.0, package.1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(yaml: &str) -> WorkloadSpec {
        serde_saphyr::from_str(yaml).unwrap()
    }

    #[test]
    fn what_is_served_is_not_named() {
        let spec = spec(
            "
            hostSelector: {hostgroup: default}
            environment: x
            kubernetes: {service: {name: s}}
            components:
            - name: a
              image: i
              poolSize: 3
              maxInvocations: 2
              maxConcurrency: 1
              reclaimWindowSeconds: 60
              reclaimMinInstances: 1
              imagePullPolicy: Always
              localResources:
                memoryLimitMb: 64
                cpuLimit: 250
                config: {a: b}
                environment: {config: {A: b}}
                volumeMounts: [{name: v, mountPath: /v}]
                allowedHosts: ['*']
                allowedIpNameLookups: ['*']
                allowedHostLoopbackPorts: ['80']
              limits:
                {requestTimeout: 3s, cpuTime: 1s, queue: 3, bodyBytes: 7, outboundConnections: 3}
            hostInterfaces:
            - {namespace: wasi, package: http, interfaces: [incoming-handler, outgoing-handler]}
            - {namespace: wasi, package: config, interfaces: [store]}
            volumes: [{name: v, ephemeral: {}}]
            service:
              image: s
              maxRestarts: 3
              localResources: {environment: {config: {A: b}}}
              limits: {tableElements: 3}
            ",
        );
        assert_eq!(unserved(&spec), Vec::<String>::new());
    }

    #[test]
    fn everything_else_is_named() {
        let spec = spec(
            "
            hostInterfaces:
            - {namespace: wasi, package: blobstore, interfaces: [container]}
            - {namespace: wasi, package: http, interfaces: [handler]}
            - {namespace: cosmonic, package: kafka, interfaces: [handler]}
            ",
        );
        let wanted = [
            "hostInterfaces[wasi:blobstore]",
            "hostInterfaces[cosmonic:kafka]",
        ];
        assert_eq!(unserved(&spec), wanted);
    }
}
