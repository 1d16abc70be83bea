//! What the controllers need of every kind: its status and conditions, and owner references.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Resource, ResourceExt as _, core::NamespaceResourceScope};
use serde::{Serialize, de::DeserializeOwned};
use waft_api::{
    Artifact, ArtifactStatus, Condition, Host, HostGroup, HostGroupStatus, HostStatus, HttpTrigger,
    HttpTriggerStatus, Workload, WorkloadDeployment, WorkloadDeploymentStatus, WorkloadReplicaSet,
    WorkloadReplicaSetStatus, WorkloadStatus,
};

/// A kind that the API server stores in namespaces.
pub(crate) trait Object:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + std::fmt::Debug
    + Serialize
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
}

impl<K> Object for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + Serialize
        + DeserializeOwned
        + Send
        + Sync
        + 'static
{
}

/// A kind with a status of ours.
pub(crate) trait HasStatus: Object {
    /// Its status.
    type Status: Clone + Default + PartialEq + Send + Sync;

    /// The status, if it has one.
    fn status(&self) -> Option<&Self::Status>;

    /// Replaces the status.
    fn set_status(&mut self, status: Self::Status);

    /// The conditions of a status.
    fn conditions_of(status: &Self::Status) -> &[Condition];

    /// The conditions, none if there is no status.
    fn conditions(&self) -> &[Condition] {
        self.status().map_or(&[], Self::conditions_of)
    }
}

macro_rules! has_status {
    ($($kind:ty: $status:ty,)*) => {
        $(impl HasStatus for $kind {
            type Status = $status;

            fn status(&self) -> Option<&$status> {
                self.status.as_ref()
            }

            fn set_status(&mut self, status: $status) {
                self.status = Some(status);
            }

            fn conditions_of(status: &$status) -> &[Condition] {
                &status.conditions
            }
        })*
    };
}

has_status! {
    HttpTrigger: HttpTriggerStatus,
    WorkloadDeployment: WorkloadDeploymentStatus,
    WorkloadReplicaSet: WorkloadReplicaSetStatus,
    Workload: WorkloadStatus,
    Artifact: ArtifactStatus,
    Host: HostStatus,
    HostGroup: HostGroupStatus,
}

/// The reference by which a child names its controlling owner.
pub(crate) fn owner_reference<K: Object>(owner: &K) -> OwnerReference {
    OwnerReference {
        api_version: K::api_version(&()).into_owned(),
        kind: K::kind(&()).into_owned(),
        name: owner.name_any(),
        uid: owner.uid().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// The controlling owner of a kind.
pub(crate) fn owner_of_kind<O: Object>(child: &impl Resource) -> Option<&OwnerReference> {
    owner_among::<O>(child.owner_references())
}

/// The controlling owner of a kind, among all owners of an object.
pub(crate) fn owner_among<O: Object>(owners: &[OwnerReference]) -> Option<&OwnerReference> {
    owners.iter().find(|owner| {
        owner.controller == Some(true)
            && owner.kind == O::kind(&())
            && owner.api_version == O::api_version(&())
    })
}

/// Whether an object is controlled by this very owner, not by one of the same name before it.
pub(crate) fn is_owned_by<K: Object>(child: &impl Resource, owner: &K) -> bool {
    owner_of_kind::<K>(child).is_some_and(|reference| Some(&reference.uid) == owner.uid().as_ref())
}

/// Whether an object that bears a name which an owner needs is in the way for good. What an owner of
/// the same name left behind is collected soon, and then the name is free.
pub(crate) fn is_in_the_way<K: Object>(object: &impl Resource, owner: &K) -> bool {
    let left_behind =
        owner_of_kind::<K>(object).is_some_and(|reference| reference.name == owner.name_any());
    !left_behind && !is_terminating(object)
}

/// Whether an object is being deleted.
pub(crate) fn is_terminating(object: &impl Resource) -> bool {
    object.meta().deletion_timestamp.is_some()
}

/// When an object was created, in seconds.
pub(crate) fn created(object: &impl Resource) -> i64 {
    let time = object.meta().creation_timestamp.as_ref();
    time.map_or(0, |time| time.0.as_second())
}
