//! Admission by stored configurations: who of the webhooks and policies is asked about a request,
//! in which order, and what comes of it. What they mean is decided in `waft-apimachinery`.

mod client;
mod policies;
mod webhooks;

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::{Value, json};
use waft_apimachinery::admission::policy::{Binding, Policy};
use waft_apimachinery::admission::webhook::Webhook;
use waft_apimachinery::admission::{Attributes, Facts, Judge, Operation};
use waft_apimachinery::meta;
use waft_apimachinery::registry::{GroupVersion, Resource};
use waft_apimachinery::request::{FieldValidation, Part, WriteOptions};
use waft_apimachinery::status::Status;

use crate::authorize::UserJudge;
use crate::open::ApiServer;
use crate::read::as_served;
use crate::service::Text;
use crate::store::Key;
use crate::write::Change;
use client::Caller;

const MUTATING: &str = "admissionregistration.k8s.io/mutatingwebhookconfigurations";
const VALIDATING: &str = "admissionregistration.k8s.io/validatingwebhookconfigurations";
/// Where policies are stored.
pub(crate) const POLICIES: &str = "admissionregistration.k8s.io/validatingadmissionpolicies";
const BINDINGS: &str = "admissionregistration.k8s.io/validatingadmissionpolicybindings";

/// The configurations as they are at one time, compiled.
#[derive(Default)]
pub(crate) struct Admission {
    mutating: Vec<Hook>,
    validating: Vec<Hook>,
    policies: Vec<(Policy, Vec<Binding>)>,
}

struct Hook {
    webhook: Webhook,
    caller: Caller,
}

/// A request on its way through admission.
pub(crate) struct Gate {
    admission: Arc<Admission>,
    pub(crate) attributes: Attributes,
    judge: Arc<dyn Judge>,
    /// The versions that show the same objects.
    versions: Vec<Arc<Resource>>,
    namespace: Option<Value>,
}

/// What is done to which object, without its states.
pub(crate) struct Subject<'a> {
    pub(crate) resource: &'a Arc<Resource>,
    /// Empty for the whole object.
    pub(crate) subresource: &'a str,
    /// Where the body is of another kind than the resource: group, version and kind.
    pub(crate) kind: Option<(&'a str, &'a str, &'a str)>,
    pub(crate) namespace: Option<&'a str>,
    /// Empty where there is none yet.
    pub(crate) name: &'a str,
    pub(crate) operation: Operation,
    pub(crate) dry_run: bool,
    pub(crate) options: Value,
}

impl ApiServer {
    fn admission(&self) -> Arc<Admission> {
        let state = [MUTATING, VALIDATING, POLICIES, BINDINGS];
        let state = self.store.changes(&state);
        self.admission.get(state, || Admission::read(self))
    }

    /// Makes a request ready for admission; `None` where nobody would be asked.
    pub(crate) fn gate(&self, subject: Subject<'_>, text: &Text) -> Option<Gate> {
        let admission = self.admission();
        if text.own || admission.is_empty() {
            return None;
        }
        let resource = subject.resource;
        let is_namespaces = resource.group.is_empty() && resource.plural == "namespaces";
        let namespace = match is_namespaces {
            true => subject.name,
            false => subject.namespace.unwrap_or_default(),
        };
        let kind = subject.kind;
        let (group, version, kind) =
            kind.unwrap_or((&resource.group, &resource.version, &resource.kind));
        let attributes = Attributes {
            operation: subject.operation,
            resource: resource.clone(),
            subresource: subject.subresource.to_owned(),
            kind_of: GroupVersion::new(group, version),
            kind: kind.to_owned(),
            namespace: namespace.to_owned(),
            name: subject.name.to_owned(),
            user: text.user.to_json(),
            dry_run: subject.dry_run,
            options: subject.options,
            object: Value::Null,
            old_object: Value::Null,
        };
        if attributes.is_exempt() {
            return None;
        }
        let registry = self.registry();
        let same = |other: &&Arc<Resource>| other.storage == resource.storage && !other.review;
        let versions = registry.all().filter(same).cloned().collect();
        let key = Key::new(&"/namespaces".into(), "", namespace);
        let namespace = self.store.get(&key).map(|stored| stored.value());
        Some(Gate {
            admission,
            attributes,
            judge: Arc::new(UserJudge::new(self, &text.user)),
            versions,
            namespace,
        })
    }

    /// Asks about something that is not stored; returns its body as webhooks leave it.
    pub(crate) async fn admit_body(
        &self,
        subject: Subject<'_>,
        body: Value,
        text: &mut Text,
    ) -> Result<Value, Status> {
        let Some(mut gate) = self.gate(subject, text) else {
            return Ok(body);
        };
        gate.attributes.object = body;
        self.mutate(&mut gate, text).await?;
        self.judge(&gate, text).await?;
        Ok(gate.attributes.object)
    }

    /// The gate of a write.
    pub(crate) fn gate_of(
        &self,
        change: &Change<'_>,
        operation: Operation,
        name: &str,
        text: &Text,
    ) -> Option<Gate> {
        let kind = match operation {
            Operation::Create => "CreateOptions",
            _ => "UpdateOptions",
        };
        self.gate(
            Subject {
                resource: change.resource,
                subresource: change.part.as_str(),
                kind: (change.part == Part::Scale).then_some(("autoscaling", "v1", "Scale")),
                namespace: change.namespace,
                name,
                operation,
                dry_run: change.options.dry_run,
                options: options(kind, change.options),
            },
            text,
        )
    }
}

impl<'a> Subject<'a> {
    /// A creation through a subresource, or of something that is not stored.
    pub(crate) fn creation(
        resource: &'a Arc<Resource>,
        subresource: &'a str,
        kind: Option<(&'a str, &'a str, &'a str)>,
        namespace: Option<&'a str>,
        name: &'a str,
        options: &WriteOptions,
    ) -> Subject<'a> {
        Subject {
            resource,
            subresource,
            kind,
            namespace,
            name,
            operation: Operation::Create,
            dry_run: options.dry_run,
            options: self::options("CreateOptions", options),
        }
    }

    /// A stream to a pod.
    pub(crate) fn connection(
        resource: &'a Arc<Resource>,
        subresource: &'a str,
        namespace: Option<&'a str>,
        name: &'a str,
    ) -> Subject<'a> {
        Subject {
            resource,
            subresource,
            kind: Some(("", "v1", "PodPortForwardOptions")),
            namespace,
            name,
            operation: Operation::Connect,
            dry_run: false,
            options: Value::Null,
        }
    }
}

impl Admission {
    fn read(server: &ApiServer) -> Admission {
        // Stored objects come in the order of their names, which is the order of asking.
        let hooks = |storage, mutating| -> Vec<Hook> {
            let configurations = server.store.values(storage);
            let webhooks = configurations
                .iter()
                .flat_map(|configuration| Webhook::read_all(configuration, mutating));
            webhooks
                .map(|webhook| Hook {
                    caller: Caller::new(&webhook.client),
                    webhook,
                })
                .collect()
        };
        let mut bindings: Vec<Binding> = server
            .store
            .values(BINDINGS)
            .iter()
            .map(Binding::read)
            .collect();
        let policies = server.store.values(POLICIES);
        let policies = policies.iter().map(|policy| {
            let policy = Policy::read(policy);
            let own: Vec<Binding> = bindings
                .extract_if(.., |binding| binding.policy == policy.name)
                .collect();
            (policy, own)
        });
        Admission {
            policies: policies
                .filter(|(_, bindings)| !bindings.is_empty())
                .collect(),
            mutating: hooks(MUTATING, true),
            validating: hooks(VALIDATING, false),
        }
    }

    fn is_empty(&self) -> bool {
        self.mutating.is_empty() && self.validating.is_empty() && self.policies.is_empty()
    }
}

impl Gate {
    /// Whether somebody could change the object.
    pub(crate) fn may_mutate(&self) -> bool {
        !self.admission.mutating.is_empty()
    }

    /// The request as it is seen in another version of the resource.
    fn seen_as(&self, resource: &Arc<Resource>, server: &ApiServer) -> Cow<'_, Attributes> {
        let asked = &self.attributes.resource;
        if resource.version == asked.version && resource.group == asked.group {
            return Cow::Borrowed(&self.attributes);
        }
        let mut attributes = self.attributes.clone();
        for object in [&mut attributes.object, &mut attributes.old_object] {
            if object["kind"] == *asked.kind {
                *object = as_served(
                    server.to_stored(object, asked).into_owned(),
                    resource,
                    false,
                );
            }
        }
        Cow::Owned(attributes)
    }

    fn facts(&self, resource: &Arc<Resource>, server: &ApiServer) -> Facts {
        let attributes = self.seen_as(resource, server);
        Facts::new(&attributes, resource, self.namespace.as_ref(), &self.judge)
    }
}

/// A write's options as an object.
pub(crate) fn options(kind: &str, options: &WriteOptions) -> Value {
    let mut object = json!({"kind": kind, "apiVersion": "meta.k8s.io/v1"});
    if options.dry_run {
        object["dryRun"] = json!(["All"]);
    }
    if let Some(manager) = &options.field_manager {
        object["fieldManager"] = manager.clone().into();
    }
    match options.field_validation {
        // What is not asked for is not shown.
        FieldValidation::Warn => {}
        FieldValidation::Strict => object["fieldValidation"] = "Strict".into(),
        FieldValidation::Ignore => object["fieldValidation"] = "Ignore".into(),
    }
    object
}

/// A new object without what the server gives it: mutating webhooks come before that.
pub(crate) fn unborn(object: &Value) -> Value {
    let mut object = object.clone();
    let metadata = meta::metadata_mut(&mut object);
    let named_by_server = metadata
        .get("generateName")
        .and_then(Value::as_str)
        .is_some_and(|prefix| !prefix.is_empty());
    for field in ["uid", "creationTimestamp", "generation"] {
        metadata.shift_remove(field);
    }
    if named_by_server {
        metadata.shift_remove("name");
    }
    object
}
