//! Patches of all four kinds.

use std::sync::Arc;

use serde_json::{Map, Value};
use waft_apimachinery::managed::{self, Operation};
use waft_apimachinery::meta;
use waft_apimachinery::patch;
use waft_apimachinery::registry::Resource;
use waft_apimachinery::request::{FieldValidation, Part, PatchKind, WriteOptions};
use waft_apimachinery::status::{FieldError, Status};

use super::{ATTEMPTS, Change, Outcome, manager};
use crate::body;
use crate::open::ApiServer;
use crate::read::served;
use crate::scale;
use crate::service::Text;

impl ApiServer {
    /// Patches an object or a part of it; also says whether it was created.
    #[allow(
        clippy::too_many_arguments,
        reason = "the path's parts, the body and the options are all there is"
    )]
    pub(crate) async fn patch(
        &self,
        resource: &Arc<Resource>,
        namespace: Option<&str>,
        name: &str,
        part: Part,
        kind: PatchKind,
        bytes: &[u8],
        options: &WriteOptions,
        text: &mut Text,
    ) -> Result<(Value, bool), Status> {
        let change = Change {
            resource,
            namespace,
            name,
            part,
            options,
        };
        let body = match kind {
            PatchKind::Apply => body::yaml(bytes)?,
            _ => serde_json::from_slice(bytes)
                .map_err(|error| Status::bad_request(format!("error decoding patch: {error}")))?,
        };
        for _ in 0..ATTEMPTS {
            let stored = match self.find(resource, namespace, name) {
                Ok(stored) => stored,
                Err(_) if kind == PatchKind::Apply && part == Part::Whole => {
                    return match self.apply_new(&change, &body, text).await {
                        // Someone else was first: then it is an apply over theirs.
                        Err(status)
                            if status.code == 409
                                && self.find(resource, namespace, name).is_ok() =>
                        {
                            continue;
                        }
                        result => Ok((result?, true)),
                    };
                }
                Err(status) => return Err(status),
            };
            let old = served(&stored, resource);
            let (new, operation) = next(&change, kind, &old, &body, text)?;
            let version = meta::text(&new, "resourceVersion").to_owned();
            if !version.is_empty() && version != stored.revision.to_string() {
                return Err(Status::modified(&resource.group, &resource.plural, name));
            }
            check_identity(&old, &new, resource)?;
            let outcome = self
                .replace(&change, &stored, old, new, operation, text)
                .await;
            match outcome.map_err(|status| match status.code {
                // What a typed server could not read is the patch's fault.
                400 if resource.builtin && operation == Operation::Update => {
                    undecodable(&body, status.message)
                }
                _ => status,
            })? {
                Outcome::Done(value) if part == Part::Scale => {
                    return Ok((scale::read(&value, resource)?, false));
                }
                Outcome::Done(value) => return Ok((value, false)),
                Outcome::Again => {}
            }
        }
        Err(Status::modified(&resource.group, &resource.plural, name))
    }

    async fn apply_new(
        &self,
        change: &Change<'_>,
        body: &Value,
        text: &mut Text,
    ) -> Result<Value, Status> {
        let resource = change.resource;
        self.authorize_creation(change, text)?;
        let applied = applied(change, body)?;
        if !meta::text(&applied, "uid").is_empty() {
            return Err(Status::conflict(
                &resource.group,
                &resource.plural,
                change.name,
                &format!(
                    "uid mismatch: the provided object specified uid {}, and no existing object was found",
                    meta::text(&applied, "uid")
                ),
            ));
        }
        let manager = manager(change, Operation::Apply, text);
        let object = managed::apply(
            None,
            &applied,
            resource.schema(),
            &manager,
            change.options.force == Some(true),
        )?;
        self.create_prepared(change, object, Operation::Apply, text)
            .await
    }
}

/// The state that a patch makes of an object.
fn next(
    change: &Change<'_>,
    kind: PatchKind,
    old: &Value,
    body: &Value,
    text: &mut Text,
) -> Result<(Value, Operation), Status> {
    let resource = change.resource;
    if change.part == Part::Scale {
        let before = scale::read(old, resource)?;
        let wanted = match kind {
            PatchKind::Json => patch::json_patch(&before, body)?,
            _ => patch::merge_patch(&before, body),
        };
        let mut new = old.clone();
        scale::write(&mut new, &wanted, resource)?;
        new["metadata"]["resourceVersion"] = wanted["metadata"]["resourceVersion"].clone();
        return Ok((new, Operation::Update));
    }
    let mut new = match kind {
        PatchKind::Apply => {
            let mut applied = applied(change, body)?;
            let version = meta::metadata_mut(&mut applied).shift_remove("resourceVersion");
            let manager = manager(change, Operation::Apply, text);
            let force = change.options.force == Some(true);
            let mut new = managed::apply(Some(old), &applied, resource.schema(), &manager, force)?;
            if let Some(version) = version {
                new["metadata"]["resourceVersion"] = version;
            }
            return Ok((new, Operation::Apply));
        }
        PatchKind::Json => patch::json_patch(old, body)?,
        PatchKind::Merge if !body.is_object() => {
            return Err(Status::bad_request("a merge patch must be an object"));
        }
        PatchKind::Merge => patch::merge_patch(old, body),
        PatchKind::Strategic => patch::strategic_merge(old, body, resource.schema())?,
    };
    meta::check_type(&mut new, resource)?;
    meta::write_only_fields(&mut new, resource);
    report_unknown(change, &mut new, body, text)?;
    Ok((new, Operation::Update))
}

fn report_unknown(
    change: &Change<'_>,
    new: &mut Value,
    body: &Value,
    text: &mut Text,
) -> Result<(), Status> {
    let unknown = change.resource.schema().prune(new);
    match change.options.field_validation {
        _ if unknown.is_empty() => Ok(()),
        FieldValidation::Ignore => Ok(()),
        FieldValidation::Warn => {
            text.warnings.extend(unknown);
            Ok(())
        }
        FieldValidation::Strict => {
            let detail = format!("strict decoding error: {}", unknown.join(", "));
            Err(undecodable(body, detail))
        }
    }
}

/// What a patch makes of an object can't be read as one.
fn undecodable(body: &Value, detail: String) -> Status {
    Status::invalid(
        "",
        "",
        "",
        vec![FieldError::invalid(
            "patch",
            &Value::from(body.to_string()),
            detail,
        )],
    )
}

/// The configuration of an apply, less what this part may not set.
fn applied(change: &Change<'_>, body: &Value) -> Result<Value, Status> {
    let resource = change.resource;
    let Value::Object(fields) = body else {
        return Err(Status::bad_request(
            "an apply configuration must be an object",
        ));
    };
    let mut object = Value::Object(fields.clone());
    for field in ["apiVersion", "kind"] {
        if object[field].as_str().is_none_or(str::is_empty) {
            return Err(Status::bad_request(format!(
                "{field} must be set in an apply configuration"
            )));
        }
    }
    meta::check_type(&mut object, resource)?;
    meta::write_only_fields(&mut object, resource);
    let given = meta::text(&object, "name");
    if given.is_empty() {
        meta::metadata_mut(&mut object).insert("name".into(), change.name.into());
    } else if given != change.name {
        return Err(Status::bad_request(format!(
            "the name of the object ({given}) does not match the name on the URL ({})",
            change.name
        )));
    }
    let fields = object
        .as_object_mut()
        .map(std::mem::take)
        .unwrap_or_default();
    let kept = |key: &str| match change.part {
        Part::Status => matches!(key, "apiVersion" | "kind" | "metadata" | "status"),
        _ => key != "status" || !resource.status,
    };
    let fields: Map<String, Value> = fields.into_iter().filter(|(key, _)| kept(key)).collect();
    Ok(Value::Object(fields))
}

/// A patch may not make another object of this one.
fn check_identity(old: &Value, new: &Value, resource: &Resource) -> Result<(), Status> {
    let (name, given) = (meta::text(old, "name"), meta::text(new, "name"));
    if !given.is_empty() && given != name {
        return Err(Status::bad_request(format!(
            "the name of the object ({given}) does not match the name on the URL ({name})"
        )));
    }
    let given = meta::text(new, "namespace");
    if !given.is_empty() && given != meta::text(old, "namespace") {
        return Err(Status::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    let uid = meta::text(new, "uid");
    if uid.is_empty() || uid == meta::text(old, "uid") {
        return Ok(());
    }
    let error = FieldError::invalid("metadata.uid", &Value::from(uid), "field is immutable");
    Err(Status::invalid(
        &resource.group,
        &resource.kind,
        meta::text(old, "name"),
        vec![error],
    ))
}
