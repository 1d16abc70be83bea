//! The text format of Prometheus, line by line.

use std::fmt::{Display, Write};

/// What kind of metric it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// A text that grows. Series belong to the metric named last.
#[derive(Debug, Default)]
pub(super) struct Text {
    out: String,
    name: &'static str,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

impl Text {
    /// Begins a metric.
    pub(super) fn metric(&mut self, name: &'static str, kind: Kind, help: &str) {
        self.name = name;
        let kind = kind.as_str();
        // Writing to a String does not fail.
        let _ = writeln!(self.out, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// One series.
    pub(super) fn value(&mut self, labels: &str, value: impl Display) {
        self.part("", labels, value);
    }

    /// One bucket of a histogram; without a bound, the one that takes everything.
    pub(super) fn bucket(&mut self, labels: &str, bound: Option<f64>, count: u64) {
        let name = self.name;
        let _ = match bound {
            Some(bound) => writeln!(self.out, "{name}_bucket{{{labels},le=\"{bound}\"}} {count}"),
            None => writeln!(self.out, "{name}_bucket{{{labels},le=\"+Inf\"}} {count}"),
        };
    }

    /// One series whose name goes on after the metric's.
    pub(super) fn part(&mut self, suffix: &str, labels: &str, value: impl Display) {
        let name = self.name;
        let _ = match labels {
            "" => writeln!(self.out, "{name}{suffix} {value}"),
            _ => writeln!(self.out, "{name}{suffix}{{{labels}}} {value}"),
        };
    }

    pub(super) fn into_string(self) -> String {
        self.out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_as_prometheus_reads_them() {
        let mut text = Text::default();
        text.metric("a_seconds", Kind::Histogram, "How long.");
        text.bucket("x=\"y\"", Some(0.005), 1);
        text.bucket("x=\"y\"", None, 2);
        text.part("_sum", "x=\"y\"", 1.5);
        text.metric("b", Kind::Gauge, "How many.");
        text.value("", 3);
        let wanted = "\
# HELP a_seconds How long.
# TYPE a_seconds histogram
a_seconds_bucket{x=\"y\",le=\"0.005\"} 1
a_seconds_bucket{x=\"y\",le=\"+Inf\"} 2
a_seconds_sum{x=\"y\"} 1.5
# HELP b How many.
# TYPE b gauge
b 3
";
        assert_eq!(text.into_string(), wanted);
    }
}
