//! WorkloadDeployments: one WorkloadReplicaSet after another, so that a change is rolled out.
//!
//! *Dereference* reads Artifacts, ConfigMaps and Secrets, *validate* and *build* (pure) make the
//! wanted set and its name, *plan* (pure) says which sets to create, scale and delete, *apply* does
//! it, *status* sums it up. The status of a changed spec is written before anything is created for
//! it; that of a new deployment waits a little for what comes of it.

mod apply;
mod build;
mod plan;
mod status;
mod validate;

use std::time::Duration;

use kube::ResourceExt as _;

pub(crate) use build::effective_spec;

use crate::{
    artifacts,
    condition::is_ready,
    context::Context,
    dereference,
    object::{HasStatus as _, created, is_in_the_way, is_terminating, owner_of_kind},
    queue::Next,
    write::WriteError,
};

/// Brings one deployment closer to what it should be.
pub(crate) async fn reconcile(
    context: &Context,
    namespace: &str,
    name: &str,
    waited: Duration,
) -> Result<Next, WriteError> {
    let Some(deployment) = context.caches.deployments.get(namespace, name) else {
        return Ok(Next::Await);
    };
    let Some(uid) = deployment
        .uid()
        .filter(|_| !is_terminating(deployment.as_ref()))
    else {
        return Ok(Next::Await);
    };
    let spec = &deployment.spec;
    let names = artifacts::names(&spec.template.spec, &spec.artifacts);
    let known = dereference::artifacts(&context.caches, namespace, &names);
    let checked = validate::check(&deployment);
    let resolved = build::resolve(&deployment, &known);
    let template = resolved.as_ref().map(|resolved| &resolved.template.spec);
    let template = template.unwrap_or(&spec.template.spec);
    let inputs = dereference::inputs(&context.caches, namespace, template);
    let wanted = match (&checked, &resolved) {
        (Ok(_), Ok(resolved)) => build::wanted(&deployment, resolved, &inputs),
        (Err(problem), _) => Err(build::Hindrance::Spec(problem.clone())),
        (_, Err(problem)) => Err(build::Hindrance::Artifact(problem.clone())),
    };

    let sets = context.caches.replica_sets.owned_by(&uid);
    let desired = wanted.as_ref().ok().map(|set| set.name_any());
    let is_made = sets.iter().any(|set| Some(set.name_any()) == desired);
    if checked.is_ok()
        && !is_made
        && !dereference::are_newest(context, namespace, template, &inputs, &known).await?
    {
        return Ok(Next::Await);
    }

    let views: Vec<plan::Set> = sets
        .iter()
        .map(|set| {
            let counts = set.status.as_ref().and_then(|status| status.replicas);
            plan::Set {
                name: set.name_any(),
                replicas: set.spec.replicas.unwrap_or(1),
                ready: counts.and_then(|counts| counts.ready).unwrap_or(0),
                complete: is_ready(set.conditions(), set.metadata.generation),
                created: created(set.as_ref()),
                terminating: is_terminating(set.as_ref()),
            }
        })
        .collect();
    let planned = plan::plan(&plan::Situation {
        policy: checked
            .as_ref()
            .map_or(plan::Policy::RollingUpdate, |c| c.policy),
        replicas: checked
            .as_ref()
            .map_or_else(|_| kept_replicas(&views), |checked| checked.replicas),
        desired: desired.as_deref(),
        sets: &views,
        others_linger: others_linger(context, &deployment, desired.as_deref()),
        previous: deployment
            .status
            .as_ref()
            .and_then(|status| status.previous_replica_set.as_ref())
            .map(|set| set.name.as_str()),
    });

    let taken = desired
        .as_deref()
        .and_then(|desired| context.caches.replica_sets.get(namespace, desired))
        .filter(|set| is_in_the_way(set.as_ref(), deployment.as_ref()));
    let refused = context.refused.lock().get(&uid).cloned();
    let refused = refused
        .filter(|(name, _)| Some(name.as_str()) == desired.as_deref())
        .map(|(_, answer)| answer);
    let next = status::write(
        context,
        &deployment,
        waited,
        &status::Observed {
            checked: checked.as_ref(),
            wanted: &wanted,
            plan: &planned,
            sets: &sets,
            taken: taken.is_some(),
            refused: refused.as_deref(),
        },
    )
    .await?;
    if taken.is_none() {
        apply::apply(context, &deployment, wanted.ok().as_ref(), &planned, &sets).await?;
    }
    Ok(next)
}

/// When the spec makes no sense, what is there keeps its size.
fn kept_replicas(sets: &[plan::Set]) -> i32 {
    sets.iter()
        .max_by_key(|set| set.ready)
        .map_or(0, |set| set.replicas)
}

/// Whether workloads of other sets than the desired one are still there.
fn others_linger(
    context: &Context,
    deployment: &waft_api::WorkloadDeployment,
    desired: Option<&str>,
) -> bool {
    let namespace = deployment.namespace().unwrap_or_default();
    let labelled = &context.caches.workloads;
    let labelled = labelled.of_deployment(&namespace, &deployment.name_any());
    labelled.iter().any(|workload| {
        let owner = owner_of_kind::<waft_api::WorkloadReplicaSet>(workload.as_ref());
        owner.is_some_and(|owner| Some(owner.name.as_str()) != desired)
    })
}
