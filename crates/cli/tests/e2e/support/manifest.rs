//! Manifests as text.

/// A WorkloadDeployment of one component that serves `NAME.localhost`.
pub(crate) fn deployment(name: &str, image: &str) -> String {
    deployment_with(name, image, "")
}

/// A Workload of its own, of one component that serves `NAME.localhost`.
pub(crate) fn workload(name: &str, image: &str) -> String {
    format!(
        "\
apiVersion: runtime.wasmcloud.dev/v1alpha1
kind: Workload
metadata: {{name: {name}}}
spec:
  hostInterfaces:
    - {{namespace: wasi, package: http, interfaces: [incoming-handler], config: {{host: {name}.localhost}}}}
  components:
    - {{name: {name}, image: \"{image}\"}}
"
    )
}

/// A deployment, with more fields of the component, as flow-style YAML entries on one line.
pub(crate) fn deployment_with(name: &str, image: &str, component: &str) -> String {
    let more = if component.is_empty() {
        String::new()
    } else {
        format!(", {component}")
    };
    format!(
        "\
apiVersion: runtime.wasmcloud.dev/v1alpha1
kind: WorkloadDeployment
metadata: {{name: {name}}}
spec:
  replicas: 1
  template:
    spec:
      hostInterfaces:
        - {{namespace: wasi, package: http, interfaces: [incoming-handler], config: {{host: {name}.localhost}}}}
      components:
        - {{name: {name}, image: \"{image}\"{more}}}
"
    )
}
