//! The WorkloadDeployment of a trigger.
//!
//! Pure. The inbound interface is added to the template's unnamed `wasi:http` entry, or as an entry
//! of its own; a hash of the trigger's part is noted on the deployment, so that it can be told what
//! the trigger wants changed from what it wanted before. So is a guess, which is not kept.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt as _;
use waft_api::{
    HostInterface, HttpTrigger, WorkloadDeployment, WorkloadDeploymentSpec, WorkloadSpec, names,
};

use crate::{names::Hasher, object::owner_reference};

/// Annotation of the deployment: hashes of what the trigger says of it, `TEMPLATE.METADATA`, and
/// whether its handler was [`GUESSED`].
pub(crate) const ANNOTATION_TRIGGER_HASH: &str = "waft.dev/trigger-hash";
/// Follows the hashes of a deployment whose handler is a guess.
const GUESSED: &str = ".guessed";
/// Annotation of a trigger that describes it and is not for its deployment.
const NOT_INHERITED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// The inbound interface of `wasi:http@0.2`.
pub(crate) const INCOMING_HANDLER: &str = "incoming-handler";
/// The inbound interface of `wasi:http@0.3`.
pub(crate) const HANDLER: &str = "handler";

/// The deployment, as the trigger wants it; without a known handler, with a guess. `spec.replicas` is
/// set only if the trigger sets it.
pub(crate) fn deployment(trigger: &HttpTrigger, handler: Option<&str>) -> WorkloadDeployment {
    let spec = &trigger.spec;
    let mut template = spec.template.clone();
    template.spec = merged_spec(trigger);
    add_inbound(&mut template.spec, handler.unwrap_or(INCOMING_HANDLER));
    let mut annotations = trigger.annotations().clone();
    annotations.remove(NOT_INHERITED);
    let metadata = Hasher::default()
        .value(&trigger.metadata.labels)
        .value(&annotations)
        .template();
    let guessed = if handler.is_none() { GUESSED } else { "" };
    let hashes = format!("{}.{metadata}{guessed}", template_hash(trigger));
    annotations.insert(ANNOTATION_TRIGGER_HASH.into(), hashes);
    WorkloadDeployment {
        metadata: ObjectMeta {
            name: Some(super::deployment_name(trigger)),
            namespace: trigger.namespace(),
            labels: trigger.metadata.labels.clone(),
            annotations: Some(annotations),
            owner_references: Some(vec![owner_reference(trigger)]),
            ..ObjectMeta::default()
        },
        spec: WorkloadDeploymentSpec {
            replicas: spec.replicas,
            template,
            deploy_policy: Some(spec.deploy_policy.unwrap_or_default().as_str().into()),
            artifacts: Vec::new(),
            kubernetes: None,
        },
        status: None,
    }
}

/// The template's spec, with the trigger's own `hostSelector`.
pub(crate) fn merged_spec(trigger: &HttpTrigger) -> WorkloadSpec {
    let mut spec = trigger.spec.template.spec.clone();
    spec.host_selector
        .extend(trigger.spec.host_selector.clone());
    spec
}

/// The handler that the owned deployment was built with, if the trigger's template is still the
/// one it was built from, and it was no guess.
pub(crate) fn handler_of(trigger: &HttpTrigger, owned: &WorkloadDeployment) -> Option<String> {
    let noted = noted(trigger, owned)?;
    handler_in(&owned.spec.template.spec).filter(|_| !noted.ends_with(GUESSED))
}

/// Whether the owned deployment was built with a guess, from the template that the trigger still
/// has.
pub(crate) fn is_guess(trigger: &HttpTrigger, owned: &WorkloadDeployment) -> bool {
    noted(trigger, owned).is_some_and(|noted| noted.ends_with(GUESSED))
}

/// What is noted behind the hash of the template, if that is still the same.
fn noted<'a>(trigger: &HttpTrigger, owned: &'a WorkloadDeployment) -> Option<&'a str> {
    let noted = owned.annotations().get(ANNOTATION_TRIGGER_HASH)?;
    let (template, rest) = noted.split_once('.')?;
    (template == template_hash(trigger)).then_some(rest)
}

/// The handler that the template itself declares: by name, or by the version of its entry.
pub(crate) fn declared_handler(trigger: &HttpTrigger) -> Option<String> {
    let spec = &trigger.spec.template.spec;
    handler_in(spec).or_else(|| {
        let entry = spec.host_interfaces.iter().find(|entry| is_http(entry))?;
        let mut parts = entry.version.as_deref()?.split('.');
        match (parts.next()?, parts.next()?) {
            ("0", "2") => Some(INCOMING_HANDLER.into()),
            ("0", "3") => Some(HANDLER.into()),
            _ => None,
        }
    })
}

fn handler_in(spec: &WorkloadSpec) -> Option<String> {
    let entry = spec.host_interfaces.iter().find(|entry| is_http(entry))?;
    let has = |name: &str| entry.interfaces.iter().any(|interface| interface == name);
    [HANDLER, INCOMING_HANDLER]
        .into_iter()
        .find(|name| has(name))
        .map(Into::into)
}

/// A hash of the template, as the trigger has it.
pub(crate) fn template_hash(trigger: &HttpTrigger) -> String {
    let spec = &trigger.spec;
    Hasher::default()
        .value(&spec.template)
        .value(&spec.host_selector)
        .template()
}

fn is_http(entry: &HostInterface) -> bool {
    let unnamed = entry.name.as_deref().unwrap_or_default().is_empty();
    unnamed && (entry.namespace.as_str(), entry.package.as_str()) == names::WASI_HTTP
}

/// Adds the inbound interface, unless the template declares one already.
fn add_inbound(spec: &mut WorkloadSpec, handler: &str) {
    if handler_in(spec).is_some() {
        return;
    }
    let Some(entry) = spec.host_interfaces.iter_mut().find(|entry| is_http(entry)) else {
        spec.host_interfaces.push(HostInterface {
            namespace: names::WASI_HTTP.0.into(),
            package: names::WASI_HTTP.1.into(),
            interfaces: vec![handler.into()],
            config: BTreeMap::new(),
            ..HostInterface::default()
        });
        return;
    };
    entry.interfaces.push(handler.into());
}

#[cfg(test)]
mod tests;
