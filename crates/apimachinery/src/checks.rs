//! What built-in kinds refuse beyond their schemas, as data: `data/checks.json`.
//!
//! A rule names objects by a path, a field of theirs, and what must hold of it; sets of rules are
//! shared by kinds that have a part in common, as pod templates are. What was wrong before and is
//! unchanged is let through. How a broken rule reads is in `rule`.

mod rule;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::registry::Resource;
use crate::status::FieldError;
use rule::Must;

const CHECKS: &str = include_str!("../data/checks.json");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    sets: HashMap<String, Vec<Written>>,
    kinds: HashMap<String, Vec<Written>>,
}

/// A rule as it is written, or a reference to a set.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    at: String,
    set: Option<String>,
    field: Option<String>,
    /// Values that the object's fields must have for the rule to hold; null: absent; a list: any.
    #[serde(default)]
    is: Map<String, Value>,
    /// Values that they must not have.
    #[serde(default)]
    unless: Map<String, Value>,
    /// Values that fields of the whole must have.
    #[serde(default)]
    of: Map<String, Value>,
    /// Holds in lists of several only.
    #[serde(default)]
    many: bool,
    must: Option<Must>,
    says: Option<String>,
    /// The value is shown with the names that its fields have in Go.
    #[serde(default)]
    internal: bool,
    #[serde(rename = "as")]
    worded: Option<Worded>,
}

/// What a broken rule is called, where that isn't what it is usually called.
#[derive(Clone, Copy, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase")]
enum Worded {
    Invalid,
    InvalidText,
}

struct Rule {
    steps: Vec<Step>,
    written: Written,
    must: Must,
}

#[derive(Clone)]
struct Step {
    field: String,
    items: bool,
}

/// A value with its place, and what was there before.
#[derive(Clone)]
struct Place<'a> {
    path: String,
    value: &'a Value,
    old: Option<&'a Value>,
    /// What it stands in.
    around: Option<Arc<Place<'a>>>,
    /// How many items the list has in which it stands.
    beside: usize,
}

static RULES: LazyLock<HashMap<String, Vec<Rule>>> = LazyLock::new(|| {
    let file: File = serde_json::from_str(CHECKS).expect("the committed checks are JSON");
    let kinds = file.kinds.iter().map(|(kind, written)| {
        let mut rules = Vec::new();
        for one in written {
            collect("", one, &file.sets, &mut rules);
        }
        (kind.clone(), rules)
    });
    kinds.collect()
});

fn collect(
    base: &str,
    written: &Written,
    sets: &HashMap<String, Vec<Written>>,
    rules: &mut Vec<Rule>,
) {
    let at = format!("{base}{}", written.at);
    if let Some(set) = &written.set {
        for inner in sets.get(set).into_iter().flatten() {
            collect(&at, inner, sets, rules);
        }
        return;
    }
    let Some(must) = written.must.clone() else {
        return;
    };
    let steps = at.split('.').filter(|step| !step.is_empty());
    let steps = steps.map(|step| match step.strip_suffix("[*]") {
        Some(field) => (field, true),
        None => (step, false),
    });
    let steps = steps.map(|(field, items)| Step {
        field: field.to_owned(),
        items,
    });
    rules.push(Rule {
        steps: steps.collect(),
        written: written.clone(),
        must,
    });
}

/// What a built-in object breaks of its kind's rules.
pub fn check(object: &Value, old: Option<&Value>, resource: &Resource) -> Vec<FieldError> {
    let kind = format!("{}/{}", resource.group, resource.plural);
    let Some(rules) = RULES.get(&kind).filter(|_| resource.builtin) else {
        return Vec::new();
    };
    let root = Place {
        path: String::new(),
        value: object,
        old,
        around: None,
        beside: 1,
    };
    let mut errors: Vec<FieldError> = Vec::new();
    for rule in rules {
        let mut of = rule.written.of.iter();
        let meant = of.all(|(path, value)| {
            let path = format!("/{}", path.replace('.', "/"));
            object.pointer(&path).unwrap_or(&Value::Null) == value
        });
        if !meant {
            continue;
        }
        let mut places = Vec::new();
        walk(&rule.steps, root.clone(), &mut places);
        for place in places {
            rule.apply(&place, object, &mut errors);
        }
    }
    errors
}

fn walk<'a>(steps: &[Step], at: Place<'a>, found: &mut Vec<Place<'a>>) {
    let Some((step, rest)) = steps.split_first() else {
        found.push(at);
        return;
    };
    let Some(value) = at.value.get(&step.field).filter(|value| !value.is_null()) else {
        return;
    };
    let old = at.old.and_then(|old| old.get(&step.field));
    let path = join(&at.path, &step.field);
    let around = Some(Arc::new(at));
    if !step.items {
        let place = Place {
            path,
            value,
            old,
            around,
            beside: 1,
        };
        return walk(rest, place, found);
    }
    let list = value.as_array().map_or(&[][..], Vec::as_slice);
    for (index, item) in list.iter().enumerate() {
        let place = Place {
            path: format!("{path}[{index}]"),
            value: item,
            old: old.and_then(|old| old.get(index)),
            around: around.clone(),
            beside: list.len(),
        };
        walk(rest, place, found);
    }
}

fn join(path: &str, field: &str) -> String {
    match path.is_empty() {
        true => field.to_owned(),
        false => format!("{path}.{field}"),
    }
}

/// Whether fields have such values.
fn holds(wanted: &Map<String, Value>, object: &Value) -> bool {
    let is = |field: &str, wanted: &Value| {
        let value = object.get(field).unwrap_or(&Value::Null);
        match wanted {
            Value::Array(any) => any.contains(value),
            one => one == value || (one.is_null() && rule::is_empty(value)),
        }
    };
    wanted.iter().all(|(field, value)| is(field, value))
}

impl Rule {
    fn apply(&self, place: &Place<'_>, root: &Value, errors: &mut Vec<FieldError>) {
        let written = &self.written;
        let meant = holds(&written.is, place.value)
            && (written.unless.is_empty() || !holds(&written.unless, place.value))
            && (!written.many || place.beside > 1);
        if !meant {
            return;
        }
        let (path, value, old) = match &written.field {
            Some(field) => (
                join(&place.path, field),
                place.value.get(field).unwrap_or(&Value::Null),
                place.old.and_then(|old| old.get(field)),
            ),
            None => (place.path.clone(), place.value, place.old),
        };
        // Only a change can break what must stay; nothing else can be broken by what stays.
        let before = place.old.is_some() && old.unwrap_or(&Value::Null) == value;
        if before && (self.must.looks_at_one_value() || place.old == Some(place.value)) {
            return;
        }
        let subject = rule::Subject {
            path: &path,
            value,
            old: old.filter(|_| place.old.is_some()),
            updates: place.old.is_some(),
            place,
            root,
        };
        let found = self.must.broken(&subject, written.says.as_deref());
        errors.extend(found.into_iter().map(|error| match written.worded {
            Some(Worded::Invalid) => FieldError::invalid(&error.field, &Value::Null, error.message),
            Some(Worded::InvalidText) => {
                FieldError::invalid(&error.field, &"".into(), error.message)
            }
            None if written.internal => FieldError {
                value: error.value.as_ref().map(rule::internal),
                ..error
            },
            None => error,
        }));
    }
}
