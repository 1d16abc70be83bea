//! What threads change often, apart for each of them: what they share goes to and fro between processors.

use std::{
    sync::{
        LazyLock,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
};

/// Most parts of one thing. With more threads, some share theirs.
const MOST_PARTS: usize = 128;

/// Twice as many as there are processors: beside the threads that take requests, those that stand behind all
/// others have theirs.
static PARTS: LazyLock<usize> = LazyLock::new(|| {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    (2 * processors).next_power_of_two().min(MOST_PARTS)
});

static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// Threads are counted as they come here first.
    static NUMBER: usize = THREADS.fetch_add(1, Relaxed);
}

/// A part for each thread.
#[derive(Debug)]
pub(crate) struct Apart<T>(Box<[Part<T>]>);

/// In a cache line of its own, and the one that is fetched with it.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Part<T>(T);

impl<T: Default> Default for Apart<T> {
    fn default() -> Self {
        Self((0..*PARTS).map(|_| Part::default()).collect())
    }
}

impl<T> Apart<T> {
    /// The calling thread's.
    pub(crate) fn here(&self) -> &T {
        &self.0[self.at()].0
    }

    /// All of them, the calling thread's first.
    pub(crate) fn all(&self) -> impl Iterator<Item = &T> {
        let (others, own) = self.0.split_at(self.at());
        own.iter().chain(others).map(|part| &part.0)
    }

    fn at(&self) -> usize {
        NUMBER.with(|number| part(*number, self.0.len()))
    }
}

/// The part of a thread, by its number. `parts` is a power of two.
fn part(number: usize, parts: usize) -> usize {
    number & (parts - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_that_follow_each_other_have_parts_of_their_own() {
        for first in [0, 5] {
            let mut parts: Vec<_> = (first..first + 8).map(|number| part(number, 8)).collect();
            parts.sort_unstable();
            assert_eq!(parts, [0, 1, 2, 3, 4, 5, 6, 7]);
        }
    }

    #[test]
    fn a_thread_finds_its_own_part_first() {
        let apart = Apart::<AtomicUsize>::default();
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    apart.here().fetch_add(1, Relaxed);
                    assert!(std::ptr::eq(apart.here(), apart.all().next().unwrap()));
                });
            }
        });
        let all: Vec<_> = apart.all().map(|part| part.load(Relaxed)).collect();
        assert_eq!((all.len(), all.iter().sum()), (*PARTS, 3));
    }
}
