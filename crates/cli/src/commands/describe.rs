//! `waft describe`

use std::fmt::Write;

use serde_json::Value;

use super::selection::select;
use crate::{
    connection::{Connection, JSON, query},
    exit::ExitStatus,
    printer::Printer,
    table::align,
};

/// Prints objects for people to read: metadata, spec, status with its conditions, events.
pub(crate) async fn describe(
    connection: &Connection,
    kind: &str,
    names: &[String],
    printer: &Printer,
) -> anyhow::Result<ExitStatus> {
    let catalog = connection.catalog().await?;
    let mut first = true;
    for selection in select(&catalog, kind, names)? {
        let resource = selection.resource;
        let mut objects = Vec::new();
        if selection.names.is_empty() {
            let path = resource.collection(Some(&connection.namespace));
            let mut list = connection.get(&path, JSON).await?;
            let items = list["items"].as_array_mut().map(std::mem::take);
            objects.extend(items.unwrap_or_default());
        }
        for name in &selection.names {
            let path = resource.object(&connection.namespace, name);
            objects.push(connection.get(&path, JSON).await?);
        }
        for object in objects {
            let events = events(connection, &object).await?;
            let gap = if std::mem::take(&mut first) {
                ""
            } else {
                "\n\n"
            };
            printer.raw(format_args!(
                "{gap}{}",
                render(&object, &resource.kind, &events)?
            ))?;
        }
    }
    Ok(ExitStatus::Success)
}

/// The events about an object, oldest first.
async fn events(connection: &Connection, object: &Value) -> anyhow::Result<Vec<Value>> {
    let metadata = &object["metadata"];
    let (Some(uid), namespace) = (metadata["uid"].as_str(), metadata["namespace"].as_str()) else {
        return Ok(Vec::new());
    };
    let namespace = namespace.unwrap_or("default");
    let path = format!("/api/v1/namespaces/{namespace}/events");
    let about = format!("involvedObject.uid={uid}");
    let path = query(&path, &[("fieldSelector", about.as_str())]);
    let mut list = connection.get(&path, JSON).await?;
    let items = list["items"].as_array_mut().map(std::mem::take);
    let mut events = items.unwrap_or_default();
    events.sort_by_key(|event| time_of(event).to_owned());
    Ok(events)
}

fn time_of(event: &Value) -> &str {
    let times = ["lastTimestamp", "eventTime", "firstTimestamp"];
    let time = times.iter().find_map(|field| event[*field].as_str());
    time.or_else(|| event["metadata"]["creationTimestamp"].as_str())
        .unwrap_or_default()
}

fn render(object: &Value, kind: &str, events: &[Value]) -> anyhow::Result<String> {
    let metadata = &object["metadata"];
    let mut head = Vec::new();
    let mut row = |name: &str, value: String| {
        if !value.is_empty() {
            head.push(vec![format!("{name}:"), value]);
        }
    };
    let string = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    row("Name", string(&metadata["name"]));
    row("Namespace", string(&metadata["namespace"]));
    row("Kind", kind.into());
    row("Labels", pairs(&metadata["labels"]));
    row("Annotations", pairs(&metadata["annotations"]));
    row("Owner", owners(&metadata["ownerReferences"]));
    row("Created", string(&metadata["creationTimestamp"]));
    row("Deleted", string(&metadata["deletionTimestamp"]));
    let mut text = align(&head);
    let Some(fields) = object.as_object() else {
        return Ok(text);
    };
    for (name, value) in fields {
        if matches!(name.as_str(), "apiVersion" | "kind" | "metadata") {
            continue;
        }
        let mut value = value.clone();
        let conditions = match name == "status" {
            true => value
                .as_object_mut()
                .and_then(|status| status.remove("conditions")),
            false => None,
        };
        if value.as_object().is_none_or(|fields| !fields.is_empty()) {
            write!(
                text,
                "{}:\n{}",
                title(name),
                indent(&serde_saphyr::to_string(&value)?)
            )?;
        }
        if let Some(Value::Array(conditions)) = conditions {
            write!(
                text,
                "Conditions:\n{}",
                indent(&render_conditions(&conditions))
            )?;
        }
    }
    match events.is_empty() {
        true => text.push_str("Events: none\n"),
        false => write!(text, "Events:\n{}", indent(&render_events(events)))?,
    }
    Ok(text)
}

fn render_conditions(conditions: &[Value]) -> String {
    let fields = ["type", "status", "reason", "lastTransitionTime", "message"];
    let header = ["TYPE", "STATUS", "REASON", "SINCE", "MESSAGE"];
    rows(&header, conditions, |condition| {
        fields
            .map(|field| condition[field].as_str().unwrap_or_default().into())
            .into()
    })
}

fn render_events(events: &[Value]) -> String {
    let header = ["LAST SEEN", "TYPE", "REASON", "COUNT", "MESSAGE"];
    rows(&header, events, |event| {
        let text = |field: &str| event[field].as_str().unwrap_or_default().to_owned();
        let count = event["count"].as_u64().unwrap_or(1).to_string();
        vec![
            time_of(event).into(),
            text("type"),
            text("reason"),
            count,
            text("message"),
        ]
    })
}

fn rows(header: &[&str], values: &[Value], row: impl Fn(&Value) -> Vec<String>) -> String {
    let mut lines = vec![header.iter().map(|name| (*name).into()).collect()];
    lines.extend(values.iter().map(row));
    align(&lines)
}

fn pairs(map: &Value) -> String {
    let one =
        |(key, value): (&String, &Value)| format!("{key}={}", value.as_str().unwrap_or_default());
    let all: Option<Vec<_>> = map.as_object().map(|map| map.iter().map(one).collect());
    all.unwrap_or_default().join(", ")
}

fn owners(list: &Value) -> String {
    let name = |owner: &Value| {
        let text = |field: &str| owner[field].as_str().unwrap_or_default().to_owned();
        format!("{}/{}", text("kind"), text("name"))
    };
    let all: Option<Vec<_>> = list.as_array().map(|list| list.iter().map(name).collect());
    all.unwrap_or_default().join(", ")
}

fn title(field: &str) -> String {
    let mut characters = field.chars();
    let first = characters.next().map(|c| c.to_uppercase().to_string());
    first.unwrap_or_default() + characters.as_str()
}

fn indent(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_object_is_shown_in_full() {
        let object = json!({
            "apiVersion": "v1",
            "kind": "Workload",
            "metadata": {
                "name": "hello", "namespace": "default", "labels": {"a": "b", "c": "d"},
                "ownerReferences": [{"kind": "Deployment", "name": "x"}],
                "managedFields": [{"manager": "m"}],
            },
            "spec": {"replicas": 1},
            "status": {"conditions": [
                {"type": "Ready", "status": "False", "reason": "NoMatchingHost", "message": "none"},
            ]},
        });
        let event = json!({"type": "Warning", "reason": "Why", "message": "because", "count": 3});
        let text = render(&object, "Workload", &[event]).unwrap();
        let expected = "\
Name:        hello
Namespace:   default
Kind:        Workload
Labels:      a=b, c=d
Owner:       Deployment/x
Spec:
  replicas: 1
Conditions:
  TYPE    STATUS   REASON           SINCE   MESSAGE
  Ready   False    NoMatchingHost           none
Events:
  LAST SEEN   TYPE      REASON   COUNT   MESSAGE
              Warning   Why      3       because
";
        assert_eq!(text, expected);
    }
}
