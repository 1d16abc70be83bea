//! The rules against objects that keep and break them; the sentences are compared by the corpus.

use serde_json::{Value, json};

use super::{RULES, check};
use crate::registry::Registry;

fn fields(group: &str, plural: &str, object: Value, old: Option<Value>) -> Vec<String> {
    let registry = Registry::builtin();
    let resource = registry.get(group, "v1", plural).expect("a resource");
    let errors = check(&object, old.as_ref(), resource);
    errors.into_iter().map(|error| error.field).collect()
}

fn deployment() -> Value {
    json!({"spec": {"replicas": 1, "selector": {"matchLabels": {"app": "x"}}, "template": {
        "metadata": {"labels": {"app": "x"}},
        "spec": {"containers": [{"name": "c", "image": "i"}], "restartPolicy": "Always"}}}})
}

#[test]
fn every_rule_belongs_to_a_kind_that_is_served() {
    let registry = Registry::builtin();
    for kind in RULES.keys() {
        assert!(
            registry
                .all()
                .any(|resource| format!("{}/{}", resource.group, resource.plural) == *kind),
            "{kind}"
        );
    }
}

#[test]
fn workloads_select_their_own_pods() {
    let try_with = |pointer: &str, value: Value| {
        let mut object = deployment();
        *object.pointer_mut(pointer).expect("a place") = value;
        fields("apps", "deployments", object, None)
    };
    assert_eq!(fields("apps", "deployments", deployment(), None), [""; 0]);
    let labels = "/spec/template/metadata/labels";
    assert_eq!(
        try_with(labels, json!({"app": "y"})),
        ["spec.template.metadata.labels"]
    );
    assert_eq!(try_with("/spec/replicas", json!(-1)), ["spec.replicas"]);
    let containers = "/spec/template/spec/containers";
    let spec = "spec.template.spec.containers";
    assert_eq!(try_with(containers, json!([])), [spec]);
    assert_eq!(
        try_with(
            containers,
            json!([{"name": "c", "image": "i"}, {"name": "c"}])
        ),
        [format!("{spec}[1].image"), format!("{spec}[1].name")]
    );
    assert_eq!(
        try_with(
            containers,
            json!([{"name": "c", "image": "i", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}])
        ),
        [format!("{spec}[0].volumeMounts[0].name")]
    );
}

#[test]
fn what_was_wrong_before_and_stays_is_let_through() {
    let mut wrong = deployment();
    wrong["spec"]["replicas"] = json!(-1);
    let mut other = wrong.clone();
    other["metadata"] = json!({"labels": {"a": "b"}});
    assert_eq!(fields("apps", "deployments", other, Some(wrong)), [""; 0]);
}

#[test]
fn what_is_fixed_stays() {
    let mut other = deployment();
    other["spec"]["selector"] = json!({"matchLabels": {"app": "y"}});
    other["spec"]["template"]["metadata"]["labels"] = json!({"app": "y"});
    assert_eq!(
        fields("apps", "deployments", other, Some(deployment())),
        ["spec.selector"]
    );
    let secret = |kind: &str| json!({"type": kind});
    assert_eq!(
        fields("", "secrets", secret("b"), Some(secret("a"))),
        ["type"]
    );
    assert_eq!(
        fields("", "secrets", secret("a"), Some(secret("a"))),
        [""; 0]
    );
}

#[test]
fn services_name_their_ports_when_there_are_several() {
    let service = |ports: Value| json!({"spec": {"type": "ClusterIP", "ports": ports}});
    let of = |ports: Value| fields("", "services", service(ports), None);
    assert_eq!(of(json!([{"port": 80}])), [""; 0]);
    assert_eq!(
        of(json!([{"port": 80}, {"port": 81}])),
        ["spec.ports[0].name", "spec.ports[1].name"]
    );
    assert_eq!(
        of(json!([{"port": 0, "targetPort": 0}])),
        ["spec.ports[0].port", "spec.ports[0].targetPort"]
    );
    assert_eq!(of(json!([])), ["spec.ports"]);
    assert_eq!(
        of(json!([{"port": 80, "name": "a"}, {"port": 81, "name": "a"}])),
        ["spec.ports[1].name"]
    );
}
