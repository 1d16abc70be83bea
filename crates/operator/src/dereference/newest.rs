//! Whether what was read out of the caches is the newest that the API server has.
//!
//! Each kind has a watch of its own, so an object may be seen before the ConfigMap that was applied
//! right before it. Whoever is about to start something asks here first: otherwise it would start
//! what nobody asked for, and what comes a moment later would be a change that rolls or restarts.
//! It need not ask again: news of anything that a spec names wakes who names it.

use kube::Api;
use waft_api::{Artifact, WorkloadSpec};

use super::{docker_config, of_config_map, of_secret};
use crate::{
    artifacts::{self, Known},
    context::Context,
    object::Object,
    workload::{Inputs, References},
    write::WriteError,
};

/// Whether the inputs of a spec and the Artifacts that it names are as the API server has them.
pub(crate) async fn are_newest(
    context: &Context,
    namespace: &str,
    spec: &WorkloadSpec,
    inputs: &Inputs,
    known: &Known,
) -> Result<bool, WriteError> {
    let references = References::of(spec);
    for name in references.config_maps {
        let stored = stored(context, namespace, name).await?;
        if stored.as_ref().map(of_config_map).as_ref() != inputs.sources.config_maps.get(name) {
            return Ok(false);
        }
    }
    for name in references.secrets.union(&references.pull_secrets) {
        let stored = stored(context, namespace, name).await?;
        let stored = stored.as_ref();
        let configures = references.secrets.contains(name);
        let pulls = references.pull_secrets.contains(name);
        if configures && stored.map(of_secret).as_ref() != inputs.sources.secrets.get(*name)
            || pulls && stored.map(docker_config).as_ref() != inputs.pull_secrets.get(*name)
        {
            return Ok(false);
        }
    }
    artifacts_are_newest(context, namespace, known).await
}

/// Whether Artifacts are as the API server has them, and are resolved, or refused, as they stand
/// now if they ever were.
async fn artifacts_are_newest(
    context: &Context,
    namespace: &str,
    known: &Known,
) -> Result<bool, WriteError> {
    for (name, known) in known {
        let stored: Option<Artifact> = stored(context, namespace, name).await?;
        let is_behind = |artifact: &Artifact| {
            let status = artifact.status.as_ref();
            let observed = status.and_then(|status| status.observed_generation);
            observed.is_some() && observed != artifact.metadata.generation
        };
        if stored.as_ref().is_some_and(is_behind) || stored.as_ref().map(artifacts::read) != *known
        {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn stored<K: Object>(
    context: &Context,
    namespace: &str,
    name: &str,
) -> Result<Option<K>, WriteError> {
    let api = Api::<K>::namespaced(context.client.clone(), namespace);
    Ok(api.get_opt(name).await?)
}
