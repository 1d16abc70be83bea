//! Defaults of built-in kinds that no schema carries, and fields that are only written.

use base64::Engine;
use serde_json::Value;

use super::metadata_mut;
use crate::jsonpath::JsonPath;
use crate::registry::Resource;

/// Fills in absent fields as the resource's data says. Parents are made only for status and for
/// fields right below `spec`.
pub fn apply_defaults(object: &mut Value, resource: &Resource) {
    for (path, value) in &resource.rules.defaults {
        fill(object, path, |_| Some(value.clone()));
    }
    for (path, from) in &resource.rules.copies {
        fill(object, path, |beside| beside.get(from).cloned());
    }
}

fn fill(object: &mut Value, path: &str, value: impl Fn(&Value) -> Option<Value>) {
    let Some(path) = JsonPath::parse(path) else {
        return;
    };
    let Some((parent, field)) = path.split_last() else {
        return;
    };
    if parent.first(object).is_none_or(Value::is_null) && !path_is_list(&parent, object) {
        parent.set(object, Value::Object(serde_json::Map::new()));
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

/// Whether a path goes through list items: then there is nothing to make.
fn path_is_list(path: &JsonPath, object: &Value) -> bool {
    let mut probe = object.clone();
    !path.set(&mut probe, Value::Null)
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
