//! OpenAPI v3: an index, and one document for each group-version.
//!
//! Built-in schemas are the ones of the real server; paths are written from the registry, with the
//! parameters by which clients find out what a server can do (`dryRun`, `fieldValidation`).

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::registry::{GroupVersion, Registry, Resource, SchemaSource, Verb, builtin_schemas};

const REFERENCE: &str = "#/components/schemas/";
const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
const LIST_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";
const SCALE: &str = "io.k8s.api.autoscaling.v1.Scale";

/// The answer of `/openapi/v3`.
pub fn index(registry: &Registry) -> Value {
    let mut paths = Map::new();
    for (of, resources) in registry.group_versions() {
        let mut hash = Sha256::new();
        hash.update(env!("CARGO_PKG_VERSION"));
        for resource in resources {
            hash.update(&resource.kind);
            hash.update([
                u8::from(resource.status),
                u8::from(resource.scale.is_some()),
            ]);
            if let SchemaSource::Custom(schema) = &resource.source {
                hash.update(schema.to_string());
            }
        }
        let hash: String = hash
            .finalize()
            .iter()
            .take(16)
            .map(|byte| format!("{byte:02X}"))
            .collect();
        let path = of.path();
        paths.insert(
            path.clone(),
            json!({"serverRelativeURL": format!("/openapi/v3/{path}?hash={hash}")}),
        );
    }
    json!({"paths": paths})
}

/// The older document, without definitions: clients look there for kinds that no v3 document has, and
/// must find that it has none either.
pub fn old_document() -> Value {
    json!({"swagger": "2.0", "info": {"title": "Kubernetes", "version": "v1.36.3"}, "paths": {}, "definitions": {}})
}

/// [`old_document`] as protobuf.
pub fn old_document_protobuf() -> &'static [u8] {
    b"\x0a\x032.0\x12\x15\x0a\x0aKubernetes\x12\x07v1.36.3"
}

/// The document of a group-version, if it is served.
pub fn document(registry: &Registry, of: &GroupVersion) -> Option<Value> {
    let resources = registry.group_version(&of.group, &of.version)?;
    let mut paths = Map::new();
    let mut schemas = Map::new();
    let mut wanted: BTreeSet<String> = BTreeSet::new();
    for resource in resources {
        let component = match &resource.source {
            SchemaSource::Builtin(name) => {
                wanted.insert(name.clone());
                wanted.insert(format!("{name}List"));
                name.clone()
            }
            SchemaSource::Custom(schema) => custom(resource, schema, &mut schemas),
        };
        wanted.extend([OBJECT_META.to_owned(), LIST_META.to_owned()]);
        if resource.scale.is_some() {
            wanted.insert(SCALE.to_owned());
        }
        add_paths(resource, &component, &mut paths);
    }
    add_builtin(wanted, &mut schemas);
    schemas.sort_keys();
    Some(json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "v1.36.3"},
        "paths": paths,
        "components": {"schemas": schemas},
    }))
}

/// Adds built-in components and all that they refer to.
fn add_builtin(wanted: BTreeSet<String>, schemas: &mut Map<String, Value>) {
    let mut pending: Vec<String> = wanted.into_iter().collect();
    while let Some(name) = pending.pop() {
        if schemas.contains_key(&name) {
            continue;
        }
        let Some(schema) = builtin_schemas().get(&name) else {
            continue;
        };
        references(schema, &mut pending);
        schemas.insert(name, schema.clone());
    }
}

fn references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                match value.as_str().and_then(|text| text.strip_prefix(REFERENCE)) {
                    Some(name) if key == "$ref" => found.push(name.to_owned()),
                    _ => references(value, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

fn gvk(resource: &Resource, kind: &str) -> Value {
    json!({"group": resource.group, "version": resource.version, "kind": kind})
}

/// Adds the components of a custom resource and its list; returns the first one's name.
fn custom(resource: &Resource, schema: &Value, schemas: &mut Map<String, Value>) -> String {
    let reversed: Vec<&str> = resource.group.split('.').rev().collect();
    let prefix = format!("{}.{}", reversed.join("."), resource.version);
    let name = format!("{prefix}.{}", resource.kind);
    let text = |description: &str| json!({"type": "string", "description": description});
    let version_text =
        "APIVersion defines the versioned schema of this representation of an object.";
    let kind_text = "Kind is a string value representing the REST resource this object represents.";
    let mut object = if schema.is_object() {
        schema.clone()
    } else {
        json!({"type": "object"})
    };
    let mut properties = object["properties"]
        .as_object()
        .cloned()
        .unwrap_or_default();
    properties.insert("apiVersion".into(), text(version_text));
    properties.insert("kind".into(), text(kind_text));
    properties.insert(
        "metadata".into(),
        json!({"description": "Standard object's metadata.", "allOf": [{"$ref": format!("{REFERENCE}{OBJECT_META}")}]}),
    );
    object["properties"] = Value::Object(properties);
    object["x-kubernetes-group-version-kind"] = json!([gvk(resource, &resource.kind)]);
    schemas.insert(name.clone(), object);
    schemas.insert(
        format!("{prefix}.{}", resource.list_kind),
        json!({
            "type": "object",
            "description": format!("{} is a list of {}", resource.list_kind, resource.kind),
            "required": ["items"],
            "properties": {
                "apiVersion": text(version_text),
                "kind": text(kind_text),
                "metadata": {"allOf": [{"$ref": format!("{REFERENCE}{LIST_META}")}]},
                "items": {"type": "array", "items": {"$ref": format!("{REFERENCE}{name}")}},
            },
            "x-kubernetes-group-version-kind": [gvk(resource, &resource.list_kind)],
        }),
    );
    name
}

fn add_paths(resource: &Resource, component: &str, paths: &mut Map<String, Value>) {
    let of = GroupVersion::new(&resource.group, &resource.version);
    let base = match resource.namespaced {
        true => format!(
            "/{}/namespaces/{{namespace}}/{}",
            of.path(),
            resource.plural
        ),
        false => format!("/{}/{}", of.path(), resource.plural),
    };
    let kind = gvk(resource, &resource.kind);
    let mut collection = Map::new();
    let mut single = Map::new();
    for verb in &resource.verbs {
        let (target, method, action, parameters): (&mut Map<_, _>, _, _, &[&str]) = match verb {
            Verb::Create => (
                &mut collection,
                "post",
                "post",
                &["dryRun", "fieldManager", "fieldValidation"],
            ),
            Verb::DeleteCollection => (
                &mut collection,
                "delete",
                "deletecollection",
                &["dryRun", "labelSelector", "fieldSelector"],
            ),
            Verb::List => (
                &mut collection,
                "get",
                "list",
                &[
                    "labelSelector",
                    "fieldSelector",
                    "limit",
                    "continue",
                    "watch",
                ],
            ),
            Verb::Get => (&mut single, "get", "get", &[]),
            Verb::Update => (
                &mut single,
                "put",
                "put",
                &["dryRun", "fieldManager", "fieldValidation"],
            ),
            Verb::Patch => (
                &mut single,
                "patch",
                "patch",
                &["dryRun", "fieldManager", "fieldValidation", "force"],
            ),
            Verb::Delete => (
                &mut single,
                "delete",
                "delete",
                &["dryRun", "gracePeriodSeconds", "propagationPolicy"],
            ),
            Verb::Watch => continue,
        };
        target.insert(
            method.into(),
            operation(action, parameters, &kind, component),
        );
    }
    if resource.namespaced
        && let Some(list) = collection.get("get").cloned()
    {
        // Lists over all namespaces.
        let everywhere = format!("/{}/{}", of.path(), resource.plural);
        paths.insert(everywhere, json!({"get": list}));
    }
    for (path, operations) in [
        (base.clone(), collection),
        (format!("{base}/{{name}}"), single),
    ] {
        if !operations.is_empty() {
            paths.insert(path, Value::Object(operations));
        }
    }
    for sub in &resource.subresources {
        let Some(name) = sub["subresource"]
            .as_str()
            .filter(|name| matches!(*name, "status" | "scale"))
        else {
            continue;
        };
        let component = if name == "scale" { SCALE } else { component };
        let parameters = ["dryRun", "fieldManager", "fieldValidation"];
        let operations = [
            ("get", "get", &[][..]),
            ("put", "put", &parameters[..]),
            ("patch", "patch", &parameters[..]),
        ];
        let operations: Map<String, Value> = operations
            .into_iter()
            .map(|(method, action, parameters)| {
                (
                    method.to_owned(),
                    operation(action, parameters, &sub["responseKind"], component),
                )
            })
            .collect();
        paths.insert(format!("{base}/{{name}}/{name}"), Value::Object(operations));
    }
}

fn operation(action: &str, parameters: &[&str], kind: &Value, component: &str) -> Value {
    let parameters: Vec<Value> = parameters
        .iter()
        .map(|name| {
            let kind = match *name {
                "limit" | "gracePeriodSeconds" => "integer",
                "watch" | "force" => "boolean",
                _ => "string",
            };
            json!({"name": name, "in": "query", "schema": {"type": kind, "uniqueItems": true}})
        })
        .collect();
    let content =
        json!({"application/json": {"schema": {"$ref": format!("{REFERENCE}{component}")}}});
    json!({
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": kind,
        "parameters": parameters,
        "responses": {"200": {"description": "OK", "content": content}},
    })
}

#[cfg(test)]
mod tests;
