//! `metadata.managedFields`: reading, ordering and writing its entries.

use serde_json::{Map, Value, json};

use super::comparison;
use super::field_set::FieldSet;
use super::typed;
use super::{BEFORE_FIRST_APPLY, Manager, Operation};
use crate::schema::Schema;

/// More entries of updates than this are merged.
const MAX_UPDATERS: usize = 10;
/// The manager that merged entries are written under.
const ANCIENT: &str = "ancient-changes";

/// One manager and what it owns.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) manager: String,
    pub(super) operation: Operation,
    pub(super) api_version: String,
    pub(super) subresource: Option<String>,
    pub(super) time: Option<String>,
    pub(super) fields: FieldSet,
}

/// All managers of an object.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Entries(Vec<Entry>);

impl Entry {
    pub(super) fn new(manager: &Manager, fields: FieldSet, time: Option<String>) -> Self {
        Self {
            manager: manager.name.clone(),
            operation: manager.operation,
            api_version: manager.api_version.clone(),
            subresource: manager.subresource.clone(),
            time,
            fields,
        }
    }

    /// Gives an untracked object an owner, so that the first apply can conflict with it.
    pub(super) fn before_first_apply(live: &Value, schema: &Schema, manager: &Manager) -> Self {
        let compared = comparison::compare(schema.root(), &typed::zero(schema.root()), live);
        let mut fields = compared.added;
        fields.unite(&compared.modified);
        Self {
            manager: BEFORE_FIRST_APPLY.to_owned(),
            operation: Operation::Update,
            api_version: manager.api_version.clone(),
            subresource: None,
            time: time_of(manager),
            fields: fields.stripped(),
        }
    }

    /// Appliers are one whatever version they apply in, other writers are not.
    pub(super) fn is_of(&self, manager: &Manager) -> bool {
        self.manager == manager.name
            && self.operation == manager.operation
            && self.subresource == manager.subresource
            && (self.operation == Operation::Apply || self.api_version == manager.api_version)
    }

    fn from_json(entry: &Value) -> Option<Self> {
        let text = |name: &str| entry.get(name).and_then(Value::as_str).map(str::to_owned);
        let operation = match text("operation")?.as_str() {
            "Apply" => Operation::Apply,
            "Update" => Operation::Update,
            _ => return None,
        };
        Some(Self {
            manager: text("manager").unwrap_or_default(),
            operation,
            api_version: text("apiVersion").unwrap_or_default(),
            subresource: text("subresource").filter(|name| !name.is_empty()),
            time: text("time"),
            fields: FieldSet::from_json(entry.get("fieldsV1")?),
        })
    }

    fn to_json(&self) -> Value {
        let mut entry = Map::new();
        entry.insert("manager".into(), json!(self.manager));
        entry.insert("operation".into(), json!(self.operation.as_str()));
        entry.insert("apiVersion".into(), json!(self.api_version));
        if let Some(time) = &self.time {
            entry.insert("time".into(), json!(time));
        }
        entry.insert("fieldsType".into(), json!("FieldsV1"));
        entry.insert("fieldsV1".into(), self.fields.to_json());
        if let Some(subresource) = &self.subresource {
            entry.insert("subresource".into(), json!(subresource));
        }
        Value::Object(entry)
    }
}

impl Entries {
    fn from_json(list: Option<&Value>) -> Self {
        let list = list.and_then(Value::as_array);
        Self(
            list.into_iter()
                .flatten()
                .filter_map(Entry::from_json)
                .collect(),
        )
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn push(&mut self, entry: Entry) {
        self.0.push(entry);
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.0.iter_mut()
    }

    pub(super) fn find(&self, manager: &Manager) -> Option<&Entry> {
        self.0.iter().find(|entry| entry.is_of(manager))
    }

    pub(super) fn find_mut(&mut self, manager: &Manager) -> Option<&mut Entry> {
        self.0.iter_mut().find(|entry| entry.is_of(manager))
    }

    /// Everything that anybody owns.
    pub(super) fn owned(&self) -> FieldSet {
        let mut owned = FieldSet::default();
        for entry in &self.0 {
            owned.unite(&entry.fields);
        }
        owned
    }

    /// Notes the time of a write that changed something.
    pub(super) fn stamp(&mut self, manager: &Manager) {
        if let Some(entry) = self.find_mut(manager) {
            entry.time = time_of(manager);
        }
    }

    pub(super) fn strip_metadata(&mut self) {
        for entry in &mut self.0 {
            entry.fields = std::mem::take(&mut entry.fields).stripped();
        }
        self.retain_owners();
    }

    /// Keeps the number of updaters bounded: the oldest of a version share one entry.
    pub(super) fn cap_updaters(&mut self) {
        self.0.sort_by(|left, right| {
            (left.operation, &left.time, &left.manager).cmp(&(
                right.operation,
                &right.time,
                &right.manager,
            ))
        });
        let mut updaters = self.updaters();
        // The oldest updater seen of each version; the next one of that version joins it.
        let mut oldest: Vec<(String, usize)> = Vec::new();
        let mut index = 0;
        while updaters > MAX_UPDATERS && index < self.0.len() {
            let entry = &self.0[index];
            if entry.operation != Operation::Update {
                index += 1;
                continue;
            }
            let known = oldest
                .iter()
                .find(|(version, _)| *version == entry.api_version);
            match known.map(|(_, bucket)| *bucket) {
                None => {
                    oldest.push((entry.api_version.clone(), index));
                    index += 1;
                }
                Some(bucket) => {
                    let merged = self.0.remove(index);
                    updaters -= 1;
                    let bucket = &mut self.0[bucket];
                    ANCIENT.clone_into(&mut bucket.manager);
                    bucket.subresource = None;
                    bucket.fields.unite(&merged.fields);
                    bucket.time = merged.time;
                }
            }
        }
    }

    fn updaters(&self) -> usize {
        self.0
            .iter()
            .filter(|entry| entry.operation == Operation::Update)
            .count()
    }

    pub(super) fn retain_owners(&mut self) {
        self.0.retain(|entry| !entry.fields.is_empty());
    }
}

/// Takes the entries out of an object.
pub(super) fn take(object: &mut Value) -> Entries {
    let metadata = object.get_mut("metadata").and_then(Value::as_object_mut);
    let list = metadata.and_then(|metadata| metadata.shift_remove("managedFields"));
    Entries::from_json(list.as_ref())
}

/// The real server notes no time for writes of the scale.
pub(super) fn time_of(manager: &Manager) -> Option<String> {
    (manager.subresource.as_deref() != Some("scale")).then(|| manager.time.clone())
}

/// Writes the entries into an object: appliers first, then by time.
pub(super) fn put(object: &mut Value, entries: &Entries) {
    let mut sorted: Vec<&Entry> = entries.0.iter().collect();
    sorted.sort_by(|left, right| {
        let rank = |entry: &Entry| {
            (
                entry.operation,
                entry.time.clone().unwrap_or_default(),
                entry.manager.clone(),
                entry.api_version.clone(),
                entry.subresource.clone().unwrap_or_default(),
            )
        };
        rank(left).cmp(&rank(right))
    });
    let list: Vec<Value> = sorted.into_iter().map(Entry::to_json).collect();
    let Some(object) = object.as_object_mut() else {
        return;
    };
    let metadata = object
        .entry("metadata")
        .or_insert_with(|| Value::Object(Map::new()));
    if let Some(metadata) = metadata.as_object_mut() {
        metadata.shift_remove("managedFields");
        if !list.is_empty() {
            metadata.insert("managedFields".to_owned(), Value::Array(list));
        }
    }
}

/// The entries that an update starts from: those it sends, if it sends any, else the live ones.
/// A list with an empty entry clears them; so does an empty list, on a built-in kind. Subresources can't touch them.
pub(super) fn live_or_new(
    live: &Value,
    new: &Value,
    schema: &Schema,
    subresource: bool,
) -> Entries {
    const FIELDS: &str = "/metadata/managedFields";
    let sent = new.pointer(FIELDS).and_then(Value::as_array);
    if let Some(sent) = sent.filter(|_| !subresource) {
        let reset = match sent.as_slice() {
            // Custom resources keep no difference between an empty list and none.
            [] => !schema.is_custom(),
            [only] => only.as_object().is_some_and(Map::is_empty),
            _ => false,
        };
        if reset {
            return Entries::default();
        }
        let entries = Entries::from_json(new.pointer(FIELDS));
        if entries.0.len() == sent.len() {
            return entries;
        }
    }
    Entries::from_json(live.pointer(FIELDS))
}
