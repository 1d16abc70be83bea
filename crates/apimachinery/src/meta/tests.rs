use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::registry::Registry;

fn resource(group: &str, plural: &str) -> Arc<Resource> {
    Registry::builtin()
        .get(group, "v1", plural)
        .expect("a built-in kind")
        .clone()
}

fn birth<'a>(name: Option<&'a str>) -> Birth<'a> {
    Birth {
        namespace: Some("default"),
        name,
        uid: "u-1",
        now: "2026-01-01T00:00:00Z",
        suffix: "abcde",
    }
}

#[test]
fn a_birth_sets_what_only_the_server_knows() {
    let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "status": {"phase": "Running"},
        "metadata": {"generateName": "p-", "uid": "mine", "deletionTimestamp": "2020-01-01T00:00:00Z", "selfLink": "/x"}});
    prepare_create(&mut pod, &resource("", "pods"), &birth(None)).expect("prepared");
    let wanted = json!({"generateName": "p-", "uid": "u-1", "namespace": "default", "name": "p-abcde",
        "creationTimestamp": "2026-01-01T00:00:00Z", "generation": 1});
    assert_eq!(pod["metadata"], wanted);
    assert_eq!(pod.get("status"), None);
    let mut node = json!({"metadata": {"name": "n"}, "status": {"phase": "x"}});
    let cluster = Birth {
        namespace: None,
        ..birth(None)
    };
    prepare_create(&mut node, &resource("", "nodes"), &cluster).expect("prepared");
    assert_eq!(
        node["status"],
        json!({"phase": "x"}),
        "a node's status comes with it"
    );
    assert_eq!(node["metadata"].get("generation"), None);
}

#[test]
fn path_and_body_must_agree() {
    let maps = resource("", "configmaps");
    let try_create = |metadata: Value| {
        prepare_create(&mut json!({"metadata": metadata}), &maps, &birth(Some("c")))
    };
    assert!(try_create(json!({})).is_ok());
    for (metadata, code) in [
        (json!({"name": "other"}), 400),
        (json!({"namespace": "other"}), 400),
        (json!({"resourceVersion": "5"}), 500),
    ] {
        assert_eq!(try_create(metadata).expect_err("refused").code, code);
    }
}

#[test]
fn an_update_keeps_what_is_not_the_writers() {
    let deployments = resource("apps", "deployments");
    let old = json!({"metadata": {"name": "d", "namespace": "default", "uid": "u", "generation": 3, "creationTimestamp": "t"},
        "spec": {"replicas": 1}, "status": {"replicas": 1}});
    let update = |part, change: Value| {
        let mut new = change;
        prepare_update(&old, &mut new, &deployments, part).map(|()| new)
    };
    let new = update(
        Part::Whole,
        json!({"metadata": {"generation": 9}, "spec": {"replicas": 2}, "status": {"replicas": 7}}),
    )
    .expect("updated");
    assert_eq!(new["metadata"]["generation"], 4);
    assert_eq!(new["status"]["replicas"], 1);
    assert_eq!(
        (
            text(&new, "uid"),
            text(&new, "creationTimestamp"),
            text(&new, "name")
        ),
        ("u", "t", "d")
    );
    let status = update(Part::Status, json!({"metadata": {"labels": {"a": "b"}}, "spec": {"replicas": 2}, "status": {"replicas": 7}})).expect("updated");
    assert_eq!(
        (&status["spec"]["replicas"], &status["status"]["replicas"]),
        (&json!(1), &json!(7))
    );
    assert_eq!(
        (
            &status["metadata"]["generation"],
            status["metadata"].get("labels")
        ),
        (&json!(3), None)
    );
    let labels = update(
        Part::Whole,
        json!({"metadata": {"labels": {"a": "b"}}, "spec": {"replicas": 1}}),
    )
    .expect("updated");
    assert_eq!(
        labels["metadata"]["generation"], 3,
        "labels are no change of the spec"
    );
    let annotated = update(
        Part::Whole,
        json!({"metadata": {"annotations": {"a": "b"}}, "spec": {"replicas": 1}}),
    )
    .expect("updated");
    assert_eq!(
        annotated["metadata"]["generation"], 4,
        "annotations of a Deployment are"
    );
    assert_eq!(
        update(Part::Whole, json!({"metadata": {"uid": "other"}}))
            .expect_err("refused")
            .code,
        409
    );
}

#[test]
fn a_dying_object_gets_no_new_finalizers() {
    let maps = resource("", "configmaps");
    let mut old = json!({"metadata": {"name": "c", "namespace": "default", "finalizers": ["a.io/x", "a.io/y"]}});
    begin_deletion(&mut old, "2026-01-01T00:00:00Z", 0, &maps);
    let update = |finalizers: Value| {
        let mut new = json!({"metadata": {"finalizers": finalizers}});
        prepare_update(&old, &mut new, &maps, Part::Whole).map(|()| new)
    };
    let fewer = update(json!(["a.io/x"])).expect("updated");
    assert!(
        !text(&fewer, "deletionTimestamp").is_empty(),
        "nobody takes a deletion back"
    );
    assert_eq!(
        update(json!(["a.io/x", "a.io/z"]))
            .expect_err("refused")
            .code,
        422
    );
    assert!(has_finalizers(&old) && !has_finalizers(&update(json!([])).expect("updated")));
}

#[test]
fn metadata_is_validated() {
    let maps = resource("", "configmaps");
    let fields = |metadata: Value| -> Vec<String> {
        let object = json!({"metadata": metadata});
        validate_metadata(&object, &maps, None)
            .into_iter()
            .map(|error| error.field)
            .collect()
    };
    assert_eq!(
        fields(
            json!({"name": "good.name-1", "labels": {"a.io/b": "c"}, "annotations": {"Any/Case": ""}})
        ),
        [""; 0]
    );
    assert_eq!(fields(json!({})), ["metadata.name"]);
    assert_eq!(
        fields(json!({"name": "x", "labels": {"a": "no spaces"}})),
        ["metadata.labels"]
    );
    assert_eq!(
        fields(json!({"name": "x", "annotations": {"a": "x".repeat(300_000)}})),
        ["metadata.annotations"]
    );
    assert_eq!(
        fields(json!({"name": "x", "finalizers": ["short"]})),
        ["metadata.finalizers[0]"]
    );
    let owner =
        json!({"apiVersion": "v1", "kind": "A", "name": "a", "uid": "u", "controller": true});
    assert_eq!(
        fields(json!({"name": "x", "ownerReferences": [owner, owner]})),
        ["metadata.ownerReferences"]
    );
    assert_eq!(
        fields(json!({"name": "x", "ownerReferences": [{"kind": "A", "name": "a", "uid": "u"}]})),
        ["metadata.ownerReferences.apiVersion"]
    );
    let long = "a".repeat(64);
    assert!(fields(json!({"name": long})).is_empty());
    let object = json!({"metadata": {"name": long}});
    assert_eq!(
        validate_metadata(&object, &resource("", "namespaces"), None).len(),
        1,
        "a namespace's name is a label"
    );
}

#[test]
fn defaults_fill_in_and_overwrite_nothing() {
    let mut service = json!({"spec": {"type": "NodePort", "ports": [{"port": 80}, {"port": 53, "protocol": "UDP", "targetPort": "dns"}]}});
    apply_defaults(&mut service, &resource("", "services"));
    assert_eq!(service["spec"]["type"], "NodePort");
    assert_eq!(service["spec"]["sessionAffinity"], "None");
    assert_eq!(
        service["spec"]["ports"],
        json!([{"port": 80, "protocol": "TCP", "targetPort": 80}, {"port": 53, "protocol": "UDP", "targetPort": "dns"}])
    );
    let mut secret = json!({"stringData": {"a": "x"}, "data": {"a": "old", "b": "Yg=="}});
    write_only_fields(&mut secret, &resource("", "secrets"));
    assert_eq!(
        (&secret["data"], secret.get("stringData")),
        (&json!({"a": "eA==", "b": "Yg=="}), None)
    );
    let mut wrong = json!({"metadata": {}, "stringData": {"a": 1}});
    let before = wrong.clone();
    write_only_fields(&mut wrong, &resource("", "secrets"));
    assert_eq!(wrong, before, "what cannot be moved is left to be refused");
}
