//! From the schema of a Rust type to a structural schema as Kubernetes writes it.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps,
};
use schemars::{JsonSchema, Schema, generate::SchemaSettings};
use serde_json::{Map, Value, json};

/// Adds the members of one schema to another, over those of the same name.
pub(crate) fn merge(schema: &mut Schema, other: Schema) {
    let Value::Object(members) = other.to_value() else {
        return;
    };
    for (name, value) in members {
        schema.insert(name, value);
    }
}

/// The structural schema of a kind. `rule` is a CEL rule of the whole object and its message.
pub(super) fn structural<K: JsonSchema>(rule: Option<(&str, &str)>) -> JSONSchemaProps {
    let generator = SchemaSettings::draft2020_12()
        .with(|settings| {
            settings.inline_subschemas = true;
            settings.meta_schema = None;
        })
        .into_generator();
    let mut schema = generator.into_root_schema_for::<K>().to_value();
    clean(&mut schema);
    if let Value::Object(root) = &mut schema {
        // Decoding has a default for each of these; the API does not fill them in.
        root.remove("required");
        if let Some(Value::Object(properties)) = root.get_mut("properties") {
            for property in properties.values_mut() {
                property.as_object_mut().map(|p| p.remove("default"));
            }
            properties.insert(
                "apiVersion".into(),
                described("Version of this representation of the object."),
            );
            properties.insert("kind".into(), described("Kind of the object."));
            properties.insert("metadata".into(), json!({"type": "object"}));
        }
        if let Some((rule, message)) = rule {
            root.insert(
                "x-kubernetes-validations".into(),
                json!([{"rule": rule, "message": message}]),
            );
        }
    }
    serde_json::from_value(schema).expect("a cleaned schema is a structural one")
}

/// A definition as plain data, without whole numbers written as fractions and without the empty
/// texts that the types of definitions can't leave out.
pub(super) fn plain(crd: &CustomResourceDefinition) -> Value {
    let mut value = serde_json::to_value(crd).expect("a definition is plain data");
    whole_numbers(&mut value);
    value
}

fn described(text: &str) -> Value {
    json!({"type": "string", "description": text})
}

/// Rewrites one schema and those below it.
fn clean(schema: &mut Value) {
    let Value::Object(schema) = schema else {
        return;
    };
    // `Option<T>` of a struct is "T or null"; an absent field says the same.
    if let Some(Value::Array(alternatives)) = schema.get("anyOf")
        && let [inner, null] = alternatives.as_slice()
        && null.get("type") == Some(&json!("null"))
        && let Value::Object(inner) = inner.clone()
    {
        schema.remove("anyOf");
        for (name, value) in inner {
            schema.entry(name).or_insert(value);
        }
    }
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|t| t != "null");
        if let [single] = types.as_slice() {
            let single = single.clone();
            schema.insert("type".into(), single);
        }
    }
    if let Some(Value::Array(values)) = schema.get_mut("enum") {
        values.retain(|v| !v.is_null());
    }
    for noise in ["title", "$schema", "nullable"] {
        schema.remove(noise);
    }
    if schema.get("format").is_some_and(Value::is_null) {
        schema.remove("format");
    }
    if schema.get("x-kubernetes-int-or-string") == Some(&json!(true)) {
        int_or_string(schema);
    }
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        properties.values_mut().for_each(clean);
    }
    for below in ["items", "additionalProperties"] {
        if let Some(below) = schema.get_mut(below) {
            clean(below);
        }
    }
}

/// A quantity: a whole number, or text with a unit.
fn int_or_string(schema: &mut Map<String, Value>) {
    schema.insert(
        "anyOf".into(),
        json!([{"type": "integer"}, {"type": "string"}]),
    );
    schema.insert(
        "pattern".into(),
        json!(r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$"),
    );
}

/// Writes `0.0` as `0`: bounds are fractions in the type of a definition.
fn whole_numbers(value: &mut Value) {
    match value {
        Value::Number(number) => {
            if let Some(fraction) = number.as_f64()
                && !number.is_i64()
                && fraction.fract() == 0.0
                && fraction.abs() < 9e15
            {
                #[expect(
                    clippy::cast_possible_truncation,
                    reason = "it is whole and in range, as just checked"
                )]
                let whole = fraction as i64;
                *value = whole.into();
            }
        }
        Value::Array(values) => values.iter_mut().for_each(whole_numbers),
        Value::Object(members) => members.values_mut().for_each(whole_numbers),
        _ => {}
    }
}
