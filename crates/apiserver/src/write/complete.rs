//! Filling in and judging a new state.

use serde_json::Value;
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
    errors.extend(of_schema);
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
            &resource.group,
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
    if old == new {
        return true;
    }
    let timeless = |object: &Value| {
        let mut object = object.clone();
        let fields = object
            .pointer_mut("/metadata/managedFields")
            .and_then(Value::as_array_mut);
        for entry in fields.into_iter().flatten() {
            entry
                .as_object_mut()
                .map(|entry| entry.shift_remove("time"));
        }
        object
    };
    timeless(old) == timeless(new)
}
