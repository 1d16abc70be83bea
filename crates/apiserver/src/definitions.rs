//! CustomResourceDefinitions: stored like any object, and served from the moment they are.

use std::sync::Arc;

use serde_json::{Value, json};
use waft_apimachinery::crd;
use waft_apimachinery::managed::{self, Manager, Operation};
use waft_apimachinery::meta;
use waft_apimachinery::registry::{CustomError, Registry, Resource};
use waft_apimachinery::request::WriteOptions;
use waft_apimachinery::status::Status;

use crate::open::{ApiServer, own_body};
use crate::read::served;
use crate::service::Text;
use crate::store::Key;
use crate::write::now;

/// Where definitions are stored.
pub(crate) const STORAGE: &str = "apiextensions.k8s.io/customresourcedefinitions";

/// Held by a definition until its objects are gone.
pub(crate) const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

/// Fills in what a definition may leave out.
pub(crate) fn complete(definition: &mut Value, resource: &Resource) {
    if *resource.storage == *STORAGE {
        crd::default(definition);
    }
}

/// Writes what the server says about a definition, in its own name: accepted names, conditions,
/// stored versions.
pub(crate) fn settle(definition: &mut Value, resource: &Resource, registry: &Registry) {
    if *resource.storage != *STORAGE || !meta::text(definition, "deletionTimestamp").is_empty() {
        return;
    }
    let mut before = definition.clone();
    if before["status"]["acceptedNames"].is_null() {
        // What a definition has before anyone looks at it.
        let all = definition["spec"]["versions"]
            .as_array()
            .into_iter()
            .flatten();
        let stored = all.filter(|version| version["storage"] == true);
        let stored: Vec<Value> = stored.map(|version| version["name"].clone()).collect();
        before["status"] = json!({
            "conditions": null,
            "acceptedNames": {"plural": "", "kind": ""},
            "storedVersions": stored,
        });
    }
    let before = before;
    let status = &before["status"];
    let mut versions = status["storedVersions"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let all = before["spec"]["versions"].as_array().into_iter().flatten();
    if let Some(version) = all.into_iter().find(|version| version["storage"] == true)
        && !versions.contains(&version["name"])
    {
        versions.push(version["name"].clone());
    }
    let (names, established, accepted) = match registry.clone().set_custom(definition) {
        Err(CustomError::NameTaken { kind }) => (
            [
                "False",
                "KindConflict",
                &format!("{kind:?} is already in use"),
            ],
            ["False", "NotAccepted", "not all names are accepted"],
            match &status["acceptedNames"] {
                Value::Null => json!({"plural": "", "kind": ""}),
                names => names.clone(),
            },
        ),
        _ => (
            ["True", "NoConflicts", "no conflicts found"],
            [
                "True",
                "InitialNamesAccepted",
                "the initial names have been accepted",
            ],
            crd::accepted_names(definition),
        ),
    };
    definition["status"] = json!({
        "conditions": [
            condition(status, "NamesAccepted", names),
            condition(status, "Established", established),
        ],
        "acceptedNames": accepted,
        "storedVersions": versions,
    });
    let manager = Manager {
        name: "kube-apiserver".into(),
        operation: Operation::Update,
        api_version: resource.api_version(),
        subresource: Some("status".into()),
        time: now(),
    };
    managed::track_update(Some(&before), definition, resource.schema(), &manager);
}

/// Says in a definition's status that its objects are being deleted.
pub(crate) fn mark_terminating(definition: &mut Value, resource: &Resource) {
    if *resource.storage != *STORAGE {
        return;
    }
    let message =
        "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon";
    let terminating = condition(
        &definition["status"],
        "Terminating",
        ["True", "InstanceDeletionPending", message],
    );
    match definition["status"]["conditions"].as_array_mut() {
        Some(conditions) => conditions.push(terminating),
        None => definition["status"]["conditions"] = json!([terminating]),
    }
}

/// A condition, with the time at which it became what it is.
fn condition(before: &Value, kind: &str, [status, reason, message]: [&str; 3]) -> Value {
    let mut known = before["conditions"].as_array().into_iter().flatten();
    let known = known.find(|condition| condition["type"] == kind && condition["status"] == status);
    let time = known.map_or_else(
        || now().into(),
        |condition| condition["lastTransitionTime"].clone(),
    );
    json!({"type": kind, "status": status, "lastTransitionTime": time, "reason": reason, "message": message})
}

impl ApiServer {
    /// Serves what the stored definitions say; at the start.
    pub(crate) fn load_definitions(&self) {
        for stored in self.store.all(STORAGE, None) {
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
        let body = own_body(resource, &mut definition.clone())?;
        match self.create(resource, None, body, &options, &mut text).await {
            Err(status) if status.code == 409 => {}
            result => return result.map(|_| ()),
        }
        let stored = self.find(resource, None, &name)?;
        let mut wanted = served(&stored, resource);
        wanted["spec"] = definition["spec"].clone();
        let whole = waft_apimachinery::request::Part::Whole;
        let body = own_body(resource, &mut wanted)?;
        self.update(resource, None, &name, whole, body, &options, &mut text)
            .await
            .map(|_| ())
    }
}
