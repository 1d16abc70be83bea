//! In-process admission: the last word before an object is stored.

use async_trait::async_trait;
use serde_json::Value;
use waft_apimachinery::status::Status;

/// What is about to happen to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the API's own")]
pub enum Operation {
    Create,
    Update,
    Delete,
}

/// Which object is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceId {
    /// Empty for core.
    pub group: String,
    /// The version of the request.
    pub version: String,
    /// The object's kind.
    pub kind: String,
    /// The name in paths.
    pub plural: String,
    /// Empty for the whole object, else such as `status`.
    pub subresource: String,
    /// Empty for cluster-scoped objects.
    pub namespace: String,
    /// The object's name.
    pub name: String,
}

/// Someone who may change or refuse writes.
///
/// Called after defaulting and before validation, in the order of registration; what a hook changes
/// is validated like everything else. For a deletion `new` is the object that would go, and changes
/// to it are ignored.
#[async_trait]
pub trait Admit: Send + Sync {
    /// Warnings for the client, or a refusal.
    async fn admit(
        &self,
        operation: Operation,
        resource: &ResourceId,
        new: &mut Value,
        old: Option<&Value>,
    ) -> Result<Vec<String>, Status>;
}
