use serde::Deserialize;
use serde_json::{Value, json};
use waft_api::{Workload, WorkloadDeployment};
use waft_ir::{HostId, WorkloadId};

use super::*;
use crate::{config_layers::Source as Layer, deployment::effective_spec, golden, routes};

/// Objects of a namespace, and how many replicas of each serve.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Case {
    #[serde(default)]
    triggers: Vec<HttpTrigger>,
    #[serde(default)]
    deployments: Vec<WorkloadDeployment>,
    #[serde(default)]
    workloads: Vec<Workload>,
    #[serde(default)]
    config_maps: std::collections::BTreeMap<String, std::collections::BTreeMap<String, String>>,
    /// Names of objects that have one replica that serves.
    #[serde(default)]
    serving: Vec<String>,
    /// Names of objects whose component exports a handler.
    #[serde(default)]
    exporting: Vec<String>,
}

fn translate(case: Case) -> Value {
    let serving = |meta: &ObjectMeta| {
        let name = meta.name.clone().unwrap();
        let backend = Backend {
            host: HostId("h".into()),
            workload: WorkloadId(format!("{name}-1")),
        };
        Serving {
            backends: if case.serving.contains(&name) {
                vec![backend]
            } else {
                vec![]
            },
            exports_http: case.exporting.contains(&name),
            has_completed: false,
        }
    };
    let layer = |values: &std::collections::BTreeMap<String, String>| Layer {
        values: values.clone(),
        ..Layer::default()
    };
    let config_maps = Sources {
        config_maps: case
            .config_maps
            .iter()
            .map(|(name, values)| (name.clone(), layer(values)))
            .collect(),
        ..Sources::default()
    };
    let of_triggers = case
        .triggers
        .iter()
        .map(|trigger| of_trigger(trigger, serving(&trigger.metadata)));
    let of_deployments = case.deployments.iter().map(|deployment| {
        let (meta, spec) = (&deployment.metadata, effective_spec(deployment));
        of_spec(
            Kind::Deployment,
            meta,
            &spec,
            serving(meta),
            &config_maps,
            None,
        )
    });
    let of_workloads = case.workloads.iter().map(|workload| {
        let meta = &workload.metadata;
        of_spec(
            Kind::Workload,
            meta,
            &workload.spec,
            serving(meta),
            &config_maps,
            None,
        )
    });
    let sources = of_triggers
        .chain(of_deployments)
        .chain(of_workloads)
        .flatten();
    let (routes, outcomes) = routes::decided(sources.collect());
    let routes: Vec<Value> = routes
        .iter()
        .map(|route| {
            json!({
                "route": format!("{}{}", route.key.host, route.key.path),
                "source": route.source,
                "timeout": route.timeout.map(|timeout| format!("{}ms", timeout.as_millis())),
                "backends": route.backends.iter().map(|b| b.workload.to_string()).collect::<Vec<_>>(),
            })
        })
        .collect();
    let refused: Vec<Value> = outcomes
        .iter()
        .flat_map(|(source, outcome)| outcome.refused.iter().map(move |refusal| (source, refusal)))
        .map(|(source, refusal)| {
            json!({
                "source": source.to_string(),
                "reason": refusal.reason.as_str(),
                "message": refusal.message,
            })
        })
        .collect();
    json!({"routes": routes, "refused": refused})
}

#[test]
fn objects_to_routes() {
    golden::check("routes", translate);
}
