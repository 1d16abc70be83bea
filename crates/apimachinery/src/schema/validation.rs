//! Checking a value: types, bounds, combinations, list keys, then CEL rules.
//!
//! A subtree that is as it was before is let through, so that a rule that came later doesn't lock
//! objects that were there earlier.

mod scalars;

use std::collections::HashSet;

use serde_json::Value;

use scalars::{check_number, check_range, check_text};

use super::{At, ListType, Schema, Type, cel};
use crate::status::{FieldError, FieldErrorKind};

pub(super) fn structure(schema: &Schema, new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    check(schema.root(), new, old, "", &mut errors);
    if schema.custom {
        check_list_keys(schema.root(), new, old, "", &mut errors);
    }
    errors
}

/// What the rules say, which are looked at only where nothing before was too wrong for them.
pub(super) fn rules(
    schema: &Schema,
    new: &Value,
    old: Option<&Value>,
    before: &[FieldError],
) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if schema.root().node.rules_within {
        let blocking = |error: &FieldError| {
            matches!(
                error.kind,
                FieldErrorKind::Required
                    | FieldErrorKind::TooLong
                    | FieldErrorKind::TooMany
                    | FieldErrorKind::TypeInvalid
                    | FieldErrorKind::NotSupported
            )
        };
        if before.iter().any(blocking) {
            let detail = "some validation rules were not checked because the object was invalid; \
                          correct the existing errors to complete validation";
            errors.push(FieldError::invalid("", &Value::Null, detail));
        } else {
            cel::check(schema.root(), new, old, "", &mut errors);
        }
    }
    errors
}

pub(super) fn join_name(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

pub(super) fn join_index(path: &str, index: usize) -> String {
    format!("{path}[{index}]")
}

/// The old item that a new one continues, by list key.
pub(super) fn correlate<'a>(at: At<'_>, item: &Value, old: Option<&'a Value>) -> Option<&'a Value> {
    let old = old?.as_array()?;
    old.iter().find(|other| cel::same_item(at, item, other))
}

fn check(at: At<'_>, value: &Value, old: Option<&Value>, path: &str, errors: &mut Vec<FieldError>) {
    // A pointer or a list of Go's may be null.
    if old == Some(value) || (value.is_null() && (at.node.nullable || at.is_builtin())) {
        return;
    }
    if let Some(expected) = wrong_type(at, value) {
        let (expected, actual) = match (at.node.bounds.format.as_deref(), value) {
            // Where a format is wanted, the real server compares formats.
            (Some(format), Value::Number(number)) if !at.node.int_or_string => {
                (format, if number.is_f64() { "float64" } else { "int64" })
            }
            (Some(format), Value::Bool(_) | Value::Object(_)) if !at.node.int_or_string => {
                (format, "")
            }
            _ => (expected, type_of(value)),
        };
        let detail = format!("{path} in body must be of type {expected}: \"{actual}\"");
        errors.push(FieldError::type_invalid(path, &Value::from(actual), detail));
        check_combinations(at, value, path, errors);
        if let Value::Number(number) = value {
            check_range(at, number, path, errors);
        }
        return;
    }
    check_combinations(at, value, path, errors);
    match value {
        Value::String(text) => check_text(at, text, path, errors),
        Value::Number(number) => check_number(at, number, path, errors),
        Value::Array(list) => check_list(at, list, old, path, errors),
        _ => {}
    }
    if let Some(allowed) = &at.node.bounds.allowed
        && !allowed.iter().any(|other| same_value(other, value))
    {
        let names: Vec<String> = allowed
            .iter()
            .map(|value| {
                value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned)
            })
            .collect();
        errors.push(FieldError::not_supported(path, value, &names));
    }
    if let Value::Object(map) = value {
        check_map(at, map, old, path, errors);
    }
}

/// The expected type's name, where the value is of another.
fn wrong_type(at: At<'_>, value: &Value) -> Option<&'static str> {
    if at.node.int_or_string {
        let fits = value.is_string() || value.as_i64().is_some() || value.as_u64().is_some();
        return (!fits).then_some("integer,string");
    }
    let fits = match at.node.kind {
        Type::Any => true,
        Type::Object => value.is_object(),
        Type::Array => value.is_array(),
        Type::String => value.is_string(),
        Type::Integer => value.as_f64().is_some_and(|number| number.fract() == 0.0),
        Type::Number => value.is_number(),
        Type::Boolean => value.is_boolean(),
    };
    (!fits).then(|| at.node.kind.as_str())
}

pub(super) fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Equality where `1` and `1.0` are one value.
fn same_value(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => left.as_f64() == right.as_f64(),
        _ => left == right,
    }
}

fn check_combinations(at: At<'_>, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let node = at.node;
    let attempt = |id: super::NodeId| {
        let mut errors = Vec::new();
        check(at.to(id), value, None, path, &mut errors);
        errors
    };
    let mut fail = |what: &str, best: Option<Vec<FieldError>>| {
        let detail = format!("{} {what}", crate::status::quote(path));
        errors.push(FieldError::invalid("", &Value::from(""), detail));
        errors.extend(best.unwrap_or_default());
    };
    let best = |attempts: Vec<Vec<FieldError>>| attempts.into_iter().min_by_key(Vec::len);

    if !node.any_of.is_empty() {
        let attempts: Vec<_> = node.any_of.iter().map(|id| attempt(*id)).collect();
        if attempts.iter().all(|errors| !errors.is_empty()) {
            fail("must validate at least one schema (anyOf)", best(attempts));
        }
    }
    if !node.one_of.is_empty() {
        let attempts: Vec<_> = node.one_of.iter().map(|id| attempt(*id)).collect();
        match attempts.iter().filter(|errors| errors.is_empty()).count() {
            0 => fail(
                "must validate one and only one schema (oneOf). Found none valid",
                best(attempts),
            ),
            1 => {}
            count => fail(
                &format!(
                    "must validate one and only one schema (oneOf). Found {count} valid \
                     alternatives"
                ),
                None,
            ),
        }
    }
    if !node.all_of.is_empty() {
        let attempts: Vec<_> = node.all_of.iter().map(|id| attempt(*id)).collect();
        let failed = attempts.iter().filter(|errors| !errors.is_empty()).count();
        if failed > 0 {
            let none = if failed == attempts.len() {
                ". None validated"
            } else {
                ""
            };
            let all = attempts.into_iter().flatten().collect();
            fail(
                &format!("must validate all the schemas (allOf){none}"),
                Some(all),
            );
        }
    }
    if let Some(not) = node.not
        && attempt(not).is_empty()
    {
        fail("must not validate the schema (not)", None);
    }
}

fn check_list(
    at: At<'_>,
    list: &[Value],
    old: Option<&Value>,
    path: &str,
    errors: &mut Vec<FieldError>,
) {
    let bounds = &at.node.bounds;
    let count = list.len() as u64;
    if let Some(items) = at.items() {
        for (index, item) in list.iter().enumerate() {
            check(
                items,
                item,
                correlate(at, item, old),
                &join_index(path, index),
                errors,
            );
        }
    }
    let shown = || Value::Array(list.to_vec());
    check_count(
        count,
        (bounds.min_items, bounds.max_items),
        "items",
        path,
        errors,
    );
    if bounds.unique_items {
        let mut seen = HashSet::new();
        if !list.iter().all(|item| seen.insert(item.to_string())) {
            let detail = format!("{path} in body shouldn't contain duplicates");
            errors.push(FieldError::invalid(path, &shown(), detail));
        }
    }
}

fn check_map(
    at: At<'_>,
    map: &serde_json::Map<String, Value>,
    old: Option<&Value>,
    path: &str,
    errors: &mut Vec<FieldError>,
) {
    let bounds = &at.node.bounds;
    let count = map.len() as u64;
    for name in at.node.required.iter() {
        if !map.contains_key(name) {
            errors.push(FieldError::required(join_name(path, name), ""));
        }
    }
    for (name, child) in map {
        if let Some(field) = at.field(name) {
            let old = old.and_then(|old| old.get(name));
            check(field, child, old, &join_name(path, name), errors);
        }
    }
    let bounds = (bounds.min_properties, bounds.max_properties);
    check_count(count, bounds, "properties", path, errors);
}

fn check_count(
    count: u64,
    (min, max): (Option<u64>, Option<u64>),
    what: &str,
    path: &str,
    errors: &mut Vec<FieldError>,
) {
    if let Some(min) = min.filter(|min| count < *min) {
        let detail = format!("{path} in body should have at least {min} {what}");
        errors.push(FieldError::invalid(path, &Value::from(count), detail));
    }
    if let Some(max) = max.filter(|max| count > *max) {
        errors.push(FieldError::too_many(path, count, max));
    }
}

/// Items of sets, and keys of list-maps, must each be there once.
fn check_list_keys(
    at: At<'_>,
    value: &Value,
    old: Option<&Value>,
    path: &str,
    errors: &mut Vec<FieldError>,
) {
    if old == Some(value) {
        return;
    }
    match value {
        Value::Object(map) => {
            for (name, child) in map {
                if let Some(field) = at.field(name) {
                    let old = old.and_then(|old| old.get(name));
                    check_list_keys(field, child, old, &join_name(path, name), errors);
                }
            }
        }
        Value::Array(list) => {
            let mut seen = HashSet::new();
            for (index, item) in list.iter().enumerate() {
                let identity = match at.list_type() {
                    ListType::Atomic => None,
                    ListType::Set => Some(item.clone()),
                    ListType::Map(keys) => Some(identity(keys, item)),
                };
                let path = join_index(path, index);
                if let Some(identity) = identity
                    && !seen.insert(identity.to_string())
                {
                    errors.push(FieldError::duplicate(path.as_str(), &identity));
                }
                if let Some(items) = at.items() {
                    check_list_keys(items, item, correlate(at, item, old), &path, errors);
                }
            }
        }
        _ => {}
    }
}

fn identity(keys: &[String], item: &Value) -> Value {
    let entries = keys
        .iter()
        .filter_map(|key| Some((key.clone(), item.get(key)?.clone())));
    Value::Object(entries.collect())
}
