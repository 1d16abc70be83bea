//! Patches of all four kinds.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::{Map, Value};
use waft_apimachinery::decode::{self, Body, Reader, Target, Unfit};
use waft_apimachinery::managed::{self, Operation};
use waft_apimachinery::meta;
use waft_apimachinery::patch;
use waft_apimachinery::registry::Resource;
use waft_apimachinery::request::{FieldValidation, Part, PatchKind, WriteOptions};
use waft_apimachinery::status::{FieldError, Status};

use super::{ATTEMPTS, Change, Outcome, manager};
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
        let body = read_patch(kind, bytes)?;
        for _ in 0..ATTEMPTS {
            let stored = match self.find(resource, namespace, name) {
                Ok(stored) => stored,
                Err(_) if kind == PatchKind::Apply && part == Part::Whole => {
                    return match self.apply_new(&change, &body.value, text).await {
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
            match self
                .replace(&change, &stored, old, new, operation, text)
                .await?
            {
                Outcome::Done(value) => return Ok((change.shown(Cow::Owned(value))?, false)),
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

/// Reads a patch. What JSON it must be is for the one who applies it.
fn read_patch(kind: PatchKind, bytes: &[u8]) -> Result<Body, Status> {
    match kind {
        PatchKind::Apply => decode::yaml(bytes).map(Body::plain),
        // The real server says no more here.
        PatchKind::Strategic => decode::json(bytes).map_err(Status::bad_request),
        PatchKind::Json | PatchKind::Merge => {
            let mut body = decode::json(bytes)
                .map_err(|why| Status::bad_request(format!("error decoding patch: {why}")))?;
            if kind == PatchKind::Json {
                for field in &mut body.duplicates {
                    field.insert_str(0, "json patch ");
                }
            }
            Ok(body)
        }
    }
}

/// The state that a patch makes of an object.
fn next(
    change: &Change<'_>,
    kind: PatchKind,
    old: &Value,
    body: &Body,
    text: &mut Text,
) -> Result<(Value, Operation), Status> {
    let (resource, patch) = (change.resource, &body.value);
    if change.part == Part::Scale {
        let before = scale::read_owned(old, resource)?;
        let mut wanted = match kind {
            PatchKind::Json => patch::json_patch(&before, patch)?,
            _ => patch::merge_patch(&before, patch)?,
        };
        if let Some(target) = Target::of_part(resource, change.part.as_str()) {
            fits(&target, kind, &mut wanted, patch)?;
        }
        let mut new = old.clone();
        scale::write(&mut new, &wanted, resource)?;
        new["metadata"]["resourceVersion"] = wanted["metadata"]["resourceVersion"].clone();
        return Ok((new, Operation::Update));
    }
    let mut new = match kind {
        PatchKind::Apply => {
            let mut applied = applied(change, patch)?;
            let version = meta::metadata_mut(&mut applied).shift_remove("resourceVersion");
            let manager = manager(change, Operation::Apply, text);
            let force = change.options.force == Some(true);
            let mut new = managed::apply(Some(old), &applied, resource.schema(), &manager, force)?;
            if let Some(version) = version {
                new["metadata"]["resourceVersion"] = version;
            }
            return Ok((new, Operation::Apply));
        }
        PatchKind::Json => patch::json_patch(old, patch)?,
        PatchKind::Merge => patch::merge_patch(old, patch)?,
        PatchKind::Strategic => patch::strategic_merge(old, patch, resource.schema())?,
    };
    fits(&Target::of(resource), kind, &mut new, patch)?;
    meta::write_only_fields(&mut new, resource);
    report_doubtful(change, kind, &mut new, body, text)?;
    Ok((new, Operation::Update))
}

/// Finds out whether what a patch made is still an object of its kind.
fn fits(
    target: &Target<'_>,
    kind: PatchKind,
    patched: &mut Value,
    patch: &Value,
) -> Result<(), Status> {
    if kind == PatchKind::Strategic
        && let Some(why) = decode::type_error(&target.schema, target.kind, patched, Reader::Map)
    {
        return Err(undecodable(decode::shown(patch), why));
    }
    let text = patched.to_string();
    match target.check(patched, text.as_bytes()) {
        Ok(()) => Ok(()),
        Err(Unfit::Refused(status)) => Err(status),
        Err(Unfit::Version { given, own }) if !target.builtin => {
            let group = given.rsplit_once('/').map_or("", |(group, _)| group);
            let name = meta::text(patched, "name");
            let given = Value::from(given.as_str());
            let error = FieldError::invalid("apiVersion", &given, format!("must be {own}"));
            Err(Status::invalid(group, target.kind, name, vec![error]))
        }
        Err(unfit @ Unfit::Version { .. }) => Err(unfit.into_status(target.kind, b"")),
        Err(Unfit::Unrecognized(why) | Unfit::Kind { why, .. }) => Err(undecodable(text, why)),
    }
}

/// Drops fields that the schema doesn't know, and says so as the client wished.
fn report_doubtful(
    change: &Change<'_>,
    kind: PatchKind,
    new: &mut Value,
    body: &Body,
    text: &mut Text,
) -> Result<(), Status> {
    let patched = new.clone();
    let mut doubtful = body.duplicates.clone();
    doubtful.extend(change.resource.schema().prune(new));
    match change.options.field_validation {
        _ if doubtful.is_empty() => Ok(()),
        FieldValidation::Ignore => Ok(()),
        FieldValidation::Warn => {
            text.warnings.extend(doubtful);
            Ok(())
        }
        FieldValidation::Strict => {
            let why = format!("strict decoding error: {}", doubtful.join(", "));
            let shown = match kind {
                PatchKind::Strategic => decode::shown(&body.value),
                _ => patched.to_string(),
            };
            Err(undecodable(shown, why))
        }
    }
}

/// What a patch makes of an object can't be read as one.
fn undecodable(made: String, why: String) -> Status {
    let error = FieldError::invalid("patch", &Value::from(made), why);
    Status::invalid("", "", "", vec![error])
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
    let own = resource.api_version();
    let said = |field: &str| object[field].as_str().unwrap_or_default();
    if (said("apiVersion"), said("kind")) != (own.as_str(), resource.kind.as_str()) {
        let (group, version) = said("apiVersion")
            .rsplit_once('/')
            .unwrap_or(("", said("apiVersion")));
        return Err(Status::bad_request(format!(
            "invalid object type: {group}/{version}, Kind={}",
            said("kind")
        )));
    }
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
    let name = meta::text(old, "name");
    let namespace = meta::text(old, "namespace");
    meta::check_place(new, resource, Some(namespace), name)?;
    let uid = meta::text(new, "uid");
    if uid.is_empty() || uid == meta::text(old, "uid") {
        return Ok(());
    }
    let error = FieldError::invalid("metadata.uid", &Value::from(uid), "field is immutable");
    Err(Status::invalid(
        &resource.group,
        &resource.kind,
        meta::text(old, "name"),
        vec![error.clone(), error],
    ))
}
