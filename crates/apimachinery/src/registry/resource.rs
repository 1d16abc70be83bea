//! One served resource in one version, and everything the server must know about it.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use serde_json::Value;

use crate::schema::Schema;
use crate::table::Cell;

/// What can be done with a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are the API's own")]
pub enum Verb {
    Create,
    Delete,
    DeleteCollection,
    Get,
    List,
    Patch,
    Update,
    Watch,
}

impl Verb {
    /// All verbs, in discovery's order.
    pub const ALL: [Verb; 8] = [
        Verb::Create,
        Verb::Delete,
        Verb::DeleteCollection,
        Verb::Get,
        Verb::List,
        Verb::Patch,
        Verb::Update,
        Verb::Watch,
    ];

    /// The name in discovery.
    pub fn as_str(self) -> &'static str {
        match self {
            Verb::Create => "create",
            Verb::Delete => "delete",
            Verb::DeleteCollection => "deletecollection",
            Verb::Get => "get",
            Verb::List => "list",
            Verb::Patch => "patch",
            Verb::Update => "update",
            Verb::Watch => "watch",
        }
    }
}

/// The rule for `metadata.name`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Names {
    /// A DNS subdomain.
    #[default]
    Subdomain,
    /// A DNS label.
    Label,
    /// A DNS label that starts with a letter.
    Service,
    /// Whatever can be one segment of a path.
    Path,
}

/// How objects of this version differ from the stored ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Conversion {
    /// Only in `apiVersion`.
    #[default]
    None,
    /// Stored as core events.
    Events,
}

/// Where the scale subresource finds its numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scale {
    /// Path of the wanted replicas.
    pub spec: String,
    /// Path of the observed replicas.
    pub status: String,
    /// Path of the selector: a string, or a label selector object.
    pub selector: Option<String>,
}

/// A field that field selectors may name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selectable {
    /// The name, without a leading dot.
    pub path: String,
    /// Where it is, which in most cases is what it is called.
    pub at: String,
}

/// A column of the resource's Tables.
#[derive(Debug, Clone)]
pub struct Column {
    /// The definition, as it stands in the Table.
    pub definition: Value,
    /// How a cell is made.
    pub cell: Cell,
}

/// The ways in which kinds differ when they are written.
#[derive(Debug, Clone, Default)]
pub struct WriteRules {
    /// `metadata.generation` is kept.
    pub generation: bool,
    /// Annotation changes count as changes of the spec.
    pub annotations_bump_generation: bool,
    /// Deleted objects are told so before they go.
    pub graceful: bool,
    /// A PUT needs no resourceVersion.
    pub update_unconditionally: bool,
    /// A PUT of a missing object creates it.
    pub create_on_update: bool,
    /// DELETE answers with the object rather than with a Status.
    pub returns_deleted: bool,
    /// `status` in a POST is kept.
    pub keeps_status_on_create: bool,
    /// `/status` may change metadata.
    pub status_metadata: bool,
    /// Seconds after its last change at which an object is removed.
    pub ttl_seconds: Option<u32>,
    /// Values of absent fields, by path.
    pub defaults: BTreeMap<String, Value>,
    /// Values of fields that are absent from a new object, and that nobody owns.
    pub on_create: BTreeMap<String, Value>,
    /// Values of absent fields that depend on a field beside them.
    pub when: Vec<When>,
    /// The same for new objects, owned by nobody.
    pub when_created: Vec<When>,
    /// Fields of the spec that an update keeps when it leaves them out.
    pub kept: Vec<String>,
    /// Maps whose keys are names of files.
    pub keys: Vec<String>,
    /// Fields that stay as they are once `immutable` is true.
    pub immutable: Vec<String>,
    /// Values of absent fields that repeat a field beside them.
    pub copies: BTreeMap<String, String>,
    /// Maps that get the entries that they lack from a map beside them, in this order.
    pub fills: Vec<(String, String)>,
    /// Fields of the status that an update of the status keeps when it leaves them out.
    pub kept_status: Vec<String>,
    /// Fields that are only written: their (text) entries go into another field, as base64.
    pub write_only: BTreeMap<String, String>,
}

/// Defaults that hold where other fields have certain values.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct When {
    /// The object that is meant, by path.
    pub at: String,
    /// The values that its fields must have; null: absent.
    pub is: serde_json::Map<String, Value>,
    /// When given: the only fields that it may have.
    pub only: Option<Vec<String>>,
    /// What its absent fields become; also within objects that are there.
    pub fields: serde_json::Map<String, Value>,
}

/// Where a schema comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum SchemaSource {
    /// A component of the built-in schemas.
    Builtin(String),
    /// A CRD version's `openAPIV3Schema`.
    Custom(Value),
}

/// A resource as served in one version.
#[derive(Debug)]
pub struct Resource {
    /// Empty for core.
    pub group: String,
    /// The served version.
    pub version: String,
    /// The object's kind.
    pub kind: String,
    /// The kind of its lists.
    pub list_kind: String,
    /// The name in paths.
    pub plural: String,
    /// The name in messages and for kubectl.
    pub singular: String,
    /// Further names for kubectl.
    pub short_names: Vec<String>,
    /// Such as `all`.
    pub categories: Vec<String>,
    /// Whether objects live in namespaces.
    pub namespaced: bool,
    /// What can be done.
    pub verbs: Vec<Verb>,
    /// Comes with the server, not from a CRD.
    pub builtin: bool,
    /// Objects of this kind are questions: answered, never stored.
    pub review: bool,
    /// Subresources in discovery, with their kind and verbs.
    pub subresources: Vec<Value>,
    /// Has a status subresource.
    pub status: bool,
    /// Has a scale subresource.
    pub scale: Option<Scale>,
    /// `group/plural` under which objects are stored.
    pub storage: Arc<str>,
    /// The `apiVersion` of stored objects.
    pub storage_api_version: String,
    /// How stored objects become ones of this version.
    pub conversion: Conversion,
    /// The rule for names.
    pub names: Names,
    /// What field selectors may name, besides name and namespace.
    pub selectable: Vec<Selectable>,
    /// The Table's columns.
    pub columns: Vec<Column>,
    /// How writes are treated.
    pub rules: WriteRules,
    /// A warning that every request gets.
    pub deprecation: Option<String>,
    /// Objects stored before this revision were written under another schema: they are pruned and
    /// defaulted when they are read.
    pub since: u64,
    /// The schema's text.
    pub source: SchemaSource,
    pub(super) schema: OnceLock<Schema>,
}

impl Resource {
    /// The `apiVersion` of its objects.
    pub fn api_version(&self) -> String {
        match self.group.is_empty() {
            true => self.version.clone(),
            false => format!("{}/{}", self.group, self.version),
        }
    }

    /// The compiled schema; compiled at the first use.
    pub fn schema(&self) -> &Schema {
        self.schema.get_or_init(|| {
            let compiled = match &self.source {
                SchemaSource::Builtin(name) => super::builtin::compile(name),
                SchemaSource::Custom(schema) => Schema::compile_custom(schema),
            };
            // Custom schemas were checked before they came here, built-in ones by a test.
            compiled.unwrap_or_else(|_| Schema::untyped())
        })
    }

    /// Whether stored objects can be sent as they are.
    pub fn stores_itself(&self) -> bool {
        self.conversion == Conversion::None && self.storage_api_version == self.api_version()
    }

    /// Whether a verb is served.
    pub fn allows(&self, verb: Verb) -> bool {
        self.verbs.contains(&verb)
    }
}
