//! What Waft accepts in a workload but does not serve yet.
//!
//! Pure, and the only place that knows: as the pieces get served, lines leave this file. An object
//! that uses one of these says so by name, and nothing of it is started.

use waft_api::{Component, HostInterface, LocalResources, WorkloadSpec};

/// Host interface packages that can be granted.
const SERVED_PACKAGES: [(&str, &str); 9] = [
    ("wasi", "http"),
    ("wasi", "logging"),
    ("wasi", "config"),
    ("wasi", "io"),
    ("wasi", "clocks"),
    ("wasi", "random"),
    ("wasi", "cli"),
    ("wasi", "filesystem"),
    ("wasi", "sockets"),
];

/// The paths, below the workload's spec, of fields that are set but not served.
pub(crate) fn unserved(spec: &WorkloadSpec) -> Vec<String> {
    let mut found = Vec::new();
    for component in &spec.components {
        of_component(component, &mut found);
    }
    for interface in &spec.host_interfaces {
        of_interface(interface, &mut found);
    }
    if let Some(service) = &spec.service {
        let resources = service.local_resources.as_ref();
        of_both(resources, "service", &mut found);
    }
    if !spec.volumes.is_empty() {
        found.push("volumes".into());
    }
    found
}

fn of_component(component: &Component, found: &mut Vec<String>) {
    let path = format!("components[{}]", component.name);
    let resources = component.local_resources.as_ref();
    of_both(resources, &path, found);
}

/// What components and services have in common.
fn of_both(resources: Option<&LocalResources>, path: &str, found: &mut Vec<String>) {
    if let Some(resources) = resources {
        let fields = of_resources(resources).into_iter();
        found.extend(fields.map(|field| format!("{path}.localResources.{field}")));
    }
}

fn of_resources(resources: &LocalResources) -> Vec<&'static str> {
    set(&[(!resources.volume_mounts.is_empty(), "volumeMounts")])
}

fn set(fields: &[(bool, &'static str)]) -> Vec<&'static str> {
    fields
        .iter()
        .filter(|(is_set, _)| *is_set)
        .map(|(_, field)| *field)
        .collect()
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
                allowedHosts: ['*']
                allowedIpNameLookups: ['*']
                allowedHostLoopbackPorts: ['80']
              limits:
                {requestTimeout: 3s, cpuTime: 1s, queue: 3, bodyBytes: 7, outboundConnections: 3}
            hostInterfaces:
            - {namespace: wasi, package: http, interfaces: [incoming-handler, outgoing-handler]}
            - {namespace: wasi, package: config, interfaces: [store]}
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
    fn everything_else_is_named_by_its_path() {
        let spec = spec(
            "
            components:
            - name: a
              image: i
              localResources:
                volumeMounts: [{name: v, mountPath: /v}]
            hostInterfaces:
            - {namespace: wasi, package: keyvalue, interfaces: [store]}
            service: {image: s, localResources: {volumeMounts: [{name: v, mountPath: /v}]}}
            volumes: [{name: v, ephemeral: {}}]
            ",
        );
        let wanted = [
            "components[a].localResources.volumeMounts",
            "hostInterfaces[wasi:keyvalue]",
            "service.localResources.volumeMounts",
            "volumes",
        ];
        assert_eq!(unserved(&spec), wanted);
    }
}
