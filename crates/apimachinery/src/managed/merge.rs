//! Merging an applied configuration into the live object, and dropping what it gave up.

use std::collections::{HashMap, HashSet, VecDeque};

use serde_json::{Map, Value};

use super::field_set::{FieldSet, PathElement};
use super::typed::{Shape, field_set, item_element, items, shape};
use crate::schema::At;

/// The live object with everything the configuration sets.
pub(super) fn merge(at: At<'_>, live: &Value, applied: &Value) -> Value {
    merge_value(Some(at), live, applied)
}

fn merge_value(at: Option<At<'_>>, live: &Value, applied: &Value) -> Value {
    match (shape(at, live), shape(at, applied)) {
        (Some(Shape::Map), Some(Shape::Map)) => merge_maps(at, live, applied),
        (Some(Shape::List), Some(Shape::List)) => merge_lists(at, live, applied),
        _ => applied.clone(),
    }
}

fn merge_maps(at: Option<At<'_>>, live: &Value, applied: &Value) -> Value {
    let (Some(live), Some(applied)) = (live.as_object(), applied.as_object()) else {
        return applied.clone();
    };
    let kept = live.iter().map(|(name, old)| {
        let value = match applied.get(name) {
            Some(new) => merge_value(at.and_then(|at| at.field(name)), old, new),
            None => old.clone(),
        };
        (name.clone(), value)
    });
    let added = applied.iter().filter(|(name, _)| !live.contains_key(*name));
    let added = added.map(|(name, value)| (name.clone(), value.clone()));
    Value::Object(kept.chain(added).collect())
}

/// Applied items keep the order they were applied in; live items stay where they can between them.
fn merge_lists(at: Option<At<'_>>, live: &Value, applied: &Value) -> Value {
    let inner = at.and_then(At::items);
    let (left, right) = (items(at, Some(live)), items(at, Some(applied)));
    // The first of several that have one key.
    let (in_left, in_right): (HashMap<&PathElement, &Value>, HashMap<&PathElement, &Value>) = (
        left.iter().rev().map(|(key, item)| (key, *item)).collect(),
        right.iter().rev().map(|(key, item)| (key, *item)).collect(),
    );
    let combine = |key: &PathElement| match (in_left.get(key), in_right.get(key)) {
        (Some(old), Some(new)) => merge_value(inner, old, new),
        (_, Some(new)) => (*new).clone(),
        (Some(old), None) => (*old).clone(),
        (None, None) => Value::Null,
    };
    // Items on both sides, in the order of the applied list: the next one to come.
    let mut shared: VecDeque<&PathElement> = right
        .iter()
        .map(|(key, _)| key)
        .filter(|key| in_left.contains_key(*key))
        .collect();
    let mut done: HashSet<&PathElement> = HashSet::new();
    let mut merged = Vec::with_capacity(left.len().max(right.len()));
    let (mut l, mut r) = (0, 0);
    while l < left.len() || r < right.len() {
        if let (Some((left_key, _)), Some((right_key, _))) = (left.get(l), right.get(r)) {
            if left_key == right_key {
                merged.push(combine(right_key));
                done.insert(right_key);
                shared.pop_front();
                l += 1;
                r += 1;
                continue;
            }
            let later = shared.front().is_some_and(|next| *next != left_key);
            if in_right.contains_key(left_key) && later {
                l += 1;
                continue;
            }
        }
        if let Some((key, item)) = left.get(l) {
            if !in_right.contains_key(key) {
                merged.push((*item).clone());
                l += 1;
                continue;
            }
            if done.contains(key) || r >= right.len() {
                l += 1;
            }
        }
        if let Some((key, _)) = right.get(r) {
            merged.push(combine(key));
            done.insert(key);
            r += 1;
            if shared.front().is_some_and(|next| *next == key) {
                shared.pop_front();
            }
        }
    }
    Value::Array(merged)
}

/// Takes out what was in the manager's last configuration and nobody owns now.
pub(super) fn drop_abandoned(
    at: At<'_>,
    merged: Value,
    last: &FieldSet,
    owned: &FieldSet,
) -> Value {
    if last.difference(owned).is_empty() {
        return merged;
    }
    let merged = &merged;
    let named = |set: &FieldSet| set.with_named_fields(Some(at));
    let last = named(last);
    let everything = named(&field_set(at, merged));

    let bare = remove(Some(at), merged, &last);
    let missing = everything.difference(&named(&field_set(at, &bare)));
    // What somebody owns comes back …
    let owned_back = remove(Some(at), merged, &missing.difference(&named(owned)));
    // … and so does what the manager didn't set itself.
    let missing = everything.difference(&named(&field_set(at, &owned_back)));
    remove(Some(at), merged, &missing.intersection(&last))
}

/// The value without the fields of a set; maps and lists that end up empty are null.
fn remove(at: Option<At<'_>>, value: &Value, doomed: &FieldSet) -> Value {
    match (shape(at, value), value) {
        (Some(Shape::Map), Value::Object(map)) if !map.is_empty() => {
            let mut kept = Map::new();
            for (name, child) in map {
                let element = PathElement::Field(name.clone());
                if doomed.has(&element) {
                    continue;
                }
                let child = match doomed.below(&element) {
                    Some(below) => remove(at.and_then(|at| at.field(name)), child, below),
                    None => child.clone(),
                };
                kept.insert(name.clone(), child);
            }
            if kept.is_empty() {
                Value::Null
            } else {
                Value::Object(kept)
            }
        }
        (Some(Shape::List), Value::Array(list)) if !list.is_empty() => {
            let mut kept = Vec::new();
            for (index, item) in list.iter().enumerate() {
                let element = at
                    .and_then(|at| item_element(at, item))
                    .unwrap_or(PathElement::Index(index));
                if doomed.has(&element) {
                    continue;
                }
                kept.push(match doomed.below(&element) {
                    Some(below) => remove(at.and_then(At::items), item, below),
                    None => item.clone(),
                });
            }
            if kept.is_empty() {
                Value::Null
            } else {
                Value::Array(kept)
            }
        }
        _ => value.clone(),
    }
}
