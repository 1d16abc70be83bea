//! The Workload of a set.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt as _;
use waft_api::{
    Workload, WorkloadReplicaSet,
    names::{ANNOTATION_TEMPLATE_HASH, FINALIZER_WORKLOAD, LABEL_WORKLOAD_DEPLOYMENT},
};

use crate::object::owner_reference;

/// One replica, under its name.
pub(crate) fn workload(set: &WorkloadReplicaSet, template_hash: &str, name: &str) -> Workload {
    let template = &set.spec.template;
    let mut labels = template.merged_labels();
    if let Some(deployment) = set.labels().get(LABEL_WORKLOAD_DEPLOYMENT) {
        labels.insert(LABEL_WORKLOAD_DEPLOYMENT.into(), deployment.clone());
    }
    let mut annotations = template.merged_annotations();
    annotations.insert(ANNOTATION_TEMPLATE_HASH.into(), template_hash.into());
    Workload {
        metadata: ObjectMeta {
            name: Some(name.into()),
            namespace: set.namespace(),
            labels: some(labels),
            annotations: some(annotations),
            owner_references: Some(vec![owner_reference(set)]),
            finalizers: Some(vec![FINALIZER_WORKLOAD.into()]),
            ..ObjectMeta::default()
        },
        spec: template.spec.clone(),
        status: None,
    }
}

fn some(map: BTreeMap<String, String>) -> Option<BTreeMap<String, String>> {
    (!map.is_empty()).then_some(map)
}
