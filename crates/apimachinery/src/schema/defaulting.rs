//! Filling in defaults, after dropping nulls that may not stand where they stand.

use serde_json::Value;

use super::At;

pub(super) fn default(at: At<'_>, value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|name, child| match at.field(name) {
                Some(field) if child.is_null() && !field.accepts_null() => {
                    match at
                        .node
                        .properties
                        .contains_key(name)
                        .then_some(&field.node.default)
                    {
                        Some(Some(default)) if !default.is_null() => {
                            *child = default.clone();
                            true
                        }
                        // Go reads a null entry of a map as the entry's zero value.
                        _ if is_entry(at, name, field) => {
                            *child = zero(field);
                            true
                        }
                        _ => false,
                    }
                }
                Some(field) => !is_unset(at, name, field, child),
                None => true,
            });
            for name in at.node.order.iter() {
                let Some(id) = at.node.properties.get(name) else {
                    continue;
                };
                if let Some(default) = &at.to(*id).node.default
                    && !map.contains_key(name)
                {
                    map.insert(name.clone(), default.clone());
                }
            }
            for (name, child) in map.iter_mut() {
                if let Some(field) = at.field(name) {
                    default(field, child);
                }
            }
        }
        Value::Array(list) => {
            if let Some(items) = at.items() {
                for child in list {
                    default(items, child);
                }
            }
        }
        _ => {}
    }
}

/// Go leaves out an empty list or map that isn't required, so a built-in object has none.
fn is_unset(at: At<'_>, name: &str, field: At<'_>, child: &Value) -> bool {
    let empty = match child {
        Value::Array(list) => list.is_empty() && field.node.kind == super::Type::Array,
        Value::Object(map) => {
            map.is_empty()
                && field.node.properties.is_empty()
                && matches!(field.node.additional, super::Additional::Of(_))
        }
        _ => false,
    };
    empty && field.node.builtin && !at.node.required.iter().any(|required| required == name)
}

/// Whether a name is the key of a built-in map rather than a field.
fn is_entry(at: At<'_>, name: &str, field: At<'_>) -> bool {
    field.node.builtin
        && !at.node.properties.contains_key(name)
        && !matches!(field.node.kind, super::Type::Object | super::Type::Any)
}

fn zero(at: At<'_>) -> Value {
    match at.node.kind {
        super::Type::String => "".into(),
        super::Type::Integer | super::Type::Number => 0.into(),
        super::Type::Boolean => false.into(),
        super::Type::Array | super::Type::Object | super::Type::Any => Value::Null,
    }
}
