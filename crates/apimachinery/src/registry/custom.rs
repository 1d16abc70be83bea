//! Resources out of CustomResourceDefinitions.

use std::sync::OnceLock;

use serde_json::{Value, json};

use super::builtin::description_of_meta;
use super::resource::{
    Column, Conversion, Names, Resource, Scale, SchemaSource, Selectable, Verb, WriteRules,
};
use super::version_rank;
use crate::table::Cell;

/// Why a definition can't be served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CustomError {
    /// It lacks a field that every definition has.
    #[error("the definition has no {0}")]
    Missing(&'static str),
    /// Another resource of the group has the kind, or the resource is built in.
    #[error("\"{kind}\" is already in use")]
    NameTaken {
        /// The name in question.
        kind: String,
    },
}

/// The group and plural of a definition.
pub(super) fn identity(definition: &Value) -> Result<(String, String), CustomError> {
    let group = text(definition, "/spec/group").ok_or(CustomError::Missing("spec.group"))?;
    let plural =
        text(definition, "/spec/names/plural").ok_or(CustomError::Missing("spec.names.plural"))?;
    Ok((group, plural))
}

/// One resource for each served version.
pub(super) fn resources(definition: &Value) -> Result<Vec<Resource>, CustomError> {
    let (group, plural) = identity(definition)?;
    let kind =
        text(definition, "/spec/names/kind").ok_or(CustomError::Missing("spec.names.kind"))?;
    let versions = definition["spec"]["versions"]
        .as_array()
        .ok_or(CustomError::Missing("spec.versions"))?;
    let name = |version: &Value| version["name"].as_str().unwrap_or_default().to_owned();
    let storage_version = versions
        .iter()
        .find(|version| version["storage"] == true)
        .map(name)
        .ok_or(CustomError::Missing("storage version"))?;
    let served = versions.iter().filter(|version| version["served"] == true);
    Ok(served
        .map(|version| Resource {
            group: group.clone(),
            version: name(version),
            list_kind: text(definition, "/spec/names/listKind")
                .unwrap_or_else(|| format!("{kind}List")),
            singular: text(definition, "/spec/names/singular")
                .unwrap_or_else(|| kind.to_lowercase()),
            short_names: texts(&definition["spec"]["names"]["shortNames"]),
            categories: texts(&definition["spec"]["names"]["categories"]),
            kind: kind.clone(),
            plural: plural.clone(),
            namespaced: definition["spec"]["scope"] == "Namespaced",
            // In the order in which the real server lists them.
            verbs: vec![
                Verb::Delete,
                Verb::DeleteCollection,
                Verb::Get,
                Verb::List,
                Verb::Patch,
                Verb::Create,
                Verb::Update,
                Verb::Watch,
            ],
            builtin: false,
            review: false,
            subresources: subresources(&group, &kind, version),
            status: version["subresources"]["status"].is_object(),
            scale: scale(&version["subresources"]["scale"]),
            storage: format!("{group}/{plural}").into(),
            storage_api_version: format!("{group}/{storage_version}"),
            conversion: Conversion::None,
            names: Names::Subdomain,
            selectable: version["selectableFields"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|field| field["jsonPath"].as_str())
                .map(|path| path.trim_start_matches('.'))
                .map(|path| Selectable {
                    path: path.to_owned(),
                    at: path.to_owned(),
                })
                .collect(),
            columns: columns(version),
            rules: WriteRules {
                generation: true,
                ..WriteRules::default()
            },
            deprecation: (version["deprecated"] == true).then(|| {
                version["deprecationWarning"].as_str().map_or_else(
                    || deprecation(&group, &name(version), &kind, definition),
                    str::to_owned,
                )
            }),
            since: 0,
            source: SchemaSource::Custom(version["schema"]["openAPIV3Schema"].clone()),
            schema: OnceLock::new(),
        })
        .collect())
}

/// The warning about a version that is deprecated, with what to use instead.
fn deprecation(group: &str, version: &str, kind: &str, definition: &Value) -> String {
    let better = definition["spec"]["versions"].as_array();
    let better = better
        .into_iter()
        .flatten()
        .filter(|other| other["served"] == true && other["deprecated"] != true)
        .filter_map(|other| other["name"].as_str())
        .filter(|other| version_rank(other) > version_rank(version))
        .max_by_key(|other| version_rank(other));
    let instead = better.map(|better| format!("; use {group}/{better} {kind}"));
    format!(
        "{group}/{version} {kind} is deprecated{}",
        instead.unwrap_or_default()
    )
}

fn subresources(group: &str, kind: &str, version: &Value) -> Vec<Value> {
    let verbs = json!(["get", "patch", "update"]);
    let mut found = Vec::new();
    if version["subresources"]["status"].is_object() {
        let of = json!({"group": group, "version": version["name"], "kind": kind});
        found.push(json!({"subresource": "status", "responseKind": of, "verbs": verbs}));
    }
    if version["subresources"]["scale"].is_object() {
        let of = json!({"group": "autoscaling", "version": "v1", "kind": "Scale"});
        found.push(json!({"subresource": "scale", "responseKind": of, "verbs": verbs}));
    }
    found
}

fn scale(value: &Value) -> Option<Scale> {
    Some(Scale {
        spec: value["specReplicasPath"].as_str()?.to_owned(),
        status: value["statusReplicasPath"].as_str()?.to_owned(),
        selector: value["labelSelectorPath"].as_str().map(str::to_owned),
    })
}

fn columns(version: &Value) -> Vec<Column> {
    let name = json!({"name": "Name", "type": "string", "format": "name", "priority": 0,
        "description": description_of_meta("name")});
    let mut columns = vec![Column {
        definition: name,
        cell: Cell::parse(".metadata.name"),
    }];
    let own = version["additionalPrinterColumns"]
        .as_array()
        .filter(|own| !own.is_empty());
    let Some(own) = own else {
        let age = json!({"name": "Age", "type": "date", "format": "", "priority": 0,
            "description": description_of_meta("creationTimestamp")});
        columns.push(Column {
            definition: age,
            cell: Cell::parse("age(.metadata.creationTimestamp)"),
        });
        return columns;
    };
    columns.extend(own.iter().map(|column| {
        let kind = column["type"].as_str().unwrap_or("string");
        let path = column["jsonPath"].as_str().unwrap_or_default();
        let description = match column["description"].as_str() {
            Some(description) => description.to_owned(),
            None => format!("Custom resource definition column (in JSONPath format): {path}"),
        };
        Column {
            definition: json!({
                "name": column["name"],
                "type": kind,
                "format": column["format"].as_str().unwrap_or_default(),
                "description": description,
                "priority": column["priority"].as_i64().unwrap_or(0),
            }),
            cell: Cell::typed(path, kind),
        }
    }));
    columns
}

fn text(value: &Value, pointer: &str) -> Option<String> {
    value
        .pointer(pointer)?
        .as_str()
        .filter(|text| !text.is_empty())
        .map(str::to_owned)
}

fn texts(value: &Value) -> Vec<String> {
    value
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}
