//! What goes with its container: the objects of a namespace, and those of a definition.

use std::collections::HashSet;

use waft_apimachinery::meta;
use waft_apimachinery::request::{DeleteOptions, Propagation};
use waft_apimachinery::status::Status;

use crate::definitions;
use crate::open::ApiServer;
use crate::store::{Key, Stored};

impl ApiServer {
    /// Empties a namespace that is being deleted, and lets it go when it is empty.
    pub(crate) async fn empty_namespace(&self, name: &str) -> Result<(), Status> {
        let key = Key::new(&"/namespaces".into(), "", name);
        let namespace = self.store.get(&key);
        // Asked after every deletion in a namespace, so a living one costs one look-up. Without a
        // namespace there is nothing that could be kept.
        if namespace
            .as_ref()
            .is_some_and(|namespace| !namespace.meta.terminating)
        {
            return Ok(());
        }
        let contents = self.store.in_namespace(name);
        self.delete_all(&contents).await;
        let Some(stored) = namespace.filter(|_| self.store.in_namespace(name).is_empty()) else {
            return Ok(());
        };
        let mut value = stored.value();
        if value["spec"]["finalizers"]
            .as_array()
            .is_none_or(Vec::is_empty)
        {
            return Ok(());
        }
        value["spec"]["finalizers"] = serde_json::json!([]);
        let gone = !meta::has_finalizers(&value);
        // If it changed meanwhile, that change's event brings the collector here again.
        self.put(&stored, &value, gone).await.map(|_| ())
    }

    /// Deletes the objects of a definition that is being deleted, and lets it go afterwards.
    pub(crate) async fn empty_definition(&self, name: &str) -> Result<(), Status> {
        let key = Key::new(&definitions::STORAGE.into(), "", name);
        let Some(stored) = self
            .store
            .get(&key)
            .filter(|stored| stored.meta.terminating)
        else {
            return Ok(());
        };
        let Some((plural, group)) = name.split_once('.') else {
            return Ok(());
        };
        let storage = format!("{group}/{plural}");
        let contents = || self.store.all(&storage, None);
        self.delete_all(&contents()).await;
        if !contents().is_empty() {
            return Ok(());
        }
        let mut value = stored.value();
        let finalizers = value["metadata"]["finalizers"].as_array_mut();
        if let Some(finalizers) = finalizers {
            finalizers.retain(|finalizer| finalizer != definitions::CLEANUP);
        }
        let gone = !meta::has_finalizers(&value);
        self.put(&stored, &value, gone).await?;
        self.definition_changed(name);
        Ok(())
    }

    /// Those that wait for somebody's finalizer are told first: they take longest, and are known to
    /// go once any of the others is gone.
    async fn delete_all(&self, objects: &[std::sync::Arc<Stored>]) {
        let registry = self.registry();
        let mut unserved = HashSet::new();
        let staying = objects.iter().filter(|stored| !stored.meta.terminating);
        let (held, free): (Vec<_>, Vec<_>) =
            staying.partition(|stored| meta::has_finalizers(&stored.value()));
        for stored in held.into_iter().chain(free) {
            let Some(resource) = registry.of_storage(&stored.key.resource) else {
                unserved.insert(stored.key.resource.clone());
                continue;
            };
            let options = DeleteOptions {
                propagation: Some(Propagation::Background),
                ..DeleteOptions::default()
            };
            if let Err(status) = self.delete_stored(resource, stored, &options).await {
                tracing::warn!(key = %stored.key.text(), %status, "an object could not be deleted with its container");
            }
        }
        for resource in unserved {
            tracing::warn!(%resource, "objects of a resource that is not served are left");
        }
    }
}
