//! kubectl's client-side annotation: what it allows its server-side apply to take over, and its
//! refresh, so that a later client-side apply still sees the truth.

use serde_json::{Map, Value};

use super::field_set::FieldSet;
use super::typed;
use crate::schema::Schema;

const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";
const POINTER: &str = "/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration";

/// The fields that the last client-side apply set.
pub(super) fn fields(live: &Value, schema: &Schema) -> FieldSet {
    let text = live
        .pointer(POINTER)
        .and_then(Value::as_str)
        .unwrap_or_default();
    match serde_json::from_str::<Value>(text) {
        Ok(applied) => typed::field_set(schema.root(), &applied),
        Err(_) => FieldSet::default(),
    }
}

/// Rewrites the annotation from what was applied, where the object carries one.
pub(super) fn refresh(object: &mut Value, applied: &Value) {
    let Some(annotation) = object.pointer_mut(POINTER) else {
        return;
    };
    let mut applied = applied.clone();
    if let Some(metadata) = applied.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.shift_remove("managedFields");
        if let Some(annotations) = metadata
            .get_mut("annotations")
            .and_then(Value::as_object_mut)
        {
            annotations.shift_remove(ANNOTATION);
        }
    }
    *annotation = Value::String(format!("{}\n", sorted(&applied)));
}

/// The same value with every map in the order of its keys.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(name, _)| name.as_str());
            let entries = entries
                .into_iter()
                .map(|(name, value)| (name.clone(), sorted(value)));
            Value::Object(entries.collect::<Map<_, _>>())
        }
        Value::Array(list) => Value::Array(list.iter().map(sorted).collect()),
        other => other.clone(),
    }
}
