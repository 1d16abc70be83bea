//! A workload that serves: what the request path needs of it, and nothing that is ever locked.

mod counters;
mod map;
mod news;

use std::{sync::Arc, time::Duration};

use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};
use waft_ir::{Limits, WorkloadId};
use waft_runtime::Guest;

use crate::reason::Reason;
pub(crate) use counters::{BUCKETS, Counters};
pub(crate) use map::RunningMap;
pub(crate) use news::News;

/// One replica that serves HTTP.
pub(crate) struct RunningWorkload {
    pub(crate) id: WorkloadId,
    /// `namespace/name`.
    pub(crate) key: Arc<str>,
    /// The component that serves HTTP, and its place in the manifest.
    pub(crate) component: Arc<str>,
    pub(crate) position: usize,
    pub(crate) guest: Guest,
    pub(crate) limits: Limits,
    pub(crate) counters: Counters,
    requests: TaskTracker,
    /// Ends the requests that are left when the grace period is over.
    cut_off: CancellationToken,
    news: News<Reason>,
}

/// Marks one request as in flight.
pub(crate) struct InFlight {
    _token: TaskTrackerToken,
}

impl RunningWorkload {
    pub(crate) fn new(
        id: WorkloadId,
        key: Arc<str>,
        (position, component): (usize, Arc<str>),
        guest: Guest,
        limits: Limits,
    ) -> Self {
        Self {
            id,
            key,
            component,
            position,
            guest,
            limits,
            counters: Counters::default(),
            requests: TaskTracker::new(),
            cut_off: CancellationToken::new(),
            news: News::default(),
        }
    }

    /// Counts a request in, until the mark is dropped.
    pub(crate) fn enter(&self) -> InFlight {
        InFlight {
            _token: self.requests.token(),
        }
    }

    /// Cancelled when what still runs has to end.
    pub(crate) fn cut_off(&self) -> &CancellationToken {
        &self.cut_off
    }

    /// Waits for the requests in flight, as long as the grace period, and ends the rest.
    pub(crate) async fn drain(&self, grace: Duration) {
        self.requests.close();
        if tokio::time::timeout(grace, self.requests.wait())
            .await
            .is_err()
        {
            self.cut_off.cancel();
        }
    }

    /// Whether an error is news, worth reporting.
    pub(crate) fn is_news(&self, reason: Reason) -> bool {
        self.news.is_news(reason)
    }
}
