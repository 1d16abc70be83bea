//! What became of requests: counted by status and reason, and by how long they took. A workload
//! that never had a request has none of it.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use crate::reason::Reason;

/// Least and largest status that has a counter of its own; others are counted at the nearer end.
const STATUSES: std::ops::RangeInclusive<u16> = 100..=599;
const STATUS_COUNT: usize = 500;

/// Upper bounds of the buckets of durations, in microseconds: those that Prometheus proposes for
/// seconds, and three below them for guests that answer in less than the least of those.
pub(crate) const BUCKETS: [u64; 14] = [
    100, 500, 1_000, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000,
];

/// Counters of requests, made by the first one.
#[derive(Debug, Default)]
pub(crate) struct Counters(OnceLock<Box<Counted>>);

/// The counters of somebody who had a request.
#[derive(Debug)]
pub(crate) struct Counted {
    statuses: [AtomicU64; STATUS_COUNT],
    /// Answers of the host itself, by reason.
    reasons: [AtomicU64; Reason::COUNT],
    /// Requests whose client left before the answer.
    gone: AtomicU64,
    /// Requests by duration; the last bucket takes those past every bound.
    durations: [AtomicU64; BUCKETS.len() + 1],
    /// Sum of all durations, in microseconds.
    duration_sum: AtomicU64,
}

/// How long requests took.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Durations {
    /// Requests that took no longer than the bound of [`BUCKETS`] at the same place.
    pub(crate) within: [u64; BUCKETS.len()],
    /// All requests.
    pub(crate) count: u64,
    /// Sum, in microseconds.
    pub(crate) sum: u64,
}

impl Counters {
    /// Counts one request by its end.
    pub(crate) fn count(&self, status: Option<u16>, reason: Option<Reason>, took: Duration) {
        let counted = self.0.get_or_init(Box::default);
        match status {
            None => &counted.gone,
            Some(status) => {
                let status = status.clamp(*STATUSES.start(), *STATUSES.end());
                &counted.statuses[usize::from(status - STATUSES.start())]
            }
        }
        .fetch_add(1, Relaxed);
        if let Some(reason) = reason {
            counted.reasons[reason as usize].fetch_add(1, Relaxed);
        }
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BUCKETS.partition_point(|bound| *bound < micros);
        counted.durations[bucket].fetch_add(1, Relaxed);
        counted.duration_sum.fetch_add(micros, Relaxed);
    }

    /// What was counted, once there was a request.
    pub(crate) fn get(&self) -> Option<&Counted> {
        self.0.get().map(Box::as_ref)
    }
}

impl Default for Counted {
    fn default() -> Self {
        let zero = |_| AtomicU64::new(0);
        Self {
            statuses: std::array::from_fn(zero),
            reasons: std::array::from_fn(zero),
            gone: AtomicU64::new(0),
            durations: std::array::from_fn(zero),
            duration_sum: AtomicU64::new(0),
        }
    }
}

impl Counted {
    /// Answers by status, those that there were.
    pub(crate) fn by_status(&self) -> impl Iterator<Item = (u16, u64)> {
        let counts = self.statuses.iter().map(|count| count.load(Relaxed));
        STATUSES.zip(counts).filter(|(_, count)| *count > 0)
    }

    /// Answers of the host itself by reason, those that there were.
    pub(crate) fn by_reason(&self) -> impl Iterator<Item = (Reason, u64)> {
        let count = |reason: Reason| self.reasons[reason as usize].load(Relaxed);
        Reason::ALL
            .into_iter()
            .map(move |reason| (reason, count(reason)))
            .filter(|(_, count)| *count > 0)
    }

    /// Requests whose client left before the answer.
    pub(crate) fn gone(&self) -> u64 {
        self.gone.load(Relaxed)
    }

    pub(crate) fn durations(&self) -> Durations {
        let mut count = 0;
        let within = std::array::from_fn(|at| {
            count += self.durations[at].load(Relaxed);
            count
        });
        Durations {
            within,
            count: count + self.durations[BUCKETS.len()].load(Relaxed),
            sum: self.duration_sum.load(Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_kept_before_the_first_request() {
        let counters = Counters::default();
        assert!(counters.get().is_none());
        counters.count(Some(200), None, Duration::ZERO);
        assert!(counters.get().is_some());
    }

    #[test]
    fn requests_are_counted_by_status_reason_and_duration() {
        let counters = Counters::default();
        counters.count(Some(200), None, Duration::from_micros(100));
        counters.count(Some(200), None, Duration::from_micros(101));
        counters.count(Some(504), Some(Reason::Deadline), Duration::from_secs(15));
        counters.count(None, None, Duration::from_millis(3));
        let counted = counters.get().unwrap();
        assert_eq!(
            counted.by_status().collect::<Vec<_>>(),
            [(200, 2), (504, 1)]
        );
        assert_eq!(
            counted.by_reason().collect::<Vec<_>>(),
            [(Reason::Deadline, 1)]
        );
        assert_eq!(counted.gone(), 1);
        let durations = counted.durations();
        assert_eq!(durations.within[..4], [1, 2, 2, 3]);
        assert_eq!(durations.within[BUCKETS.len() - 1], 3);
        assert_eq!((durations.count, durations.sum), (4, 15_003_201));
    }
}
