//! Recorded cases, and the steps that managers take in them.
#![allow(dead_code, reason = "each suite uses a part of it")]

use std::path::Path;

use serde_json::{Value, json};
use waft_apimachinery::managed::{self, Manager, Operation};
use waft_apimachinery::schema::Schema;
use waft_apimachinery::status::Status;

pub(crate) const GROUP: &str = "recorded.waft.test";
/// Stands for every time, in the recordings too.
pub(crate) const TIME: &str = "2026-01-01T00:00:00Z";

pub(crate) fn read(path: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    let text = text.replace("\"time\": \"T\"", &format!("\"time\": \"{TIME}\""));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path:?}: {error}"))
}

pub(crate) fn cases(document: &Value) -> impl Iterator<Item = (usize, &Value)> {
    document["cases"]
        .as_array()
        .into_iter()
        .flatten()
        .enumerate()
}

pub(crate) fn thing(kind: &str, name: &str, rest: Value) -> Value {
    let mut object = json!({
        "apiVersion": format!("{GROUP}/v1"), "kind": kind,
        "metadata": {"name": name, "namespace": "recorded"},
    });
    for (name, value) in rest.as_object().into_iter().flatten() {
        object[name] = value.clone();
    }
    object
}

/// One step of a sequence, on the object as it stands.
pub(crate) fn step(
    schema: &Schema,
    live: Option<&Value>,
    name: &str,
    step: &Value,
) -> Result<Value, Status> {
    let subresource = step["subresource"].as_str();
    let applies = step["verb"] == "apply";
    let manager = Manager {
        name: step["manager"].as_str().unwrap_or_default().to_owned(),
        operation: if applies {
            Operation::Apply
        } else {
            Operation::Update
        },
        api_version: format!("{GROUP}/v1"),
        subresource: subresource.map(str::to_owned),
        time: TIME.to_owned(),
    };
    let metadata = step.get("metadata").cloned().unwrap_or(json!({}));
    if !applies && let Some(live) = live {
        let mut patch = step["body"].clone();
        patch["metadata"] = metadata;
        let mut new = waft_apimachinery::patch::merge_patch(live, &patch).expect("a merge patch");
        schema.default(&mut new);
        managed::track_update(Some(live), &mut new, schema, &manager);
        return Ok(new);
    }
    let mut body = thing("Owned", name, step["body"].clone());
    for (name, value) in metadata.as_object().into_iter().flatten() {
        body["metadata"][name] = value.clone();
    }
    if !applies {
        schema.default(&mut body);
        managed::track_update(None, &mut body, schema, &manager);
        return Ok(body);
    }
    if subresource == Some("status") {
        body.as_object_mut()
            .expect("an object")
            .shift_remove("spec");
    }
    let force = step["force"] == json!(true);
    let mut applied = managed::apply(live, &body, schema, &manager, force)?;
    schema.default(&mut applied);
    match schema.validate(&applied, live) {
        errors if errors.is_empty() => Ok(applied),
        errors => Err(Status::invalid(GROUP, "Owned", name, errors)),
    }
}

/// The order of map keys is the writer's, and no part of the answer.
pub(crate) fn ordered(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map
                .iter()
                .map(|(key, value)| (key.clone(), ordered(value)))
                .collect();
            entries.sort_by(|left, right| left.0.cmp(&right.0));
            Value::Object(entries.into_iter().collect())
        }
        Value::Array(list) => list.iter().map(ordered).collect(),
        other => other.clone(),
    }
}

/// An object with its owners in the order of their names: those of one second stand in it anyway,
/// and seconds end at any time.
pub(crate) fn settled(object: &Value) -> Value {
    let mut object = ordered(object);
    if let Some(Value::Array(entries)) = object.pointer_mut("/metadata/managedFields") {
        entries.sort_by_key(|entry| {
            ["operation", "manager", "subresource"].map(|key| entry[key].to_string())
        });
    }
    object
}
