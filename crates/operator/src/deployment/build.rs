//! The WorkloadReplicaSet that a deployment wants, and its name.
//!
//! Pure. The name is a hash of the template and of the content of everything that the template
//! names, so that a change of any of them is another set.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt as _;
use waft_api::{
    WorkloadDeployment, WorkloadReplicaSet, WorkloadReplicaSetSpec, WorkloadSpec, WorkloadTemplate,
    names::LABEL_WORKLOAD_DEPLOYMENT,
};

use crate::{
    artifacts::{self, Known},
    config_layers::Source,
    names::{self, Hasher},
    object::owner_reference,
    problem::Problem,
    workload::{self, Inputs},
};

/// Annotations that describe the deployment and are not for its sets.
const NOT_INHERITED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Why there is no set to want, by the aspect that it spoils.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Hindrance {
    /// An Artifact is missing or not resolved.
    Artifact(Problem),
    /// The spec makes no sense, or configuration is missing.
    Spec(Problem),
}

/// A template, the images of Artifacts filled in.
#[derive(Clone, Debug)]
pub(crate) struct Resolved {
    /// The template.
    pub template: WorkloadTemplate,
    /// Digests of the Artifacts' images, by component.
    pub digests: BTreeMap<String, String>,
}

/// The template's spec, with the deployment's own `kubernetes` over it.
pub(crate) fn effective_spec(deployment: &WorkloadDeployment) -> WorkloadSpec {
    let mut spec = deployment.spec.template.spec.clone();
    if let Some(kubernetes) = &deployment.spec.kubernetes {
        spec.kubernetes = Some(kubernetes.clone());
    }
    spec
}

/// Fills in the images of Artifacts.
pub(crate) fn resolve(deployment: &WorkloadDeployment, known: &Known) -> Result<Resolved, Problem> {
    let mut template = deployment.spec.template.clone();
    template.spec = effective_spec(deployment);
    let digests = artifacts::replace(&mut template.spec, &deployment.spec.artifacts, known)?;
    Ok(Resolved { template, digests })
}

/// The wanted set.
pub(crate) fn wanted(
    deployment: &WorkloadDeployment,
    resolved: &Resolved,
    inputs: &Inputs,
) -> Result<WorkloadReplicaSet, Hindrance> {
    let Resolved { template, digests } = resolved;
    // What the template names must be there: otherwise the set would not become ready, with Recreate
    // the old one would be gone, and what comes a moment later in the same file would be a change
    // that rolls.
    workload::check_inputs(&template.spec, inputs).map_err(Hindrance::Spec)?;
    let mut hasher = Hasher::default();
    hasher.value(template).value(digests);
    for (name, source) in &inputs.sources.config_maps {
        hash_source(&mut hasher, "ConfigMap", name, source);
    }
    for (name, source) in &inputs.sources.secrets {
        hash_source(&mut hasher, "Secret", name, source);
    }
    let name = deployment.name_any();
    let mut labels = deployment.labels().clone();
    labels.insert(LABEL_WORKLOAD_DEPLOYMENT.into(), name.clone());
    let mut annotations = deployment.annotations().clone();
    annotations.remove(NOT_INHERITED);
    Ok(WorkloadReplicaSet {
        metadata: ObjectMeta {
            name: Some(names::replica_set(&name, &hasher.template())),
            namespace: deployment.namespace(),
            labels: Some(labels),
            annotations: (!annotations.is_empty()).then_some(annotations),
            owner_references: Some(vec![owner_reference(deployment)]),
            ..ObjectMeta::default()
        },
        spec: WorkloadReplicaSetSpec {
            replicas: Some(deployment.spec.replicas.unwrap_or(1)),
            template: template.clone(),
        },
        status: None,
    })
}

fn hash_source(hasher: &mut Hasher, kind: &str, name: &str, source: &Source) {
    hasher
        .bytes(kind.as_bytes())
        .bytes(name.as_bytes())
        .value(&source.values)
        .value(&source.binary);
}

#[cfg(test)]
mod tests;
