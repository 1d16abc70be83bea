//! Admission by what users store: webhooks and validating policies of `admissionregistration.k8s.io`.
//!
//! Pure: which of them a request concerns ([`Criteria`]), what a webhook is sent and what its answer
//! means ([`webhook`]), what a policy makes of a request ([`policy`]), and which configurations are
//! refused ([`validate`]). Calling webhooks, finding parameters and the order of all that are the
//! server's.

mod authorizer;
mod conditions;
mod criteria;
mod expression;
pub mod policy;
mod typing;
mod validate;
pub mod webhook;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use serde_json::{Map, Value, json};

pub use authorizer::{Access, Judge};
pub use conditions::Conditions;
pub use criteria::Criteria;
pub use expression::Facts;
pub use validate::validate;

use crate::registry::{GroupVersion, Resource};
use crate::status::Status;

/// The API group of everything here.
pub const GROUP: &str = "admissionregistration.k8s.io";

/// What happens to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the API's own")]
pub enum Operation {
    Create,
    Update,
    Delete,
    Connect,
}

/// What is meant to happen when something can't be asked or judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailurePolicy {
    /// The request is refused.
    Fail,
    /// The request goes on as if it had not been there.
    Ignore,
}

/// A request that changes something, as admission sees it.
#[derive(Debug, Clone)]
pub struct Attributes {
    /// What happens.
    pub operation: Operation,
    /// The resource of the path, in its version.
    pub resource: Arc<Resource>,
    /// Empty for the whole object.
    pub subresource: String,
    /// Group and version of the object; another one than the resource's for some subresources.
    pub kind_of: GroupVersion,
    /// The object's kind.
    pub kind: String,
    /// The namespace; for a namespace its own name.
    pub namespace: String,
    /// Empty where the server has yet to make one.
    pub name: String,
    /// Who asks, as `UserInfo`.
    pub user: Value,
    /// Nothing will be stored.
    pub dry_run: bool,
    /// The request's options, as an object.
    pub options: Value,
    /// The new state; null for a deletion.
    pub object: Value,
    /// The state before; null for a creation.
    pub old_object: Value,
}

impl Operation {
    /// The name in rules and reviews.
    pub fn as_str(self) -> &'static str {
        match self {
            Operation::Create => "CREATE",
            Operation::Update => "UPDATE",
            Operation::Delete => "DELETE",
            Operation::Connect => "CONNECT",
        }
    }
}

impl FailurePolicy {
    /// Reads the field; what isn't `Ignore` fails.
    pub fn read(value: &Value) -> FailurePolicy {
        match value.as_str() {
            Some("Ignore") => FailurePolicy::Ignore,
            _ => FailurePolicy::Fail,
        }
    }
}

impl Attributes {
    /// Whether nothing stored here may judge it: else a bad configuration could not be taken away.
    pub fn is_exempt(&self) -> bool {
        self.resource.group == GROUP
    }

    /// A refusal in the words of the real server.
    pub fn forbidden(&self, why: &str) -> Status {
        let name = match &*self.name {
            "" => self.object["metadata"]["name"]
                .as_str()
                .or(self.object["metadata"]["generateName"].as_str())
                .unwrap_or("Unknown"),
            name => name,
        };
        Status::forbidden(&self.resource.group, &self.resource.plural, name, why)
    }

    /// The request of an `AdmissionReview`, without uid and objects, as it is seen in a version of
    /// the resource.
    fn request(&self, seen_as: &Resource) -> Map<String, Value> {
        let resource = |resource: &Resource| json!({"group": resource.group, "version": resource.version, "resource": resource.plural});
        let kind = |seen_as: &Resource| match self.is_of_its_resource() {
            true => {
                json!({"group": seen_as.group, "version": seen_as.version, "kind": seen_as.kind})
            }
            false => {
                json!({"group": self.kind_of.group, "version": self.kind_of.version, "kind": self.kind})
            }
        };
        let mut request = Map::new();
        let mut put = |name: &str, value: Value| {
            if value != "" {
                request.insert(name.into(), value);
            }
        };
        put("kind", kind(seen_as));
        put("resource", resource(seen_as));
        put("subResource", self.subresource.clone().into());
        put("requestKind", kind(&self.resource));
        put("requestResource", resource(&self.resource));
        put("requestSubResource", self.subresource.clone().into());
        put("name", self.name.clone().into());
        put("namespace", self.namespace.clone().into());
        put("operation", self.operation.as_str().into());
        put("userInfo", self.user.clone());
        put("dryRun", self.dry_run.into());
        put("options", self.options.clone());
        request
    }

    fn is_of_its_resource(&self) -> bool {
        self.kind == self.resource.kind
    }
}
