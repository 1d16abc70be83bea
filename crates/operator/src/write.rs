//! Writing objects: the few ways in which controllers change them.
//!
//! A write of what is there already is never sent. Status is replaced at the version that was
//! read, so that a stale reader gets a conflict and looks again.

use std::time::Duration;

use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
};
use serde_json::json;
use waft_api::{
    conditions::{DEGRADED, READY},
    names::MANAGER_OPERATOR,
};

use crate::{
    condition::find,
    object::{HasStatus, Object},
};

/// How long a status may wait that only says how far something is. Most objects are ready before
/// it is over, and are then written once instead of with each step.
pub(crate) const PATIENCE: Duration = Duration::from_millis(200);

/// A write that did not succeed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    /// The object has changed since it was read: look again.
    #[error("the object has changed meanwhile")]
    Stale,
    /// The object is gone.
    #[error("the object is gone")]
    Gone,
    /// The server refused it, and will again.
    #[error("the API server refused it: {0}")]
    Refused(String),
    /// The server could not be asked, or could not answer.
    #[error("the API server could not be asked: {0}")]
    Failed(String),
}

/// What became of a creation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Created {
    /// It is new.
    New,
    /// An object of the name exists.
    Exists,
}

impl From<kube::Error> for WriteError {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => match status.code {
                404 => Self::Gone,
                409 => Self::Stale,
                400 | 403 | 405 | 413 | 422 => Self::Refused(status.message.clone()),
                _ => Self::Failed(status.message.clone()),
            },
            other => Self::Failed(other.to_string()),
        }
    }
}

fn parameters() -> PostParams {
    PostParams {
        field_manager: Some(MANAGER_OPERATOR.into()),
        ..PostParams::default()
    }
}

fn api<K: Object>(client: &Client, namespace: &str) -> Api<K> {
    Api::namespaced(client.clone(), namespace)
}

fn api_of<K: Object>(client: &Client, object: &K) -> Api<K> {
    api(client, &object.namespace().unwrap_or_default())
}

/// Creates an object.
pub(crate) async fn create<K: Object>(client: &Client, object: &K) -> Result<Created, WriteError> {
    match api_of(client, object).create(&parameters(), object).await {
        Ok(_) => Ok(Created::New),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(Created::Exists),
        Err(error) => Err(error.into()),
    }
}

/// Replaces an object at the version it carries.
pub(crate) async fn replace<K: Object>(client: &Client, object: &K) -> Result<(), WriteError> {
    let name = object.name_any();
    api_of(client, object)
        .replace(&name, &parameters(), object)
        .await?;
    Ok(())
}

/// Sets `spec.replicas`.
pub(crate) async fn scale<K: Object>(
    client: &Client,
    object: &K,
    replicas: i32,
) -> Result<(), WriteError> {
    let patch = json!({"spec": {"replicas": replicas}});
    merge(client, object, &patch).await
}

/// Replaces the finalizers, at the version that was read.
pub(crate) async fn set_finalizers<K: Object>(
    client: &Client,
    object: &K,
    finalizers: &[String],
) -> Result<(), WriteError> {
    let patch = json!({"metadata": {
        "finalizers": finalizers,
        "resourceVersion": object.resource_version(),
    }});
    merge(client, object, &patch).await
}

async fn merge<K: Object>(
    client: &Client,
    object: &K,
    patch: &serde_json::Value,
) -> Result<(), WriteError> {
    let parameters = PatchParams {
        field_manager: Some(MANAGER_OPERATOR.into()),
        ..PatchParams::default()
    };
    api_of(client, object)
        .patch(&object.name_any(), &parameters, &Patch::Merge(patch))
        .await?;
    Ok(())
}

/// Deletes an object, if it is still the same one; its dependents follow.
pub(crate) async fn delete<K: Object>(client: &Client, object: &K) -> Result<(), WriteError> {
    let parameters = DeleteParams::background().preconditions(Preconditions {
        uid: object.uid(),
        resource_version: None,
    });
    match api_of(client, object)
        .delete(&object.name_any(), &parameters)
        .await
        .map_err(WriteError::from)
    {
        Ok(_) | Err(WriteError::Gone) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Whether a status may wait that has waited for so long: it says that the object is under way, and
/// what the object says now is that as well, or nothing yet.
pub(crate) fn may_wait<K: HasStatus>(object: &K, status: &K::Status, waited: Duration) -> bool {
    let new = K::conditions_of(status);
    let (Some(new_ready), None) = (find(new, READY), find(new, DEGRADED)) else {
        return false;
    };
    let is_open = |old: &waft_api::Condition| {
        old.status == "Unknown" && old.observed_generation == new_ready.observed_generation
    };
    waited < PATIENCE
        && object.status() != Some(status)
        && new_ready.status == "Unknown"
        && find(object.conditions(), READY).is_none_or(is_open)
}

/// Writes a status, if it differs from the object's. Says whether it did.
pub(crate) async fn status<K: HasStatus>(
    client: &Client,
    object: &K,
    status: K::Status,
) -> Result<bool, WriteError> {
    if object.status() == Some(&status) {
        return Ok(false);
    }
    let mut changed = object.clone();
    changed.set_status(status);
    api_of(client, object)
        .replace_status(&object.name_any(), &parameters(), &changed)
        .await?;
    Ok(true)
}
