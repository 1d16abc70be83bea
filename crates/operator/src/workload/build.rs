//! From a workload's spec and what it refers to, to the model that a host runs.
//!
//! Pure. Values of Secrets end up in the result, never in an error.

use std::collections::BTreeMap;

use waft_api::{LocalObjectReference, LocalResources, Reason, WorkloadSpec};
use waft_ir::{
    CapabilityGrant, Component, Credentials, HostId, Image, InterfaceName, Placement, Service,
    Workload, WorkloadId,
};

use super::validate::{Checked, CheckedComponent, CheckedService, check, check_config};
use super::volumes;
use crate::{
    config_layers::{Layers, Sources, missing_secret},
    problem::Problem,
};

/// Who the workload is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Identity {
    /// uid of the Workload object.
    pub uid: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// What its replicas have in common.
    pub app: String,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
}

/// The objects that a workload refers to.
#[derive(Clone, Default)]
pub(crate) struct Inputs {
    /// ConfigMaps and Secrets with configuration.
    pub sources: Sources,
    /// The `.dockerconfigjson` of pull secrets, by name; `None`: the Secret has none.
    pub pull_secrets: BTreeMap<String, Option<String>>,
}

/// What the workload asks of its host.
pub(crate) fn placement(spec: &WorkloadSpec, checked: &Checked<'_>) -> Placement {
    let interfaces = checked.interfaces.iter().flat_map(|entry| {
        let names = entry.raw.interfaces.iter();
        names.map(|name| InterfaceName {
            interface: Some(name.clone()),
            ..entry.package.clone()
        })
    });
    let set = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    Placement {
        host_selector: spec.host_selector.clone(),
        host_id: set(&spec.host_id).map(HostId),
        environment: set(&spec.environment),
        interfaces: interfaces.collect(),
    }
}

/// The workload, every reference replaced by its value.
pub(crate) fn build(
    identity: &Identity,
    checked: &Checked<'_>,
    inputs: &Inputs,
) -> Result<Workload, Problem> {
    let grants = checked
        .interfaces
        .iter()
        .map(|entry| {
            let config = Layers::of_interface(entry.raw).resolve(&inputs.sources)?;
            check_config(&entry.package, &config, &entry.raw.config)?;
            Ok(CapabilityGrant {
                name: entry.raw.name.clone().filter(|name| !name.is_empty()),
                package: entry.package.clone(),
                interfaces: entry.raw.interfaces.clone(),
                config,
            })
        })
        .collect::<Result<Vec<_>, Problem>>()?;
    let components = checked
        .components
        .iter()
        .map(|component| build_component(component, inputs))
        .collect::<Result<_, _>>()?;
    let service = checked.service.as_ref();
    let service = service
        .map(|service| build_service(service, inputs))
        .transpose()?;
    Ok(Workload {
        id: WorkloadId(identity.uid.clone()),
        namespace: identity.namespace.clone(),
        name: identity.name.clone(),
        app: identity.app.clone(),
        annotations: identity.annotations.clone(),
        components,
        service,
        grants,
        volumes: volumes::build(&checked.volumes, &inputs.sources)?,
    })
}

/// Whether what a spec names is there and of use to a workload, in the words of [`build`].
pub(crate) fn check_inputs(spec: &WorkloadSpec, inputs: &Inputs) -> Result<(), Problem> {
    build(&Identity::default(), &check(spec)?, inputs).map(drop)
}

fn build_component(
    component: &CheckedComponent<'_>,
    inputs: &Inputs,
) -> Result<Component, Problem> {
    let raw = component.raw;
    Ok(Component {
        name: raw.name.clone(),
        image: Image {
            reference: raw.image.clone(),
            policy: component.policy,
            credentials: credentials(raw.image_pull_secret.as_ref(), inputs)?,
        },
        pool: component.pool,
        resources: resources(raw.local_resources.as_ref(), inputs)?,
        limits: component.limits.clone(),
    })
}

fn build_service(service: &CheckedService<'_>, inputs: &Inputs) -> Result<Service, Problem> {
    let raw = service.raw;
    Ok(Service {
        name: service.name.to_owned(),
        image: Image {
            reference: raw.image.clone(),
            policy: service.policy,
            credentials: credentials(raw.image_pull_secret.as_ref(), inputs)?,
        },
        max_restarts: service.max_restarts,
        resources: resources(raw.local_resources.as_ref(), inputs)?,
        limits: service.limits.clone(),
    })
}

/// The credentials of a pull secret, if one is named.
pub(crate) fn credentials(
    secret: Option<&LocalObjectReference>,
    inputs: &Inputs,
) -> Result<Option<Credentials>, Problem> {
    let Some(secret) = secret.filter(|secret| !secret.name.is_empty()) else {
        return Ok(None);
    };
    let name = &secret.name;
    let json = inputs
        .pull_secrets
        .get(name)
        .ok_or_else(|| missing_secret(name))?;
    let json = json.as_ref().ok_or_else(|| {
        Problem::new(
            Reason::InvalidPullSecret,
            format!(
                "Secret `{name}` has no `.dockerconfigjson`; create it with \
                 `kubectl create secret docker-registry {name} …`"
            ),
        )
    })?;
    Ok(Some(Credentials {
        docker_config_json: json.clone(),
    }))
}

/// What the component sees. What `wasi:config` reads is put together where it is served.
fn resources(
    raw: Option<&LocalResources>,
    inputs: &Inputs,
) -> Result<waft_ir::LocalResources, Problem> {
    let Some(raw) = raw else {
        return Ok(waft_ir::LocalResources::default());
    };
    let environment = raw.environment.as_ref().map(Layers::of_layer);
    let environment = environment.map(|layers| layers.resolve_environment(&inputs.sources));
    Ok(waft_ir::LocalResources {
        environment: environment.transpose()?.unwrap_or_default(),
        config: raw.config.clone(),
        mounts: volumes::mounts(&raw.volume_mounts),
        allowed_hosts: raw.allowed_hosts.clone(),
        allowed_name_lookups: raw.allowed_ip_name_lookups.clone(),
        allowed_loopback_ports: raw.allowed_host_loopback_ports.clone(),
    })
}

#[cfg(test)]
mod tests;
