//! How many bytes a component may log: a bucket that fills evenly and holds one second's worth. A line
//! that is longer takes all of a full one, and what the next seconds bring.

use std::time::{Duration, Instant};

pub(super) struct Bucket {
    per_second: u64,
    available: u64,
    /// In the future, when what comes until then has been taken.
    filled_at: Instant,
}

impl Bucket {
    pub(super) fn new(per_second: u64) -> Self {
        Self {
            per_second,
            available: per_second,
            filled_at: Instant::now(),
        }
    }

    /// Takes so many bytes, if they are there or if it is full.
    pub(super) fn take(&mut self, bytes: u64) -> bool {
        self.take_at(bytes, Instant::now())
    }

    /// Lets nothing fill it for as long as a test takes.
    #[cfg(test)]
    pub(super) fn fills_no_more(&mut self) {
        self.filled_at += Duration::from_secs(3600);
    }

    fn take_at(&mut self, bytes: u64, now: Instant) -> bool {
        if self.available < bytes {
            let elapsed = now.saturating_duration_since(self.filled_at);
            let fresh = u128::from(self.per_second) * elapsed.as_micros() / 1_000_000;
            // What is too little for a byte yet keeps counting.
            if fresh > 0 {
                let fresh = u64::try_from(fresh).unwrap_or(u64::MAX);
                self.available = self.available.saturating_add(fresh).min(self.per_second);
                self.filled_at = now;
            }
        }
        if self.available < bytes && (self.available < self.per_second || self.per_second == 0) {
            return false;
        }
        let missing = bytes.saturating_sub(self.available);
        if missing > 0 {
            let micros = u128::from(missing) * 1_000_000 / u128::from(self.per_second);
            self.filled_at = now + Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX));
        }
        self.available = self.available.saturating_sub(bytes);
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_burst_of_one_second_and_then_the_rate() {
        let mut bucket = Bucket::new(1000);
        let start = bucket.filled_at;
        let at = |millis| start + Duration::from_millis(millis);
        assert!(bucket.take_at(1000, at(0)));
        assert!(!bucket.take_at(1, at(0)));
        assert!(!bucket.take_at(200, at(100)));
        assert!(bucket.take_at(200, at(200)));
        assert!(!bucket.take_at(1, at(200)));
        assert!(bucket.take_at(1000, at(10_000)));
        assert!(!bucket.take_at(1, at(10_000)));
    }

    #[test]
    fn what_is_longer_than_a_second_goes_through_when_nothing_did_before() {
        let mut bucket = Bucket::new(1000);
        let start = bucket.filled_at;
        let at = |millis| start + Duration::from_millis(millis);
        assert!(bucket.take_at(3000, at(0)));
        // The 2 seconds that it was too long, and then as usual.
        assert!(!bucket.take_at(1, at(2000)));
        assert!(bucket.take_at(500, at(2500)));
        assert!(!bucket.take_at(3000, at(3000)));
        assert!(bucket.take_at(3000, at(3500)));
        assert!(!Bucket::new(0).take_at(1, at(10_000)));
    }
}
