//! Processor time of one component in one workload, over all its instances: so much in each period,
//! and past that everybody waits for the next.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use parking_lot::Mutex;

/// The time over which use is counted.
const PERIOD: Duration = Duration::from_millis(100);
const PERIOD_NANOS: u64 = PERIOD.as_nanos() as u64;

/// What may be used, and was.
#[derive(Debug)]
pub(crate) struct Quota {
    /// Nanoseconds in each period.
    budget: u64,
    used: Mutex<Used>,
    waits: AtomicU64,
}

#[derive(Debug, Default)]
struct Used {
    /// When the running period began, in nanoseconds of the meters' clock.
    since: u64,
    /// Used in it, what earlier ones used too much included.
    nanos: u64,
}

impl Quota {
    /// A quota in thousandths of a core.
    pub(crate) fn new(millis: u32) -> Self {
        Self {
            budget: (u64::from(millis) * PERIOD_NANOS / 1000).max(1),
            used: Mutex::default(),
            waits: AtomicU64::new(0),
        }
    }

    /// Adds time that was used until `now`.
    pub(crate) fn charge(&self, nanos: u64, now: u64) {
        let mut used = self.used.lock();
        used.advance(self.budget, now);
        used.nanos = used.nanos.saturating_add(nanos);
    }

    /// How long to wait before anything more may be used; `None`: it may be now.
    pub(crate) fn wait(&self, now: u64) -> Option<Duration> {
        let mut used = self.used.lock();
        used.advance(self.budget, now);
        if used.nanos < self.budget {
            return None;
        }
        self.waits.fetch_add(1, Relaxed);
        let periods = used.nanos / self.budget;
        let until = used
            .since
            .saturating_add(periods.saturating_mul(PERIOD_NANOS));
        Some(Duration::from_nanos(until.saturating_sub(now)))
    }

    /// How often somebody had to wait.
    pub(crate) fn waits(&self) -> u64 {
        self.waits.load(Relaxed)
    }
}

impl Used {
    fn advance(&mut self, budget: u64, now: u64) {
        let periods = now.saturating_sub(self.since) / PERIOD_NANOS;
        if periods > 0 {
            self.since += periods * PERIOD_NANOS;
            self.nanos = self.nanos.saturating_sub(periods.saturating_mul(budget));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn what_was_used_too_much_is_paid_back() {
        let quota = Quota::new(200);
        assert_eq!(quota.wait(10 * MS), None);
        quota.charge(19 * MS, 30 * MS);
        assert_eq!(quota.wait(30 * MS), None);
        quota.charge(26 * MS, 60 * MS);
        // 45 ms were used where 20 are allowed: the second period is paid for, too.
        assert_eq!(quota.wait(60 * MS), Some(Duration::from_millis(140)));
        assert_eq!(quota.wait(100 * MS), Some(Duration::from_millis(100)));
        assert_eq!(quota.wait(200 * MS), None);
        quota.charge(15 * MS, 201 * MS);
        assert_eq!(quota.wait(201 * MS), Some(Duration::from_millis(99)));
    }

    #[test]
    fn what_was_not_used_is_not_saved() {
        let quota = Quota::new(500);
        quota.charge(50 * MS, 10_000 * MS);
        assert!(quota.wait(10_000 * MS).is_some());
    }

    #[test]
    fn more_than_a_core_is_fine() {
        let quota = Quota::new(2000);
        quota.charge(150 * MS, 80 * MS);
        assert_eq!(quota.wait(80 * MS), None);
    }
}
