//! What a set's status says: its Workloads, counted, and why they aren't all ready.

use std::{sync::Arc, time::Duration};

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;
use waft_api::{
    Reason, ReplicaCounts, Workload, WorkloadDeployment, WorkloadReplicaSet,
    WorkloadReplicaSetStatus, conditions as types,
};

use super::plan::Plan;
use crate::{
    condition::{Verdict, Verdicts, degraded, is_ready, merge, summary},
    context::Context,
    events,
    key::Kind,
    object::{HasStatus as _, is_terminating, owner_of_kind},
    problem::Problem,
    queue::Next,
    routes::{Outcome, SourceKey},
    routing,
    write::{self, WriteError},
};

/// What was found out about a set.
pub(crate) struct Observed<'a> {
    /// The number of replicas, if the set makes sense.
    pub wanted: &'a Result<usize, Problem>,
    /// What is being done.
    pub plan: &'a Plan,
    /// Its Workloads.
    pub owned: &'a [Arc<Workload>],
    /// What keeps a Workload from being created.
    pub hindrance: Option<Problem>,
}

/// The problem that a name which is needed belongs to someone else.
pub(crate) fn name_taken(name: &str) -> Problem {
    let message = format!("Workload `{name}` exists and is not of this set; delete or rename it");
    Problem::new(Reason::NameTaken, message)
}

/// Writes it, if it changed and can't wait. Warnings are told of the Workloads and of the
/// deployment; of the set itself, if it has none.
pub(crate) async fn write(
    context: &Context,
    set: &WorkloadReplicaSet,
    waited: Duration,
    observed: &Observed<'_>,
) -> Result<Next, WriteError> {
    let routes = context
        .routing
        .outcome(&SourceKey::of(Kind::ReplicaSet, set));
    let url = routing::url(context, &routes);
    let status = build(set, observed, &routes, url, Timestamp::now());
    // A rollout counts on those that are ready: never are more told than there are.
    let counts =
        |status: &WorkloadReplicaSetStatus| status.replicas.and_then(|counts| counts.ready);
    let is_no_less = set
        .status
        .as_ref()
        .is_none_or(|told| counts(told) <= counts(&status));
    if is_no_less && write::may_wait(set, &status, waited) {
        return Ok(Next::PutOff(write::PATIENCE));
    }
    if owner_of_kind::<WorkloadDeployment>(set).is_some() {
        write::status(&context.client, set, status).await?;
        return Ok(Next::Await);
    }
    let warnings = routing::warnings(context, set, &set.spec.template.spec, None);
    events::write_status(context, set, status, warnings).await?;
    Ok(Next::Await)
}

/// Sums the set up.
pub(crate) fn build(
    set: &WorkloadReplicaSet,
    observed: &Observed<'_>,
    routes: &Outcome,
    url: Option<String>,
    now: Timestamp,
) -> WorkloadReplicaSetStatus {
    let generation = set.metadata.generation;
    let alive: Vec<&Arc<Workload>> = observed
        .owned
        .iter()
        .filter(|workload| !is_terminating(workload.as_ref()))
        .collect();
    let ready = alive
        .iter()
        .filter(|workload| is_ready(workload.conditions(), workload.metadata.generation))
        .count();
    let expected = observed.wanted.as_ref().copied().unwrap_or_default();
    let mut verdicts = match observed.wanted {
        Ok(_) => judge(observed, &alive, expected, ready, routes),
        Err(problem) => vec![
            (types::SCALE_UP, Verdict::unknown(Reason::Waiting, "")),
            (types::SCALE_DOWN, Verdict::unknown(Reason::Waiting, "")),
            (types::READY, problem.verdict()),
        ],
    };
    let of_members = || {
        alive
            .iter()
            .find_map(|workload| degraded(workload.conditions()))
    };
    let degraded = routes.degraded().or_else(of_members);
    verdicts.extend(degraded.map(|verdict| (types::DEGRADED, verdict)));
    WorkloadReplicaSetStatus {
        conditions: merge(set.conditions(), &verdicts, generation, now),
        replicas: Some(ReplicaCounts {
            expected: Some(count(expected)),
            current: Some(count(alive.len())),
            ready: Some(count(ready)),
            unavailable: Some(count(expected.saturating_sub(ready))),
        }),
        observed_generation: generation,
        url,
    }
}

fn judge(
    observed: &Observed<'_>,
    alive: &[&Arc<Workload>],
    expected: usize,
    ready: usize,
    routes: &Outcome,
) -> Verdicts {
    let plan = observed.plan;
    let missing = plan.create.len() + plan.awaited.len();
    let up = match &observed.hindrance {
        Some(problem) => problem.verdict(),
        None if missing > 0 => Verdict::unknown(
            Reason::ScalingUp,
            format!("{missing} replicas are being added"),
        ),
        None => Verdict::good(),
    };
    let down = if plan.delete.is_empty() {
        Verdict::good()
    } else {
        let surplus = plan.delete.len();
        Verdict::unknown(
            Reason::ScalingDown,
            format!("{surplus} replicas are being removed"),
        )
    };
    let members: Vec<Verdict> = alive
        .iter()
        .filter(|workload| !plan.delete.contains(&workload.name_any()))
        .map(|workload| {
            let generation = workload.metadata.generation;
            Verdict::of_child(workload.conditions(), types::READY, generation)
        })
        .collect();
    let mut serving = summary(&members);
    if serving.is_good() && ready < expected {
        serving = Verdict::unknown(Reason::Starting, "replicas are being started");
    }
    let mut all = summary([&serving, &up, &down]);
    if !all.is_good() && expected > 1 {
        all.message = format!("{ready} of {expected} replicas are ready: {}", all.message);
    }
    if all.is_good() {
        all = routes.blocked().unwrap_or(all);
    }
    vec![
        (types::SCALE_UP, up),
        (types::SCALE_DOWN, down),
        (types::READY, all),
    ]
}

fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
