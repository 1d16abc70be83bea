//! Golden cases for pruning, defaulting, validation, ratcheting and rules.

mod builtin;
mod rules;

use serde_json::{Value, json};

use super::Schema;

fn custom(spec: Value) -> Schema {
    let schema = json!({"type": "object", "properties": {"spec": spec}});
    Schema::compile_custom(&schema).expect("the schema compiles")
}

fn object(spec: Value) -> Value {
    json!({"apiVersion": "g.io/v1", "kind": "T", "metadata": {"name": "t"}, "spec": spec})
}

/// Validates a spec and prints the errors.
fn errors(schema: &Schema, spec: Value) -> Vec<String> {
    schema
        .validate(&object(spec), None)
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn pruning_names_what_it_drops() {
    let schema = custom(json!({
        "type": "object",
        "properties": {
            "a": {"type": "string"},
            "list": {"type": "array", "items": {
                "type": "object", "properties": {"x": {"type": "integer"}}}},
            "map": {"type": "object", "additionalProperties": {
                "type": "object", "properties": {"y": {"type": "string"}}}},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true,
                     "properties": {"typed": {"type": "object"}}},
            "bare": {"type": "object"},
        },
    }));
    let mut value = object(json!({
        "a": "x", "b": 1,
        "list": [{"x": 1}, {"x": 2.0, "z": 3}],
        "map": {"k": {"y": "", "q": {}}},
        "free": {"anything": {"goes": 1}, "typed": {"dropped": 1}},
        "bare": {"dropped": 1},
    }));
    value["metadata"]["labels"] = json!({"app": "x"});
    value["metadata"]["colour"] = json!("red");
    value["extra"] = json!(1);
    let mut unknown = schema.prune(&mut value);
    unknown.sort();
    assert_eq!(
        unknown,
        [
            "unknown field \"extra\"",
            "unknown field \"metadata.colour\"",
            "unknown field \"spec.b\"",
            "unknown field \"spec.bare.dropped\"",
            "unknown field \"spec.free.typed.dropped\"",
            "unknown field \"spec.list[1].z\"",
            "unknown field \"spec.map.k.q\"",
        ]
    );
    let mut expected = object(json!({
        "a": "x",
        "list": [{"x": 1}, {"x": 2}],
        "map": {"k": {"y": ""}},
        "free": {"anything": {"goes": 1}, "typed": {}},
        "bare": {},
    }));
    expected["metadata"]["labels"] = json!({"app": "x"});
    assert_eq!(value, expected);
    assert_eq!(value["spec"]["list"][1]["x"].to_string(), "2");
}

#[test]
fn embedded_resources_keep_their_type_and_metadata() {
    let schema = custom(json!({
        "type": "object",
        "properties": {"template": {
            "type": "object", "x-kubernetes-embedded-resource": true,
            "properties": {"spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
        }},
    }));
    let template = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"},
                          "spec": {"a": 1}});
    let mut value = object(json!({ "template": template }));
    value["spec"]["template"]["status"] = json!({});
    assert_eq!(
        schema.prune(&mut value),
        ["unknown field \"spec.template.status\""]
    );
    assert_eq!(value["spec"]["template"], template);
}

#[test]
fn an_untyped_kind_keeps_everything() {
    let schema = Schema::untyped();
    let mut value = object(json!({"a": {"b": [null, 1]}}));
    value["data"] = json!({"x": 1});
    let before = value.clone();
    assert_eq!(schema.prune(&mut value), Vec::<String>::new());
    schema.default(&mut value);
    assert_eq!(value, before);
}

#[test]
fn defaults_fill_in_and_nulls_leave() {
    let schema = custom(json!({
        "type": "object",
        "required": ["must"],
        "properties": {
            "replicas": {"type": "integer", "default": 1},
            "policy": {"type": "string", "default": "RollingUpdate"},
            "ref": {"type": "object", "properties": {"name": {"type": "string", "default": ""}}},
            "nested": {"type": "object", "default": {},
                       "properties": {"port": {"type": "integer", "default": 80}}},
            "list": {"type": "array", "items": {
                "type": "object", "properties": {"p": {"type": "string", "default": "TCP"}}}},
            "map": {"type": "object", "additionalProperties": {"type": "string"}},
            "maybe": {"type": "string", "nullable": true},
            "plain": {"type": "string"},
            "must": {"type": "string"},
        },
    }));
    let cases = [
        (
            json!({}),
            json!({"replicas": 1, "policy": "RollingUpdate", "nested": {"port": 80}}),
        ),
        (
            json!({"replicas": null, "policy": "Recreate", "ref": {}, "nested": {"port": 1},
                   "list": [{}, {"p": "UDP"}], "map": {"a": null, "b": "c"},
                   "maybe": null, "plain": null, "must": null}),
            json!({"replicas": 1, "policy": "Recreate", "ref": {"name": ""}, "nested": {"port": 1},
                   "list": [{"p": "TCP"}, {"p": "UDP"}], "map": {"b": "c"}, "maybe": null}),
        ),
    ];
    for (before, after) in cases {
        let mut value = object(before);
        schema.default(&mut value);
        assert_eq!(value, object(after));
        let errors: Vec<String> = schema
            .validate(&value, None)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(errors, ["spec.must: Required value"]);
    }
}

#[test]
fn every_bound_has_the_real_servers_sentence() {
    let cases = [
        (
            json!({"type": "integer"}),
            json!("x"),
            "spec.v: Invalid value: \"string\": spec.v in body must be of type integer: \"string\"",
        ),
        (
            json!({"type": "integer"}),
            json!(1.5),
            "spec.v: Invalid value: \"number\": spec.v in body must be of type integer: \"number\"",
        ),
        (
            json!({"type": "string"}),
            json!(5),
            "spec.v: Invalid value: \"integer\": spec.v in body must be of type string: \"integer\"",
        ),
        (
            json!({"type": "object"}),
            json!([]),
            "spec.v: Invalid value: \"array\": spec.v in body must be of type object: \"array\"",
        ),
        (
            json!({"x-kubernetes-int-or-string": true}),
            json!(true),
            "spec.v: Invalid value: \"boolean\": spec.v in body must be of type integer,string: \
             \"boolean\"",
        ),
        (
            json!({"type": "string", "enum": ["a", "b"]}),
            json!("c"),
            "spec.v: Unsupported value: \"c\": supported values: \"a\", \"b\"",
        ),
        (
            json!({"type": "string", "pattern": "^[a-z]+$"}),
            json!("A"),
            "spec.v: Invalid value: \"A\": spec.v in body should match '^[a-z]+$'",
        ),
        (
            json!({"type": "string", "maxLength": 3}),
            json!("éééé"),
            "spec.v: Too long: may not be more than 3 bytes",
        ),
        (
            json!({"type": "string", "minLength": 2}),
            json!("é"),
            "spec.v: Invalid value: \"é\": spec.v in body should be at least 2 chars long",
        ),
        (
            json!({"type": "integer", "minimum": 0}),
            json!(-1),
            "spec.v: Invalid value: -1: spec.v in body should be greater than or equal to 0",
        ),
        (
            json!({"type": "integer", "maximum": 5, "exclusiveMaximum": true}),
            json!(5),
            "spec.v: Invalid value: 5: spec.v in body should be less than 5",
        ),
        (
            json!({"type": "integer", "multipleOf": 2}),
            json!(3),
            "spec.v: Invalid value: 3: spec.v in body should be a multiple of 2",
        ),
        (
            json!({"type": "integer", "format": "int32"}),
            json!(3_000_000_000_i64),
            "<nil>: Invalid value: \"\": Checked value must be of type integer with format int32 in \
             spec.v",
        ),
        (
            json!({"type": "string", "format": "date-time"}),
            json!("soon"),
            "spec.v: Invalid value: \"soon\": spec.v in body must be of type date-time: \"soon\"",
        ),
        (
            json!({"type": "array", "maxItems": 1, "items": {"type": "string"}}),
            json!(["a", "b"]),
            "spec.v: Too many: 2: must have at most 1 item",
        ),
        (
            json!({"type": "array", "minItems": 1, "items": {"type": "string"}}),
            json!([]),
            "spec.v: Invalid value: 0: spec.v in body should have at least 1 items",
        ),
        (
            json!({"type": "object", "maxProperties": 0, "additionalProperties": {"type": "string"}}),
            json!({"a": ""}),
            "spec.v: Too many: 1: must have at most 0 items",
        ),
        (
            json!({"type": "array", "items": {"type": "object", "required": ["n"],
                   "properties": {"n": {"type": "string"}}}}),
            json!([{"n": ""}, {}]),
            "spec.v[1].n: Required value",
        ),
        (
            json!({"type": "object", "additionalProperties": {"type": "string"}}),
            json!({"a": 1}),
            "spec.v.a: Invalid value: \"integer\": spec.v.a in body must be of type string: \
             \"integer\"",
        ),
        (
            json!({"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}}),
            json!(["a", "b", "a"]),
            "spec.v[2]: Duplicate value: \"a\"",
        ),
        (
            json!({"type": "array", "x-kubernetes-list-type": "map",
                   "x-kubernetes-list-map-keys": ["n"],
                   "items": {"type": "object", "required": ["n"], "properties": {
                       "n": {"type": "string"}, "x": {"type": "string"}}}}),
            json!([{"n": "a", "x": "1"}, {"n": "a", "x": "2"}]),
            "spec.v[1]: Duplicate value: {\"n\":\"a\"}",
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
                   "not": {"required": ["a"]}}),
            json!({"a": "x"}),
            "<nil>: Invalid value: \"\": \"spec.v\" must not validate the schema (not)",
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
                   "oneOf": [{"required": ["a"]}, {"required": ["b"]}]}),
            json!({"a": "x", "b": "y"}),
            "<nil>: Invalid value: \"\": \"spec.v\" must validate one and only one schema (oneOf). \
             Found 2 valid alternatives",
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
                   "anyOf": [{"required": ["a"]}, {"required": ["b"]}]}),
            json!({}),
            "<nil>: Invalid value: \"\": \"spec.v\" must validate at least one schema (anyOf)",
        ),
        (
            json!({"type": "integer", "allOf": [{"minimum": 1}, {"maximum": 3}]}),
            json!(4),
            "<nil>: Invalid value: \"\": \"spec.v\" must validate all the schemas (allOf)",
        ),
    ];
    for (schema, value, message) in cases {
        let compiled = custom(json!({"type": "object", "properties": {"v": schema}}));
        let errors = errors(&compiled, json!({ "v": value }));
        assert_eq!(
            errors.first().map(String::as_str),
            Some(message),
            "{schema}"
        );
    }
}

#[test]
fn values_in_bounds_pass() {
    let cases = [
        (json!({"type": "integer"}), json!(2.0)),
        (json!({"type": "number", "minimum": 0.5}), json!(1)),
        (
            json!({"type": "integer", "format": "int32"}),
            json!(2_147_483_647),
        ),
        (json!({"type": "string", "nullable": true}), Value::Null),
        (json!({"x-kubernetes-int-or-string": true}), json!("10%")),
        (json!({"x-kubernetes-int-or-string": true}), json!(10)),
        (json!({"type": "integer", "enum": [1, 2]}), json!(2.0)),
        (json!({"type": "string", "format": "no-such"}), json!("x")),
        (
            json!({"x-kubernetes-int-or-string": true,
                   "anyOf": [{"type": "integer"}, {"type": "string"}]}),
            json!("50%"),
        ),
        (
            json!({"type": "object", "oneOf": [{"required": ["a"]}, {"required": ["b"]}],
                   "properties": {"a": {"type": "string"}, "b": {"type": "string"}}}),
            json!({"a": ""}),
        ),
        (
            json!({"type": "array", "x-kubernetes-list-type": "map",
                   "x-kubernetes-list-map-keys": ["n", "p"],
                   "items": {"type": "object", "properties": {
                       "n": {"type": "integer", "default": 1}, "p": {"type": "string", "default": ""}}}}),
            json!([{"n": 1, "p": "a"}, {"n": 1, "p": "b"}]),
        ),
    ];
    for (schema, value) in cases {
        let compiled = custom(json!({"type": "object", "properties": {"v": schema}}));
        assert_eq!(
            errors(&compiled, json!({ "v": value })),
            Vec::<String>::new(),
            "{schema}"
        );
    }
}

#[test]
fn what_was_wrong_before_and_is_unchanged_passes() {
    let schema = custom(json!({
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 2},
            "other": {"type": "string"},
            "plain": {"type": "array", "items": {"type": "string", "maxLength": 2}},
            "keyed": {"type": "array", "x-kubernetes-list-type": "map",
                      "x-kubernetes-list-map-keys": ["n"],
                      "items": {"type": "object", "required": ["n"], "properties": {
                          "n": {"type": "string"}, "v": {"type": "string", "maxLength": 2}}}},
        },
    }));
    let old = object(json!({
        "name": "long", "other": "a", "plain": ["long", "x"],
        "keyed": [{"n": "a", "v": "long"}, {"n": "b", "v": "ok"}],
    }));
    let cases: [(&str, Value, &[&str]); 4] = [
        ("/spec/other", json!("b"), &[]),
        (
            "/spec/name",
            json!("longer"),
            &["spec.name: Too long: may not be more than 2 bytes"],
        ),
        // Items of a plain list can't be told apart, so a changed list is checked whole.
        (
            "/spec/plain",
            json!(["long"]),
            &["spec.plain[0]: Too long: may not be more than 2 bytes"],
        ),
        // Keyed items can: the bad one is still the one that was there.
        (
            "/spec/keyed",
            json!([{"n": "b", "v": "x"}, {"n": "a", "v": "long"}]),
            &[],
        ),
    ];
    for (pointer, value, expected) in cases {
        let mut new = old.clone();
        *new.pointer_mut(pointer).unwrap() = value;
        let errors: Vec<String> = schema
            .validate(&new, Some(&old))
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(errors, expected, "{pointer}");
    }
    assert_eq!(schema.validate(&old, None).len(), 3);
}

#[test]
fn broken_schemas_say_where() {
    let schema = json!({
        "type": "object",
        "properties": {
            "a": {"type": "string", "pattern": "("},
            "b": {"type": "string", "x-kubernetes-validations": [{"rule": "self =="}]},
        },
    });
    let errors = Schema::compile_custom(&schema).unwrap_err();
    let fields: Vec<&str> = errors.iter().map(|error| error.field.as_str()).collect();
    assert_eq!(
        fields,
        [
            "properties[a].pattern",
            "properties[b].x-kubernetes-validations[0].rule"
        ]
    );
}
