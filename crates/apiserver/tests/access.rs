//! Who may do what: RBAC, impersonation, tokens, reviews. The sentences are the real server's.

mod support;

use std::sync::Arc;

use base64::Engine;
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use support::{eventually, read};
use tokio::net::TcpListener;
use tower::ServiceExt;
use waft_apiserver::{Access, ApiServer, Config};

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const SPACE: &str = "/api/v1/namespaces/default";
const AUTHORIZATION: &str = "/apis/authorization.k8s.io/v1";

/// Asks as someone, in several groups.
async fn ask(
    server: &Arc<ApiServer>,
    user: &str,
    groups: &[&str],
    method: &str,
    path: &str,
    body: Value,
) -> (u16, Value) {
    let kind = match method {
        "PATCH" => "application/apply-patch+yaml",
        _ => "application/json",
    };
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", kind);
    if !user.is_empty() {
        request = request.header("Impersonate-User", user);
    }
    for group in groups {
        request = request.header("Impersonate-Group", *group);
    }
    let bytes = if body.is_null() {
        Bytes::new()
    } else {
        body.to_string().into()
    };
    let request = request.body(Full::new(bytes)).expect("a request");
    read(server.service().oneshot(request).await.expect("an answer")).await
}

async fn make_namespace(server: &Arc<ApiServer>, name: &str) {
    let namespace = json!({"metadata": {"name": name}});
    admin(server, "POST", "/api/v1/namespaces", namespace).await;
}

async fn admin(server: &Arc<ApiServer>, method: &str, path: &str, body: Value) -> Value {
    let (code, value) = ask(server, "", &[], method, path, body).await;
    assert!(code < 300, "{method} {path}: {value}");
    value
}

fn role(name: &str, verbs: &[&str], resources: &[&str]) -> Value {
    json!({"metadata": {"name": name}, "rules": [
        {"verbs": verbs, "apiGroups": ["", "rbac.authorization.k8s.io", "coordination.k8s.io"], "resources": resources}]})
}

fn binding(name: &str, kind: &str, role: &str, subject: Value) -> Value {
    json!({"metadata": {"name": name}, "subjects": [subject],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role}})
}

/// Gives a user a role in the namespace `default`.
async fn grant(server: &Arc<ApiServer>, user: &str, verbs: &[&str], resources: &[&str]) {
    let name = format!("{user}-{}", resources[0]);
    let of = format!("{RBAC}/namespaces/default");
    admin(
        server,
        "POST",
        &format!("{of}/roles"),
        role(&name, verbs, resources),
    )
    .await;
    let bound = binding(&name, "Role", &name, json!({"kind": "User", "name": user}));
    admin(server, "POST", &format!("{of}/rolebindings"), bound).await;
}

async fn start() -> Arc<ApiServer> {
    ApiServer::open(Config::default()).await.expect("a server")
}

#[tokio::test]
async fn nothing_is_allowed_that_no_binding_grants() {
    let server = start().await;
    let maps = format!("{SPACE}/configmaps");
    let refusals = [
        (
            "GET",
            maps.clone(),
            "list",
            "configmaps is forbidden",
            "in the namespace \"default\"",
        ),
        (
            "GET",
            format!("{maps}/a"),
            "get",
            "configmaps \"a\" is forbidden",
            "in the namespace \"default\"",
        ),
        (
            "GET",
            "/api/v1/configmaps".into(),
            "list",
            "configmaps is forbidden",
            "at the cluster scope",
        ),
        (
            "DELETE",
            maps.clone(),
            "deletecollection",
            "configmaps is forbidden",
            "in the namespace \"default\"",
        ),
    ];
    for (method, path, verb, subject, place) in refusals {
        let (code, status) = ask(&server, "u", &[], method, &path, Value::Null).await;
        assert_eq!(code, 403);
        assert_eq!(
            status["message"],
            format!(
                "{subject}: User \"u\" cannot {verb} resource \"configmaps\" in API group \"\" {place}"
            )
        );
        assert_eq!(status["reason"], "Forbidden");
        assert_eq!(status["details"]["kind"], "configmaps");
    }
    // What is not served looks the same to those who may not know.
    let path = "/apis/nope.io/v1/namespaces/default/foos/a/log";
    let (code, status) = ask(&server, "u", &[], "GET", path, Value::Null).await;
    assert_eq!(code, 403);
    assert_eq!(
        status["message"],
        "foos.nope.io \"a\" is forbidden: User \"u\" cannot get resource \"foos/log\" in API group \"nope.io\" in the namespace \"default\""
    );
    let (code, status) = ask(&server, "u", &[], "GET", "/metrics", Value::Null).await;
    assert_eq!((code, status["details"].clone()), (403, json!({})));
    assert_eq!(
        status["message"],
        "forbidden: User \"u\" cannot get path \"/metrics\""
    );
    // Everyone who is known may look around.
    for path in ["/version", "/apis", "/api/v1", "/openapi/v3"] {
        let (code, _) = ask(&server, "u", &[], "GET", path, Value::Null).await;
        assert_eq!(code, 200, "{path}");
    }
}

#[tokio::test]
async fn bindings_grant_verbs_on_resources_in_their_namespace() {
    let server = start().await;
    make_namespace(&server, "other").await;
    grant(&server, "u", &["get", "list"], &["configmaps"]).await;
    let maps = format!("{SPACE}/configmaps");
    let code = |user: &'static str,
                groups: &'static [&'static str],
                method: &'static str,
                path: String,
                body: Value| {
        let server = server.clone();
        async move { ask(&server, user, groups, method, &path, body).await.0 }
    };
    assert_eq!(code("u", &[], "GET", maps.clone(), Value::Null).await, 200);
    assert_eq!(
        code("u", &[], "GET", format!("{maps}/nope"), Value::Null).await,
        404
    );
    assert_eq!(
        code(
            "u",
            &[],
            "GET",
            "/api/v1/namespaces/other/configmaps".into(),
            Value::Null
        )
        .await,
        403
    );
    assert_eq!(
        code(
            "u",
            &[],
            "POST",
            maps.clone(),
            json!({"metadata": {"name": "x"}})
        )
        .await,
        403
    );
    assert_eq!(code("v", &[], "GET", maps.clone(), Value::Null).await, 403);
    // Groups, and roles of the cluster: everywhere, or within a namespace.
    let group = json!({"kind": "Group", "name": "readers"});
    let of = format!("{RBAC}/namespaces/other/rolebindings");
    admin(
        &server,
        "POST",
        &of,
        binding("r", "ClusterRole", "view", group.clone()),
    )
    .await;
    assert_eq!(
        code(
            "v",
            &["readers"],
            "GET",
            "/api/v1/namespaces/other/configmaps".into(),
            Value::Null
        )
        .await,
        200
    );
    assert_eq!(
        code(
            "v",
            &["readers"],
            "GET",
            "/api/v1/namespaces/other/secrets".into(),
            Value::Null
        )
        .await,
        403
    );
    assert_eq!(
        code("v", &["readers"], "GET", maps.clone(), Value::Null).await,
        403
    );
    let of = format!("{RBAC}/clusterrolebindings");
    admin(
        &server,
        "POST",
        &of,
        binding("r", "ClusterRole", "view", group),
    )
    .await;
    assert_eq!(
        code("v", &["readers"], "GET", maps.clone(), Value::Null).await,
        200
    );
    assert_eq!(
        code(
            "v",
            &["readers"],
            "GET",
            "/api/v1/configmaps".into(),
            Value::Null
        )
        .await,
        200
    );
    // Roles that aggregate grant what others add to them.
    let widgets = "/apis/widgets.io/v1/namespaces/default/widgets";
    assert_eq!(
        code("v", &["readers"], "GET", widgets.into(), Value::Null).await,
        403
    );
    let added = json!({
        "metadata": {"name": "widgets-view", "labels": {"rbac.authorization.k8s.io/aggregate-to-view": "true"}},
        "rules": [{"verbs": ["list"], "apiGroups": ["widgets.io"], "resources": ["widgets"]}]});
    admin(&server, "POST", &format!("{RBAC}/clusterroles"), added).await;
    assert_eq!(
        code("v", &["readers"], "GET", widgets.into(), Value::Null).await,
        404
    );
    // A role that is gone is the reason.
    admin(
        &server,
        "DELETE",
        &format!("{RBAC}/namespaces/default/roles/u-configmaps"),
        Value::Null,
    )
    .await;
    let (code, status) = ask(&server, "u", &[], "GET", &maps, Value::Null).await;
    assert_eq!(code, 403);
    let message = status["message"].as_str().expect("a message");
    let end = "in the namespace \"default\": RBAC: role.rbac.authorization.k8s.io \"u-configmaps\" not found";
    assert!(message.ends_with(end), "{message}");
}

#[tokio::test]
async fn creating_by_update_or_apply_needs_the_right_to_create() {
    let server = start().await;
    grant(
        &server,
        "u",
        &["update", "patch"],
        &["configmaps", "leases"],
    )
    .await;
    let lease = "/apis/coordination.k8s.io/v1/namespaces/default/leases/l";
    let (code, _) = ask(
        &server,
        "u",
        &[],
        "PUT",
        lease,
        json!({"metadata": {"name": "l"}}),
    )
    .await;
    assert_eq!(code, 403);
    let map = format!("{SPACE}/configmaps/m?fieldManager=t");
    let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}});
    let (code, status) = ask(&server, "u", &[], "PATCH", &map, body).await;
    assert_eq!(code, 403);
    assert_eq!(
        status["message"],
        "configmaps \"m\" is forbidden: User \"u\" cannot create resource \"configmaps\" in API group \"\" in the namespace \"default\""
    );
}

#[tokio::test]
async fn nobody_grants_more_than_they_have() {
    let server = start().await;
    grant(&server, "u", &["get", "list"], &["pods"]).await;
    let all = ["create", "update", "patch", "get"];
    grant(&server, "u", &all, &["roles", "rolebindings"]).await;
    let roles = format!("{RBAC}/namespaces/default/roles");
    let bindings = format!("{RBAC}/namespaces/default/rolebindings");
    let wanted = json!({"metadata": {"name": "q"}, "rules": [
        {"verbs": ["get", "delete", "list"], "apiGroups": [""], "resources": ["pods", "secrets"]},
        {"verbs": ["get"], "apiGroups": ["apps"], "resources": ["deployments"]}]});
    let (code, status) = ask(&server, "u", &["g"], "POST", &roles, wanted.clone()).await;
    assert_eq!(code, 403);
    assert_eq!(
        status["message"],
        "roles.rbac.authorization.k8s.io \"q\" is forbidden: user \"u\" (groups=[\"g\" \"system:authenticated\"]) is attempting to grant RBAC permissions not currently held:\n\
         {APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"delete\"]}\n\
         {APIGroups:[\"\"], Resources:[\"secrets\"], Verbs:[\"get\" \"delete\" \"list\"]}\n\
         {APIGroups:[\"apps\"], Resources:[\"deployments\"], Verbs:[\"get\"]}"
    );
    let held = json!({"metadata": {"name": "ok"}, "rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]});
    let (code, status) = ask(&server, "u", &[], "POST", &roles, held).await;
    assert_eq!(code, 201, "{status}");
    // What one may not write, one may not bind either, nor widen afterwards.
    let me = json!({"kind": "User", "name": "u"});
    let body = binding("b", "ClusterRole", "cluster-admin", me.clone());
    let (code, _) = ask(&server, "u", &[], "POST", &bindings, body).await;
    assert_eq!(code, 403);
    let (code, _) = ask(
        &server,
        "u",
        &[],
        "POST",
        &bindings,
        binding("b", "Role", "ok", me),
    )
    .await;
    assert_eq!(code, 201);
    let mut wider = wanted.clone();
    wider["metadata"]["name"] = "ok".into();
    wider["apiVersion"] = "rbac.authorization.k8s.io/v1".into();
    wider["kind"] = "Role".into();
    let (code, _) = ask(
        &server,
        "u",
        &[],
        "PUT",
        &format!("{roles}/ok"),
        wider.clone(),
    )
    .await;
    assert_eq!(code, 403);
    let path = format!("{roles}/ok?fieldManager=t&force=true");
    let (code, _) = ask(&server, "u", &[], "PATCH", &path, wider).await;
    assert_eq!(code, 403);
    // Unless one may escalate.
    let of = format!("{RBAC}/namespaces/default");
    let escalate = json!({"metadata": {"name": "e"}, "rules": [
        {"verbs": ["escalate"], "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles"]}]});
    admin(&server, "POST", &format!("{of}/roles"), escalate).await;
    let bound = binding("e", "Role", "e", json!({"kind": "User", "name": "u"}));
    admin(&server, "POST", &format!("{of}/rolebindings"), bound).await;
    let (code, status) = ask(&server, "u", &[], "POST", &roles, wanted).await;
    assert_eq!(code, 201, "{status}");
}

#[tokio::test]
async fn what_is_granted_changes_with_every_role_and_binding() {
    let server = start().await;
    let maps = format!("{SPACE}/configmaps");
    let code = async || ask(&server, "u", &["g"], "GET", &maps, Value::Null).await.0;
    assert_eq!(code().await, 403);
    let roles = format!("{RBAC}/namespaces/default/roles");
    let bindings = format!("{RBAC}/namespaces/default/rolebindings");
    let group = json!({"kind": "Group", "name": "g"});
    admin(&server, "POST", &bindings, binding("b", "Role", "r", group)).await;
    assert_eq!(code().await, 403);
    admin(
        &server,
        "POST",
        &roles,
        role("r", &["list"], &["configmaps"]),
    )
    .await;
    assert_eq!(code().await, 200);
    let mut other = role("r", &["get"], &["configmaps"]);
    other["apiVersion"] = "rbac.authorization.k8s.io/v1".into();
    other["kind"] = "Role".into();
    admin(&server, "PUT", &format!("{roles}/r"), other.clone()).await;
    assert_eq!(code().await, 403);
    other["rules"][0]["verbs"] = json!(["*"]);
    admin(&server, "PUT", &format!("{roles}/r"), other).await;
    assert_eq!(code().await, 200);
    admin(&server, "DELETE", &format!("{bindings}/b"), Value::Null).await;
    assert_eq!(code().await, 403);
}

#[tokio::test]
async fn nobody_widens_a_role_by_applying_to_it() {
    let server = start().await;
    let roles = format!("{RBAC}/namespaces/default/roles");
    grant(&server, "u", &["create", "get", "patch"], &["roles"]).await;
    let held = json!({"metadata": {"name": "q"}, "rules": []});
    let (code, status) = ask(&server, "u", &[], "POST", &roles, held).await;
    assert_eq!(code, 201, "{status}");
    for patch in [
        json!({"rules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]}),
        json!({"rules": [{"verbs": ["get"], "nonResourceURLs": ["*"]}]}),
        json!({"rules": [{"verbs": ["impersonate"], "apiGroups": [""], "resources": ["users"]}]}),
    ] {
        let mut applied = patch.clone();
        applied["apiVersion"] = "rbac.authorization.k8s.io/v1".into();
        applied["kind"] = "Role".into();
        let path = format!("{roles}/q?fieldManager=t&force=true");
        let (code, status) = ask(&server, "u", &[], "PATCH", &path, applied).await;
        assert!(matches!(code, 403 | 422), "{status}");
    }
    let stored = admin(&server, "GET", &format!("{roles}/q"), Value::Null).await;
    assert!(
        stored["rules"].as_array().is_none_or(Vec::is_empty),
        "{stored}"
    );
}

#[tokio::test]
async fn reviews_answer_for_the_caller_and_for_others() {
    let server = start().await;
    grant(&server, "u", &["get"], &["pods"]).await;
    let review = |kind: &str, spec: Value| json!({"apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": spec});
    let pods = json!({"namespace": "default", "verb": "get", "resource": "pods"});
    let path = format!("{AUTHORIZATION}/selfsubjectaccessreviews");
    let body = review(
        "SelfSubjectAccessReview",
        json!({"resourceAttributes": pods}),
    );
    let (code, answer) = ask(&server, "u", &[], "POST", &path, body.clone()).await;
    assert_eq!(code, 201);
    let reason = "RBAC: allowed by RoleBinding \"u-pods/default\" of Role \"u-pods\" to User \"u\"";
    assert_eq!(answer["status"], json!({"allowed": true, "reason": reason}));
    let (_, answer) = ask(&server, "v", &[], "POST", &path, body.clone()).await;
    assert_eq!(answer["status"], json!({"allowed": false}));
    let answer = admin(&server, "POST", &path, body).await;
    assert_eq!(answer["status"], json!({"allowed": true}));
    // About others only for those who may ask.
    let path = format!("{AUTHORIZATION}/subjectaccessreviews");
    let body = review(
        "SubjectAccessReview",
        json!({"user": "u", "resourceAttributes": pods}),
    );
    let (code, _) = ask(&server, "u", &[], "POST", &path, body.clone()).await;
    assert_eq!(code, 403);
    let answer = admin(&server, "POST", &path, body).await;
    assert_eq!(answer["status"]["allowed"], true);
    let (code, status) = ask(
        &server,
        "",
        &[],
        "POST",
        &path,
        review("SubjectAccessReview", json!({"user": "u"})),
    )
    .await;
    assert_eq!(code, 422, "{status}");
    let path = format!("{AUTHORIZATION}/selfsubjectrulesreviews");
    let body = review("SelfSubjectRulesReview", json!({"namespace": "default"}));
    let (_, answer) = ask(&server, "u", &[], "POST", &path, body).await;
    assert_eq!(
        (&answer["spec"], &answer["metadata"]),
        (&json!({}), &json!({}))
    );
    let rules = answer["status"]["resourceRules"].as_array().expect("rules");
    assert!(
        rules
            .iter()
            .any(|rule| rule["resources"] == json!(["pods"]) && rule["verbs"] == json!(["get"]))
    );
    let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let (_, answer) = ask(&server, "u", &["g"], "POST", path, json!({})).await;
    assert_eq!(
        answer["status"]["userInfo"],
        json!({"username": "u", "groups": ["g", "system:authenticated"]})
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_namespace_knows_the_authority() {
    let server = start().await;
    let access = Access::open(None, &[]).expect("access");
    let kubeconfig = access.kubeconfig("127.0.0.1:1");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let serving = server.clone();
    tokio::spawn(async move { serving.serve(listener, &access).await });
    make_namespace(&server, "web").await;
    let known = async |namespace: &str| {
        let path = format!("/api/v1/namespaces/{namespace}/configmaps/kube-root-ca.crt");
        eventually("a certificate", || async {
            let (_, map) = ask(&server, "", &[], "GET", &path, Value::Null).await;
            let pem = map["data"]["ca.crt"].as_str().unwrap_or_default();
            let encoded = base64::engine::general_purpose::STANDARD.encode(pem);
            !pem.is_empty() && kubeconfig.contains(&format!("authority-data: {encoded}\n"))
        })
        .await;
        path
    };
    known("default").await;
    let path = known("web").await;
    // It comes again, and stays what it is.
    admin(&server, "DELETE", &path, Value::Null).await;
    let path = known("web").await;
    let mut map = admin(&server, "GET", &path, Value::Null).await;
    map["data"] = json!({"ca.crt": "other"});
    admin(&server, "PUT", &path, map).await;
    known("web").await;
    // And does not hold its namespace.
    admin(&server, "DELETE", "/api/v1/namespaces/web", Value::Null).await;
    eventually("no namespace", || async {
        let path = "/api/v1/namespaces/web";
        ask(&server, "", &[], "GET", path, Value::Null).await.0 == 404
    })
    .await;
    server.shut_down();
}

#[tokio::test]
async fn every_namespace_has_its_account() {
    let server = start().await;
    make_namespace(&server, "web").await;
    for namespace in ["default", "kube-system", "web"] {
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/default");
        eventually("an account", || async {
            ask(&server, "", &[], "GET", &path, Value::Null).await.0 == 200
        })
        .await;
    }
    let path = "/api/v1/namespaces/web/serviceaccounts/default";
    let first = admin(&server, "GET", path, Value::Null).await;
    admin(&server, "DELETE", path, Value::Null).await;
    eventually("another account", || async {
        let (code, account) = ask(&server, "", &[], "GET", path, Value::Null).await;
        code == 200 && account["metadata"]["uid"] != first["metadata"]["uid"]
    })
    .await;
    admin(&server, "DELETE", "/api/v1/namespaces/web", Value::Null).await;
    eventually("no namespace", || async {
        ask(
            &server,
            "",
            &[],
            "GET",
            "/api/v1/namespaces/web",
            Value::Null,
        )
        .await
        .0 == 404
    })
    .await;
}

/// A server behind TLS, and a client that comes with a token.
async fn with_token(server: &Arc<ApiServer>, token: &str) -> (kube::Client, String) {
    let access = Access::open(None, &[]).expect("access");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let mut config: kube::config::Kubeconfig =
        serde_saphyr::from_str(&access.kubeconfig(&address)).expect("a kubeconfig");
    for user in &mut config.auth_infos {
        let info = user.auth_info.as_mut().expect("a user");
        info.client_certificate_data = None;
        info.client_key_data = None;
        info.token = Some(token.to_owned().into());
    }
    let serving = server.clone();
    tokio::spawn(async move { serving.serve(listener, &access).await });
    let options = kube::config::KubeConfigOptions::default();
    let config = kube::Config::from_custom_kubeconfig(config, &options).await;
    let client = kube::Client::try_from(config.expect("a configuration"));
    (client.expect("a client"), address)
}

#[tokio::test]
async fn accounts_prove_themselves_with_tokens() {
    use k8s_openapi::api::core::v1::ConfigMap;
    let server = start().await;
    admin(
        &server,
        "POST",
        &format!("{SPACE}/serviceaccounts"),
        json!({"metadata": {"name": "robot"}}),
    )
    .await;
    let path = format!("{SPACE}/serviceaccounts/robot/token");
    let (code, status) = ask(
        &server,
        "",
        &[],
        "POST",
        &path,
        json!({"spec": {"expirationSeconds": 10}}),
    )
    .await;
    assert_eq!(code, 422);
    assert_eq!(
        status["message"],
        "TokenRequest.authentication.k8s.io \"\" is invalid: spec.expirationSeconds: Invalid value: 10: may not specify a duration less than 10 minutes"
    );
    let (code, _) = ask(&server, "u", &[], "POST", &path, json!({})).await;
    assert_eq!(code, 403);
    let issued = admin(&server, "POST", &path, json!({"spec": {}})).await;
    assert_eq!(issued["spec"]["expirationSeconds"], 3600);
    let token = issued["status"]["token"]
        .as_str()
        .expect("a token")
        .to_owned();
    let (client, _) = with_token(&server, &token).await;
    let maps: kube::Api<ConfigMap> = kube::Api::namespaced(client.clone(), "default");
    let (code, message) = support::refusal(maps.list(&Default::default()).await);
    assert_eq!(code, 403);
    assert_eq!(
        message,
        "configmaps is forbidden: User \"system:serviceaccount:default:robot\" cannot list resource \"configmaps\" in API group \"\" in the namespace \"default\""
    );
    let account = json!({"kind": "ServiceAccount", "name": "robot", "namespace": "default"});
    let of = format!("{RBAC}/namespaces/default/rolebindings");
    admin(
        &server,
        "POST",
        &of,
        binding("robot", "ClusterRole", "edit", account),
    )
    .await;
    let map = serde_json::from_value(json!({"metadata": {"name": "m"}})).expect("a map");
    maps.create(&PostParams::default(), &map)
        .await
        .expect("created");
    let patch = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "n"}});
    let params = PatchParams::apply("robot");
    maps.patch("n", &params, &Patch::Apply(&patch))
        .await
        .expect("applied");
    // Reviewed by others, and known by its groups.
    let review = json!({"spec": {"token": token}});
    let path = "/apis/authentication.k8s.io/v1/tokenreviews";
    let answer = admin(&server, "POST", path, review.clone()).await;
    assert_eq!(answer["status"]["authenticated"], true);
    assert_eq!(
        answer["status"]["user"]["username"],
        "system:serviceaccount:default:robot"
    );
    // The token goes with its account.
    admin(
        &server,
        "DELETE",
        &format!("{SPACE}/serviceaccounts/robot"),
        Value::Null,
    )
    .await;
    let (code, message) = support::refusal(maps.get("m").await);
    assert_eq!((code, message.as_str()), (401, "Unauthorized"));
    let answer = admin(&server, "POST", path, review).await;
    assert_eq!(answer["status"]["error"], "invalid bearer token");
    let (client, _) = with_token(&server, "nonsense").await;
    let (code, _) = support::refusal(client.apiserver_version().await);
    assert_eq!(code, 401);
}

#[tokio::test]
async fn only_those_who_may_act_for_others() {
    let server = start().await;
    admin(
        &server,
        "POST",
        &format!("{SPACE}/serviceaccounts"),
        json!({"metadata": {"name": "boss"}}),
    )
    .await;
    let issued = admin(
        &server,
        "POST",
        &format!("{SPACE}/serviceaccounts/boss/token"),
        json!({}),
    )
    .await;
    let token = issued["status"]["token"]
        .as_str()
        .expect("a token")
        .to_owned();
    let (client, _) = with_token(&server, &token).await;
    let act = |user: &'static str, group: &'static str| {
        let client = client.clone();
        async move {
            let mut request = Request::builder()
                .uri("/apis/authentication.k8s.io/v1/selfsubjectreviews")
                .method("POST")
                .header("content-type", "application/json")
                .header("Impersonate-User", user);
            if !group.is_empty() {
                request = request.header("Impersonate-Group", group);
            }
            let request = request.body(b"{}".to_vec()).expect("a request");
            client.request::<Value>(request).await
        }
    };
    let (code, message) = support::refusal(act("someone", "").await);
    assert_eq!(code, 403);
    assert_eq!(
        message,
        "users \"someone\" is forbidden: User \"system:serviceaccount:default:boss\" cannot impersonate resource \"users\" in API group \"\" at the cluster scope"
    );
    let may = json!({"metadata": {"name": "act"}, "rules": [
        {"verbs": ["impersonate"], "apiGroups": [""], "resources": ["users"], "resourceNames": ["someone"]}]});
    admin(&server, "POST", &format!("{RBAC}/clusterroles"), may).await;
    let account = json!({"kind": "ServiceAccount", "name": "boss", "namespace": "default"});
    let bound = binding("act", "ClusterRole", "act", account);
    admin(
        &server,
        "POST",
        &format!("{RBAC}/clusterrolebindings"),
        bound,
    )
    .await;
    let answer = act("someone", "").await.expect("an answer");
    assert_eq!(
        answer["status"]["userInfo"],
        json!({"username": "someone", "groups": ["system:authenticated"]})
    );
    assert_eq!(support::refusal(act("another", "").await).0, 403);
    assert_eq!(
        support::refusal(act("someone", "system:masters").await).0,
        403
    );
}

#[tokio::test]
async fn evictions_ask_the_budgets() {
    let server = start().await;
    let pod = |name: &str| json!({"metadata": {"name": name, "labels": {"app": "x"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let pods = format!("{SPACE}/pods");
    for name in ["a", "b"] {
        let mut made = admin(&server, "POST", &pods, pod(name)).await;
        made["status"]["phase"] = "Running".into();
        made["status"]["conditions"] = json!([{"type": "Ready", "status": "True"}]);
        admin(&server, "PUT", &format!("{pods}/{name}/status"), made).await;
    }
    let budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
    let budget = json!({"metadata": {"name": "x"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "x"}}}});
    let mut budget = admin(&server, "POST", budgets, budget).await;
    budget["status"] = json!({"disruptionsAllowed": 1, "currentHealthy": 2, "desiredHealthy": 1, "expectedPods": 2});
    let mut budget = admin(&server, "PUT", &format!("{budgets}/x/status"), budget).await;
    let evict = |name: &'static str| {
        let server = server.clone();
        let body = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": "default"}});
        async move {
            ask(
                &server,
                "",
                &[],
                "POST",
                &format!("{SPACE}/pods/{name}/eviction"),
                body,
            )
            .await
        }
    };
    let (code, answer) = evict("a").await;
    let cause = &answer["details"]["causes"][0]["message"];
    assert_eq!(
        (code, cause),
        (
            429,
            &json!("The disruption budget x is still being processed by the server.")
        )
    );
    budget["status"]["observedGeneration"] = 1.into();
    admin(&server, "PUT", &format!("{budgets}/x/status"), budget).await;
    let (code, answer) = evict("a").await;
    assert_eq!(
        (code, answer["status"].clone()),
        (201, json!("Success")),
        "{answer}"
    );
    let (code, answer) = evict("b").await;
    assert_eq!(code, 429, "{answer}");
    assert_eq!(
        answer["message"],
        "Cannot evict pod as it would violate the pod's disruption budget."
    );
    assert_eq!(answer["details"]["causes"][0]["reason"], "DisruptionBudget");
    let budget = admin(&server, "GET", &format!("{budgets}/x"), Value::Null).await;
    assert_eq!(budget["status"]["disruptionsAllowed"], 0);
    assert!(budget["status"]["disruptedPods"]["a"].is_string());
    let (code, _) = evict("none").await;
    assert_eq!(code, 404);
    // A pod that isn't ready is none of those that the budget counts on.
    let path = format!("{pods}/b/status");
    let mut unready = admin(&server, "GET", &path, Value::Null).await;
    unready["status"]["conditions"] = Value::Null;
    admin(&server, "PUT", &path, unready).await;
    let (code, answer) = evict("b").await;
    assert_eq!(code, 201, "{answer}");
}

#[tokio::test]
async fn lists_and_watches_have_ceilings() {
    let config = Config {
        watches: 1,
        list_bytes: 1000,
        ..Config::default()
    };
    let server = ApiServer::open(config).await.expect("a server");
    let maps = format!("{SPACE}/configmaps");
    for number in 0..10 {
        let body = json!({"metadata": {"name": format!("m{number}")}});
        admin(&server, "POST", &maps, body).await;
    }
    let (code, status) = ask(&server, "", &[], "GET", &maps, Value::Null).await;
    assert_eq!(
        (code, &status["reason"]),
        (413, &json!("RequestEntityTooLarge"))
    );
    let page = admin(&server, "GET", &format!("{maps}?limit=2"), Value::Null).await;
    assert_eq!(page["items"].as_array().map(Vec::len), Some(2));
    let account = format!("{SPACE}/serviceaccounts/default");
    let bound = binding(
        "all",
        "ClusterRole",
        "cluster-admin",
        json!({"kind": "ServiceAccount", "name": "default", "namespace": "default"}),
    );
    admin(
        &server,
        "POST",
        &format!("{RBAC}/clusterrolebindings"),
        bound,
    )
    .await;
    let issued = admin(&server, "POST", &format!("{account}/token"), json!({})).await;
    let token = issued["status"]["token"].as_str().expect("a token");
    let (client, address) = with_token(&server, token).await;
    // Not by kube's client, which tries again for minutes.
    let watch = || async {
        let url = format!("https://{address}{maps}?watch=true&timeoutSeconds=1");
        let header = format!("Authorization: Bearer {token}");
        let output = tokio::process::Command::new("curl")
            .args([
                "-sk",
                "-o",
                "/dev/null",
                "-w",
                "%{http_code}",
                "-H",
                &header,
                &url,
            ])
            .output();
        let output = output.await.expect("curl");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let request = Request::get(format!("{maps}?watch=true")).body(Vec::new());
    let open = client.request_stream(request.expect("a request")).await;
    let open = open.expect("a watch");
    assert_eq!(watch().await, "429");
    // This process is never short of places, and one that is left is free again.
    let own = kube::Client::new(server.service(), "default");
    let request = Request::get(format!("{maps}?watch=true")).body(Vec::new());
    own.request_stream(request.expect("a request"))
        .await
        .expect("a watch");
    drop(open);
    eventually("a free place", || async { watch().await == "200" }).await;
}
