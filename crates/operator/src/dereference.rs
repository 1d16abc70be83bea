//! The objects that a workload's spec names, read from what is known of them.
//!
//! Everything comes out of the shared caches; only [`are_newest`] asks the API server.

mod newest;

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use waft_api::{LocalObjectReference, WorkloadSpec};

use crate::{
    artifacts::{self, Known},
    config_layers::{Source, Sources},
    context::{Caches, Context},
    schedule::Candidate,
    workload::{Inputs, References},
};

pub(crate) use newest::are_newest;

/// Key of the credentials in a pull secret.
const DOCKER_CONFIG_JSON: &str = ".dockerconfigjson";

/// The ConfigMaps and Secrets that a spec names, as far as they exist.
pub(crate) fn inputs(caches: &Caches, namespace: &str, spec: &WorkloadSpec) -> Inputs {
    let references = References::of(spec);
    Inputs {
        sources: Sources {
            config_maps: found(&references.config_maps, |name| {
                caches
                    .config_maps
                    .get(namespace, name)
                    .map(|map| of_config_map(&map))
            }),
            secrets: found(&references.secrets, |name| {
                caches
                    .secrets
                    .get(namespace, name)
                    .map(|secret| of_secret(&secret))
            }),
        },
        pull_secrets: found(&references.pull_secrets, |name| {
            caches
                .secrets
                .get(namespace, name)
                .map(|secret| docker_config(&secret))
        }),
    }
}

/// The one pull secret of an Artifact.
pub(crate) fn pull_secret(
    caches: &Caches,
    namespace: &str,
    secret: Option<&LocalObjectReference>,
) -> Inputs {
    let names = secret
        .map(|secret| secret.name.as_str())
        .into_iter()
        .collect();
    Inputs {
        pull_secrets: found(&names, |name| {
            caches
                .secrets
                .get(namespace, name)
                .map(|secret| docker_config(&secret))
        }),
        ..Inputs::default()
    }
}

/// What is known of the Artifacts of these names.
pub(crate) fn artifacts(caches: &Caches, namespace: &str, names: &BTreeSet<&str>) -> Known {
    names
        .iter()
        .map(|name| {
            let artifact = caches.artifacts.get(namespace, name);
            let resolved = artifact.map(|artifact| artifacts::read(&artifact));
            ((*name).to_owned(), resolved)
        })
        .collect()
}

/// The hosts that report, with the labels that users put on their Host objects.
pub(crate) fn candidates(context: &Context) -> Vec<Candidate> {
    let hosts = context.link.hosts().borrow().clone();
    hosts
        .values()
        .map(|host| {
            let object = context
                .caches
                .hosts
                .get(&context.config.operator_namespace, &host.name);
            let mut labels = object
                .and_then(|object| object.metadata.labels.clone())
                .unwrap_or_default();
            labels.extend(host.labels.clone());
            Candidate {
                id: host.id.clone(),
                name: host.name.clone(),
                labels,
                environment: host.environment.clone(),
                offers: host.offers.clone(),
                workloads: context.memory.lock().placed(&host.id),
                memory_free: host.memory_free,
            }
        })
        .collect()
}

fn found<T>(names: &BTreeSet<&str>, look_up: impl Fn(&str) -> Option<T>) -> BTreeMap<String, T> {
    names
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), look_up(name)?)))
        .collect()
}

fn of_config_map(map: &ConfigMap) -> Source {
    Source {
        values: map.data.clone().unwrap_or_default(),
        binary: map
            .binary_data
            .iter()
            .flatten()
            .map(|(key, value)| (key.clone(), value.0.clone()))
            .collect(),
    }
}

fn of_secret(secret: &Secret) -> Source {
    let mut source = Source::default();
    for (key, value) in secret.data.iter().flatten() {
        match String::from_utf8(value.0.clone()) {
            Ok(text) => {
                source.values.insert(key.clone(), text);
            }
            Err(error) => {
                source.binary.insert(key.clone(), error.into_bytes());
            }
        }
    }
    source
}

fn docker_config(secret: &Secret) -> Option<String> {
    let data = secret.data.as_ref()?.get(DOCKER_CONFIG_JSON)?;
    String::from_utf8(data.0.clone()).ok()
}
