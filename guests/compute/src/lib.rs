//! Computing for a while, as tests ask guests to.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

/// Computes for so long, and waits for nothing.
pub fn compute(time: Duration) {
    let start = Instant::now();
    while start.elapsed() < time {
        (0..10_000u32).for_each(|turn| {
            black_box(turn);
        });
    }
}
