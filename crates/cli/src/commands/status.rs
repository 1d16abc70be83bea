//! `waft status`

mod summary;

use std::collections::BTreeMap;

use serde_json::Value;

use self::summary::{Line, Objects, summarize};
use crate::{
    arguments::Report,
    connection::{Catalog, Connection, JSON},
    exit::ExitStatus,
    printer::Printer,
    table::align,
};

/// Prints each workload of all namespaces, or of the one that was named.
pub(crate) async fn status(
    connection: &Connection,
    report: Report,
    printer: &Printer,
) -> anyhow::Result<ExitStatus> {
    let catalog = connection.catalog().await?;
    let objects = Objects {
        triggers: list(connection, &catalog, "httptriggers").await?,
        deployments: list(connection, &catalog, "workloaddeployments").await?,
        sets: list(connection, &catalog, "workloadreplicasets").await?,
        workloads: list(connection, &catalog, "workloads").await?,
        pods: list(connection, &catalog, "pods").await?,
    };
    let lines = summarize(&objects);
    match report {
        Report::Json => printer.data(serde_json::to_string_pretty(&lines)?)?,
        Report::Text if lines.is_empty() => {
            printer.note("no workloads; `waft apply -f MANIFEST` brings some");
        }
        Report::Text => printer.raw(render(&lines))?,
    }
    Ok(ExitStatus::Success)
}

async fn list(
    connection: &Connection,
    catalog: &Catalog,
    kind: &str,
) -> anyhow::Result<Vec<Value>> {
    // A cluster may lack some of the kinds.
    let Ok(resource) = catalog.find(kind) else {
        return Ok(Vec::new());
    };
    let namespace = connection
        .namespace_given
        .then_some(connection.namespace.as_str());
    let mut list = connection
        .get(&resource.collection(namespace), JSON)
        .await?;
    let items = list["items"].as_array_mut().map(std::mem::take);
    Ok(items.unwrap_or_default())
}

fn render(lines: &[Line]) -> String {
    let header = ["WORKLOAD", "URL", "READY", "RESTARTS", "LAST ERROR"];
    let mut rows: Vec<Vec<String>> = vec![header.map(Into::into).into()];
    let dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".into());
    let mut named = BTreeMap::new();
    for line in lines {
        *named.entry((&line.namespace, &line.name)).or_insert(0) += 1;
    }
    rows.extend(lines.iter().map(|line| {
        let name = format!("{}/{}", line.namespace, line.name);
        vec![
            match named.get(&(&line.namespace, &line.name)) {
                Some(2..) => format!("{name} ({})", line.kind),
                _ => name,
            },
            dash(&line.url),
            format!("{}/{}", line.ready, line.replicas),
            line.restarts.to_string(),
            dash(&line.last_error).replace('\n', " "),
        ]
    }));
    align(&rows)
}
