//! Writing objects: create, update, patch. Each is a new state computed from the published one and
//! stored on the condition that nothing came in between; if something did, it is computed again.

mod complete;
mod patch;
mod replace;

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::Value;
use waft_apimachinery::admission::Operation as Asked;
use waft_apimachinery::decode::{self, Body};
use waft_apimachinery::managed::{self, Manager, Operation};
use waft_apimachinery::meta::{self, Birth};
use waft_apimachinery::registry::Resource;
use waft_apimachinery::request::{FieldValidation, Info, Part, WriteOptions};
use waft_apimachinery::status::{Cause, FieldError, Status};

use crate::admission::{self, Gate};
use crate::admit;
use crate::definitions;
use crate::open::ApiServer;
use crate::read::served;
use crate::scale;
use crate::service::Text;
use crate::store::{Encoded, Expect, Key, Stored, Write, WriteError};

/// How often a write that names no version is computed again before the client is told.
const ATTEMPTS: usize = 32;

/// What stays the same while a change is tried.
pub(crate) struct Change<'a> {
    pub(crate) resource: &'a Arc<Resource>,
    pub(crate) namespace: Option<&'a str>,
    pub(crate) name: &'a str,
    pub(crate) part: Part,
    pub(crate) options: &'a WriteOptions,
}

/// What became of one try.
pub(crate) enum Outcome {
    /// Stored, or as good as.
    Done(Value),
    /// Something came in between.
    Again,
}

impl Change<'_> {
    /// An object as this part shows it.
    fn shown(&self, object: Cow<'_, Value>) -> Result<Value, Status> {
        match self.part {
            Part::Scale => scale::read(&object, self.resource),
            _ => Ok(object.into_owned()),
        }
    }
}

impl ApiServer {
    /// Creates an object out of a body.
    pub(crate) async fn create(
        &self,
        resource: &Arc<Resource>,
        namespace: Option<&str>,
        body: Body,
        options: &WriteOptions,
        text: &mut Text,
    ) -> Result<Value, Status> {
        let mut object = known_fields(body, resource, options, text)?;
        meta::metadata_mut(&mut object).shift_remove("managedFields");
        let change = Change {
            resource,
            namespace,
            name: "",
            part: Part::Whole,
            options,
        };
        self.create_prepared(&change, object, Operation::Update, text)
            .await
    }

    /// Creates an object whose fields are known to be known.
    async fn create_prepared(
        &self,
        change: &Change<'_>,
        mut object: Value,
        operation: Operation,
        text: &mut Text,
    ) -> Result<Value, Status> {
        let Change {
            resource,
            namespace,
            options,
            ..
        } = change;
        let uid = uuid::Uuid::new_v4().to_string();
        let birth = Birth {
            namespace: *namespace,
            name: Some(change.name).filter(|name| !name.is_empty()),
            uid: &uid,
            now: &now(),
            suffix: &suffix(),
        };
        meta::prepare_create(&mut object, resource, &birth)?;
        text.warnings.extend(meta::drop_double_owners(&mut object));
        self.check_namespace(resource, *namespace, meta::text(&object, "name"))?;
        complete::fill(&mut object, resource);
        definitions::complete(&mut object, resource);
        self.ask_hooks(admit::Operation::Create, change, &mut object, None, text)
            .await?;
        let given = match meta::text(&object, "generateName") {
            "" => meta::text(&object, "name").to_owned(),
            _ => change.name.to_owned(),
        };
        let mut gate = self.gate_of(change, Asked::Create, &given, text);
        let track = |object: &mut Value, text: &Text| {
            if operation == Operation::Update {
                let manager = manager(change, operation, text);
                managed::track_update(None, object, resource.schema(), &manager);
            }
        };
        let mutable = gate.as_ref().is_some_and(Gate::may_mutate);
        if let Some(gate) = gate.as_mut().filter(|_| mutable) {
            // What webhooks set belongs to nobody.
            track(&mut object, text);
            gate.attributes.object = admission::unborn(&object);
            if self.mutate(gate, text).await? {
                let managed = object["metadata"]["managedFields"].take();
                object = gate.attributes.object.take();
                resource.schema().prune(&mut object);
                meta::prepare_create(&mut object, resource, &birth)?;
                complete::fill(&mut object, resource);
                definitions::complete(&mut object, resource);
                complete::keep_managers(&mut object, managed);
            }
        }
        self.check_grants(change, &object, None, &text.user)?;
        complete::validate(&object, None, resource)?;
        self.check_params(change, &object, None, &text.user)?;
        if !mutable {
            track(&mut object, text);
        }
        meta::apply_unowned(&mut object, resource);
        self.give_address(&mut object, resource);
        definitions::settle(&mut object, resource, &self.registry());
        if let Some(gate) = &mut gate {
            gate.attributes.object = object.clone();
            self.judge(gate, text).await?;
        }
        let name = meta::text(&object, "name").to_owned();
        let key = self.key(resource, *namespace, &name);
        if options.dry_run {
            self.check_absent(resource, &key)?;
            return Ok(object);
        }
        let write = Write {
            key: key.clone(),
            expect: Expect::Absent,
            delete: false,
            object: Encoded::new(&self.to_stored(&object, resource)),
        };
        match self.store.write(write).await {
            Ok(stored) => {
                self.after_write(resource, &key);
                set_version(&mut object, &stored);
                Ok(match resource.builtin || resource.stores_itself() {
                    true => object,
                    // What the stored version adds shows in the others.
                    false => served(&stored, resource),
                })
            }
            Err(WriteError::Exists | WriteError::Conflict | WriteError::Missing) => {
                let prefix = meta::text(&object, "generateName");
                let taken = self.check_absent(resource, &key).err().unwrap_or_else(|| {
                    Status::already_exists(&resource.group, &resource.plural, &name)
                });
                Err(match prefix.is_empty() {
                    true => taken,
                    false => no_unique_name(taken),
                })
            }
            Err(WriteError::Unavailable(why)) => Err(unavailable(&why)),
        }
    }

    fn check_absent(&self, resource: &Resource, key: &Key) -> Result<(), Status> {
        match self.store.get(key) {
            None => Ok(()),
            Some(stored) if stored.meta.terminating => Err(Status::object_is_being_deleted(
                &resource.group,
                &resource.plural,
                &key.name,
            )),
            Some(_) => Err(Status::already_exists(
                &resource.group,
                &resource.plural,
                &key.name,
            )),
        }
    }

    /// Replaces an object or a part of it; also says whether it was created.
    #[allow(
        clippy::too_many_arguments,
        reason = "the path's parts, the body and the options are all there is"
    )]
    pub(crate) async fn update(
        &self,
        resource: &Arc<Resource>,
        namespace: Option<&str>,
        name: &str,
        part: Part,
        body: Body,
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
        let mut body = match part {
            Part::Scale => body.value,
            _ => known_fields(body, resource, options, text)?,
        };
        let version = meta::text(&body, "resourceVersion").to_owned();
        if !version.is_empty() && version.parse::<u64>().is_err() {
            let why = format!("strconv.ParseUint: parsing {version:?}: invalid syntax");
            return Err(Status::new(500, None, why));
        }
        if part != Part::Scale {
            meta::check_place(&body, resource, namespace, name)?;
        }
        for _ in 0..ATTEMPTS {
            let stored = match self.find(resource, namespace, name) {
                Ok(stored) => stored,
                Err(_) if resource.rules.create_on_update && part == Part::Whole => {
                    meta::metadata_mut(&mut body).shift_remove("resourceVersion");
                    self.authorize_creation(&change, text)?;
                    let value = self
                        .create_prepared(&change, body, Operation::Update, text)
                        .await?;
                    return Ok((value, true));
                }
                Err(status) => return Err(status),
            };
            if version.is_empty() && part != Part::Scale && !resource.rules.update_unconditionally {
                let error = FieldError::invalid(
                    "metadata.resourceVersion",
                    &Value::from(0),
                    "must be specified for an update",
                );
                return Err(Status::invalid(
                    &resource.group,
                    &resource.plural,
                    name,
                    vec![error],
                ));
            }
            if !version.is_empty() && version != stored.revision.to_string() {
                return Err(Status::modified(&resource.group, &resource.plural, name));
            }
            let old = served(&stored, resource);
            let new = match part {
                Part::Scale => {
                    let mut new = old.clone();
                    scale::write(&mut new, &body, resource)?;
                    new
                }
                _ if version.is_empty() => body.clone(),
                // It is tried just once.
                _ => body.take(),
            };
            match self
                .replace(&change, &stored, old, new, Operation::Update, text)
                .await?
            {
                Outcome::Done(value) => return Ok((change.shown(Cow::Owned(value))?, false)),
                Outcome::Again if !version.is_empty() => break,
                Outcome::Again => {}
            }
        }
        Err(Status::modified(&resource.group, &resource.plural, name))
    }

    /// Objects live in namespaces that exist and stay.
    fn check_namespace(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<(), Status> {
        let Some(namespace) = namespace.filter(|_| resource.namespaced) else {
            return Ok(());
        };
        match self
            .store
            .get(&Key::new(&"/namespaces".into(), "", namespace))
        {
            None => Err(Status::not_found("", "namespaces", namespace)),
            Some(stored) if stored.meta.terminating => {
                let why = format!(
                    "unable to create new content in namespace {namespace} because it is being terminated"
                );
                let mut status = Status::forbidden(&resource.group, &resource.plural, name, &why);
                let mut details = status.details.take().unwrap_or_default();
                details.causes.push(Cause {
                    reason: "NamespaceTerminating".into(),
                    message: format!("namespace {namespace} is being terminated"),
                    field: "metadata.namespace".into(),
                });
                status.details = Some(details);
                Err(status)
            }
            Some(_) => Ok(()),
        }
    }

    pub(crate) async fn ask_hooks(
        &self,
        operation: admit::Operation,
        change: &Change<'_>,
        new: &mut Value,
        old: Option<&Value>,
        text: &mut Text,
    ) -> Result<(), Status> {
        if self.admit.is_empty() {
            return Ok(());
        }
        let id = admit::ResourceId {
            group: change.resource.group.clone(),
            version: change.resource.version.clone(),
            kind: change.resource.kind.clone(),
            plural: change.resource.plural.clone(),
            subresource: change.part.as_str().to_owned(),
            namespace: change.namespace.unwrap_or_default().to_owned(),
            name: meta::text(new, "name").to_owned(),
        };
        for hook in &self.admit {
            text.warnings
                .extend(hook.admit(operation, &id, new, old).await?);
        }
        if operation == admit::Operation::Delete {
            return Ok(());
        }
        // What hooks make of an object must be one of its kind as well.
        let made = decode::Target::of(change.resource).check(new, b"");
        made.map_err(|unfit| unfit.into_status(&change.resource.kind, b""))
    }

    /// Whoever updates or applies an object that is not there must be allowed to create it.
    pub(crate) fn authorize_creation(
        &self,
        change: &Change<'_>,
        text: &Text,
    ) -> Result<(), Status> {
        let resource = change.resource;
        let info = Info {
            verb: "create".into(),
            resource_request: true,
            group: resource.group.clone(),
            version: resource.version.clone(),
            resource: resource.plural.clone(),
            namespace: change.namespace.unwrap_or_default().to_owned(),
            name: change.name.to_owned(),
            ..Info::default()
        };
        self.authorize(&text.user, &info)
    }

    /// Stores what became of an object, or removes it and leaves watchers this last state, unless it
    /// has changed meanwhile: then `None`.
    pub(crate) async fn put(
        &self,
        stored: &Stored,
        value: &Value,
        delete: bool,
    ) -> Result<Option<Arc<Stored>>, Status> {
        let write = Write {
            key: stored.key.clone(),
            expect: Expect::Revision(stored.revision),
            delete,
            object: Encoded::new(value),
        };
        match self.store.write(write).await {
            Ok(written) => Ok(Some(written)),
            Err(WriteError::Unavailable(why)) => Err(unavailable(&why)),
            Err(_) => Ok(None),
        }
    }

    /// What other parts of the server must know of a write before it is answered.
    pub(crate) fn after_write(&self, resource: &Resource, key: &Key) {
        if *resource.storage == *definitions::STORAGE {
            self.definition_changed(&key.name);
        }
    }
}

/// The object of a body without the fields that its schema doesn't know; the client is told of
/// these, and of those that were there twice, as it wished.
fn known_fields(
    body: Body,
    resource: &Resource,
    options: &WriteOptions,
    text: &mut Text,
) -> Result<Value, Status> {
    let Body {
        value: mut object,
        duplicates: mut doubtful,
    } = body;
    meta::write_only_fields(&mut object, resource);
    doubtful.extend(resource.schema().prune(&mut object));
    if doubtful.is_empty() {
        return Ok(object);
    }
    match options.field_validation {
        FieldValidation::Ignore => {}
        FieldValidation::Warn => text.warnings.extend(doubtful),
        FieldValidation::Strict => {
            let why = format!("strict decoding error: {}", doubtful.join(", "));
            return Err(decode::unfit(
                &resource.kind,
                &resource.version,
                &resource.kind,
                &why,
            ));
        }
    }
    Ok(object)
}

pub(crate) fn manager(change: &Change<'_>, operation: Operation, text: &Text) -> Manager {
    Manager {
        name: change
            .options
            .field_manager
            .clone()
            .unwrap_or_else(|| text.agent.clone()),
        operation,
        api_version: change.resource.api_version(),
        subresource: Some(change.part.as_str())
            .filter(|part| !part.is_empty())
            .map(str::to_owned),
        time: now(),
    }
}

/// The real server's sentence where a name was to be made.
fn no_unique_name(mut taken: Status) -> Status {
    taken.message += ", the server was not able to generate a unique name for the object";
    let mut details = taken.details.take().unwrap_or_default();
    details.retry_after_seconds = Some(1);
    taken.details = Some(details);
    taken
}

pub(crate) fn unavailable(why: &str) -> Status {
    Status::service_unavailable(format!("the object could not be stored: {why}"))
}

/// Puts the version that was stored into an object.
pub(crate) fn set_version(object: &mut Value, stored: &Stored) {
    let version = stored.revision.to_string();
    meta::metadata_mut(object).insert("resourceVersion".into(), version.into());
}

/// Now, as the API writes it: UTC, whole seconds.
pub(crate) fn now() -> String {
    let now = jiff::Timestamp::now();
    jiff::Timestamp::from_second(now.as_second())
        .unwrap_or(now)
        .to_string()
}

/// Five characters that make no words.
fn suffix() -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let random = uuid::Uuid::new_v4();
    random.as_bytes()[..5]
        .iter()
        .map(|byte| char::from(LETTERS[usize::from(*byte) % LETTERS.len()]))
        .collect()
}
