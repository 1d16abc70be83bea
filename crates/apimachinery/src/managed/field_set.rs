//! Sets of field paths, and their `fieldsV1` form.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::schema::At;

/// One step of a path. Keys and values are kept as canonical JSON, which orders and compares them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PathElement {
    /// A map's entry.
    Field(String),
    /// An item of a list-map, by its keys: `{"name":"web"}`.
    Key(String),
    /// An item of a set, by its value.
    Value(String),
    /// An item of a plain list.
    Index(usize),
}

/// A set of paths, as a tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSet {
    members: BTreeSet<PathElement>,
    children: BTreeMap<PathElement, FieldSet>,
}

impl PathElement {
    /// The form in `fieldsV1`, e.g. `f:spec` or `k:{"name":"web"}`.
    pub fn encode(&self) -> String {
        match self {
            Self::Field(name) => format!("f:{name}"),
            Self::Key(keys) => format!("k:{keys}"),
            Self::Value(value) => format!("v:{value}"),
            Self::Index(index) => format!("i:{index}"),
        }
    }

    /// Reads the form in `fieldsV1`.
    pub fn decode(text: &str) -> Option<Self> {
        let (tag, rest) = text.split_once(':')?;
        match tag {
            "f" => Some(Self::Field(rest.to_owned())),
            "k" => {
                let keys: Map<String, Value> = serde_json::from_str(rest).ok()?;
                Some(Self::key(keys.into_iter().collect()))
            }
            "v" => Some(Self::Value(
                serde_json::from_str::<Value>(rest).ok()?.to_string(),
            )),
            "i" => Some(Self::Index(rest.parse().ok()?)),
            _ => None,
        }
    }

    /// An item's keys, ordered by name.
    pub(super) fn key(mut keys: Vec<(String, Value)>) -> Self {
        keys.sort_by(|left, right| left.0.cmp(&right.0));
        Self::Key(Value::Object(keys.into_iter().collect()).to_string())
    }
}

impl std::fmt::Display for PathElement {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Field(name) => write!(formatter, ".{name}"),
            Self::Key(keys) => {
                let keys: Map<String, Value> = serde_json::from_str(keys).unwrap_or_default();
                let keys: Vec<String> = keys
                    .iter()
                    .map(|(name, value)| format!("{name}={value}"))
                    .collect();
                write!(formatter, "[{}]", keys.join(","))
            }
            Self::Value(value) => write!(formatter, "[={value}]"),
            Self::Index(index) => write!(formatter, "[{index}]"),
        }
    }
}

impl FieldSet {
    /// Whether no path is in it.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty() && self.children.values().all(Self::is_empty)
    }

    pub(super) fn insert(&mut self, element: PathElement) {
        self.members.insert(element);
    }

    pub(super) fn attach(&mut self, element: PathElement, child: Self) {
        if child.is_empty() {
            return;
        }
        match self.children.get_mut(&element) {
            Some(existing) => existing.unite(&child),
            None => {
                self.children.insert(element, child);
            }
        }
    }

    pub(super) fn has(&self, element: &PathElement) -> bool {
        self.members.contains(element)
    }

    pub(super) fn below(&self, element: &PathElement) -> Option<&Self> {
        self.children.get(element).filter(|child| !child.is_empty())
    }

    /// Adds every path of the other set.
    pub fn unite(&mut self, other: &Self) {
        self.members.extend(other.members.iter().cloned());
        for (element, child) in &other.children {
            self.children
                .entry(element.clone())
                .or_default()
                .unite(child);
        }
    }

    /// The paths that the other set doesn't have.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        let members = self.members.difference(&other.members).cloned().collect();
        let children = self.children.iter().map(|(element, child)| {
            let rest = match other.children.get(element) {
                Some(other) => child.difference(other),
                None => child.clone(),
            };
            (element.clone(), rest)
        });
        Self {
            members,
            children: children.filter(|(_, rest)| !rest.is_empty()).collect(),
        }
    }

    /// The paths that both sets have.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let members = self.members.intersection(&other.members).cloned().collect();
        let children = self.children.iter().filter_map(|(element, child)| {
            let shared = child.intersection(other.children.get(element)?);
            (!shared.is_empty()).then(|| (element.clone(), shared))
        });
        Self {
            members,
            children: children.collect(),
        }
    }

    /// Makes every declared field that has something below it a member itself.
    #[must_use]
    pub(super) fn with_named_fields(&self, at: Option<At<'_>>) -> Self {
        let mut members = self.members.clone();
        let mut children = BTreeMap::new();
        for (element, child) in &self.children {
            let below = match element {
                PathElement::Field(name) => {
                    if at.is_some_and(|at| at.node.properties.contains_key(name)) {
                        members.insert(element.clone());
                    }
                    at.and_then(|at| at.field(name))
                }
                _ => at.and_then(At::items),
            };
            children.insert(element.clone(), child.with_named_fields(below));
        }
        Self { members, children }
    }

    /// Without what every object has and nobody owns.
    #[must_use]
    pub(super) fn stripped(mut self) -> Self {
        const SYSTEM: [&str; 9] = [
            "name",
            "namespace",
            "creationTimestamp",
            "selfLink",
            "uid",
            "clusterName",
            "generation",
            "managedFields",
            "resourceVersion",
        ];
        let field = |name: &str| PathElement::Field(name.to_owned());
        for name in ["apiVersion", "kind", "metadata"] {
            self.members.remove(&field(name));
        }
        if let Some(metadata) = self.children.get_mut(&field("metadata")) {
            for name in SYSTEM {
                metadata.members.remove(&field(name));
            }
            if metadata.is_empty() {
                self.children.remove(&field("metadata"));
            }
        }
        self
    }

    /// Every path as text, e.g. `.spec.containers[name="web"].image`.
    pub fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.collect_paths("", &mut paths);
        paths
    }

    fn collect_paths(&self, prefix: &str, paths: &mut Vec<String>) {
        for member in &self.members {
            paths.push(format!("{prefix}{member}"));
        }
        for (element, child) in &self.children {
            child.collect_paths(&format!("{prefix}{element}"), paths);
        }
    }

    /// The `fieldsV1` form.
    pub fn to_json(&self) -> Value {
        let mut json = Map::new();
        let elements: BTreeSet<&PathElement> =
            self.members.iter().chain(self.children.keys()).collect();
        for element in elements {
            let mut inner = match self.children.get(element) {
                Some(child) if !child.is_empty() => child.to_json(),
                Some(_) if !self.members.contains(element) => continue,
                _ => Value::Object(Map::new()),
            };
            if let Value::Object(inner) = &mut inner
                && !inner.is_empty()
                && self.members.contains(element)
            {
                inner.shift_insert(0, ".".to_owned(), Value::Object(Map::new()));
            }
            json.insert(element.encode(), inner);
        }
        Value::Object(json)
    }

    /// Reads the `fieldsV1` form; what isn't a path is left out.
    pub fn from_json(json: &Value) -> Self {
        let mut set = Self::default();
        for (name, inner) in json.as_object().into_iter().flatten() {
            let Some(element) = PathElement::decode(name) else {
                continue;
            };
            let below = inner.as_object();
            if below.is_none_or(|below| below.is_empty() || below.contains_key(".")) {
                set.members.insert(element.clone());
            }
            set.attach(element, Self::from_json(inner));
        }
        set
    }
}
