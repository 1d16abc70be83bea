//! The manifests of others, and objects at the edge of their schemas, decode and encode unchanged.

#![allow(clippy::unwrap_used, reason = "a test that stops says enough")]

use std::path::Path;

use kube::Resource;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use waft_api::{
    Artifact, Host, HostGroup, HttpTrigger, Workload, WorkloadDeployment, WorkloadReplicaSet,
};

/// What the object becomes when it is decoded and encoded again.
fn round_trip(object: &Value) -> Value {
    fn through<K>(object: &Value) -> Value
    where
        K: Resource<DynamicType = ()> + DeserializeOwned + Serialize,
    {
        assert_eq!(object["apiVersion"], K::api_version(&()).as_ref());
        assert_eq!(object["kind"], K::kind(&()).as_ref());
        let typed = serde_json::from_value::<K>(object.clone())
            .unwrap_or_else(|error| panic!("{error} in {object}"));
        serde_json::to_value(typed).unwrap()
    }
    match object["kind"].as_str().unwrap() {
        "Artifact" => through::<Artifact>(object),
        "Host" => through::<Host>(object),
        "Workload" => through::<Workload>(object),
        "WorkloadReplicaSet" => through::<WorkloadReplicaSet>(object),
        "WorkloadDeployment" => through::<WorkloadDeployment>(object),
        "HTTPTrigger" => through::<HttpTrigger>(object),
        "HostGroup" => through::<HostGroup>(object),
        other => panic!("unknown kind {other}"),
    }
}

#[test]
fn manifests_of_others_survive() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/manifests");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let object = std::fs::read_to_string(&path).unwrap();
        let object = serde_saphyr::from_str::<Value>(&object).unwrap();
        assert_eq!(round_trip(&object), object, "{}", path.display());
        seen += 1;
    }
    assert_eq!(seen, 13);
}

#[test]
fn objects_without_a_spec_decode() {
    for crd in waft_api::crds() {
        let object = json!({
            "apiVersion": format!("{}/v1alpha1", crd.spec.group),
            "kind": crd.spec.names.kind,
            "metadata": {"name": "odd"},
        });
        assert_eq!(round_trip(&object)["metadata"]["name"], "odd");
    }
}

#[test]
fn quantities_may_be_numbers() {
    let object = json!({
        "apiVersion": "runtime.wasmcloud.dev/v1alpha1",
        "kind": "Workload",
        "metadata": {"name": "big"},
        "spec": {"volumes": [
            {"name": "a", "ephemeral": {"sizeLimit": 8_589_934_592_u64}},
            {"name": "b", "ephemeral": {"sizeLimit": "8Gi"}},
        ]},
    });
    let volumes = &round_trip(&object)["spec"]["volumes"];
    assert_eq!(volumes[0]["ephemeral"]["sizeLimit"], "8589934592");
    assert_eq!(volumes[1]["ephemeral"]["sizeLimit"], "8Gi");
}

#[test]
fn host_id_is_found_in_either_place() {
    let host = |value: Value| serde_json::from_value::<Host>(value).unwrap();
    let old = host(json!({"spec": {"hostId": "old"}}));
    let both = host(json!({"hostId": "new", "spec": {"hostId": "old"}}));
    assert_eq!((old.id(), both.id()), (Some("old"), Some("new")));
    assert_eq!(host(json!({"hostId": ""})).id(), None);
}

#[test]
fn template_metadata_is_merged_and_the_flat_form_wins() {
    let template = serde_json::from_value::<waft_api::WorkloadTemplate>(json!({
        "labels": {"app": "flat"},
        "metadata": {"labels": {"app": "nested", "tier": "web"}, "annotations": {"a": "b"}},
        "spec": {},
    }))
    .unwrap();
    let labels = serde_json::to_value(template.merged_labels()).unwrap();
    assert_eq!(labels, json!({"app": "flat", "tier": "web"}));
    let annotations = serde_json::to_value(template.merged_annotations()).unwrap();
    assert_eq!(annotations, json!({"a": "b"}));
}
