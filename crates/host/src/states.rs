//! The states of all workloads, as the control plane watches them.
//!
//! What is watched is a whole map. The first change is shown at once, and those that follow it
//! together: so late that with thousands of workloads looking at what has changed takes no more than
//! a small part of a processor.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    runtime::Handle,
    sync::watch,
    time::{Instant, sleep_until},
};
use waft_ir::{Phase, StateMap, States, WorkloadId, WorkloadState};

/// Rest between two shows, for each workload.
const REST: Duration = Duration::from_micros(1);

/// Holds the newest states. Nobody is woken when nothing changed.
pub(crate) struct StateBoard {
    board: Mutex<Board>,
    sender: watch::Sender<StateMap>,
    /// Where changes wait until they are shown.
    runtime: Handle,
    itself: Weak<Self>,
}

#[derive(Debug)]
struct Board {
    states: StateMap,
    running: Running,
    /// When the states may be shown again.
    rested: Instant,
    /// Whether a task waits for that.
    is_due: bool,
}

/// How much runs.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Running {
    pub(crate) workloads: u64,
    /// Components and services of these.
    pub(crate) components: u64,
}

impl StateBoard {
    pub(crate) fn new(runtime: Handle) -> Arc<Self> {
        Arc::new_cyclic(|itself| Self {
            board: Mutex::new(Board {
                states: StateMap::default(),
                running: Running::default(),
                rested: Instant::now(),
                is_due: false,
            }),
            sender: watch::Sender::new(StateMap::default()),
            runtime,
            itself: itself.clone(),
        })
    }

    pub(crate) fn subscribe(&self) -> States {
        self.sender.subscribe()
    }

    pub(crate) fn get(&self, id: &WorkloadId) -> Option<Arc<WorkloadState>> {
        self.board.lock().states.get(id).cloned()
    }

    /// How much runs now.
    pub(crate) fn running(&self) -> Running {
        self.board.lock().running
    }

    /// Workloads in a phase now.
    pub(crate) fn count(&self, wanted: impl Fn(&Phase) -> bool) -> u64 {
        let board = self.board.lock();
        board.states.values().filter(|s| wanted(&s.phase)).count() as u64
    }

    pub(crate) fn set(&self, id: &WorkloadId, state: WorkloadState) {
        self.change(|board| {
            board.replace(id, Some(state));
            true
        });
    }

    /// Changes the state of a workload that is there.
    pub(crate) fn update(&self, id: &WorkloadId, change: impl FnOnce(&mut WorkloadState)) {
        self.change(|board| {
            let Some(before) = board.states.get(id) else {
                return false;
            };
            let mut state = WorkloadState::clone(before);
            change(&mut state);
            let changed = **before != state;
            if changed {
                board.replace(id, Some(state));
            }
            changed
        });
    }

    pub(crate) fn remove(&self, id: &WorkloadId) {
        self.change(|board| board.replace(id, None).is_some());
    }

    fn change(&self, change: impl FnOnce(&mut Board) -> bool) {
        let mut board = self.board.lock();
        if !change(&mut board) || board.is_due {
            return;
        }
        if Instant::now() >= board.rested {
            return self.show(&mut board);
        }
        board.is_due = true;
        let (itself, rested) = (self.itself.clone(), board.rested);
        self.runtime.spawn(async move {
            sleep_until(rested).await;
            if let Some(itself) = itself.upgrade() {
                itself.show(&mut itself.board.lock());
            }
        });
    }

    fn show(&self, board: &mut Board) {
        self.sender.send_replace(board.states.clone());
        let workloads = u32::try_from(board.states.len()).unwrap_or(u32::MAX);
        board.rested = Instant::now() + REST * workloads;
        board.is_due = false;
    }
}

impl Board {
    /// Puts a state in the place of the one before, or takes it away.
    fn replace(
        &mut self,
        id: &WorkloadId,
        state: Option<WorkloadState>,
    ) -> Option<Arc<WorkloadState>> {
        let is_running =
            |state: &&WorkloadState| matches!(state.phase, Phase::Running | Phase::Restarting(_));
        if let Some(state) = state.as_ref().filter(is_running) {
            self.running.workloads += 1;
            self.running.components += state.components.len() as u64;
        }
        let before = match state {
            Some(state) => self.states.insert(id.clone(), Arc::new(state)),
            None => self.states.remove(id),
        };
        if let Some(before) = before.as_deref().filter(is_running) {
            self.running.workloads -= 1;
            self.running.components -= before.components.len() as u64;
        }
        before
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;
    use waft_ir::{ComponentState, HostId};

    use super::*;

    fn state(phase: Phase) -> WorkloadState {
        WorkloadState {
            host: HostId("h".into()),
            phase,
            components: vec![ComponentState::default(); 2],
            warnings: vec![],
        }
    }

    #[tokio::test]
    async fn what_runs_is_counted() {
        let board = StateBoard::new(Handle::current());
        let (a, b) = (WorkloadId("a".into()), WorkloadId("b".into()));
        board.set(&a, state(Phase::Running));
        board.set(&b, state(Phase::Pulling));
        board.update(&b, |state| state.phase = Phase::Running);
        let two = Running {
            workloads: 2,
            components: 4,
        };
        assert_eq!(board.running(), two);
        board.update(&a, |state| state.phase = Phase::Stopping);
        board.remove(&a);
        board.remove(&b);
        assert_eq!(board.running(), Running::default());
        assert_eq!(board.get(&a), None);
    }

    #[tokio::test]
    async fn every_change_is_shown_in_the_end_and_nothing_else_wakes() {
        let board = StateBoard::new(Handle::current());
        let mut states = board.subscribe();
        let ids: Vec<_> = (0..2000).map(|at| WorkloadId(format!("w{at}"))).collect();
        for id in &ids {
            board.set(id, state(Phase::Pulling));
        }
        for id in &ids {
            board.update(id, |state| state.phase = Phase::Running);
        }
        let all = states.wait_for(|states| {
            let running = states.values().filter(|s| s.phase == Phase::Running);
            running.count() == ids.len()
        });
        timeout(Duration::from_secs(30), all)
            .await
            .unwrap()
            .unwrap();
        board.update(&ids[0], |state| state.phase = Phase::Running);
        board.remove(&WorkloadId("unknown".into()));
        assert!(!states.has_changed().unwrap());
    }
}
