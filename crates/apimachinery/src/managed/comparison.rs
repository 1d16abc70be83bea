//! What differs between two objects, as field sets.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::field_set::{FieldSet, PathElement};
use super::typed::{Shape, items, shape};
use crate::schema::At;

/// Fields by what happened to them.
#[derive(Clone, Debug, Default)]
pub(super) struct Comparison {
    pub(super) added: FieldSet,
    pub(super) modified: FieldSet,
    pub(super) removed: FieldSet,
}

pub(super) fn compare(at: At<'_>, old: &Value, new: &Value) -> Comparison {
    let mut comparison = Comparison::default();
    maps(Some(at), Some(old), Some(new), &mut comparison);
    comparison
}

impl Comparison {
    fn attach(&mut self, element: &PathElement, below: Self) {
        self.added.attach(element.clone(), below.added);
        self.modified.attach(element.clone(), below.modified);
        self.removed.attach(element.clone(), below.removed);
    }
}

fn is_empty(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => true,
        Some(Value::Object(map)) => map.is_empty(),
        Some(Value::Array(list)) => list.is_empty(),
        Some(_) => false,
    }
}

/// Compares one element's two sides, at least one of which is there.
fn element(
    at: Option<At<'_>>,
    old: Option<&Value>,
    new: Option<&Value>,
    element: PathElement,
    out: &mut Comparison,
) {
    let sides = (
        old.and_then(|old| shape(at, old)),
        new.and_then(|new| shape(at, new)),
    );
    let shape = match sides {
        // Another shape is another field: all of the old one is gone.
        (Some(old_shape), Some(new_shape)) if old_shape != new_shape => {
            self::element(at, old, None, element.clone(), out);
            self::element(at, None, new, element, out);
            return;
        }
        (Some(one), _) | (None, Some(one)) => one,
        (None, None) => Shape::Leaf,
    };
    // Two empty sides are a leaf, so that empty and absent stay different.
    if shape == Shape::Leaf || (is_empty(old) && is_empty(new)) {
        match (old, new) {
            (None, _) => out.added.insert(element),
            (_, None) => out.removed.insert(element),
            (Some(old), Some(new)) if !equal(old, new) => out.modified.insert(element),
            _ => {}
        }
        return;
    }
    let mut below = Comparison::default();
    if shape == Shape::Map {
        maps(at, old, new, &mut below);
    } else {
        lists(at, old, new, &mut below);
    }
    out.attach(&element, below);
    if old.is_none() {
        out.added.insert(element);
    } else if new.is_none() || is_dropped(at, new) {
        out.removed.insert(element);
    }
}

/// Whether what is null here, after it lost its last item, will be absent. Owners of such a field
/// of a built-in type stay on the real server.
fn is_dropped(at: Option<At<'_>>, new: Option<&Value>) -> bool {
    new.is_some_and(Value::is_null) && at.is_some_and(|at| !at.is_builtin() && !at.accepts_null())
}

fn maps(at: Option<At<'_>>, old: Option<&Value>, new: Option<&Value>, out: &mut Comparison) {
    let empty = Map::new();
    let old = old.and_then(Value::as_object).unwrap_or(&empty);
    let new = new.and_then(Value::as_object).unwrap_or(&empty);
    let gone = old.keys().filter(|name| !new.contains_key(*name));
    for name in new.keys().chain(gone) {
        let field = at.and_then(|at| at.field(name));
        element(
            field,
            old.get(name),
            new.get(name),
            PathElement::Field(name.clone()),
            out,
        );
    }
}

fn lists(at: Option<At<'_>>, old: Option<&Value>, new: Option<&Value>, out: &mut Comparison) {
    let inner = at.and_then(At::items);
    let (old, new) = (items(at, old), items(at, new));
    let by_element = |list: &[(PathElement, &Value)]| -> HashMap<PathElement, usize> {
        // The first of duplicates counts.
        list.iter()
            .enumerate()
            .rev()
            .map(|(index, (key, _))| (key.clone(), index))
            .collect()
    };
    let (old_index, new_index) = (by_element(&old), by_element(&new));
    for (key, index) in &new_index {
        let before = old_index.get(key).map(|index| old[*index].1);
        element(inner, before, Some(new[*index].1), key.clone(), out);
    }
    for (key, index) in &old_index {
        if !new_index.contains_key(key) {
            element(inner, Some(old[*index].1), None, key.clone(), out);
        }
    }
}

/// Equality where `1` and `1.0` are one number.
fn equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => {
            left == right || left.as_f64() == right.as_f64()
        }
        _ => left == right,
    }
}
