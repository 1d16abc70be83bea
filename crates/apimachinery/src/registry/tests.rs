use serde_json::{Value, json};

use super::*;

fn definition(kind: &str, plural: &str) -> Value {
    json!({
        "metadata": {"name": format!("{plural}.example.io")},
        "spec": {
            "group": "example.io",
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural, "shortNames": ["ex"], "categories": ["all"]},
            "versions": [
                {"name": "v1alpha1", "served": true, "storage": false, "deprecated": true, "schema": {"openAPIV3Schema": {"type": "object"}}},
                {"name": "v1", "served": true, "storage": true, "subresources": {"status": {}}, "schema": {"openAPIV3Schema": {"type": "object"}}},
                {"name": "v2", "served": false, "storage": false, "schema": {"openAPIV3Schema": {"type": "object"}}},
            ],
        },
    })
}

#[test]
fn every_builtin_kind_is_complete() {
    let registry = Registry::builtin();
    let expected = [
        ("", "namespaces"),
        ("", "configmaps"),
        ("", "secrets"),
        ("", "services"),
        ("", "events"),
        ("", "pods"),
        ("", "nodes"),
        ("", "serviceaccounts"),
        ("coordination.k8s.io", "leases"),
        ("events.k8s.io", "events"),
        ("apiextensions.k8s.io", "customresourcedefinitions"),
        ("apps", "deployments"),
        ("apps", "replicasets"),
        ("apps", "statefulsets"),
        ("apps", "daemonsets"),
        ("batch", "jobs"),
        ("authorization.k8s.io", "selfsubjectaccessreviews"),
        ("authorization.k8s.io", "selfsubjectrulesreviews"),
        ("authentication.k8s.io", "selfsubjectreviews"),
    ];
    for (group, plural) in expected {
        let resource = registry
            .get(group, "v1", plural)
            .unwrap_or_else(|| panic!("{group}/{plural}"));
        let SchemaSource::Builtin(component) = &resource.source else {
            panic!("{plural} is built in")
        };
        assert!(
            builtin_schemas().contains_key(component),
            "{plural} has no schema"
        );
        assert!(builtin::compile(component).is_ok(), "{component} compiles");
    }
}

#[test]
fn both_kinds_of_events_are_one_storage() {
    let registry = Registry::builtin();
    let core = registry.get("", "v1", "events").expect("core events");
    let new = registry
        .get("events.k8s.io", "v1", "events")
        .expect("new events");
    assert_eq!(core.storage, new.storage);
    assert!(core.stores_itself() && !new.stores_itself());
    assert_eq!(
        registry.of_storage(&new.storage).expect("a resource").group,
        ""
    );
}

#[test]
fn definitions_come_and_go() {
    let mut registry = Registry::builtin();
    registry
        .set_custom(&definition("Example", "examples"))
        .expect("served");
    let resource = registry
        .get("example.io", "v1", "examples")
        .expect("served");
    assert_eq!(
        (resource.singular.as_str(), resource.list_kind.as_str()),
        ("example", "ExampleList")
    );
    assert!(resource.status && resource.stores_itself());
    let old = registry
        .get("example.io", "v1alpha1", "examples")
        .expect("served");
    assert!(!old.stores_itself());
    assert_eq!(
        old.deprecation.as_deref(),
        Some("example.io/v1alpha1 Example is deprecated; use example.io/v1 Example")
    );
    assert!(
        registry.get("example.io", "v2", "examples").is_none(),
        "v2 is not served"
    );
    assert!(registry.of_kind("example.io/v1", "Example").is_some());
    let groups = registry.groups();
    let (_, versions) = groups
        .iter()
        .find(|(group, _)| group == "example.io")
        .expect("a group");
    assert_eq!(
        versions,
        &["v1", "v1alpha1"],
        "the stable version comes first"
    );
    registry.remove_custom("example.io", "examples");
    assert!(registry.group_version("example.io", "v1").is_none());
}

#[test]
fn names_of_others_are_not_taken() {
    let mut registry = Registry::builtin();
    registry
        .set_custom(&definition("Example", "examples"))
        .expect("served");
    let refused = registry
        .set_custom(&definition("Example", "copies"))
        .expect_err("refused");
    assert_eq!(
        refused,
        CustomError::NameTaken {
            kind: "Example".into()
        }
    );
    assert!(registry.get("example.io", "v1", "copies").is_none());
    registry
        .set_custom(&definition("Example", "examples"))
        .expect("its own names are free");
    let mut builtin = definition("Deployment", "deployments");
    builtin["spec"]["group"] = "apps".into();
    assert!(registry.set_custom(&builtin).is_err());
    assert!(
        registry
            .get("apps", "v1", "deployments")
            .expect("still there")
            .builtin
    );
}

#[test]
fn versions_are_ranked_as_kubernetes_does() {
    let mut versions = ["v1alpha2", "v2", "foo", "v1beta1", "v1", "v10", "v1beta3"];
    versions.sort_by_key(|version| std::cmp::Reverse(version_rank(version)));
    assert_eq!(
        versions,
        ["v10", "v2", "v1", "v1beta3", "v1beta1", "v1alpha2", "foo"]
    );
}
