//! One line of a log file: time, stream, request id, text; no control character gets in.

use std::fmt::Write;

use jiff::Timestamp;
use waft_ir::{LogLine, LogSource};

/// A text in which every control character but the tab is spelled out, so that it stays one line
/// and cannot steer a terminal.
pub(super) fn escape(text: &str) -> String {
    let text = text.strip_suffix('\r').unwrap_or(text);
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\t' => escaped.push(c),
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '\u{1b}' => escaped.push_str("\\e"),
            // Separators that some readers take for the end of a line.
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => {
                // Writing to a String does not fail.
                let _ = write!(escaped, "\\u{{{:x}}}", u32::from(c));
            }
            c => escaped.push(c),
        }
    }
    escaped
}

/// Appends a line as it stands in a file.
pub(super) fn format(line: &LogLine, out: &mut Vec<u8>) {
    use std::io::Write;

    let time = Timestamp::try_from(line.time).unwrap_or(Timestamp::UNIX_EPOCH);
    let request = line.request.as_deref().unwrap_or("-");
    let source = source_name(line.source);
    // Writing to a Vec does not fail.
    let _ = writeln!(out, "{time:.9} {source} {request} {}", line.text);
}

/// Reads a line of a file. `None` for one that was cut off.
pub(super) fn parse(component: &str, text: &str) -> Option<LogLine> {
    let mut parts = text.splitn(4, ' ');
    let time: Timestamp = parts.next()?.parse().ok()?;
    let source = source_of(parts.next()?)?;
    let request = parts.next()?;
    Some(LogLine {
        time: time.into(),
        component: component.into(),
        source,
        request: (request != "-").then(|| request.into()),
        text: parts.next()?.into(),
    })
}

fn source_name(source: LogSource) -> &'static str {
    match source {
        LogSource::Stdout => "stdout",
        LogSource::Stderr => "stderr",
        LogSource::Logging => "logging",
        LogSource::Host => "host",
    }
}

fn source_of(name: &str) -> Option<LogSource> {
    [
        LogSource::Stdout,
        LogSource::Stderr,
        LogSource::Logging,
        LogSource::Host,
    ]
    .into_iter()
    .find(|s| source_name(*s) == name)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn what_was_written_is_read_back() {
        for (source, request, text) in [
            (LogSource::Stdout, Some("r-1"), "hello  world "),
            (LogSource::Stderr, None, ""),
            (LogSource::Logging, Some("x"), "INFO [a] tab\there"),
            (LogSource::Host, None, "ünïcode"),
        ] {
            let line = LogLine {
                time: SystemTime::UNIX_EPOCH + Duration::new(1_700_000_000, 120_000_000),
                component: "c".into(),
                source,
                request: request.map(Into::into),
                text: text.into(),
            };
            let mut file = Vec::new();
            format(&line, &mut file);
            let file = String::from_utf8(file).unwrap();
            assert_eq!(parse("c", file.strip_suffix('\n').unwrap()), Some(line));
        }
    }

    #[test]
    fn a_guest_cannot_forge_a_line() {
        let text = "a\n2026-01-01T00:00:00Z host - forged\u{1b}[2J\r\u{85}\u{2028}\0";
        let escaped = escape(text);
        assert_eq!(
            escaped,
            "a\\n2026-01-01T00:00:00Z host - forged\\e[2J\\r\\u{85}\\u{2028}\\u{0}"
        );
        assert_eq!(escape("dos\r"), "dos");
    }

    #[test]
    fn cut_lines_are_passed_over() {
        for text in ["", "2026", "2026-01-01T00:00:00Z stdout", "x stdout - text"] {
            assert_eq!(parse("c", text), None, "{text:?}");
        }
    }
}
