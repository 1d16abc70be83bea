//! `waft apply`

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use serde_json::json;
use waft_api::names::ANNOTATION_CONTENT_DIGEST;
use waft_local::{Manifests, Object, Source};

use crate::{
    advice::Advice,
    connection::{Catalog, Connection, Resource, is_conflict_only_of, is_missing_namespace, query},
    exit::ExitStatus,
    printer::Printer,
};

/// Who owns the fields that are applied here.
const MANAGER: &str = "waft-apply";
/// Longest wait for a kind to be served after its definition was applied.
const PATIENCE: Duration = Duration::from_secs(10);

/// Applies all objects of some manifests, or none: first the server is asked about each, without
/// writing anything.
pub(crate) async fn apply(
    connection: &Connection,
    files: &[String],
    force: bool,
    printer: &Printer,
) -> anyhow::Result<ExitStatus> {
    let manifests = load(files).await?;
    let mut manifests = manifests.each_once(&connection.namespace)?;
    waft_local::stamp(&mut manifests.objects);
    let mut catalog = connection.catalog().await?;
    let defined = defined_kinds(&manifests);
    for object in &manifests.objects {
        let Some(resource) = catalog.of(object.api_version(), object.kind()) else {
            if defined.contains(object.kind()) {
                continue;
            }
            return Err(unknown_kind(object));
        };
        match write(connection, resource, object, force, true).await {
            // The namespace is made below, before what belongs into it.
            Err(error) if is_missing_namespace(&error) => {}
            other => {
                other?;
            }
        }
    }
    for object in &manifests.objects {
        if catalog.of(object.api_version(), object.kind()).is_none() {
            catalog = catalog_with(connection, object).await?;
        }
        let resource = catalog.of(object.api_version(), object.kind());
        let resource = resource.ok_or_else(|| unknown_kind(object))?;
        let mut change = write(connection, resource, object, force, false).await;
        if let Err(error) = &change
            && is_missing_namespace(error)
        {
            create_namespace(connection, &catalog, namespace_of(connection, object)).await?;
            printer.data(format_args!(
                "namespace/{} created",
                namespace_of(connection, object)
            ))?;
            change = write(connection, resource, object, force, false).await;
        }
        let name = format!("{}/{}", resource.full_singular(), object.name());
        printer.data(format_args!("{name} {}", change?))?;
    }
    Ok(ExitStatus::Success)
}

/// Reads manifests as `waft up` does.
pub(super) async fn load(files: &[String]) -> anyhow::Result<Manifests> {
    let sources: Vec<_> = files.iter().map(|file| Source::parse(file)).collect();
    let working_dir = std::env::current_dir()?;
    Ok(waft_local::load(&sources, &working_dir)
        .await?
        .not_empty()?)
}

/// The failure of an object whose kind the server does not have.
pub(super) fn unknown_kind(object: &Object) -> anyhow::Error {
    if let Some(why) = waft_local::not_served_yet(object.api_version(), object.kind()) {
        return anyhow::anyhow!("{}: {why}", object.origin);
    }
    Advice::error(
        format!(
            "{}: the server has no kind `{}` in `{}`",
            object.origin,
            object.kind(),
            object.api_version()
        ),
        "Waft's kinds come to a cluster with `waft crds | waft apply -f -`; others need their \
         CustomResourceDefinition first",
    )
}

/// The namespace an object belongs into.
pub(super) fn namespace_of<'a>(connection: &'a Connection, object: &'a Object) -> &'a str {
    object.namespace().unwrap_or(&connection.namespace)
}

/// Applies one object, or only asks whether that would work. Returns what became of it.
async fn write(
    connection: &Connection,
    resource: &Resource,
    object: &Object,
    force: bool,
    dry_run: bool,
) -> anyhow::Result<&'static str> {
    let path = resource.object(namespace_of(connection, object), object.name());
    let mut pairs = vec![("fieldManager", MANAGER), ("fieldValidation", "Strict")];
    if dry_run {
        pairs.push(("dryRun", "All"));
    }
    let unforced = query(&path, &pairs);
    pairs.push(("force", "true"));
    let forced = query(&path, &pairs);
    let before = match dry_run {
        true => None,
        false => connection.find(&path).await?,
    };
    let mut after = match force {
        true => connection.apply(&forced, &object.value).await,
        false => connection.apply(&unforced, &object.value).await,
    };
    // The digest is of no user's choosing: whoever set it last, it is that of the files as they are.
    if let Err(error) = &after
        && is_conflict_only_of(error, ANNOTATION_CONTENT_DIGEST)
    {
        after = connection.apply(&forced, &object.value).await;
    }
    let after = after.map_err(|error| {
        let (kind, name) = (object.kind(), object.name());
        error.context(format!("{kind}/{name} in {}", object.origin))
    })?;
    Ok(match before {
        None => "created",
        Some(before) => match waft_local::is_same(before, after) {
            true => "unchanged",
            false => "configured",
        },
    })
}

async fn create_namespace(
    connection: &Connection,
    catalog: &Catalog,
    name: &str,
) -> anyhow::Result<()> {
    let resource = catalog.find("namespaces")?;
    let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    connection
        .create(&resource.collection(None), &object)
        .await?;
    Ok(())
}

/// What the server serves once it serves a kind that was defined a moment ago; or what it serves
/// when patience ends.
async fn catalog_with(connection: &Connection, object: &Object) -> anyhow::Result<Catalog> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let catalog = connection.catalog().await?;
        let served = catalog.of(object.api_version(), object.kind()).is_some();
        if served || Instant::now() > deadline {
            return Ok(catalog);
        }
        // Discovery can't be watched.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Kinds that the manifests themselves define.
fn defined_kinds(manifests: &Manifests) -> BTreeSet<String> {
    let definitions = manifests.objects.iter();
    let definitions = definitions.filter(|object| object.kind() == "CustomResourceDefinition");
    let kind = |object: &Object| {
        object.value["spec"]["names"]["kind"]
            .as_str()
            .map(Into::into)
    };
    definitions.filter_map(kind).collect()
}
