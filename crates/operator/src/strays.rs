//! Workloads that a host runs although their object is gone: after a restart of the operator, or
//! when someone took a finalizer away.

use waft_ir::Phase;

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
    context.memory.lock().retain(|id, _| {
        states.contains_key(id) || context.caches.workloads.by_uid(&id.0).is_some()
    });
}
