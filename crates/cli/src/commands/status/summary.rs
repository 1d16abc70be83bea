//! From objects to one line per workload. Pure.

use serde::Serialize;
use serde_json::Value;
use waft_api::names::LABEL_WORKLOAD_DEPLOYMENT;

/// What there is.
#[derive(Debug, Default)]
pub(super) struct Objects {
    pub(super) triggers: Vec<Value>,
    pub(super) deployments: Vec<Value>,
    pub(super) sets: Vec<Value>,
    pub(super) workloads: Vec<Value>,
    pub(super) pods: Vec<Value>,
}

/// One workload: a deployment (its trigger's line included), or a WorkloadReplicaSet or Workload that
/// nobody owns.
#[derive(Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Line {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) kind: &'static str,
    pub(super) url: Option<String>,
    pub(super) ready: i64,
    pub(super) replicas: i64,
    pub(super) restarts: i64,
    pub(super) last_error: Option<String>,
}

/// One line per workload, sorted by namespace and name.
pub(super) fn summarize(objects: &Objects) -> Vec<Line> {
    let mut lines = Vec::new();
    for trigger in &objects.triggers {
        let owned = |d: &&Value| is_owned_by(d, trigger);
        let deployment = objects.deployments.iter().find(owned);
        lines.push(of_trigger(trigger, deployment, objects));
    }
    for deployment in &objects.deployments {
        let triggered = objects.triggers.iter().any(|t| is_owned_by(deployment, t));
        if !triggered {
            lines.push(of_deployment(deployment, objects));
        }
    }
    let alone = |object: &&Value| {
        let owners = object["metadata"]["ownerReferences"].as_array();
        owners.is_none_or(Vec::is_empty)
    };
    let sets = objects.sets.iter().filter(alone);
    lines.extend(sets.map(|set| of_set(set, objects)));
    let workloads = objects.workloads.iter().filter(alone);
    lines.extend(workloads.map(|workload| of_workload(workload, objects)));
    lines.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
    lines
}

fn of_trigger(trigger: &Value, deployment: Option<&Value>, objects: &Objects) -> Line {
    let below = deployment.map(|deployment| of_deployment(deployment, objects));
    let own = error_of(trigger);
    Line {
        kind: "HTTPTrigger",
        url: text(&trigger["status"]["url"]),
        ready: below.as_ref().map_or(0, |line| line.ready),
        replicas: trigger["spec"]["replicas"]
            .as_i64()
            .or(below.as_ref().map(|line| line.replicas))
            .unwrap_or(1),
        restarts: below.as_ref().map_or(0, |line| line.restarts),
        // What happened below says more than that something did.
        last_error: below.and_then(|line| line.last_error).or(own),
        ..named(trigger)
    }
}

fn of_deployment(deployment: &Value, objects: &Objects) -> Line {
    let line = named(deployment);
    let belongs = |object: &&Value| {
        let metadata = &object["metadata"];
        metadata["namespace"] == line.namespace.as_str()
            && metadata["labels"][LABEL_WORKLOAD_DEPLOYMENT] == line.name.as_str()
    };
    let pods: Vec<_> = objects.pods.iter().filter(belongs).collect();
    let replicas = &deployment["status"]["replicas"];
    let workloads = objects.workloads.iter().filter(belongs);
    let errors = workloads.filter_map(error_of).next();
    Line {
        kind: "WorkloadDeployment",
        url: text(&deployment["status"]["url"]),
        ready: replicas["ready"].as_i64().unwrap_or(0),
        replicas: deployment["spec"]["replicas"].as_i64().unwrap_or(1),
        restarts: pods.iter().map(|pod| restarts(pod)).sum(),
        last_error: errors
            .or_else(|| error_of(deployment))
            .or_else(|| pods.iter().find_map(|pod| crash(pod))),
        ..line
    }
}

fn of_set(set: &Value, objects: &Objects) -> Line {
    let belongs = |workload: &&Value| is_owned_by(workload, set);
    let workloads: Vec<_> = objects.workloads.iter().filter(belongs).collect();
    let pods: Vec<_> = workloads
        .iter()
        .filter_map(|w| pod_of(w, objects))
        .collect();
    let errors = workloads.iter().find_map(|workload| error_of(workload));
    Line {
        kind: "WorkloadReplicaSet",
        url: text(&set["status"]["url"]),
        ready: set["status"]["replicas"]["ready"].as_i64().unwrap_or(0),
        replicas: set["spec"]["replicas"].as_i64().unwrap_or(1),
        restarts: pods.iter().map(|pod| restarts(pod)).sum(),
        last_error: errors
            .or_else(|| error_of(set))
            .or_else(|| pods.iter().find_map(|pod| crash(pod))),
        ..named(set)
    }
}

/// The Pod that shows a Workload, which has its name.
fn pod_of<'a>(workload: &Value, objects: &'a Objects) -> Option<&'a Value> {
    let of = |object: &Value, key: &str| object["metadata"][key].clone();
    let same = |pod: &Value, key| of(pod, key) == of(workload, key);
    let mut pods = objects.pods.iter();
    pods.find(|pod| same(pod, "namespace") && same(pod, "name"))
}

fn of_workload(workload: &Value, objects: &Objects) -> Line {
    let pod = pod_of(workload, objects);
    let ready = condition(workload, "Ready").is_some_and(|ready| ready["status"] == "True");
    Line {
        kind: "Workload",
        url: text(&workload["status"]["url"]),
        ready: i64::from(ready),
        replicas: 1,
        restarts: pod.map_or(0, restarts),
        last_error: error_of(workload).or_else(|| crash(pod?)),
        ..named(workload)
    }
}

fn named(object: &Value) -> Line {
    let metadata = &object["metadata"];
    Line {
        namespace: text(&metadata["namespace"]).unwrap_or_default(),
        name: text(&metadata["name"]).unwrap_or_default(),
        kind: "",
        url: None,
        ready: 0,
        replicas: 0,
        restarts: 0,
        last_error: None,
    }
}

/// What an object's conditions complain about: the first that is not as it should be, the summing
/// `Ready` only if none says more.
fn error_of(object: &Value) -> Option<String> {
    let conditions = object["status"]["conditions"].as_array()?;
    let is_bad = |condition: &&Value| match condition["type"].as_str() {
        Some("Degraded") => condition["status"] == "True",
        _ => condition["status"] == "False",
    };
    let mut bad = conditions.iter().filter(is_bad).collect::<Vec<_>>();
    bad.sort_by_key(|condition| condition["type"] == "Ready");
    let worst = bad.first()?;
    let reason = text(&worst["reason"]);
    match (reason, text(&worst["message"])) {
        (Some(reason), Some(message)) => Some(format!("{reason}: {message}")),
        (reason, message) => message.or(reason),
    }
}

fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    let conditions = object["status"]["conditions"].as_array()?;
    conditions
        .iter()
        .find(|condition| condition["type"] == kind)
}

fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    pod["status"]["containerStatuses"]
        .as_array()
        .into_iter()
        .flatten()
}

fn restarts(pod: &Value) -> i64 {
    containers(pod)
        .filter_map(|container| container["restartCount"].as_i64())
        .sum()
}

/// The last time a component failed.
fn crash(pod: &Value) -> Option<String> {
    let of = |container: &Value, state: &str| text(&container[state]["terminated"]["message"]);
    containers(pod).find_map(|c| of(c, "state").or_else(|| of(c, "lastState")))
}

fn is_owned_by(object: &Value, owner: &Value) -> bool {
    let uid = &owner["metadata"]["uid"];
    let owners = object["metadata"]["ownerReferences"].as_array();
    owners.is_some_and(|owners| owners.iter().any(|reference| reference["uid"] == *uid))
}

fn text(value: &Value) -> Option<String> {
    let text = value.as_str().filter(|text| !text.is_empty());
    text.map(Into::into)
}

#[cfg(test)]
mod tests;
