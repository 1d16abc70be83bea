//! The columns of kinds that are kept for others: volumes, roles, ingresses, autoscalers.

use serde_json::Value;

use super::age::{human_duration, timestamp};
use super::function::{items, join, or_none, text};

/// How many items a cell shows before it says that there are more.
const SHOWN: usize = 3;

/// A function from an object to a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is named after the column it makes")]
pub enum Summary {
    AccessModes,
    Ago,
    Bool,
    Claim,
    ClassName,
    Controller,
    Endpoints,
    Flag,
    Hosts,
    IngressAddress,
    IngressPorts,
    Length,
    Metrics,
    Or,
    ParamKind,
    ParamRef,
    Parameters,
    Quota,
    Role,
    ScaleTarget,
    SliceAddresses,
    SlicePorts,
    Subjects,
}

impl Summary {
    pub(super) fn named(name: &str) -> Option<Summary> {
        Some(match name {
            "access_modes" => Summary::AccessModes,
            "ago" => Summary::Ago,
            "bool" => Summary::Bool,
            "claim" => Summary::Claim,
            "class_name" => Summary::ClassName,
            "controller" => Summary::Controller,
            "endpoints" => Summary::Endpoints,
            "flag" => Summary::Flag,
            "hosts" => Summary::Hosts,
            "ingress_address" => Summary::IngressAddress,
            "ingress_ports" => Summary::IngressPorts,
            "length" => Summary::Length,
            "metrics" => Summary::Metrics,
            "or" => Summary::Or,
            "param_kind" => Summary::ParamKind,
            "param_ref" => Summary::ParamRef,
            "parameters" => Summary::Parameters,
            "quota" => Summary::Quota,
            "role" => Summary::Role,
            "scale_target" => Summary::ScaleTarget,
            "slice_addresses" => Summary::SliceAddresses,
            "slice_ports" => Summary::SlicePorts,
            "subjects" => Summary::Subjects,
            _ => return None,
        })
    }

    /// The cell; `at` is the value at the recipe's first path, `argument` the recipe's own text.
    pub(super) fn apply(self, object: &Value, at: &Value, argument: &str, now: i64) -> Value {
        let spec = &object["spec"];
        match self {
            Summary::AccessModes => access_modes(at).into(),
            Summary::Ago => at
                .as_str()
                .and_then(timestamp)
                .map_or_else(|| "<none>".into(), |time| human_duration(now - time))
                .into(),
            Summary::Bool => (*at == true).into(),
            Summary::Claim => match &spec["claimRef"] {
                Value::Null => "".into(),
                claim => format!("{}/{}", text(claim, "namespace"), text(claim, "name")).into(),
            },
            Summary::ClassName => class_name(object).into(),
            Summary::Controller => controller(object).into(),
            Summary::Endpoints => endpoints(object).into(),
            Summary::Flag => if *at == true { "True" } else { "False" }.into(),
            Summary::Hosts => hosts(spec).into(),
            Summary::IngressAddress => ingress_address(object).into(),
            Summary::IngressPorts => match items(&spec["tls"]).is_empty() {
                true => "80".into(),
                false => "80, 443".into(),
            },
            Summary::Length => items(at).len().into(),
            Summary::Metrics => metrics(object).into(),
            Summary::Or => match at {
                Value::Null => argument.rsplit(',').next().unwrap_or_default().into(),
                Value::String(text) => text.clone().into(),
                other => other.to_string().into(),
            },
            Summary::ParamKind => match &spec["paramKind"] {
                Value::Null => "<unset>".into(),
                kind => format!("{}/{}", text(kind, "apiVersion"), text(kind, "kind")).into(),
            },
            Summary::ParamRef => match &spec["paramRef"] {
                Value::Null => "<unset>".into(),
                reference => match (text(reference, "namespace"), text(reference, "name")) {
                    ("", "") => "<unset>".into(),
                    ("", name) => name.into(),
                    (namespace, name) => format!("{namespace}/{name}").into(),
                },
            },
            Summary::Parameters => match &spec["parameters"] {
                Value::Null => "<none>".into(),
                given => parameters(given).into(),
            },
            Summary::Quota => quota(object, argument).into(),
            Summary::Role => {
                let role = &object["roleRef"];
                format!("{}/{}", text(role, "kind"), text(role, "name")).into()
            }
            Summary::ScaleTarget => {
                let target = &spec["scaleTargetRef"];
                format!("{}/{}", text(target, "kind"), text(target, "name")).into()
            }
            Summary::SliceAddresses => {
                let all = items(&object["endpoints"]).iter();
                let all = all.flat_map(|endpoint| items(&endpoint["addresses"]));
                shortened(all.filter_map(Value::as_str).map(str::to_owned)).into()
            }
            Summary::SlicePorts => {
                let all = items(&object["ports"]).iter();
                shortened(all.map(|port| match &port["port"] {
                    Value::Null => "*".to_owned(),
                    number => number.to_string(),
                }))
                .replace("<none>", "<unset>")
                .into()
            }
            Summary::Subjects => subjects(object, argument).into(),
        }
    }
}

fn access_modes(modes: &Value) -> String {
    const NAMES: [(&str, &str); 4] = [
        ("ReadWriteOnce", "RWO"),
        ("ReadOnlyMany", "ROX"),
        ("ReadWriteMany", "RWX"),
        ("ReadWriteOncePod", "RWOP"),
    ];
    let given = items(modes);
    NAMES
        .into_iter()
        .filter(|(name, _)| given.iter().any(|mode| mode == name))
        .map(|(_, short)| short)
        .collect::<Vec<_>>()
        .join(",")
}

fn class_name(class: &Value) -> String {
    let name = text(&class["metadata"], "name");
    let annotations = &class["metadata"]["annotations"];
    match annotations["storageclass.kubernetes.io/is-default-class"] == "true" {
        true => format!("{name} (default)"),
        false => name.to_owned(),
    }
}

fn controller(object: &Value) -> String {
    let owners = items(&object["metadata"]["ownerReferences"]);
    let Some(owner) = owners.iter().find(|owner| owner["controller"] == true) else {
        return "<none>".into();
    };
    let group = text(owner, "apiVersion").split_once('/');
    let group = group.map(|(group, _)| format!(".{group}"));
    let kind = text(owner, "kind").to_lowercase();
    format!(
        "{kind}{}/{}",
        group.unwrap_or_default(),
        text(owner, "name")
    )
}

fn endpoints(object: &Value) -> String {
    let mut all = Vec::new();
    for subset in items(&object["subsets"]) {
        for address in items(&subset["addresses"]) {
            let ip = text(address, "ip");
            match items(&subset["ports"]) {
                [] => all.push(ip.to_owned()),
                ports => all.extend(ports.iter().map(|port| format!("{ip}:{}", port["port"]))),
            }
        }
    }
    let more = all.len().saturating_sub(SHOWN);
    all.truncate(SHOWN);
    match more {
        0 => or_none(all.join(",")),
        more => format!("{} + {more} more...", all.join(",")),
    }
}

fn shortened(all: impl Iterator<Item = String>) -> String {
    let mut all: Vec<String> = all.collect();
    let more = all.len().saturating_sub(SHOWN);
    all.truncate(SHOWN);
    match more {
        0 => or_none(all.join(",")),
        more => format!("{} + {more} more...", all.join(",")),
    }
}

fn hosts(spec: &Value) -> String {
    let hosts = items(&spec["rules"]).iter();
    let hosts = hosts.map(|rule| text(rule, "host"));
    let all: Vec<String> = hosts
        .filter(|host| !host.is_empty())
        .map(str::to_owned)
        .collect();
    match all.is_empty() {
        true => "*".into(),
        false => shortened(all.into_iter()),
    }
}

fn ingress_address(object: &Value) -> String {
    let all = items(&object["status"]["loadBalancer"]["ingress"]).iter();
    all.map(|ingress| match text(ingress, "ip") {
        "" => text(ingress, "hostname"),
        ip => ip,
    })
    .collect::<Vec<_>>()
    .join(",")
}

fn metrics(object: &Value) -> String {
    let wanted = items(&object["spec"]["metrics"]);
    let current = items(&object["status"]["currentMetrics"]);
    let shown = |number: &Value| (!number.is_null()).then(|| number.to_string().replace('"', ""));
    let cells = wanted.iter().enumerate().map(|(index, metric)| {
        let resource = &metric["resource"];
        let now = &current.get(index).map_or(&Value::Null, |metric| metric)["resource"]["current"];
        let (now, target, unit) = match shown(&resource["target"]["averageUtilization"]) {
            Some(target) => (shown(&now["averageUtilization"]), target, "%"),
            None => {
                let target = shown(&resource["target"]["averageValue"]);
                (
                    shown(&now["averageValue"]),
                    target.unwrap_or_else(|| "<unknown>".into()),
                    "",
                )
            }
        };
        let now = now.map_or_else(|| "<unknown>".into(), |now| format!("{now}{unit}"));
        format!("{}: {now}/{target}{unit}", text(resource, "name"))
    });
    or_none(cells.collect::<Vec<_>>().join(", "))
}

fn parameters(given: &Value) -> String {
    let kind = match text(given, "apiGroup") {
        "" => text(given, "kind").to_owned(),
        group => format!("{}.{group}", text(given, "kind")),
    };
    format!("{kind}/{}", text(given, "name"))
}

fn quota(object: &Value, which: &str) -> String {
    let status = &object["status"];
    let hard = status["hard"].as_object();
    let cells = hard
        .into_iter()
        .flatten()
        .filter(|(name, _)| name.starts_with("limits.") == (which == "limits"))
        .map(|(name, hard)| {
            let used = text(&status["used"], name);
            let used = if used.is_empty() { "0" } else { used };
            format!("{name}: {used}/{}", hard.as_str().unwrap_or_default())
        });
    cells.collect::<Vec<_>>().join(", ")
}

fn subjects(object: &Value, kind: &str) -> String {
    let subjects = items(&object["subjects"]).iter();
    let of_kind: Vec<Value> = subjects
        .filter(|subject| subject["kind"] == kind)
        .cloned()
        .collect();
    if kind != "ServiceAccount" {
        return join(&Value::Array(of_kind), "name").replace(',', ", ");
    }
    of_kind
        .iter()
        .map(|subject| format!("{}/{}", text(subject, "namespace"), text(subject, "name")))
        .collect::<Vec<_>>()
        .join(", ")
}
