//! Who owns which field: server-side apply, and tracking of every other write.
//!
//! Ownership lives in `metadata.managedFields`. Everything here compares values by their schema:
//! maps by name, lists by key or as a whole. Fields that a subresource may not touch are for the
//! caller to put back or take out before it comes here.

mod comparison;
mod conflict;
mod entries;
mod field_set;
mod last_applied;
mod merge;
mod typed;

pub use field_set::{FieldSet, PathElement};

use serde_json::Value;

use crate::schema::Schema;
use crate::status::Status;
use comparison::Comparison;
use entries::{Entries, Entry};

/// Owner of the fields that were there before the first apply.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";
/// kubectl's own name; only it may take over what client-side apply owned.
const KUBECTL: &str = "kubectl";

/// How a write came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// Server-side apply.
    Apply,
    /// Everything else.
    Update,
}

/// Who writes, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manager {
    /// The field manager's name.
    pub name: String,
    /// How it writes.
    pub operation: Operation,
    /// The API version that it writes in, e.g. `apps/v1`.
    pub api_version: String,
    /// The subresource that it writes through.
    pub subresource: Option<String>,
    /// Now, as RFC 3339 in UTC with whole seconds.
    pub time: String,
}

impl Operation {
    /// The name in `managedFields`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Apply => "Apply",
            Self::Update => "Update",
        }
    }
}

/// Applies a configuration to the live object: merges by schema, drops what the manager no longer
/// applies and nobody else owns, and refuses to change others' fields unless `force` is set.
///
/// Without a live object the answer is the configuration itself, owned by the manager.
pub fn apply(
    live: Option<&Value>,
    applied: &Value,
    schema: &Schema,
    manager: &Manager,
    force: bool,
) -> Result<Value, Status> {
    if applied
        .pointer("/metadata/managedFields")
        .is_some_and(|fields| !fields.is_null())
    {
        return Err(Status::bad_request("metadata.managedFields must be nil"));
    }
    typed::check(schema.root(), applied)?;
    let mut base = live.cloned().unwrap_or_else(|| empty_like(applied));
    let mut entries = entries::take(&mut base);
    if entries.is_empty() && live.is_some() {
        entries.push(Entry::before_first_apply(&base, schema, manager));
        entries.retain_owners();
    }
    let former = entries.clone();
    let outcome = apply_once(&base, applied, schema, manager, entries, force);
    let (mut object, mut entries) = match outcome {
        Err(conflicts) if manager.name == KUBECTL && !force => {
            let allowed = last_applied::fields(&base, schema);
            let rest = conflicts.without(&allowed);
            if !rest.is_empty() {
                return Err(rest.into_status());
            }
            apply_once(&base, applied, schema, manager, former, true)
                .map_err(conflict::Conflicts::into_status)?
        }
        outcome => outcome.map_err(conflict::Conflicts::into_status)?,
    };
    let changed = match &object {
        Some(_) => true,
        None => live.is_none(),
    };
    if changed {
        entries.stamp(manager);
    }
    let mut object = object.take().unwrap_or(base);
    if manager.name == KUBECTL {
        last_applied::refresh(&mut object, applied);
    }
    entries.strip_metadata();
    entries::put(&mut object, &entries);
    Ok(object)
}

/// Records an ordinary write in `new`, whose `managedFields` are those of the request.
///
/// `old` is the stored object; without one this is a creation, and the writer owns everything.
pub fn track_update(old: Option<&Value>, new: &mut Value, schema: &Schema, manager: &Manager) {
    let mut entries = match old {
        None => Entries::default(),
        Some(old) => entries::live_or_new(old, new, schema, manager.subresource.is_some()),
    };
    entries::take(new);
    if old.is_some() && entries.is_empty() {
        // Not tracked: the owners were cleared, and only an apply starts over.
        return;
    }
    let base = match old {
        Some(old) => {
            let mut base = old.clone();
            entries::take(&mut base);
            base
        }
        None => {
            let mut base = typed::zero(schema.root());
            // A null is as good as absent: nobody owns it.
            let nulls = new.as_object().into_iter().flatten();
            for (name, value) in nulls.filter(|(_, value)| value.is_null()) {
                base[name] = value.clone();
            }
            base
        }
    };
    let compared = comparison::compare(schema.root(), &base, new);
    let mut taken = compared.added.clone();
    taken.unite(&compared.modified);
    for entry in entries.iter_mut() {
        entry.fields = entry
            .fields
            .difference(&taken)
            .difference(&compared.removed);
    }
    let mut own = FieldSet::stripped(taken);
    if !own.is_empty() {
        match entries.find_mut(manager) {
            Some(entry) => {
                own.unite(&entry.fields);
                entry.fields = own;
                entry.time = entries::time_of(manager);
            }
            None => entries.push(Entry::new(manager, own, entries::time_of(manager))),
        }
    }
    entries.strip_metadata();
    entries.cap_updaters();
    entries::put(new, &entries);
}

fn empty_like(applied: &Value) -> Value {
    let kept = ["apiVersion", "kind"]
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), applied.get(name)?.clone())));
    Value::Object(kept.collect())
}

/// The merged object, or nothing where no value changed, and the owners afterwards.
fn apply_once(
    base: &Value,
    applied: &Value,
    schema: &Schema,
    manager: &Manager,
    mut entries: Entries,
    force: bool,
) -> Result<(Option<Value>, Entries), conflict::Conflicts> {
    let root = schema.root();
    let mut merged = merge::merge(root, base, applied);
    let last = entries
        .find(manager)
        .map(|entry| entry.fields.clone())
        .unwrap_or_default();
    let fields = typed::field_set(root, applied);
    match entries.find_mut(manager) {
        Some(entry) => {
            entry.fields = fields;
            entry.api_version.clone_from(&manager.api_version);
        }
        None => entries.push(Entry::new(manager, fields, None)),
    }
    if !last.is_empty() {
        merged = merge::drop_abandoned(root, merged, &last, &entries.owned());
    }
    let compared = comparison::compare(root, base, &merged);
    settle(&compared, &mut entries, manager, force)?;
    let changed = *base != merged;
    Ok((changed.then_some(merged), entries))
}

/// Takes changed fields from their other owners, or reports them as conflicts.
fn settle(
    compared: &Comparison,
    entries: &mut Entries,
    manager: &Manager,
    force: bool,
) -> Result<(), conflict::Conflicts> {
    let mut touched = compared.added.clone();
    touched.unite(&compared.modified);
    let mut conflicts = conflict::Conflicts::default();
    for entry in entries.iter_mut().filter(|entry| !entry.is_of(manager)) {
        let shared = entry.fields.intersection(&touched);
        if !shared.is_empty() && !force {
            conflicts.push(entry, shared);
            continue;
        }
        entry.fields = entry
            .fields
            .difference(&shared)
            .difference(&compared.removed);
    }
    if !conflicts.is_empty() {
        return Err(conflicts);
    }
    entries.retain_owners();
    Ok(())
}

#[cfg(test)]
mod tests;
