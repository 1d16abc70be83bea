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

#[test]
fn what_is_said_in_vain_is_told_and_nothing_else() {
    let spec = |entry: &str| -> WorkloadSpec {
        let yaml = format!(
            "components: [{{name: a, image: i}}]\nhostInterfaces:\n\
             - {{namespace: wasi, package: http, interfaces: [outgoing-handler], {entry}}}"
        );
        serde_saphyr::from_str(&yaml).unwrap()
    };
    let source = |key: &str, value: &str| Layer {
        values: [(key.to_owned(), value.to_owned())].into(),
        ..Layer::default()
    };
    let sources = Sources {
        config_maps: [("map".to_owned(), source("host", "map.test"))].into(),
        secrets: [("secret".to_owned(), source("host-aliases", "Secret.test"))].into(),
    };
    let trigger = |host: &str, spec: &WorkloadSpec| {
        let mut trigger = HttpTrigger::new("hello", waft_api::HttpTriggerSpec::default());
        trigger.spec.ingress = serde_saphyr::from_str(&format!("host: '{host}'")).unwrap();
        trigger.spec.template.spec = spec.clone();
        trigger
    };
    let said = |warnings: Vec<Warning>| -> Vec<String> {
        let texts = warnings
            .into_iter()
            .map(|w| format!("{}: {}", w.reason, w.message));
        texts.collect()
    };
    for (entry, ingress, wanted) in [
        ("config: {host: x.test}", None, &[][..]),
        ("config: {host: x.test}", Some("X.test"), &[]),
        ("config: {host: x.test}", Some("*"), &[]),
        ("config: {host: x.test}", Some("*.test"), &[]),
        (
            "config: {host: x.test}",
            Some("*.other.test"),
            &["HostIgnored: `config.host` `x.test`"],
        ),
        (
            "config: {host: 'x.test,y.test'}",
            Some("x.test"),
            &["HostIgnored: `config.host` `y.test`"],
        ),
        ("configFrom: [{name: map}]", None, &[]),
        ("configFrom: [{name: map}]", Some("map.test"), &[]),
        (
            "configFrom: [{name: map}]",
            Some("x.test"),
            &["HostIgnored: `config.host` `map.test`"],
        ),
        ("configFrom: [{name: missing}]", Some("x.test"), &[]),
        (
            "secretFrom: [{name: secret}]",
            None,
            &["HostIgnored: `host-aliases` of Secret `secret`"],
        ),
        (
            "secretFrom: [{name: secret}]",
            Some("x.test"),
            &["HostIgnored: `host-aliases` of Secret"],
        ),
        ("secretFrom: [{name: secret}]", Some("secret.test"), &[]),
        (
            "config: {host: secret.test}, secretFrom: [{name: secret}]",
            None,
            &[],
        ),
        (
            "config: {address: '0.0.0.0:80'}",
            None,
            &["AddressIgnored: `config.address` `0.0.0.0:80`"],
        ),
    ] {
        let spec = spec(entry);
        let above = ingress.map(|host| trigger(host, &spec));
        let said = said(warnings(&spec, &sources, above.as_ref()));
        assert_eq!(said.len(), wanted.len(), "{entry}, {ingress:?}: {said:?}");
        for (said, wanted) in said.iter().zip(wanted) {
            assert!(said.starts_with(wanted), "{entry}, {ingress:?}: {said}");
            assert!(!said.contains("ecret.test"), "{said}");
        }
    }
}
