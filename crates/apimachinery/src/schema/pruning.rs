//! Dropping what the schema doesn't know, and giving numbers their canonical form.

use serde_json::{Number, Value};

use super::{At, Type};
use crate::quantity;

pub(super) fn prune(at: At<'_>, value: &mut Value) -> Vec<String> {
    let mut unknown = Vec::new();
    descend(at, value, &mut String::new(), &mut unknown);
    if !at.is_builtin() {
        unknown.sort();
    }
    unknown
}

fn descend(at: At<'_>, value: &mut Value, path: &mut String, unknown: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            if !matches!(at.node.kind, Type::Object | Type::Any) {
                return;
            }
            map.retain(|name, _| {
                let known = at.allows(name);
                if !known {
                    let dot = if path.is_empty() { "" } else { "." };
                    unknown.push(format!("unknown field \"{path}{dot}{name}\""));
                }
                known
            });
            for (name, child) in map.iter_mut() {
                if let Some(field) = at.field(name) {
                    let length = path.len();
                    if length > 0 {
                        path.push('.');
                    }
                    path.push_str(name);
                    descend(field, child, path, unknown);
                    path.truncate(length);
                }
            }
        }
        Value::Array(list) => {
            let Some(items) = at.items() else { return };
            for (index, child) in list.iter_mut().enumerate() {
                let length = path.len();
                path.push_str(&format!("[{index}]"));
                descend(items, child, path, unknown);
                path.truncate(length);
            }
        }
        Value::Number(number) => {
            if let Some(whole) = whole_number(at, number) {
                *value = Value::from(whole);
            } else if at.node.quantity {
                *value = Value::String(quantity::canonical_or_same(&number.to_string()));
            }
        }
        Value::String(text) if at.node.quantity => *text = quantity::canonical_or_same(text),
        _ => {}
    }
}

fn whole_number(at: At<'_>, number: &Number) -> Option<i64> {
    if !number.is_f64() || !(at.node.kind == Type::Integer || at.node.int_or_string) {
        return None;
    }
    let float = number.as_f64()?;
    // Beyond 2^53 a float no longer says which integer is meant.
    (float.fract() == 0.0 && float.abs() < 9_007_199_254_740_992.0).then_some(float as i64)
}
