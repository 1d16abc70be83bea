//! Why a workload does not run, in the words of a container that waits: a reason for the column
//! STATUS, and a message for people.

use waft_api::{Workload, conditions};
use waft_ir::{Phase, WorkloadState};

/// What its host says, if the workload does not run there as it should.
pub(crate) fn of_state(state: &WorkloadState) -> Option<(String, Option<String>)> {
    match &state.phase {
        Phase::Failed(failure) | Phase::Restarting(failure) => {
            Some((failure.reason.to_string(), Some(failure.message.clone())))
        }
        Phase::Pulling => Some(("Pulling".into(), None)),
        Phase::Compiling => Some(("Compiling".into(), None)),
        Phase::Running | Phase::Completed | Phase::Stopping => None,
    }
}

/// What one of its conditions says of a workload that came to no host.
pub(crate) fn of_object(workload: &Workload) -> (String, Option<String>) {
    let status = workload.status.as_ref();
    let failed = status
        .into_iter()
        .flat_map(|status| &status.conditions)
        .find(|condition| condition.status == "False" && condition.type_ != conditions::READY);
    match failed {
        Some(condition) => (
            condition.reason.clone().unwrap_or_else(|| "Pending".into()),
            condition.message.clone(),
        ),
        None => ("Pending".into(), None),
    }
}
