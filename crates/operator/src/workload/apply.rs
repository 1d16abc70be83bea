//! Telling the host.

use kube::ResourceExt as _;
use waft_api::{Workload, names::FINALIZER_WORKLOAD};
use waft_ir::{Phase, WorkloadId, WorkloadState};

use super::decide::{Action, Decision};
use crate::{
    context::Context,
    queue::Next,
    routing,
    write::{self, WriteError},
};

/// Does what was decided, and remembers it.
pub(crate) fn tell(context: &Context, id: &WorkloadId, decision: &Decision) {
    // Remembered first: the host's answer may wake the workload before this returns.
    context.memory.lock().set(id, decision.memory.clone());
    match &decision.action {
        Action::None => {}
        Action::Start(host, workload) => context.link.start(host, workload.clone()),
        Action::Stop(host) => context.link.stop(host, id),
    }
}

/// A workload whose object is being deleted: its routes leave, then the host finishes its requests
/// and stops it, then the object may go.
pub(crate) async fn finish(
    context: &Context,
    workload: &Workload,
    id: &WorkloadId,
    state: Option<&WorkloadState>,
) -> Result<Next, WriteError> {
    if let Some(state) = state {
        if state.phase != Phase::Stopping {
            routing::withdraw(context, workload);
            context.link.stop(&state.host, id);
        }
        // The host wakes it again when it is gone.
        return Ok(Next::Await);
    }
    context.memory.lock().remove(id);
    let finalizers = workload.finalizers();
    if finalizers.iter().any(|f| f == FINALIZER_WORKLOAD) {
        let others: Vec<String> = finalizers
            .iter()
            .filter(|f| *f != FINALIZER_WORKLOAD)
            .cloned()
            .collect();
        write::set_finalizers(&context.client, workload, &others).await?;
    }
    Ok(Next::Await)
}
