//! What the fuzz tests share: numbers from a seed, how long to go on, and ways to damage bytes.
//!
//! A suite of tests tries the same input each time, a fixed number of rounds. `WAFT_FUZZ_TIMES`
//! multiplies the number: the same input on every machine, however fast it is. With
//! `WAFT_FUZZ_SECONDS` a test goes on for so long; without `WAFT_FUZZ_SEED` it has a seed of its own then,
//! which a failure prints, so that it can be repeated.
#![forbid(unsafe_code)]

mod json;

use std::time::{Duration, Instant};

/// A generator of numbers that needs no crate: splitmix64.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// Seeded by the environment, by the clock if there is time, and otherwise always the same.
    pub fn new() -> Self {
        let given = std::env::var("WAFT_FUZZ_SEED").ok();
        let seed = given.and_then(|seed| seed.parse().ok()).unwrap_or_else(|| {
            if seconds().is_none() {
                return 1;
            }
            let now = std::time::SystemTime::UNIX_EPOCH.elapsed();
            now.unwrap_or_default().as_nanos() as u64
        });
        println!("WAFT_FUZZ_SEED={seed}");
        Self(seed)
    }

    /// The next number.
    #[allow(
        clippy::should_implement_trait,
        reason = "an endless generator is no iterator to its users"
    )]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below a bound; zero where there is none.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    /// True once in so many times.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// One of several.
    ///
    /// # Panics
    /// If there is none.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len())]
    }

    /// As [`Random::pick`], of references to texts or bytes of any length.
    ///
    /// # Panics
    /// If there is none.
    pub fn of<'a, T: ?Sized>(&mut self, choices: &[&'a T]) -> &'a T {
        choices[self.below(choices.len())]
    }

    /// Any bytes.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }

    /// Changes a few bytes, cuts, or repeats a piece somewhere else.
    pub fn damage(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len());
            match self.below(5) {
                _ if bytes.is_empty() => bytes.push(self.next() as u8),
                0 => bytes[at] ^= 1 << self.below(8),
                1 => bytes[at] = self.next() as u8,
                2 => bytes.truncate(at.max(1)),
                3 => drop(bytes.drain(at..(at + self.below(16)).min(bytes.len()))),
                _ => {
                    let length = self.below(64).min(bytes.len() - at);
                    let piece = bytes[at..at + length].to_vec();
                    let to = self.below(bytes.len());
                    bytes.splice(to..to, piece);
                }
            }
        }
    }
}

impl Default for Random {
    fn default() -> Self {
        Self::new()
    }
}

/// So many rounds, `WAFT_FUZZ_TIMES` as many, or as many as `WAFT_FUZZ_SECONDS` allows.
pub fn rounds(few: u64) -> impl Iterator<Item = u64> {
    let end = seconds().map(|time| Instant::now() + time);
    let rounds = few.saturating_mul(number("WAFT_FUZZ_TIMES").unwrap_or(1));
    (0..).take_while(move |round| match end {
        Some(end) => Instant::now() < end,
        None => *round < rounds,
    })
}

fn seconds() -> Option<Duration> {
    Some(Duration::from_secs(number("WAFT_FUZZ_SECONDS")?))
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}
