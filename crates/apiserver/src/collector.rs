//! The background work: dependents follow their owners, contents their containers.
//!
//! Driven by the store's events alone. After a gap in them everything is looked at once.

use std::sync::{Arc, Weak};
use std::time::Duration;

use serde_json::Value;
use waft_apimachinery::meta;
use waft_apimachinery::request::{DeleteOptions, Preconditions, Propagation};
use waft_apimachinery::status::Status;

use crate::definitions;
use crate::delete::{FOREGROUND, ORPHAN};
use crate::open::ApiServer;
use crate::service::Text;
use crate::store::{Event, EventKind, Key, Stored};

const BATCH: usize = 256;

/// How long the collector rests after the store refused a write.
const REST: Duration = Duration::from_millis(500);

/// Starts the collector; it ends with the server.
pub(crate) fn start(server: &Arc<ApiServer>) {
    let weak = Arc::downgrade(server);
    let closing = server.closing.clone();
    let revision = server.store.subscribe();
    tokio::spawn(async move {
        let work = run(weak, revision);
        tokio::select! { () = work => {} () = closing.cancelled() => {} }
    });
}

async fn run(server: Weak<ApiServer>, mut revision: tokio::sync::watch::Receiver<u64>) {
    let mut cursor = None;
    loop {
        revision.borrow_and_update();
        {
            // Held only while there is work, so that the last handle outside closes the server.
            let Some(server) = server.upgrade() else {
                return;
            };
            let result = match cursor {
                None => server.look_at_everything().await.map(Some),
                Some(after) => server.look_at_events(after).await,
            };
            match result {
                Ok(next) if next == cursor => {}
                Ok(next) => {
                    cursor = next;
                    continue;
                }
                Err(status) => {
                    tracing::warn!(%status, "collecting failed, everything is looked at again");
                    cursor = None;
                    drop(server);
                    tokio::time::sleep(REST).await;
                    continue;
                }
            }
        }
        if revision.changed().await.is_err() {
            return;
        }
    }
}

impl ApiServer {
    async fn look_at_everything(&self) -> Result<u64, Status> {
        let (objects, revision) = self.store.everything();
        for stored in objects {
            self.look_at(&stored).await?;
        }
        Ok(revision)
    }

    /// Works through events; `None`: some were missed.
    async fn look_at_events(&self, after: u64) -> Result<Option<u64>, Status> {
        let Ok((events, complete)) = self.store.all_events(after, BATCH) else {
            return Ok(None);
        };
        for event in events {
            self.follow(&event).await?;
        }
        Ok(Some(complete))
    }

    async fn follow(&self, event: &Event) -> Result<(), Status> {
        let object = &event.object;
        if event.kind != EventKind::Deleted {
            let same_owners = event.previous.as_ref().is_some_and(|old| {
                old.meta.owners == object.meta.owners
                    && old.meta.terminating == object.meta.terminating
            });
            if !same_owners || object.meta.terminating {
                self.look_at_key(&object.key).await?;
            }
            return Ok(());
        }
        for dependent in self.store.dependents(&object.meta.uid) {
            self.look_at(&dependent).await?;
        }
        for owner in &object.meta.owners {
            if let Some(owner) = self
                .store
                .by_uid(owner)
                .filter(|owner| owner.meta.terminating)
            {
                self.look_at(&owner).await?;
            }
        }
        if !object.key.namespace.is_empty() {
            self.empty_namespace(&object.key.namespace).await?;
        }
        if *object.key.resource == *"/namespaces" {
            self.empty_namespace(&object.key.name).await?;
        }
        if let Some((group, plural)) = object
            .key
            .resource
            .split_once('/')
            .filter(|(group, _)| !group.is_empty())
        {
            self.empty_definition(&format!("{plural}.{group}")).await?;
        }
        Ok(())
    }

    async fn look_at_key(&self, key: &Key) -> Result<(), Status> {
        match self.store.get(key) {
            Some(stored) => self.look_at(&stored).await,
            None => Ok(()),
        }
    }

    async fn look_at(&self, stored: &Stored) -> Result<(), Status> {
        if stored.meta.terminating {
            match &*stored.key.resource {
                "/namespaces" => self.empty_namespace(&stored.key.name).await?,
                definitions::STORAGE => self.empty_definition(&stored.key.name).await?,
                _ => {}
            }
            let value = stored.value();
            let holds = |name: &str| {
                value["metadata"]["finalizers"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .any(|held| held == name)
            };
            if holds(ORPHAN) {
                self.orphan(stored, value).await?;
            } else if holds(FOREGROUND) {
                self.collect_dependents_first(stored, value).await?;
            }
            return Ok(());
        }
        match stored.meta.owners.is_empty() {
            true => Ok(()),
            false => self.check_owners(stored).await,
        }
    }

    /// Deletes an object whose owners are all gone; forgets those that are, if some are not.
    async fn check_owners(&self, stored: &Stored) -> Result<(), Status> {
        let mut value = stored.value();
        let owners = value["metadata"]["ownerReferences"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let (mut kept, mut blocking, mut absent) = (Vec::new(), false, 0);
        for owner in &owners {
            match self.owner(owner, &stored.key.namespace) {
                Owner::Absent => absent += 1,
                Owner::Present { waiting } => {
                    blocking |= waiting && owner["blockOwnerDeletion"] == true;
                    kept.push((owner.clone(), waiting));
                }
                Owner::Unknown => kept.push((owner.clone(), false)),
            }
        }
        let all_going = kept.iter().all(|(_, waiting)| *waiting);
        if all_going && (absent > 0 || blocking) {
            return self.collect(stored, &value, blocking).await;
        }
        if absent > 0 {
            let kept: Vec<Value> = kept.into_iter().map(|(owner, _)| owner).collect();
            value["metadata"]["ownerReferences"] = kept.into();
            return self.put(stored, &value, false).await;
        }
        Ok(())
    }

    fn owner(&self, reference: &Value, namespace: &str) -> Owner {
        let text = |field: &str| reference[field].as_str().unwrap_or_default();
        let registry = self.registry();
        let Some(resource) = registry.of_kind(text("apiVersion"), text("kind")) else {
            return Owner::Unknown;
        };
        if resource.namespaced && namespace.is_empty() {
            // A cluster-scoped object can't be owned from inside a namespace; nothing is deleted
            // because of such a mistake.
            return Owner::Unknown;
        }
        let namespace = Some(namespace).filter(|_| resource.namespaced);
        match self.find(resource, namespace, text("name")) {
            Ok(owner) if *owner.meta.uid == *text("uid") => {
                let waiting = owner.meta.terminating && {
                    let value = owner.value();
                    let finalizers = value["metadata"]["finalizers"].as_array();
                    finalizers
                        .into_iter()
                        .flatten()
                        .any(|held| held == FOREGROUND)
                };
                Owner::Present { waiting }
            }
            _ => Owner::Absent,
        }
    }

    async fn collect(
        &self,
        stored: &Stored,
        value: &Value,
        foreground: bool,
    ) -> Result<(), Status> {
        let registry = self.registry();
        let Some(resource) = registry.of_storage(&stored.key.resource) else {
            return Ok(());
        };
        let holds = |name: &str| {
            value["metadata"]["finalizers"]
                .as_array()
                .into_iter()
                .flatten()
                .any(|held| held == name)
        };
        let propagation = match (holds(ORPHAN), foreground || holds(FOREGROUND)) {
            (true, _) => Propagation::Orphan,
            (false, true) if !self.store.dependents(&stored.meta.uid).is_empty() => {
                Propagation::Foreground
            }
            _ => Propagation::Background,
        };
        let options = DeleteOptions {
            propagation: Some(propagation),
            preconditions: Preconditions {
                uid: Some(stored.meta.uid.to_string()),
                // An owner may have come meanwhile.
                resource_version: Some(stored.revision.to_string()),
            },
            ..DeleteOptions::default()
        };
        let namespace = Some(&*stored.key.namespace).filter(|namespace| !namespace.is_empty());
        match self
            .delete(
                resource,
                namespace,
                &stored.key.name,
                &options,
                &mut Text::internal(),
            )
            .await
        {
            Err(status) if matches!(status.code, 404 | 409) => Ok(()),
            Err(status) if status.code >= 500 => Err(status),
            Err(status) => {
                tracing::warn!(key = %stored.key.text(), %status, "a dependent could not be deleted");
                Ok(())
            }
            Ok(_) => Ok(()),
        }
    }

    /// Takes the owner out of its dependents, then lets it go.
    async fn orphan(&self, owner: &Stored, mut value: Value) -> Result<(), Status> {
        for dependent in self.store.dependents(&owner.meta.uid) {
            let mut changed = dependent.value();
            if let Some(references) = changed["metadata"]["ownerReferences"].as_array_mut() {
                references.retain(|reference| reference["uid"] != *owner.meta.uid);
                if references.is_empty() {
                    meta::metadata_mut(&mut changed).shift_remove("ownerReferences");
                }
            }
            self.put(&dependent, &changed, false).await?;
        }
        if !self.store.dependents(&owner.meta.uid).is_empty() {
            // One of them changed just now.
            return Err(Status::service_unavailable(
                "dependents changed while they were orphaned",
            ));
        }
        self.release(owner, &mut value, ORPHAN).await
    }

    /// Deletes the dependents, and lets the owner go when those that block it are gone.
    async fn collect_dependents_first(
        &self,
        owner: &Stored,
        mut value: Value,
    ) -> Result<(), Status> {
        let mut blocked = false;
        for dependent in self.store.dependents(&owner.meta.uid) {
            let blocks = dependent.value()["metadata"]["ownerReferences"]
                .as_array()
                .into_iter()
                .flatten()
                .any(|reference| {
                    reference["uid"] == *owner.meta.uid && reference["blockOwnerDeletion"] == true
                });
            if !dependent.meta.terminating {
                self.check_owners(&dependent).await?;
            }
            blocked |= blocks
                && self
                    .store
                    .get(&dependent.key)
                    .is_some_and(|now| now.meta.uid == dependent.meta.uid);
        }
        match blocked {
            true => Ok(()),
            false => self.release(owner, &mut value, FOREGROUND).await,
        }
    }

    async fn release(
        &self,
        stored: &Stored,
        value: &mut Value,
        finalizer: &str,
    ) -> Result<(), Status> {
        if let Some(held) = value["metadata"]["finalizers"].as_array_mut() {
            held.retain(|held| held != finalizer);
            if held.is_empty() {
                meta::metadata_mut(value).shift_remove("finalizers");
            }
        }
        let gone = !meta::has_finalizers(value);
        self.put(stored, value, gone).await
    }
}

/// What is known of an owner.
enum Owner {
    Absent,
    /// There; `waiting` for its dependents to go first.
    Present {
        waiting: bool,
    },
    /// Of a kind that isn't served, or not one that can own.
    Unknown,
}
