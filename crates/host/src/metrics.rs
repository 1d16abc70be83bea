//! Counters in the text format of Prometheus.

use std::{fmt::Write, sync::Arc};

use waft_ir::Phase;
use waft_runtime::{GuestStats, TrapReason};

use crate::{
    running::{Counters, RunningWorkload},
    service::Service,
    serving::Serving,
};

/// A metric of a guest: its name, type, help, and how to read it.
type GuestMetric = (
    &'static str,
    &'static str,
    &'static str,
    fn(&GuestStats) -> u64,
);

const GUEST_METRICS: [GuestMetric; 6] = [
    (
        "waft_guest_calls_total",
        "counter",
        "Calls of the component.",
        |s| s.requests,
    ),
    (
        "waft_guest_calls_in_flight",
        "gauge",
        "Calls that run.",
        |s| s.in_flight,
    ),
    (
        "waft_guest_calls_queued",
        "gauge",
        "Calls that wait for a place.",
        |s| s.queued,
    ),
    (
        "waft_guest_instances_total",
        "counter",
        "Instances made.",
        |s| s.instances_created,
    ),
    (
        "waft_guest_instances_warm",
        "gauge",
        "Idle instances that are kept.",
        |s| s.warm,
    ),
    (
        "waft_guest_clients_gone_total",
        "counter",
        "Calls whose client left first.",
        |s| s.clients_gone,
    ),
];

/// All metrics of a host.
pub(crate) fn text(serving: &Serving) -> String {
    let running = serving.running.load();
    let mut workloads: Vec<_> = running.values().collect();
    workloads.sort_by(|a, b| a.key.cmp(&b.key));
    let mut out = String::new();
    // Writing to a String does not fail.
    let _ = write_phases(&mut out, serving)
        .and_then(|()| write_all(&mut out, &serving.unrouted, &workloads, &serving.services()));
    out
}

fn write_phases(out: &mut String, serving: &Serving) -> std::fmt::Result {
    let name = "waft_workloads";
    head(out, name, "gauge", "Workloads by phase.")?;
    let states = serving.states.subscribe();
    let states = states.borrow().clone();
    let in_phase =
        |wanted: fn(&Phase) -> bool| states.values().filter(|s| wanted(&s.phase)).count();
    for (phase, count) in [
        ("Pulling", in_phase(|p| matches!(p, Phase::Pulling))),
        ("Compiling", in_phase(|p| matches!(p, Phase::Compiling))),
        ("Running", in_phase(|p| matches!(p, Phase::Running))),
        ("Completed", in_phase(|p| matches!(p, Phase::Completed))),
        ("Stopping", in_phase(|p| matches!(p, Phase::Stopping))),
        ("Failed", in_phase(|p| matches!(p, Phase::Failed(_)))),
    ] {
        writeln!(out, "{name}{{phase=\"{phase}\"}} {count}")?;
    }
    Ok(())
}

fn write_all(
    out: &mut String,
    unrouted: &Counters,
    workloads: &[&Arc<RunningWorkload>],
    services: &[Arc<Service>],
) -> std::fmt::Result {
    let counters = || {
        let of_workloads = workloads.iter().map(|w| (labels(w), &w.counters));
        of_workloads.chain([(text_labels("", ""), unrouted)])
    };
    let name = "waft_http_requests_total";
    head(
        out,
        name,
        "counter",
        "Requests by class of status; gone: the client left before.",
    )?;
    for (labels, counters) in counters() {
        for (class, count) in counters.by_class() {
            writeln!(out, "{name}{{{labels},class=\"{class}\"}} {count}")?;
        }
    }
    let name = "waft_http_refusals_total";
    head(
        out,
        name,
        "counter",
        "Requests that the host answered itself, by reason.",
    )?;
    for (labels, counters) in counters() {
        for (reason, count) in counters.by_reason() {
            let reason = reason.as_str();
            writeln!(out, "{name}{{{labels},reason=\"{reason}\"}} {count}")?;
        }
    }

    let of_services = services
        .iter()
        .map(|s| (text_labels(&s.key, &s.name), s.command.stats()));
    let stats: Vec<_> = workloads
        .iter()
        .map(|w| (labels(w), w.guest.stats()))
        .chain(of_services)
        .collect();
    for (name, kind, help, value) in GUEST_METRICS {
        head(out, name, kind, help)?;
        for (labels, stats) in &stats {
            writeln!(out, "{name}{{{labels}}} {}", value(stats))?;
        }
    }
    let name = "waft_guest_cpu_seconds_total";
    head(out, name, "counter", "Time the component's code ran.")?;
    for (labels, stats) in &stats {
        writeln!(out, "{name}{{{labels}}} {}", stats.cpu_nanos as f64 / 1e9)?;
    }
    let name = "waft_guest_traps_total";
    head(out, name, "counter", "Instances ended by a trap, by kind.")?;
    for (labels, stats) in &stats {
        for reason in TrapReason::ALL {
            let count = stats.traps_of(reason);
            if count > 0 {
                writeln!(out, "{name}{{{labels},kind=\"{reason:?}\"}} {count}")?;
            }
        }
    }
    Ok(())
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) -> std::fmt::Result {
    writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}")
}

/// Names are DNS labels, so nothing in them needs escaping.
fn labels(workload: &RunningWorkload) -> String {
    text_labels(&workload.key, &workload.component)
}

fn text_labels(workload: &str, component: &str) -> String {
    format!("workload=\"{workload}\",component=\"{component}\"")
}
