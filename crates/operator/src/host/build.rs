//! The Host object of a host that reports, and its status.

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
    jiff::Timestamp,
};
use waft_api::{Host, HostStatus, Reason, conditions as types};
use waft_ir::HostInfo;

use crate::{
    condition::{Verdict, merge},
    object::HasStatus as _,
};

/// What stands for a value that nobody reports.
const UNKNOWN: &str = "unknown";
/// Share of the memory by which the free part must change to be news.
const NOTICEABLE_MEMORY: u64 = 20;
/// Percent by which the processor use must change to be news.
const NOTICEABLE_CPU: f32 = 10.0;

/// The object, as the host describes itself. What users added to it stays.
pub(crate) fn host(namespace: &str, info: &HostInfo, before: Option<&Host>) -> Host {
    let mut host = before.cloned().unwrap_or_else(|| Host {
        metadata: ObjectMeta {
            name: Some(info.name.clone()),
            namespace: Some(namespace.into()),
            ..ObjectMeta::default()
        },
        ..Host::default()
    });
    host.host_id = Some(info.id.0.clone());
    host.hostname = Some(info.hostname.clone());
    host.http_port = info.http_port.map(i32::from);
    host.environment = info.environment.clone();
    let labels = host.metadata.labels.get_or_insert_default();
    labels.extend(info.labels.clone());
    if labels.is_empty() {
        host.metadata.labels = None;
    }
    host
}

/// What the status says. Numbers that hardly changed stay as they were.
pub(crate) fn status(host: &Host, info: Option<&HostInfo>, now: Timestamp) -> HostStatus {
    let before = host.status.clone();
    let generation = host.metadata.generation;
    let Some(info) = info else {
        let silent = || {
            Verdict::no(
                Reason::HostNotReporting,
                "no host reports under this name; it is not used until one does",
            )
        };
        let verdicts = vec![(types::REPORTING, silent()), (types::READY, silent())];
        let mut status = before.unwrap_or_else(|| HostStatus {
            version: UNKNOWN.into(),
            os_name: UNKNOWN.into(),
            os_arch: UNKNOWN.into(),
            os_kernel: UNKNOWN.into(),
            system_cpu_usage: UNKNOWN.into(),
            ..HostStatus::default()
        });
        status.conditions = merge(host.conditions(), &verdicts, generation, now);
        return status;
    };
    let verdicts = vec![
        (types::REPORTING, Verdict::good()),
        (types::READY, Verdict::good()),
    ];
    let mut status = HostStatus {
        conditions: merge(host.conditions(), &verdicts, generation, now),
        version: info.version.clone(),
        os_name: info.os_name.clone(),
        os_arch: info.os_arch.clone(),
        os_kernel: info.os_kernel.clone(),
        system_cpu_usage: format!("{:.0}%", info.cpu_percent),
        system_memory_total: whole(info.memory_total),
        system_memory_free: whole(info.memory_free),
        component_count: Some(whole(info.components)),
        workload_count: Some(whole(info.workloads)),
        last_seen: None,
    };
    if let Some(before) = before {
        let cpu: Option<f32> = before.system_cpu_usage.trim_end_matches('%').parse().ok();
        if cpu.is_some_and(|cpu| (cpu - info.cpu_percent).abs() < NOTICEABLE_CPU) {
            status.system_cpu_usage = before.system_cpu_usage.clone();
        }
        let moved = status
            .system_memory_free
            .abs_diff(before.system_memory_free);
        if moved < info.memory_total / NOTICEABLE_MEMORY {
            status.system_memory_free = before.system_memory_free;
        }
        status.last_seen = before.last_seen.clone();
        if status == before && status.last_seen.is_some() {
            return status;
        }
    }
    status.last_seen = Some(Time(now));
    status
}

fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use waft_ir::HostId;

    use super::*;

    fn info() -> HostInfo {
        HostInfo {
            id: HostId("h".into()),
            name: "here".into(),
            hostname: "localhost".into(),
            http_port: Some(8000),
            labels: [("hostgroup".to_owned(), "default".to_owned())].into(),
            environment: None,
            version: "1".into(),
            os_name: "linux".into(),
            os_arch: "x86_64".into(),
            os_kernel: "6".into(),
            cpu_percent: 10.0,
            memory_total: 1000,
            memory_free: 500,
            components: 0,
            workloads: 0,
            offers: vec![],
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn labels_that_users_added_stay() {
        let mut known = host("default", &info(), None);
        let labels = known.metadata.labels.get_or_insert_default();
        labels.insert("zone".into(), "eu".into());
        assert_eq!(host("default", &info(), Some(&known)), known);
    }

    #[test]
    fn only_news_are_written() {
        let mut host = host("default", &info(), None);
        host.metadata.generation = Some(1);
        host.status = Some(status(&host, Some(&info()), at(1)));
        host.status = Some(status(&host, Some(&info()), at(2)));
        assert!(host.conditions().iter().all(waft_api::Condition::is_true));
        let written = host.status.clone().unwrap();
        let mut busier = info();
        busier.cpu_percent = 15.0;
        busier.memory_free = 480;
        assert_eq!(status(&host, Some(&busier), at(3)), written);
        busier.workloads = 1;
        let news = status(&host, Some(&busier), at(4));
        assert_eq!(news.workload_count, Some(1));
        assert_eq!(news.last_seen, Some(Time(at(4))));
    }

    #[test]
    fn a_host_that_nobody_reports_for_is_not_ready() {
        let host = Host::default();
        let status = status(&host, None, at(1));
        assert_eq!(status.conditions[1].status, "False");
        assert_eq!(
            status.conditions[1].reason.as_deref(),
            Some("HostNotReporting")
        );
        assert_eq!(status.version, UNKNOWN);
    }
}
