//! Server-side apply.

use serde_json::{Value, json};

use super::*;

#[test]
fn the_first_apply_owns_what_it_sets() {
    let live = apply(
        None,
        json!({
            "replicas": 1, "labels": {"a": "1"}, "args": ["x"], "tags": ["t"], "nested": {},
            "selector": {"app": "x"},
            "containers": [{"name": "c", "ports": [{"containerPort": 80}]}],
        }),
        &applier("one", 1),
    )
    .unwrap();
    assert_eq!(
        live["metadata"]["managedFields"],
        json!([{
            "manager": "one", "operation": "Apply", "apiVersion": "g.io/v1",
            "time": "2026-01-01T00:00:01Z", "fieldsType": "FieldsV1",
            "fieldsV1": {"f:spec": {
                "f:args": {},
                "f:containers": {"k:{\"name\":\"c\"}": {
                    ".": {}, "f:name": {},
                    "f:ports": {"k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {
                        ".": {}, "f:containerPort": {}}},
                }},
                "f:labels": {"f:a": {}},
                "f:nested": {},
                "f:replicas": {},
                "f:selector": {},
                "f:tags": {"v:\"t\"": {}},
            }},
        }])
    );
}

#[test]
fn applying_the_same_again_changes_nothing_but_adds_an_owner_without_time() {
    let live = apply(None, json!({"replicas": 1}), &applier("one", 1)).unwrap();
    assert_eq!(
        apply(Some(&live), json!({"replicas": 1}), &applier("one", 2)),
        Ok(live.clone())
    );
    let shared = apply(Some(&live), json!({"replicas": 1}), &applier("two", 3)).unwrap();
    assert_eq!(owners(&shared), ["two Apply", "one Apply"]);
    assert_eq!(shared["metadata"]["managedFields"][0].get("time"), None);
}

#[test]
fn another_value_conflicts_and_names_the_owner() {
    let live = apply(
        None,
        json!({"replicas": 1, "image": "a"}),
        &applier("one", 1),
    )
    .unwrap();
    let status = apply(Some(&live), json!({"replicas": 2}), &applier("two", 2)).unwrap_err();
    assert_eq!(
        status.to_json(),
        json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": "Apply failed with 1 conflict: conflict with \"one\": .spec.replicas",
            "reason": "Conflict",
            "details": {"causes": [{"reason": "FieldManagerConflict",
                "message": "conflict with \"one\"", "field": ".spec.replicas"}]},
            "code": 409,
        })
    );
    let live = update(
        &live,
        json!({"replicas": 1, "image": "b"}),
        &updater("ctl", 3),
    );
    let status = apply(
        Some(&live),
        json!({"replicas": 2, "image": "c"}),
        &applier("two", 4),
    )
    .unwrap_err();
    assert_eq!(
        status.message,
        "Apply failed with 2 conflicts: conflicts with \"ctl\" using g.io/v1:\n- .spec.image\n\
         conflicts with \"one\":\n- .spec.replicas"
    );
}

#[test]
fn force_takes_the_field_from_its_owner() {
    let live = apply(
        None,
        json!({"replicas": 1, "image": "a"}),
        &applier("one", 1),
    )
    .unwrap();
    let forced = force(&live, json!({"replicas": 2}), &applier("two", 2));
    assert_eq!(forced["spec"], json!({"replicas": 2, "image": "a"}));
    assert_eq!(fields(&forced, "one"), json!({"f:spec": {"f:image": {}}}));
    assert_eq!(
        fields(&forced, "two"),
        json!({"f:spec": {"f:replicas": {}}})
    );
    // An owner with nothing left is gone.
    let forced = force(
        &forced,
        json!({"replicas": 3, "image": "b"}),
        &applier("three", 3),
    );
    assert_eq!(owners(&forced), ["three Apply"]);
}

#[test]
fn dropped_fields_go_unless_somebody_else_owns_them() {
    let live = apply(
        None,
        json!({"replicas": 1, "image": "a", "labels": {"x": "1", "y": "2"}, "nested": {"a": "1"}}),
        &applier("one", 1),
    )
    .unwrap();
    let live = apply(
        Some(&live),
        json!({"image": "a", "labels": {"y": "2"}}),
        &applier("two", 2),
    )
    .unwrap();
    let live = apply(Some(&live), Value::Null, &applier("one", 3)).unwrap();
    assert_eq!(live["spec"], json!({"image": "a", "labels": {"y": "2"}}));
    assert_eq!(live["metadata"]["name"], "t");
    assert_eq!(owners(&live), ["two Apply"]);

    let live = apply(None, json!({"replicas": 1}), &applier("one", 1)).unwrap();
    let live = update(
        &live,
        json!({"replicas": 1, "image": "by hand"}),
        &updater("hand", 2),
    );
    let live = apply(Some(&live), Value::Null, &applier("one", 3)).unwrap();
    assert_eq!(live["spec"], json!({"image": "by hand"}));
}

#[test]
fn shared_fields_conflict_only_when_they_change() {
    let live = apply(None, json!({"replicas": 1}), &applier("one", 1)).unwrap();
    let live = apply(Some(&live), json!({"replicas": 1}), &applier("two", 2)).unwrap();
    // Each may leave: the field stays with the other.
    let left = apply(Some(&live), Value::Null, &applier("one", 3)).unwrap();
    assert_eq!(left["spec"], json!({"replicas": 1}));
    assert_eq!(owners(&left), ["two Apply"]);
    // Neither may change it alone.
    assert_eq!(
        apply(Some(&live), json!({"replicas": 2}), &applier("one", 3))
            .unwrap_err()
            .code,
        409
    );
    // The last one out removes it.
    let gone = apply(Some(&left), json!({"image": "x"}), &applier("two", 4)).unwrap();
    assert_eq!(gone["spec"], json!({"image": "x"}));
}

#[test]
fn list_maps_merge_by_key() {
    let one = json!({"containers": [
        {"name": "a", "image": "1"}, {"name": "b", "image": "1", "ports": [{"containerPort": 80}]}]});
    let live = apply(None, one, &applier("one", 1)).unwrap();
    let two = json!({"containers": [
        {"name": "c", "image": "2"},
        {"name": "b", "ports": [{"containerPort": 80, "protocol": "UDP", "name": "dns"}]},
    ]});
    let live = apply(Some(&live), two, &applier("two", 2)).unwrap();
    assert_eq!(
        live["spec"]["containers"],
        json!([
            {"name": "a", "image": "1"},
            {"name": "c", "image": "2"},
            {"name": "b", "image": "1", "ports": [
                {"containerPort": 80},
                {"containerPort": 80, "protocol": "UDP", "name": "dns"}]},
        ])
    );
    // The item is shared: dropping it by one leaves what the other owns of it.
    let live = apply(
        Some(&live),
        json!({"containers": [{"name": "a", "image": "1"}]}),
        &applier("one", 3),
    )
    .unwrap();
    assert_eq!(
        live["spec"]["containers"],
        json!([
            {"name": "a", "image": "1"},
            {"name": "c", "image": "2"},
            {"name": "b", "ports": [{"containerPort": 80, "protocol": "UDP", "name": "dns"}]},
        ])
    );
    let live = apply(Some(&live), Value::Null, &applier("two", 4)).unwrap();
    assert_eq!(
        live["spec"]["containers"],
        json!([{"name": "a", "image": "1"}])
    );
}

#[test]
fn the_applied_order_of_items_wins() {
    let names = |names: &[&str]| -> Value { json!({"tags": names}) };
    let cases: [(&[&str], &[&str], &[&str]); 6] = [
        (&["a", "b", "c"], &["c", "a"], &["b", "c", "a"]),
        (&["a", "b"], &["b", "a"], &["b", "a"]),
        (&["a"], &["b"], &["a", "b"]),
        (&["a", "b"], &["n", "b"], &["a", "n", "b"]),
        (&["a", "b"], &["a", "n"], &["a", "b", "n"]),
        (&[], &["x"], &["x"]),
    ];
    for (live, applied, merged) in cases {
        let object = create(names(live), &updater("ctl", 1));
        let object = apply(Some(&object), names(applied), &applier("one", 2)).unwrap();
        assert_eq!(
            object["spec"]["tags"],
            json!(merged),
            "{live:?} {applied:?}"
        );
    }
}

#[test]
fn sets_are_shared_by_value() {
    let live = apply(None, json!({"tags": ["a", "b"]}), &applier("one", 1)).unwrap();
    let live = apply(Some(&live), json!({"tags": ["b", "c"]}), &applier("two", 2)).unwrap();
    assert_eq!(live["spec"]["tags"], json!(["a", "b", "c"]));
    let live = apply(Some(&live), json!({"tags": []}), &applier("one", 3)).unwrap();
    assert_eq!(live["spec"]["tags"], json!(["b", "c"]));
}

#[test]
fn atomic_lists_and_maps_are_one_field() {
    let live = apply(
        None,
        json!({"args": ["a"], "selector": {"x": "1"}}),
        &applier("one", 1),
    )
    .unwrap();
    for spec in [json!({"args": ["a", "b"]}), json!({"selector": {"y": "1"}})] {
        let status = apply(Some(&live), spec.clone(), &applier("two", 2)).unwrap_err();
        assert_eq!(status.code, 409);
        let forced = force(&live, spec.clone(), &applier("two", 2));
        for (name, value) in spec.as_object().unwrap() {
            assert_eq!(&forced["spec"][name], value);
        }
    }
    assert!(apply(Some(&live), json!({"args": ["a"]}), &applier("two", 2)).is_ok());
}

#[test]
fn owner_references_are_atomic_items_and_finalizers_a_set() {
    let mut config = object(json!({}));
    config["metadata"]["ownerReferences"] =
        json!([{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u1"}]);
    config["metadata"]["finalizers"] = json!(["f.io/x"]);
    config["metadata"]["labels"] = json!({"a": "b"});
    let live = super::super::apply(None, &config, &schema(), &applier("one", 1), false).unwrap();
    assert_eq!(
        fields(&live, "one"),
        json!({"f:metadata": {
            "f:finalizers": {"v:\"f.io/x\"": {}},
            "f:labels": {"f:a": {}},
            "f:ownerReferences": {"k:{\"uid\":\"u1\"}": {}},
        }, "f:spec": {}})
    );
}

#[test]
fn an_untracked_object_belongs_to_before_first_apply() {
    let live = object(json!({"replicas": 1, "image": "a"}));
    let status = apply(Some(&live), json!({"replicas": 2}), &applier("one", 1)).unwrap_err();
    assert_eq!(
        status.message,
        "Apply failed with 1 conflict: conflict with \"before-first-apply\" using g.io/v1: \
         .spec.replicas"
    );
    let live = apply(Some(&live), json!({"replicas": 1}), &applier("one", 1)).unwrap();
    assert_eq!(owners(&live), ["one Apply", "before-first-apply Update"]);
}

#[test]
fn kubectl_takes_over_what_client_side_apply_set() {
    const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";
    let mut live = object(json!({"replicas": 1, "image": "a"}));
    live["metadata"]["annotations"] =
        json!({ANNOTATION: object(json!({"replicas": 1})).to_string()});
    super::super::track_update(
        None,
        &mut live,
        &schema(),
        &updater("kubectl-client-side-apply", 1),
    );

    let migrated = apply(Some(&live), json!({"replicas": 2}), &applier("kubectl", 2)).unwrap();
    assert_eq!(migrated["spec"], json!({"replicas": 2, "image": "a"}));
    assert_eq!(
        migrated["metadata"]["annotations"][ANNOTATION],
        "{\"apiVersion\":\"g.io/v1\",\"kind\":\"Thing\",\"metadata\":{\"name\":\"t\",\"namespace\":\
         \"n\"},\"spec\":{\"replicas\":2}}\n"
    );
    // What client-side apply didn't set still conflicts, and so does every other manager.
    let refused = apply(
        Some(&live),
        json!({"replicas": 2, "image": "b"}),
        &applier("kubectl", 2),
    );
    assert_eq!(
        refused.unwrap_err().message,
        "Apply failed with 1 conflict: conflict with \"kubectl-client-side-apply\" using g.io/v1: \
         .spec.image"
    );
    assert!(apply(Some(&live), json!({"replicas": 2}), &applier("other", 2)).is_err());
}

#[test]
fn configurations_that_do_not_fit_are_refused() {
    let cases = [
        (
            json!({"colour": 1}),
            ".spec.colour: field not declared in schema",
        ),
        (
            json!({"replicas": "x"}),
            ".spec.replicas: expected numeric (int or float), got string",
        ),
        (
            json!({"image": 5}),
            ".spec.image: expected string, got &value.valueUnstructured{Value:5}",
        ),
        (
            json!({"labels": []}),
            ".spec.labels: expected map, got &{[]}",
        ),
        (
            json!({"containers": [{"image": "x"}]}),
            ".spec.containers: element 0: associative list with keys has an element that omits all \
          key fields [\"name\"] (and doesn't have default values for any key fields)",
        ),
        (
            json!({"containers": [{"name": "a"}, {"name": "a"}]}),
            ".spec.containers: duplicate entries for key [name=\"a\"]",
        ),
        (
            json!({"tags": ["a", "a"]}),
            ".spec.tags: duplicate entries for key [=\"a\"]",
        ),
        (
            json!({"image": 5, "replicas": "x"}),
            "errors:\n  .spec.image: expected string, got &value.valueUnstructured{Value:5}\n  .spec.replicas: expected numeric (int \
          or float), got string",
        ),
    ];
    for (spec, problem) in cases {
        let status = apply(None, spec, &applier("one", 1)).unwrap_err();
        assert_eq!((status.code, status.reason), (500, None));
        assert_eq!(
            status.message,
            format!("failed to create typed patch object (n/t; g.io/v1, Kind=Thing): {problem}")
        );
    }
    let mut config = object(json!({}));
    config["metadata"]["managedFields"] = json!([]);
    let status =
        super::super::apply(None, &config, &schema(), &applier("one", 1), false).unwrap_err();
    assert_eq!(
        (status.code, status.message.as_str()),
        (400, "metadata.managedFields must be nil")
    );
}

#[test]
fn subresources_are_separate_owners() {
    let live = apply(None, json!({"replicas": 1}), &applier("one", 1)).unwrap();
    let mut by = applier("one", 2);
    by.subresource = Some("status".to_owned());
    let mut config = object(json!({}));
    config.as_object_mut().unwrap().shift_remove("spec");
    config["status"] = json!({"ready": 1});
    let live = super::super::apply(Some(&live), &config, &schema(), &by, false).unwrap();
    assert_eq!(live["spec"], json!({"replicas": 1}));
    assert_eq!(live["status"], json!({"ready": 1}));
    let entries = live["metadata"]["managedFields"].as_array().unwrap();
    assert_eq!(entries.len(), 2);
    assert_eq!(entries[1]["subresource"], "status");
    assert_eq!(entries[1]["fieldsV1"], json!({"f:status": {"f:ready": {}}}));
}
