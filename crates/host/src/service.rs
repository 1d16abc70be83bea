//! The long-lived service of a workload: run, and run again after a failure, in a fresh store each
//! time, with growing pauses, as often as the manifest allows. How it is, its [`Health`] says; what
//! that means for the workload is decided by whoever serves it.

use std::{future::pending, sync::Arc, time::Duration};

use tokio::{
    runtime::Handle,
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use waft_ir::{ComponentState, Failure, FailureReason, WorkloadId};
use waft_runtime::{Command, Loopback, RunError};

use crate::states::StateBoard;

/// The pause before the first restart; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A service that ran for so long is healthy: its restarts and pauses count from the start again.
const HEALTHY: Duration = Duration::from_secs(60);

/// How long a service that may listen is waited for, before it is taken to be up all the same.
const LISTEN_WITHIN: Duration = Duration::from_secs(2);
/// A service that has run for so long is up, if nothing else tells.
const STEADY: Duration = FIRST_PAUSE;

/// A service that is ready to run.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) workload: WorkloadId,
    /// `namespace/name` of the workload.
    pub(crate) key: Arc<str>,
    pub(crate) name: Arc<str>,
    /// Its place among the workload's states.
    pub(crate) position: usize,
    pub(crate) command: Command,
    pub(crate) max_restarts: u32,
    /// Where it will listen, if it can.
    pub(crate) listens: Option<Loopback>,
    /// Where it runs.
    pub(crate) guest_runtime: Handle,
}

/// How a service is.
#[derive(Clone, Debug)]
pub(crate) enum Health {
    /// It has begun, and neither is up nor has failed yet.
    Starting,
    /// It listens, or has run for a while.
    Up,
    /// It has failed; it waits for its next start, or has begun again and is not up yet.
    Restarting(Failure),
    /// It ended well and is not started again, or it was stopped.
    Ended,
    /// It has failed and is not started again.
    Failed(Failure),
}

/// A service in a task of its own.
pub(crate) struct Supervised {
    health: watch::Receiver<Health>,
    task: JoinHandle<()>,
}

/// The restarts that are left, and how long to wait for the next.
#[derive(Debug)]
pub(crate) struct Restarts {
    most: u32,
    used: u32,
}

impl Service {
    /// Runs it, on this runtime's time, until it ends well, fails and may not be started again, or
    /// is stopped.
    pub(crate) fn supervise(
        self: &Arc<Self>,
        runtime: &Handle,
        states: Arc<StateBoard>,
        stop: CancellationToken,
    ) -> Supervised {
        let (told, health) = watch::channel(Health::Starting);
        let service = self.clone();
        let task = runtime.spawn(async move {
            let last = service.run(&states, &told, stop).await;
            told.send_replace(last);
        });
        Supervised { health, task }
    }

    /// Its whole life. Gives its last health, and tells the others.
    async fn run(
        &self,
        states: &StateBoard,
        told: &watch::Sender<Health>,
        stop: CancellationToken,
    ) -> Health {
        let mut restarts = Restarts::new(self.max_restarts);
        let mut has_failed = false;
        loop {
            let began = Instant::now();
            let (command, stopped) = (self.command.clone(), stop.clone().cancelled_owned());
            let run = self
                .guest_runtime
                .spawn(async move { command.run(stopped).await });
            // Its store is gone before its folders and its network go.
            let mut run = AbortOnDropHandle::new(run);
            let ended = tokio::select! {
                biased;
                ended = &mut run => ended,
                () = self.up(has_failed) => {
                    told.send_replace(Health::Up);
                    run.await
                }
            };
            let error = match ended {
                Ok(Ok(())) => {
                    self.update(states, |state| state.completed = !stop.is_cancelled());
                    return Health::Ended;
                }
                Ok(Err(error)) => error,
                // A panic of the host, or its end: both are not the guest's doing.
                Err(_) => RunError::HostFailed,
            };
            let text = format!("{}: {error}", error.reason());
            if let Some(failure) = self.of_host(&error) {
                self.update(states, |state| state.last_error = Some(text));
                return Health::Failed(failure);
            }
            let pause = restarts.next(began.elapsed());
            self.update(states, |state| {
                state.last_error = Some(text);
                state.restarts += u32::from(pause.is_some());
            });
            let Some(pause) = pause else {
                return Health::Failed(self.exhausted(&error));
            };
            has_failed = true;
            told.send_replace(Health::Restarting(self.backs_off(&error, &restarts, pause)));
            tokio::select! {
                biased;
                () = stop.cancelled() => return Health::Ended,
                () = sleep(pause) => {}
            }
        }
    }

    /// Waits until it is up. One that may listen is when it does, so that the first requests find
    /// it, but is not waited for for long: it may never. Any other one, and one that has failed
    /// before, must have run for a while.
    async fn up(&self, has_failed: bool) {
        if has_failed || self.listens.is_none() {
            sleep(STEADY).await;
        }
        if let Some(network) = &self.listens {
            let _ = timeout(LISTEN_WITHIN, network.somebody_listens()).await;
        }
    }

    fn update(&self, states: &StateBoard, change: impl FnOnce(&mut ComponentState)) {
        states.update(&self.workload, |state| {
            if let Some(state) = state.components.get_mut(self.position) {
                change(state);
            }
        });
    }

    /// A failure of the host's, not of the service: no restart of `maxRestarts` is used up, and the
    /// whole workload is tried again.
    fn of_host(&self, error: &RunError) -> Option<Failure> {
        let reason = match error {
            RunError::HostAtCapacity => FailureReason::HostAtCapacity,
            RunError::HostFailed => FailureReason::Internal,
            RunError::Failed | RunError::Trap { .. } => return None,
        };
        let text = format!("service `{}`: {error}; it is tried again", self.name);
        Some(Failure::new(reason, text))
    }

    fn backs_off(&self, error: &RunError, restarts: &Restarts, pause: Duration) -> Failure {
        let Restarts { used, most } = restarts;
        Failure::new(
            FailureReason::CrashLoopBackOff,
            format!(
                "service `{}`: {error}; restart {used} of {most}, after a pause of {pause:?}; its \
                 log says more",
                self.name
            ),
        )
    }

    fn exhausted(&self, error: &RunError) -> Failure {
        let restarts = match self.max_restarts {
            0 => "it is not started again because `maxRestarts` is 0".to_owned(),
            1 => "it was started again once, which is all that `maxRestarts` allows".to_owned(),
            most => {
                format!("it was started again {most} times, which is all that `maxRestarts` allows")
            }
        };
        Failure::new(
            FailureReason::RestartsExhausted,
            format!(
                "service `{}`: {error}; {restarts}; its log says more",
                self.name
            ),
        )
    }
}

impl Supervised {
    /// Its health once that has changed, which it never does after its end.
    pub(crate) async fn change(&mut self) -> Health {
        if self.health.changed().await.is_ok() {
            return self.health.borrow_and_update().clone();
        }
        if matches!(*self.health.borrow(), Health::Ended | Health::Failed(_)) {
            return pending().await;
        }
        Health::Failed(Failure::new(
            FailureReason::Internal,
            "the host failed while it ran the service: please report this",
        ))
    }

    /// Waits until its task has ended.
    pub(crate) async fn gone(self) {
        // Whatever it says now, nobody asks any more.
        let _ = self.task.await;
    }
}

impl Restarts {
    pub(crate) fn new(most: u32) -> Self {
        Self { most, used: 0 }
    }

    /// The pause before the next start, after a run of this length failed. `None`: there is none.
    pub(crate) fn next(&mut self, ran: Duration) -> Option<Duration> {
        if ran >= HEALTHY {
            self.used = 0;
        }
        if self.used == self.most {
            return None;
        }
        let doublings = self.used.min(16);
        self.used += 1;
        Some(
            FIRST_PAUSE
                .saturating_mul(1 << doublings)
                .min(LONGEST_PAUSE),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_restarts_end() {
        let mut restarts = Restarts::new(3);
        let pauses: Vec<_> = std::iter::from_fn(|| restarts.next(Duration::ZERO)).collect();
        assert_eq!(pauses, [1, 2, 4].map(|times| FIRST_PAUSE * times));
        assert_eq!(Restarts::new(0).next(HEALTHY), None);
        let mut many = Restarts::new(u32::MAX);
        let longest = (0..100).filter_map(|_| many.next(Duration::ZERO)).max();
        assert_eq!(longest, Some(LONGEST_PAUSE));
    }

    #[test]
    fn health_gives_all_restarts_back() {
        let mut restarts = Restarts::new(1);
        assert_eq!(restarts.next(Duration::ZERO), Some(FIRST_PAUSE));
        let almost = HEALTHY - Duration::from_nanos(1);
        assert_eq!(restarts.next(almost), None);
        assert_eq!(restarts.next(HEALTHY), Some(FIRST_PAUSE));
    }
}
