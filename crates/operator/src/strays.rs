//! Workloads that a host runs although their object is gone: after a restart of the operator, or
//! when someone took a finalizer away.

use waft_ir::{Phase, WorkloadId};

use crate::context::Context;

/// Stops them.
pub(crate) fn stop(context: &Context) {
    let states = context.link.states().borrow().clone();
    for (id, state) in states.iter() {
        let known = context.caches.workloads.by_uid(&id.0).is_some();
        if !known && state.phase != Phase::Stopping {
            tracing::info!(workload = %id, "stopped: its object is gone");
            context.link.stop(&state.host, id);
        }
    }
    forget(context);
}

/// Forgets what was remembered of objects that are gone.
fn forget(context: &Context) {
    let caches = &context.caches;
    let states = context.link.states().borrow().clone();
    let is_known =
        |id: &WorkloadId| states.contains_key(id) || caches.workloads.by_uid(&id.0).is_some();
    context.memory.lock().retain(is_known);
    let is_trigger = |uid: &str| caches.triggers.by_uid(uid).is_some();
    context.handlers.retain(is_trigger);
    let is_artifact = |uid: &str| caches.artifacts.by_uid(uid).is_some();
    context.resolved.lock().retain(|uid, _| is_artifact(uid));
    context.pins.retain(is_artifact);
    let is_deployment = |uid: &String| caches.deployments.by_uid(uid).is_some();
    context.refused.lock().retain(|uid, _| is_deployment(uid));
}
