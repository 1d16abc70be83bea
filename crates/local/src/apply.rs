//! Applies manifests through the API, as kubectl would: a set is checked as a whole first, so that
//! an error in it applies nothing.

mod content;
mod digest;
mod kinds;

use std::{collections::BTreeSet, time::Duration};

use kube::{
    Api, Client,
    api::{DeleteParams, DynamicObject, Patch, PatchParams, ValidationDirective},
    runtime::wait::{await_condition, conditions},
};
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use waft_api::names::MANAGER_UP;

pub use content::is_same;
pub use digest::stamp;
pub(crate) use kinds::Kinds;
pub use kinds::not_served_yet;

use crate::{
    event::UpError,
    manifest::{Object, image_paths},
};

/// Where objects lie that name no namespace.
pub(crate) const DEFAULT_NAMESPACE: &str = "default";

/// How long a namespace that is being deleted is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// Which object it is.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct ObjectId {
    pub(crate) api_version: String,
    pub(crate) kind: String,
    /// `None` for cluster-scoped objects.
    pub(crate) namespace: Option<String>,
    pub(crate) name: String,
}

/// What became of an object.
#[derive(Clone, Debug)]
pub(crate) struct Applied {
    pub(crate) object: ObjectId,
    /// `created`, `configured` or `unchanged`.
    pub(crate) change: &'static str,
}

/// A set that the API would take.
pub(crate) struct Checked {
    objects: Vec<Accepted>,
    /// Namespaces that were made so that it could be checked.
    namespaces: Vec<ObjectId>,
}

/// One object of such a set.
struct Accepted {
    id: ObjectId,
    /// The object as JSON: of thousands, the parsed ones are many times as large.
    text: String,
    origin: String,
}

/// The way to the API.
pub(crate) struct Applier {
    client: Client,
    kinds: Kinds,
    contents: digest::Contents,
}

impl std::fmt::Display for ObjectId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)?;
        match self.namespace.as_deref() {
            None | Some(DEFAULT_NAMESPACE) => Ok(()),
            Some(namespace) => write!(f, " in namespace {namespace}"),
        }
    }
}

impl Checked {
    /// The objects of the set.
    pub(crate) fn ids(&self) -> BTreeSet<ObjectId> {
        self.objects
            .iter()
            .map(|object| object.id.clone())
            .collect()
    }

    /// Those of the set that are not among these and name local files.
    pub(crate) fn others_with_files(&self, known: &BTreeSet<ObjectId>) -> Vec<Object> {
        let others = self.objects.iter().filter(|o| !known.contains(&o.id));
        let parsed = others.filter_map(|other| {
            let value = serde_json::from_str(&other.text).ok()?;
            let origin = other.origin.clone();
            Some(Object { value, origin })
        });
        parsed
            .filter(|object| !image_paths(&object.value).is_empty())
            .collect()
    }
}

impl Applier {
    pub(crate) fn new(client: Client) -> Self {
        let kinds = Kinds::new(client.clone());
        Self {
            client,
            kinds,
            contents: digest::Contents::default(),
        }
    }

    /// Asks the API whether it takes every object of a set. Missing namespaces are created; when
    /// the set is refused, those are removed again.
    pub(crate) async fn check(&mut self, objects: Vec<Object>) -> Result<Checked, UpError> {
        let mut namespaces = Vec::new();
        match self.try_check(objects, &mut namespaces).await {
            Ok(objects) => Ok(Checked {
                objects,
                namespaces,
            }),
            Err(error) => {
                self.remove(&namespaces).await;
                Err(error)
            }
        }
    }

    /// Removes what was made so that a set could be checked, as nothing of it was applied.
    pub(crate) async fn withdraw(&mut self, checked: &Checked) {
        self.remove(&checked.namespaces).await;
    }

    async fn remove(&mut self, namespaces: &[ObjectId]) {
        for namespace in namespaces {
            // Why they are removed is what the user must see.
            let _ = self.delete(namespace).await;
        }
    }

    async fn try_check(
        &mut self,
        objects: Vec<Object>,
        created: &mut Vec<ObjectId>,
    ) -> Result<Vec<Accepted>, UpError> {
        let defined = defined_kinds(&objects);
        self.contents.next_set();
        let mut checked = Vec::new();
        for mut object in objects {
            self.contents.stamp(&mut object.value);
            let by_set = defined.contains(&(group(object.api_version()), object.kind().into()));
            let id = if by_set {
                // Its definition comes with this set, so nobody can judge it yet.
                id_of(&object, true)
            } else {
                let namespaced = self.kinds.is_namespaced(&object).await?;
                id_of(&object, namespaced)
            };
            if let Some(namespace) = &id.namespace {
                object.value["metadata"]["namespace"] = namespace.as_str().into();
            }
            let namespace = match &id.namespace {
                // Those of the set come now, so that what lies in them can be judged.
                None if id.kind == "Namespace" => Some(&id.name),
                namespace => namespace.as_ref(),
            };
            if let Some(namespace) = namespace {
                let made = self.ensure_namespace(namespace).await;
                created.extend(made.map_err(|error| refused(&id, &object.origin, &error))?);
            }
            if !by_set {
                self.send(&id, &object.value, true)
                    .await
                    .map_err(|error| refused(&id, &object.origin, &error))?;
            }
            checked.push(Accepted {
                id,
                text: object.value.to_string(),
                origin: object.origin,
            });
        }
        Ok(checked)
    }

    /// Marks objects with what their files hold now.
    pub(crate) fn stamp(&mut self, objects: &mut [Object]) {
        self.contents.next_set();
        for object in objects {
            self.contents.stamp(&mut object.value);
        }
    }

    /// Brings the mark of an object to the one that is there, and nothing else: its manifest may be
    /// long out of date. One that is gone stays so.
    pub(crate) async fn mark(&mut self, object: &Object) -> Result<Option<Applied>, UpError> {
        let namespaced = self.kinds.is_namespaced(object).await?;
        let id = id_of(object, namespaced);
        let failed = |error: &kube::Error| refused(&id, &object.origin, error);
        let Some(mark) = digest::mark(&object.value) else {
            return Ok(None);
        };
        let parameters = PatchParams {
            field_manager: Some(MANAGER_UP.into()),
            ..PatchParams::default()
        };
        let api = self.api(&id).await.map_err(|error| failed(&error))?;
        match api.patch(&id.name, &parameters, &Patch::Merge(&mark)).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(None),
            Err(error) => return Err(failed(&error)),
        }
        Ok(Some(Applied {
            object: id,
            change: "configured",
        }))
    }

    /// Applies a set, until `shutdown`. What can be refused only now ends it, and says what was applied
    /// before.
    pub(crate) async fn apply(
        &mut self,
        checked: &Checked,
        shutdown: &CancellationToken,
    ) -> Result<Vec<Applied>, UpError> {
        let mut applied = Vec::new();
        for Accepted { id, text, origin } in &checked.objects {
            if shutdown.is_cancelled() {
                break;
            }
            let change = self.apply_one(id, text).await.map_err(|error| {
                let (object, message) = told(id, origin, &error);
                let applied = applied.iter().map(|applied: &Applied| &applied.object);
                let mut kept: Vec<_> = checked.namespaces.iter().chain(applied).collect();
                // A namespace of the set is among both.
                let mut known = BTreeSet::new();
                kept.retain(|id| known.insert(*id));
                UpError::Interrupted {
                    object,
                    message,
                    applied: kept.iter().map(ToString::to_string).collect(),
                }
            })?;
            // One that was made for the check is new all the same.
            let is_new = checked.namespaces.contains(id);
            applied.push(Applied {
                object: id.clone(),
                change: if is_new { "created" } else { change },
            });
        }
        if applied.is_empty() && shutdown.is_cancelled() {
            self.withdraw(checked).await;
        }
        Ok(applied)
    }

    async fn apply_one(&mut self, id: &ObjectId, text: &str) -> Result<&'static str, kube::Error> {
        let value = serde_json::from_str(text).map_err(kube::Error::SerdeError)?;
        let before = self.api(id).await?.get_opt(&id.name).await?;
        let after = self.send(id, &value, false).await?;
        let plain = |object| serde_json::to_value(object).map_err(kube::Error::SerdeError);
        let Some(before) = before else {
            return Ok("created");
        };
        Ok(match is_same(plain(before)?, plain(after)?) {
            true => "unchanged",
            false => "configured",
        })
    }

    /// Deletes an object; one that is gone is no error.
    pub(crate) async fn delete(&mut self, id: &ObjectId) -> Result<(), kube::Error> {
        match self
            .api(id)
            .await?
            .delete(&id.name, &DeleteParams::default())
            .await
        {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            other => other.map(drop),
        }
    }

    async fn send(
        &mut self,
        id: &ObjectId,
        value: &Value,
        dry_run: bool,
    ) -> Result<DynamicObject, kube::Error> {
        let parameters = PatchParams {
            dry_run,
            force: true,
            field_manager: Some(MANAGER_UP.into()),
            field_validation: Some(ValidationDirective::Strict),
        };
        let api = self.api(id).await?;
        api.patch(&id.name, &parameters, &Patch::Apply(value)).await
    }

    async fn api(&mut self, id: &ObjectId) -> Result<Api<DynamicObject>, kube::Error> {
        let resource = self.kinds.resource(&id.api_version, &id.kind).await?;
        Ok(match &id.namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        })
    }

    /// Creates a namespace if it is missing, and returns it then.
    async fn ensure_namespace(&mut self, name: &str) -> Result<Option<ObjectId>, kube::Error> {
        let id = ObjectId {
            api_version: "v1".into(),
            kind: "Namespace".into(),
            namespace: None,
            name: name.into(),
        };
        let api = self.api(&id).await?;
        if let Some(there) = api.get_metadata_opt(name).await? {
            let uid = there.metadata.uid.unwrap_or_default();
            let goes = there.metadata.deletion_timestamp.is_some();
            // One that was withdrawn may not be gone yet. Why another one stays is for the API to say.
            if !goes || !is_gone(api, name, &uid).await {
                return Ok(None);
            }
        }
        let value = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        self.send(&id, &value, false).await?;
        Ok(Some(id))
    }
}

/// Waits until an object is deleted. `false`: it stays longer than one would wait.
async fn is_gone(api: Api<DynamicObject>, name: &str, uid: &str) -> bool {
    let gone = await_condition(api, name, conditions::is_deleted(uid));
    matches!(timeout(PATIENCE, gone).await, Ok(Ok(_)))
}

/// The identity of an object of a manifest.
fn id_of(object: &Object, namespaced: bool) -> ObjectId {
    let namespace = object.namespace().unwrap_or(DEFAULT_NAMESPACE);
    ObjectId {
        api_version: object.api_version().into(),
        kind: object.kind().into(),
        namespace: namespaced.then(|| namespace.into()),
        name: object.name().into(),
    }
}

/// Group and kind of every definition in a set.
fn defined_kinds(objects: &[Object]) -> BTreeSet<(String, String)> {
    let definitions = objects
        .iter()
        .filter(|object| object.kind() == "CustomResourceDefinition");
    let text = |object: &Object, pointer| {
        let value = object.value.pointer(pointer).and_then(Value::as_str);
        value.unwrap_or_default().to_owned()
    };
    definitions
        .map(|object| {
            (
                text(object, "/spec/group"),
                text(object, "/spec/names/kind"),
            )
        })
        .collect()
}

fn group(api_version: &str) -> String {
    api_version
        .split_once('/')
        .map_or(String::new(), |(group, _)| group.into())
}

/// The API's refusal as the end of `waft up`.
fn refused(id: &ObjectId, origin: &str, error: &kube::Error) -> UpError {
    let (object, message) = told(id, origin, error);
    UpError::Refused { object, message }
}

/// Which object was refused, and why.
fn told(id: &ObjectId, origin: &str, error: &kube::Error) -> (String, String) {
    let object = format!("{id} in {origin}");
    let message = match error {
        kube::Error::Api(status) => status.message.clone(),
        // Of all that is in its address, only these two are of the manifest's choosing.
        kube::Error::BuildRequest(_) => {
            "its name or namespace has a character that no name has, a space for example".into()
        }
        other => other.to_string(),
    };
    (object, message)
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use k8s_openapi::api::core::v1::Namespace;
    use kube::api::PostParams;
    use waft_apiserver::{ApiServer, Config};

    use super::*;

    #[tokio::test]
    async fn a_namespace_that_is_going_is_waited_for_and_made_anew() {
        let server = ApiServer::open(Config::default()).await.unwrap();
        let client = Client::new(server.service(), "default");
        let namespaces = Api::<Namespace>::all(client.clone());
        let held = json!({"metadata": {"name": "fresh", "finalizers": ["example.com/held"]}});
        let held = serde_json::from_value(held).unwrap();
        let parameters = PostParams::default();
        let old = namespaces.create(&parameters, &held).await.unwrap();
        let parameters = DeleteParams::default();
        namespaces.delete("fresh", &parameters).await.unwrap();

        let value = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "a", "namespace": "fresh"},
        });
        let origin = "a.yaml".into();
        let mut applier = Applier::new(client);
        let mut check = pin!(applier.check(vec![Object { value, origin }]));
        // It waits, and would have ended otherwise.
        let ended = timeout(Duration::from_millis(500), &mut check).await;
        assert!(ended.is_err());
        let patch = Patch::Merge(json!({"metadata": {"finalizers": null}}));
        let parameters = PatchParams::default();
        let let_go = namespaces.patch("fresh", &parameters, &patch);
        let_go.await.unwrap();
        let checked = check.await;
        assert_eq!(checked.unwrap().namespaces.len(), 1);
        let new = namespaces.get("fresh").await.unwrap();
        assert_ne!(new.metadata.uid, old.metadata.uid);
    }
}
