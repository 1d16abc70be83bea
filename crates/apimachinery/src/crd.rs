//! A CustomResourceDefinition as an object: what it leaves out, and whether it can be served.
//!
//! Serving its kinds is the registry's business; here its text is judged, with the messages of the
//! real server.

mod structural;

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use crate::names;
use crate::schema::Schema;
use crate::status::FieldError;

/// Fills in what a definition may leave out: the singular and list names, and no conversion.
pub fn default(definition: &mut Value) {
    let Some(spec) = definition.get_mut("spec").and_then(Value::as_object_mut) else {
        return;
    };
    if let Some(names) = spec.get_mut("names").and_then(Value::as_object_mut) {
        let kind = names
            .get("kind")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        if !kind.is_empty() {
            let mut fill = |name: &str, value: String| {
                let present = names.get(name).and_then(Value::as_str);
                if present.is_none_or(str::is_empty) {
                    names.insert(name.to_owned(), Value::String(value));
                }
            };
            if !kind.is_empty() {
                fill("listKind", format!("{kind}List"));
                fill("singular", kind.to_lowercase());
            }
        }
    }
    spec.entry("conversion")
        .or_insert_with(|| json!({"strategy": "None"}));
}

/// Everything that is wrong with a definition; `old` is the one it replaces.
pub fn validate(definition: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let spec = definition.get("spec").unwrap_or(&Value::Null);
    let text = |value: &Value, name: &str| -> String {
        value
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let names = spec.get("names").unwrap_or(&Value::Null);
    let (group, plural) = (text(spec, "group"), text(names, "plural"));
    let name = definition
        .pointer("/metadata/name")
        .and_then(Value::as_str)
        .unwrap_or_default();

    if name != format!("{plural}.{group}") {
        let detail = "must be spec.names.plural+\".\"+spec.group";
        errors.push(FieldError::invalid("metadata.name", &json!(name), detail));
    }
    check_group(&group, &mut errors);
    check_scope(spec, &mut errors);
    check_versions(spec, &mut errors);
    check_names(names, &mut errors);
    if spec.get("preserveUnknownFields") == Some(&Value::Bool(true)) {
        let detail = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in \
                      spec.versions[*].schema instead";
        errors.push(FieldError::invalid(
            "spec.preserveUnknownFields",
            &json!(true),
            detail,
        ));
    }
    check_conversion(spec, &mut errors);
    if let Some(old) = old {
        check_immutable(definition, old, &mut errors);
    }
    check_schemas(spec, old, &mut errors);
    errors
}

fn check_group(group: &str, errors: &mut Vec<FieldError>) {
    let field = "spec.group";
    if group.is_empty() {
        errors.push(FieldError::required(field, ""));
        return;
    }
    for problem in names::dns_subdomain(group) {
        errors.push(FieldError::invalid(field, &json!(group), problem));
    }
    if !group.contains('.') {
        let detail = "should be a domain with at least one dot";
        errors.push(FieldError::invalid(field, &json!(group), detail));
    }
}

fn check_scope(spec: &Value, errors: &mut Vec<FieldError>) {
    match spec
        .get("scope")
        .and_then(Value::as_str)
        .unwrap_or_default()
    {
        "" => errors.push(FieldError::required("spec.scope", "")),
        "Cluster" | "Namespaced" => {}
        other => {
            let allowed = ["Cluster".to_owned(), "Namespaced".to_owned()];
            errors.push(FieldError::not_supported(
                "spec.scope",
                &json!(other),
                &allowed,
            ));
        }
    }
}

fn versions(spec: &Value) -> &[Value] {
    spec.get("versions")
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn check_versions(spec: &Value, errors: &mut Vec<FieldError>) {
    let list = versions(spec);
    let (mut seen, mut storage) = (HashSet::new(), 0);
    let mut unique = true;
    for (index, version) in list.iter().enumerate() {
        let field = format!("spec.versions[{index}]");
        let name = version
            .get("name")
            .and_then(Value::as_str)
            .unwrap_or_default();
        unique &= seen.insert(name);
        if version.get("storage") == Some(&Value::Bool(true)) {
            storage += 1;
        }
        for problem in names::dns1035_label(name) {
            let places = [format!("{field}.name"), "spec.version".to_owned()];
            // The first version is also that of the spec itself.
            for place in &places[..if index == 0 { 2 } else { 1 }] {
                errors.push(FieldError::invalid(place, &json!(name), problem.as_str()));
            }
        }
        for flag in ["served", "storage"] {
            if !version.get(flag).is_some_and(Value::is_boolean) {
                errors.push(FieldError::required(format!("{field}.{flag}"), ""));
            }
        }
        if version
            .pointer("/schema/openAPIV3Schema")
            .is_none_or(|schema| !schema.is_object())
        {
            let field = format!("{field}.schema.openAPIV3Schema");
            errors.push(FieldError::required(field, ""));
        }
    }
    let shown = json!(
        list.iter()
            .map(|version| &version["name"])
            .collect::<Vec<_>>()
    );
    if !unique {
        let detail = "must contain unique version names";
        errors.push(FieldError::invalid("spec.versions", &shown, detail));
    }
    if storage != 1 {
        let detail = "must have exactly one version marked as storage version";
        errors.push(FieldError::invalid("spec.versions", &shown, detail));
    }
}

fn check_names(names: &Value, errors: &mut Vec<FieldError>) {
    let text = |name: &str| names.get(name).and_then(Value::as_str).unwrap_or_default();
    for name in ["plural", "singular"] {
        let value = text(name);
        if value.is_empty() {
            errors.push(FieldError::required(format!("spec.names.{name}"), ""));
            continue;
        }
        for problem in names::dns1035_label(value) {
            let field = format!("spec.names.{name}");
            errors.push(FieldError::invalid(field, &json!(value), problem));
        }
    }
    for name in ["kind", "listKind"] {
        let value = text(name);
        let field = format!("spec.names.{name}");
        if value.is_empty() {
            errors.push(FieldError::required(field, ""));
            continue;
        }
        for problem in names::dns1035_label(&value.to_lowercase()) {
            let detail = format!("may have mixed case, but should otherwise match: {problem}");
            errors.push(FieldError::invalid(field.as_str(), &json!(value), detail));
        }
    }
    if !text("kind").is_empty() && text("kind") == text("listKind") {
        let detail = "kind and listKind may not be the same";
        errors.push(FieldError::invalid(
            "spec.names.listKind",
            &json!(text("listKind")),
            detail,
        ));
    }
    for list in ["shortNames", "categories"] {
        let values = names.get(list).and_then(Value::as_array);
        for (index, value) in values.into_iter().flatten().enumerate() {
            for problem in names::dns1035_label(value.as_str().unwrap_or_default()) {
                let field = format!("spec.names.{list}[{index}]");
                errors.push(FieldError::invalid(field, value, problem));
            }
        }
    }
}

fn check_conversion(spec: &Value, errors: &mut Vec<FieldError>) {
    let strategy = spec.pointer("/conversion/strategy").and_then(Value::as_str);
    match strategy {
        None | Some("None") => {}
        Some("Webhook") => {
            let detail = "conversion by webhook is not served here; use strategy None";
            errors.push(FieldError::forbidden("spec.conversion.strategy", detail));
        }
        Some(other) => {
            let allowed = ["None".to_owned(), "Webhook".to_owned()];
            let field = "spec.conversion.strategy";
            errors.push(FieldError::not_supported(field, &json!(other), &allowed));
        }
    }
}

fn check_immutable(definition: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    for (pointer, field) in [
        ("/spec/group", "spec.group"),
        ("/spec/scope", "spec.scope"),
        ("/spec/names/kind", "spec.names.kind"),
        ("/spec/names/plural", "spec.names.plural"),
    ] {
        let (new, old) = (definition.pointer(pointer), old.pointer(pointer));
        if new != old {
            let shown = new.unwrap_or(&Value::Null);
            errors.push(FieldError::invalid(field, shown, "field is immutable"));
        }
    }
    // A version that objects are stored in can't go.
    let stored = old
        .pointer("/status/storedVersions")
        .and_then(Value::as_array);
    let list = definition.get("spec").map(versions).unwrap_or_default();
    for (index, stored) in stored.into_iter().flatten().enumerate() {
        if !list
            .iter()
            .any(|version| version.get("name") == Some(stored))
        {
            let field = format!("status.storedVersions[{index}]");
            let detail = "missing from spec.versions; v1 was previously a storage version, and \
                          must remain in spec.versions until a storage migration ensures no data \
                          remains persisted in v1 and removes v1 from status.storedVersions";
            let detail = detail.replace("v1", stored.as_str().unwrap_or_default());
            errors.push(FieldError::invalid(field, stored, detail));
        }
    }
}

fn check_schemas(spec: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let list = versions(spec);
    for (index, version) in list.iter().enumerate() {
        let Some(schema) = version.pointer("/schema/openAPIV3Schema") else {
            continue;
        };
        // A schema that was accepted once stays accepted.
        let before = old
            .and_then(|old| old.get("spec"))
            .map(versions)
            .unwrap_or_default();
        if before.iter().any(|old| {
            old.get("name") == version.get("name")
                && old.pointer("/schema/openAPIV3Schema") == Some(schema)
        }) {
            continue;
        }
        let path = if list.len() == 1 {
            "spec.validation.openAPIV3Schema".to_owned()
        } else {
            format!("spec.versions[{index}].schema.openAPIV3Schema")
        };
        let mut found = structural::check(schema, &path);
        if version
            .pointer("/subresources/status")
            .is_some_and(Value::is_object)
        {
            check_root_for_status(schema, &path, &mut found);
        }
        if found.is_empty() {
            match Schema::compile_custom(schema) {
                Ok(_) => {}
                Err(problems) => found.extend(problems.into_iter().map(|mut error| {
                    error.field = format!("{path}.{}", error.field);
                    error
                })),
            }
        }
        errors.extend(found);
        check_rest(version, index, list.len() == 1, errors);
    }
}

/// With a status subresource the root must be a plain object, so that `status` can be told apart.
fn check_root_for_status(schema: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let kind = schema
        .get("type")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if !kind.is_empty() && kind != "object" {
        let detail = "only \"object\" is allowed as the type at the root of the schema if the status \
                      subresource is enabled";
        errors.push(FieldError::invalid(
            format!("{path}.type"),
            &json!(kind),
            detail,
        ));
    }
    let refused = [
        "oneOf", "anyOf", "allOf", "not", "enum", "default", "nullable",
    ];
    for key in refused.into_iter().filter(|key| schema.get(key).is_some()) {
        let detail = format!(
            "{key} is not allowed at the root of the schema if the status subresource is enabled"
        );
        errors.push(FieldError::invalid_omitted(path, detail));
    }
}

/// What a version has besides its schema. With one version alone the real server names these as if
/// they stood in the spec itself.
fn check_rest(version: &Value, index: usize, alone: bool, errors: &mut Vec<FieldError>) {
    let base = match alone {
        true => "spec".to_owned(),
        false => format!("spec.versions[{index}]"),
    };
    check_scale(version, &base, errors);
    let columns = version["additionalPrinterColumns"].as_array();
    for (index, column) in columns.into_iter().flatten().enumerate() {
        let field = format!("{base}.additionalPrinterColumns[{index}]");
        let text = |name: &str| column[name].as_str().unwrap_or_default();
        if text("name").is_empty() {
            errors.push(FieldError::required(format!("{field}.name"), ""));
        }
        let kinds = ["boolean", "date", "integer", "number", "string"];
        if text("type").is_empty() {
            errors.push(FieldError::required(format!("{field}.type"), ""));
        } else if !kinds.contains(&text("type")) {
            let detail = format!("must be one of {}", kinds.join(","));
            errors.push(FieldError::invalid(
                format!("{field}.type"),
                &column["type"],
                detail,
            ));
        }
        if text("jsonPath").is_empty() {
            errors.push(FieldError::required(format!("{field}.JSONPath"), ""));
        } else if !text("jsonPath").starts_with('.') {
            errors.push(FieldError::invalid(
                format!("{field}.JSONPath"),
                &column["jsonPath"],
                SIMPLE_PATH,
            ));
        }
    }
    let fields = version["selectableFields"].as_array();
    for (index, field) in fields.into_iter().flatten().enumerate() {
        let path = field["jsonPath"].as_str().unwrap_or_default();
        let schema = &version["schema"]["openAPIV3Schema"];
        if !leads_somewhere(schema, path) {
            let detail = "is an invalid path: does not refer to a valid field";
            let place = format!("{base}.selectableFields[{index}].jsonPath");
            errors.push(FieldError::invalid(place, &field["jsonPath"], detail));
        }
    }
}

const SIMPLE_PATH: &str = "must be a simple json path starting with .";

/// Whether a path of plain fields is one of a schema.
fn leads_somewhere(schema: &Value, path: &str) -> bool {
    let mut at = schema;
    for field in path.trim_start_matches('.').split('.') {
        at = &at["properties"][field];
    }
    path.starts_with('.') && (at.is_object() || path.starts_with(".metadata."))
}

fn check_scale(version: &Value, base: &str, errors: &mut Vec<FieldError>) {
    let Some(scale) = version.pointer("/subresources/scale") else {
        return;
    };
    let field = format!("{base}.subresources.scale");
    for (name, prefix) in [
        ("specReplicasPath", ".spec."),
        ("statusReplicasPath", ".status."),
    ] {
        let path = scale.get(name).and_then(Value::as_str).unwrap_or_default();
        let detail = match path {
            "" => {
                errors.push(FieldError::required(format!("{field}.{name}"), ""));
                continue;
            }
            path if path.starts_with(prefix) => continue,
            path if !path.starts_with('.') => SIMPLE_PATH.to_owned(),
            _ => format!(
                "should be a json path under {}",
                prefix.trim_end_matches('.')
            ),
        };
        errors.push(FieldError::invalid(
            format!("{field}.{name}"),
            &json!(path),
            detail,
        ));
    }
}

/// The names that a definition asks for, as `status.acceptedNames` shows them.
pub fn accepted_names(definition: &Value) -> Value {
    let names = definition.pointer("/spec/names").and_then(Value::as_object);
    let kept = [
        "plural",
        "singular",
        "shortNames",
        "kind",
        "listKind",
        "categories",
    ];
    let entries = kept.into_iter().filter_map(|name| {
        let value = names?.get(name)?;
        Some((name.to_owned(), value.clone()))
    });
    Value::Object(entries.collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests;
