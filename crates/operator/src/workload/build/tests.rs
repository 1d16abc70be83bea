use serde::Deserialize;
use serde_json::{Value, json};

use super::*;
use crate::{config_layers::Source, golden, workload::check};

/// A workload's spec and the objects of its namespace.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Case {
    spec: WorkloadSpec,
    #[serde(default)]
    config_maps: BTreeMap<String, BTreeMap<String, String>>,
    #[serde(default)]
    secrets: BTreeMap<String, BTreeMap<String, String>>,
    #[serde(default)]
    pull_secrets: BTreeMap<String, Option<String>>,
}

fn sources(maps: BTreeMap<String, BTreeMap<String, String>>) -> BTreeMap<String, Source> {
    maps.into_iter()
        .map(|(name, values)| {
            let source = Source {
                values,
                ..Source::default()
            };
            (name, source)
        })
        .collect()
}

fn translate(case: Case) -> Value {
    let inputs = Inputs {
        sources: Sources {
            config_maps: sources(case.config_maps),
            secrets: sources(case.secrets),
        },
        pull_secrets: case.pull_secrets,
    };
    let identity = Identity {
        uid: "u-1".into(),
        namespace: "default".into(),
        name: "hello-x-y".into(),
        app: "hello".into(),
        annotations: BTreeMap::new(),
    };
    let built = check(&case.spec).and_then(|checked| {
        let workload = build(&identity, &checked, &inputs)?;
        Ok(json!({
            "workload": workload,
            "placement": placement(&case.spec, &checked),
        }))
    });
    built.unwrap_or_else(|problem| {
        json!({"problem": {"reason": problem.reason.as_str(), "message": problem.message}})
    })
}

#[test]
fn workloads() {
    golden::check("workload", translate);
}
