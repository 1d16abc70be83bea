//! Defaults of built-in kinds that no schema carries, and fields that are only written.

use base64::Engine;
use serde_json::{Map, Value};

use super::metadata_mut;
use crate::jsonpath::JsonPath;
use crate::registry::{Resource, When};

/// Fills in absent fields as the resource's data says. Parents are made only for status and for
/// fields right below `spec`.
pub fn apply_defaults(object: &mut Value, resource: &Resource) {
    for (path, value) in &resource.rules.defaults {
        match value.as_str() {
            Some("pull_policy()") => fill(object, path, |beside| Some(pull_policy(beside).into())),
            _ => fill(object, path, |_| Some(value.clone())),
        }
    }
    apply_when(object, &resource.rules.when);
    for (path, from) in &resource.rules.copies {
        copy(object, path, from);
    }
    for (path, from) in &resource.rules.fills {
        fill_map(object, path, from);
    }
}

/// Fills in what a new object has before anyone has set it.
pub fn apply_unowned(object: &mut Value, resource: &Resource) {
    let (uid, name) = (super::text(object, "uid"), super::text(object, "name"));
    let mut when = resource.rules.when_created.clone();
    for when in &mut when {
        for value in when.fields.values_mut() {
            fill_functions(value, uid, name);
        }
    }
    apply_when(object, &when);
    for (path, value) in &resource.rules.on_create {
        let value = match value.as_str() {
            Some("qos_class()") => qos_class(object).into(),
            _ => value.clone(),
        };
        fill(object, path, |_| Some(value.clone()));
    }
}

/// Puts what only the object knows into a value.
fn fill_functions(value: &mut Value, uid: &str, name: &str) {
    match value {
        Value::String(text) if text == "uid()" => *value = uid.into(),
        Value::String(text) if text == "name()" => *value = name.into(),
        Value::Object(map) => map
            .values_mut()
            .for_each(|value| fill_functions(value, uid, name)),
        _ => {}
    }
}

fn apply_when(object: &mut Value, rules: &[When]) {
    for when in rules {
        if let Some(path) = JsonPath::parse(&when.at) {
            path.each_mut(object, &mut |at| {
                let given = at.as_object_mut().filter(|at| {
                    let mut wanted = when.is.iter();
                    let is =
                        wanted.all(|(field, value)| at.get(field).unwrap_or(&Value::Null) == value);
                    let mut only = when.only.iter();
                    is && only.all(|only| at.keys().all(|field| only.contains(field)))
                });
                if let Some(at) = given {
                    add_absent(at, &when.fields);
                }
            });
        }
    }
}

/// How a pod's containers ask for processors and memory, taken together.
fn qos_class(pod: &Value) -> &'static str {
    let containers = ["containers", "initContainers"].map(|list| &pod["spec"][list]);
    let containers = containers
        .iter()
        .filter_map(|list| list.as_array())
        .flatten();
    let (mut any, mut guaranteed) = (false, true);
    for container in containers {
        let resources = &container["resources"];
        for name in ["cpu", "memory"] {
            let (request, limit) = (&resources["requests"][name], &resources["limits"][name]);
            any |= !request.is_null() || !limit.is_null();
            guaranteed &= !limit.is_null() && (request.is_null() || request == limit);
        }
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

fn add_absent(at: &mut Map<String, Value>, fields: &Map<String, Value>) {
    for (field, value) in fields {
        match (at.get_mut(field), value) {
            (None | Some(Value::Null), _) => {
                at.insert(field.clone(), value.clone());
            }
            (Some(Value::Object(inner)), Value::Object(fields)) => add_absent(inner, fields),
            _ => {}
        }
    }
}

/// Images that may change under their name are pulled again.
fn pull_policy(container: &Value) -> &'static str {
    let image = container["image"].as_str().unwrap_or_default();
    let name = image.rsplit('/').next().unwrap_or(image);
    match name.split_once('@') {
        Some(_) => "IfNotPresent",
        None => match name.split_once(':') {
            None | Some((_, "latest")) => "Always",
            Some(_) => "IfNotPresent",
        },
    }
}

fn fill(object: &mut Value, path: &str, value: impl Fn(&Value) -> Option<Value>) {
    let Some(path) = JsonPath::parse(path) else {
        return;
    };
    let Some((parent, field)) = path.split_last() else {
        return;
    };
    // Where the path goes through list items there is nothing to make.
    if parent.first(object).is_none_or(Value::is_null) && parent.can_set(object) {
        parent.set(object, Value::Object(Map::new()));
    }
    parent.each_mut(object, &mut |at| {
        if at.is_object()
            && at.get(field).is_none_or(Value::is_null)
            && let Some(value) = value(at)
        {
            at[field] = value;
        }
    });
}

/// Has each place to which a path leads changed: what holds its last field, and that field's name.
fn each(object: &mut Value, path: &str, mut change: impl FnMut(&mut Value, &str)) {
    let path = JsonPath::parse(path);
    if let Some((parent, field)) = path.as_ref().and_then(JsonPath::split_last) {
        parent.each_mut(object, &mut |at| change(at, field));
    }
}

/// Repeats a field where another is absent, or is what Go takes for absent.
fn copy(object: &mut Value, path: &str, from: &str) {
    each(object, path, |at, field| {
        let absent = at
            .get(field)
            .is_none_or(|value| value.is_null() || *value == 0 || *value == "");
        if absent && let Some(value) = at.get(from).cloned() {
            at[field] = value;
        }
    });
}

/// Gives a map the entries that it lacks of the map beside it.
fn fill_map(object: &mut Value, path: &str, from: &str) {
    each(object, path, |at, field| {
        let Some(entries) = at.get(from).and_then(Value::as_object).cloned() else {
            return;
        };
        if at[field].is_null() {
            at[field] = Value::Object(Map::new());
        }
        if let Some(map) = at[field].as_object_mut() {
            add_absent(map, &entries);
        }
    });
}

/// Moves fields that are only written to where they are kept, encoded.
pub fn write_only_fields(object: &mut Value, resource: &Resource) {
    for (from, to) in &resource.rules.write_only {
        let (Some(from), Some(to)) = (JsonPath::parse(from), JsonPath::parse(to)) else {
            continue;
        };
        let Some(entries) = from.first(object).and_then(Value::as_object).cloned() else {
            continue;
        };
        let target = to.first(object).cloned().unwrap_or(Value::Null);
        let readable = entries.values().all(Value::is_string)
            && matches!(target, Value::Null | Value::Object(_));
        if !readable {
            // Left where it is: the schema says what is wrong with it.
            continue;
        }
        let mut kept = target.as_object().cloned().unwrap_or_default();
        for (key, value) in entries {
            let text = value.as_str().unwrap_or_default();
            kept.insert(
                key,
                base64::engine::general_purpose::STANDARD
                    .encode(text)
                    .into(),
            );
        }
        to.set(object, Value::Object(kept));
        if let Some((parent, field)) = from.split_last() {
            parent.each_mut(object, &mut |at| {
                at.as_object_mut().map(|at| at.shift_remove(field));
            });
        }
    }
    metadata_mut(object);
}
