//! What the server decides about `metadata` when an object is written.
//!
//! Pure: time and uids come from the caller. The order of a write is: these rules, then the schema,
//! then admission, then validation; the server puts it together.

mod defaults;
mod validate;

#[cfg(test)]
mod tests;

pub use defaults::{apply_defaults, apply_unowned, write_only_fields};
pub use validate::{validate_entries, validate_metadata, validate_scale};

use serde_json::{Map, Value, json};

use crate::registry::Resource;
use crate::request::Part;
use crate::status::{FieldError, Status};

/// Metadata fields that only the server sets.
const SERVER_FIELDS: [&str; 4] = [
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "selfLink",
    "resourceVersion",
];

/// What the server knows about a new object.
#[derive(Debug, Clone, Copy)]
pub struct Birth<'a> {
    /// The namespace of the path.
    pub namespace: Option<&'a str>,
    /// The name of the path, where it has one.
    pub name: Option<&'a str>,
    /// A fresh uid.
    pub uid: &'a str,
    /// RFC 3339, in seconds.
    pub now: &'a str,
    /// Lower-case text for `generateName`.
    pub suffix: &'a str,
}

/// The object's metadata, made if absent.
pub fn metadata_mut(object: &mut Value) -> &mut Map<String, Value> {
    if !object.is_object() {
        *object = json!({});
    }
    if !object["metadata"].is_object() {
        object["metadata"] = json!({});
    }
    object["metadata"]
        .as_object_mut()
        .expect("it was just made an object")
}

/// A text field of the metadata.
pub fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object["metadata"][field].as_str().unwrap_or_default()
}

/// Whether the object waits for something before it goes.
pub fn has_finalizers(object: &Value) -> bool {
    object["metadata"]["finalizers"]
        .as_array()
        .is_some_and(|list| !list.is_empty())
        || object["spec"]["finalizers"].as_array().is_some_and(|list| {
            !list.is_empty() && object["kind"] == "Namespace" && object["apiVersion"] == "v1"
        })
}

/// Makes a body a new object.
pub fn prepare_create(
    object: &mut Value,
    resource: &Resource,
    birth: &Birth<'_>,
) -> Result<(), Status> {
    if !text(object, "resourceVersion").is_empty() {
        return Err(Status::new(
            500,
            None,
            "resourceVersion should not be set on objects to be created",
        ));
    }
    place(object, resource, birth.namespace, birth.name)?;
    if resource.status && !resource.rules.keeps_status_on_create {
        object
            .as_object_mut()
            .map(|object| object.shift_remove("status"));
    }
    let metadata = metadata_mut(object);
    for field in SERVER_FIELDS {
        metadata.shift_remove(field);
    }
    let named = metadata
        .get("name")
        .and_then(Value::as_str)
        .is_some_and(|name| !name.is_empty());
    if let Some(prefix) = metadata
        .get("generateName")
        .and_then(Value::as_str)
        .filter(|prefix| !named && !prefix.is_empty())
    {
        let prefix: String = prefix.chars().take(58).collect();
        metadata.insert("name".into(), format!("{prefix}{}", birth.suffix).into());
    }
    metadata.insert("uid".into(), birth.uid.into());
    metadata.insert("creationTimestamp".into(), birth.now.into());
    match resource.rules.generation {
        true => metadata.insert("generation".into(), 1.into()),
        false => metadata.shift_remove("generation"),
    };
    if resource.group.is_empty() && resource.plural == "namespaces" {
        label_with_name(object);
    }
    Ok(())
}

/// Makes a body the next state of an object: what a writer may not change is put back.
pub fn prepare_update(
    old: &Value,
    new: &mut Value,
    resource: &Resource,
    part: Part,
) -> Result<(), Status> {
    let (namespace, name) = (
        text(old, "namespace").to_owned(),
        text(old, "name").to_owned(),
    );
    place(
        new,
        resource,
        Some(&namespace)
            .filter(|n| !n.is_empty())
            .map(String::as_str),
        Some(&name),
    )?;
    let uid = text(new, "uid");
    if !uid.is_empty() && uid != text(old, "uid") {
        return Err(Status::conflict(
            &resource.group,
            &resource.plural,
            &name,
            &format!(
                "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
                text(old, "uid")
            ),
        ));
    }
    isolate(old, new, resource, part);
    check_fixed(old, new, resource)?;
    let before = &old["metadata"];
    let metadata = metadata_mut(new);
    for field in [
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
    ] {
        match before.get(field) {
            Some(value) => metadata.insert(field.into(), value.clone()),
            None => metadata.shift_remove(field),
        };
    }
    metadata.shift_remove("selfLink");
    if !resource.rules.kept.is_empty() && old["spec"]["type"] == new["spec"]["type"] {
        for field in &resource.rules.kept {
            if new["spec"].is_object()
                && (new["spec"][field].is_null() || new["spec"][field] == "")
                && !old["spec"][field].is_null()
            {
                new["spec"][field] = old["spec"][field].clone();
            }
        }
    }
    if resource.group.is_empty() && resource.plural == "namespaces" {
        label_with_name(new);
    }
    if resource.rules.generation && part != Part::Status && changes_generation(old, new, resource) {
        let next = old["metadata"]["generation"].as_i64().unwrap_or(0) + 1;
        metadata_mut(new).insert("generation".into(), next.into());
    }
    Ok(())
}

/// What an update may not change in the metadata, whoever writes. The real server looks twice,
/// once for all kinds and once for each, and so finds each of these twice.
fn check_fixed(old: &Value, new: &Value, resource: &Resource) -> Result<(), Status> {
    let mut errors: Vec<FieldError> = new_finalizers(old, new).into_iter().collect();
    for field in ["deletionTimestamp", "deletionGracePeriodSeconds"] {
        let given = &new["metadata"][field];
        if !given.is_null() && *given != old["metadata"][field] {
            let path = format!("metadata.{field}");
            errors.push(FieldError::invalid(path, given, "field is immutable"));
        }
    }
    if errors.is_empty() {
        return Ok(());
    }
    errors.extend(errors.clone());
    Err(Status::invalid(
        &resource.group,
        &resource.kind,
        text(new, "name"),
        errors,
    ))
}

/// Each part may change only itself.
fn isolate(old: &Value, new: &mut Value, resource: &Resource, part: Part) {
    match part {
        Part::Whole if resource.status => restore(old, new, "status"),
        Part::Whole | Part::Scale => {}
        Part::Finalize => {
            let finalizers = new["spec"]["finalizers"].clone();
            let metadata = new["metadata"].clone();
            *new = old.clone();
            new["metadata"] = metadata;
            new["spec"]["finalizers"] = finalizers;
        }
        Part::Status => {
            let mut status = new.get("status").cloned();
            for field in &resource.rules.kept_status {
                let before = &old["status"][field];
                let status = status.get_or_insert_with(|| json!({}));
                if status.is_object() && status[field].is_null() && !before.is_null() {
                    status[field] = before.clone();
                }
            }
            let metadata = new.get("metadata").cloned();
            *new = old.clone();
            match status {
                Some(status) => new["status"] = status,
                None => {
                    new.as_object_mut().map(|new| new.shift_remove("status"));
                }
            }
            // Whoever writes a status is tracked, whatever else of the metadata is ignored.
            if let Some(given) = metadata {
                match resource.rules.status_metadata {
                    true => new["metadata"] = given,
                    false => match given.get("managedFields") {
                        Some(managed) => new["metadata"]["managedFields"] = managed.clone(),
                        None => {
                            metadata_mut(new).shift_remove("managedFields");
                        }
                    },
                }
            }
        }
    }
}

fn restore(old: &Value, new: &mut Value, field: &str) {
    let Some(object) = new.as_object_mut() else {
        return;
    };
    match old.get(field) {
        Some(value) => {
            object.insert(field.into(), value.clone());
        }
        None => {
            object.shift_remove(field);
        }
    }
}

fn changes_generation(old: &Value, new: &Value, resource: &Resource) -> bool {
    let counts = |key: &str| key != "metadata" && !(key == "status" && resource.status);
    let count = |object: &Value| {
        let fields = object.as_object().into_iter().flatten();
        fields.filter(|(key, _)| counts(key)).count()
    };
    let mut before = old.as_object().into_iter().flatten();
    let annotations = resource.rules.annotations_bump_generation
        && old["metadata"]["annotations"] != new["metadata"]["annotations"];
    annotations
        || count(old) != count(new)
        || before.any(|(key, value)| counts(key) && new.get(key) != Some(value))
}

/// Finalizers that come to an object on its way out.
fn new_finalizers(old: &Value, new: &Value) -> Option<FieldError> {
    if text(old, "deletionTimestamp").is_empty() {
        return None;
    }
    let list = |object: &Value| {
        object["metadata"]["finalizers"]
            .as_array()
            .cloned()
            .unwrap_or_default()
    };
    let before = list(old);
    let added: Vec<String> = list(new)
        .into_iter()
        .filter(|finalizer| !before.contains(finalizer))
        .map(|finalizer| format!("{finalizer}"))
        .collect();
    (!added.is_empty()).then(|| {
        let why = format!(
            "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
            added.join(", ")
        );
        FieldError::forbidden("metadata.finalizers", why)
    })
}

/// Drops owners that are there twice; the answer is the warning for the client, if there were any.
pub fn drop_double_owners(object: &mut Value) -> Option<String> {
    let owners = object
        .pointer_mut("/metadata/ownerReferences")?
        .as_array_mut()?;
    let (mut kept, mut doubles): (Vec<Value>, Vec<String>) = (Vec::new(), Vec::new());
    for owner in owners.drain(..) {
        if kept.contains(&owner) {
            doubles.push(owner["uid"].as_str().unwrap_or_default().to_owned());
        } else {
            kept.push(owner);
        }
    }
    *owners = kept;
    (!doubles.is_empty()).then(|| {
        format!(
            ".metadata.ownerReferences contains duplicate entries; API server dedups owner references in 1.20+, and may reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: {}",
            doubles.join(", ")
        )
    })
}

/// Finds an object contradicted by the path that it was sent to; the namespace that it belongs in
/// otherwise.
fn belongs<'a>(
    object: &Value,
    resource: &Resource,
    namespace: Option<&'a str>,
    name: Option<&str>,
) -> Result<&'a str, Status> {
    let given = text(object, "namespace");
    let wanted = namespace
        .filter(|_| resource.namespaced)
        .unwrap_or_default();
    if !given.is_empty() && given != wanted {
        return Err(Status::bad_request(match resource.namespaced {
            true => {
                "the namespace of the provided object does not match the namespace sent on the request"
            }
            false => "namespace may not be set on a cluster-scoped object",
        }));
    }
    let given_name = text(object, "name");
    if let Some(name) = name.filter(|name| !given_name.is_empty() && given_name != *name) {
        return Err(Status::bad_request(format!(
            "the name of the object ({given_name}) does not match the name on the URL ({name})"
        )));
    }
    Ok(wanted)
}

/// Puts namespace and name of the path into the object, or finds them contradicted.
fn place(
    object: &mut Value,
    resource: &Resource,
    namespace: Option<&str>,
    name: Option<&str>,
) -> Result<(), Status> {
    let wanted = belongs(object, resource, namespace, name)?;
    let metadata = metadata_mut(object);
    if let Some(name) = name {
        metadata.insert("name".into(), name.into());
    }
    match wanted {
        "" => {
            metadata.shift_remove("namespace");
        }
        wanted => {
            metadata.insert("namespace".into(), wanted.into());
        }
    }
    Ok(())
}

/// Finds a body contradicted by the path that it was sent to.
pub fn check_place(
    object: &Value,
    resource: &Resource,
    namespace: Option<&str>,
    name: &str,
) -> Result<(), Status> {
    if text(object, "name").is_empty() {
        return Err(Status::bad_request(format!(
            "the name of the object ({name} based on URL) was undeterminable: name must be provided"
        )));
    }
    belongs(object, resource, namespace, Some(name)).map(drop)
}

/// Selectors of namespaces count on this label.
fn label_with_name(object: &mut Value) {
    let name = text(object, "name").to_owned();
    let metadata = metadata_mut(object);
    let labels = metadata.entry("labels").or_insert_with(|| json!({}));
    if !labels.is_object() {
        *labels = json!({});
    }
    labels["kubernetes.io/metadata.name"] = name.into();
}

/// Marks an object as being deleted.
pub fn begin_deletion(object: &mut Value, now: &str, grace_seconds: i64, resource: &Resource) {
    let metadata = metadata_mut(object);
    metadata.insert("deletionTimestamp".into(), now.into());
    metadata.insert("deletionGracePeriodSeconds".into(), grace_seconds.into());
    if resource.rules.generation {
        let next = metadata
            .get("generation")
            .and_then(Value::as_i64)
            .unwrap_or(0)
            + 1;
        metadata.insert("generation".into(), next.into());
    }
}
