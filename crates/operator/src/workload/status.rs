//! What a workload's status says.

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;
use waft_api::{Workload, WorkloadStatus};

use super::decide::Decision;
use crate::{
    condition::merge,
    context::Context,
    events,
    object::HasStatus as _,
    routing,
    write::{self, WriteError},
};

/// Writes it, if it changed, and tells new warnings.
pub(crate) async fn write(
    context: &Context,
    workload: &Workload,
    decision: &Decision,
) -> Result<(), WriteError> {
    let generation = workload.metadata.generation;
    let hosts = context.link.hosts().borrow().clone();
    let host = decision.host.as_ref().and_then(|id| hosts.get(id));
    let status = WorkloadStatus {
        conditions: merge(
            workload.conditions(),
            &decision.verdicts,
            generation,
            Timestamp::now(),
        ),
        host_id: decision.host.as_ref().map(ToString::to_string),
        environment: host.and_then(|host| host.environment.clone()),
        workload_id: decision.host.is_some().then(|| workload.uid()).flatten(),
        observed_generation: generation,
    };
    let mut warnings = events::warnings(workload.conditions(), &status.conditions);
    let seen = workload
        .status
        .as_ref()
        .and_then(|status| status.observed_generation);
    if seen != generation && workload.owner_references().is_empty() {
        warnings.extend(routing::address_warning(&workload.spec));
    }
    if write::status(&context.client, workload, status).await? {
        events::warn(&context.client, workload, &warnings).await;
    }
    Ok(())
}
