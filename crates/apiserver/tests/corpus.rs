//! Requests that a real kube-apiserver was asked (`corpus/scenarios.py`, `corpus/tools.py`), its
//! answers (`corpus/recorded.json`, `corpus/tools.json`, by `tests/env/record-corpus`), and ours
//! beside them. `tests/env/record-corpus DIR --both` asks both servers live.
//!
//! Differences that are known stand in `corpus/differences.json`, each with its reason; a new one
//! fails, and so does one that is gone. `WAFT_UPDATE_GOLDEN=1` writes the file anew and keeps the
//! reasons. With `--nocapture` the requests are counted by clause.

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use base64::Engine;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use regex::Regex;
use serde_json::{Map, Value, json};
use tower::ServiceExt;
use waft_apiserver::{ApiServer, Config};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus");

/// How long a step waits for the code it is about.
const PATIENCE: Duration = Duration::from_secs(60);

fn read(name: &str) -> Value {
    let text = std::fs::read_to_string(Path::new(FOLDER).join(name)).expect("a file of the corpus");
    serde_json::from_str(&text).expect("JSON")
}

/// All scenarios with the real server's answers.
fn recorded() -> Vec<Value> {
    let files = ["recorded.json", "tools.json"].map(read);
    let all = files.iter().filter_map(Value::as_array).flatten();
    all.cloned().collect()
}

/// Puts what is kept from earlier answers into a text.
fn filled(text: &str, names: &BTreeMap<String, String>) -> String {
    static BIG: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"\{big:(\d+)\}").expect("a pattern"));
    let mut text = text.to_owned();
    for (name, value) in names {
        text = text.replace(&format!("{{{name}}}"), value);
    }
    let big = |found: &regex::Captures<'_>| "x".repeat(found[1].parse().expect("a number"));
    BIG.replace_all(&text, big).into_owned()
}

fn filled_value(value: &Value, names: &BTreeMap<String, String>) -> Value {
    match value {
        Value::String(text) => filled(text, names).into(),
        Value::Array(items) => items.iter().map(|item| filled_value(item, names)).collect(),
        Value::Object(map) => map
            .iter()
            .map(|(key, item)| (key.clone(), filled_value(item, names)))
            .collect::<Map<_, _>>()
            .into(),
        other => other.clone(),
    }
}

/// The body of a step: text as it is, everything else as JSON.
fn body(step: &Value, names: &BTreeMap<String, String>) -> Bytes {
    match step.get("b").map(|body| filled_value(body, names)) {
        None => Bytes::new(),
        Some(Value::String(text)) => match text.strip_prefix("base64:") {
            Some(encoded) => {
                let engine = base64::engine::general_purpose::STANDARD;
                engine.decode(encoded).expect("base64").into()
            }
            None => text.into(),
        },
        Some(other) => other.to_string().into(),
    }
}

async fn send(
    server: &Arc<ApiServer>,
    step: &Value,
    names: &BTreeMap<String, String>,
) -> (u16, Value, Vec<String>) {
    let text = |key: &str| step[key].as_str();
    let path = filled(text("p").expect("a path"), names);
    let mut request = Request::builder()
        .method(text("m").expect("a method"))
        .uri(path.as_str())
        .header("user-agent", "corpus/1")
        .header("accept", text("accept").unwrap_or("application/json"));
    if let Some(kind) = text("ct") {
        request = request.header("content-type", kind);
    }
    if let Some(user) = text("as") {
        request = request.header("impersonate-user", user);
    }
    let request = request
        .body(Full::new(body(step, names)))
        .expect("a request");
    let response = server.service().oneshot(request).await.expect("an answer");
    let code = response.status().as_u16();
    let warnings = response.headers().get_all("warning").iter();
    let warnings = warnings.map(|text| text.to_str().expect("a text").to_owned());
    let warnings = warnings.collect();
    let bytes = response.into_body().collect().await.expect("a body");
    let bytes = bytes.to_bytes();
    let answer = match step["watch"] == true && code == 200 {
        true => {
            let lines = bytes.split(|byte| *byte == b'\n');
            let lines = lines.filter(|line| !line.is_empty());
            lines
                .map(|line| serde_json::from_slice::<Value>(line).expect("an event"))
                .collect()
        }
        false => serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| String::from_utf8_lossy(&bytes).into_owned().into()),
    };
    (code, answer, warnings)
}

/// As `record-corpus` does it: what varies stands in brackets, what controllers add is gone.
fn normal(value: &Value, key: &str) -> Value {
    static PATTERNS: LazyLock<[(Regex, &str); 5]> = LazyLock::new(|| {
        let pattern = |text: &str| Regex::new(text).expect("a pattern");
        [
            (pattern("x{1000,}"), "<big>"),
            (
                pattern("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"),
                "<uid>",
            ),
            (
                pattern(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"),
                "<time>",
            ),
            (
                pattern(
                    r"(object meta: |resource version: |current: |in the precondition \(|in record \()\d+",
                ),
                "${1}<version>",
            ),
            // A line of the real server's source, as its build named it.
            (pattern(r#"in scheme "[^"]+""#), r#"in scheme "<place>""#),
        ]
    });
    static AGE: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"^((\d+[smhdy]){1,2}|<unknown>)$").expect("a pattern"));
    match value {
        Value::String(text) if key == "resourceVersion" && !text.is_empty() && text != "0" => {
            "<version>".into()
        }
        Value::String(text) if matches!(key, "continue" | "token") && !text.is_empty() => {
            format!("<{key}>").into()
        }
        Value::String(text) if key == "gitVersion" || text.starts_with("10.96.") => {
            "<varies>".into()
        }
        Value::String(text) => {
            let mut text = sorted_within(text);
            for (pattern, replacement) in PATTERNS.iter() {
                text = pattern.replace_all(&text, *replacement).into_owned();
            }
            text.into()
        }
        Value::Array(items) if key == "managedFields" => {
            // Writes of one second are in the order of names, and seconds end at any time.
            let mut items: Vec<Value> = items
                .iter()
                .filter(|item| !foreign(item))
                .map(|item| normal(item, ""))
                .collect();
            items.sort_by_key(|item| {
                ["operation", "manager", "apiVersion", "subresource"]
                    .map(|key| item[key].to_string())
            });
            items.into()
        }
        Value::Array(items) => items
            .iter()
            .filter(|item| !foreign(item))
            .map(|item| match (key, item.as_str()) {
                ("cells", Some(text)) if AGE.is_match(text) => "<age>".into(),
                ("cells", _) => normal(item, ""),
                _ => normal(item, key),
            })
            .collect(),
        Value::Object(map) => {
            let out: Map<String, Value> = map
                .iter()
                .filter(|(key, _)| *key != "storageVersionHash")
                .map(|(key, item)| {
                    // Keys of managed fields hold uids too.
                    let uid = &PATTERNS[1];
                    (
                        uid.0.replace_all(key, uid.1).into_owned(),
                        normal(item, key),
                    )
                })
                .collect();
            out.into()
        }
        other => other.clone(),
    }
}

/// A sentence whose quoted JSON has its keys in order, and no resource version.
fn sorted_within(text: &str) -> String {
    let Some((before, rest)) = text.split_once("Invalid value: \"{") else {
        return text.to_owned();
    };
    let quoted = format!("\"{{{rest}");
    let mut reader = serde_json::Deserializer::from_str(&quoted).into_iter::<String>();
    let Some(Ok(inner)) = reader.next() else {
        return text.to_owned();
    };
    let after = &quoted[reader.byte_offset()..];
    let Ok(mut value) = serde_json::from_str::<Value>(&inner) else {
        return text.to_owned();
    };
    if let Some(version) = value.pointer_mut("/metadata/resourceVersion") {
        *version = "<version>".into();
    }
    value.sort_all_objects();
    let value = Value::String(value.to_string());
    format!("{before}Invalid value: {value}{after}")
}

/// Replaces names that were made of a prefix that the request sent.
fn without_suffixes(value: &Value, step: &Value) -> Value {
    let Some(prefix) = step["b"]["metadata"]["generateName"].as_str() else {
        return value.clone();
    };
    if prefix.is_empty() {
        return value.clone();
    }
    let prefix: String = prefix.chars().take(58).collect();
    let made = format!(
        "{}[bcdfghjklmnpqrstvwxz2456789]{{5}}",
        regex::escape(&prefix)
    );
    let made = Regex::new(&made).expect("a pattern");
    let replacement = format!("{prefix}<suffix>");
    let replaced = made
        .replace_all(&value.to_string(), regex::NoExpand(&replacement))
        .into_owned();
    serde_json::from_str(&replaced).expect("JSON")
}

fn foreign(item: &Value) -> bool {
    let object = item.get("object").unwrap_or(item);
    let quiet = item["type"] == "BOOKMARK" && !item.to_string().contains("initial-events-end");
    let manager = item["manager"].as_str().unwrap_or_default();
    object["metadata"]["name"] == "kube-root-ca.crt"
        || quiet
        || manager.starts_with("kube-controller-manager")
}

fn kept(answer: Value, keep: Option<&str>) -> Value {
    match keep {
        None => answer,
        Some(_) if !answer.is_object() => Value::Null,
        Some("kind") => json!({"kind": answer["kind"]}),
        Some("openapi") => json!({"openapi": answer["openapi"], "kind": answer["kind"]}),
        Some("paths") if answer["paths"].is_object() => {
            let paths = answer["paths"].as_object().expect("an object");
            let mut paths: Vec<&String> = paths.keys().collect();
            paths.sort();
            json!(paths)
        }
        Some(_) => answer,
    }
}

/// One scenario: where our answers differ, and how.
async fn replay(server: Arc<ApiServer>, scenario: Value) -> Vec<(String, String)> {
    let number = scenario["number"].to_string();
    let space = format!("corpus-{number}");
    let mut names = BTreeMap::from([
        ("ns".to_owned(), space.clone()),
        ("id".to_owned(), number.clone()),
    ]);
    let create = json!({"m": "POST", "p": "/api/v1/namespaces", "ct": "application/json", "b": {"metadata": {"name": space}}});
    let (code, answer, _) = send(&server, &create, &names).await;
    assert_eq!(code, 201, "{answer}");
    let account =
        json!({"m": "GET", "p": format!("/api/v1/namespaces/{space}/serviceaccounts/default")});
    support::eventually("an account", || async {
        send(&server, &account, &names).await.0 == 200
    })
    .await;
    let mut differences = Vec::new();
    for (index, step) in scenario["steps"]
        .as_array()
        .into_iter()
        .flatten()
        .enumerate()
    {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let (code, answer, warnings) = loop {
            let (code, answer, warnings) = send(&server, step, &names).await;
            let waited_for = step["until"]
                .as_u64()
                .is_none_or(|until| until == u64::from(code));
            if waited_for || tokio::time::Instant::now() > deadline {
                break (code, answer, warnings);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        if let Some(name) = step["save"].as_str() {
            for field in ["uid", "resourceVersion", "continue"] {
                if let Some(value) = answer["metadata"][field].as_str() {
                    names.insert(format!("{name}.{field}"), value.to_owned());
                }
            }
        }
        let ours = without_suffixes(&normal(&kept(answer, step["keep"].as_str()), ""), step);
        let theirs = without_suffixes(&normal(&step["answer"], ""), step);
        let expected = step.get("warnings").cloned().unwrap_or_else(|| json!([]));
        let warned = json!(warnings) != expected;
        if json!(code) != step["code"] || ours != theirs || warned {
            let what = format!(
                "{} {}",
                step["m"].as_str().unwrap_or_default(),
                step["p"].as_str().unwrap_or_default()
            );
            let both = format!(
                "{what}\n  sent   {}\n  theirs {} {theirs}\n  ours   {code} {ours}\n  warned {expected}\n  we     {warnings:?}",
                step.get("b").unwrap_or(&Value::Null),
                step["code"]
            );
            differences.push((format!("{number}.{index}"), both));
        }
    }
    differences
}

#[test]
fn clauses_have_their_share_of_the_corpus() {
    let recorded = recorded();
    let mut clauses: BTreeMap<&str, usize> = BTreeMap::new();
    for scenario in &recorded {
        let steps = scenario["steps"].as_array().expect("steps").len();
        *clauses
            .entry(scenario["clause"].as_str().expect("a clause"))
            .or_default() += steps;
    }
    let all: usize = clauses.values().sum();
    for (clause, count) in &clauses {
        println!(
            "{count:5} {:4.1} % {clause}",
            *count as f64 * 100.0 / all as f64
        );
        assert!(*count >= 10, "{clause} has only {count} requests");
        assert!(count * 20 <= all, "{clause} is more than a twentieth");
    }
    println!("{all:5} requests");
    assert!(all >= 1000, "{all} requests");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_are_those_of_the_real_server() {
    let server = ApiServer::open(Config::default()).await.expect("a server");
    let recorded = recorded();
    let definition = read("definition.json");
    server
        .install_crds(vec![definition])
        .await
        .expect("installed");
    let mut running = tokio::task::JoinSet::new();
    for scenario in &recorded {
        running.spawn(replay(server.clone(), scenario.clone()));
    }
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    while let Some(done) = running.join_next().await {
        found.extend(done.expect("a scenario"));
    }
    let known = read("differences.json");
    let reason = |step: &String| known[step].as_str().unwrap_or_default().to_owned();
    if std::env::var_os("WAFT_UPDATE_GOLDEN").is_some() {
        let mut order: Vec<&String> = found.keys().collect();
        order.sort_by_key(|step| {
            let (scenario, index) = step.split_once('.').expect("two numbers");
            (scenario.parse::<u32>().ok(), index.parse::<u32>().ok())
        });
        let all: Map<String, Value> = order
            .into_iter()
            .map(|step| (step.clone(), reason(step).into()))
            .collect();
        let text = serde_json::to_string_pretty(&all).expect("JSON");
        std::fs::write(Path::new(FOLDER).join("differences.json"), text + "\n").expect("written");
        for (step, both) in &found {
            println!("{step} {both}");
        }
        return;
    }
    let mut wrong = Vec::new();
    for (step, both) in &found {
        if reason(step).is_empty() {
            wrong.push(format!("{step} {both}"));
        }
    }
    for step in known
        .as_object()
        .into_iter()
        .flatten()
        .map(|(step, _)| step)
    {
        if !found.contains_key(step) {
            wrong.push(format!("{step} is no difference any more"));
        }
    }
    println!("{} of the answers differ, each with a reason", found.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
