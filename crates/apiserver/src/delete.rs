//! Deleting objects, one and many.

use std::borrow::Cow;
use std::sync::Arc;

use http::Response;
use serde_json::{Value, json};
use waft_apimachinery::admission::Operation;
use waft_apimachinery::meta;
use waft_apimachinery::registry::Resource;
use waft_apimachinery::request::{DeleteOptions, ListOptions, Part, Propagation, WriteOptions};
use waft_apimachinery::status::Status;

use crate::admission::Subject;
use crate::admit;
use crate::answer;
use crate::definitions;
use crate::open::{ApiServer, NAMESPACES};
use crate::read::served;
use crate::service::{Body, Text};
use crate::store::Stored;
use crate::write::{Change, now, set_version};

/// Held until the dependents have lost their owner.
pub(crate) const ORPHAN: &str = "orphan";

/// Held until the dependents are gone.
pub(crate) const FOREGROUND: &str = "foregroundDeletion";

impl ApiServer {
    /// Deletes an object, or marks it for deletion; says whether it is gone.
    pub(crate) async fn delete(
        &self,
        resource: &Arc<Resource>,
        namespace: Option<&str>,
        name: &str,
        options: &DeleteOptions,
        text: &mut Text,
    ) -> Result<(Value, bool), Status> {
        self.delete_asked(resource, namespace, name, name, options, text)
            .await
    }

    /// Deletes an object by the server's own will. One that is gone already is no error.
    pub(crate) async fn delete_stored(
        &self,
        resource: &Arc<Resource>,
        stored: &Stored,
        options: &DeleteOptions,
    ) -> Result<(), Status> {
        let (namespace, name) = (stored.key.namespace(), &stored.key.name);
        let mut text = Text::internal();
        let deleted = self.delete(resource, namespace, name, options, &mut text);
        match deleted.await {
            Err(status) if status.code != 404 => Err(status),
            _ => Ok(()),
        }
    }

    /// The same for a request that names the object, or the collection by an empty `asked`.
    async fn delete_asked(
        &self,
        resource: &Arc<Resource>,
        namespace: Option<&str>,
        name: &str,
        asked: &str,
        options: &DeleteOptions,
        text: &mut Text,
    ) -> Result<(Value, bool), Status> {
        if is_namespaces(resource) && NAMESPACES.contains(&name) {
            let why = "this namespace may not be deleted";
            return Err(Status::forbidden("", "namespaces", name, why));
        }
        loop {
            let stored = self.find(resource, namespace, name)?;
            check_preconditions(&stored, resource, options)?;
            let old = served(&stored, resource);
            let write_options = WriteOptions {
                dry_run: options.dry_run,
                ..WriteOptions::default()
            };
            let change = Change {
                resource,
                namespace,
                name,
                part: Part::Whole,
                options: &write_options,
            };
            let mut shown = old.clone();
            self.ask_hooks(
                admit::Operation::Delete,
                &change,
                &mut shown,
                Some(&old),
                text,
            )
            .await?;
            let subject = Subject {
                resource,
                subresource: "",
                kind: None,
                namespace,
                name: asked,
                operation: Operation::Delete,
                dry_run: options.dry_run,
                options: as_object(options),
            };
            if let Some(mut gate) = self.gate(subject, text) {
                gate.attributes.old_object = old.clone();
                self.mutate(&mut gate, text).await?;
                self.judge(&gate, text).await?;
            }
            let mut new = old.clone();
            mark(&mut new, resource, options);
            let gone = !meta::has_finalizers(&new);
            if !gone && (new == old || options.dry_run) {
                return Ok((new, false));
            }
            if options.dry_run {
                return Ok((if resource.rules.graceful { new } else { old }, true));
            }
            let told = gone && (!resource.rules.graceful || stored.meta.terminating);
            let kept = if told {
                Cow::Owned(stored.value())
            } else {
                self.to_stored(&new, resource)
            };
            let Some(written) = self.put(&stored, &kept, told).await? else {
                continue;
            };
            if gone && !told {
                // Watchers see that it goes, and then that it is gone.
                self.remove(resource, &stored).await?;
            } else {
                self.after_write(resource, &stored.key);
            }
            if told {
                return Ok((old, true));
            }
            set_version(&mut new, &written);
            return Ok((new, gone));
        }
    }

    /// Removes an object that was marked as going. Whoever saw the mark may have removed it already, or
    /// have put a finalizer on it.
    async fn remove(&self, resource: &Arc<Resource>, marked: &Stored) -> Result<(), Status> {
        let key = &marked.key;
        while let Some(stored) = self.store.get(key) {
            let kept = stored.value();
            if stored.meta.uid != marked.meta.uid || meta::has_finalizers(&kept) {
                return Ok(());
            }
            if self.put(&stored, &kept, true).await?.is_some() {
                self.after_write(resource, key);
                return Ok(());
            }
        }
        Ok(())
    }

    /// Deletes what a list selects.
    pub(crate) async fn delete_collection(
        &self,
        resource: &Arc<Resource>,
        namespace: Option<&str>,
        list: &ListOptions,
        options: &DeleteOptions,
        text: &mut Text,
    ) -> Result<Response<Body>, Status> {
        let page = self.select(resource, namespace, list).await?;
        let mut metadata = json!({});
        if !resource.builtin {
            metadata["continue"] = "".into();
        }
        metadata["resourceVersion"] = self.store.revision().to_string().into();
        // As text at once: many objects as values would take several times the memory.
        let head = json!({"kind": resource.list_kind, "apiVersion": resource.api_version(), "metadata": metadata});
        let mut out = answer::encode(&head).to_vec();
        out.pop();
        out.extend_from_slice(b",\"items\":[");
        let first = out.len();
        for stored in &page.objects {
            let namespace = stored.key.namespace();
            match self
                .delete_asked(resource, namespace, &stored.key.name, "", options, text)
                .await
            {
                Ok((mut value, _)) => {
                    // Items of built-in kinds don't repeat their type.
                    if let Some(value) = value.as_object_mut().filter(|_| resource.builtin) {
                        value.shift_remove("kind");
                        value.shift_remove("apiVersion");
                    }
                    if out.len() > first {
                        out.push(b',');
                    }
                    out.extend_from_slice(&answer::encode(&value));
                }
                Err(status) if status.code == 404 => {}
                Err(status) => return Err(status),
            }
        }
        out.extend_from_slice(b"]}");
        Ok(answer::bytes(200, "application/json", out.into()))
    }
}

/// The options as webhooks see them.
fn as_object(options: &DeleteOptions) -> Value {
    let mut object = json!({"kind": "DeleteOptions", "apiVersion": "meta.k8s.io/v1"});
    if let Some(seconds) = options.grace_period_seconds {
        object["gracePeriodSeconds"] = seconds.into();
    }
    if let Some(propagation) = options.propagation {
        object["propagationPolicy"] = match propagation {
            Propagation::Background => "Background",
            Propagation::Foreground => "Foreground",
            Propagation::Orphan => "Orphan",
        }
        .into();
    }
    if let Some(uid) = &options.preconditions.uid {
        object["preconditions"]["uid"] = uid.clone().into();
    }
    if let Some(version) = &options.preconditions.resource_version {
        object["preconditions"]["resourceVersion"] = version.clone().into();
    }
    if options.dry_run {
        object["dryRun"] = json!(["All"]);
    }
    object
}

fn check_preconditions(
    stored: &Stored,
    resource: &Resource,
    options: &DeleteOptions,
) -> Result<(), Status> {
    let conflict = |what: &str, asked: &str, found: &str| {
        let fate = if what == "UID" {
            "deleted and then recreated"
        } else {
            "modified"
        };
        let why = format!(
            "the {what} in the precondition ({asked}) does not match the {what} in record ({found}). \
             The object might have been {fate}"
        );
        Status::conflict(&resource.group, &resource.kind, &stored.key.name, &why)
    };
    if let Some(uid) = options
        .preconditions
        .uid
        .as_deref()
        .filter(|uid| **uid != *stored.meta.uid)
    {
        return Err(conflict("UID", uid, &stored.meta.uid));
    }
    let found = stored.revision.to_string();
    match options
        .preconditions
        .resource_version
        .as_deref()
        .filter(|version| **version != *found)
    {
        Some(version) => Err(conflict("ResourceVersion", version, &found)),
        None => Ok(()),
    }
}

/// Turns an object into one that is being deleted.
fn mark(object: &mut Value, resource: &Resource, options: &DeleteOptions) {
    let mut finalizers: Vec<Value> = object["metadata"]["finalizers"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let before = finalizers.clone();
    let wanted = match options.propagation {
        Some(Propagation::Orphan) => Some(ORPHAN),
        Some(Propagation::Foreground) => Some(FOREGROUND),
        Some(Propagation::Background) => None,
        // Nothing said: what an earlier deletion or the object itself asks for stays.
        None => before
            .iter()
            .filter_map(Value::as_str)
            .find_map(|name| match name {
                ORPHAN => Some(ORPHAN),
                FOREGROUND => Some(FOREGROUND),
                _ => None,
            }),
    };
    finalizers.retain(|finalizer| finalizer != ORPHAN && finalizer != FOREGROUND);
    if *resource.storage == *definitions::STORAGE
        && !finalizers.iter().any(|name| name == definitions::CLEANUP)
    {
        finalizers.push(definitions::CLEANUP.into());
    }
    finalizers.extend(wanted.map(Value::from));
    if finalizers != before {
        let metadata = meta::metadata_mut(object);
        match finalizers.is_empty() {
            true => {
                metadata.shift_remove("finalizers");
            }
            false => {
                metadata.insert("finalizers".into(), finalizers.into());
            }
        }
    }
    if meta::text(object, "deletionTimestamp").is_empty() {
        let generation = object["metadata"]["generation"].clone();
        meta::begin_deletion(object, &now(), 0, resource);
        if *resource.storage == *definitions::STORAGE {
            // Definitions end in a way of their own.
            let metadata = meta::metadata_mut(object);
            metadata.shift_remove("deletionGracePeriodSeconds");
            metadata.insert("generation".into(), generation);
        }
        if is_namespaces(resource) {
            meta::metadata_mut(object).shift_remove("deletionGracePeriodSeconds");
            object["status"]["phase"] = "Terminating".into();
        }
        definitions::mark_terminating(object, resource);
    }
}

fn is_namespaces(resource: &Resource) -> bool {
    resource.group.is_empty() && resource.plural == "namespaces"
}
