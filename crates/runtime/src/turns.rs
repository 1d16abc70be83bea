//! Whether a guest has had its turn, while others have calls too.
//!
//! Requests are served in the order in which they are noticed: one of a workload that gets few would wait
//! for all that another workload got meanwhile. So whoever brings the calls of a guest lets others go first once it
//! has had some within a tick. A guest that is alone gives way to nobody: doing so costs a little.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
};

/// Calls within one tick that are a guest's turn.
const TURN: u64 = 16;
/// For how many ticks a guest that had a call is one of those that others give way to.
const LATELY: u32 = 1000;

/// The guests of an engine that had calls last.
#[derive(Debug, Default)]
pub(crate) struct Callers {
    last: AtomicU64,
    /// The one before that was another guest.
    other: AtomicU64,
    numbers: AtomicU32,
}

/// The calls of a guest in the current tick.
#[derive(Debug)]
pub(crate) struct Turns {
    callers: Arc<Callers>,
    number: u32,
    tick: AtomicU32,
    /// Calls before this tick.
    before: AtomicU64,
    /// Whether another guest had a call lately.
    has_others: AtomicBool,
}

/// A guest, by its number, and the tick of a call. Nobody has the number 0.
fn call(number: u32, tick: u32) -> u64 {
    u64::from(number) << 32 | u64::from(tick)
}

impl Callers {
    /// Notes a call, and returns whether another guest had one lately. Calls of several threads at once may
    /// be noted as one.
    fn note(&self, number: u32, tick: u32) -> bool {
        let last = self.last.swap(call(number, tick), Relaxed);
        let is_other = |call: u64| call >> 32 != u64::from(number);
        if is_other(last) {
            self.other.store(last, Relaxed);
        }
        let other = self.other.load(Relaxed);
        let ago = tick.wrapping_sub(other as u32);
        is_other(other) && other >> 32 != 0 && ago < LATELY
    }
}

impl Turns {
    pub(crate) fn new(callers: Arc<Callers>) -> Self {
        Self {
            number: callers.numbers.fetch_add(1, Relaxed).wrapping_add(1),
            callers,
            tick: AtomicU32::default(),
            before: AtomicU64::default(),
            has_others: AtomicBool::default(),
        }
    }

    /// Whether a guest that has had so many calls has had more in this tick than are its turn.
    pub(crate) fn is_over(&self, tick: u32, calls: u64) -> bool {
        // Two threads that see the tick begin may both say so: that moves nothing far.
        if self.tick.load(Relaxed) != tick {
            self.tick.store(tick, Relaxed);
            self.before.store(calls, Relaxed);
            let has_others = self.callers.note(self.number, tick);
            self.has_others.store(has_others, Relaxed);
        }
        self.has_others.load(Relaxed) && calls.saturating_sub(self.before.load(Relaxed)) >= TURN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A guest that counts its calls.
    struct Caller {
        turns: Turns,
        calls: u64,
    }

    impl Caller {
        fn new(callers: &Arc<Callers>) -> Self {
            Self {
                turns: Turns::new(callers.clone()),
                calls: 0,
            }
        }

        /// How many of a hundred calls in a tick are within its turn.
        fn within_turn(&mut self, tick: u32) -> usize {
            let within = |_: &u32| {
                self.calls += 1;
                !self.turns.is_over(tick, self.calls)
            };
            (0..100).filter(within).count()
        }
    }

    #[test]
    fn so_many_calls_of_each_tick_are_a_turn() {
        let callers = Arc::default();
        let (mut one, mut other) = (Caller::new(&callers), Caller::new(&callers));
        other.within_turn(1);
        for tick in 2..5 {
            assert_eq!(one.within_turn(tick) as u64, TURN);
            assert_eq!(other.within_turn(tick) as u64, TURN);
        }
    }

    #[test]
    fn who_is_alone_has_no_turns() {
        let callers = Arc::default();
        let (mut one, mut other) = (Caller::new(&callers), Caller::new(&callers));
        assert_eq!(one.within_turn(1), 100);
        assert_eq!(one.within_turn(2), 100);
        other.within_turn(3);
        assert!(one.within_turn(4) < 100);
        // However often it is called meanwhile.
        assert!(one.within_turn(LATELY) < 100);
        assert_eq!(one.within_turn(3 + LATELY), 100);
    }
}
