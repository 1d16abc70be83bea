//! The kinds that are served, as data.
//!
//! Built-in kinds come from the files under `data/`, custom ones from CustomResourceDefinitions that
//! are added and removed while serving. Nothing else in the server knows a kind by name.

mod builtin;
mod custom;
mod resource;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use builtin::{
    component_schema as builtin_schema, kind_component as builtin_kind, scale_columns,
    schemas as builtin_schemas,
};
pub use custom::CustomError;
pub use resource::{
    Column, Conversion, Names, Resource, Scale, SchemaSource, Selectable, Verb, When, WriteRules,
};

/// A group and a version, in the order in which discovery lists them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupVersion {
    /// Empty for the core group.
    pub group: String,
    /// Such as `v1`.
    pub version: String,
}

impl GroupVersion {
    /// A pair of both.
    pub fn new(group: &str, version: &str) -> GroupVersion {
        GroupVersion {
            group: group.into(),
            version: version.into(),
        }
    }

    /// As it stands in `apiVersion`.
    pub fn api_version(&self) -> String {
        match self.group.is_empty() {
            true => self.version.clone(),
            false => format!("{}/{}", self.group, self.version),
        }
    }

    /// The path under which it is served, without slashes at the ends.
    pub fn path(&self) -> String {
        match self.group.is_empty() {
            true => format!("api/{}", self.version),
            false => format!("apis/{}/{}", self.group, self.version),
        }
    }
}

/// A snapshot of what is served. Cheap to clone; a change makes a new one.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    resources: BTreeMap<GroupVersion, BTreeMap<String, Arc<Resource>>>,
}

impl Registry {
    /// The built-in kinds.
    pub fn builtin() -> Registry {
        let mut registry = Registry::default();
        for resource in builtin::resources() {
            registry.insert(resource);
        }
        registry
    }

    /// The resource that a path names.
    pub fn get(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Resource>> {
        self.resources
            .get(&GroupVersion::new(group, version))?
            .get(plural)
    }

    /// The resource of an object.
    pub fn of_kind(&self, api_version: &str, kind: &str) -> Option<&Arc<Resource>> {
        let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
        self.resources
            .get(&GroupVersion::new(group, version))?
            .values()
            .find(|resource| resource.kind == kind && !resource.review)
    }

    /// Some version of a resource in a group: the one objects are stored in, if it is served.
    pub fn of_storage(&self, storage: &str) -> Option<&Arc<Resource>> {
        let mut candidates = self.all().filter(|resource| *resource.storage == *storage);
        let first = candidates.next();
        first
            .filter(|resource| resource.stores_itself())
            .or_else(|| {
                self.all()
                    .find(|resource| *resource.storage == *storage && resource.stores_itself())
                    .or(first)
            })
    }

    /// Whether any version of a group is served.
    pub fn has_group(&self, group: &str) -> bool {
        let first = self.resources.range(GroupVersion::new(group, "")..).next();
        first.is_some_and(|(of, _)| of.group == group)
    }

    /// All resources, by group-version and plural.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.resources.values().flat_map(BTreeMap::values)
    }

    /// The served group-versions with their resources.
    pub fn group_versions(
        &self,
    ) -> impl Iterator<Item = (&GroupVersion, impl Iterator<Item = &Arc<Resource>>)> {
        self.resources
            .iter()
            .map(|(key, resources)| (key, resources.values()))
    }

    /// The resources of one group-version, if it is served.
    pub fn group_version(&self, group: &str, version: &str) -> Option<Vec<&Arc<Resource>>> {
        let resources = self.resources.get(&GroupVersion::new(group, version))?;
        Some(resources.values().collect())
    }

    /// The groups with their versions, preferred first; core is not among them.
    pub fn groups(&self) -> Vec<(String, Vec<String>)> {
        let mut groups: Vec<(String, Vec<String>)> = Vec::new();
        for key in self.resources.keys().filter(|key| !key.group.is_empty()) {
            match groups.last_mut().filter(|(group, _)| *group == key.group) {
                Some((_, versions)) => versions.push(key.version.clone()),
                None => groups.push((key.group.clone(), vec![key.version.clone()])),
            }
        }
        groups.sort_by_key(|(group, _)| builtin::rank(group));
        for (_, versions) in &mut groups {
            versions.sort_by_key(|version| std::cmp::Reverse(version_rank(version)));
        }
        groups
    }

    fn insert(&mut self, resource: Resource) {
        let key = GroupVersion::new(&resource.group, &resource.version);
        self.resources
            .entry(key)
            .or_default()
            .insert(resource.plural.clone(), Arc::new(resource));
    }

    /// Serves the versions of a CustomResourceDefinition, in place of what it served before.
    /// Returns the names that collide with a kind of someone else; then nothing changes.
    pub fn set_custom(&mut self, definition: &serde_json::Value) -> Result<(), CustomError> {
        let mut versions = custom::resources(definition)?;
        let (group, plural) = custom::identity(definition)?;
        for resource in &versions {
            let taken = self.all().any(|other| {
                other.group == resource.group
                    && other.plural != resource.plural
                    && other.kind == resource.kind
            });
            if taken {
                return Err(CustomError::NameTaken {
                    kind: resource.kind.clone(),
                });
            }
        }
        let builtin = self
            .all()
            .any(|other| other.builtin && other.group == group && other.plural == plural);
        if builtin {
            return Err(CustomError::NameTaken { kind: plural });
        }
        let written = definition["metadata"]["resourceVersion"].as_str();
        let written = written.and_then(|revision| revision.parse().ok());
        for resource in &mut versions {
            // Where the schema stays, what was stored under it stays good.
            let before = self.get(&resource.group, &resource.version, &plural);
            let before = before.filter(|before| before.source == resource.source);
            resource.since = before.map_or(written.unwrap_or(0), |before| before.since);
        }
        self.remove_custom(&group, &plural);
        for resource in versions {
            self.insert(resource);
        }
        Ok(())
    }

    /// Stops serving a custom resource.
    pub fn remove_custom(&mut self, group: &str, plural: &str) {
        for (_, resources) in self
            .resources
            .iter_mut()
            .filter(|(key, _)| key.group == group)
        {
            if resources
                .get(plural)
                .is_some_and(|resource| !resource.builtin)
            {
                resources.remove(plural);
            }
        }
        self.resources.retain(|_, resources| !resources.is_empty());
    }
}

/// Kubernetes' order of versions: GA above beta above alpha, then by number.
fn version_rank(version: &str) -> (u8, u32, u32) {
    let parse = || {
        let rest = version.strip_prefix('v')?;
        let end = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        let major: u32 = rest[..end].parse().ok()?;
        let (rank, minor) = match &rest[end..] {
            "" => (3, 0),
            stage => match (stage.strip_prefix("beta"), stage.strip_prefix("alpha")) {
                (Some(minor), _) => (2, minor.parse().ok()?),
                (_, Some(minor)) => (1, minor.parse().ok()?),
                _ => return None,
            },
        };
        Some((rank, major, minor))
    };
    parse().unwrap_or((0, 0, 0))
}
