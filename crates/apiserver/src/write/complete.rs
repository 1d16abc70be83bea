//! Filling in and judging a new state.

use serde_json::{Map, Value};
use waft_apimachinery::registry::Resource;
use waft_apimachinery::status::{FieldError, FieldErrorKind, Status};
use waft_apimachinery::{admission, meta};

/// Defaults of the schema, then those that no schema carries.
pub(super) fn fill(object: &mut Value, resource: &Resource) {
    resource.schema().default(object);
    meta::apply_defaults(object, resource);
}

/// Metadata, schema, and what is particular to definitions.
pub(super) fn validate(
    new: &Value,
    old: Option<&Value>,
    resource: &Resource,
) -> Result<(), Status> {
    let mut errors = meta::validate_metadata(new, resource, old);
    if old.is_some() && !errors.is_empty() {
        // The real server looks at an update's metadata from several places, and finds as often
        // what is wrong with it.
        let times = if resource.builtin { 4 } else { 3 };
        errors = vec![errors; times].concat();
    }
    errors.extend(meta::validate_entries(new, resource, old));
    let mut of_schema = resource.schema().check_structure(new, old);
    if resource.builtin {
        // A typed server fills these in with zero values, and judges only what users write.
        of_schema.retain(|error| {
            error.kind != FieldErrorKind::Required
                || !(error.field.starts_with("status.") || error.field.starts_with("metadata."))
        });
    }
    let checked = waft_apimachinery::checks::check(new, old, resource);
    // Where a rule speaks of a field, it says better than the schema what is wrong with it.
    of_schema.retain(|error| {
        !checked.iter().any(|other| {
            let rest = error.field.strip_prefix(other.field.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['[', '.']))
        })
    });
    errors.extend(of_schema);
    errors.extend(checked);
    errors.extend(meta::validate_scale(new, resource));
    errors.extend(resource.schema().check_rules(new, old, &errors));
    if *resource.storage == *crate::definitions::STORAGE {
        errors.extend(waft_apimachinery::crd::validate(new, old));
    }
    if resource.group == admission::GROUP {
        let own = admission::validate(&resource.plural, new, old);
        // The schema knows some of it, too.
        errors.retain(|error| {
            let same =
                |other: &FieldError| (&other.field, other.kind) == (&error.field, error.kind);
            !own.iter().any(same)
        });
        errors.extend(own);
    }
    match errors.is_empty() {
        true => Ok(()),
        false => Err(Status::invalid(
            // What is kept as another group's is judged as that group's.
            resource.storage.split('/').next().unwrap_or_default(),
            &resource.kind,
            meta::text(new, "name"),
            errors,
        )),
    }
}

/// Puts back who owns which fields: webhooks have no say in it.
pub(super) fn keep_managers(object: &mut Value, managed: Value) {
    let metadata = meta::metadata_mut(object);
    match managed.is_null() {
        true => metadata.shift_remove("managedFields"),
        false => metadata.insert("managedFields".into(), managed),
    };
}

/// Whether a write changes nothing. Times in `managedFields` don't count.
pub(super) fn same(old: &Value, new: &Value) -> bool {
    same_but(old, new, &["metadata", "managedFields", "*", "time"])
}

/// Whether two values are the same but for the fields that a path leads to; `*`: each item.
fn same_but(old: &Value, new: &Value, path: &[&str]) -> bool {
    match (path, old, new) {
        (["*", rest @ ..], Value::Array(old), Value::Array(new)) => {
            let mut pairs = old.iter().zip(new);
            old.len() == new.len() && pairs.all(|(old, new)| same_but(old, new, rest))
        }
        ([name, rest @ ..], Value::Object(old), Value::Object(new)) => {
            let ignored = |key: &String| rest.is_empty() && key == name;
            let counted = |map: &Map<String, Value>| map.keys().filter(|key| !ignored(key)).count();
            let mut fields = old.iter().filter(|(key, _)| !ignored(key));
            counted(old) == counted(new)
                && fields.all(|(key, old)| match new.get(key) {
                    Some(new) if key == name => same_but(old, new, rest),
                    Some(new) => old == new,
                    None => false,
                })
        }
        _ => old == new,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_times_of_managed_fields_are_no_change() {
        let object = |time: &str, data: &str| {
            json!({"metadata": {"name": "a", "managedFields": [{"manager": "m", "time": time}]},
                   "data": data, "time": "t"})
        };
        let old = object("1", "x");
        assert!(same(&old, &object("2", "x")));
        assert!(!same(&old, &object("2", "y")));
        let change = |pointer: &str, value: Value| {
            let mut new = object("2", "x");
            *new.pointer_mut(pointer).expect("it is there") = value;
            same(&old, &new)
        };
        assert!(!change("/time", json!("u")));
        assert!(!change("/metadata/name", json!("b")));
        assert!(!change("/metadata/managedFields", json!([])));
        assert!(!change("/metadata/managedFields/0/manager", json!("n")));
        assert!(change("/metadata/managedFields/0", json!({"manager": "m"})));
        assert!(!change("/metadata/managedFields/0", json!({"time": "1"})));
        assert!(!change("/metadata", json!({"name": "a"})));
    }
}
