//! What the suites share: the program under test, kubectl, a registry, and an HTTP client that
//! needs no name resolution.

pub(crate) mod http;
pub(crate) mod kubectl;
pub(crate) mod manifest;
pub(crate) mod registry;
pub(crate) mod waft;

use std::{
    thread,
    time::{Duration, Instant},
};

pub(crate) use waft_servers::free_address;

/// Long enough for a loaded machine of two cores that compiles a large component.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

/// Tries until it succeeds. Panics with the last failure when patience is over.
pub(crate) fn eventually<T>(what: &str, mut attempt: impl FnMut() -> Result<T, String>) -> T {
    let start = Instant::now();
    loop {
        match attempt() {
            Ok(value) => return value,
            Err(why) if start.elapsed() > PATIENCE => panic!("{what}: {why}"),
            Err(_) => thread::sleep(Duration::from_millis(20)),
        }
    }
}
