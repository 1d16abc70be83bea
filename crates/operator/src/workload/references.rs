//! The objects of its namespace that a workload names.

use std::collections::BTreeSet;

use waft_api::{WorkloadSpec, names::ARTIFACT_SCHEME};

use crate::config_layers::Layers;

/// Names of objects, by kind.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct References<'a> {
    /// ConfigMaps that give configuration.
    pub config_maps: BTreeSet<&'a str>,
    /// Secrets that give configuration.
    pub secrets: BTreeSet<&'a str>,
    /// Secrets that give credentials of registries.
    pub pull_secrets: BTreeSet<&'a str>,
    /// Names in `artifact://NAME` images.
    pub artifacts: BTreeSet<&'a str>,
}

impl<'a> References<'a> {
    /// Those of a workload.
    pub(crate) fn of(spec: &'a WorkloadSpec) -> Self {
        let mut found = Self::default();
        let components = spec.components.iter().map(|component| {
            (
                component.image.as_str(),
                &component.image_pull_secret,
                &component.local_resources,
            )
        });
        let service = spec.service.iter().map(|service| {
            (
                service.image.as_str(),
                &service.image_pull_secret,
                &service.local_resources,
            )
        });
        for (image, pull_secret, resources) in components.chain(service) {
            found.artifacts.extend(image.strip_prefix(ARTIFACT_SCHEME));
            let named = pull_secret.as_ref().map(|secret| secret.name.as_str());
            found
                .pull_secrets
                .extend(named.filter(|name| !name.is_empty()));
            let environment = resources.as_ref().and_then(|r| r.environment.as_ref());
            if let Some(layer) = environment {
                found.layers(&Layers::of_layer(layer));
            }
        }
        for entry in &spec.host_interfaces {
            found.layers(&Layers::of_interface(entry));
        }
        for volume in &spec.volumes {
            let config_map = volume.config_map.as_ref();
            found
                .config_maps
                .extend(config_map.map(|v| v.name.as_str()));
            let secret = volume.secret.as_ref();
            found.secrets.extend(secret.map(|v| v.secret_name.as_str()));
        }
        found
    }

    fn layers(&mut self, layers: &Layers<'a>) {
        self.config_maps.extend(&layers.config_maps);
        self.secrets.extend(&layers.secrets);
    }
}
