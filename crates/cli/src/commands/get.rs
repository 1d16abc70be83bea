//! `waft get`

use serde_json::{Value, json};

use super::selection::{Selection, select};
use crate::{
    advice::Advice,
    arguments::{GetArguments, GetOutput},
    connection::{Connection, JSON, TABLE, is_not_found, query},
    exit::ExitStatus,
    printer::Printer,
    table::{ServerTable, View},
};

/// Prints objects as a table, or whole.
pub(crate) async fn get(
    connection: &Connection,
    arguments: &GetArguments,
    printer: &Printer,
) -> anyhow::Result<ExitStatus> {
    let catalog = connection.catalog().await?;
    let selections = select(&catalog, &arguments.kind, &arguments.names)?;
    if arguments.all_namespaces && !arguments.names.is_empty() {
        return Err(Advice::error(
            "an object can't be named across all namespaces",
            "name its namespace with `-n`",
        ));
    }
    match arguments.output {
        None | Some(GetOutput::Wide) => {
            tables(connection, arguments, &selections, printer).await?;
        }
        Some(output) => {
            let single = match &selections[..] {
                [only] => only.names.len() == 1,
                _ => false,
            };
            let mut objects = Vec::new();
            for selection in &selections {
                objects.extend(whole(connection, arguments, selection).await?);
            }
            print(objects, single, output, printer)?;
        }
    }
    Ok(ExitStatus::Success)
}

/// Paths of a selection: one for all objects, or one for each name.
fn paths(
    connection: &Connection,
    arguments: &GetArguments,
    selection: &Selection<'_>,
) -> Vec<String> {
    let resource = selection.resource;
    if !selection.names.is_empty() {
        let object = |name: &String| resource.object(&connection.namespace, name);
        return selection.names.iter().map(object).collect();
    }
    let namespace = (!arguments.all_namespaces).then_some(connection.namespace.as_str());
    let selector = arguments.selector.as_deref();
    let pairs: Vec<_> = selector
        .map(|text| ("labelSelector", text))
        .into_iter()
        .collect();
    vec![query(&resource.collection(namespace), &pairs)]
}

async fn tables(
    connection: &Connection,
    arguments: &GetArguments,
    selections: &[Selection<'_>],
    printer: &Printer,
) -> anyhow::Result<()> {
    let several = selections.len() > 1;
    let mut first = true;
    for selection in selections {
        let mut whole: Option<ServerTable> = None;
        for path in paths(connection, arguments, selection) {
            let answer = connection.get(&path, TABLE).await;
            let answer = answer.map_err(|error| missing(error, selection))?;
            let table: ServerTable = serde_json::from_value(answer)?;
            match &mut whole {
                Some(whole) => whole.rows.extend(table.rows),
                None => whole = Some(table),
            }
        }
        let resource = selection.resource;
        let Some(table) = whole.filter(|table| !table.rows.is_empty()) else {
            if !several {
                let place = match resource.namespaced && !arguments.all_namespaces {
                    true => format!(" in namespace `{}`", connection.namespace),
                    false => String::new(),
                };
                printer.note(format_args!("no {}{place}", resource.name));
            }
            continue;
        };
        let prefix = resource.full_singular();
        let view = View {
            wide: arguments.output == Some(GetOutput::Wide),
            namespace: arguments.all_namespaces && resource.namespaced,
            prefix: several.then_some(prefix.as_str()),
        };
        let gap = if std::mem::take(&mut first) { "" } else { "\n" };
        printer.raw(format_args!("{gap}{}", table.render(view)))?;
    }
    Ok(())
}

/// The objects of a selection, complete.
async fn whole(
    connection: &Connection,
    arguments: &GetArguments,
    selection: &Selection<'_>,
) -> anyhow::Result<Vec<Value>> {
    let resource = selection.resource;
    let mut objects = Vec::new();
    for path in paths(connection, arguments, selection) {
        let answer = connection.get(&path, JSON).await;
        let mut answer = answer.map_err(|error| missing(error, selection))?;
        if !selection.names.is_empty() {
            objects.push(answer);
            continue;
        }
        // The items of a list don't repeat what they are.
        let api_version = answer["apiVersion"].clone();
        for item in answer["items"].as_array_mut().into_iter().flatten() {
            let mut object = json!({"apiVersion": api_version, "kind": resource.kind});
            if let (Some(object), Some(item)) = (object.as_object_mut(), item.as_object_mut()) {
                object.append(item);
            }
            objects.push(object);
        }
    }
    Ok(objects)
}

fn print(
    mut objects: Vec<Value>,
    single: bool,
    output: GetOutput,
    printer: &Printer,
) -> anyhow::Result<()> {
    if output == GetOutput::Name {
        for object in &objects {
            let kind = object["kind"].as_str().unwrap_or_default().to_lowercase();
            let group = object["apiVersion"]
                .as_str()
                .and_then(|text| text.split_once('/'));
            let group = group
                .map(|(group, _)| format!(".{group}"))
                .unwrap_or_default();
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            printer.data(format_args!("{kind}{group}/{name}"))?;
        }
        return Ok(());
    }
    let document = match (single, objects.pop()) {
        (true, Some(only)) => only,
        (_, last) => {
            objects.extend(last);
            json!({"apiVersion": "v1", "kind": "List", "items": objects})
        }
    };
    match output {
        GetOutput::Json => printer.data(serde_json::to_string_pretty(&document)?)?,
        _ => printer.raw(serde_saphyr::to_string(&document)?)?,
    }
    Ok(())
}

/// An object that is not there, with the way to those that are.
fn missing(error: anyhow::Error, selection: &Selection<'_>) -> anyhow::Error {
    if selection.names.is_empty() || !is_not_found(&error) {
        return error;
    }
    let hint = format!(
        "`waft get {} -A` lists those that are there",
        selection.resource.name
    );
    Advice::error(error.to_string(), hint)
}
