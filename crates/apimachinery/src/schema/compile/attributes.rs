//! What one schema node says of itself: its type, markers, default, bounds and rules.

use std::sync::Arc;

use regex::Regex;
use serde_json::Value;

use super::{Compiler, join};
use crate::schema::{Bounds, ListType, Node, PatchStrategy, Type, rules};
use crate::status::FieldError;

impl Compiler<'_> {
    /// Everything of a node that isn't another node.
    pub(super) fn attributes(&mut self, schema: &Value, path: &str) -> Node {
        let flag = |key: &str| schema.get(key).and_then(Value::as_bool).unwrap_or(false);
        let text = |key: &str| schema.get(key).and_then(Value::as_str);
        let int_or_string =
            flag("x-kubernetes-int-or-string") || text("format") == Some("int-or-string");
        let kind = match text("type") {
            _ if int_or_string => Type::Any,
            Some("object") => Type::Object,
            Some("array") => Type::Array,
            Some("string") => Type::String,
            Some("integer") => Type::Integer,
            Some("number") => Type::Number,
            Some("boolean") => Type::Boolean,
            _ => Type::Any,
        };
        let rules = match rules::compile(schema, path) {
            Ok(rules) => rules.into(),
            Err(errors) => {
                self.errors.extend(errors);
                Arc::default()
            }
        };
        Node {
            kind,
            nullable: flag("nullable"),
            int_or_string,
            preserve_unknown: flag("x-kubernetes-preserve-unknown-fields"),
            embedded: flag("x-kubernetes-embedded-resource"),
            required: texts(schema.get("required")),
            default: schema
                .get("default")
                .filter(|value| self.custom || !is_zero(value))
                .cloned(),
            builtin: !self.custom,
            list_type: list_type(schema),
            map_atomic: text("x-kubernetes-map-type") == Some("atomic"),
            patch: patch_strategy(schema),
            bounds: Arc::new(self.bounds(schema, path)),
            rules,
            ..Node::default()
        }
    }

    fn bounds(&mut self, schema: &Value, path: &str) -> Bounds {
        let flag = |key: &str| schema.get(key).and_then(Value::as_bool).unwrap_or(false);
        let number = |key: &str| schema.get(key).and_then(Value::as_f64);
        let count = |key: &str| schema.get(key).and_then(Value::as_u64);
        let pattern = schema
            .get("pattern")
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty());
        let pattern = pattern.and_then(|pattern| match Regex::new(pattern) {
            Ok(regex) => Some(regex),
            Err(error) => {
                let reason = error.to_string();
                let last = reason.lines().last().unwrap_or_default();
                let detail = format!("must be a valid regular expression, but isn't: {last}");
                let field = join(path, "pattern");
                self.errors
                    .push(FieldError::invalid(field, &Value::from(pattern), detail));
                None
            }
        });
        let allowed = schema.get("enum").and_then(Value::as_array);
        Bounds {
            format: schema
                .get("format")
                .and_then(Value::as_str)
                .map(str::to_owned),
            pattern,
            allowed: allowed.map(|values| values.clone().into()),
            minimum: number("minimum"),
            maximum: number("maximum"),
            exclusive_minimum: flag("exclusiveMinimum"),
            exclusive_maximum: flag("exclusiveMaximum"),
            multiple_of: number("multipleOf"),
            min_length: count("minLength"),
            max_length: count("maxLength"),
            min_items: count("minItems"),
            max_items: count("maxItems"),
            unique_items: flag("uniqueItems"),
            min_properties: count("minProperties"),
            max_properties: count("maxProperties"),
        }
    }
}

/// Zero values stand in built-in schemas for "not set"; filling them in would hide what is missing.
fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Number(number) => number.as_f64() == Some(0.0),
        _ => false,
    }
}

fn texts(list: Option<&Value>) -> Arc<[String]> {
    let list = list.and_then(Value::as_array);
    list.into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

fn list_type(schema: &Value) -> Option<ListType> {
    match schema
        .get("x-kubernetes-list-type")
        .and_then(Value::as_str)?
    {
        "set" => Some(ListType::Set),
        "map" => Some(ListType::Map(texts(
            schema.get("x-kubernetes-list-map-keys"),
        ))),
        _ => Some(ListType::Atomic),
    }
}

fn patch_strategy(schema: &Value) -> Option<PatchStrategy> {
    let merge_key = schema
        .get("x-kubernetes-patch-merge-key")
        .and_then(Value::as_str);
    let strategy = schema
        .get("x-kubernetes-patch-strategy")
        .and_then(Value::as_str);
    if merge_key.is_none() && strategy.is_none() {
        return None;
    }
    let has = |word: &str| strategy.is_some_and(|list| list.split(',').any(|item| item == word));
    Some(PatchStrategy {
        merge: has("merge"),
        retain_keys: has("retainKeys"),
        merge_key: merge_key.map(str::to_owned),
    })
}
