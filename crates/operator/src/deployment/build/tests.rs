use serde::Deserialize;
use serde_json::{Value, json};
use waft_api::{LocalObjectReference, WorkloadDeploymentSpec};

use super::*;
use crate::{artifacts::Resolved as Image, config_layers::Sources, golden};

/// A deployment and the objects of its namespace.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Case {
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    spec: WorkloadDeploymentSpec,
    #[serde(default)]
    config_maps: BTreeMap<String, BTreeMap<String, String>>,
    /// Image and digest of Artifacts.
    #[serde(default)]
    artifacts: BTreeMap<String, (String, String)>,
}

fn build(case: Case) -> Result<WorkloadReplicaSet, Hindrance> {
    let mut deployment = WorkloadDeployment::new("hello", case.spec);
    deployment.metadata.namespace = Some("default".into());
    deployment.metadata.uid = Some("u-1".into());
    deployment.metadata.labels = Some(case.labels);
    deployment.metadata.annotations = Some(case.annotations);
    let known: Known = case
        .artifacts
        .into_iter()
        .map(|(name, (url, digest))| {
            let image = Image {
                url,
                digest,
                pull_secret: Some(LocalObjectReference {
                    name: "pull".into(),
                }),
            };
            (name, Some(Ok(image)))
        })
        .collect();
    let config_maps = case.config_maps.into_iter().map(|(name, values)| {
        let source = Source {
            values,
            ..Source::default()
        };
        (name, source)
    });
    let inputs = Inputs {
        sources: Sources {
            config_maps: config_maps.collect(),
            ..Sources::default()
        },
        pull_secrets: [("pull".to_owned(), Some("{}".to_owned()))].into(),
    };
    let resolved = resolve(&deployment, &known).map_err(Hindrance::Artifact)?;
    wanted(&deployment, &resolved, &inputs)
}

fn translate(case: Case) -> Value {
    match build(case) {
        Ok(set) => serde_json::to_value(set).unwrap(),
        Err(Hindrance::Artifact(problem)) => {
            json!({"aspect": "Artifact", "reason": problem.reason.as_str(), "message": problem.message})
        }
        Err(Hindrance::Spec(problem)) => {
            json!({"aspect": "Sync", "reason": problem.reason.as_str(), "message": problem.message})
        }
    }
}

#[test]
fn deployments() {
    golden::check("deployment", translate);
}

const CASE: &str = "
spec:
  template:
    annotations: {a: '1'}
    spec:
      components:
      - name: http
        image: artifact://art
        localResources: {environment: {configFrom: [{name: one}]}}
configMaps: {one: {KEY: value}}
artifacts: {art: ['file:./a.wasm', 'sha256:1']}
";

/// Each of these alone is another set; the number of replicas is not.
#[test]
fn what_rolls() {
    let case: Case = serde_saphyr::from_str(CASE).unwrap();
    let name = |case: &Case| build(case.clone()).unwrap().name_any();
    let first = name(&case);
    let mut scaled = case.clone();
    scaled.spec.replicas = Some(7);
    scaled.labels.insert("of".into(), "deployment".into());
    assert_eq!(name(&scaled), first);
    let mut restarted = case.clone();
    restarted
        .spec
        .template
        .annotations
        .insert("a".into(), "2".into());
    let mut configured = case.clone();
    configured
        .config_maps
        .get_mut("one")
        .unwrap()
        .insert("KEY".into(), "other".into());
    let mut published = case.clone();
    published.artifacts.get_mut("art").unwrap().1 = "sha256:2".into();
    let mut limited = case.clone();
    limited.spec.template.spec.components[0].pool_size = Some(1);
    for changed in [restarted, configured, published, limited] {
        assert_ne!(name(&changed), first);
    }
}
