//! Golden cases for ownership, on one schema with every kind of list and map.

mod apply;
mod update;

use serde_json::{Value, json};

use super::{FieldSet, Manager, Operation, PathElement};
use crate::schema::Schema;
use crate::status::Status;

fn schema() -> Schema {
    let text = json!({"type": "string"});
    Schema::compile_custom(&json!({
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "properties": {
                    "replicas": {"type": "integer"},
                    "image": text,
                    "selector": {"type": "object", "x-kubernetes-map-type": "atomic",
                                 "additionalProperties": text},
                    "labels": {"type": "object", "additionalProperties": text},
                    "nested": {"type": "object", "properties": {"a": text, "b": text}},
                    "args": {"type": "array", "items": text},
                    "tags": {"type": "array", "x-kubernetes-list-type": "set", "items": text},
                    "containers": {
                        "type": "array",
                        "x-kubernetes-list-type": "map",
                        "x-kubernetes-list-map-keys": ["name"],
                        "items": {
                            "type": "object",
                            "required": ["name"],
                            "properties": {
                                "name": text,
                                "image": text,
                                "ports": {
                                    "type": "array",
                                    "x-kubernetes-list-type": "map",
                                    "x-kubernetes-list-map-keys": ["containerPort", "protocol"],
                                    "items": {"type": "object", "required": ["containerPort"],
                                        "properties": {
                                            "containerPort": {"type": "integer"},
                                            "protocol": {"type": "string", "default": "TCP"},
                                            "name": text,
                                        }},
                                },
                            },
                        },
                    },
                },
            },
            "status": {"type": "object", "properties": {"ready": {"type": "integer"}}},
        },
    }))
    .expect("the schema compiles")
}

/// An object with that spec; with null, one without a spec.
fn object(spec: Value) -> Value {
    let mut object = json!({"apiVersion": "g.io/v1", "kind": "Thing",
                            "metadata": {"name": "t", "namespace": "n"}});
    if !spec.is_null() {
        object["spec"] = spec;
    }
    object
}

fn manager(name: &str, operation: Operation, second: u32) -> Manager {
    Manager {
        name: name.to_owned(),
        operation,
        api_version: "g.io/v1".to_owned(),
        subresource: None,
        time: format!("2026-01-01T00:00:{second:02}Z"),
    }
}

fn applier(name: &str, second: u32) -> Manager {
    manager(name, Operation::Apply, second)
}

fn updater(name: &str, second: u32) -> Manager {
    manager(name, Operation::Update, second)
}

fn apply(live: Option<&Value>, spec: Value, by: &Manager) -> Result<Value, Status> {
    super::apply(live, &object(spec), &schema(), by, false)
}

fn force(live: &Value, spec: Value, by: &Manager) -> Value {
    super::apply(Some(live), &object(spec), &schema(), by, true).unwrap()
}

/// Replaces the spec as an update would.
fn update(live: &Value, spec: Value, by: &Manager) -> Value {
    let mut new = live.clone();
    new["spec"] = spec;
    super::track_update(Some(live), &mut new, &schema(), by);
    new
}

fn create(spec: Value, by: &Manager) -> Value {
    let mut new = object(spec);
    super::track_update(None, &mut new, &schema(), by);
    new
}

fn fields(object: &Value, manager: &str) -> Value {
    let entries = object["metadata"]["managedFields"].as_array();
    entries
        .into_iter()
        .flatten()
        .find(|entry| entry["manager"] == manager)
        .map_or(Value::Null, |entry| entry["fieldsV1"].clone())
}

fn owners(object: &Value) -> Vec<String> {
    let entries = object["metadata"]["managedFields"].as_array();
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    entries
        .into_iter()
        .flatten()
        .map(|entry| format!("{} {}", text(&entry["manager"]), text(&entry["operation"])))
        .collect()
}

#[test]
fn field_sets_survive_their_written_form() {
    let written = json!({
        "f:spec": {
            "f:containers": {
                "k:{\"name\":\"a\"}": {".": {}, "f:image": {}},
                "k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {},
            },
            "f:list": {"i:3": {}},
            "f:tags": {".": {}, "v:\"x\"": {}, "v:5": {}},
        },
    });
    let set = FieldSet::from_json(&written);
    assert_eq!(
        set.paths(),
        [
            ".spec.tags",
            ".spec.containers[containerPort=80,protocol=\"TCP\"]",
            ".spec.containers[name=\"a\"]",
            ".spec.containers[name=\"a\"].image",
            ".spec.list[3]",
            ".spec.tags[=\"x\"]",
            ".spec.tags[=5]",
        ]
    );
    assert_eq!(FieldSet::from_json(&set.to_json()), set);
    assert_eq!(
        set.to_json()["f:spec"]["f:containers"],
        json!({
            "k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {},
            "k:{\"name\":\"a\"}": {".": {}, "f:image": {}},
        })
    );
    // Keys in another order are the same key.
    assert_eq!(
        PathElement::decode("k:{\"b\":1,\"a\":\"x\"}"),
        PathElement::decode("k:{\"a\":\"x\",\"b\":1}")
    );
}

#[test]
fn field_sets_are_sets() {
    let set = |json: Value| FieldSet::from_json(&json);
    let left = set(json!({"f:a": {}, "f:b": {".": {}, "f:c": {}, "f:d": {}}}));
    let right = set(json!({"f:b": {"f:c": {}}, "f:e": {}}));
    assert_eq!(left.difference(&right).paths(), [".a", ".b", ".b.d"]);
    assert_eq!(left.intersection(&right).paths(), [".b.c"]);
    let mut both = left.clone();
    both.unite(&right);
    assert_eq!(both.paths(), [".a", ".b", ".e", ".b.c", ".b.d"]);
    assert!(left.difference(&left).is_empty());
}
