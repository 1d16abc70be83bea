//! Single HTTP requests and their answers, where a typed client would hide the details.

mod support;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use serde_json::{Value, json};
use support::{read, server_of_widgets, whole, widgets};
use tower::ServiceExt;
use waft_apiserver::{Admit, ApiServer, Body, Config, Operation, ResourceId, Status};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const WIDGETS: &str = "/apis/test.waft.dev/v1/namespaces/default/widgets";
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";

async fn start() -> Arc<ApiServer> {
    server_of_widgets().await.0
}

async fn send(server: &Arc<ApiServer>, request: Request<Full<Bytes>>) -> Response<Body> {
    server.service().oneshot(request).await.expect("an answer")
}

fn request(
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Request<Full<Bytes>> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::new(body.into())).expect("a request")
}

async fn ask(server: &Arc<ApiServer>, method: &str, path: &str, body: Value) -> (u16, Value) {
    let body = if body.is_null() {
        Vec::new()
    } else {
        body.to_string().into_bytes()
    };
    let kind = match method {
        "PATCH" => "application/merge-patch+json",
        _ => "application/json",
    };
    read(
        send(
            server,
            request(method, path, &[("content-type", kind)], body),
        )
        .await,
    )
    .await
}

fn map(name: &str) -> Value {
    json!({"metadata": {"name": name}, "data": {"a": "1"}})
}

#[tokio::test]
async fn unknown_fields_are_ignored_warned_of_or_refused() {
    let server = start().await;
    let body = json!({"apiVersion": "test.waft.dev/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {"sise": 1, "size": 2}});
    let post = |validation: &str| {
        let path = format!("{WIDGETS}?dryRun=All&fieldValidation={validation}");
        send(&server, request("POST", &path, &[], body.to_string()))
    };
    let warned = post("Warn").await;
    assert_eq!(
        warned.headers()["warning"],
        "299 - \"unknown field \\\"spec.sise\\\"\""
    );
    let (code, object) = read(warned).await;
    assert_eq!(
        (code, &object["spec"]),
        (201, &json!({"size": 2, "color": "red"}))
    );
    let ignored = post("Ignore").await;
    assert!(ignored.status().is_success() && ignored.headers().get("warning").is_none());
    let (code, status) = read(post("Strict").await).await;
    assert_eq!((code, &status["reason"]), (400, &json!("BadRequest")));
    assert!(
        status["message"]
            .as_str()
            .is_some_and(|message| message.contains("unknown field \"spec.sise\""))
    );
    assert_eq!(
        ask(&server, "GET", &format!("{WIDGETS}/w"), Value::Null)
            .await
            .0,
        404,
        "all of it was a dry run"
    );
}

#[tokio::test]
async fn bodies_have_forms_and_a_size() {
    let server = start().await;
    let yaml = |text: &'static str| {
        send(
            &server,
            request("POST", MAPS, &[("content-type", "application/yaml")], text),
        )
    };
    let made = yaml("metadata:\n  name: why\ndata:\n  a: text\n").await;
    assert_eq!(read(made).await.1["data"]["a"], "text");
    assert_eq!(yaml("metadata: {name: true}").await.status(), 400);
    let other = send(
        &server,
        request("POST", MAPS, &[("content-type", "text/plain")], "x"),
    )
    .await;
    assert_eq!(other.status(), 415);
    for broken in ["{", "[]", "\"x\""] {
        assert_eq!(
            send(&server, request("POST", MAPS, &[], broken))
                .await
                .status(),
            400,
            "{broken}"
        );
    }
    let large = send(
        &server,
        request("POST", MAPS, &[], vec![b' '; (3 << 20) + 1]),
    )
    .await;
    let (code, status) = read(large).await;
    assert_eq!(
        (code, &status["reason"]),
        (413, &json!("RequestEntityTooLarge"))
    );
    let almost = json!({"metadata": {"name": "big"}, "data": {"a": "x".repeat(900_000)}});
    assert_eq!(ask(&server, "POST", MAPS, almost).await.0, 201);
}

#[tokio::test]
async fn namespaces_of_the_system_may_not_be_deleted() {
    let server = start().await;
    for name in ["default", "kube-system", "kube-public"] {
        let path = format!("/api/v1/namespaces/{name}");
        let (code, status) = ask(&server, "DELETE", &path, Value::Null).await;
        assert_eq!((code, &status["reason"]), (403, &json!("Forbidden")));
        let message =
            format!("namespaces {name:?} is forbidden: this namespace may not be deleted");
        assert_eq!(status["message"], message);
        let (_, namespace) = ask(&server, "GET", &path, Value::Null).await;
        assert_eq!(namespace["status"]["phase"], "Active");
    }
}

#[tokio::test]
async fn deletions_have_conditions_and_can_be_many() {
    let server = start().await;
    let (_, made) = ask(&server, "POST", MAPS, map("a")).await;
    ask(
        &server,
        "POST",
        MAPS,
        json!({"metadata": {"name": "b", "labels": {"go": "yes"}}}),
    )
    .await;
    let path = format!("{MAPS}/a");
    let (code, status) = ask(
        &server,
        "DELETE",
        &path,
        json!({"preconditions": {"uid": "other"}}),
    )
    .await;
    assert_eq!((code, &status["reason"]), (409, &json!("Conflict")));
    assert_eq!(
        ask(
            &server,
            "DELETE",
            &path,
            json!({"preconditions": {"resourceVersion": "1"}})
        )
        .await
        .0,
        409
    );
    assert_eq!(
        ask(
            &server,
            "DELETE",
            &format!("{path}?dryRun=All"),
            Value::Null
        )
        .await
        .0,
        200
    );
    let (code, list) = ask(
        &server,
        "DELETE",
        &format!("{MAPS}?labelSelector=go%3Dyes"),
        Value::Null,
    )
    .await;
    assert_eq!(
        (code, &list["items"][0]["metadata"]["name"]),
        (200, &json!("b"))
    );
    let (code, status) = ask(
        &server,
        "DELETE",
        &path,
        json!({"preconditions": {"uid": made["metadata"]["uid"]}}),
    )
    .await;
    assert_eq!(
        (code, &status["status"], &status["details"]["uid"]),
        (200, &json!("Success"), &made["metadata"]["uid"])
    );
    assert_eq!(ask(&server, "DELETE", &path, Value::Null).await.0, 404);
}

#[tokio::test]
async fn versions_of_the_future_are_waited_for_a_little() {
    let server = start().await;
    tokio::time::pause();
    let (code, status) = ask(
        &server,
        "GET",
        &format!("{MAPS}?resourceVersion=100000"),
        Value::Null,
    )
    .await;
    tokio::time::resume();
    assert_eq!((code, &status["reason"]), (504, &json!("Timeout")));
    assert_eq!(
        status["details"]["causes"][0]["reason"],
        "ResourceVersionTooLarge"
    );
    let next = server_revision(&server).await + 1;
    let path = format!("{MAPS}?resourceVersion={next}");
    let (answer, _) = tokio::join!(
        ask(&server, "GET", &path, Value::Null),
        ask(&server, "POST", MAPS, map("a"))
    );
    assert_eq!(
        (answer.0, &answer.1["items"][0]["metadata"]["name"]),
        (200, &json!("a"))
    );
}

async fn server_revision(server: &Arc<ApiServer>) -> u64 {
    let (_, list) = ask(server, "GET", MAPS, Value::Null).await;
    list["metadata"]["resourceVersion"]
        .as_str()
        .and_then(|version| version.parse().ok())
        .expect("a version")
}

#[tokio::test]
async fn watches_come_as_tables_too() {
    let server = start().await;
    let version = server_revision(&server).await;
    let path = format!(
        "{WIDGETS}?watch=true&resourceVersion={version}&timeoutSeconds=1&allowWatchBookmarks=true"
    );
    let watch = send(&server, request("GET", &path, &[("accept", TABLE)], "")).await;
    for name in ["a", "b"] {
        let body =
            json!({"apiVersion": "test.waft.dev/v1", "kind": "Widget", "metadata": {"name": name}});
        ask(&server, "POST", WIDGETS, body).await;
    }
    // The server ends it after a second, with a bookmark.
    let (_, body) = whole(watch).await;
    let events: Vec<Value> = body
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).expect("an event"))
        .collect();
    let types: Vec<_> = events
        .iter()
        .map(|event| event["type"].as_str().expect("a type"))
        .collect();
    assert_eq!(types, ["ADDED", "ADDED", "BOOKMARK"]);
    let columns = |event: &Value| {
        event["object"]["columnDefinitions"]
            .as_array()
            .map_or(0, Vec::len)
    };
    assert_eq!(
        (columns(&events[0]), columns(&events[1])),
        (3, 0),
        "only the first has the columns"
    );
    assert_eq!(
        events[0]["object"]["rows"][0]["cells"],
        json!(["a", null, null])
    );
    assert_eq!(
        events[0]["object"]["rows"][0]["object"]["kind"],
        "PartialObjectMetadata"
    );
}

#[tokio::test]
async fn what_a_server_says_about_itself() {
    let server = start().await;
    let get = |path: &'static str| ask(&server, "GET", path, Value::Null);
    let version = get("/version").await.1;
    assert_eq!(version["major"], "1");
    // As Go names it, on whatever machine the test runs.
    let platform = version["platform"].as_str().unwrap();
    assert!(
        !platform.contains("x86_64") && !platform.contains("aarch64"),
        "{platform}"
    );
    let paths = get("/").await.1;
    assert!(
        paths["paths"]
            .as_array()
            .is_some_and(|paths| paths.contains(&json!("/apis/test.waft.dev/v1")))
    );
    assert_eq!(get("/api").await.1["versions"], json!(["v1"]));
    assert_eq!(
        get("/apis/test.waft.dev").await.1["preferredVersion"]["version"],
        "v1"
    );
    assert_eq!(
        get("/apis/test.waft.dev/v1").await.1["resources"][0]["shortNames"],
        json!(["wd"])
    );
    let document = get("/openapi/v3/apis/test.waft.dev/v1").await.1;
    assert!(document["components"]["schemas"]["dev.waft.test.v1.Widget"].is_object());
    for path in ["/livez", "/readyz", "/healthz"] {
        assert_eq!(
            send(&server, request("GET", path, &[], "")).await.status(),
            200
        );
    }
    let review = json!({"kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "spec": {"nonResourceAttributes": {"path": "/", "verb": "get"}}});
    let (code, review) = ask(
        &server,
        "POST",
        "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
        review,
    )
    .await;
    assert_eq!((code, &review["status"]["allowed"]), (201, &json!(true)));
    assert_eq!(get("/metrics").await.0, 404);
}

/// Refuses, warns of and changes ConfigMaps.
struct Gatekeeper;

#[async_trait]
impl Admit for Gatekeeper {
    async fn admit(
        &self,
        operation: Operation,
        resource: &ResourceId,
        new: &mut Value,
        old: Option<&Value>,
    ) -> Result<Vec<String>, Status> {
        if resource.plural != "configmaps" {
            return Ok(Vec::new());
        }
        if operation == Operation::Delete && resource.name == "kept" {
            return Err(Status::forbidden(
                "",
                "configmaps",
                &resource.name,
                "it is kept",
            ));
        }
        assert_eq!(old.is_some(), operation != Operation::Create);
        new["data"]["touched"] = "yes".into();
        if new["data"]["break"].is_string() {
            new["data"]["bad"] = 1.into();
        }
        Ok(vec![format!(
            "{operation:?} of {}/{}",
            resource.namespace, resource.name
        )])
    }
}

#[tokio::test]
async fn admission_changes_warns_and_refuses() {
    let config = Config {
        admit: vec![Arc::new(Gatekeeper)],
        ..Config::default()
    };
    let server = ApiServer::open(config).await.expect("a server");
    let made = send(&server, request("POST", MAPS, &[], map("kept").to_string())).await;
    assert_eq!(
        made.headers()["warning"],
        "299 - \"Create of default/kept\""
    );
    assert_eq!(
        read(made).await.1["data"],
        json!({"a": "1", "touched": "yes"})
    );
    let patched = ask(
        &server,
        "PATCH",
        &format!("{MAPS}/kept"),
        json!({"data": {"touched": "no"}}),
    )
    .await
    .1;
    assert_eq!(patched["data"]["touched"], "yes");
    let (code, status) = ask(&server, "DELETE", &format!("{MAPS}/kept"), Value::Null).await;
    assert_eq!(
        (code, &status["message"]),
        (403, &json!("configmaps \"kept\" is forbidden: it is kept"))
    );
    let broken = json!({"metadata": {"name": "x"}, "data": {"break": "it"}});
    assert_eq!(
        ask(&server, "POST", MAPS, broken).await.0,
        400,
        "what a hook makes is checked as well"
    );
}

#[tokio::test]
async fn definitions_that_collide_are_not_established() {
    let server = start().await;
    let mut second = widgets();
    second["metadata"]["name"] = "gadgets.test.waft.dev".into();
    second["spec"]["names"] = json!({"plural": "gadgets", "kind": "Widget"});
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let (code, made) = ask(&server, "POST", path, second).await;
    assert_eq!(code, 201);
    let conditions = made["status"]["conditions"].as_array().expect("conditions");
    assert!(
        conditions
            .iter()
            .all(|condition| condition["status"] == "False"),
        "{conditions:?}"
    );
    assert_eq!(
        ask(
            &server,
            "GET",
            "/apis/test.waft.dev/v1/namespaces/default/gadgets",
            Value::Null
        )
        .await
        .0,
        404
    );
    assert_eq!(ask(&server, "GET", WIDGETS, Value::Null).await.0, 200);
    let mut wrong = widgets();
    wrong["metadata"]["name"] = "wrong.test.waft.dev".into();
    assert_eq!(ask(&server, "POST", path, wrong).await.0, 422);
}

#[tokio::test]
async fn bodies_of_refused_requests_are_taken_off_their_connection() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let server = ApiServer::open(Config::default()).await.expect("a server");
    let taken = Arc::new(AtomicBool::new(false));
    let piece = {
        let taken = taken.clone();
        async move {
            taken.store(true, Ordering::SeqCst);
            Ok::<_, std::convert::Infallible>(bytes::Bytes::from_static(b"{}"))
        }
    };
    let body = axum::body::Body::from_stream(futures::stream::once(piece));
    let refused = http::Request::post("/api").body(body).expect("a request");
    let response = server.service().oneshot(refused).await.expect("an answer");
    assert_eq!(response.status(), 405);
    assert!(taken.load(Ordering::SeqCst));
}
