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
        // A power of two.
        NUMBER.with(|number| *number) & (self.0.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_that_follow_each_other_have_parts_of_their_own() {
        let apart = Apart::<AtomicUsize>::default();
        let add = || apart.here().fetch_add(1, Relaxed);
        thread::scope(|scope| {
            for _ in 0..*PARTS {
                // One after the other, so that no other test's thread takes a number twice over.
                scope.spawn(|| (add(), add())).join().unwrap();
            }
        });
        let all: Vec<_> = apart.all().map(|part| part.load(Relaxed)).collect();
        assert_eq!(all.len(), *PARTS);
        assert_eq!(all.iter().sum::<usize>(), 2 * *PARTS);
        add();
        let first = apart.all().next().unwrap();
        assert!(std::ptr::eq(first, apart.here()));
    }
}
