//! Strategic merge patch: lists merge by key, and `$` directives steer how.

use serde_json::{Map, Value};

use crate::schema::{At, PatchStrategy, Schema};
use crate::status::{Status, go};

const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const ORDER_PREFIX: &str = "$setElementOrder/";
const DELETE_PREFIX: &str = "$deleteFromPrimitiveList/";

type Object = Map<String, Value>;

/// Merges a patch into a document by the merge keys of a built-in kind's schema.
pub fn strategic_merge(document: &Value, patch: &Value, schema: &Schema) -> Result<Value, Status> {
    let (Value::Object(document), Value::Object(patch)) = (document, patch) else {
        return Err(Status::bad_request(super::not_a_map(patch)));
    };
    let merged = merge_map(document.clone(), patch, Some(schema.root()))?;
    Ok(Value::Object(merged))
}

/// What the schema says of one field.
fn field<'a>(at: Option<At<'a>>, name: &str) -> Option<At<'a>> {
    at.and_then(|at| at.field(name))
}

fn strategy<'a>(at: Option<At<'a>>) -> Option<&'a PatchStrategy> {
    at.and_then(|at| at.node.patch.as_ref())
}

fn merge_map(mut target: Object, patch: &Object, at: Option<At<'_>>) -> Result<Object, Status> {
    if let Some(directive) = patch.get(DIRECTIVE) {
        return match directive.as_str() {
            Some("replace") => {
                let mut replacement = patch.clone();
                replacement.shift_remove(DIRECTIVE);
                Ok(strip_map(replacement))
            }
            Some("delete") => Ok(Object::new()),
            Some("merge") => {
                let mut rest = patch.clone();
                rest.shift_remove(DIRECTIVE);
                merge_map(target, &rest, at)
            }
            _ => Err(unknown_directive(patch)),
        };
    }
    retain_keys(&mut target, patch)?;
    let orders = element_orders(patch)?;
    for (name, change) in patch {
        if name == RETAIN_KEYS || name.starts_with(ORDER_PREFIX) {
            continue;
        }
        if let Some(list_name) = name.strip_prefix(DELETE_PREFIX) {
            delete_primitives(&mut target, list_name, change)?;
            continue;
        }
        if change.is_null() {
            target.shift_remove(name);
            continue;
        }
        let field = field(at, name);
        let order = orders
            .iter()
            .find(|(field, _)| field == name)
            .map(|(_, order)| *order);
        let merged = match (target.get_mut(name).map(Value::take), change) {
            (Some(Value::Object(old)), Value::Object(change)) if !replaces(field) => {
                Value::Object(merge_map(old, change, field)?)
            }
            (Some(Value::Array(old)), Value::Array(change)) => {
                match strategy(field).filter(|strategy| strategy.merge) {
                    Some(strategy) => {
                        let key = strategy.merge_key.as_deref();
                        Value::Array(merge_list(old, change, key, field, order)?)
                    }
                    None => strip(Value::Array(change.clone())),
                }
            }
            _ => strip(change.clone()),
        };
        target.insert(name.clone(), merged);
    }
    for (name, order) in orders {
        if patch.contains_key(name) {
            continue;
        }
        let key = strategy(field(at, name)).and_then(|strategy| strategy.merge_key.as_deref());
        if let Some(Value::Array(list)) = target.get_mut(name) {
            let original = list.clone();
            *list = arrange(std::mem::take(list), order, &original, key);
        }
    }
    Ok(target)
}

/// Maps that a patch replaces as a whole. `retainKeys` alone still merges.
fn replaces(at: Option<At<'_>>) -> bool {
    strategy(at).is_some_and(|strategy| {
        !strategy.merge && !strategy.retain_keys && strategy.merge_key.is_none()
    })
}

fn retain_keys(target: &mut Object, patch: &Object) -> Result<(), Status> {
    let Some(directive) = patch.get(RETAIN_KEYS) else {
        return Ok(());
    };
    let Some(keys) = directive.as_array() else {
        return Err(Status::bad_request("invalid patch format of retainKeys"));
    };
    let keeps = |name: &str| keys.iter().any(|key| key.as_str() == Some(name));
    for (name, change) in patch {
        if name != RETAIN_KEYS && !name.starts_with('$') && !change.is_null() && !keeps(name) {
            return Err(Status::bad_request("invalid patch format of retainKeys"));
        }
    }
    target.retain(|name, _| keeps(name));
    Ok(())
}

fn element_orders(patch: &Object) -> Result<Vec<(&str, &[Value])>, Status> {
    let mut orders = Vec::new();
    for (name, order) in patch {
        let Some(field) = name.strip_prefix(ORDER_PREFIX) else {
            continue;
        };
        let Some(order) = order.as_array() else {
            return Err(refuse(format!("{name} is not a list")));
        };
        orders.push((field, order.as_slice()));
    }
    Ok(orders)
}

fn delete_primitives(target: &mut Object, name: &str, doomed: &Value) -> Result<(), Status> {
    let Some(doomed) = doomed.as_array() else {
        return Err(refuse(format!("{DELETE_PREFIX}{name} is not a list")));
    };
    if let Some(Value::Array(list)) = target.get_mut(name) {
        list.retain(|item| !doomed.contains(item));
    }
    Ok(())
}

fn merge_list(
    original: Vec<Value>,
    patch: &[Value],
    key: Option<&str>,
    at: Option<At<'_>>,
    order: Option<&[Value]>,
) -> Result<Vec<Value>, Status> {
    let maps = original.iter().chain(patch).any(Value::is_object);
    let (merged, patch_items) = if maps {
        let key =
            key.ok_or_else(|| refuse("cannot merge lists without merge key for this field"))?;
        merge_items(original.clone(), patch, key, at.and_then(At::items))?
    } else {
        let mut merged: Vec<Value> = Vec::new();
        for item in original.iter().chain(patch) {
            if !merged.contains(item) {
                merged.push(item.clone());
            }
        }
        (merged, patch.to_vec())
    };
    let key = if maps { key } else { None };
    if let Some(order) = order {
        check_order(&patch_items, order, key)?;
    }
    Ok(arrange(
        merged,
        order.unwrap_or(&patch_items),
        &original,
        key,
    ))
}

/// Merges maps by key; also answers the patch's items without those that were directives.
fn merge_items(
    mut list: Vec<Value>,
    patch: &[Value],
    key: &str,
    items: Option<At<'_>>,
) -> Result<(Vec<Value>, Vec<Value>), Status> {
    let (mut changes, mut replace) = (Vec::new(), false);
    for change in patch {
        let Some(map) = change.as_object() else {
            return Err(refuse("a list mixes maps and other values"));
        };
        match map
            .get(DIRECTIVE)
            .map(|directive| directive.as_str().unwrap_or_default())
        {
            None => changes.push(map),
            Some("delete") => {
                let doomed = map.get(key).ok_or_else(|| missing_key(map, key))?;
                list.retain(|item| item.get(key).map(identity) != Some(identity(doomed)));
            }
            // The list becomes what stands beside this item, which itself is no part of it.
            Some("replace") => replace = true,
            Some("merge") => {
                return Err(refuse("merging lists cannot yet be specified in the patch"));
            }
            Some(_) => return Err(unknown_directive(map)),
        }
    }
    let plain: Vec<Value> = changes
        .iter()
        .map(|map| Value::Object((*map).clone()))
        .collect();
    if replace {
        return Ok((plain.iter().cloned().map(strip).collect(), plain));
    }
    for change in changes {
        let wanted = change.get(key).ok_or_else(|| missing_key(change, key))?;
        let found = list
            .iter_mut()
            .find(|item| item.get(key).map(identity) == Some(identity(wanted)));
        match found {
            Some(item) => {
                let old = match item.take() {
                    Value::Object(old) => old,
                    _ => Object::new(),
                };
                *item = Value::Object(merge_map(old, change, items)?);
            }
            None => list.push(strip(Value::Object(change.clone()))),
        }
    }
    Ok((list, plain))
}

/// A patch that contradicts itself. The real server answers 500 without a reason.
fn refuse(message: impl Into<String>) -> Status {
    Status::new(500, None, message)
}

fn missing_key(map: &Object, key: &str) -> Status {
    let map = go::format(&Value::Object(map.clone()));
    refuse(format!(
        "map: {map} does not contain declared merge key: {key}"
    ))
}

fn unknown_directive(map: &Object) -> Status {
    let directive = map.get(DIRECTIVE).map(go::format).unwrap_or_default();
    let map = go::format(&Value::Object(map.clone()));
    refuse(format!("unknown patch type: {directive} in map: {map}"))
}

/// Keys are compared as texts: `80` and `"80"` are one.
fn identity(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

fn item_identity(item: &Value, key: Option<&str>) -> Option<String> {
    match key {
        Some(key) => item.get(key).map(identity),
        None => Some(identity(item)),
    }
}

fn position(list: &[Value], item: &Value, key: Option<&str>) -> Option<usize> {
    let wanted = item_identity(item, key)?;
    list.iter()
        .position(|other| item_identity(other, key).as_ref() == Some(&wanted))
}

fn check_order(patch: &[Value], order: &[Value], key: Option<&str>) -> Result<(), Status> {
    let mut last = 0;
    for item in patch {
        match position(order, item, key) {
            Some(index) if index >= last => last = index,
            _ => {
                let patch = go::format(&Value::Array(patch.to_vec()));
                let order = go::format(&Value::Array(order.to_vec()));
                return Err(refuse(format!(
                    "The order in patch list:\n{patch}\n doesn't match $setElementOrder list:\n{order}\n"
                )));
            }
        }
    }
    Ok(())
}

/// Items that the order names follow it, the others keep their places relative to each other.
/// Where old and new can't be compared, the ordered item goes first.
fn arrange(
    merged: Vec<Value>,
    order: &[Value],
    original: &[Value],
    key: Option<&str>,
) -> Vec<Value> {
    let (mut ordered, mut others): (Vec<Value>, Vec<Value>) = merged
        .into_iter()
        .partition(|item| position(order, item, key).is_some());
    ordered.sort_by_key(|item| position(order, item, key));
    others.sort_by_key(|item| position(original, item, key));
    let mut arranged = Vec::with_capacity(ordered.len() + others.len());
    let (mut ordered, mut others) = (
        ordered.into_iter().peekable(),
        others.into_iter().peekable(),
    );
    loop {
        let other_first = match (others.peek(), ordered.peek()) {
            (None, None) => return arranged,
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (Some(other), Some(next)) => {
                match (
                    position(original, other, key),
                    position(original, next, key),
                ) {
                    (Some(other), Some(next)) => other < next,
                    _ => false,
                }
            }
        };
        arranged.extend(if other_first {
            others.next()
        } else {
            ordered.next()
        });
    }
}

/// What a patch adds where nothing was: without nulls and directives.
fn strip(value: Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(strip_map(map)),
        Value::Array(list) => Value::Array(
            list.into_iter()
                .filter(|item| {
                    item.get(DIRECTIVE)
                        .is_none_or(|d| d.as_str() == Some("merge"))
                })
                .map(strip)
                .collect(),
        ),
        other => other,
    }
}

fn strip_map(map: Object) -> Object {
    map.into_iter()
        .filter(|(name, value)| {
            let directive = name == DIRECTIVE
                || name == RETAIN_KEYS
                || name.starts_with(ORDER_PREFIX)
                || name.starts_with(DELETE_PREFIX);
            !directive && !value.is_null()
        })
        .map(|(name, value)| (name, strip(value)))
        .collect()
}
