//! Numbers as people read them.

use std::time::Duration;

/// The middle one; zero for none.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        count if count % 2 == 1 => values[count / 2],
        count => f64::midpoint(values[count / 2 - 1], values[count / 2]),
    }
}

/// The value below which `share` of all lie; zero for none.
pub fn quantile(values: &mut [Duration], share: f64) -> Duration {
    values.sort();
    let at = ((values.len() as f64 * share).ceil() as usize).saturating_sub(1);
    values.get(at).copied().unwrap_or_default()
}

/// In milliseconds.
pub fn ms(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1000.0)
}

/// The value behind an option such as `--seconds 3`.
pub fn option(name: &str) -> Option<String> {
    let mut arguments = std::env::args();
    arguments.find(|argument| argument == name)?;
    arguments.next()
}

/// Whether an option such as `--quick` was given.
pub fn flag(name: &str) -> bool {
    std::env::args().any(|argument| argument == name)
}
