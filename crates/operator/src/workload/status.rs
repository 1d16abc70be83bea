//! What a workload's status says.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;
use waft_api::{
    Workload, WorkloadStatus,
    conditions::{DEGRADED, READY},
};

use super::decide::Decision;
use crate::{
    condition::{Verdict, Verdicts, merge},
    context::Context,
    events,
    key::Kind,
    object::HasStatus as _,
    queue::Next,
    routes::{Outcome, SourceKey},
    routing,
    write::{self, WriteError},
};

/// Writes it, if it changed and can't wait, and tells new warnings.
pub(crate) async fn write(
    context: &Context,
    workload: &Workload,
    waited: Duration,
    decision: &Decision,
) -> Result<Next, WriteError> {
    let generation = workload.metadata.generation;
    let hosts = context.link.hosts().borrow().clone();
    let host = decision.host.as_ref().and_then(|id| hosts.get(id));
    let routes = context
        .routing
        .outcome(&SourceKey::of(Kind::Workload, workload));
    let verdicts = with_routes(decision.verdicts.clone(), &routes);
    let status = WorkloadStatus {
        conditions: merge(
            workload.conditions(),
            &verdicts,
            generation,
            Timestamp::now(),
        ),
        host_id: decision.host.as_ref().map(ToString::to_string),
        environment: host.and_then(|host| host.environment.clone()),
        workload_id: decision.host.is_some().then(|| workload.uid()).flatten(),
        observed_generation: generation,
        url: routing::url(context, &routes),
    };
    if write::may_wait(workload, &status, waited) {
        return Ok(Next::PutOff(write::PATIENCE));
    }
    let warnings = match workload.owner_references() {
        [] => routing::warnings(context, workload, &workload.spec, None),
        _ => Vec::new(),
    };
    events::write_status(context, workload, status, warnings).await?;
    Ok(decision.next)
}

/// A workload of its own that no route leads to does not do what it is for.
fn with_routes(mut verdicts: Verdicts, routes: &Outcome) -> Verdicts {
    for (type_, verdict) in &mut verdicts {
        if *type_ == READY && verdict.is_good() {
            *verdict = routes.blocked().unwrap_or_else(Verdict::good);
        }
    }
    let degraded = verdicts.iter().any(|(type_, _)| *type_ == DEGRADED);
    if !degraded {
        verdicts.extend(routes.degraded().map(|verdict| (DEGRADED, verdict)));
    }
    verdicts
}
