//! CustomResourceDefinitions: stored like any object, and served from the moment they are.

use std::sync::Arc;

use serde_json::{Value, json};
use waft_apimachinery::crd;
use waft_apimachinery::registry::Resource;
use waft_apimachinery::request::WriteOptions;
use waft_apimachinery::status::Status;

use crate::open::ApiServer;
use crate::read::served;
use crate::service::Text;
use crate::store::{Key, Query};
use crate::write::now;

/// Where definitions are stored.
pub(crate) const STORAGE: &str = "apiextensions.k8s.io/customresourcedefinitions";

/// Held by a definition until its objects are gone.
pub(crate) const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

/// Fills in what the server says about a definition: accepted names, conditions, stored versions.
pub(crate) fn complete(definition: &mut Value, old: Option<&Value>, resource: &Resource) {
    if *resource.storage != *STORAGE {
        return;
    }
    crd::default(definition);
    let before = old.map_or(Value::Null, |old| old["status"].clone());
    let mut versions: Vec<Value> = before["storedVersions"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let storage = definition["spec"]["versions"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|v| v["storage"] == true);
    if let Some(name) = storage
        .map(|version| version["name"].clone())
        .filter(|name| !versions.contains(name))
    {
        versions.push(name);
    }
    let accepted = crd::accepted_names(definition);
    definition["status"] = json!({
        "conditions": [
            condition(&before, "NamesAccepted", "NoConflicts", "no conflicts found"),
            condition(&before, "Established", "InitialNamesAccepted", "the initial names have been accepted"),
        ],
        "acceptedNames": accepted,
        "storedVersions": versions,
    });
}

/// A condition that is true, with the time at which it became so.
fn condition(before: &Value, kind: &str, reason: &str, message: &str) -> Value {
    let known = before["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|c| c["type"] == kind);
    let time = known
        .filter(|condition| condition["status"] == "True")
        .map_or_else(
            || now().into(),
            |condition| condition["lastTransitionTime"].clone(),
        );
    json!({"type": kind, "status": "True", "lastTransitionTime": time, "reason": reason, "message": message})
}

impl ApiServer {
    /// Serves what the stored definitions say; at the start.
    pub(crate) fn load_definitions(&self) {
        let query = Query {
            resource: STORAGE,
            namespace: None,
            after: None,
            limit: None,
            at: None,
        };
        for stored in self
            .store
            .list(&query)
            .map(|page| page.objects)
            .unwrap_or_default()
        {
            self.definition_changed(&stored.key.name);
        }
    }

    /// Brings what is served in line with a stored definition.
    pub(crate) fn definition_changed(&self, name: &str) {
        let mut registry = self.registry.write();
        let mut next = (**registry).clone();
        // Read under the lock: of two changes at once the later one wins here too.
        match self.store.get(&Key::new(&STORAGE.into(), "", name)) {
            Some(stored) => {
                if let Err(error) = next.set_custom(&stored.value()) {
                    tracing::warn!(%name, %error, "a definition is stored but cannot be served");
                    return;
                }
            }
            None => {
                let Some((plural, group)) = name.split_once('.') else {
                    return;
                };
                next.remove_custom(group, plural);
            }
        }
        *registry = Arc::new(next);
    }

    /// Creates a definition, or gives an existing one this spec.
    pub(crate) async fn install(&self, definition: Value) -> Result<(), Status> {
        let registry = self.registry();
        let resource = registry
            .get("apiextensions.k8s.io", "v1", "customresourcedefinitions")
            .ok_or_else(Status::unknown_resource)?;
        let name = definition["metadata"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let options = WriteOptions {
            field_manager: Some("waft".into()),
            ..WriteOptions::default()
        };
        let mut text = Text::internal();
        match self
            .create(resource, None, definition.clone(), &options, &mut text)
            .await
        {
            Err(status) if status.code == 409 => {}
            result => return result.map(|_| ()),
        }
        let stored = self.find(resource, None, &name)?;
        let mut wanted = served(&stored, resource);
        wanted["spec"] = definition["spec"].clone();
        let whole = waft_apimachinery::request::Part::Whole;
        self.update(resource, None, &name, whole, wanted, &options, &mut text)
            .await
            .map(|_| ())
    }
}
