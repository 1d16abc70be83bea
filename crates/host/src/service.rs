//! The long-lived service of a workload: run, and run again after a failure, in a fresh store each
//! time, with growing pauses, as often as the manifest allows.

use std::{sync::Arc, time::Duration};

use tokio::{runtime::Handle, time::Instant};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use waft_ir::{Failure, FailureReason, WorkloadId};
use waft_runtime::{Command, Loopback, RunError};

use crate::states::StateBoard;

/// The pause before the first restart; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A service that ran for so long is healthy: its restarts and pauses count from the start again.
const HEALTHY: Duration = Duration::from_secs(60);

/// How long components wait for a service that may listen, before they get requests all the same.
const LISTEN_WITHIN: Duration = Duration::from_secs(2);

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

/// The restarts that are left, and how long to wait for the next.
#[derive(Debug)]
pub(crate) struct Restarts {
    most: u32,
    used: u32,
}

impl Service {
    /// Waits until it listens, so that the first requests find it, but not for long: it may never.
    pub(crate) async fn listening(&self) {
        if let Some(network) = &self.listens {
            let _ = tokio::time::timeout(LISTEN_WITHIN, network.somebody_listens()).await;
        }
    }

    /// Runs it until it ends well (`Ok`), fails and may not be started again (`Err`), or is
    /// stopped (`Ok` as well; whoever stopped it knows).
    pub(crate) async fn supervise(
        self: Arc<Self>,
        states: Arc<StateBoard>,
        stop: CancellationToken,
    ) -> Result<(), Failure> {
        let mut restarts = Restarts::new(self.max_restarts);
        loop {
            let began = Instant::now();
            let (command, stopped) = (self.command.clone(), stop.clone().cancelled_owned());
            let run = self
                .guest_runtime
                .spawn(async move { command.run(stopped).await });
            // Its store is gone before its folders and its network go.
            let error = match AbortOnDropHandle::new(run).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) => error,
                // A panic of the host, or its end: both are not the guest's doing.
                Err(_) => RunError::HostFailed,
            };
            let text = format!("{}: {error}", error.reason());
            let pause = restarts.next(began.elapsed());
            self.report(&states, text, pause.is_some());
            let Some(pause) = pause else {
                return Err(self.exhausted(&error));
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    fn report(&self, states: &StateBoard, error: String, restarted: bool) {
        states.update(&self.workload, |state| {
            if let Some(state) = state.components.get_mut(self.position) {
                state.last_error = Some(error);
                state.restarts += u32::from(restarted);
            }
        });
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
