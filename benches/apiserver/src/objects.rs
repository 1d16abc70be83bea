//! What is stored: ConfigMaps of a kibibyte, and Deployments to apply.

use bytes::Bytes;
use serde_json::json;

/// The collection of a kind in a namespace.
pub(crate) fn config_maps(namespace: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/configmaps")
}

/// A ConfigMap with a kibibyte of data.
pub(crate) fn config_map(name: &str) -> Bytes {
    let object = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "labels": {"app": "bench"}},
        "data": {"config.yaml": "x".repeat(1024)},
    });
    object.to_string().into()
}

pub(crate) fn namespace(name: &str) -> Bytes {
    let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    object.to_string().into()
}

/// What a controller applies again and again; one value of it changes.
pub(crate) fn deployment(name: &str, value: &str) -> Bytes {
    let container = |name: &str| {
        json!({
            "name": name,
            "image": "registry.example/app:1",
            "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
            "env": [{"name": "MODE", "value": "fast"}, {"name": "RELEASE", "value": value}],
            "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}},
            "volumeMounts": [{"name": "config", "mountPath": "/etc/app"}],
        })
    };
    let object = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "replicas": 3,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {
                    "containers": [container("app"), container("sidecar")],
                    "volumes": [{"name": "config", "configMap": {"name": "app"}}],
                },
            },
        },
    });
    object.to_string().into()
}
