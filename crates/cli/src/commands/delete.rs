//! `waft delete`

use std::{collections::BTreeSet, time::Duration};

use futures::{AsyncBufReadExt, TryStreamExt};
use serde_json::Value;

use super::apply::{load, namespace_of, unknown_kind};
use crate::{
    advice::Advice,
    connection::{Connection, Resource, query},
    exit::ExitStatus,
    printer::Printer,
    text,
};

/// Longest wait for one object to go. Workloads finish their requests first.
const PATIENCE: Duration = Duration::from_secs(60);

/// How objects are deleted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    /// Whether to wait until they are gone.
    pub(crate) wait: bool,
    /// Whether an object that is not there is fine.
    pub(crate) ignore_not_found: bool,
}

/// Deletes all objects of some manifests, in the opposite order of `waft apply`.
pub(crate) async fn delete(
    connection: &Connection,
    files: &[String],
    options: Options,
    printer: &Printer,
) -> anyhow::Result<ExitStatus> {
    let manifests = load(files).await?;
    let catalog = connection.catalog().await?;
    let mut known = BTreeSet::new();
    let mut doomed = Vec::new();
    let mut absent = Vec::new();
    for object in manifests.objects.iter().rev() {
        let resource = catalog.of(object.api_version(), object.kind());
        let resource = resource.ok_or_else(|| unknown_kind(object))?;
        let namespace = namespace_of(connection, object);
        let path = resource.object(namespace, object.name());
        // What is named twice goes once.
        if !known.insert(path.clone()) {
            continue;
        }
        let name = format!("{}/{}", resource.full_singular(), object.name());
        let uid = connection.find(&path).await?.map(|found| uid(&found));
        match uid {
            Some(uid) if connection.delete(&path).await? => {
                printer.data(format_args!("{name} deleted"))?;
                doomed.push((resource, namespace, object.name(), uid));
            }
            _ => absent.push(name),
        }
    }
    doomed.retain(|_| options.wait);
    for (resource, namespace, name, uid) in doomed {
        let gone = gone(connection, resource, namespace, name, &uid);
        match tokio::time::timeout(PATIENCE, gone).await {
            Ok(result) => result?,
            Err(_) => {
                return Err(Advice::error(
                    format!("{}/{name} is still there", resource.full_singular()),
                    format!(
                        "`waft describe {}/{name}` says what holds it",
                        resource.name
                    ),
                ));
            }
        }
    }
    match absent.is_empty() || options.ignore_not_found {
        true => Ok(ExitStatus::Success),
        false => Err(Advice::error(
            format!(
                "not there: {}",
                text::quoted(absent.iter().map(String::as_str))
            ),
            "with `--ignore-not-found` this is no error",
        )),
    }
}

/// Waits until an object is gone, or another has taken its name.
async fn gone(
    connection: &Connection,
    resource: &Resource,
    namespace: &str,
    name: &str,
    doomed: &Value,
) -> anyhow::Result<()> {
    let object = resource.object(namespace, name);
    loop {
        match connection.find(&object).await? {
            Some(found) if uid(&found) == *doomed => {
                let version = found["metadata"]["resourceVersion"].as_str();
                let field = format!("metadata.name={name}");
                let pairs = [
                    ("watch", "true"),
                    ("fieldSelector", field.as_str()),
                    ("resourceVersion", version.unwrap_or_default()),
                ];
                let watch = query(&resource.collection(Some(namespace)), &pairs);
                let mut lines = connection.lines(&watch).await?.lines();
                // The next change is reason enough to look again; so is the end of the watch.
                let next = lines.try_next().await;
                next.map_err(|error| connection.broken_off(&error))?;
            }
            _ => return Ok(()),
        }
    }
}

fn uid(object: &Value) -> Value {
    object["metadata"]["uid"].clone()
}
