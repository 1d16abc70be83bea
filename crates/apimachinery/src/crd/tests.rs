use serde_json::{Value, json};

use super::*;

fn definition(schema: Value) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.g.io"},
        "spec": {
            "group": "g.io",
            "scope": "Namespaced",
            "names": {"plural": "things", "singular": "thing", "kind": "Thing",
                      "listKind": "ThingList", "shortNames": ["th"]},
            "versions": [{"name": "v1", "served": true, "storage": true,
                          "schema": {"openAPIV3Schema": schema}}],
        },
    })
}

fn texts(errors: &[FieldError]) -> Vec<String> {
    errors.iter().map(ToString::to_string).collect()
}

#[test]
fn a_good_definition_passes_and_is_completed() {
    let mut crd = definition(json!({
        "type": "object",
        "properties": {"spec": {"type": "object", "properties": {
            "n": {"type": "integer", "default": 1, "minimum": 0},
            "port": {"x-kubernetes-int-or-string": true,
                     "anyOf": [{"type": "integer"}, {"type": "string"}]},
            "free": {"x-kubernetes-preserve-unknown-fields": true},
            "list": {"type": "array", "x-kubernetes-list-type": "map",
                     "x-kubernetes-list-map-keys": ["a", "b"],
                     "items": {"type": "object", "required": ["a"], "properties": {
                         "a": {"type": "string"}, "b": {"type": "string", "default": "x"}}}},
        }}},
    }));
    crd["spec"]["names"] = json!({"plural": "things", "kind": "Thing"});
    default(&mut crd);
    assert_eq!(crd["spec"]["names"]["singular"], "thing");
    assert_eq!(crd["spec"]["names"]["listKind"], "ThingList");
    assert_eq!(crd["spec"]["conversion"], json!({"strategy": "None"}));
    assert_eq!(texts(&validate(&crd, None)), Vec::<String>::new());
    assert_eq!(
        accepted_names(&crd),
        json!({"plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList"})
    );
}

#[test]
fn wrong_names_and_versions_are_reported() {
    let cases: [(&str, Value, &str); 10] = [
        (
            "/metadata/name",
            json!("x"),
            "metadata.name: Invalid value: \"x\": must be spec.names.plural+\".\"+spec.group",
        ),
        (
            "/spec/scope",
            json!("Galaxy"),
            "spec.scope: Unsupported value: \"Galaxy\": supported values: \"Cluster\", \"Namespaced\"",
        ),
        ("/spec/scope", json!(""), "spec.scope: Required value"),
        (
            "/spec/names/kind",
            json!(""),
            "spec.names.kind: Required value",
        ),
        (
            "/spec/names/listKind",
            json!("Thing"),
            "spec.names.listKind: Invalid value: \"Thing\": kind and listKind may not be the same",
        ),
        (
            "/spec/versions/0/storage",
            json!(false),
            "spec.versions: Invalid value: [\"v1\"]: must have exactly one version marked as storage \
          version",
        ),
        (
            "/spec/versions/0/served",
            Value::Null,
            "spec.versions[0].served: Required value",
        ),
        (
            "/spec/versions/0/schema",
            json!({}),
            "spec.versions[0].schema.openAPIV3Schema: Required value",
        ),
        (
            "/spec/versions/0/name",
            json!("V1"),
            "spec.versions[0].name: Invalid value: \"V1\": ",
        ),
        (
            "/spec/names/shortNames",
            json!(["A"]),
            "spec.names.shortNames[0]: Invalid value: \"A\": ",
        ),
    ];
    for (pointer, value, message) in cases {
        let mut crd = definition(json!({"type": "object"}));
        *crd.pointer_mut(pointer).unwrap() = value;
        let errors = texts(&validate(&crd, None));
        assert!(
            errors.iter().any(|error| error.starts_with(message)),
            "{pointer}: {errors:?}"
        );
    }
}

#[test]
fn schemas_must_be_structural() {
    let cases = [
        (
            json!({}),
            ".type: Required value: must not be empty at the root",
        ),
        (
            json!({"type": "array", "items": {"type": "string"}}),
            ".type: Invalid value: \"array\": must be object at the root",
        ),
        (
            json!({"type": "object", "properties": {"a": {}}}),
            ".properties[a].type: Required value: must not be empty for specified object fields",
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "array"}}}),
            ".properties[a].items: Required value: must be specified",
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "array", "items": {}}}}),
            ".properties[a].items.type: Required value: must not be empty for specified array items",
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "text"}}}),
            ".properties[a].type: Unsupported value: \"text\": supported values: \"array\"",
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "object",
            "properties": {"b": {"type": "string"}}, "additionalProperties": {"type": "string"}}}}),
            ".properties[a].additionalProperties: Forbidden: additionalProperties and properties are \
          mutual exclusive",
        ),
        (
            json!({"type": "object", "additionalProperties": false}),
            ".additionalProperties: Forbidden: must not be used at the root",
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "integer", "default": "x"}}}),
            ".properties[a].default: Invalid value: \"string\":  in body must be of type integer",
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "object", "default": {"q": 1},
            "properties": {"b": {"type": "string"}}}}}),
            ".properties[a].default: Invalid value: {\"q\":1}: must not have unknown fields",
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "array",
            "x-kubernetes-list-type": "map", "items": {"type": "object"}}}}),
            ".properties[a].x-kubernetes-list-map-keys: Required value: must not be empty if",
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "array",
            "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["n"],
            "items": {"type": "object", "properties": {"n": {"type": "string"}}}}}}),
            ".properties[a].items.properties[n].default: Required value: this property is in",
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "string",
            "x-kubernetes-list-type": "set"}}}),
            ".properties[a].type: Invalid value: \"string\": must be array if x-kubernetes-list-type",
        ),
        (
            json!({"type": "object", "oneOf": [{"type": "object", "required": ["a"]}]}),
            ".oneOf[0].type: Forbidden: must be empty to be structural",
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "string", "pattern": "("}}}),
            ".properties[a].pattern: Invalid value: \"(\": must be a valid regular expression",
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "string",
            "x-kubernetes-validations": [{"rule": "self =="}]}}}),
            ".properties[a].x-kubernetes-validations[0].rule: Invalid value: {\"Rule\":\"self ==\",",
        ),
        (
            json!({"type": "object", "properties": {"a": {"$ref": "#/x", "type": "string"}}}),
            ".properties[a].$ref: Forbidden: $ref is not supported",
        ),
    ];
    for (schema, message) in cases {
        let errors = texts(&validate(&definition(schema.clone()), None));
        let message = format!("spec.validation.openAPIV3Schema{message}");
        assert!(
            errors.iter().any(|error| error.starts_with(&message)),
            "{schema}: {errors:?}"
        );
    }
    let mut two = definition(json!({"type": "array"}));
    let mut second = two["spec"]["versions"][0].clone();
    second["name"] = json!("v2");
    second["storage"] = json!(false);
    two["spec"]["versions"].as_array_mut().unwrap().push(second);
    let errors = texts(&validate(&two, None));
    assert!(
        errors[0].starts_with("spec.versions[0].schema.openAPIV3Schema.type: "),
        "{errors:?}"
    );
}

#[test]
fn what_identifies_a_kind_cannot_change() {
    let mut old = definition(json!({"type": "object"}));
    old["status"] = json!({"storedVersions": ["v0", "v1"]});
    let mut new = old.clone();
    new["spec"]["scope"] = json!("Cluster");
    assert_eq!(
        texts(&validate(&new, Some(&old))),
        [
            "spec.scope: Invalid value: \"Cluster\": field is immutable",
            "status.storedVersions[0]: Invalid value: \"v0\": missing from spec.versions; v0 was \
             previously a storage version, and must remain in spec.versions until a storage \
             migration ensures no data remains persisted in v0 and removes v0 from \
             status.storedVersions",
        ]
    );
    // A schema that was accepted before the rules grew stays accepted.
    let old = definition(json!({"type": "object", "properties": {"a": {}}}));
    assert_eq!(texts(&validate(&old, Some(&old))), Vec::<String>::new());
}
