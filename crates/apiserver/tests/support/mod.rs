//! What the suites share.
#![allow(dead_code, reason = "each suite uses a part of it")]

pub(crate) mod cluster;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body_util::BodyExt;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, Client};
use serde_json::{Value, json};
use waft_apiserver::{ApiServer, Body, Config};

pub(crate) async fn server() -> (Arc<ApiServer>, Client) {
    let server = ApiServer::open(Config::default())
        .await
        .expect("a server in memory");
    let client = Client::new(server.service(), "default");
    (server, client)
}

/// The same, in which [`widgets`] are defined.
pub(crate) async fn server_of_widgets() -> (Arc<ApiServer>, Client) {
    let (server, client) = server().await;
    define_widgets(&server).await;
    (server, client)
}

pub(crate) async fn define_widgets(server: &ApiServer) {
    let defined = server.install_crds(vec![widgets()]).await;
    defined.expect("installed");
}

/// Code and body of an answer.
pub(crate) async fn whole(response: Response<Body>) -> (u16, Bytes) {
    let code = response.status().as_u16();
    let body = response.into_body().collect().await.expect("a body");
    (code, body.to_bytes())
}

/// The same, the body as JSON; null if it is none.
pub(crate) async fn read(response: Response<Body>) -> (u16, Value) {
    let (code, body) = whole(response).await;
    (code, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

/// A definition with status, scale, columns and a rule.
pub(crate) fn widgets() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.test.waft.dev"},
        "spec": {
            "group": "test.waft.dev",
            "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "shortNames": ["wd"], "categories": ["all"]},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "subresources": {
                    "status": {},
                    "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas", "labelSelectorPath": ".status.selector"},
                },
                "additionalPrinterColumns": [
                    {"name": "Color", "type": "string", "jsonPath": ".spec.color"},
                    {"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status"},
                ],
                "selectableFields": [{"jsonPath": ".spec.color"}],
                "schema": {"openAPIV3Schema": {
                    "type": "object",
                    "description": "A thing to test with.",
                    "properties": {
                        "spec": {
                            "type": "object",
                            "properties": {
                                "color": {"type": "string", "default": "red", "description": "What it looks like."},
                                "size": {"type": "integer", "minimum": 1},
                                "replicas": {"type": "integer"},
                                "parts": {
                                    "type": "array",
                                    "x-kubernetes-list-type": "map",
                                    "x-kubernetes-list-map-keys": ["name"],
                                    "items": {
                                        "type": "object",
                                        "required": ["name"],
                                        "properties": {"name": {"type": "string"}, "weight": {"type": "integer"}},
                                    },
                                },
                            },
                            "x-kubernetes-validations": [
                                {"rule": "!has(self.size) || self.size < 100", "message": "size must stay below 100"},
                            ],
                        },
                        "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                    },
                }},
            }],
        },
    })
}

pub(crate) fn widget_api(client: &Client) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("test.waft.dev", "v1", "Widget");
    Api::namespaced_with(
        client.clone(),
        "default",
        &ApiResource::from_gvk_with_plural(&kind, "widgets"),
    )
}

pub(crate) fn widget(name: &str, spec: Value) -> DynamicObject {
    serde_json::from_value(json!({
        "apiVersion": "test.waft.dev/v1", "kind": "Widget", "metadata": {"name": name}, "spec": spec,
    }))
    .expect("an object")
}

/// Waits until a condition holds, however quickly that is.
pub(crate) async fn eventually<F, R>(what: &str, condition: F)
where
    F: FnMut() -> R,
    R: Future<Output = bool>,
{
    within(Duration::from_secs(60), what, condition).await;
}

/// The same with a limit of its own.
pub(crate) async fn within<F, R>(limit: Duration, what: &str, mut condition: F)
where
    F: FnMut() -> R,
    R: Future<Output = bool>,
{
    let deadline = tokio::time::Instant::now() + limit;
    while !condition().await {
        assert!(
            tokio::time::Instant::now() < deadline,
            "waited in vain: {what}"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The code and message of a refusal.
pub(crate) fn refusal<T: std::fmt::Debug>(result: Result<T, kube::Error>) -> (u16, String) {
    match result.expect_err("a refusal") {
        kube::Error::Api(status) => (status.code, status.message),
        other => panic!("not a refusal: {other}"),
    }
}
