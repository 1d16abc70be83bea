//! Bodies that make no sense are refused, each with a Status, and nothing falls over.

mod support;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use serde_json::{Map, Value, json};
use support::widgets;
use tower::ServiceExt;
use waft_apiserver::{ApiServer, Config};

/// A small generator, so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

const KEYS: [&str; 34] = [
    "metadata",
    "spec",
    "status",
    "data",
    "stringData",
    "binaryData",
    "name",
    "namespace",
    "generateName",
    "uid",
    "labels",
    "annotations",
    "finalizers",
    "ownerReferences",
    "resourceVersion",
    "managedFields",
    "deletionTimestamp",
    "kind",
    "apiVersion",
    "ports",
    "containers",
    "template",
    "selector",
    "replicas",
    "parts",
    "size",
    "conditions",
    "names",
    "versions",
    "schema",
    "openAPIV3Schema",
    "type",
    "properties",
    "group",
];

const TEXTS: [&str; 12] = [
    "",
    "a",
    "v1",
    "ConfigMap",
    "Widget",
    "test.waft.dev/v1",
    "object",
    "1",
    "0",
    "\u{0}",
    "a/b/c",
    "é",
];

fn value(random: &mut Random, depth: usize) -> Value {
    match random.below(if depth == 0 { 6 } else { 10 }) {
        0 => Value::Null,
        1 => json!(random.below(2) == 0),
        2 => json!(random.below(1000) as i64 - 500),
        3 => json!(1.5e300),
        4 | 5 => json!(*random.pick(&TEXTS)),
        6 => (0..random.below(4))
            .map(|_| value(random, depth - 1))
            .collect(),
        _ => {
            let entries = (0..random.below(6))
                .map(|_| ((*random.pick(&KEYS)).to_owned(), value(random, depth - 1)));
            Value::Object(entries.collect::<Map<_, _>>())
        }
    }
}

/// A sensible object with some parts of it replaced by nonsense.
fn mutated(random: &mut Random, object: &Value) -> Value {
    if random.below(12) == 0 {
        return value(random, 3);
    }
    match object {
        Value::Object(fields) => {
            let mut out: Map<String, Value> = fields
                .iter()
                .map(|(key, value)| (key.clone(), mutated(random, value)))
                .collect();
            if random.below(6) == 0 {
                out.insert((*random.pick(&KEYS)).to_owned(), value(random, 2));
            }
            Value::Object(out)
        }
        Value::Array(items) => items.iter().map(|item| mutated(random, item)).collect(),
        other => other.clone(),
    }
}

#[tokio::test]
async fn nonsense_is_refused_and_never_a_panic() {
    let server = ApiServer::open(Config::default()).await.expect("a server");
    server
        .install_crds(vec![widgets()])
        .await
        .expect("installed");
    let mut other = widgets();
    other["metadata"]["name"] = "gadgets.test.waft.dev".into();
    other["spec"]["names"] = json!({"plural": "gadgets", "kind": "Gadget"});
    let containers = json!([{"name": "c", "image": "i", "ports": [{"containerPort": 1}]}]);
    let subjects = [
        (
            "/api/v1/namespaces/default/configmaps",
            "a",
            json!({"metadata": {"name": "a", "labels": {"a": "b"}}, "data": {"a": "b"}}),
        ),
        (
            "/api/v1/namespaces/default/secrets",
            "a",
            json!({"metadata": {"name": "a"}, "stringData": {"a": "b"}, "data": {"x": "YQ=="}}),
        ),
        (
            "/api/v1/namespaces/default/services",
            "a",
            json!({"metadata": {"name": "a"}, "spec": {"ports": [{"port": 80}], "selector": {"a": "b"}}}),
        ),
        (
            "/api/v1/namespaces/default/pods",
            "a",
            json!({"metadata": {"name": "a", "finalizers": ["a.io/b"]}, "spec": {"containers": containers}}),
        ),
        (
            "/api/v1/namespaces",
            "space",
            json!({"metadata": {"name": "space"}, "spec": {"finalizers": ["kubernetes"]}}),
        ),
        (
            "/apis/events.k8s.io/v1/namespaces/default/events",
            "a",
            json!({"metadata": {"name": "a"}, "note": "n", "regarding": {"name": "x"}, "eventTime": "2026-01-01T00:00:00.000000Z"}),
        ),
        (
            "/apis/apps/v1/namespaces/default/deployments",
            "a",
            json!({"metadata": {"name": "a"}, "spec": {"replicas": 1,
            "selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": containers}}}}),
        ),
        (
            "/apis/test.waft.dev/v1/namespaces/default/widgets",
            "a",
            json!({"apiVersion": "test.waft.dev/v1", "kind": "Widget",
            "metadata": {"name": "a", "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "u"}]}, "spec": {"size": 1, "parts": [{"name": "p"}]}}),
        ),
        (
            "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
            "gadgets.test.waft.dev",
            other,
        ),
    ];
    let patches = [
        "application/merge-patch+json",
        "application/strategic-merge-patch+json",
        "application/json-patch+json",
        "application/apply-patch+yaml",
    ];
    let mut random = Random(42);
    let mut codes = std::collections::BTreeMap::new();
    for round in 0..3000 {
        let (path, name, object) = random.pick(&subjects).clone();
        let part = *random.pick(&["", "", "", "/status", "/scale", "/finalize"]);
        let (method, path, kind) = match random.below(8) {
            0..3 => ("POST", path.to_owned(), "application/json"),
            3 => ("PUT", format!("{path}/{name}{part}"), "application/json"),
            4..7 => (
                "PATCH",
                format!("{path}/{name}{part}?fieldManager=m&force=true"),
                *random.pick(&patches),
            ),
            _ => ("DELETE", format!("{path}/{name}"), "application/json"),
        };
        let mut body = if method == "DELETE" {
            value(&mut random, 2)
        } else {
            mutated(&mut random, &object)
        };
        if kind.contains("json-patch") {
            let operation =
                *random.pick(&["add", "remove", "replace", "move", "copy", "test", "nope"]);
            let at = *random.pick(&[
                "",
                "/",
                "/metadata",
                "/metadata/labels/a",
                "/spec/-",
                "/data/a",
                "/metadata/name",
            ]);
            body = json!([{"op": operation, "path": at, "from": "/metadata", "value": body}]);
        }
        let path = if path.contains('?') || kind != "application/apply-patch+yaml" {
            path
        } else {
            path + "?fieldManager=m"
        };
        let path = path.replace(
            "&force=true",
            if kind.contains("apply") {
                "&force=true"
            } else {
                ""
            },
        );
        let request = Request::builder()
            .method(method)
            .uri(&path)
            .header("content-type", kind);
        let request = request
            .body(Full::new(Bytes::from(body.to_string())))
            .expect("a request");
        let response = server.service().oneshot(request).await.expect("an answer");
        let code = response.status().as_u16();
        let answer = response
            .into_body()
            .collect()
            .await
            .expect("a body")
            .to_bytes();
        let answer: Value = serde_json::from_slice(&answer).expect("JSON");
        let said = || format!("round {round}: {method} {path} {kind}\n{body}\n{answer}");
        *codes.entry(code).or_insert(0) += 1;
        match code {
            200..300 => assert!(answer["kind"].is_string(), "{}", said()),
            _ => assert_eq!(
                (&answer["kind"], &answer["code"]),
                (&json!("Status"), &json!(code)),
                "{}",
                said()
            ),
        }
        assert_ne!(code, 503, "{}", said());
    }
    // All of it was exercised, not only the first check.
    for code in [200, 201, 400, 404, 409, 422] {
        assert!(
            codes.get(&code).is_some_and(|count| *count > 20),
            "{codes:?}"
        );
    }
    // Whatever was stored is still an object.
    for path in [
        "/api/v1/configmaps",
        "/api/v1/pods",
        "/apis/apps/v1/deployments",
        "/api/v1/namespaces",
    ] {
        let request =
            Request::get(path).header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io");
        let request = request.body(Full::new(Bytes::new())).expect("a request");
        let response = server.service().oneshot(request).await.expect("an answer");
        assert_eq!(response.status(), 200, "{path}");
        let body = response
            .into_body()
            .collect()
            .await
            .expect("a body")
            .to_bytes();
        assert!(serde_json::from_slice::<Value>(&body).is_ok(), "{path}");
    }
}
