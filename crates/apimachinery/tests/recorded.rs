//! Replays what a real kube-apiserver answered to the cases in `recorded/`; `record.py` wrote them.

#![allow(
    clippy::panic,
    reason = "a test that can't read its cases can only stop"
)]

mod steps;

use steps::{GROUP, TIME, cases, ordered, read, settled, step, thing};

use serde_json::{Map, Value, json};
use waft_apimachinery::crd;
use waft_apimachinery::managed::{self, Manager, Operation};
use waft_apimachinery::patch::strategic_merge;
use waft_apimachinery::schema::Schema;
use waft_apimachinery::status::Status;

/// Collects differences, so that one run shows them all.
#[derive(Default)]
struct Differences(Vec<String>);

impl Differences {
    /// A case says in `known` why ours differs, and then must.
    fn check(&mut self, case: &Value, what: &str, ours: &Value, theirs: &Value) {
        let known = case.get("known").is_some();
        if (ours != theirs) != known {
            let hint = if known {
                " (known, but no longer so)"
            } else {
                ""
            };
            self.0.push(format!(
                "{what}{hint}\n    ours   {ours}\n    theirs {theirs}"
            ));
        }
    }

    fn finish(self, cases: usize) {
        assert!(cases > 0);
        assert!(
            self.0.is_empty(),
            "{} differ:\n{}",
            self.0.len(),
            self.0.join("\n")
        );
    }
}

/// Causes in a fixed order: the real server walks Go maps.
fn sorted(causes: &Value) -> Value {
    let mut list = causes.as_array().cloned().unwrap_or_default();
    list.sort_by_key(Value::to_string);
    Value::Array(list)
}

#[test]
fn objects_are_checked_as_the_real_server_checks_them() {
    let document = read("tests/recorded/validation.json");
    let properties: Map<String, Value> = cases(&document)
        .map(|(index, case)| (format!("v{index}"), case["schema"].clone()))
        .collect();
    let schema = Schema::compile_custom(&json!({"type": "object", "properties": {
        "spec": {"type": "object", "properties": properties}}}))
    .unwrap();
    let object = |index: usize, value: Option<&Value>| {
        let mut spec = Map::new();
        if let Some(value) = value {
            spec.insert(format!("v{index}"), value.clone());
        }
        let mut object = thing("Checked", &format!("c{index}"), json!({ "spec": spec }));
        schema.prune(&mut object);
        schema.default(&mut object);
        object
    };
    let mut differences = Differences::default();
    for (index, case) in cases(&document) {
        let old = case.get("old").map(|old| object(index, Some(old)));
        let new = object(index, case.get("value"));
        let errors = schema.validate(&new, old.as_ref());
        let what = format!("{index} {} {}", case["schema"], case["value"]);
        if errors.is_empty() {
            differences.check(case, &what, &new["spec"], &case["answer"]["object"]);
        } else {
            let status = Status::invalid(GROUP, "Checked", "c", errors);
            let ours = sorted(&status.to_json()["details"]["causes"]);
            differences.check(case, &what, &ours, &sorted(&case["answer"]["causes"]));
        }
    }
    differences.finish(cases(&document).count());
}

#[test]
fn definitions_are_refused_where_the_real_server_refuses_them() {
    let document = read("tests/recorded/definitions.json");
    let mut differences = Differences::default();
    for (index, case) in cases(&document) {
        let definition = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("refuseds.{GROUP}")},
            "spec": {"group": GROUP, "scope": "Namespaced",
                "names": {"plural": "refuseds", "kind": "Refused", "singular": "refused",
                          "listKind": "RefusedList"},
                "versions": [{"name": "v1", "served": true, "storage": true,
                    "subresources": {"status": {}}, "schema": {"openAPIV3Schema": case["schema"]}}]},
        });
        let errors = crd::validate(&definition, None);
        let ours = Status::invalid("", "", "", errors).to_json()["details"]["causes"].clone();
        let what = format!("{index} {}", case["schema"]);
        differences.check(
            case,
            &what,
            &sorted(&ours),
            &sorted(&case["answer"]["causes"]),
        );
    }
    differences.finish(cases(&document).count());
}

#[test]
fn ownership_follows_the_real_server_step_by_step() {
    for name in ["apply", "sequences"] {
        follows_step_by_step(&read(&format!("tests/recorded/{name}.json")));
    }
}

fn follows_step_by_step(document: &Value) {
    let schema = Schema::compile_custom(&document["schema"]).expect("a schema");
    let mut differences = Differences::default();
    for (index, case) in cases(document) {
        let mut live: Option<Value> = None;
        for (number, given) in case["steps"].as_array().into_iter().flatten().enumerate() {
            let what = format!(
                "{index}.{number} {} {} {}{}",
                given["verb"], given["manager"], given["body"], given["metadata"]
            );
            match step(&schema, live.as_ref(), &format!("o{index}"), given) {
                Ok(ours) => {
                    differences.check(
                        given,
                        &what,
                        &settled(&ours),
                        &settled(&given["answer"]["object"]),
                    );
                    live = Some(given["answer"]["object"].clone())
                        .filter(Value::is_object)
                        .or(live);
                }
                Err(status) => {
                    // Conflicts with updates name the second they were made in.
                    let theirs = &given["answer"]["status"];
                    differences.check(
                        given,
                        &what,
                        &comparable(&status.to_json()),
                        &comparable(theirs),
                    );
                }
            }
        }
    }
    differences.finish(cases(document).count());
}

/// The built-in schemas of the crate's own data.
fn builtin_schema(api_version: &str, kind: &str) -> Schema {
    let schemas = read("data/dump/schemas.json");
    let resolve = |reference: &str| {
        let name = reference.strip_prefix("#/components/schemas/")?;
        schemas.get(name).cloned()
    };
    let group = api_version
        .split(['.', '/'])
        .next()
        .filter(|_| api_version.contains('/'));
    let group = group.unwrap_or("core");
    let reference = format!("#/components/schemas/io.k8s.api.{group}.v1.{kind}");
    Schema::compile(&json!({ "$ref": reference }), &resolve)
        .unwrap_or_else(|errors| panic!("{errors:?}"))
}

/// The owners, without the controllers that were running beside the real server.
fn owners(object: &Value) -> Value {
    let entries = object
        .pointer("/metadata/managedFields")
        .and_then(Value::as_array);
    let entries = entries.into_iter().flatten();
    entries
        .filter(|entry| entry["manager"] != "kube-controller-manager")
        .map(ordered)
        .collect()
}

/// Takes each object as the real server stored it, so that only the ownership is ours.
#[test]
fn built_in_kinds_are_owned_as_on_the_real_server() {
    let document = read("tests/recorded/builtin.json");
    let mut differences = Differences::default();
    for (index, case) in cases(&document) {
        let text = |name: &str| case[name].as_str().unwrap_or_default();
        let schema = builtin_schema(text("apiVersion"), text("kind"));
        let mut live: Option<Value> = None;
        for (number, given) in case["steps"].as_array().into_iter().flatten().enumerate() {
            let what = format!(
                "{index}.{number} {} {} {}",
                text("kind"),
                given["verb"],
                given["body"]
            );
            let applies = given["verb"] == "apply";
            let manager = Manager {
                name: given["manager"].as_str().unwrap_or_default().to_owned(),
                operation: if applies {
                    Operation::Apply
                } else {
                    Operation::Update
                },
                api_version: text("apiVersion").to_owned(),
                subresource: None,
                time: TIME.to_owned(),
            };
            let theirs = &given["answer"]["object"];
            let ours = if applies {
                let mut body = given["body"].clone();
                body["apiVersion"] = case["apiVersion"].clone();
                body["kind"] = case["kind"].clone();
                body["metadata"]["name"] = json!(format!("b{index}"));
                managed::apply(live.as_ref(), &body, &schema, &manager, false)
            } else {
                let mut new = theirs.clone();
                if let Some(metadata) = new["metadata"].as_object_mut() {
                    metadata.shift_remove("managedFields");
                }
                managed::track_update(live.as_ref(), &mut new, &schema, &manager);
                Ok(new)
            };
            match ours {
                Ok(ours) => differences.check(given, &what, &owners(&ours), &owners(theirs)),
                Err(status) => {
                    let theirs = comparable(&given["answer"]["status"]);
                    differences.check(given, &what, &comparable(&status.to_json()), &theirs);
                }
            }
            live = Some(theirs.clone()).filter(Value::is_object).or(live);
        }
    }
    differences.finish(cases(&document).count());
}

/// A refusal without the times of the writes it names, its causes in a fixed order.
fn comparable(status: &Value) -> Value {
    let stamp = regex::Regex::new(r" at \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ").expect("a pattern");
    let mut status: Value =
        serde_json::from_str(&stamp.replace_all(&status.to_string(), "")).expect("JSON");
    if let Some(causes) = status.pointer_mut("/details/causes") {
        *causes = sorted(causes);
        if causes.as_array().is_some_and(|causes| causes.len() > 1) && status["code"] == 422 {
            status["message"] = Value::Null;
        }
    }
    status
}

#[test]
fn strategic_merges_give_what_the_real_server_gives() {
    let document = read("tests/recorded/strategic.json");
    let mut differences = Differences::default();
    for (index, case) in cases(&document) {
        let kind = case["before"]["kind"].as_str().unwrap_or_default();
        let schema = builtin_schema(
            case["before"]["apiVersion"].as_str().unwrap_or_default(),
            kind,
        );
        let what = format!("{index} {kind} {}", case["patch"]);
        match strategic_merge(&case["before"], &case["patch"], &schema) {
            Err(status) => {
                differences.check(case, &what, &status.to_json(), &case["answer"]["status"]);
            }
            Ok(mut after) => {
                schema.default(&mut after);
                let theirs = &case["answer"]["object"];
                if theirs.is_null() {
                    // The merge itself passed; the kind's own rules refused its result.
                    let code = if schema.validate(&after, None).is_empty() {
                        200
                    } else {
                        422
                    };
                    differences.check(case, &what, &json!(code), &case["answer"]["code"]);
                    continue;
                }
                let mut sides = [json!({}), json!({})];
                for (side, object) in sides.iter_mut().zip([&after, theirs]) {
                    for pointer in COMPARED {
                        if let Some(value) = object.pointer(pointer) {
                            side[pointer] = ordered(&without_defaults(value));
                        }
                    }
                }
                differences.check(case, &what, &sides[0], &sides[1]);
            }
        }
    }
    differences.finish(cases(&document).count());
}

/// Without what the kinds' own defaults add, which no schema says.
fn without_defaults(value: &Value) -> Value {
    const DEFAULTED: [&str; 4] = [
        "imagePullPolicy",
        "terminationMessagePath",
        "terminationMessagePolicy",
        "defaultMode",
    ];
    match value {
        Value::Object(map) => map
            .iter()
            .filter(|(name, _)| !DEFAULTED.contains(&name.as_str()))
            .map(|(name, value)| (name.clone(), without_defaults(value)))
            .collect(),
        Value::Array(list) => list.iter().map(without_defaults).collect(),
        other => other.clone(),
    }
}

const COMPARED: [&str; 11] = [
    "/metadata/labels",
    "/metadata/finalizers",
    "/data",
    "/imagePullSecrets",
    "/secrets",
    "/spec/ports",
    "/spec/strategy",
    "/spec/paused",
    "/spec/template/spec/containers",
    "/spec/template/spec/volumes",
    "/spec/template/spec/tolerations",
];
