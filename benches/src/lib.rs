//! What the benchmarks share: a host in a process of its own, clients that check every answer, and
//! what the kernel says a process used.
//!
//! Nothing here asserts a time. A run with one wrong answer is void.
#![forbid(unsafe_code)]

pub mod client;
pub mod host;
pub mod waft;

pub use waft_measure::{process, report};
