use super::*;

fn registry() -> Registry {
    let mut registry = Registry::builtin();
    let definition = json!({"metadata": {"name": "widgets.example.io"}, "spec": {
        "group": "example.io", "scope": "Namespaced", "names": {"kind": "Widget", "plural": "widgets"},
        "versions": [{"name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
            "schema": {"openAPIV3Schema": {"type": "object", "description": "A widget.",
                "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer"}}}}}}}]}});
    registry.set_custom(&definition).expect("served");
    registry
}

#[test]
fn every_group_version_has_a_whole_document() {
    let registry = registry();
    let index = index(&registry);
    let of: Vec<GroupVersion> = registry
        .group_versions()
        .map(|(of, _)| of.clone())
        .collect();
    assert_eq!(index["paths"].as_object().expect("paths").len(), of.len());
    for of in of {
        let url = index["paths"][of.path()]["serverRelativeURL"]
            .as_str()
            .expect("a URL");
        assert!(url.starts_with(&format!("/openapi/v3/{}?hash=", of.path())));
        let document = document(&registry, &of).expect("served");
        let schemas = document["components"]["schemas"]
            .as_object()
            .expect("schemas");
        let mut named = Vec::new();
        references(&document, &mut named);
        for name in named {
            assert!(
                schemas.contains_key(&name),
                "{} refers to {name}",
                of.path()
            );
        }
    }
    assert!(document(&registry, &GroupVersion::new("nope.io", "v1")).is_none());
}

#[test]
fn clients_find_a_kind_and_what_its_patches_take() {
    let document = document(&registry(), &GroupVersion::new("example.io", "v1")).expect("served");
    let patch =
        &document["paths"]["/apis/example.io/v1/namespaces/{namespace}/widgets/{name}"]["patch"];
    assert_eq!(
        patch["x-kubernetes-group-version-kind"],
        json!({"group": "example.io", "version": "v1", "kind": "Widget"})
    );
    let parameters: Vec<_> = patch["parameters"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|p| p["name"].as_str())
        .collect();
    assert!(parameters.contains(&Some("fieldValidation")) && parameters.contains(&Some("dryRun")));
    let widget = &document["components"]["schemas"]["io.example.v1.Widget"];
    assert_eq!(
        widget["x-kubernetes-group-version-kind"][0]["kind"],
        "Widget"
    );
    assert_eq!(
        widget["properties"]["spec"]["properties"]["size"]["type"],
        "integer"
    );
    assert!(
        widget["properties"]["metadata"]["allOf"][0]["$ref"]
            .as_str()
            .is_some_and(|name| name.ends_with("ObjectMeta"))
    );
}

#[test]
fn a_changed_schema_changes_the_hash() {
    let before = index(&registry());
    let mut registry = registry();
    let mut changed = json!({"spec": {"group": "example.io", "scope": "Namespaced", "names": {"kind": "Widget", "plural": "widgets"},
        "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}]}});
    changed["metadata"] = json!({"name": "widgets.example.io"});
    registry.set_custom(&changed).expect("served");
    let after = index(&registry);
    assert_ne!(
        before["paths"]["apis/example.io/v1"],
        after["paths"]["apis/example.io/v1"]
    );
    assert_eq!(
        before["paths"]["apis/apps/v1"],
        after["paths"]["apis/apps/v1"]
    );
}
