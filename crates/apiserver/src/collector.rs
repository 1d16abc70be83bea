//! The background work: dependents follow their owners, contents their containers.
//!
//! Driven by the store's events alone. After a gap in them everything is looked at once.

use std::sync::{Arc, Weak};
use std::time::Duration;

use serde_json::Value;
use waft_apimachinery::managed::{self, Manager, Operation};
use waft_apimachinery::meta;
use waft_apimachinery::request::{DeleteOptions, Preconditions, Propagation};
use waft_apimachinery::status::Status;
use waft_apimachinery::table::timestamp;

use crate::definitions;
use crate::delete::{FOREGROUND, ORPHAN};
use crate::open::ApiServer;
use crate::root_certificate;
use crate::service_accounts;
use crate::store::{Event, EventKind, Key, Stored};

const BATCH: usize = 256;

/// How often objects that live for a limited time are looked at.
const SWEEP: Duration = Duration::from_secs(60);

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
    let mut sweep = tokio::time::interval(SWEEP);
    sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
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
        tokio::select! {
            changed = revision.changed() => if changed.is_err() { return },
            _ = sweep.tick() => {
                let Some(server) = server.upgrade() else { return };
                server.remove_expired().await;
            }
        }
    }
}

impl ApiServer {
    /// Removes objects of kinds that live for a limited time, such as Events.
    async fn remove_expired(&self) {
        let registry = self.registry();
        let limited = registry.all().filter(|resource| resource.stores_itself());
        for (resource, limit) in
            limited.filter_map(|resource| Some((resource, resource.rules.ttl_seconds?)))
        {
            let oldest = crate::answer::now() - i64::from(limit);
            for stored in self.store.all(&resource.storage, None) {
                let value = stored.value();
                if last_change(&value).is_some_and(|changed| changed < oldest) {
                    // A failure comes round again with the next sweep.
                    let _ = self.put(&stored, &value, true).await;
                }
            }
        }
    }

    async fn look_at_everything(&self) -> Result<u64, Status> {
        let (objects, revision) = self.store.everything();
        for stored in objects {
            self.look_at(&stored.key).await?;
            if *stored.key.resource == *"/namespaces" {
                self.make_default_account(&stored.key.name).await?;
                self.make_root_map(&stored.key.name).await?;
            }
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
            if event.kind == EventKind::Added && *object.key.resource == *"/namespaces" {
                self.make_default_account(&object.key.name).await?;
                self.make_root_map(&object.key.name).await?;
            }
            if event.kind != EventKind::Added && is_root_map(&object.key) {
                self.make_root_map(&object.key.namespace).await?;
            }
            if event.kind == EventKind::Added && !object.key.namespace.is_empty() {
                // Its namespace may have begun to go after the check of the request.
                self.empty_namespace(&object.key.namespace).await?;
            }
            let same_owners = event.previous.as_ref().is_some_and(|old| {
                old.meta.owners == object.meta.owners
                    && old.meta.terminating == object.meta.terminating
            });
            if !same_owners || object.meta.terminating {
                self.look_at(&object.key).await?;
            }
            return Ok(());
        }
        for dependent in self.store.dependents(&object.meta.uid) {
            self.look_at(&dependent.key).await?;
        }
        for owner in &object.meta.owners {
            if let Some(owner) = self
                .store
                .by_uid(owner)
                .filter(|owner| owner.meta.terminating)
            {
                self.look_at(&owner.key).await?;
            }
        }
        if !object.key.namespace.is_empty() {
            self.empty_namespace(&object.key.namespace).await?;
        }
        if *object.key.resource == *service_accounts::STORAGE
            && *object.key.name == *service_accounts::DEFAULT
        {
            self.make_default_account(&object.key.namespace).await?;
        }
        if is_root_map(&object.key) {
            self.make_root_map(&object.key.namespace).await?;
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

    /// Does what an object needs, as often as it changes meanwhile.
    async fn look_at(&self, key: &Key) -> Result<(), Status> {
        while let Some(stored) = self.store.get(key) {
            if self.try_to_settle(&stored).await? {
                break;
            }
        }
        Ok(())
    }

    /// One try; says whether the object was as it was thought to be.
    async fn try_to_settle(&self, stored: &Stored) -> Result<bool, Status> {
        if stored.meta.terminating {
            match &*stored.key.resource {
                "/namespaces" => self.empty_namespace(&stored.key.name).await?,
                definitions::STORAGE => self.empty_definition(&stored.key.name).await?,
                _ => {}
            }
            let value = stored.value();
            return match (holds(&value, ORPHAN), holds(&value, FOREGROUND)) {
                (true, _) => self.orphan(stored, value).await,
                (false, true) => self.collect_dependents_first(stored, value).await,
                (false, false) => Ok(true),
            };
        }
        match stored.meta.owners.is_empty() {
            true => Ok(true),
            false => self.check_owners(stored).await,
        }
    }

    /// Deletes an object whose owners are all gone; forgets those that are, if some are not.
    async fn check_owners(&self, stored: &Stored) -> Result<bool, Status> {
        let value = stored.value();
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
            return self.put_owners(stored, value, kept).await;
        }
        Ok(true)
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
                let waiting = owner.meta.terminating && holds(&owner.value(), FOREGROUND);
                Owner::Present { waiting }
            }
            _ => Owner::Absent,
        }
    }

    /// Deletes an object because its owners are gone; says whether it was still the same.
    async fn collect(
        &self,
        stored: &Stored,
        value: &Value,
        foreground: bool,
    ) -> Result<bool, Status> {
        let registry = self.registry();
        let Some(resource) = registry.of_storage(&stored.key.resource) else {
            return Ok(true);
        };
        let held_first = foreground || holds(value, FOREGROUND);
        let propagation = match (holds(value, ORPHAN), held_first) {
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
        match self.delete_stored(resource, stored, &options).await {
            Err(status) if status.code == 409 => Ok(false),
            Err(status) if status.code >= 500 => Err(status),
            Err(status) => {
                tracing::warn!(key = %stored.key.text(), %status, "a dependent could not be deleted");
                Ok(true)
            }
            Ok(()) => Ok(true),
        }
    }

    /// Gives an object these owners; who wrote the others no longer owns them as fields.
    async fn put_owners(
        &self,
        stored: &Stored,
        before: Value,
        owners: Vec<Value>,
    ) -> Result<bool, Status> {
        let mut after = before.clone();
        let metadata = meta::metadata_mut(&mut after);
        match owners.is_empty() {
            true => metadata.shift_remove("ownerReferences"),
            false => metadata.insert("ownerReferences".into(), owners.into()),
        };
        let registry = self.registry();
        if let Some(resource) = registry.of_storage(&stored.key.resource) {
            let manager = Manager {
                name: "kube-controller-manager".into(),
                operation: Operation::Update,
                api_version: resource.api_version(),
                subresource: None,
                time: crate::write::now(),
            };
            managed::track_update(Some(&before), &mut after, resource.schema(), &manager);
        }
        Ok(self.put(stored, &after, false).await?.is_some())
    }

    /// Takes the owner out of its dependents, then lets it go.
    async fn orphan(&self, owner: &Stored, mut value: Value) -> Result<bool, Status> {
        for dependent in self.store.dependents(&owner.meta.uid) {
            let changed = dependent.value();
            let owners = changed["metadata"]["ownerReferences"].as_array().cloned();
            let mut owners = owners.unwrap_or_default();
            owners.retain(|reference| reference["uid"] != *owner.meta.uid);
            if !self.put_owners(&dependent, changed, owners).await? {
                return Ok(false);
            }
        }
        self.release(owner, &mut value, ORPHAN).await
    }

    /// Deletes the dependents, and lets the owner go when those that block it are gone.
    async fn collect_dependents_first(
        &self,
        owner: &Stored,
        mut value: Value,
    ) -> Result<bool, Status> {
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
                while let Some(dependent) = self.store.get(&dependent.key) {
                    if dependent.meta.terminating || self.check_owners(&dependent).await? {
                        break;
                    }
                }
            }
            blocked |= blocks
                && self
                    .store
                    .get(&dependent.key)
                    .is_some_and(|now| now.meta.uid == dependent.meta.uid);
        }
        match blocked {
            true => Ok(true),
            false => self.release(owner, &mut value, FOREGROUND).await,
        }
    }

    async fn release(
        &self,
        stored: &Stored,
        value: &mut Value,
        finalizer: &str,
    ) -> Result<bool, Status> {
        if let Some(held) = value["metadata"]["finalizers"].as_array_mut() {
            held.retain(|held| held != finalizer);
            if held.is_empty() {
                meta::metadata_mut(value).shift_remove("finalizers");
            }
        }
        let gone = !meta::has_finalizers(value);
        Ok(self.put(stored, value, gone).await?.is_some())
    }
}

/// Whether an object waits for this finalizer.
fn holds(object: &Value, finalizer: &str) -> bool {
    object["metadata"]["finalizers"]
        .as_array()
        .into_iter()
        .flatten()
        .any(|held| held == finalizer)
}

fn is_root_map(key: &Key) -> bool {
    *key.resource == *root_certificate::STORAGE && *key.name == *root_certificate::NAME
}

/// The latest time that an Event names, in seconds since 1970.
fn last_change(event: &Value) -> Option<i64> {
    [
        "/metadata/creationTimestamp",
        "/lastTimestamp",
        "/eventTime",
        "/series/lastObservedTime",
    ]
    .into_iter()
    .filter_map(|path| timestamp(event.pointer(path)?.as_str()?))
    .max()
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
