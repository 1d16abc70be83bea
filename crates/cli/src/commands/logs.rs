//! `waft logs`

use futures::{AsyncBufReadExt, StreamExt, TryStreamExt, stream};
use serde_json::Value;
use waft_api::names::LABEL_WORKLOAD_DEPLOYMENT;

use crate::{
    advice::Advice,
    arguments::LogsArguments,
    connection::{Catalog, Connection, JSON, is_not_found, query},
    exit::ExitStatus,
    printer::Printer,
    text,
};

/// One log: a component of a replica.
#[derive(Debug, Eq, PartialEq)]
struct Log {
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
    for log in logs {
        let path = path(connection, &log, arguments);
        let lines = match connection.lines(&path).await {
            Ok(lines) => lines.lines(),
            // The replica went since it was listed.
            Err(error) if several && is_not_found(&error) => continue,
            Err(error) => return Err(error),
        };
        let prefix = match several {
            true => format!("{}/{} ", log.pod, log.component),
            false => String::new(),
        };
        streams.push(lines.map_ok(move |line| (prefix.clone(), line)).boxed());
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

/// The Pods that show a workload: its own, those of a WorkloadDeployment, those of a trigger's.
async fn pods(
    connection: &Connection,
    catalog: &Catalog,
    workload: &str,
) -> anyhow::Result<Vec<Value>> {
    let namespace = connection.namespace.as_str();
    let (kind, name) = match workload.split_once('/') {
        Some((kind, name)) => (Some(catalog.find(kind)?.kind.as_str()), name),
        None => (None, workload),
    };
    let is = |wanted: &str| kind.is_none_or(|kind| kind == wanted);
    let pods = catalog.find("pods")?;
    if is("Workload") || is("Pod") {
        // A replica is shown by a Pod of its name.
        if let Some(pod) = connection.find(&pods.object(namespace, name)).await? {
            return Ok(vec![pod]);
        }
    }
    let mut deployments = Vec::new();
    let resource = catalog.find("workloaddeployments")?;
    if is("WorkloadDeployment") {
        deployments.push(name.to_owned());
    }
    if is("HTTPTrigger") {
        let list = connection
            .get(&resource.collection(Some(namespace)), JSON)
            .await?;
        let items = list["items"].as_array().into_iter().flatten();
        let owned = items.filter(|item| is_owned_by(item, "HTTPTrigger", name));
        let names = owned.filter_map(|item| item["metadata"]["name"].as_str());
        deployments.extend(
            names
                .map(str::to_owned)
                .filter(|owned| owned != name || kind.is_some()),
        );
    }
    let mut found = Vec::new();
    for deployment in &deployments {
        let selector = format!("{LABEL_WORKLOAD_DEPLOYMENT}={deployment}");
        let path = pods.collection(Some(namespace));
        let path = query(&path, &[("labelSelector", selector.as_str())]);
        let mut list = connection.get(&path, JSON).await?;
        let items = list["items"].as_array_mut().map(std::mem::take);
        found.extend(items.unwrap_or_default());
    }
    if !found.is_empty() {
        return Ok(found);
    }
    Err(Advice::error(
        format!("no replica of `{workload}` runs in namespace `{namespace}`"),
        "`waft status` lists the workloads of all namespaces and what keeps them from running",
    ))
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
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
        for container in containers.filter_map(|container| container["name"].as_str()) {
            if !components.contains(&container) {
                components.push(container);
            }
            if component.is_none_or(|component| component == container) {
                logs.push(Log {
                    pod: name.into(),
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

fn path(connection: &Connection, log: &Log, arguments: &LogsArguments) -> String {
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
    let namespace = &connection.namespace;
    query(
        &format!("/api/v1/namespaces/{namespace}/pods/{}/log", log.pod),
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
