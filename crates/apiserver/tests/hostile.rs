//! Requests that make no sense are refused, each with a Status, and nothing falls over. `waft_fuzz`
//! says for how long they come.

mod support;

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use base64::Engine;
use bytes::Bytes;
use futures::FutureExt;
use http::Request;
use http_body_util::{BodyExt, Full};
use serde_json::{Map, Value, json};
use support::{whole, widgets};
use tower::ServiceExt;
use waft_apiserver::{ApiServer, Config};
use waft_fuzz::{Random, rounds};

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
    let mut random = Random::new();
    let mut codes = std::collections::BTreeMap::new();
    for round in rounds(3000) {
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
        let (code, answer) = whole(response).await;
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
        let (code, body) = whole(response).await;
        assert_eq!(code, 200, "{path}");
        assert!(serde_json::from_slice::<Value>(&body).is_ok(), "{path}");
    }
}

/// A file of the requests that were recorded from a real server: `corpus.rs` replays them.
fn corpus(name: &str) -> Value {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus");
    let text = std::fs::read_to_string(format!("{folder}/{name}.json")).expect("the corpus");
    // What the replay fills in from earlier answers, such as `{start.resourceVersion}`.
    let saved = regex::Regex::new(r"\{\w+\.\w+\}").expect("a pattern");
    serde_json::from_str(&saved.replace_all(&text, "1")).expect("JSON")
}

/// What stands in a request's body.
fn bytes_of(body: &Value) -> Vec<u8> {
    let engine = base64::engine::general_purpose::STANDARD;
    match body {
        Value::Null => Vec::new(),
        Value::String(text) => match text.strip_prefix("base64:") {
            Some(encoded) => engine.decode(encoded).expect("base64"),
            None => text.clone().into_bytes(),
        },
        other => other.to_string().into_bytes(),
    }
}

/// A request that was recorded, with damage to its path, its query, its headers or its body.
fn damaged(random: &mut Random, steps: &[Value]) -> Request<Full<Bytes>> {
    const QUERIES: [&str; 16] = [
        "limit=1",
        "limit=-1",
        "continue=eyJydiI6MSwic3RhcnQiOlsiIiwiIl19",
        "resourceVersion=1",
        "resourceVersion=99999999999999999999",
        "resourceVersionMatch=Exact",
        "labelSelector=a%20notin%20(b,%20c),!d",
        "labelSelector=((",
        "fieldSelector=metadata.name!=a,spec.x=%00",
        "dryRun=All",
        "fieldManager=%ff",
        "fieldValidation=Strict",
        "force=true",
        "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=1",
        "timeoutSeconds=0",
        "propagationPolicy=Foreground",
    ];
    let step = random.pick(steps).clone();
    let text = |step: &Value, key: &str| step[key].as_str().unwrap_or_default().to_owned();
    let mut path = text(&step, "p")
        .replace("{ns}", "default")
        .replace("{id}", "0");
    if random.once_in(3) {
        let mut bytes = path.into_bytes();
        random.damage(&mut bytes);
        path = String::from_utf8_lossy(&bytes).into_owned();
    }
    if random.once_in(2) {
        path.push(if path.contains('?') { '&' } else { '?' });
        path.push_str(random.of(&QUERIES));
    }
    // What may not stand in an address is written as its number.
    let path: String = path
        .bytes()
        .map(|byte| match byte {
            b'!' | b'$'..=b';' | b'=' | b'?'..=b'Z' | b'_' | b'a'..=b'z' | b'~' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02x}"),
        })
        .collect();
    let path = format!("/{}", path.trim_start_matches('/'));
    let other = random.pick(steps).clone();
    let mut body = step["b"].clone();
    if random.once_in(2) && body.is_object() {
        for _ in 0..=random.below(3) {
            random.graft(&mut body, &other["b"]);
        }
    }
    let mut body = bytes_of(&body);
    if random.once_in(4) {
        random.damage(&mut body);
    }
    let mut either = |key: &str| match random.once_in(6) {
        true => text(&other, key),
        false => text(&step, key),
    };
    let (method, content, accept) = (either("m"), either("ct"), either("accept"));
    let mut request = Request::builder().method(&*method).uri(path);
    for (name, value) in [("content-type", content), ("accept", accept)] {
        if !value.is_empty() {
            request = request.header(name, value);
        }
    }
    request.body(Full::new(body.into())).expect("a request")
}

/// Waits never last here: when nobody can go on, the clock does.
#[tokio::test(start_paused = true)]
async fn damaged_requests_are_answered() {
    static PANICS: AtomicUsize = AtomicUsize::new(0);
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        PANICS.fetch_add(1, SeqCst);
        before(info);
    }));
    let scenarios = corpus("recorded");
    let scenarios = scenarios.as_array().expect("scenarios").iter();
    let steps: Vec<Value> = scenarios
        .flat_map(|scenario| scenario["steps"].as_array())
        .flatten()
        .cloned()
        .collect();
    let mut random = Random::new();
    let mut server = None;
    let mut codes = std::collections::BTreeMap::new();
    for round in rounds(4000) {
        if round % 1000 == 0 {
            let fresh = ApiServer::open(Config::default()).await.expect("a server");
            fresh
                .install_crds(vec![widgets(), corpus("definition")])
                .await
                .expect("installed");
            server = Some(fresh);
        }
        let server = server.as_ref().expect("made in the first round");
        let request = damaged(&mut random, &steps);
        let said = format!("{request:?}");
        let asked = std::time::Instant::now();
        let response = server.service().oneshot(request).await.expect("an answer");
        let code = response.status().as_u16();
        let mut body = response.into_body();
        // A watch or a log goes on; what it begins with is enough.
        let mut answer = Vec::new();
        while let Some(frame) = body.frame().now_or_never().flatten() {
            answer.extend_from_slice(frame.expect("a body").data_ref().expect("no trailers"));
        }
        let took = asked.elapsed();
        assert!(took.as_secs() < 20, "{took:?} for {said}");
        let answer = String::from_utf8_lossy(&answer);
        *codes.entry(code).or_insert(0) += 1;
        match serde_json::from_str::<Value>(&answer) {
            _ if code < 400 => {}
            Ok(status) => assert_eq!(
                (&status["kind"], &status["code"]),
                (&json!("Status"), &json!(code)),
                "{said}: {answer}"
            ),
            // Where nothing is served, there is no Status either.
            Err(_) => assert!(matches!(code, 404 | 406), "{said}: {code} {answer}"),
        }
        assert_ne!(code, 503, "{said}: {answer}");
        assert_eq!(PANICS.load(SeqCst), 0, "{said}");
    }
    for code in [200, 201, 400, 404, 409, 422] {
        assert!(
            codes.get(&code).is_some_and(|count| *count > 5),
            "{codes:?}"
        );
    }
    println!("{codes:?}");
}
