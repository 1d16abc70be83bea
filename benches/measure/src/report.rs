//! Numbers as people read them, and the arguments by which people say which they want.

use std::{process, time::Duration};

use anyhow::{Result, bail};

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

/// Refuses arguments that a benchmark doesn't know; with `--help`, prints its usage and ends. The
/// usage is the head of its source, `include_str!(…)`: what stands there in brackets is known.
///
/// # Errors
/// If there is an argument that the usage doesn't name.
pub fn check_arguments(source: &str, arguments: &[&str]) -> Result<()> {
    let usage = head(source);
    if arguments.contains(&"--help") {
        println!("{usage}");
        process::exit(0);
    }
    if let Some(unknown) = unknown(&usage, arguments) {
        bail!("the argument `{unknown}` is not known\n\n{usage}");
    }
    Ok(())
}

/// The text of the `//!` lines at the top.
fn head(source: &str) -> String {
    let lines = source.lines().map_while(|line| line.strip_prefix("//!"));
    let lines: Vec<_> = lines
        .map(|line| line.strip_prefix(' ').unwrap_or(line))
        .collect();
    lines.join("\n")
}

/// The first argument that no `[--flag]`, `[--option VALUE]` or `[VALUE]` of a usage allows.
fn unknown<'a>(usage: &str, arguments: &[&'a str]) -> Option<&'a str> {
    let brackets = usage.split('[').skip(1);
    let known: Vec<Vec<&str>> = brackets
        .filter_map(|rest| rest.split_once(']'))
        .map(|(inside, _)| inside.split(' ').collect())
        .collect();
    let mut values = known.iter().filter(|words| !words[0].starts_with("--"));
    let mut arguments = arguments.iter().copied();
    while let Some(argument) = arguments.next() {
        let is_value = !argument.starts_with("--");
        match known.iter().find(|words| words[0] == argument) {
            // An option without its value is found out by who reads it.
            Some(words) if words.len() > 1 => drop(arguments.next()),
            Some(_) => {}
            None if is_value && values.next().is_some() => {}
            None => return Some(argument),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_those_that_the_head_of_the_source_names() {
        let source = "//! Measures.\n//!\n//! x -- [--quick] [--runs N]\n//!     [PATH]\nuse a[1];";
        let usage = head(source);
        assert_eq!(usage, "Measures.\n\nx -- [--quick] [--runs N]\n    [PATH]");
        let unknown = |text: &str| {
            let arguments: Vec<&str> = text.split_whitespace().collect();
            unknown(&usage, &arguments).map(str::to_owned)
        };
        for known in [
            "",
            "--quick",
            "--runs 3 --quick",
            "p --runs 3",
            "--runs --quick",
        ] {
            assert_eq!(unknown(known), None, "{known}");
        }
        for (given, wrong) in [
            ("--fast", "--fast"),
            ("--quick 3 4", "4"),
            ("-q --x", "--x"),
        ] {
            assert_eq!(unknown(given).as_deref(), Some(wrong));
        }
    }
}
