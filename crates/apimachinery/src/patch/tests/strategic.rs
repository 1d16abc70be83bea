//! Strategic merge patch, on a schema with the markers of a Pod.

use serde_json::{Value, json};

use crate::patch::strategic_merge;
use crate::schema::Schema;

fn schema() -> Schema {
    let text = json!({"type": "string"});
    let schema = json!({
        "type": "object",
        "properties": {
            "metadata": {"type": "object", "properties": {
                "labels": {"type": "object", "additionalProperties": text},
                "finalizers": {"type": "array", "items": text,
                               "x-kubernetes-patch-strategy": "merge"},
            }},
            "spec": {"type": "object", "properties": {
                "containers": {
                    "type": "array",
                    "x-kubernetes-patch-merge-key": "name",
                    "x-kubernetes-patch-strategy": "merge",
                    "items": {"type": "object", "properties": {
                        "name": text, "image": text,
                        "args": {"type": "array", "items": text},
                        "ports": {
                            "type": "array",
                            "x-kubernetes-patch-merge-key": "containerPort",
                            "x-kubernetes-patch-strategy": "merge",
                            "items": {"type": "object", "properties": {
                                "containerPort": {"type": "integer"}, "name": text}},
                        },
                    }},
                },
                "strategy": {"type": "object", "x-kubernetes-patch-strategy": "retainKeys",
                             "properties": {"type": text, "rollingUpdate": {
                                 "type": "object", "properties": {"maxSurge": text}}}},
                "tolerations": {"type": "array", "items": {
                    "type": "object", "properties": {"key": text}}},
            }},
        },
    });
    Schema::compile(&schema, &|_| None).unwrap()
}

fn merged(document: Value, patch: Value) -> Value {
    strategic_merge(&document, &patch, &schema()).unwrap()
}

fn containers(list: Value) -> Value {
    json!({"spec": {"containers": list}})
}

#[test]
fn maps_merge_and_nulls_remove() {
    let cases = [
        (
            json!({"metadata": {"labels": {"a": "1", "b": "2"}}}),
            json!({"metadata": {"labels": {"a": null, "c": "3"}}}),
            json!({"metadata": {"labels": {"b": "2", "c": "3"}}}),
        ),
        (
            json!({}),
            json!({"metadata": {"labels": {"a": null}}}),
            json!({"metadata": {"labels": {}}}),
        ),
        (
            json!({"metadata": {"labels": {"a": "1"}}}),
            json!({"metadata": {"labels": {"$patch": "replace", "z": "1"}}}),
            json!({"metadata": {"labels": {"z": "1"}}}),
        ),
        (
            json!({"metadata": {"labels": {"a": "1"}}}),
            json!({"metadata": {"$patch": "delete"}}),
            json!({"metadata": {}}),
        ),
        (
            json!({"spec": {"strategy": {"type": "RollingUpdate",
                                         "rollingUpdate": {"maxSurge": "1"}}}}),
            json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}),
            json!({"spec": {"strategy": {"type": "Recreate"}}}),
        ),
    ];
    for (document, patch, expected) in cases {
        assert_eq!(merged(document, patch.clone()), expected, "{patch}");
    }
}

#[test]
fn lists_merge_by_key() {
    let two = || json!([{"name": "a", "image": "1"}, {"name": "b", "image": "2"}]);
    let cases = [
        (
            json!([{"name": "b", "image": "3"}]),
            json!([{"name": "a", "image": "1"}, {"name": "b", "image": "3"}]),
        ),
        // New items go first, unless an order is sent.
        (
            json!([{"name": "c", "image": "3"}]),
            json!([{"name": "c", "image": "3"}, {"name": "a", "image": "1"}, {"name": "b", "image": "2"}]),
        ),
        (
            json!([{"name": "a", "$patch": "delete"}]),
            json!([{"name": "b", "image": "2"}]),
        ),
        (
            json!([{"name": "c"}, {"$patch": "replace"}]),
            json!([{"name": "c"}]),
        ),
        (
            json!([{"name": "a", "image": null, "args": ["x"]}]),
            json!([{"name": "a", "args": ["x"]}, {"name": "b", "image": "2"}]),
        ),
        (
            json!([{"name": "a", "ports": [{"containerPort": 80, "name": null}]}]),
            json!([{"name": "a", "image": "1", "ports": [{"containerPort": 80}]},
                {"name": "b", "image": "2"}]),
        ),
        (
            json!([{"name": "a", "$patch": "replace", "args": ["x"]}]),
            json!([]),
        ),
    ];
    for (patch, expected) in cases {
        assert_eq!(
            merged(containers(two()), containers(patch.clone())),
            containers(expected),
            "{patch}"
        );
    }
}

#[test]
fn a_sent_order_is_kept() {
    let document = containers(json!([{"name": "a"}, {"name": "b"}, {"name": "c"}]));
    let patch = json!({"spec": {
        "$setElementOrder/containers": [{"name": "c"}, {"name": "d"}, {"name": "a"}],
        "containers": [{"name": "d"}],
    }});
    assert_eq!(
        merged(document.clone(), patch),
        containers(json!([{"name": "b"}, {"name": "c"}, {"name": "d"}, {"name": "a"}]))
    );
    let only_order = json!({"spec": {
        "$setElementOrder/containers": [{"name": "c"}, {"name": "b"}, {"name": "a"}]}});
    assert_eq!(
        merged(document.clone(), only_order),
        containers(json!([{"name": "c"}, {"name": "b"}, {"name": "a"}]))
    );
    let wrong = json!({"spec": {
        "$setElementOrder/containers": [{"name": "a"}], "containers": [{"name": "d"}]}});
    let status = strategic_merge(&document, &wrong, &schema()).unwrap_err();
    assert_eq!(status.code, 500);
}

#[test]
fn primitive_lists_merge_as_sets() {
    let document = json!({"metadata": {"finalizers": ["a", "b"]}});
    let cases = [
        (json!({"finalizers": ["c"]}), json!(["c", "a", "b"])),
        (json!({"finalizers": ["b"]}), json!(["a", "b"])),
        (
            json!({"$setElementOrder/finalizers": ["a", "b", "c"], "finalizers": ["c"]}),
            json!(["a", "b", "c"]),
        ),
        (
            json!({"$deleteFromPrimitiveList/finalizers": ["a"]}),
            json!(["b"]),
        ),
        (
            json!({"$deleteFromPrimitiveList/finalizers": ["a"],
                   "$setElementOrder/finalizers": ["b"]}),
            json!(["b"]),
        ),
    ];
    for (patch, expected) in cases {
        assert_eq!(
            merged(document.clone(), json!({ "metadata": patch })),
            json!({"metadata": {"finalizers": expected}}),
            "{patch}"
        );
    }
}

#[test]
fn lists_without_a_strategy_are_replaced() {
    let document = json!({"spec": {"tolerations": [{"key": "a"}, {"key": "b"}]}});
    let patch = json!({"spec": {"tolerations": [{"key": "c"}]}});
    assert_eq!(merged(document, patch.clone()), patch);
}

#[test]
fn bad_directives_are_500_and_bad_documents_400() {
    let document = containers(json!([{"name": "a"}]));
    let cases = [
        (
            containers(json!([{"image": "x"}])),
            500,
            "does not contain declared merge key: name",
        ),
        (
            containers(json!([{"name": "a", "$patch": "shake"}])),
            500,
            "unknown patch type: shake in map: map[$patch:shake name:a]",
        ),
        (
            json!({"spec": {"$patch": "shake"}}),
            500,
            "unknown patch type: shake in map: map[$patch:shake]",
        ),
        (
            containers(json!([{"$patch": "delete"}])),
            500,
            "does not contain declared merge key",
        ),
        (
            json!([]),
            400,
            "json: cannot unmarshal array into Go value of type map[string]interface {}",
        ),
    ];
    for (patch, code, text) in cases {
        let status = strategic_merge(&document, &patch, &schema()).unwrap_err();
        assert_eq!(status.code, code, "{patch}");
        assert!(status.message.contains(text), "{}", status.message);
    }
}
