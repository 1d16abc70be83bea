//! Metrics in the text format of Prometheus. A workload has series from its first request or message
//! on; what they mean for a user is in `docs/metrics.md`.

mod process;
mod text;

use std::sync::Arc;

use waft_ir::Phase;
use waft_runtime::{Denied, GuestStats, Refusal, TrapReason};

use crate::{
    messages::Worker,
    running::{BUCKETS, Counters},
    serving::Serving,
};
use text::{Kind, Text};

/// A metric of a guest: its name, type, help, and how to read it.
type GuestMetric = (&'static str, Kind, &'static str, fn(&GuestStats) -> u64);

const GUEST_METRICS: [GuestMetric; 12] = [
    (
        "waft_guest_calls_total",
        Kind::Counter,
        "Calls of the component.",
        |s| s.requests,
    ),
    (
        "waft_guest_calls_in_flight",
        Kind::Gauge,
        "Calls that run.",
        |s| s.in_flight,
    ),
    (
        "waft_guest_calls_queued",
        Kind::Gauge,
        "Calls that wait for a place.",
        |s| s.queued,
    ),
    (
        "waft_guest_cold_starts_total",
        Kind::Counter,
        "Instances made.",
        |s| s.instances_created,
    ),
    (
        "waft_guest_instances_warm",
        Kind::Gauge,
        "Idle instances that are kept.",
        |s| s.warm,
    ),
    (
        "waft_guest_instances_reclaimed_total",
        Kind::Counter,
        "Idle instances that were ended.",
        |s| s.instances_reclaimed,
    ),
    (
        "waft_guest_cpu_throttled_total",
        Kind::Counter,
        "Times that a call waited because of cpuLimit.",
        |s| s.throttled,
    ),
    (
        "waft_guest_memory_bytes",
        Kind::Gauge,
        "Linear memory and tables of the component's instances, busy and idle.",
        |s| s.memory_bytes,
    ),
    (
        "waft_guest_log_lines_dropped_total",
        Kind::Counter,
        "Lines of log past limits.logBytesPerSecond.",
        |s| s.log_lines_dropped,
    ),
    (
        "waft_egress_requests_total",
        Kind::Counter,
        "Outgoing HTTP requests that were answered.",
        |s| s.egress.requests,
    ),
    (
        "waft_egress_connections",
        Kind::Gauge,
        "Outgoing connections that are open.",
        |s| s.egress.connections,
    ),
    (
        "waft_egress_over_limit_total",
        Kind::Counter,
        "Connections refused by limits.outboundConnections.",
        |s| s.egress.over_limit,
    ),
];

/// Whose a series is, and what was counted.
struct Observed<'a> {
    labels: String,
    counters: &'a Counters,
    stats: Option<GuestStats>,
}

/// All metrics of a host.
pub(crate) fn text(serving: &Serving, telemetry_dropped: Option<u64>) -> String {
    let running = serving.running.all();
    let mut observed: Vec<_> = running
        .iter()
        .filter_map(|workload| {
            let stats = workload.guest.stats();
            // The first request is counted as a call before it is counted as answered.
            let used = stats.requests > 0 || workload.counters.get().is_some();
            used.then(|| Observed {
                labels: labels(&workload.key, &workload.component),
                counters: &workload.counters,
                stats: Some(stats),
            })
        })
        .collect();
    observed.sort_by(|a, b| a.labels.cmp(&b.labels));
    observed.push(Observed {
        labels: labels("", ""),
        counters: &serving.unrouted,
        stats: None,
    });
    let services = serving.services();
    let of_services = services
        .iter()
        .map(|service| (labels(&service.key, &service.name), service.command.stats()));
    let mut workers = serving.workers();
    workers.retain(|worker| {
        let mut counts = worker.counters.all().into_iter();
        worker.guest.stats().requests > 0 || counts.any(|(_, count)| count > 0)
    });
    workers.sort_by(|a, b| (&a.key, &a.name).cmp(&(&b.key, &b.name)));
    let of_workers = workers
        .iter()
        // One that serves HTTP as well is counted there.
        .filter(|worker| !worker.serves_http)
        .map(|worker| (labels(&worker.key, &worker.name), worker.guest.stats()));
    let mut stats: Vec<_> = observed
        .iter()
        .filter_map(|o| Some((o.labels.clone(), o.stats.clone()?)))
        .chain(of_services)
        .chain(of_workers)
        .collect();
    stats.sort_by(|a, b| a.0.cmp(&b.0));

    let mut text = Text::default();
    text.metric(
        "waft_build_info",
        Kind::Gauge,
        "Always 1; the version is a label.",
    );
    text.value(&format!("version=\"{}\"", env!("CARGO_PKG_VERSION")), 1);
    write_phases(&mut text, serving);
    write_requests(&mut text, &observed);
    write_guests(&mut text, &stats);
    write_messages(&mut text, &workers);
    if let Some(dropped) = telemetry_dropped {
        text.metric(
            "waft_telemetry_dropped_total",
            Kind::Counter,
            "Spans, log records and metrics of components that were lost.",
        );
        text.value("", dropped);
    }
    process::write(&mut text);
    text.into_string()
}

fn write_phases(text: &mut Text, serving: &Serving) {
    text.metric("waft_workloads", Kind::Gauge, "Workloads by phase.");
    let in_phase = |wanted: fn(&Phase) -> bool| serving.states.count(wanted);
    for (phase, count) in [
        ("Pulling", in_phase(|p| matches!(p, Phase::Pulling))),
        ("Compiling", in_phase(|p| matches!(p, Phase::Compiling))),
        ("Running", in_phase(|p| matches!(p, Phase::Running))),
        (
            "Restarting",
            in_phase(|p| matches!(p, Phase::Restarting(_))),
        ),
        ("Completed", in_phase(|p| matches!(p, Phase::Completed))),
        ("Stopping", in_phase(|p| matches!(p, Phase::Stopping))),
        ("Failed", in_phase(|p| matches!(p, Phase::Failed(_)))),
    ] {
        text.value(&format!("phase=\"{phase}\""), count);
    }
}

fn write_requests(text: &mut Text, observed: &[Observed<'_>]) {
    let counted = || {
        let counted = observed.iter();
        counted.filter_map(|o| Some((&o.labels, o.counters.get()?)))
    };
    text.metric(
        "waft_http_requests_total",
        Kind::Counter,
        "Requests by status of the answer.",
    );
    for (labels, counted) in counted() {
        for (status, count) in counted.by_status() {
            text.value(&format!("{labels},status=\"{status}\""), count);
        }
    }
    text.metric(
        "waft_http_clients_gone_total",
        Kind::Counter,
        "Requests whose client left before the answer.",
    );
    for (labels, counted) in counted() {
        text.value(labels, counted.gone());
    }
    text.metric(
        "waft_http_refusals_total",
        Kind::Counter,
        "Requests that the host answered itself, by reason.",
    );
    for (labels, counted) in counted() {
        for (reason, count) in counted.by_reason() {
            text.value(&format!("{labels},reason=\"{}\"", reason.as_str()), count);
        }
    }
    text.metric(
        "waft_http_request_duration_seconds",
        Kind::Histogram,
        "Time from a request's head to the end of its answer.",
    );
    for (labels, counted) in counted() {
        let durations = counted.durations();
        for (bound, count) in BUCKETS.iter().zip(durations.within) {
            text.bucket(labels, Some(seconds(*bound)), count);
        }
        text.bucket(labels, None, durations.count);
        text.part("_sum", labels, seconds(durations.sum));
        text.part("_count", labels, durations.count);
    }
}

fn write_messages(text: &mut Text, workers: &[Arc<Worker>]) {
    text.metric(
        "waft_messages_total",
        Kind::Counter,
        "Messages that a component was given, by what became of them.",
    );
    for worker in workers {
        let labels = labels(&worker.key, &worker.name);
        for (result, count) in worker.counters.all() {
            text.value(&format!("{labels},result=\"{result}\""), count);
        }
    }
}

fn write_guests(text: &mut Text, stats: &[(String, GuestStats)]) {
    for (name, kind, help, value) in GUEST_METRICS {
        text.metric(name, kind, help);
        for (labels, stats) in stats {
            text.value(labels, value(stats));
        }
    }
    text.metric(
        "waft_guest_cpu_seconds_total",
        Kind::Counter,
        "Time the component's code ran.",
    );
    for (labels, stats) in stats {
        text.value(labels, stats.cpu_nanos as f64 / 1e9);
    }
    text.metric(
        "waft_guest_traps_total",
        Kind::Counter,
        "Instances ended by a trap, by kind.",
    );
    for (labels, stats) in stats {
        for reason in TrapReason::ALL {
            let count = stats.traps_of(reason);
            if count > 0 {
                text.value(&format!("{labels},kind=\"{reason:?}\""), count);
            }
        }
    }
    text.metric(
        "waft_guest_growth_refused_total",
        Kind::Counter,
        "Growths of memories, tables and volumes that were refused, by limit.",
    );
    for (labels, stats) in stats {
        for (limit, count) in [
            ("memoryLimitMb", stats.memory_refused),
            ("sizeLimit", stats.volume_refused),
            ("tableElements", stats.table_refused),
        ] {
            if count > 0 {
                text.value(&format!("{labels},limit=\"{limit}\""), count);
            }
        }
    }
    text.metric(
        "waft_guest_denied_total",
        Kind::Counter,
        "Calls of host interfaces that were refused, by reason.",
    );
    for (labels, stats) in stats {
        for (reason, count) in Refusal::ALL.iter().zip(stats.refused) {
            if count > 0 {
                text.value(&format!("{labels},reason=\"{}\"", reason.as_str()), count);
            }
        }
    }
    text.metric(
        "waft_egress_denied_total",
        Kind::Counter,
        "Requests, look-ups and connections denied, by reason.",
    );
    for (labels, stats) in stats {
        for (reason, count) in Denied::ALL.iter().zip(stats.egress.denied) {
            if count > 0 {
                text.value(&format!("{labels},reason=\"{}\"", reason.as_str()), count);
            }
        }
    }
}

fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

/// `key` is `namespace/name`. Names are DNS labels, so nothing in them needs escaping.
fn labels(key: &str, component: &str) -> String {
    let (namespace, workload) = key.split_once('/').unwrap_or(("", key));
    format!("namespace=\"{namespace}\",workload=\"{workload}\",component=\"{component}\"")
}
