//! Damaged patches, configurations and bodies: each gives an object or a refusal, and nothing
//! panics. What must hold whatever is put in is checked on the way. `waft_fuzz` says how long.

#![allow(
    clippy::panic,
    reason = "a test that can't read its seeds can only stop"
)]

use std::path::Path;

use serde_json::{Value, json};
use waft_apimachinery::managed::{self, Manager, Operation};
use waft_apimachinery::patch::{json_patch, merge_patch, strategic_merge};
use waft_apimachinery::registry::Registry;
use waft_apimachinery::schema::Schema;
use waft_apimachinery::{decode, protobuf};
use waft_fuzz::{Random, rounds};

fn cases(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/recorded/{name}.json"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path:?}: {error}"))
}

/// Every path of a value, as JSON pointers.
fn pointers(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    let mut below = |name: &str, inner: &Value| {
        let name = name.replace('~', "~0").replace('/', "~1");
        pointers(inner, &format!("{at}/{name}"), found);
    };
    match value {
        Value::Object(map) => map.iter().for_each(|(name, inner)| below(name, inner)),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .for_each(|(index, inner)| below(&index.to_string(), inner)),
        _ => {}
    }
}

fn readable(value: &Value) {
    let text = value.to_string();
    let again: Value =
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!(&again, value);
}

#[test]
fn json_patches_apply_or_are_refused() {
    let documents = cases("strategic");
    let documents = documents["cases"].as_array().expect("cases");
    let mut random = Random::new();
    for _ in rounds(3000) {
        let document = &documents[random.below(documents.len())]["before"];
        let donor = &documents[random.below(documents.len())];
        let mut paths = vec!["/-".into(), "/spec/-1".into(), "/a~2".into(), "x".into()];
        pointers(document, "", &mut paths);
        let mut operations = Vec::new();
        for _ in 0..random.below(12) {
            let mut value = donor.clone();
            random.graft(&mut value, document);
            let path = |random: &mut Random| paths[random.below(paths.len())].clone();
            let mut operation = json!({
                "op": random.of(&["add", "remove", "replace", "move", "copy", "test", "none"]),
                "path": path(&mut random) + random.of(&["", "", "", "/-", "/0", "/new", "/~1"]),
                "from": path(&mut random),
                "value": value,
            });
            if random.once_in(10) {
                random.graft(&mut operation, document);
            }
            operations.push(operation);
        }
        let patch = Value::Array(operations);
        if let Ok(patched) = json_patch(document, &patch) {
            readable(&patched);
        }
        let tests = |operation: &&Value| operation["op"] == "test";
        let tests: Value = patch
            .as_array()
            .into_iter()
            .flatten()
            .filter(tests)
            .cloned()
            .collect();
        if let Ok(unchanged) = json_patch(document, &tests) {
            assert_eq!(&unchanged, document, "tests changed it: {tests}");
        }
    }
}

#[test]
fn copies_cannot_fill_the_memory_or_the_stack() {
    let grow = json!({"op": "copy", "from": "/a", "path": "/a/-"});
    let nest = json!({"op": "copy", "from": "/b", "path": "/b/b"});
    for (document, operation, count) in [
        (json!({"a": ["x".repeat(100)]}), grow, 1000),
        (json!({"b": {"b": {}}}), nest, 9999),
    ] {
        let patch = Value::Array(vec![operation; count]);
        let refused = json_patch(&document, &patch).expect_err("refused");
        assert_eq!(refused.code, 422);
    }
}

#[test]
fn merge_patches_apply() {
    let documents = cases("strategic");
    let documents = documents["cases"].as_array().expect("cases");
    let mut random = Random::new();
    for _ in rounds(3000) {
        let case = &documents[random.below(documents.len())];
        let mut patch = case["before"].clone();
        for _ in 0..=random.below(6) {
            random.graft(&mut patch, case);
        }
        let Ok(once) = merge_patch(&case["before"], &patch) else {
            assert!(!patch.is_object(), "{patch}");
            continue;
        };
        readable(&once);
        let twice = merge_patch(&once, &patch).expect("as before");
        assert_eq!(twice, once, "{patch}");
    }
}

#[test]
fn strategic_merges_apply_or_are_refused() {
    let registry = Registry::builtin();
    let documents = cases("strategic");
    let documents = documents["cases"].as_array().expect("cases");
    let mut random = Random::new();
    for _ in rounds(3000) {
        let case = &documents[random.below(documents.len())];
        let donor = &documents[random.below(documents.len())];
        let text = |field: &str| case["before"][field].as_str().unwrap_or_default();
        let resource = registry.of_kind(text("apiVersion"), text("kind"));
        let schema = resource.expect("a built-in kind").schema();
        let (mut document, mut patch) = (case["before"].clone(), case["patch"].clone());
        let unchanged = strategic_merge(&document, &json!({}), schema).expect("nothing to do");
        assert_eq!(unchanged, document);
        for _ in 0..=random.below(6) {
            random.graft(&mut patch, donor);
            if random.once_in(3) {
                random.graft(&mut document, donor);
            }
        }
        if let Ok(mut merged) = strategic_merge(&document, &patch, schema) {
            readable(&merged);
            schema.prune(&mut merged);
            schema.default(&mut merged);
            let errors = schema.validate(&merged, Some(&document));
            drop(errors);
        }
    }
}

#[test]
fn configurations_apply_or_are_refused() {
    let recorded = cases("apply");
    let schema = Schema::compile_custom(&recorded["schema"]).expect("a schema");
    let all = recorded["cases"].as_array().expect("cases");
    let mut random = Random::new();
    for _ in rounds(1500) {
        let mut live: Option<Value> = None;
        for _ in 0..random.below(6) {
            let donor = &all[random.below(all.len())];
            let case = &all[random.below(all.len())];
            let steps = case["steps"].as_array().expect("steps");
            let step = &steps[random.below(steps.len())];
            let mut body =
                json!({"apiVersion": "fuzz/v1", "kind": "Owned", "metadata": {"name": "o"}});
            for (name, value) in step["body"].as_object().into_iter().flatten() {
                body[name] = value.clone();
            }
            for _ in 0..random.below(3) {
                random.graft(&mut body, donor);
            }
            if let Some(live) = &mut live {
                // What is stored may be anything, its owners too.
                if random.once_in(3) {
                    random.graft(live, &step["answer"]);
                }
            }
            let manager = Manager {
                name: random.of(&["one", "two", "kubectl", ""]).to_owned(),
                operation: if random.once_in(3) {
                    Operation::Update
                } else {
                    Operation::Apply
                },
                api_version: random.of(&["fuzz/v1", "fuzz/v1", "fuzz/v2"]).to_owned(),
                subresource: random.once_in(5).then(|| "status".to_owned()),
                time: "2026-01-01T00:00:00Z".to_owned(),
            };
            match manager.operation {
                Operation::Apply => {
                    let force = random.once_in(2);
                    match managed::apply(live.as_ref(), &body, &schema, &manager, force) {
                        Ok(applied) => live = Some(applied),
                        // The real server calls it its own fault.
                        Err(status) if status.message.contains("typed patch object") => {}
                        Err(status) => assert!((400..500).contains(&status.code), "{status:?}"),
                    }
                }
                Operation::Update => {
                    managed::track_update(live.as_ref(), &mut body, &schema, &manager);
                    live = Some(body);
                }
            }
            live.iter().for_each(readable);
        }
    }
}

#[test]
fn bodies_are_read_or_refused() {
    let seeds = cases("strategic").to_string();
    let mut random = Random::new();
    for _ in rounds(3000) {
        let length = random.below(600);
        let at = random.below(seeds.len() - length);
        let mut bytes = match random.below(4) {
            0 => random.bytes(length),
            1 => b"- [a: &x {b: *x}]\n? |\n  c\n: !!binary >-\n".repeat(1 + length / 40),
            2 => [b"[", &b"[{\"a\":"[..], b"- ", b"{a: "][random.below(4)].repeat(length * 20),
            _ => seeds.as_bytes()[at..at + length].to_vec(),
        };
        random.damage(&mut bytes);
        if let Ok(value) = decode::yaml(&bytes) {
            readable(&value);
        }
        match decode::json(&bytes) {
            Ok(body) => assert_eq!(
                body.value,
                serde_json::from_slice::<Value>(&bytes).expect("JSON")
            ),
            Err(why) => assert!(!why.is_empty(), "{bytes:?}"),
        }
        let mut message = b"k8s\0".to_vec();
        // An envelope of a kind, and what may be an object.
        if random.once_in(2) {
            let kind = random.of(&["Pod", "ConfigMap", "Deployment", "Secret", "Namespace"]);
            let group = if kind == "Deployment" {
                "apps/v1"
            } else {
                "v1"
            };
            let mut about = vec![0x0a, group.len() as u8];
            about.extend(group.bytes());
            about.extend([0x12, kind.len() as u8]);
            about.extend(kind.bytes());
            message.extend([0x0a, about.len() as u8]);
            message.extend(about);
            let length = random.below(100);
            message.extend([0x12, length as u8 & 0x7f]);
            let keys = [0x0a, 0x12, 0x1a, 0x22, 0x2a, 0x08, 0x10, 0x0b, 0x3d];
            while message.len() < 40 + length {
                message.push(keys[random.below(keys.len())]);
                message.push(random.below(20) as u8);
                let content = random.below(20);
                message.extend(random.bytes(content));
            }
        } else {
            message.extend(&bytes);
        }
        random.damage(&mut message);
        if let Ok(value) = protobuf::decode(&message) {
            readable(&value);
        }
    }
}
