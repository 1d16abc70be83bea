//! What the process itself uses, under the names that Prometheus gives it. Read from the kernel
//! when asked; where there is no `/proc`, nothing is said.

use std::fs;

use super::text::{Kind, Text};

/// Ticks of the kernel's clock a second, as `/proc` counts on every architecture of Linux.
const TICKS: f64 = 100.0;

/// Adds what is known.
pub(super) fn write(text: &mut Text) {
    let Some(stat) = fs::read_to_string("/proc/self/stat")
        .ok()
        .and_then(|stat| Stat::parse(&stat))
    else {
        return;
    };
    text.metric(
        "process_cpu_seconds_total",
        Kind::Counter,
        "Processor time of the process, user and system.",
    );
    text.value("", stat.ticks as f64 / TICKS);
    text.metric("process_threads", Kind::Gauge, "Threads of the process.");
    text.value("", stat.threads);
    if let Some(bytes) = resident_bytes() {
        text.metric(
            "process_resident_memory_bytes",
            Kind::Gauge,
            "Resident memory of the process.",
        );
        text.value("", bytes);
    }
    if let Ok(files) = fs::read_dir("/proc/self/fd") {
        text.metric("process_open_fds", Kind::Gauge, "Open file descriptors.");
        // One of them is the folder being read.
        text.value("", files.count().saturating_sub(1));
    }
}

/// What is of interest in `/proc/self/stat`.
#[derive(Debug, Eq, PartialEq)]
struct Stat {
    /// User and system time, in ticks.
    ticks: u64,
    threads: u64,
}

impl Stat {
    fn parse(stat: &str) -> Option<Self> {
        // The name, in parentheses, may hold anything; the state behind it is field 3.
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(14 - 3);
        let user: u64 = fields.next()?.parse().ok()?;
        let system: u64 = fields.next()?.parse().ok()?;
        let threads = fields.nth(20 - 16)?.parse().ok()?;
        Some(Self {
            ticks: user + system,
            threads,
        })
    }
}

fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_line_is_read() {
        let line = "1 (a) b) S 0 1 1 0 -1 4194560 30021 1 22 3 150 70 8 9 20 0 17 0 5 1 2 3";
        let wanted = Stat {
            ticks: 220,
            threads: 17,
        };
        assert_eq!(Stat::parse(line), Some(wanted));
        assert_eq!(Stat::parse(""), None);
    }
}
