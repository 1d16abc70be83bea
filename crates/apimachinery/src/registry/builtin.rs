//! The built-in kinds: what `tests/env/dump-openapi` took from a real server, and `kinds.json`,
//! which says what no document of that server does.

use std::collections::BTreeMap;
use std::sync::{LazyLock, OnceLock};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::resource::{
    Column, Conversion, Names, Resource, Scale, SchemaSource, Selectable, Verb, When, WriteRules,
};
use crate::schema::Schema;
use crate::status::FieldError;
use crate::table::Cell;

const KINDS: &str = include_str!("../../data/kinds.json");
const DISCOVERY: &str = include_str!("../../data/dump/discovery.json");
const COLUMNS: &str = include_str!("../../data/dump/columns.json");
const SCHEMAS: &str = include_str!("../../data/dump/schemas.json");

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Kind {
    group: String,
    version: String,
    resource: String,
    #[serde(default)]
    names: NamesText,
    #[serde(default)]
    review: bool,
    #[serde(default)]
    generation: bool,
    #[serde(default)]
    annotations_bump_generation: bool,
    #[serde(default)]
    update_unconditionally: bool,
    #[serde(default)]
    create_on_update: bool,
    #[serde(default)]
    returns_deleted: bool,
    #[serde(default)]
    keeps_status_on_create: bool,
    #[serde(default)]
    status_metadata: bool,
    ttl_seconds: Option<u32>,
    #[serde(default)]
    selectable: Vec<String>,
    #[serde(default)]
    defaults: BTreeMap<String, Value>,
    #[serde(default)]
    on_create: BTreeMap<String, Value>,
    #[serde(default)]
    when: Vec<When>,
    #[serde(default)]
    when_created: Vec<When>,
    #[serde(default)]
    kept: Vec<String>,
    #[serde(default)]
    keys: Vec<String>,
    #[serde(default)]
    immutable: Vec<String>,
    #[serde(default)]
    copies: BTreeMap<String, String>,
    #[serde(default)]
    write_only: BTreeMap<String, String>,
    storage: Option<String>,
    #[serde(default)]
    conversion: ConversionText,
    scale: Option<ScaleText>,
    cells: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
enum NamesText {
    #[default]
    Subdomain,
    Label,
    Service,
    Path,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
enum ConversionText {
    #[default]
    None,
    Events,
}

#[derive(Deserialize)]
struct ScaleText {
    spec: String,
    status: String,
    selector: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Discovered {
    group: String,
    version: String,
    resource: String,
    response_kind: ResponseKind,
    scope: String,
    singular_resource: String,
    verbs: Vec<String>,
    #[serde(default)]
    short_names: Vec<String>,
    #[serde(default)]
    categories: Vec<String>,
    #[serde(default)]
    subresources: Vec<Value>,
}

#[derive(Deserialize)]
struct ResponseKind {
    kind: String,
}

#[derive(Deserialize)]
struct Columns {
    group: String,
    version: String,
    resource: String,
    columns: Vec<Value>,
}

/// Subresources that are served; the others of the real server are left out of discovery.
const SUBRESOURCES: [&str; 9] = [
    "status",
    "scale",
    "finalize",
    "log",
    "portforward",
    "exec",
    "attach",
    "eviction",
    "token",
];

/// The component schemas of all built-in kinds, by name.
pub fn schemas() -> &'static Map<String, Value> {
    static PARSED: LazyLock<Map<String, Value>> =
        LazyLock::new(|| serde_json::from_str(SCHEMAS).expect("the committed schemas are JSON"));
    &PARSED
}

pub(super) fn compile(name: &str) -> Result<Schema, Vec<FieldError>> {
    let Some(schema) = schemas().get(name) else {
        return Ok(Schema::untyped());
    };
    Schema::compile(schema, &|reference| {
        schemas()
            .get(reference.strip_prefix("#/components/schemas/")?)
            .cloned()
    })
}

pub(super) fn resources() -> Vec<Resource> {
    let kinds: Vec<Kind> = serde_json::from_str(KINDS).expect("the committed kinds are JSON");
    let discovered: Vec<Discovered> =
        serde_json::from_str(DISCOVERY).expect("the committed discovery is JSON");
    let columns: Vec<Columns> =
        serde_json::from_str(COLUMNS).expect("the committed columns are JSON");
    kinds
        .into_iter()
        .filter_map(|kind| {
            let same = |group: &str, version: &str, resource: &str| {
                (group, version, resource) == (&*kind.group, &*kind.version, &*kind.resource)
            };
            let found = discovered
                .iter()
                .find(|d| same(&d.group, &d.version, &d.resource))?;
            let definitions = columns
                .iter()
                .find(|c| same(&c.group, &c.version, &c.resource));
            let definitions = definitions.map_or(&[][..], |c| &c.columns);
            Some(resource(&kind, found, definitions))
        })
        .collect()
}

fn resource(kind: &Kind, found: &Discovered, definitions: &[Value]) -> Resource {
    let subresources: Vec<Value> = found
        .subresources
        .iter()
        .filter(|sub| {
            sub["subresource"]
                .as_str()
                .is_some_and(|name| SUBRESOURCES.contains(&name))
        })
        .cloned()
        .collect();
    let storage = kind
        .storage
        .clone()
        .unwrap_or_else(|| format!("{}/{}", kind.group, kind.resource));
    let api_version = match kind.group.is_empty() || kind.storage.is_some() {
        true => kind.version.clone(),
        false => format!("{}/{}", kind.group, kind.version),
    };
    Resource {
        group: kind.group.clone(),
        version: kind.version.clone(),
        kind: found.response_kind.kind.clone(),
        list_kind: format!("{}List", found.response_kind.kind),
        plural: kind.resource.clone(),
        singular: found.singular_resource.clone(),
        short_names: found.short_names.clone(),
        categories: found.categories.clone(),
        namespaced: found.scope == "Namespaced",
        verbs: Verb::ALL
            .into_iter()
            .filter(|verb| found.verbs.iter().any(|name| name == verb.as_str()))
            .collect(),
        builtin: true,
        review: kind.review,
        status: subresources
            .iter()
            .any(|sub| sub["subresource"] == "status"),
        subresources,
        scale: kind.scale.as_ref().map(|scale| Scale {
            spec: scale.spec.clone(),
            status: scale.status.clone(),
            selector: scale.selector.clone(),
        }),
        storage: storage.into(),
        storage_api_version: api_version,
        conversion: match kind.conversion {
            ConversionText::None => Conversion::None,
            ConversionText::Events => Conversion::Events,
        },
        names: match kind.names {
            NamesText::Subdomain => Names::Subdomain,
            NamesText::Label => Names::Label,
            NamesText::Service => Names::Service,
            NamesText::Path => Names::Path,
        },
        selectable: kind
            .selectable
            .iter()
            .map(|path| Selectable { path: path.clone() })
            .collect(),
        columns: definitions
            .iter()
            .zip(&kind.cells)
            .map(|(definition, cell)| Column {
                definition: definition.clone(),
                cell: Cell::parse(cell),
            })
            .collect(),
        rules: WriteRules {
            generation: kind.generation,
            annotations_bump_generation: kind.annotations_bump_generation,
            update_unconditionally: kind.update_unconditionally,
            create_on_update: kind.create_on_update,
            returns_deleted: kind.returns_deleted,
            keeps_status_on_create: kind.keeps_status_on_create,
            status_metadata: kind.status_metadata,
            ttl_seconds: kind.ttl_seconds,
            defaults: kind.defaults.clone(),
            on_create: kind.on_create.clone(),
            when: kind.when.clone(),
            when_created: kind.when_created.clone(),
            kept: kind.kept.clone(),
            keys: kind.keys.clone(),
            immutable: kind.immutable.clone(),
            copies: kind.copies.clone(),
            write_only: kind.write_only.clone(),
        },
        deprecation: None,
        source: SchemaSource::Builtin(component(kind, &found.response_kind.kind)),
        schema: OnceLock::new(),
    }
}

/// The component that describes a kind, by the group, version and kind it claims.
fn component(kind: &Kind, name: &str) -> String {
    schemas()
        .iter()
        .find(|(_, schema)| {
            schema["x-kubernetes-group-version-kind"]
                .as_array()
                .into_iter()
                .flatten()
                .any(|gvk| {
                    gvk["group"] == *kind.group
                        && gvk["version"] == *kind.version
                        && gvk["kind"] == name
                })
        })
        .map(|(component, _)| component.clone())
        .unwrap_or_default()
}
