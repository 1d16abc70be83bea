//! What a deployment's status says.

use std::{sync::Arc, time::Duration};

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;
use waft_api::{
    HttpTrigger, LocalObjectReference, Reason, ReplicaCounts, WorkloadDeployment,
    WorkloadDeploymentStatus, WorkloadReplicaSet, conditions as types, names,
};

use super::{
    build::Hindrance,
    plan::{Plan, Stage},
    validate::Checked,
};
use crate::{
    condition::{Verdict, Verdicts, degraded, merge, summary},
    context::Context,
    events,
    key::Kind,
    object::{HasStatus as _, owner_of_kind},
    problem::Problem,
    queue::Next,
    routes::{Outcome, SourceKey},
    routing,
    write::{self, WriteError},
};

/// What was found out about a deployment.
pub(crate) struct Observed<'a> {
    /// Its spec, if it makes sense.
    pub checked: Result<&'a Checked, &'a Problem>,
    /// The wanted set, or what is in its way.
    pub wanted: &'a Result<WorkloadReplicaSet, Hindrance>,
    /// What is being done.
    pub plan: &'a Plan,
    /// All its sets.
    pub sets: &'a [Arc<WorkloadReplicaSet>],
    /// What the API server said when it refused the wanted set.
    pub refused: Option<&'a str>,
    /// Whether the name of the wanted set belongs to someone else.
    pub taken: bool,
}

/// Writes it, if it changed and can't wait, and tells new warnings.
pub(crate) async fn write(
    context: &Context,
    deployment: &WorkloadDeployment,
    waited: Duration,
    observed: &Observed<'_>,
) -> Result<Next, WriteError> {
    let routes = context
        .routing
        .outcome(&SourceKey::of(Kind::Deployment, deployment));
    let url = routing::url(context, &routes);
    let status = build(deployment, observed, &routes, url, Timestamp::now());
    // A rollout keeps the set that is named there.
    let kept = |status: &WorkloadDeploymentStatus| status.previous_replica_set.clone();
    let keeps = deployment.status.as_ref().and_then(kept) == kept(&status);
    if keeps && write::may_wait(deployment, &status, waited) {
        return Ok(Next::PutOff(write::PATIENCE));
    }
    // A trigger tells its own.
    let warnings = match owner_of_kind::<HttpTrigger>(deployment) {
        Some(_) => Vec::new(),
        None => routing::warnings(context, deployment, &deployment.spec.template.spec, None),
    };
    events::write_status(context, deployment, status, warnings).await?;
    Ok(Next::Await)
}

/// Sums the deployment up.
pub(crate) fn build(
    deployment: &WorkloadDeployment,
    observed: &Observed<'_>,
    routes: &Outcome,
    url: Option<String>,
    now: Timestamp,
) -> WorkloadDeploymentStatus {
    let generation = deployment.metadata.generation;
    let counts = observed
        .sets
        .iter()
        .filter_map(|set| set.status.as_ref()?.replicas)
        .fold((0, 0), |(current, ready), counts| {
            (
                current + counts.current.unwrap_or(0),
                ready + counts.ready.unwrap_or(0),
            )
        });
    let (current, ready) = counts;
    let expected = observed.checked.map_or_else(
        |_| deployment.spec.replicas.unwrap_or(1).max(0),
        |checked| checked.replicas,
    );
    let before = deployment.status.clone().unwrap_or_default();
    let wanted = observed.wanted.as_ref().ok();
    let verdicts = judge(deployment, observed, routes, expected);
    WorkloadDeploymentStatus {
        conditions: merge(deployment.conditions(), &verdicts, generation, now),
        current_replica_set: wanted
            .map(|set| LocalObjectReference {
                name: set.name_any(),
            })
            .or(before.current_replica_set),
        previous_replica_set: observed
            .plan
            .keep
            .clone()
            .map(|name| LocalObjectReference { name }),
        replicas: Some(ReplicaCounts {
            expected: Some(expected),
            current: Some(current),
            ready: Some(ready),
            unavailable: Some((expected - ready).max(0)),
        }),
        current_replicas: Some(current),
        selector: Some(format!(
            "{}={}",
            names::LABEL_WORKLOAD_DEPLOYMENT,
            deployment.name_any()
        )),
        observed_generation: generation,
        url,
    }
}

fn judge(
    deployment: &WorkloadDeployment,
    observed: &Observed<'_>,
    routes: &Outcome,
    expected: i32,
) -> Verdicts {
    let waiting = || Verdict::unknown(Reason::Waiting, "");
    let artifact = match observed.wanted {
        Err(Hindrance::Artifact(problem)) => problem.verdict(),
        Err(Hindrance::Spec(_)) if !deployment.spec.artifacts.is_empty() => waiting(),
        _ => Verdict::good(),
    };
    let set = observed.wanted.as_ref().ok().and_then(|wanted| {
        observed
            .sets
            .iter()
            .find(|set| set.name_any() == wanted.name_any())
    });
    let sync = match observed.wanted {
        Err(Hindrance::Spec(problem)) => problem.verdict(),
        Err(Hindrance::Artifact(_)) => waiting(),
        Ok(wanted) if observed.taken => Verdict::no(
            Reason::NameTaken,
            format!(
                "WorkloadReplicaSet `{}` exists and is not of this deployment; delete it",
                wanted.name_any()
            ),
        ),
        Ok(_) if set.is_some() => Verdict::good(),
        Ok(_) if let Some(answer) = observed.refused => Verdict::no(Reason::ApplyFailed, answer),
        Ok(_) if observed.plan.stage == Stage::Emptying => {
            Verdict::unknown(Reason::RollingOut, "the old replicas go first")
        }
        Ok(_) => Verdict::unknown(Reason::Reconciling, "the new replica set is being created"),
    };
    let of_set = |type_| {
        set.map_or_else(waiting, |set| {
            Verdict::of_child(set.conditions(), type_, set.metadata.generation)
        })
    };
    let serving = of_set(types::READY);
    let deploy = match observed.plan.stage {
        Stage::Done => Verdict::good(),
        Stage::CleaningUp => Verdict::unknown(
            Reason::RollingOut,
            "the new replicas serve, the old ones are going",
        ),
        Stage::Starting if !serving.is_good() => serving,
        Stage::Starting => Verdict::unknown(Reason::RollingOut, "the replicas are being started"),
        Stage::Emptying => Verdict::unknown(Reason::RollingOut, "the old replicas go first"),
        Stage::Held => waiting(),
    };
    let scale = match set {
        None => waiting(),
        Some(set) => {
            let counts = set.status.as_ref().and_then(|status| status.replicas);
            let current = counts.and_then(|counts| counts.current).unwrap_or(0);
            let scaled = [of_set(types::SCALE_UP), of_set(types::SCALE_DOWN)];
            match current.cmp(&expected) {
                std::cmp::Ordering::Equal => summary(&scaled),
                std::cmp::Ordering::Less => Verdict::unknown(
                    Reason::ScalingUp,
                    format!("{current} of {expected} replicas exist"),
                ),
                std::cmp::Ordering::Greater => Verdict::unknown(
                    Reason::ScalingDown,
                    format!("{current} replicas exist, {expected} are wanted"),
                ),
            }
        }
    };
    let routed = routes.blocked().unwrap_or_else(Verdict::good);
    let ready = summary([&artifact, &sync, &deploy, &scale, &routed]);
    let mut verdicts = vec![
        (types::ARTIFACT, artifact),
        (types::SYNC, sync),
        (types::DEPLOY, deploy),
        (types::SCALE, scale),
        (types::READY, ready),
    ];
    let of_set = || set.and_then(|set| degraded(set.conditions()));
    let degraded = routes.degraded().or_else(of_set);
    verdicts.extend(degraded.map(|verdict| (types::DEGRADED, verdict)));
    verdicts
}
