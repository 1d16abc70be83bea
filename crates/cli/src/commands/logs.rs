//! `waft logs`

use std::collections::BTreeSet;

use futures::{AsyncBufReadExt, StreamExt, TryStreamExt, stream};
use serde_json::Value;
use waft_api::names::LABEL_WORKLOAD_DEPLOYMENT;

use crate::{
    advice::Advice,
    arguments::LogsArguments,
    connection::{Catalog, Connection, JSON, Resource, is_bad_request, is_not_found, query},
    exit::ExitStatus,
    printer::Printer,
    text,
};

/// One log: a component of a replica.
#[derive(Debug, Eq, PartialEq)]
struct Log {
    namespace: String,
    pod: String,
    component: String,
}

/// Prints what a workload's components wrote. With several logs, each line says whose it is.
pub(crate) async fn logs(
    connection: &Connection,
    arguments: &LogsArguments,
    printer: &Printer,
) -> anyhow::Result<ExitStatus> {
    let catalog = connection.catalog().await?;
    let pods = pods(connection, &catalog, &arguments.workload).await?;
    let logs = choose(&pods, arguments.component.as_deref(), &arguments.workload)?;
    let several = logs.len() > 1;
    let mut streams = Vec::new();
    let mut refused = Vec::new();
    for log in logs {
        let path = path(&log, arguments);
        let lines = match connection.lines(&path).await {
            Ok(lines) => lines.lines(),
            // The replica went since it was listed.
            Err(error) if several && is_not_found(&error) => continue,
            // It has not started; others may have.
            Err(error) if several && is_bad_request(&error) => {
                refused.push(error);
                continue;
            }
            Err(error) => return Err(error),
        };
        let prefix = match several {
            true => format!("{}/{} ", log.pod, log.component),
            false => String::new(),
        };
        streams.push(lines.map_ok(move |line| (prefix.clone(), line)).boxed());
    }
    if streams.is_empty()
        && let Some(error) = refused.pop()
    {
        return Err(error);
    }
    for error in refused {
        printer.warning(error);
    }
    // Followed logs come as they come; others one after the other, so that each stays whole.
    let mut lines = match arguments.follow {
        true => stream::select_all(streams).boxed(),
        false => stream::iter(streams).flatten().boxed(),
    };
    loop {
        let next = lines.try_next().await;
        match next.map_err(|error| connection.broken_off(&error))? {
            Some((prefix, line)) => printer.guest(&prefix, &line)?,
            None => break,
        }
    }
    Ok(ExitStatus::Success)
}

/// Kinds whose logs can be asked for.
const KINDS: [&str; 5] = [
    "Pod",
    "Workload",
    "WorkloadReplicaSet",
    "WorkloadDeployment",
    "HTTPTrigger",
];

/// What a user asks the logs of.
struct Target<'a> {
    /// The kind, if it was said.
    kind: Option<&'a str>,
    namespace: &'a str,
    name: &'a str,
}

/// Reads NAME, KIND/NAME, or NAMESPACE/NAME as `waft status` prints it.
async fn target<'a>(
    connection: &'a Connection,
    catalog: &'a Catalog,
    workload: &'a str,
) -> anyhow::Result<Target<'a>> {
    let (before, name) = match workload.split_once('/') {
        Some((before, name)) => (Some(before), name),
        None => (None, workload),
    };
    if name.is_empty() {
        return Err(Advice::error(
            format!("`{workload}` names no workload"),
            "`waft status` lists them",
        ));
    }
    let namespace = connection.namespace.as_str();
    let mut target = Target {
        kind: None,
        namespace,
        name,
    };
    let Some(before) = before else {
        return Ok(target);
    };
    // A namespace may be called like any other kind.
    let kind = catalog.find(before).and_then(|resource| {
        let kind = resource.kind.as_str();
        let is_shown = KINDS.contains(&kind).then_some(kind);
        is_shown.ok_or_else(|| {
            Advice::error(
                format!("a {kind} has no logs"),
                format!("those that have some are {}", KINDS.join(", ")),
            )
        })
    });
    match kind {
        Ok(kind) => target.kind = Some(kind),
        Err(unknown) => {
            let path = catalog.find("namespaces")?.object("", before);
            // Not everyone may read namespaces.
            let exists = connection
                .find(&path)
                .await
                .is_ok_and(|found| found.is_some());
            if before != namespace && !exists {
                return Err(unknown);
            }
            target.namespace = before;
        }
    }
    Ok(target)
}

/// The Pods that show a workload: its own, those of a set, of a WorkloadDeployment, or of a
/// trigger's.
async fn pods(
    connection: &Connection,
    catalog: &Catalog,
    workload: &str,
) -> anyhow::Result<Vec<Value>> {
    let Target {
        kind,
        namespace,
        name,
    } = target(connection, catalog, workload).await?;
    let is = |wanted: &str| kind.is_none_or(|kind| kind == wanted);
    let pods = catalog.find("pods")?;
    let mut found = Vec::new();
    if is("Workload") || is("Pod") {
        // A replica is shown by a Pod of its name.
        let pod = connection.find(&pods.object(namespace, name)).await?;
        found.extend(pod.map(|pod| ("workload", pod)));
    }
    let mut deployments = Vec::new();
    if is("WorkloadDeployment") {
        deployments.push(("workloaddeployment", name.to_owned()));
    }
    if is("HTTPTrigger") {
        let resource = catalog.find("workloaddeployments")?;
        let of_trigger = owned_by(connection, resource, namespace, "HTTPTrigger", name).await?;
        let others = of_trigger.into_iter();
        let others = others.filter(|owned| owned != name || kind.is_some());
        deployments.extend(others.map(|owned| ("httptrigger", owned)));
    }
    for (of, deployment) in &deployments {
        let selector = format!("{LABEL_WORKLOAD_DEPLOYMENT}={deployment}");
        let path = pods.collection(Some(namespace));
        let path = query(&path, &[("labelSelector", selector.as_str())]);
        let shown = items(connection, &path).await?;
        found.extend(shown.into_iter().map(|pod| (*of, pod)));
    }
    if is("WorkloadReplicaSet") {
        let resource = catalog.find("workloads")?;
        let of_set = owned_by(connection, resource, namespace, "WorkloadReplicaSet", name).await?;
        for workload in of_set {
            let pod = connection.find(&pods.object(namespace, &workload)).await?;
            found.extend(pod.map(|pod| ("workloadreplicaset", pod)));
        }
    }
    let meant: BTreeSet<_> = found.iter().map(|(of, _)| format!("{of}/{name}")).collect();
    if meant.len() > 1 {
        return Err(Advice::error(
            format!("`{name}` is the name of several workloads"),
            format!(
                "say which: {}",
                text::quoted(meant.iter().map(String::as_str))
            ),
        ));
    }
    if !found.is_empty() {
        return Ok(found.into_iter().map(|(_, pod)| pod).collect());
    }
    Err(Advice::error(
        format!("no replica of `{name}` runs in namespace `{namespace}`"),
        "`waft status` lists the workloads of all namespaces and what keeps them from running",
    ))
}

/// The names of a namespace's objects that belong to one.
async fn owned_by(
    connection: &Connection,
    resource: &Resource,
    namespace: &str,
    kind: &str,
    name: &str,
) -> anyhow::Result<Vec<String>> {
    let all = items(connection, &resource.collection(Some(namespace))).await?;
    let owned = all.iter().filter(|object| is_owned_by(object, kind, name));
    let names = owned.filter_map(|object| object["metadata"]["name"].as_str());
    Ok(names.map(Into::into).collect())
}

async fn items(connection: &Connection, path: &str) -> anyhow::Result<Vec<Value>> {
    let mut list = connection.get(path, JSON).await?;
    let items = list["items"].as_array_mut().map(std::mem::take);
    Ok(items.unwrap_or_default())
}

fn is_owned_by(object: &Value, kind: &str, name: &str) -> bool {
    let owners = object["metadata"]["ownerReferences"].as_array();
    let is = |owner: &Value| owner["kind"] == kind && owner["name"] == name;
    owners.is_some_and(|owners| owners.iter().any(is))
}

/// The logs of some Pods, or of one component of each.
fn choose(pods: &[Value], component: Option<&str>, workload: &str) -> anyhow::Result<Vec<Log>> {
    let mut logs = Vec::new();
    let mut components = Vec::new();
    for pod in pods {
        let name = text_of(&pod["metadata"]["name"]);
        let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
        for container in containers.filter_map(|container| container["name"].as_str()) {
            if !components.contains(&container) {
                components.push(container);
            }
            if component.is_none_or(|component| component == container) {
                logs.push(Log {
                    namespace: text_of(&pod["metadata"]["namespace"]),
                    pod: name.clone(),
                    component: container.into(),
                });
            }
        }
    }
    if logs.is_empty() {
        let component = component.unwrap_or_default();
        return Err(Advice::error(
            format!("`{workload}` has no component `{component}`"),
            format!("it has {}", text::quoted(components)),
        ));
    }
    Ok(logs)
}

fn text_of(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn path(log: &Log, arguments: &LogsArguments) -> String {
    let tail = arguments.tail.map(|lines| lines.to_string());
    // Whole seconds are all that the API takes; rounded up, nothing asked for is left out.
    let since = arguments
        .since
        .map(|since| since.as_millis().div_ceil(1000).max(1).to_string());
    let flag = |set: bool| set.then(|| "true".to_owned());
    let pairs = [
        ("container", Some(log.component.clone())),
        ("follow", flag(arguments.follow)),
        ("timestamps", flag(arguments.timestamps)),
        ("tailLines", tail),
        ("sinceSeconds", since),
    ];
    let pairs = pairs
        .iter()
        .filter_map(|(key, value)| Some((*key, value.as_deref()?)));
    let pairs: Vec<_> = pairs.collect();
    let Log { namespace, pod, .. } = log;
    query(
        &format!("/api/v1/namespaces/{namespace}/pods/{pod}/log"),
        &pairs,
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn logs_are_chosen_by_component() {
        let pod = |name: &str| {
            let containers = json!([{"name": "web"}, {"name": "worker"}]);
            json!({"metadata": {"name": name}, "spec": {"containers": containers}})
        };
        let pods = [pod("a"), pod("b")];
        assert_eq!(choose(&pods, None, "w").unwrap().len(), 4);
        let web = choose(&pods, Some("web"), "w").unwrap();
        assert!(web.len() == 2 && web.iter().all(|log| log.component == "web"));
        let error = choose(&pods, Some("db"), "w").unwrap_err();
        let hint = crate::advice::hint(&error).unwrap();
        assert_eq!(hint, "it has `web`, `worker`");
    }
}
