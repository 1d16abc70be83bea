//! The three patches that carry a change: JSON patch, merge patch, strategic merge patch.
//!
//! Server-side apply is in `managed`. What a patch may touch (name, uid, version) is decided by the
//! caller, who sees the object before and after.

mod json;
mod strategic;

pub use json::{MAX_OPERATIONS, json_patch};
pub use strategic::strategic_merge;

use serde_json::{Map, Value};

/// Applies a JSON merge patch (RFC 7386): null removes, maps merge, everything else replaces.
pub fn merge_patch(document: &Value, patch: &Value) -> Value {
    let mut merged = document.clone();
    merge_into(&mut merged, patch);
    merged
}

fn merge_into(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(target) = target else {
        return;
    };
    for (name, change) in patch {
        if change.is_null() {
            target.shift_remove(name);
        } else {
            merge_into(target.entry(name.clone()).or_insert(Value::Null), change);
        }
    }
}

#[cfg(test)]
mod tests;
