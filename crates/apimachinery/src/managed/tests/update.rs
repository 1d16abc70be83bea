//! Tracking of creations and updates.

use serde_json::{Value, json};

use super::*;

#[test]
fn a_creation_belongs_to_its_creator() {
    let mut new = object(
        json!({"labels": {"a": "1"}, "nested": {"a": "x"}, "tags": ["t"],
        "containers": [{"name": "c", "image": "i"}]}),
    );
    new["metadata"]["labels"] = json!({"l": "1"});
    new["metadata"]["managedFields"] = json!([{"manager": "liar", "operation": "Update",
        "apiVersion": "g.io/v1", "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {}}}]);
    super::super::track_update(None, &mut new, &schema(), &updater("ctl", 1));
    assert_eq!(
        new["metadata"]["managedFields"],
        json!([{
            "manager": "ctl", "operation": "Update", "apiVersion": "g.io/v1",
            "time": "2026-01-01T00:00:01Z", "fieldsType": "FieldsV1",
            "fieldsV1": {
                "f:metadata": {"f:labels": {".": {}, "f:l": {}}},
                "f:spec": {
                    ".": {},
                    "f:containers": {".": {}, "k:{\"name\":\"c\"}": {
                        ".": {}, "f:image": {}, "f:name": {}}},
                    "f:labels": {".": {}, "f:a": {}},
                    "f:nested": {".": {}, "f:a": {}},
                    "f:tags": {".": {}, "v:\"t\"": {}},
                },
            },
        }])
    );
}

#[test]
fn an_update_takes_what_it_changes_and_frees_what_it_removes() {
    let live = create(
        json!({"replicas": 1, "image": "a", "labels": {"x": "1"}}),
        &updater("one", 1),
    );
    let live = update(
        &live,
        json!({"replicas": 2, "image": "a"}),
        &updater("two", 2),
    );
    assert_eq!(owners(&live), ["one Update", "two Update"]);
    assert_eq!(
        fields(&live, "one"),
        json!({"f:spec": {".": {}, "f:image": {}}})
    );
    assert_eq!(fields(&live, "two"), json!({"f:spec": {"f:replicas": {}}}));
    assert_eq!(
        live["metadata"]["managedFields"][1]["time"],
        "2026-01-01T00:00:02Z"
    );

    // Writing the same again changes nobody's ownership or time.
    let again = update(
        &live,
        json!({"replicas": 2, "image": "a"}),
        &updater("three", 3),
    );
    assert_eq!(again, live);
    // A manager's fields add up.
    let live = update(
        &live,
        json!({"replicas": 2, "image": "b"}),
        &updater("two", 4),
    );
    assert_eq!(
        fields(&live, "two"),
        json!({"f:spec": {"f:image": {}, "f:replicas": {}}})
    );
    assert_eq!(fields(&live, "one"), json!({"f:spec": {}}));
}

#[test]
fn appliers_lose_what_an_update_changes() {
    let live = apply(
        None,
        json!({"replicas": 1, "image": "a"}),
        &applier("one", 1),
    )
    .unwrap();
    let live = update(
        &live,
        json!({"replicas": 5, "image": "a"}),
        &updater("scaler", 2),
    );
    assert_eq!(owners(&live), ["one Apply", "scaler Update"]);
    assert_eq!(fields(&live, "one"), json!({"f:spec": {"f:image": {}}}));
    let status = apply(
        Some(&live),
        json!({"replicas": 1, "image": "a"}),
        &applier("one", 3),
    );
    assert_eq!(
        status.unwrap_err().message,
        "Apply failed with 1 conflict: conflict with \"scaler\" using g.io/v1: .spec.replicas"
    );
}

#[test]
fn cleared_owners_stay_cleared_until_an_apply() {
    let live = create(json!({"replicas": 1}), &updater("one", 1));
    for cleared in [json!([]), json!([{}])] {
        let mut new = live.clone();
        new["metadata"]["managedFields"] = cleared;
        super::super::track_update(Some(&live), &mut new, &schema(), &updater("one", 2));
        assert_eq!(new["metadata"].get("managedFields"), None);
        let later = update(&new, json!({"replicas": 3}), &updater("one", 3));
        assert_eq!(later["metadata"].get("managedFields"), None);
    }
    let mut kept = live.clone();
    kept["metadata"]["managedFields"] = Value::Null;
    super::super::track_update(Some(&live), &mut kept, &schema(), &updater("one", 2));
    assert_eq!(kept, live);
    let mut absent = live.clone();
    absent["metadata"]
        .as_object_mut()
        .unwrap()
        .shift_remove("managedFields");
    super::super::track_update(Some(&live), &mut absent, &schema(), &updater("one", 2));
    assert_eq!(
        absent["metadata"]["managedFields"],
        live["metadata"]["managedFields"]
    );
}

#[test]
fn a_subresource_cannot_rewrite_the_owners() {
    let live = create(json!({"replicas": 1}), &updater("one", 1));
    let mut new = live.clone();
    new["metadata"]["managedFields"] = json!([]);
    new["status"] = json!({"ready": 1});
    let mut by = updater("ctl", 2);
    by.subresource = Some("status".to_owned());
    super::super::track_update(Some(&live), &mut new, &schema(), &by);
    assert_eq!(owners(&new), ["one Update", "ctl Update"]);
    assert_eq!(
        fields(&new, "ctl"),
        json!({"f:status": {".": {}, "f:ready": {}}})
    );
}

#[test]
fn fields_that_built_in_types_always_have_are_not_added() {
    let schema = Schema::compile(
        &json!({"type": "object", "properties": {
            "metadata": {"type": "object", "default": {}, "properties": {"name": {"type": "string"}}},
            "spec": {"type": "object", "default": {}, "required": ["containers"], "properties": {
                "containers": {"type": "array", "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["name"],
                    "items": {"type": "object", "default": {}, "properties": {
                        "name": {"type": "string"}}}},
                "extra": {"type": "array", "x-kubernetes-list-type": "set",
                          "items": {"type": "string"}},
            }},
        }}),
        &|_| None,
    )
    .unwrap();
    let mut new = json!({"metadata": {"name": "p"},
                         "spec": {"containers": [{"name": "c"}], "extra": ["e"]}});
    super::super::track_update(None, &mut new, &schema, &updater("one", 1));
    assert_eq!(
        fields(&new, "one"),
        json!({"f:spec": {
            "f:containers": {"k:{\"name\":\"c\"}": {".": {}, "f:name": {}}},
            "f:extra": {".": {}, "v:\"e\"": {}},
        }})
    );
}
