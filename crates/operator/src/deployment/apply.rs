//! Carrying out a rollout plan.

use std::sync::Arc;

use kube::ResourceExt as _;
use waft_api::{WorkloadDeployment, WorkloadReplicaSet};

use super::plan::Plan;
use crate::{
    context::Context,
    key::Kind,
    write::{self, WriteError},
};

/// Creates, scales and deletes sets. Creating one that exists is done already.
pub(crate) async fn apply(
    context: &Context,
    deployment: &WorkloadDeployment,
    wanted: Option<&WorkloadReplicaSet>,
    plan: &Plan,
    sets: &[Arc<WorkloadReplicaSet>],
) -> Result<(), WriteError> {
    if let Some(wanted) = wanted.filter(|_| plan.create) {
        create(context, deployment, wanted).await?;
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

/// Creates the wanted set. What the API server refuses is remembered and told, and not asked again
/// until another set is wanted.
async fn create(
    context: &Context,
    deployment: &WorkloadDeployment,
    wanted: &WorkloadReplicaSet,
) -> Result<(), WriteError> {
    let uid = deployment.uid().unwrap_or_default();
    let name = wanted.name_any();
    let known = context.refused.lock().get(&uid).cloned();
    if known.is_some_and(|(refused, _)| refused == name) {
        return Ok(());
    }
    match write::create(&context.client, wanted).await {
        Ok(_) => {
            context.refused.lock().remove(&uid);
            Ok(())
        }
        Err(WriteError::Refused(answer)) => {
            context.refused.lock().insert(uid, (name, answer));
            let namespace = deployment.namespace().unwrap_or_default();
            context.wake(Kind::Deployment, &namespace, &deployment.name_any());
            Ok(())
        }
        Err(error) => Err(error),
    }
}
