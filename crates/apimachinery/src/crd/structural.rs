//! Whether a CRD's schema is structural: every field typed, nothing that can't be checked cheaply.

use serde_json::{Value, json};

use crate::schema::Schema;
use crate::status::FieldError;

/// Where a node stands, which decides what it may say.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Root,
    Property,
    Items,
    Additional,
    /// Inside `allOf`, `anyOf`, `oneOf` or `not`: bounds only.
    Combination,
}

pub(super) fn check(schema: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    check_root(schema, path, &mut errors);
    walk(schema, path, Place::Root, &mut errors);
    errors
}

/// The root is an object with a name, whose metadata is not for the schema to describe.
fn check_root(schema: &Value, path: &str, errors: &mut Vec<FieldError>) {
    if schema.get("additionalProperties").is_some() {
        let field = format!("{path}.additionalProperties");
        errors.push(FieldError::forbidden(field, "must not be used at the root"));
    }
    let metadata = schema
        .pointer("/properties/metadata")
        .and_then(Value::as_object);
    let described = metadata.is_some_and(|metadata| {
        let properties = metadata.get("properties").and_then(Value::as_object);
        let names = properties
            .into_iter()
            .flatten()
            .all(|(name, _)| matches!(name.as_str(), "name" | "generateName"));
        !names
            || metadata
                .keys()
                .any(|key| !matches!(key.as_str(), "type" | "description" | "properties"))
    });
    if described {
        let detail = "must not specify anything other than name and generateName, but metadata is \
                      implicitly specified";
        errors.push(FieldError::forbidden(
            format!("{path}.properties[metadata]"),
            detail,
        ));
    }
}

fn check_embedded(schema: &Value, path: &str, errors: &mut Vec<FieldError>) {
    if flag(schema, "x-kubernetes-embedded-resource")
        && !flag(schema, "x-kubernetes-preserve-unknown-fields")
        && schema.get("properties").is_none()
    {
        let detail = "must not be empty if x-kubernetes-embedded-resource is true without \
                      x-kubernetes-preserve-unknown-fields";
        errors.push(FieldError::required(format!("{path}.properties"), detail));
    }
}

fn walk(schema: &Value, path: &str, place: Place, errors: &mut Vec<FieldError>) {
    if place == Place::Combination {
        combination(schema, path, errors);
    } else {
        check_type(schema, path, place, errors);
        check_embedded(schema, path, errors);
        check_lists(schema, path, errors);
        check_default(schema, path, errors);
    }
    forbidden(schema, path, errors);
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        if place != Place::Combination
            && schema
                .get("additionalProperties")
                .is_some_and(|value| *value != json!(false))
        {
            let field = format!("{path}.additionalProperties");
            let detail = "additionalProperties and properties are mutual exclusive";
            errors.push(FieldError::forbidden(field, detail));
        }
        for (name, property) in properties {
            let path = format!("{path}.properties[{name}]");
            let place = if place == Place::Combination {
                Place::Combination
            } else {
                Place::Property
            };
            walk(property, &path, place, errors);
        }
    }
    if let Some(items) = schema.get("items") {
        let place = if place == Place::Combination {
            place
        } else {
            Place::Items
        };
        walk(items, &format!("{path}.items"), place, errors);
    }
    if let Some(inner @ Value::Object(_)) = schema.get("additionalProperties") {
        let place = if place == Place::Combination {
            place
        } else {
            Place::Additional
        };
        walk(
            inner,
            &format!("{path}.additionalProperties"),
            place,
            errors,
        );
    }
    for key in ["allOf", "anyOf", "oneOf"] {
        let list = schema.get(key).and_then(Value::as_array);
        for (index, inner) in list.into_iter().flatten().enumerate() {
            walk(
                inner,
                &format!("{path}.{key}[{index}]"),
                Place::Combination,
                errors,
            );
        }
    }
    if let Some(inner) = schema.get("not") {
        walk(inner, &format!("{path}.not"), Place::Combination, errors);
    }
}

fn flag(schema: &Value, key: &str) -> bool {
    schema.get(key).and_then(Value::as_bool).unwrap_or(false)
}

fn text<'a>(schema: &'a Value, key: &str) -> &'a str {
    schema.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn check_type(schema: &Value, path: &str, place: Place, errors: &mut Vec<FieldError>) {
    const KNOWN: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];
    let kind = text(schema, "type");
    let field = format!("{path}.type");
    let int_or_string = flag(schema, "x-kubernetes-int-or-string");
    let untyped_ok = int_or_string
        || (flag(schema, "x-kubernetes-preserve-unknown-fields") && place != Place::Root);
    if kind.is_empty() {
        if !untyped_ok {
            let place = match place {
                Place::Root => "at the root",
                Place::Items => "for specified array items",
                _ => "for specified object fields",
            };
            errors.push(FieldError::required(
                field,
                format!("must not be empty {place}"),
            ));
        }
        return;
    }
    if !KNOWN.contains(&kind) {
        let known = KNOWN.map(str::to_owned);
        errors.push(FieldError::not_supported(field, &json!(kind), &known));
        return;
    }
    if place == Place::Root && kind != "object" {
        errors.push(FieldError::invalid(
            field,
            &json!(kind),
            "must be object at the root",
        ));
    } else if kind != "object" && flag(schema, "x-kubernetes-embedded-resource") {
        let detail = "must be object if x-kubernetes-embedded-resource is true";
        errors.push(FieldError::invalid(field, &json!(kind), detail));
    } else if kind == "array" && schema.get("items").is_none() {
        errors.push(FieldError::required(
            format!("{path}.items"),
            "must be specified",
        ));
    }
}

fn check_lists(schema: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let list_type = text(schema, "x-kubernetes-list-type");
    let keys = schema
        .get("x-kubernetes-list-map-keys")
        .and_then(Value::as_array);
    if !list_type.is_empty() && text(schema, "type") != "array" {
        let detail = "must be array if x-kubernetes-list-type is specified";
        let kind = json!(text(schema, "type"));
        errors.push(FieldError::invalid(format!("{path}.type"), &kind, detail));
    }
    match list_type {
        "" | "atomic" | "set" => {
            if keys.is_some() {
                let field = format!("{path}.x-kubernetes-list-type");
                let detail = "must be map if x-kubernetes-list-map-keys is non-empty";
                errors.push(FieldError::invalid(field, &json!(list_type), detail));
            }
        }
        "map" => check_keys(schema, keys, path, errors),
        other => {
            let known = ["atomic", "set", "map"].map(str::to_owned);
            let field = format!("{path}.x-kubernetes-list-type");
            errors.push(FieldError::not_supported(field, &json!(other), &known));
        }
    }
    let map_type = text(schema, "x-kubernetes-map-type");
    if !matches!(map_type, "" | "atomic" | "granular") {
        let known = ["atomic", "granular"].map(str::to_owned);
        let field = format!("{path}.x-kubernetes-map-type");
        errors.push(FieldError::not_supported(field, &json!(map_type), &known));
    }
}

fn check_keys(schema: &Value, keys: Option<&Vec<Value>>, path: &str, errors: &mut Vec<FieldError>) {
    let field = format!("{path}.x-kubernetes-list-map-keys");
    let Some(keys) = keys.filter(|keys| !keys.is_empty()) else {
        let detail = "must not be empty if x-kubernetes-list-type is map";
        errors.push(FieldError::required(field, detail));
        return;
    };
    let items = schema.get("items").unwrap_or(&Value::Null);
    if text(items, "type") != "object" {
        let detail = "must be object if parent array's x-kubernetes-list-type is map";
        let kind = json!(text(items, "type"));
        errors.push(FieldError::invalid(
            format!("{path}.items.type"),
            &kind,
            detail,
        ));
        return;
    }
    for key in keys {
        let name = key.as_str().unwrap_or_default();
        let Some(property) = items.pointer(&format!("/properties/{name}")) else {
            let detail = "entries must all be names of item properties";
            errors.push(FieldError::invalid(field.as_str(), &json!(keys), detail));
            continue;
        };
        if matches!(text(property, "type"), "object" | "array") {
            let path = format!("{path}.items.properties[{name}].type");
            let detail = "must be a scalar type if parent array's x-kubernetes-list-type is map";
            errors.push(FieldError::invalid(path, &property["type"], detail));
        }
        let required = items.get("required").and_then(Value::as_array);
        let required = required.is_some_and(|list| list.contains(key));
        if !required && property.get("default").is_none() {
            let path = format!("{path}.items.properties[{name}].default");
            let detail = "this property is in x-kubernetes-list-map-keys, so it must have a default \
                          or be a required property";
            errors.push(FieldError::required(path, detail));
        }
    }
}

/// A default must be a value that the schema itself takes.
fn check_default(schema: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let Some(default) = schema.get("default") else {
        return;
    };
    let Ok(compiled) = Schema::compile_part(schema) else {
        return;
    };
    let field = format!("{path}.default");
    let mut value = default.clone();
    if !compiled.prune(&mut value).is_empty() {
        let detail = "must not have unknown fields";
        errors.push(FieldError::invalid(field.as_str(), default, detail));
    }
    compiled.default(&mut value);
    for mut error in compiled.validate(&value, None) {
        error.field = match error.field.as_str() {
            "<nil>" => field.clone(),
            below => format!("{field}.{below}"),
        };
        errors.push(error);
    }
}

fn combination(schema: &Value, path: &str, errors: &mut Vec<FieldError>) {
    for key in [
        "type",
        "default",
        "nullable",
        "additionalProperties",
        "description",
        "title",
        "x-kubernetes-preserve-unknown-fields",
        "x-kubernetes-embedded-resource",
        "x-kubernetes-list-type",
        "x-kubernetes-validations",
    ] {
        let Some(value) = schema.get(key) else {
            continue;
        };
        // The one form of a type inside a combination that structural schemas know.
        let int_or_string = key == "type" && matches!(text(schema, "type"), "integer" | "string");
        if value == &json!(false) || int_or_string {
            continue;
        }
        let detail = "must be empty to be structural";
        errors.push(FieldError::forbidden(format!("{path}.{key}"), detail));
    }
}

fn forbidden(schema: &Value, path: &str, errors: &mut Vec<FieldError>) {
    if flag(schema, "uniqueItems") {
        let detail =
            "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
        errors.push(FieldError::forbidden(format!("{path}.uniqueItems"), detail));
    }
    for key in [
        "$ref",
        "definitions",
        "dependencies",
        "id",
        "patternProperties",
    ] {
        if schema.get(key).is_some() {
            let detail = format!("{key} is not supported");
            errors.push(FieldError::forbidden(format!("{path}.{key}"), detail));
        }
    }
}
