//! The states of all workloads, as the control plane watches them.

use std::{collections::BTreeMap, sync::Arc};

use tokio::sync::watch;
use waft_ir::{States, WorkloadId, WorkloadState};

/// Holds the newest map of states. Nobody is woken when nothing changed.
pub(crate) struct StateBoard {
    sender: watch::Sender<Arc<BTreeMap<WorkloadId, WorkloadState>>>,
}

impl Default for StateBoard {
    fn default() -> Self {
        Self {
            sender: watch::Sender::new(Arc::default()),
        }
    }
}

impl StateBoard {
    pub(crate) fn subscribe(&self) -> States {
        self.sender.subscribe()
    }

    pub(crate) fn get(&self, id: &WorkloadId) -> Option<WorkloadState> {
        self.sender.borrow().get(id).cloned()
    }

    pub(crate) fn set(&self, id: &WorkloadId, state: WorkloadState) {
        self.sender.send_modify(|states| {
            Arc::make_mut(states).insert(id.clone(), state);
        });
    }

    /// Changes the state of a workload that is there.
    pub(crate) fn update(&self, id: &WorkloadId, change: impl FnOnce(&mut WorkloadState)) {
        self.sender.send_if_modified(|states| {
            let Some(mut state) = states.get(id).cloned() else {
                return false;
            };
            change(&mut state);
            let changed = states.get(id) != Some(&state);
            if changed {
                Arc::make_mut(states).insert(id.clone(), state);
            }
            changed
        });
    }

    pub(crate) fn remove(&self, id: &WorkloadId) {
        self.sender.send_if_modified(|states| {
            states.contains_key(id) && Arc::make_mut(states).remove(id).is_some()
        });
    }
}
