//! Carrying out a rollout plan.

use std::sync::Arc;

use kube::ResourceExt as _;
use waft_api::WorkloadReplicaSet;

use super::plan::Plan;
use crate::{
    context::Context,
    write::{self, WriteError},
};

/// Creates, scales and deletes sets. Creating one that exists is done already.
pub(crate) async fn apply(
    context: &Context,
    wanted: Option<&WorkloadReplicaSet>,
    plan: &Plan,
    sets: &[Arc<WorkloadReplicaSet>],
) -> Result<(), WriteError> {
    if let Some(wanted) = wanted.filter(|_| plan.create) {
        write::create(&context.client, wanted).await?;
    }
    let find = |name: &str| sets.iter().find(|set| set.name_any() == name);
    for (name, replicas) in &plan.scale {
        if let Some(set) = find(name) {
            write::scale(&context.client, set.as_ref(), *replicas).await?;
        }
    }
    for name in &plan.delete {
        if let Some(set) = find(name) {
            write::delete(&context.client, set.as_ref()).await?;
        }
    }
    Ok(())
}
