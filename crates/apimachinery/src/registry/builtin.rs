//! The built-in kinds: what `tests/env/dump-openapi` took from a real server, and `kinds.json`,
//! which says what no document of that server does.

use std::collections::{BTreeMap, HashMap};
use std::sync::{LazyLock, Mutex, OnceLock, PoisonError};

use serde::Deserialize;
use serde_json::{Map, Value, json};

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
    graceful: bool,
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
    #[serde(default)]
    kept_status: Vec<String>,
    #[serde(default)]
    fills: Vec<(String, String)>,
    deprecation: Option<String>,
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

/// The component that describes a built-in kind, served or not.
pub fn kind_component(group: &str, version: &str, kind: &str) -> Option<&'static str> {
    type Kinds = HashMap<(String, String, String), &'static str>;
    static KNOWN: LazyLock<Kinds> = LazyLock::new(|| {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let entries = schemas().iter().flat_map(|(component, schema)| {
            let claims = schema["x-kubernetes-group-version-kind"].as_array();
            claims.into_iter().flatten().map(move |of| {
                let key = (text(&of["group"]), text(&of["version"]), text(&of["kind"]));
                (key, component.as_str())
            })
        });
        entries.collect()
    });
    KNOWN
        .get(&(group.to_owned(), version.to_owned(), kind.to_owned()))
        .copied()
}

/// The schema of a component; compiled at the first call.
pub fn component_schema(name: &'static str) -> Schema {
    static COMPILED: LazyLock<Mutex<HashMap<&'static str, Schema>>> = LazyLock::new(Mutex::default);
    let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    // Components are the committed ones, and a test compiles them.
    let schema = compiled
        .entry(name)
        .or_insert_with(|| compile(name).unwrap_or_else(|_| Schema::untyped()));
    schema.clone()
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

static DISCOVERED: LazyLock<Vec<Discovered>> =
    LazyLock::new(|| serde_json::from_str(DISCOVERY).expect("the committed discovery is JSON"));

/// The place of a group among the others: the real server's for built-in ones, then all others.
pub(super) fn rank(group: &str) -> usize {
    let place = DISCOVERED.iter().position(|found| found.group == group);
    place.unwrap_or(usize::MAX)
}

pub(super) fn resources() -> Vec<Resource> {
    let kinds: Vec<Kind> = serde_json::from_str(KINDS).expect("the committed kinds are JSON");
    let discovered = &*DISCOVERED;
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
            .map(|written| match written.split_once('=') {
                Some((name, path)) => Selectable {
                    path: name.to_owned(),
                    at: path.to_owned(),
                },
                None => Selectable {
                    path: written.clone(),
                    at: written.clone(),
                },
            })
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
            graceful: kind.graceful,
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
            kept_status: kind.kept_status.clone(),
            fills: kind.fills.clone(),
        },
        deprecation: kind.deprecation.clone(),
        since: 0,
        source: SchemaSource::Builtin(component(kind, &found.response_kind.kind)),
        schema: OnceLock::new(),
    }
}

/// What the schema says of a field that all objects have.
pub(super) fn description_of_meta(field: &str) -> Value {
    let meta = &schemas()["io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"];
    meta["properties"][field]["description"].clone()
}

/// The Table's columns of a Scale. Those of custom resources name their types, as their own do.
pub fn scale_columns(builtin: bool) -> Vec<Column> {
    let text = |component: &str, field: &str| {
        schemas()[component]["properties"][field]["description"].clone()
    };
    let number = |part: &str, plain: &str| match builtin {
        true => text(
            &format!("io.k8s.api.autoscaling.v1.Scale{part}"),
            "replicas",
        ),
        false => plain.into(),
    };
    let (name_format, age_type) = if builtin {
        ("", "string")
    } else {
        ("name", "date")
    };
    let (desired, actual) = ("Number of desired replicas", "Number of actual replicas");
    [
        (
            "Name",
            "string",
            name_format,
            description_of_meta("name"),
            ".metadata.name",
        ),
        (
            "Desired",
            "integer",
            "",
            number("Spec", desired),
            "count(.spec.replicas)",
        ),
        (
            "Available",
            "integer",
            "",
            number("Status", actual),
            "count(.status.replicas)",
        ),
        (
            "Age",
            age_type,
            "",
            description_of_meta("creationTimestamp"),
            "age(.metadata.creationTimestamp)",
        ),
    ]
    .into_iter()
    .map(|(name, kind, format, description, cell)| Column {
        definition: json!({
            "name": name, "type": kind, "format": format, "description": description, "priority": 0,
        }),
        cell: Cell::parse(cell),
    })
    .collect()
}

/// The component that describes a kind, by the group, version and kind it claims.
fn component(kind: &Kind, name: &str) -> String {
    kind_component(&kind.group, &kind.version, name)
        .unwrap_or_default()
        .to_owned()
}
