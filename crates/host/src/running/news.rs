//! Whether an error of a workload is worth a report.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Least time between two reports of a workload's last error: a guest that fails in turns must not
/// keep the control plane busy.
const ERROR_REPORTS: Duration = Duration::from_secs(5);

/// The error that was reported last.
#[derive(Debug)]
pub(crate) struct News<R>(Mutex<Option<(R, Instant)>>);

impl<R: Copy + PartialEq> News<R> {
    /// Whether an error is news, worth reporting.
    pub(crate) fn is_news(&self, reason: R) -> bool {
        let mut last = self.0.lock();
        let is_news = last.is_none_or(|(was, at)| was != reason && at.elapsed() > ERROR_REPORTS);
        if is_news {
            *last = Some((reason, Instant::now()));
        }
        is_news
    }
}

impl<R> Default for News<R> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}
