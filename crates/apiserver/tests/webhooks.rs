//! Admission webhooks: a real HTTPS server in this process is asked by the API server.

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use parking_lot::Mutex;
use serde_json::{Value, json};
use support::refusal;
use tokio::net::TcpListener;
use waft_apiserver::ApiServer;

/// A webhook server: what it was sent, and how it answers by path.
struct Hooks {
    address: SocketAddr,
    bundle: String,
    seen: Arc<Mutex<Vec<(String, Value)>>>,
    connections: Arc<AtomicUsize>,
}

impl Hooks {
    async fn start(answer: fn(&str, &Value) -> Value) -> Hooks {
        Hooks::named(answer, "127.0.0.1").await
    }

    async fn named(answer: fn(&str, &Value) -> Value, name: &str) -> Hooks {
        let (pem, config) = waft_servers::self_signed(name);
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let hooks = Hooks {
            address: listener.local_addr().expect("an address"),
            bundle: base64::engine::general_purpose::STANDARD.encode(pem),
            seen: Arc::default(),
            connections: Arc::default(),
        };
        let (seen, connections) = (hooks.seen.clone(), hooks.connections.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (seen, acceptor) = (seen.clone(), acceptor.clone());
                connections.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    let service = service_fn(move |request: Request<Incoming>| {
                        let seen = seen.clone();
                        async move {
                            let path = request.uri().to_string();
                            let body = request.into_body().collect().await?.to_bytes();
                            let review: Value = serde_json::from_slice(&body).expect("a review");
                            seen.lock().push((path.clone(), review.clone()));
                            if path.starts_with("/slow") {
                                std::future::pending::<()>().await;
                            }
                            let mut response = answer(&path, &review["request"]);
                            response["uid"] = review["request"]["uid"].clone();
                            let whole = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response});
                            let whole = Bytes::from(whole.to_string());
                            Ok::<_, hyper::Error>(Response::new(Full::new(whole)))
                        }
                    });
                    let _ = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        hooks
    }

    fn webhook(&self, path: &str, more: Value) -> Value {
        let mut webhook = json!({
            "name": format!("{path}.test.waft.dev"),
            "clientConfig": {"url": format!("https://{}/{path}", self.address), "caBundle": self.bundle},
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["configmaps"]}],
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            webhook[key] = value.clone();
        }
        webhook
    }

    fn paths(&self) -> Vec<String> {
        let seen = std::mem::take(&mut *self.seen.lock());
        seen.into_iter().map(|(path, _)| path).collect()
    }
}

fn patch(operations: Value) -> Value {
    let patch = base64::engine::general_purpose::STANDARD.encode(operations.to_string());
    json!({"allowed": true, "patchType": "JSONPatch", "patch": patch})
}

async fn configure(client: &Client, kind: &str, name: &str, webhooks: Vec<Value>) {
    let path = "/apis/admissionregistration.k8s.io/v1";
    let body = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": format!("{kind}Configuration"),
        "metadata": {"name": name}, "webhooks": webhooks,
    });
    let request = Request::post(format!("{path}/{}configurations", kind.to_lowercase()))
        .header("content-type", "application/json")
        .body(body.to_string().into_bytes())
        .expect("a request");
    client.request::<Value>(request).await.expect("configured");
}

fn map(name: &str, data: Value) -> ConfigMap {
    serde_json::from_value(json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data,
    }))
    .expect("a ConfigMap")
}

async fn server() -> (Arc<ApiServer>, Client, Api<ConfigMap>) {
    let (server, client) = support::server().await;
    let maps = Api::default_namespaced(client.clone());
    (server, client, maps)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn validating_webhooks_see_the_request_and_may_refuse_it() {
    let hooks = Hooks::start(|path, request| match path {
        path if path.starts_with("/teapot") => json!({"allowed": false, "status": {"code": 418, "reason": "Teapot", "message": "short and stout", "details": {"name": "t", "causes": [{"message": "c"}]}}}),
        path if path.starts_with("/plain") => json!({"allowed": request["operation"] != "DELETE"}),
        _ => json!({"allowed": true, "warnings": ["mind the gap"]}),
    })
    .await;
    let (_server, client, maps) = server().await;
    configure(
        &client,
        "ValidatingWebhook",
        "one",
        vec![
            hooks.webhook("plain", json!({})),
            hooks.webhook(
                "teapot",
                json!({"objectSelector": {"matchLabels": {"tea": "yes"}}}),
            ),
        ],
    )
    .await;
    let mut created = map("a", json!({"k": "v"}));
    maps.create(&PostParams::default(), &created)
        .await
        .expect("created");
    let (path, review) = hooks.seen.lock().remove(0);
    assert_eq!(path, "/plain?timeout=10s");
    assert_eq!(review["apiVersion"], "admission.k8s.io/v1");
    let request = &review["request"];
    assert_eq!(
        request["kind"],
        json!({"group": "", "version": "v1", "kind": "ConfigMap"})
    );
    assert_eq!(request["resource"]["resource"], "configmaps");
    assert_eq!(
        ["operation", "name", "namespace"].map(|field| &request[field]),
        ["CREATE", "a", "default"]
    );
    assert_eq!(request["userInfo"]["groups"][0], "system:masters");
    assert_eq!(request["oldObject"], Value::Null);
    assert_eq!(request["options"]["kind"], "CreateOptions");
    assert_eq!(request["dryRun"], false);
    assert!(
        request["object"]["metadata"]["uid"].is_string(),
        "{request}"
    );
    created.labels_mut().insert("tea".into(), "yes".into());
    created.metadata.name = Some("b".into());
    let error = maps
        .create(&PostParams::default(), &created)
        .await
        .expect_err("refused");
    let kube::Error::Api(status) = error else {
        panic!("{error}")
    };
    assert_eq!((status.code, &*status.reason), (418, "Teapot"));
    assert_eq!(
        status.message,
        "admission webhook \"teapot.test.waft.dev\" denied the request: short and stout"
    );
    assert_eq!(
        status.details.as_ref().map(|details| details.causes.len()),
        Some(1)
    );
    let gone = maps.delete("a", &DeleteParams::default()).await;
    assert_eq!(
        refusal(gone),
        (
            400,
            "admission webhook \"plain.test.waft.dev\" denied the request without explanation"
                .into()
        )
    );
    let (_, review) = hooks.seen.lock().pop().expect("the deletion");
    assert_eq!(review["request"]["object"], Value::Null);
    assert_eq!(review["request"]["oldObject"]["data"]["k"], "v");
    // Configurations are out of reach of webhooks, so that a bad one can be taken away.
    configure(&client, "ValidatingWebhook", "two", vec![hooks.webhook("teapot", json!({
        "rules": [{"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*/*"]}],
    }))])
    .await;
    assert_eq!(
        refusal(
            maps.create(&PostParams::default(), &map("c", json!({})))
                .await
        )
        .0,
        418
    );
    configure(
        &client,
        "ValidatingWebhook",
        "three",
        vec![hooks.webhook("other", json!({}))],
    )
    .await;
    assert!(
        hooks.connections.load(Ordering::Relaxed) <= 6,
        "connections are kept"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mutating_webhooks_change_what_is_stored_in_their_order() {
    let hooks = Hooks::start(|path, request| {
        let data = &request["object"]["data"];
        match path.split('?').next().unwrap_or_default() {
            "/first" if data["first"].is_null() => {
                patch(json!([{"op": "add", "path": "/data/first", "value": "1"}]))
            }
            "/second" => {
                let count = data.as_object().map_or(0, serde_json::Map::len);
                patch(json!([{"op": "add", "path": "/data/seen", "value": count.to_string()}, {"op": "add", "path": "/metadata/labels", "value": {"by": "second"}}]))
            }
            "/broken" => patch(json!([{"op": "remove", "path": "/nothing"}])),
            _ => json!({"allowed": true}),
        }
    })
    .await;
    let (_server, client, maps) = server().await;
    let reinvoked = json!({"reinvocationPolicy": "IfNeeded"});
    configure(
        &client,
        "MutatingWebhook",
        "b",
        vec![hooks.webhook("second", json!({}))],
    )
    .await;
    configure(
        &client,
        "MutatingWebhook",
        "a",
        vec![hooks.webhook("first", reinvoked)],
    )
    .await;
    let created = maps
        .create(&PostParams::default(), &map("a", json!({"k": "v"})))
        .await
        .expect("created");
    let data = created.data.clone().expect("data");
    assert_eq!((&*data["first"], &*data["seen"]), ("1", "2"));
    let again = [
        "/first?timeout=10s",
        "/second?timeout=10s",
        "/first?timeout=10s",
    ];
    assert_eq!(hooks.paths(), again);
    // What a webhook sets belongs to nobody, and the next writer doesn't take it.
    let owned = |map: &ConfigMap| serde_json::to_string(map.managed_fields()).expect("JSON");
    assert!(owned(&created).contains("f:k") && !owned(&created).contains("f:first"));
    let applied = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"mine": "x"}});
    let applied = maps
        .patch("a", &PatchParams::apply("me"), &Patch::Apply(&applied))
        .await
        .expect("applied");
    assert_eq!(applied.data.as_ref().expect("data")["seen"], "4");
    assert!(!owned(&applied).contains("f:seen"));
    let stored = maps.get("a").await.expect("there");
    assert_eq!(stored.labels()["by"], "second");
    assert_eq!(stored.uid(), created.uid());
    configure(
        &client,
        "MutatingWebhook",
        "c",
        vec![hooks.webhook("broken", json!({}))],
    )
    .await;
    let (code, message) = refusal(
        maps.create(&PostParams::default(), &map("z", json!({})))
            .await,
    );
    assert_eq!(code, 500, "{message}");
    assert!(maps.get_opt("z").await.expect("an answer").is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_are_dealt_with_as_the_webhook_wishes() {
    let hooks = Hooks::start(|path, _| match path.split('?').next().unwrap_or_default() {
        "/patching" => patch(json!([])),
        _ => json!({"allowed": true}),
    })
    .await;
    let (_server, client, maps) = server().await;
    let label = |which: &str| json!({"matchLabels": {"which": which}});
    let mut strange = hooks.webhook("strange", json!({"objectSelector": label("strange")}));
    let (other, _) = waft_servers::self_signed("127.0.0.1");
    let other = base64::engine::general_purpose::STANDARD.encode(other);
    strange["clientConfig"]["caBundle"] = other.into();
    configure(&client, "ValidatingWebhook", "w", vec![
        strange,
        hooks.webhook("slow", json!({"objectSelector": label("slow"), "timeoutSeconds": 1})),
        hooks.webhook("patching", json!({"objectSelector": label("patching")})),
        hooks.webhook("slow-ignored", json!({"objectSelector": label("ignored"), "timeoutSeconds": 1, "failurePolicy": "Ignore"})),
        hooks.webhook("effects", json!({"objectSelector": label("effects"), "matchConditions": [{"name": "no-x", "expression": "object.metadata.name != 'x'"}]})),
    ])
    .await;
    let create = async |which: &str, name: &str| {
        let mut object = map(name, json!({}));
        object.labels_mut().insert("which".into(), which.into());
        maps.create(&PostParams::default(), &object).await
    };
    let (code, message) = refusal(create("strange", "a").await);
    assert_eq!(code, 500);
    let url = format!("https://{}", hooks.address);
    assert_eq!(
        message,
        format!(
            "Internal error occurred: failed calling webhook \"strange.test.waft.dev\": failed to call webhook: Post \"{url}/strange?timeout=10s\": tls: failed to verify certificate: x509: certificate signed by unknown authority"
        )
    );
    let (_, message) = refusal(create("slow", "a").await);
    assert!(
        message.ends_with("slow?timeout=1s\": context deadline exceeded"),
        "{message}"
    );
    let (_, message) = refusal(create("patching", "a").await);
    assert!(
        message.contains(
            "received invalid webhook response: validating webhook may not return response.patch"
        ),
        "{message}"
    );
    create("ignored", "ignored")
        .await
        .expect("created all the same");
    // What was sent to the slow ones may be seen at any time.
    let asked = || {
        let mut paths = hooks.paths();
        paths.retain(|path| path.starts_with("/effects"));
        paths
    };
    create("effects", "x").await.expect("not asked");
    assert!(asked().is_empty());
    create("effects", "y").await.expect("asked");
    assert_eq!(asked(), ["/effects?timeout=10s"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn webhooks_behind_services_are_found_by_their_endpoints() {
    let hooks = Hooks::named(|_, _| json!({"allowed": false}), "hook.default.svc").await;
    let (_server, client, maps) = server().await;
    let create = async |path: &str, body: Value| {
        let request = Request::post(path)
            .header("content-type", "application/json")
            .body(body.to_string().into_bytes())
            .expect("a request");
        client.request::<Value>(request).await.expect("created");
    };
    let webhook = hooks.webhook("service", json!({
        "clientConfig": {"service": {"namespace": "default", "name": "hook", "path": "/here", "port": 8443}, "caBundle": hooks.bundle},
    }));
    configure(&client, "ValidatingWebhook", "w", vec![webhook]).await;
    let message = async || {
        refusal(
            maps.create(&PostParams::default(), &map("a", json!({})))
                .await,
        )
        .1
    };
    assert!(message().await.ends_with(
        "Post \"https://hook.default.svc:8443/here?timeout=10s\": service \"hook\" not found"
    ));
    let service =
        json!({"metadata": {"name": "hook"}, "spec": {"ports": [{"name": "https", "port": 8443}]}});
    create("/api/v1/namespaces/default/services", service).await;
    assert!(
        message()
            .await
            .ends_with("no endpoints available for service \"hook\"")
    );
    let slice = json!({
        "metadata": {"name": "hook-1", "labels": {"kubernetes.io/service-name": "hook"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": true}}],
        "ports": [{"name": "https", "port": hooks.address.port()}],
    });
    create(
        "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices",
        slice,
    )
    .await;
    assert_eq!(
        message().await,
        "admission webhook \"service.test.waft.dev\" denied the request without explanation"
    );
    assert_eq!(hooks.paths(), ["/here?timeout=10s"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_cannot_make_a_role_grant_more_than_its_writer_has() {
    let hooks = Hooks::start(|_, _| {
        patch(json!([{"op": "add", "path": "/rules/-", "value": {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}}]))
    })
    .await;
    let (_server, client, _) = server().await;
    let rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/default";
    let rule = json!({"verbs": ["create"], "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles"]});
    let create = async |path: &str, user: &str, body: Value| {
        let request = Request::post(format!("{rbac}/{path}"))
            .header("content-type", "application/json")
            .header("impersonate-user", user)
            .body(body.to_string().into_bytes())
            .expect("a request");
        client.request::<Value>(request).await
    };
    let role = json!({"metadata": {"name": "r"}, "rules": [rule]});
    create("roles", "waft-admin", role.clone())
        .await
        .expect_err("an admin without the group");
    let roles: Api<k8s_openapi::api::rbac::v1::Role> = Api::default_namespaced(client.clone());
    let own = serde_json::from_value(role.clone()).expect("a Role");
    roles
        .create(&PostParams::default(), &own)
        .await
        .expect("created");
    let bindings: Api<k8s_openapi::api::rbac::v1::RoleBinding> =
        Api::default_namespaced(client.clone());
    let binding = json!({"metadata": {"name": "b"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"}, "subjects": [{"kind": "User", "name": "u"}]});
    let binding = serde_json::from_value(binding).expect("a RoleBinding");
    bindings
        .create(&PostParams::default(), &binding)
        .await
        .expect("created");
    let mut copy = role.clone();
    copy["metadata"]["name"] = "copy".into();
    create("roles", "u", copy.clone())
        .await
        .expect("no more than they have");
    let rules = json!([{"apiGroups": ["rbac.authorization.k8s.io"], "apiVersions": ["*"], "operations": ["*"], "resources": ["roles"]}]);
    configure(
        &client,
        "MutatingWebhook",
        "w",
        vec![hooks.webhook("widens", json!({"rules": rules}))],
    )
    .await;
    copy["metadata"]["name"] = "wider".into();
    let (code, message) = refusal(create("roles", "u", copy).await);
    assert_eq!(code, 403, "{message}");
    assert!(
        message.contains("attempting to grant RBAC permissions not currently held"),
        "{message}"
    );
    assert_eq!(hooks.paths(), ["/widens?timeout=10s"]);
}
