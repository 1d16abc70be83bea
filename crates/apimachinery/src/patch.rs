//! The three patches that carry a change: JSON patch, merge patch, strategic merge patch.
//!
//! Server-side apply is in `managed`. What a patch may touch (name, uid, version) is decided by the
//! caller, who sees the object before and after.

mod json;
mod strategic;

pub use json::{MAX_OPERATIONS, json_patch};
pub use strategic::strategic_merge;

use serde_json::{Map, Value};

use crate::status::Status;

/// Applies a JSON merge patch (RFC 7386): null removes, maps merge, everything else replaces.
/// The patch itself must be a map.
pub fn merge_patch(document: &Value, patch: &Value) -> Result<Value, Status> {
    if patch.is_null() {
        return Err(Status::bad_request("Invalid JSON Patch"));
    }
    if !patch.is_object() {
        return Err(Status::bad_request(format!(
            "error decoding patch: {}",
            not_a_map(patch)
        )));
    }
    let mut merged = document.clone();
    merge_into(&mut merged, patch);
    Ok(merged)
}

/// What the real server says of a patch that is no map.
fn not_a_map(patch: &Value) -> String {
    let given = crate::decode::value_name(patch);
    format!("json: cannot unmarshal {given} into Go value of type map[string]interface {{}}")
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
