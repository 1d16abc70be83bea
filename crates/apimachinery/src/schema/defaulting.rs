//! Filling in defaults, after dropping nulls that may not stand where they stand.

use serde_json::Value;

use super::At;

pub(super) fn default(at: At<'_>, value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|name, child| match at.field(name) {
                Some(field) if child.is_null() && !accepts_null(field) => {
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
                        _ => false,
                    }
                }
                _ => true,
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

/// Free-form values keep their nulls.
fn accepts_null(at: At<'_>) -> bool {
    at.node.nullable
        || (at.node.kind == super::Type::Any
            && !at.node.int_or_string
            && !at.node.quantity
            && at.node.one_of.is_empty())
}
