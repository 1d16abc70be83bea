use super::*;
use crate::registry::Registry;
use crate::table::IncludeObject;

fn ask(
    method: &str,
    path_and_query: &str,
    accept: Option<&str>,
    content_type: Option<&str>,
) -> Result<Request, Status> {
    let (path, query) = path_and_query
        .split_once('?')
        .unwrap_or((path_and_query, ""));
    parse(
        &Head {
            method,
            path,
            query,
            accept,
            content_type,
        },
        &Registry::builtin(),
    )
}

fn resource(method: &str, path: &str) -> ResourceRequest {
    match ask(method, path, None, None) {
        Ok(Request::Resource(request)) => *request,
        other => panic!("{method} {path}: {other:?}"),
    }
}

fn code(method: &str, path: &str) -> u16 {
    match ask(method, path, None, None) {
        Ok(Request::Missing) => 404,
        other => other.expect_err(path).code,
    }
}

#[test]
fn paths_name_resources_objects_and_parts() {
    let list = resource("GET", "/api/v1/namespaces/default/pods?limit=500");
    assert!(matches!(&list.action, Action::List(options) if options.limit == Some(500)));
    assert_eq!(
        (list.namespace.as_deref(), list.name),
        (Some("default"), None)
    );
    let all = resource("GET", "/apis/apps/v1/deployments");
    assert_eq!(
        (all.resource.kind.as_str(), all.namespace),
        ("Deployment", None)
    );
    let namespace = resource("GET", "/api/v1/namespaces/x");
    assert_eq!(
        (namespace.resource.kind.as_str(), namespace.name.as_deref()),
        ("Namespace", Some("x"))
    );
    assert!(matches!(
        resource("PUT", "/api/v1/namespaces/x/finalize").action,
        Action::Update(Part::Finalize, ..)
    ));
    assert!(matches!(
        resource("GET", "/api/v1/namespaces/d/pods/p/status").action,
        Action::Get(Part::Status)
    ));
    assert!(matches!(
        resource("PUT", "/apis/apps/v1/namespaces/d/deployments/x/scale").action,
        Action::Update(Part::Scale, ..)
    ));
    assert!(matches!(
        resource("GET", "/api/v1/namespaces/d/pods/p/exec?command=ls").action,
        Action::Exec
    ));
    assert!(
        matches!(resource("GET", "/api/v1/namespaces/d/pods/p/portforward?ports=80,81").action, Action::PortForward { ports } if ports == [80, 81])
    );
    assert!(matches!(
        resource("GET", "/api/v1/watch/namespaces/d/pods").action,
        Action::Watch(_)
    ));
    assert_eq!(
        resource("GET", "/api/v1/namespaces/d/configmaps/a%2Db")
            .name
            .as_deref(),
        Some("a-b")
    );
}

#[test]
fn what_is_not_served_is_refused() {
    for path in [
        "/api/v1/gadgets",
        "/api/v2/pods",
        "/apis/nope.io/v1/things",
        "/api/v1/namespaces/d/nodes",
        "/api/v1/pods/p",
        "/api/v1/namespaces/d/configmaps/c/status",
        "/api/v1/namespaces/d/pods/p/log/more",
        "/metrics/x",
    ] {
        assert_eq!(code("GET", path), 404, "{path}");
    }
    for (method, path) in [
        ("POST", "/api"),
        ("PUT", "/api/v1/namespaces/d/configmaps"),
        ("POST", "/api/v1/configmaps"),
        ("DELETE", "/api/v1/pods"),
        ("POST", "/api/v1/namespaces/d/configmaps/c"),
        ("DELETE", "/api/v1/namespaces/d/pods/p/status"),
        (
            "GET",
            "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
        ),
        ("DELETE", "/api/v1/namespaces"),
    ] {
        assert_eq!(code(method, path), 405, "{method} {path}");
    }
    assert_eq!(code("GET", "/api/v1/namespaces/d/%ff"), 400);
}

#[test]
fn list_options_contradict_each_other_as_on_a_real_server() {
    let list = "/api/v1/namespaces/d/configmaps";
    for (query, expected) in [
        ("limit=x", 400),
        ("resourceVersion=x", 400),
        ("resourceVersionMatch=Exact", 422),
        ("resourceVersionMatch=Nope", 422),
        ("resourceVersion=0&resourceVersionMatch=Exact", 422),
        ("sendInitialEvents=true", 422),
        ("labelSelector=a+in", 400),
        ("continue=abc&resourceVersion=5", 400),
        ("continue=abc&resourceVersionMatch=Exact", 422),
        ("watch=true&resourceVersion=x", 500),
        ("watch=true&resourceVersionMatch=NotOlderThan", 422),
        ("watch=true&sendInitialEvents=true", 422),
        (
            "watch=true&sendInitialEvents=true&resourceVersionMatch=Exact",
            422,
        ),
    ] {
        assert_eq!(code("GET", &format!("{list}?{query}")), expected, "{query}");
    }
    let watch = resource(
        "GET",
        &format!(
            "{list}?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&timeoutSeconds=9"
        ),
    );
    let Action::Watch(options) = watch.action else {
        panic!("a watch")
    };
    assert!(
        options.bookmarks
            && options.initial_events == Some(true)
            && options.timeout_seconds == Some(9)
    );
    assert!(matches!(
        resource("GET", &format!("{list}?watch=false")).action,
        Action::List(_)
    ));
    assert!(matches!(
        resource("GET", &format!("{list}?continue=abc&resourceVersion=0")).action,
        Action::List(_)
    ));
}

#[test]
fn write_options_are_checked() {
    let post = |query: &str| {
        ask(
            "POST",
            &format!("/api/v1/namespaces/d/configmaps?{query}"),
            None,
            None,
        )
    };
    for query in ["dryRun=", "dryRun=Some", "fieldValidation=Loose"] {
        assert_eq!(post(query).expect_err(query).code, 422, "{query}");
    }
    assert_eq!(
        post(&format!("fieldManager={}", "x".repeat(200)))
            .expect_err("too long")
            .code,
        422
    );
    let Ok(Request::Resource(request)) = post("dryRun=All&fieldManager=me&fieldValidation=Strict")
    else {
        panic!("accepted")
    };
    let Action::Create(options, BodyFormat::Json) = request.action else {
        panic!("a creation")
    };
    let wanted = WriteOptions {
        dry_run: true,
        field_manager: Some("me".into()),
        field_validation: FieldValidation::Strict,
        force: None,
    };
    assert_eq!(options, wanted);
}

#[test]
fn patches_say_what_they_are() {
    let patch = |query: &str, content_type| {
        ask(
            "PATCH",
            &format!("/api/v1/namespaces/d/configmaps/c?{query}"),
            None,
            content_type,
        )
    };
    for (content_type, kind) in [
        ("application/json-patch+json", PatchKind::Json),
        (
            "application/merge-patch+json; charset=utf-8",
            PatchKind::Merge,
        ),
        (
            "application/strategic-merge-patch+json",
            PatchKind::Strategic,
        ),
    ] {
        let Ok(Request::Resource(request)) = patch("", Some(content_type)) else {
            panic!("{content_type}")
        };
        assert!(matches!(request.action, Action::Patch(Part::Whole, found, _) if found == kind));
    }
    let apply = Some("application/apply-patch+yaml");
    assert!(patch("fieldManager=me&force=true", apply).is_ok());
    assert_eq!(patch("", apply).expect_err("no manager").code, 422);
    assert_eq!(
        patch("force=true", Some("application/merge-patch+json"))
            .expect_err("no force")
            .code,
        422
    );
    assert_eq!(
        patch("", Some("application/json"))
            .expect_err("no patch")
            .code,
        415
    );
}

#[test]
fn answers_take_the_first_form_that_is_offered() {
    let output = |accept: &str| match ask("GET", "/api/v1/namespaces/d/pods", Some(accept), None) {
        Ok(Request::Resource(request)) => Ok(request.output),
        Ok(other) => panic!("{other:?}"),
        Err(status) => Err(status.code),
    };
    let kubectl = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
    assert_eq!(
        output(kubectl),
        Ok(Output::Table("v1".into(), IncludeObject::Metadata))
    );
    assert_eq!(
        output("application/vnd.kubernetes.protobuf,application/json"),
        Ok(Output::Json)
    );
    assert_eq!(
        output("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"),
        Ok(Output::Partial("v1".into()))
    );
    assert_eq!(output("application/json, */*"), Ok(Output::Json));
    assert_eq!(output("application/*"), Err(406));
    assert_eq!(
        output("application/json;as=Nope;g=meta.k8s.io;v=v1"),
        Err(406)
    );
    let aggregated =
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
    assert!(matches!(
        ask("GET", "/apis", Some(aggregated), None),
        Ok(Request::Discovery {
            core: false,
            aggregated: true
        })
    ));
    assert!(matches!(
        ask("GET", "/api", Some("application/json"), None),
        Ok(Request::Discovery {
            core: true,
            aggregated: false
        })
    ));
}

#[test]
fn deletions_take_their_options_from_query_and_body() {
    let request = resource(
        "DELETE",
        "/api/v1/namespaces/d/pods/p?gracePeriodSeconds=5&propagationPolicy=Orphan",
    );
    let Action::Delete(mut options, _) = request.action else {
        panic!("a deletion")
    };
    assert_eq!(
        (options.grace_period_seconds, options.propagation),
        (Some(5), Some(Propagation::Orphan))
    );
    let body = serde_json::json!({"propagationPolicy": "Foreground", "preconditions": {"uid": "u"}, "dryRun": ["All"]});
    options.merge_body(&body).expect("options");
    assert_eq!(options.propagation, Some(Propagation::Foreground));
    assert_eq!(options.preconditions.uid.as_deref(), Some("u"));
    assert!(options.dry_run);
    assert_eq!(
        options
            .merge_body(&serde_json::json!({"propagationPolicy": "Nope"}))
            .expect_err("refused")
            .code,
        422
    );
}
