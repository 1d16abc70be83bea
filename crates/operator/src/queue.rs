//! The order of work: which object is reconciled next, and when again.
//!
//! Holds keys, never objects, and decides nothing about them. A key is handled by one worker at a
//! time; keys that arrive meanwhile are handled once more afterwards. Time is passed in, so that
//! tests need no clock.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque},
    hash::Hash,
    time::Duration,
};

use tokio::time::Instant;

/// The first pause after a failure.
const FIRST_BACKOFF: Duration = Duration::from_millis(200);
/// The longest pause after failures.
pub(crate) const LONGEST_BACKOFF: Duration = Duration::from_secs(60);

/// What a reconcile wants to happen next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Next {
    /// Nothing, until something changes.
    Await,
    /// Nothing, until an answer comes that was asked for: neither a success nor a failure.
    Pending,
    /// Another look at a given time from now, whatever changes.
    After(Duration),
    /// The same again, later and later: a call failed.
    Backoff,
    /// Something was put off. Another look when something changes, or when this time is over since
    /// it was put off first.
    PutOff(Duration),
}

/// The keys that wait, run, or wait for their time.
#[derive(Debug)]
pub(crate) struct Queue<K> {
    ready: VecDeque<K>,
    queued: HashSet<K>,
    running: HashSet<K>,
    again: HashSet<K>,
    timers: BTreeSet<(Instant, K)>,
    due: BTreeMap<K, Instant>,
    failures: HashMap<K, u32>,
    /// Since when something waits that was put off.
    put_off: HashMap<K, Instant>,
}

impl<K> Default for Queue<K> {
    fn default() -> Self {
        Self {
            ready: VecDeque::new(),
            queued: HashSet::new(),
            running: HashSet::new(),
            again: HashSet::new(),
            timers: BTreeSet::new(),
            due: BTreeMap::new(),
            failures: HashMap::new(),
            put_off: HashMap::new(),
        }
    }
}

impl<K: Clone + Eq + Hash + Ord> Queue<K> {
    /// Notes that something a key depends on has changed.
    pub(crate) fn add(&mut self, key: K) {
        if self.running.contains(&key) {
            self.again.insert(key);
        } else if self.queued.insert(key.clone()) {
            self.ready.push_back(key);
        }
    }

    /// The next key to handle; it counts as running until [`done`](Self::done).
    pub(crate) fn pop(&mut self) -> Option<K> {
        let key = self.ready.pop_front()?;
        self.queued.remove(&key);
        self.disarm(&key);
        self.running.insert(key.clone());
        Some(key)
    }

    /// Notes that a key was handled.
    pub(crate) fn done(&mut self, key: K, next: Next, now: Instant) {
        self.running.remove(&key);
        if !matches!(next, Next::Backoff | Next::Pending | Next::PutOff(_)) {
            self.failures.remove(&key);
        }
        let again = self.again.remove(&key);
        if !matches!(next, Next::PutOff(_)) {
            self.put_off.remove(&key);
        }
        match next {
            Next::Await | Next::Pending => {}
            Next::After(pause) => self.arm(key.clone(), now + pause),
            Next::Backoff => {
                let count = self.failures.entry(key.clone()).or_default();
                let pause = pause(*count);
                *count = count.saturating_add(1);
                self.arm(key.clone(), now + pause);
            }
            Next::PutOff(longest) => {
                let since = *self.put_off.entry(key.clone()).or_insert(now);
                self.arm(key.clone(), since + longest);
            }
        }
        if again {
            self.add(key);
        }
    }

    /// Moves the keys whose time has come to those that are ready.
    pub(crate) fn wake_due(&mut self, now: Instant) {
        while let Some((at, key)) = self.timers.first().cloned() {
            if at > now {
                break;
            }
            self.disarm(&key);
            self.add(key);
        }
    }

    /// How long something has waited that was put off when the key was handled last.
    pub(crate) fn waited(&self, key: &K, now: Instant) -> Duration {
        let since = self.put_off.get(key);
        since.map_or(Duration::ZERO, |since| now.duration_since(*since))
    }

    /// When the next timer ends.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// How many keys are being handled.
    pub(crate) fn running(&self) -> usize {
        self.running.len()
    }

    fn arm(&mut self, key: K, at: Instant) {
        self.disarm(&key);
        self.due.insert(key.clone(), at);
        self.timers.insert((at, key));
    }

    fn disarm(&mut self, key: &K) {
        if let Some(at) = self.due.remove(key) {
            self.timers.remove(&(at, key.clone()));
        }
    }
}

/// The pause after a failure, by how many there were before it in a row.
pub(crate) fn pause(failures: u32) -> Duration {
    backoff(failures, FIRST_BACKOFF, LONGEST_BACKOFF)
}

/// `first`, doubled with each earlier failure, up to `longest`.
pub(crate) fn backoff(failures: u32, first: Duration, longest: Duration) -> Duration {
    first.saturating_mul(1 << failures.min(20)).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_runs_once_at_a_time_and_again_after_a_change() {
        let now = Instant::now();
        let mut queue = Queue::default();
        queue.add("a");
        queue.add("a");
        queue.add("b");
        assert_eq!(queue.pop(), Some("a"));
        queue.add("a");
        assert_eq!((queue.pop(), queue.pop()), (Some("b"), None));
        assert_eq!(queue.running(), 2);
        queue.done("a", Next::Await, now);
        assert_eq!((queue.pop(), queue.pop()), (Some("a"), None));
        queue.done("a", Next::Await, now);
        assert_eq!(queue.pop(), None);
    }

    #[test]
    fn failures_wait_longer_each_time_until_one_success() {
        let mut now = Instant::now();
        let mut queue = Queue::default();
        let mut pauses = vec![];
        for _ in 0..3 {
            queue.add("a");
            queue.pop();
            queue.done("a", Next::Backoff, now);
            let due = queue.next_due().unwrap();
            pauses.push((due - now).as_millis());
            queue.wake_due(due - Duration::from_millis(1));
            assert_eq!(queue.pop(), None);
            now = due;
            queue.wake_due(now);
            assert_eq!(queue.pop(), Some("a"));
            // What is only awaited is no success.
            queue.done("a", Next::PutOff(Duration::ZERO), now);
            queue.add("a");
            queue.pop();
            queue.done("a", Next::Pending, now);
            assert_eq!(queue.next_due(), None);
            queue.again.clear();
            queue.running.clear();
        }
        assert_eq!(pauses, [200, 400, 800]);
        queue.add("a");
        queue.pop();
        queue.done("a", Next::Await, now);
        assert_eq!(queue.next_due(), None);
        assert!(queue.failures.is_empty());
        assert_eq!(pause(99), LONGEST_BACKOFF);
    }

    #[test]
    fn what_is_put_off_again_and_again_comes_in_time() {
        let (mut now, longest) = (Instant::now(), Duration::from_secs(2));
        let mut queue = Queue::default();
        for waited in 0..2 {
            queue.add("a");
            queue.pop();
            assert_eq!(queue.waited(&"a", now), Duration::from_secs(waited));
            queue.done("a", Next::PutOff(longest), now);
            now += Duration::from_secs(1);
        }
        assert_eq!(queue.next_due(), Some(now));
        queue.wake_due(now);
        assert_eq!(queue.pop(), Some("a"));
        assert_eq!(queue.waited(&"a", now), longest);
        queue.done("a", Next::Await, now);
        assert_eq!(queue.waited(&"a", now), Duration::ZERO);
        assert_eq!(queue.next_due(), None);
    }

    #[test]
    fn a_change_overtakes_a_timer() {
        let now = Instant::now();
        let mut queue = Queue::default();
        queue.add("a");
        queue.pop();
        queue.done("a", Next::After(Duration::from_secs(9)), now);
        queue.add("a");
        assert_eq!(queue.pop(), Some("a"));
        assert_eq!(queue.next_due(), None);
    }
}
