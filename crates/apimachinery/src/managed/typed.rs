//! Values seen through their schema: which fields a configuration names, and whether it fits.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::field_set::{FieldSet, PathElement};
use crate::schema::{At, ListType, Type};
use crate::status::{Status, go};

/// How a value takes part in merging.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// As a whole.
    Leaf,
    /// Entry by entry.
    Map,
    /// Item by item, by key or value.
    List,
}

/// The shape of a value; none for null, which takes any.
pub(super) fn shape(at: Option<At<'_>>, value: &Value) -> Option<Shape> {
    match value {
        Value::Null => None,
        Value::Object(_) if at.is_some_and(|at| at.node.map_atomic) => Some(Shape::Leaf),
        Value::Object(_) => Some(Shape::Map),
        Value::Array(_) => match at.map(At::list_type) {
            Some(ListType::Set | ListType::Map(_)) => Some(Shape::List),
            Some(ListType::Atomic) | None => Some(Shape::Leaf),
        },
        _ => Some(Shape::Leaf),
    }
}

/// A list item's path element. `None` where the item lacks a key that has no default.
pub(super) fn item_element(at: At<'_>, item: &Value) -> Option<PathElement> {
    match at.list_type() {
        ListType::Set => Some(PathElement::Value(item.to_string())),
        ListType::Map(keys) => {
            let entries = keys.iter().filter_map(|key| {
                let default = || at.items()?.field(key)?.node.default.as_ref();
                let value = item.get(key).or_else(default)?;
                Some((key.clone(), value.clone()))
            });
            let entries: Vec<_> = entries.collect();
            (!entries.is_empty()).then(|| PathElement::key(entries))
        }
        ListType::Atomic => None,
    }
}

/// The items of an associative list, each with its path element.
pub(super) fn items<'a>(
    at: Option<At<'_>>,
    list: Option<&'a Value>,
) -> Vec<(PathElement, &'a Value)> {
    let list = list.and_then(Value::as_array);
    list.into_iter()
        .flatten()
        .enumerate()
        .map(|(index, item)| {
            let element = at.and_then(|at| item_element(at, item));
            (element.unwrap_or(PathElement::Index(index)), item)
        })
        .collect()
}

/// Every field that a configuration sets.
pub(super) fn field_set(at: At<'_>, value: &Value) -> FieldSet {
    let mut set = FieldSet::default();
    if let Value::Object(map) = value {
        collect_map(Some(at), map, &mut set);
    }
    set
}

fn collect_map(at: Option<At<'_>>, map: &Map<String, Value>, set: &mut FieldSet) {
    for (name, value) in map {
        let element = PathElement::Field(name.clone());
        let declared = at.is_some_and(|at| at.node.properties.contains_key(name));
        let empty = value.as_object().is_some_and(Map::is_empty);
        collect(at.and_then(|at| at.field(name)), value, &element, set);
        if empty || value.is_null() || !declared {
            set.insert(element);
        }
    }
}

fn collect(at: Option<At<'_>>, value: &Value, element: &PathElement, set: &mut FieldSet) {
    match (shape(at, value), value) {
        (Some(Shape::Map), Value::Object(map)) => {
            let mut below = FieldSet::default();
            collect_map(at, map, &mut below);
            set.attach(element.clone(), below);
        }
        (Some(Shape::List), list) => {
            let mut below = FieldSet::default();
            for (element, item) in items(at, Some(list)) {
                collect(at.and_then(At::items), item, &element, &mut below);
                below.insert(element);
            }
            set.attach(element.clone(), below);
        }
        _ => set.insert(element.clone()),
    }
}

/// What a built-in object is before anything is set: fields that are never absent are there.
pub(super) fn zero(at: At<'_>) -> Value {
    let mut map = Map::new();
    for name in at.node.order.iter() {
        let Some(field) = at.field(name) else {
            continue;
        };
        let never_absent = field
            .node
            .default
            .as_ref()
            .is_some_and(|value| *value == Value::Object(Map::new()));
        if at.is_builtin() && never_absent && field.node.kind == Type::Object {
            map.insert(name.clone(), zero(field));
        } else if at.is_builtin()
            && field.node.kind == Type::Array
            && at.node.required.contains(name)
            // Sets are required by a rule, not by their type.
            && *field.list_type() != ListType::Set
        {
            map.insert(name.clone(), Value::Null);
        }
    }
    Value::Object(map)
}

/// Refuses a configuration that doesn't fit its schema. The real server answers 500 without reason.
pub(super) fn check(at: At<'_>, applied: &Value) -> Result<(), Status> {
    let mut problems = Vec::new();
    check_value(Some(at), applied, "", &mut problems);
    let text = match problems.as_slice() {
        [] => return Ok(()),
        [problem] => problem.clone(),
        _ => format!("errors:\n  {}", problems.join("\n  ")),
    };
    let field = |pointer: &str| {
        applied
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let version = field("/apiVersion");
    let version = if version.contains('/') {
        version.to_owned()
    } else {
        format!("/{version}")
    };
    let message = format!(
        "failed to create typed patch object ({}/{}; {version}, Kind={}): {text}",
        field("/metadata/namespace"),
        field("/metadata/name"),
        field("/kind"),
    );
    Err(Status::new(500, None, message))
}

fn check_value(at: Option<At<'_>>, value: &Value, path: &str, problems: &mut Vec<String>) {
    let Some(at) = at else { return };
    if value.is_null() {
        return;
    }
    let expected = match at.node.kind {
        _ if at.node.int_or_string || at.node.quantity => None,
        Type::Any => None,
        Type::Object => (!value.is_object()).then_some("map"),
        Type::Array => (!value.is_array()).then_some("list"),
        Type::String => (!value.is_string()).then_some("string"),
        Type::Integer | Type::Number => (!value.is_number()).then_some("numeric (int or float)"),
        Type::Boolean => (!value.is_boolean()).then_some("boolean"),
    };
    if let Some(expected) = expected {
        let actual = as_printed(at.node.kind, value);
        problems.push(format!("{path}: expected {expected}, got {actual}"));
        return;
    }
    match value {
        Value::Object(map) => {
            for (name, child) in map {
                let path = format!("{path}.{name}");
                if at.allows(name) {
                    check_value(at.field(name), child, &path, problems);
                } else {
                    problems.push(format!("{path}: field not declared in schema"));
                }
            }
        }
        Value::Array(list) => check_list(at, list, path, problems),
        _ => {}
    }
}

/// A value of the wrong type, as the real server's Go prints it there.
fn as_printed(expected: Type, value: &Value) -> String {
    match expected {
        Type::Integer | Type::Number => match value {
            Value::String(_) => "string",
            Value::Bool(_) => "boolean",
            Value::Array(_) => "list",
            _ => "map",
        }
        .to_owned(),
        Type::Object | Type::Array => format!("&{{{}}}", go::format(value)),
        _ => format!("&value.valueUnstructured{{Value:{}}}", go::format(value)),
    }
}

fn check_list(at: At<'_>, list: &[Value], path: &str, problems: &mut Vec<String>) {
    let mut seen = HashSet::new();
    for (index, item) in list.iter().enumerate() {
        let element = match at.list_type() {
            ListType::Atomic => Some(PathElement::Index(index)),
            ListType::Set | ListType::Map(_) => item_element(at, item),
        };
        let problem = match (at.list_type(), &element) {
            (ListType::Set, _) if item.is_object() => {
                "associative list without keys has an element that's a map type".to_owned()
            }
            (ListType::Map(keys), None) => format!(
                "associative list with keys has an element that omits all key fields [\"{}\"] (and \
                 doesn't have default values for any key fields)",
                keys.join("\" \"")
            ),
            _ => String::new(),
        };
        let Some(element) = element.filter(|_| problem.is_empty()) else {
            problems.push(format!("{path}: element {index}: {problem}"));
            continue;
        };
        let item_path = format!("{path}{element}");
        if !seen.insert(element.clone()) {
            problems.push(format!("{path}: duplicate entries for key {element}"));
        }
        check_value(at.items(), item, &item_path, problems);
    }
}
