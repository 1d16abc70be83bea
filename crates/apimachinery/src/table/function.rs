//! The named functions of built-in columns.

use serde_json::Value;

use super::age::{human_duration, timestamp};
use super::summary::Summary;
use crate::jsonpath::JsonPath;
use crate::selector::{labels_text, selector_text};

/// A function from an object to a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is named after the column it makes")]
pub enum Function {
    Containers,
    Count,
    EventSource,
    ExternalIp,
    Images,
    Involved,
    JobDuration,
    JobStatus,
    LabelSelector,
    NodeAddress,
    NodeRoles,
    NodeStatus,
    OrNone,
    OrUnknown,
    PodReady,
    PodRestarts,
    PodStatus,
    Ports,
    Ratio,
    ReadinessGates,
    Regarding,
    Selector,
    Size,
    Summary(Summary),
    Trim,
}

impl Function {
    pub(super) fn named(name: &str) -> Option<Function> {
        Some(match name {
            "containers" => Function::Containers,
            "count" => Function::Count,
            "event_source" => Function::EventSource,
            "external_ip" => Function::ExternalIp,
            "images" => Function::Images,
            "involved" => Function::Involved,
            "job_duration" => Function::JobDuration,
            "job_status" => Function::JobStatus,
            "label_selector" => Function::LabelSelector,
            "node_address" => Function::NodeAddress,
            "node_roles" => Function::NodeRoles,
            "node_status" => Function::NodeStatus,
            "or_none" => Function::OrNone,
            "or_unknown" => Function::OrUnknown,
            "pod_ready" => Function::PodReady,
            "pod_restarts" => Function::PodRestarts,
            "pod_status" => Function::PodStatus,
            "ports" => Function::Ports,
            "ratio" => Function::Ratio,
            "readiness_gates" => Function::ReadinessGates,
            "regarding" => Function::Regarding,
            "selector" => Function::Selector,
            "size" => Function::Size,
            "trim" => Function::Trim,
            _ => Function::Summary(Summary::named(name)?),
        })
    }

    pub(super) fn apply(
        self,
        object: &Value,
        paths: &[JsonPath],
        argument: &str,
        now: i64,
    ) -> Value {
        let nothing = Value::Null;
        let at = |index: usize| {
            paths
                .get(index)
                .and_then(|path| path.first(object))
                .unwrap_or(&nothing)
        };
        match self {
            Function::Containers => join(&at(0)["spec"]["containers"], "name").into(),
            Function::Images => join(&at(0)["spec"]["containers"], "image").into(),
            Function::Count => {
                let found = (0..paths.len()).find_map(|index| at(index).as_i64());
                found.unwrap_or(0).into()
            }
            Function::EventSource => event_source(object).into(),
            Function::ExternalIp => external_ip(object).into(),
            Function::Involved => reference(&object["involvedObject"]).into(),
            Function::Regarding => reference(&object["regarding"]).into(),
            Function::JobDuration => job_duration(object, now).into(),
            Function::JobStatus => job_status(object).into(),
            Function::LabelSelector => or_none(selector_text(at(0))).into(),
            Function::NodeAddress => {
                list_entry(&object["status"]["addresses"], argument, "address")
                    .unwrap_or("<none>")
                    .into()
            }
            Function::NodeRoles => node_roles(object).into(),
            Function::NodeStatus => node_status(object).into(),
            Function::OrNone => at(0)
                .as_str()
                .filter(|text| !text.is_empty())
                .unwrap_or("<none>")
                .into(),
            Function::OrUnknown => at(0)
                .as_str()
                .filter(|text| !text.is_empty())
                .unwrap_or("<unknown>")
                .into(),
            Function::PodReady => pod_ready(object).into(),
            Function::PodRestarts => pod_restarts(object, now).into(),
            Function::PodStatus => pod_status(object).into(),
            Function::Ports => ports(at(0)).into(),
            Function::Ratio => format!(
                "{}/{}",
                at(0).as_i64().unwrap_or(0),
                at(1).as_i64().unwrap_or(0)
            )
            .into(),
            Function::ReadinessGates => readiness_gates(object).into(),
            Function::Selector => or_none(labels_text(at(0))).into(),
            Function::Size => {
                let size = |index| at(index).as_object().map_or(0, serde_json::Map::len);
                (0..paths.len()).map(size).sum::<usize>().into()
            }
            Function::Summary(summary) => summary.apply(object, at(0), argument, now),
            Function::Trim => at(0).as_str().unwrap_or_default().trim().into(),
        }
    }
}

pub(super) fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

pub(super) fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

pub(super) fn join(list: &Value, key: &str) -> String {
    items(list)
        .iter()
        .map(|item| text(item, key))
        .collect::<Vec<_>>()
        .join(",")
}

pub(super) fn or_none(text: String) -> String {
    if text.is_empty() {
        "<none>".into()
    } else {
        text
    }
}

fn list_entry<'a>(list: &'a Value, kind: &str, key: &str) -> Option<&'a str> {
    items(list).iter().find(|item| item["type"] == kind)?[key].as_str()
}

fn reference(value: &Value) -> String {
    let (kind, name) = (text(value, "kind").to_lowercase(), text(value, "name"));
    if name.is_empty() {
        kind
    } else {
        format!("{kind}/{name}")
    }
}

fn event_source(event: &Value) -> String {
    let old = if event["source"].is_object() {
        &event["source"]
    } else {
        &event["deprecatedSource"]
    };
    let (mut component, mut host) = (text(old, "component"), text(old, "host"));
    if component.is_empty() {
        let controllers = [
            text(event, "reportingComponent"),
            text(event, "reportingController"),
        ];
        component = controllers
            .into_iter()
            .find(|name| !name.is_empty())
            .unwrap_or_default();
    }
    if host.is_empty() {
        host = text(event, "reportingInstance");
    }
    [component, host]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(", ")
}

fn external_ip(service: &Value) -> String {
    let addresses: Vec<&str> = items(&service["status"]["loadBalancer"]["ingress"])
        .iter()
        .filter_map(|ingress| {
            ingress["ip"]
                .as_str()
                .or_else(|| ingress["hostname"].as_str())
        })
        .chain(
            items(&service["spec"]["externalIPs"])
                .iter()
                .filter_map(Value::as_str),
        )
        .collect();
    match text(&service["spec"], "type") {
        "ExternalName" => text(&service["spec"], "externalName").to_owned(),
        "LoadBalancer" if addresses.is_empty() => "<pending>".into(),
        _ => or_none(addresses.join(",")),
    }
}

fn ports(list: &Value) -> String {
    let port = |port: &Value| {
        let node = port["nodePort"].as_i64().filter(|node| *node > 0);
        let node = node.map(|node| format!(":{node}")).unwrap_or_default();
        let protocol = port["protocol"].as_str().unwrap_or("TCP");
        format!("{}{node}/{protocol}", port["port"].as_i64().unwrap_or(0))
    };
    or_none(items(list).iter().map(port).collect::<Vec<_>>().join(","))
}

fn node_status(node: &Value) -> String {
    let ready = match list_entry(&node["status"]["conditions"], "Ready", "status") {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    };
    match node["spec"]["unschedulable"] == true {
        true => format!("{ready},SchedulingDisabled"),
        false => ready.to_owned(),
    }
}

fn node_roles(node: &Value) -> String {
    let labels = node["metadata"]["labels"].as_object();
    let mut roles: Vec<&str> = labels
        .into_iter()
        .flatten()
        .filter_map(
            |(key, value)| match key.strip_prefix("node-role.kubernetes.io/") {
                Some(role) => Some(role),
                None if key == "kubernetes.io/role" => value.as_str(),
                None => None,
            },
        )
        .filter(|role| !role.is_empty())
        .collect();
    roles.sort_unstable();
    or_none(roles.join(","))
}

fn pod_ready(pod: &Value) -> String {
    let statuses = items(&pod["status"]["containerStatuses"]);
    let ready = statuses
        .iter()
        .filter(|status| status["ready"] == true && status["state"]["running"].is_object());
    format!(
        "{}/{}",
        ready.count(),
        items(&pod["spec"]["containers"]).len()
    )
}

fn pod_restarts(pod: &Value, now: i64) -> String {
    let statuses = items(&pod["status"]["containerStatuses"]);
    let restarts: i64 = statuses
        .iter()
        .filter_map(|status| status["restartCount"].as_i64())
        .sum();
    let last = statuses
        .iter()
        .filter_map(|status| timestamp(status["lastState"]["terminated"]["finishedAt"].as_str()?))
        .max();
    match last.filter(|_| restarts > 0) {
        Some(last) => format!("{restarts} ({} ago)", human_duration(now - last)),
        None => restarts.to_string(),
    }
}

fn pod_status(pod: &Value) -> String {
    let status = &pod["status"];
    let named = [text(status, "reason"), text(status, "phase")];
    let mut shown = named
        .into_iter()
        .find(|name| !name.is_empty())
        .unwrap_or("Unknown")
        .to_owned();
    let mut running = false;
    for container in items(&status["containerStatuses"]).iter().rev() {
        let state = &container["state"];
        let waiting = text(&state["waiting"], "reason");
        if !waiting.is_empty() {
            shown = waiting.to_owned();
        } else if state["terminated"].is_object() {
            let ended = &state["terminated"];
            shown = match (text(ended, "reason"), ended["signal"].as_i64().unwrap_or(0)) {
                ("", 0) => format!("ExitCode:{}", ended["exitCode"].as_i64().unwrap_or(0)),
                ("", signal) => format!("Signal:{signal}"),
                (reason, _) => reason.to_owned(),
            };
        } else if container["ready"] == true && state["running"].is_object() {
            running = true;
        }
    }
    if shown == "Completed" && running {
        let ready = list_entry(&status["conditions"], "Ready", "status") == Some("True");
        shown = if ready {
            "Running".into()
        } else {
            "NotReady".into()
        };
    }
    match pod["metadata"]["deletionTimestamp"].is_string() {
        true if text(status, "reason") == "NodeLost" => "Unknown".into(),
        true if !matches!(text(status, "phase"), "Succeeded" | "Failed") => "Terminating".into(),
        _ => shown,
    }
}

fn readiness_gates(pod: &Value) -> String {
    let gates = items(&pod["spec"]["readinessGates"]);
    if gates.is_empty() {
        return "<none>".into();
    }
    let met = gates.iter().filter(|gate| {
        list_entry(
            &pod["status"]["conditions"],
            text(gate, "conditionType"),
            "status",
        ) == Some("True")
    });
    format!("{}/{}", met.count(), gates.len())
}

fn job_status(job: &Value) -> String {
    let is = |kind: &str| list_entry(&job["status"]["conditions"], kind, "status") == Some("True");
    for (condition, shown) in [
        ("Complete", "Complete"),
        ("Failed", "Failed"),
        ("Suspended", "Suspended"),
        ("FailureTarget", "FailureTarget"),
    ] {
        if is(condition) {
            return shown.into();
        }
    }
    if job["metadata"]["deletionTimestamp"].is_string() {
        "Terminating".into()
    } else {
        "Running".into()
    }
}

fn job_duration(job: &Value, now: i64) -> String {
    let at = |key: &str| job["status"][key].as_str().and_then(timestamp);
    match (at("startTime"), at("completionTime")) {
        (None, _) => String::new(),
        (Some(start), end) => human_duration(end.unwrap_or(now) - start),
    }
}
