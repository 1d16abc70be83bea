//! What Waft accepts in a workload but does not serve yet.
//!
//! Pure. An object that uses one of these says so by name, and nothing of it is started. What nobody
//! knows is not listed: whether some host offers it is the scheduler's question.

use waft_api::WorkloadSpec;
use waft_ir::catalog::NOT_YET;

/// The paths, below the workload's spec, of what is set but not served.
pub(crate) fn unserved(spec: &WorkloadSpec) -> Vec<String> {
    let packages = spec.host_interfaces.iter();
    let packages = packages.map(|entry| (entry.namespace.as_str(), entry.package.as_str()));
    packages
        .filter(|package| NOT_YET.contains(package))
        .map(|(namespace, package)| format!("hostInterfaces[{namespace}:{package}]"))
        .collect()
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
    fn what_is_known_and_not_served_is_named() {
        let spec = spec(
            "
            hostInterfaces:
            - {namespace: wasi, package: blobstore, interfaces: [container]}
            - {namespace: cosmonic, package: kafka, interfaces: [handler]}
            - {namespace: my, package: own, interfaces: [thing]}
            ",
        );
        assert_eq!(unserved(&spec), ["hostInterfaces[cosmonic:kafka]"]);
    }
}
