//! Servers that go and come back, in tests.

use std::{
    fmt::Display,
    time::{Duration, Instant},
};

/// Longer than a client takes to find its server again.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a call gives once its server is there again; the first ones may still meet the lost connection.
///
/// # Panics
/// If it is still refused after a while, with its error.
pub(crate) async fn once_it_answers<T, E: Display>(
    mut call: impl AsyncFnMut() -> Result<T, E>,
) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        match call().await {
            Ok(given) => return given,
            Err(error) => assert!(Instant::now() < until, "{error}"),
        }
    }
}
