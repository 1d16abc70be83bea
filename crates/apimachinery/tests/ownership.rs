//! Server-side apply agrees with what a real server answered to sequences that a generator made up
//! (`recorded/sequences.json`), played on our own objects from start to end; and what must be true
//! of it whoever applies what, in which order. `waft_fuzz` says how long.

#![allow(
    clippy::panic,
    reason = "a test that can't read its cases can only stop"
)]

mod steps;

use serde_json::{Map, Value, json};
use steps::{cases, read, settled, step};
use waft_apimachinery::schema::Schema;
use waft_fuzz::{Random, rounds};

fn recorded() -> (Schema, Value) {
    let document = read("tests/recorded/sequences.json");
    let schema = Schema::compile_custom(&document["schema"]).expect("a schema");
    (schema, document)
}

/// `recorded.rs` takes the real server's object before each step; here a mistake would stay.
#[test]
fn sequences_end_as_on_the_real_server() {
    let (schema, document) = recorded();
    let mut taken = 0;
    for (index, case) in cases(&document) {
        let mut live: Option<Value> = None;
        for given in case["steps"].as_array().into_iter().flatten() {
            let name = format!("o{index}");
            let theirs = &given["answer"];
            taken += 1;
            if given.get("known").is_some() {
                continue;
            }
            match step(&schema, live.as_ref(), &name, given) {
                Ok(ours) => {
                    assert_eq!(
                        settled(&ours),
                        settled(&theirs["object"]),
                        "{index}: {given}"
                    );
                    live = Some(ours);
                }
                Err(status) => assert_eq!(json!(status.code), theirs["code"], "{index}: {given}"),
            }
        }
    }
    assert!(taken > 400, "{taken} steps");
}

/// A value without empty maps and lists; nothing where that is empty too.
fn filled(value: &Value) -> Option<Value> {
    let filled = match value {
        Value::Object(map) => {
            let kept = map
                .iter()
                .filter_map(|(name, inner)| Some((name.clone(), filled(inner)?)));
            Value::Object(kept.collect())
        }
        Value::Array(items) => items.iter().filter_map(filled).collect(),
        other => other.clone(),
    };
    (filled != json!({}) && filled != json!([])).then_some(filled)
}

/// As [`settled`], without times: an apply that changes nothing gives none.
fn timeless(object: &Value) -> Value {
    let mut object = settled(object);
    if let Some(Value::Array(entries)) = object.pointer_mut("/metadata/managedFields") {
        for entry in entries {
            entry
                .as_object_mut()
                .map(|entry| entry.shift_remove("time"));
        }
    }
    object
}

/// Every body that a sequence applied, as far as it has no empty maps and lists.
fn bodies(document: &Value) -> Vec<Value> {
    let steps = cases(document).filter_map(|(_, case)| case["steps"].as_array());
    let accepted = |step: &&Value| step["answer"]["object"].is_object();
    steps
        .flatten()
        .filter(accepted)
        .filter_map(|step| filled(&step["body"]))
        .collect()
}

fn apply(schema: &Schema, live: Option<&Value>, manager: &str, body: &Value) -> Value {
    let given = json!({"verb": "apply", "manager": manager, "body": body, "force": true});
    let applied = step(schema, live, "o", &given);
    applied.unwrap_or_else(|status| panic!("{given}: {}", status.to_json()))
}

/// The fields of one manager.
fn fields(object: &Value, manager: &str) -> Value {
    let entries = object["metadata"]["managedFields"].as_array();
    let mut entries = entries.into_iter().flatten();
    let own = entries.find(|entry| entry["manager"] == manager);
    own.map(|entry| entry["fieldsV1"].clone())
        .unwrap_or_default()
}

/// Every owned field is there.
fn assert_present(fields: &Value, value: &Value, schema: &Value, at: &str) {
    for (element, below) in fields.as_object().into_iter().flatten() {
        let at = format!("{at}/{element}");
        let (found, schema) = match element.split_once(':') {
            Some(("f", name)) => {
                let schema = match &schema["properties"][name] {
                    Value::Null => &schema["additionalProperties"],
                    known => known,
                };
                (value.get(name), schema)
            }
            Some(("k", keys)) => {
                let keys: Map<String, Value> = serde_json::from_str(keys).expect("keys");
                let is = |item: &&Value| keys.iter().all(|(key, value)| &item[key] == value);
                let mut items = value.as_array().into_iter().flatten();
                (items.find(is), &schema["items"])
            }
            Some(("v", text)) => {
                let member: Value = serde_json::from_str(text).expect("a value");
                let mut items = value.as_array().into_iter().flatten();
                (items.find(|item| **item == member), &schema["items"])
            }
            _ => continue,
        };
        match found {
            Some(found) => assert_present(below, found, schema, &at),
            None => panic!("{at} is owned and not there"),
        }
    }
}

/// The fields of a configuration that this one of several managers may have.
fn share(body: &Value, of: usize, managers: usize) -> Value {
    let spec = body["spec"].as_object().into_iter().flatten();
    let mine = |name: &String| name.bytes().map(usize::from).sum::<usize>() % managers == of;
    let spec = spec.filter(|(name, _)| mine(name));
    json!({"spec": spec.map(|(name, value)| (name.clone(), value.clone())).collect::<Map<_, _>>()})
}

#[test]
fn applying_again_changes_nothing_and_owners_have_what_they_own() {
    let (schema, document) = recorded();
    let bodies = bodies(&document);
    let spec = document["schema"]["properties"]["spec"].clone();
    let mut random = Random::new();
    for _ in rounds(300) {
        let mut live: Option<Value> = None;
        for _ in 0..=random.below(6) {
            let manager = random.of(&["one", "two", "three"]);
            let body = random.pick(&bodies);
            let once = apply(&schema, live.as_ref(), manager, body);
            let twice = apply(&schema, Some(&once), manager, body);
            assert_eq!(settled(&twice), settled(&once), "{manager}: {body}");
            for owner in ["one", "two", "three"] {
                let fields = fields(&once, owner);
                assert_present(&fields["f:spec"], &once["spec"], &spec, owner);
            }
            live = Some(once);
        }
    }
}

#[test]
fn managers_of_different_fields_can_apply_in_any_order() {
    const MANAGERS: [&str; 3] = ["one", "two", "three"];
    let (schema, document) = recorded();
    let bodies = bodies(&document);
    let mut random = Random::new();
    for _ in rounds(300) {
        // What each applies, one after the other.
        let plans: Vec<Vec<Value>> = (0..MANAGERS.len())
            .map(|manager| {
                let count = 1 + random.below(3);
                let taken = (0..count).map(|_| random.pick(&bodies));
                let shares = taken.map(|body| share(body, manager, MANAGERS.len()));
                shares
                    .filter(|share| *share != json!({"spec": {}}))
                    .collect()
            })
            .collect();
        if plans.iter().all(Vec::is_empty) {
            continue;
        }
        let mut play = || {
            let mut left: Vec<_> = plans.iter().map(|plan| plan.iter()).collect();
            let mut live: Option<Value> = None;
            while left.iter().any(|plan| plan.len() > 0) {
                let manager = random.below(MANAGERS.len());
                if let Some(body) = left[manager].next() {
                    live = Some(apply(&schema, live.as_ref(), MANAGERS[manager], body));
                }
            }
            timeless(&live.expect("a plan has a step"))
        };
        let (first, second) = (play(), play());
        assert_eq!(first, second, "{plans:?}");
    }
}

#[test]
fn who_applies_nothing_any_more_leaves_no_trace() {
    let (schema, document) = recorded();
    let bodies = bodies(&document);
    let mut random = Random::new();
    for _ in rounds(300) {
        let stays = share(random.pick(&bodies), 0, 2);
        let leaves = share(random.pick(&bodies), 1, 2);
        if stays == json!({"spec": {}}) {
            continue;
        }
        let alone = apply(&schema, None, "stays", &stays);
        let both = apply(&schema, Some(&alone), "leaves", &leaves);
        let after = apply(&schema, Some(&both), "leaves", &json!({}));
        assert_eq!(fields(&after, "leaves"), Value::Null);
        assert_eq!(timeless(&after), timeless(&alone), "{stays} {leaves}");
    }
}
