//! Built-in kinds: references, wrappers and free-form types.

use serde_json::{Value, json};

use crate::schema::Schema;

/// A small document in the form of the real ones.
fn components(reference: &str) -> Option<Value> {
    let name = reference.strip_prefix("#/components/schemas/")?;
    let by_name = |name: &str| json!({"$ref": format!("#/components/schemas/{name}")});
    Some(match name {
        "Pod" => json!({
            "type": "object",
            "properties": {
                "kind": {"type": "string"},
                "apiVersion": {"type": "string"},
                "spec": {"allOf": [by_name("PodSpec")], "default": {}},
                "status": {"allOf": [by_name("PodStatus")], "default": {}},
                "raw": by_name("RawExtension"),
                "created": {"allOf": [by_name("Time")], "default": {}},
            },
        }),
        "PodSpec" => json!({
            "type": "object",
            "required": ["containers"],
            "properties": {
                "containers": {
                    "type": "array",
                    "items": {"allOf": [by_name("Container")], "default": {}},
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["name"],
                    "x-kubernetes-patch-merge-key": "name",
                    "x-kubernetes-patch-strategy": "merge",
                },
            },
        }),
        "PodStatus" => json!({"type": "object", "properties": {"phase": {"type": "string"}}}),
        "Container" => json!({
            "type": "object",
            "required": ["name"],
            "properties": {
                "name": {"type": "string", "default": ""},
                "memory": by_name("api.resource.Quantity"),
                "port": by_name("IntOrString"),
                "self": by_name("Container"),
            },
        }),
        "api.resource.Quantity" => json!({"oneOf": [{"type": "string"}, {"type": "number"}]}),
        "IntOrString" => json!({"oneOf": [{"type": "integer"}, {"type": "string"}],
                                "format": "int-or-string"}),
        "RawExtension" => json!({"type": "object"}),
        "Time" => json!({"type": "string", "format": "date-time"}),
        _ => return None,
    })
}

fn pod() -> Schema {
    Schema::compile(&json!({"$ref": "#/components/schemas/Pod"}), &components).unwrap()
}

#[test]
fn references_prune_default_and_validate() {
    let schema = pod();
    let mut value = json!({
        "kind": "Pod",
        "raw": {"any": {"thing": 1}},
        "spec": {"containers": [
            {"name": "a", "memory": "1048576Ki", "port": 80, "colour": 1,
             "self": {"name": "b", "memory": 2, "self": {"name": "c", "size": 1}}},
        ]},
    });
    assert_eq!(
        schema.prune(&mut value),
        [
            "unknown field \"spec.containers[0].colour\"",
            "unknown field \"spec.containers[0].self.self.size\"",
        ]
    );
    schema.default(&mut value);
    assert_eq!(
        value,
        json!({
            "kind": "Pod",
            "raw": {"any": {"thing": 1}},
            "spec": {"containers": [{"name": "a", "memory": "1Gi", "port": 80,
                "self": {"name": "b", "memory": "2", "self": {"name": "c"}}}]},
            "status": {},
        })
    );
    assert_eq!(schema.validate(&value, None), vec![]);

    let mut missing = json!({"spec": {"containers": [{"port": true}]}});
    schema.default(&mut missing);
    let errors: Vec<String> = schema
        .validate(&missing, None)
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        errors,
        [
            "spec.containers[0].name: Required value",
            "spec.containers[0].port: Invalid value: \"boolean\": spec.containers[0].port in body \
             must be of type integer,string: \"boolean\"",
        ]
    );
}

#[test]
fn missing_references_are_reported() {
    let schema = json!({"type": "object", "properties": {"a": {"$ref": "#/nowhere"}}});
    let errors = Schema::compile(&schema, &components).unwrap_err();
    assert_eq!(
        errors[0].to_string(),
        "properties[a]: Not found: \"#/nowhere\""
    );
}

#[test]
fn wrappers_add_to_what_they_refer_to() {
    let schema = Schema::compile(
        &json!({"type": "object", "properties": {
            "a": {"allOf": [{"$ref": "#/components/schemas/Container"}],
                  "x-kubernetes-map-type": "atomic", "nullable": true},
            "b": {"$ref": "#/components/schemas/Container"},
        }}),
        &components,
    )
    .unwrap();
    let (a, b) = (
        schema.root().field("a").unwrap(),
        schema.root().field("b").unwrap(),
    );
    assert!(a.node.map_atomic && a.node.nullable && a.node.properties.contains_key("name"));
    assert!(!b.node.map_atomic && !b.node.nullable);
    // The type is circular: following it for ever stays in the same few nodes.
    let mut at = b;
    for _ in 0..1000 {
        at = at.field("self").unwrap();
    }
    assert!(at.node.properties.contains_key("memory"));
}
