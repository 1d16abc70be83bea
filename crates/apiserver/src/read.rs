//! Reading single objects, and turning stored ones into the version that was asked for.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use serde_json::Value;
use waft_apimachinery::events;
use waft_apimachinery::registry::{Conversion, Resource};
use waft_apimachinery::request::Output;
use waft_apimachinery::status::Status;

use crate::answer;
use crate::open::ApiServer;
use crate::service::Body;
use crate::store::{Key, Stored};

impl ApiServer {
    pub(crate) fn key(&self, resource: &Resource, namespace: Option<&str>, name: &str) -> Key {
        Key::new(&resource.storage, namespace.unwrap_or_default(), name)
    }

    pub(crate) fn find(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Arc<Stored>, Status> {
        self.store
            .get(&self.key(resource, namespace, name))
            .ok_or_else(|| Status::not_found(&resource.group, &resource.plural, name))
    }

    pub(crate) fn get_value(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Value, Status> {
        let stored = self.find(resource, namespace, name)?;
        Ok(served(&stored, resource))
    }

    pub(crate) fn get(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        name: &str,
        output: &Output,
    ) -> Result<Response<Body>, Status> {
        let stored = self.find(resource, namespace, name)?;
        match output {
            Output::Json => Ok(answer::bytes(
                200,
                "application/json",
                served_bytes(&stored, resource),
            )),
            _ => answer::object(resource, &served(&stored, resource), output, 200),
        }
    }
}

/// The object's bytes in a resource's version; those that are stored, wherever that is right.
pub(crate) fn served_bytes(stored: &Stored, resource: &Resource) -> Bytes {
    let as_it_is = resource.stores_itself()
        && *stored.meta.api_version == resource.storage_api_version
        && stored.revision >= resource.since;
    match as_it_is {
        true => stored.bytes.clone(),
        false => answer::encode(&served(stored, resource)),
    }
}

/// The object in a resource's version.
pub(crate) fn served(stored: &Stored, resource: &Resource) -> Value {
    as_served(stored.value(), resource, stored.revision < resource.since)
}

/// The same of an object in the version in which it is stored; an `outdated` one was stored under
/// another schema.
pub(crate) fn as_served(mut value: Value, resource: &Resource, outdated: bool) -> Value {
    if resource.conversion == Conversion::Events {
        return events::from_core(&value);
    }
    let version = resource.api_version();
    if value["apiVersion"] != *version || outdated {
        value["apiVersion"] = version.into();
        resource.schema().prune(&mut value);
        resource.schema().default(&mut value);
    }
    value
}

impl ApiServer {
    /// The object in the version in which it is stored, complete as that version has it.
    pub(crate) fn to_stored<'a>(&self, value: &'a Value, resource: &Resource) -> Cow<'a, Value> {
        if resource.conversion == Conversion::Events {
            return Cow::Owned(events::to_core(value));
        }
        let mut stored = Cow::Borrowed(value);
        if !resource.stores_itself() {
            let value = stored.to_mut();
            value["apiVersion"] = resource.storage_api_version.clone().into();
            if let Some(storage) = self.registry().of_storage(&resource.storage) {
                storage.schema().prune(value);
                storage.schema().default(value);
            }
        }
        stored
    }
}
