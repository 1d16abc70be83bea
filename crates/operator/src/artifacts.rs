//! Images by the names of Artifacts: replaces them with what the Artifacts were resolved to.
//!
//! Pure. Changes a template's spec in place; the digests that it returns belong into the hash of
//! the template, because a `file:` image keeps its reference when its bytes change.

use std::collections::{BTreeMap, BTreeSet};

use waft_api::{
    Artifact, DeploymentArtifact, LocalObjectReference, Reason, WorkloadSpec, conditions,
    names::ARTIFACT_SCHEME,
};

use crate::{condition::find, problem::Problem};

/// An Artifact, as far as images care.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Resolved {
    /// The image, pinned.
    pub url: String,
    /// Its digest.
    pub digest: String,
    /// Credentials for it.
    pub pull_secret: Option<LocalObjectReference>,
}

/// What is known of each Artifact that was looked up; `None`: it does not exist.
pub(crate) type Known = BTreeMap<String, Option<Result<Resolved, Problem>>>;

/// What an Artifact object stands for, if it is resolved.
pub(crate) fn read(artifact: &Artifact) -> Result<Resolved, Problem> {
    let status = artifact.status.clone().unwrap_or_default();
    let name = artifact.metadata.name.as_deref().unwrap_or_default();
    match (status.artifact_url, status.digest) {
        (Some(url), Some(digest)) => Ok(Resolved {
            url,
            digest,
            pull_secret: artifact.spec.image_pull_secret.clone(),
        }),
        _ => {
            let said = find(&status.conditions, conditions::READY)
                .and_then(|ready| ready.message.clone())
                .unwrap_or_else(|| "it is not resolved yet".into());
            Err(Problem::new(
                Reason::ArtifactNotReady,
                format!("Artifact `{name}`: {said}"),
            ))
        }
    }
}

/// Names of the Artifacts that a spec and its replacements refer to.
pub(crate) fn names<'a>(
    spec: &'a WorkloadSpec,
    replacements: &'a [DeploymentArtifact],
) -> BTreeSet<&'a str> {
    let images = spec.components.iter().map(|c| c.image.as_str());
    let images = images.chain(spec.service.iter().map(|s| s.image.as_str()));
    images
        .filter_map(|image| image.strip_prefix(ARTIFACT_SCHEME))
        .map(|name| target(name, replacements).unwrap_or(name))
        .chain(replacements.iter().map(|r| r.artifact_from.name.as_str()))
        .collect()
}

/// Replaces images. Returns the digests used, by component.
pub(crate) fn replace(
    spec: &mut WorkloadSpec,
    replacements: &[DeploymentArtifact],
    known: &Known,
) -> Result<BTreeMap<String, String>, Problem> {
    let mut seen = BTreeSet::new();
    if let Some(twice) = replacements.iter().find(|r| !seen.insert(&r.name)) {
        return Err(Problem::invalid(format!(
            "two `artifacts` are named `{}`; names must be unique",
            twice.name
        )));
    }
    let mut digests = BTreeMap::new();
    let mut used = BTreeSet::new();
    for component in &mut spec.components {
        let slot = (&mut component.image, &mut component.image_pull_secret);
        if let Some(digest) = replace_one(&component.name, slot, replacements, known, &mut used)? {
            digests.insert(component.name.clone(), digest);
        }
    }
    if let Some(service) = &mut spec.service {
        let name = service.called().to_owned();
        let slot = (&mut service.image, &mut service.image_pull_secret);
        if let Some(digest) = replace_one(&name, slot, replacements, known, &mut used)? {
            digests.insert(name, digest);
        }
    }
    if let Some(unused) = replacements.iter().find(|r| !used.contains(&r.name)) {
        return Err(Problem::invalid(format!(
            "`artifacts[{0}]` names no component, no service and no `artifact://{0}` image",
            unused.name
        )));
    }
    Ok(digests)
}

fn replace_one(
    name: &str,
    (image, pull_secret): (&mut String, &mut Option<LocalObjectReference>),
    replacements: &[DeploymentArtifact],
    known: &Known,
    used: &mut BTreeSet<String>,
) -> Result<Option<String>, Problem> {
    let artifact = if let Some(artifact) = target(name, replacements) {
        used.insert(name.to_owned());
        artifact
    } else if let Some(named) = image.strip_prefix(ARTIFACT_SCHEME) {
        used.insert(named.to_owned());
        target(named, replacements).unwrap_or(named)
    } else {
        return Ok(None);
    };
    let resolved = match known.get(artifact) {
        Some(Some(resolved)) => resolved.clone()?,
        _ => {
            return Err(Problem::new(
                Reason::ArtifactNotFound,
                format!("Artifact `{artifact}` does not exist; create it in the same namespace"),
            ));
        }
    };
    *image = resolved.url;
    if pull_secret.is_none() {
        *pull_secret = resolved.pull_secret;
    }
    Ok(Some(resolved.digest))
}

fn target<'a>(name: &str, replacements: &'a [DeploymentArtifact]) -> Option<&'a str> {
    let found = replacements.iter().find(|r| r.name == name)?;
    Some(found.artifact_from.name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(yaml: &str) -> WorkloadSpec {
        serde_saphyr::from_str(yaml).unwrap()
    }

    fn replacement(name: &str, artifact: &str) -> DeploymentArtifact {
        DeploymentArtifact {
            name: name.into(),
            artifact_from: LocalObjectReference {
                name: artifact.into(),
            },
        }
    }

    fn known(name: &str) -> Known {
        let resolved = Resolved {
            url: format!("r.test/{name}@sha256:1"),
            digest: "sha256:1".into(),
            pull_secret: Some(LocalObjectReference { name: "p".into() }),
        };
        [(name.to_owned(), Some(Ok(resolved)))].into()
    }

    #[test]
    fn a_component_of_the_name_gets_the_pinned_image_and_its_credentials() {
        let mut spec = spec("components: [{name: a, image: x}, {name: b, image: y}]");
        let replacements = [replacement("a", "art")];
        assert_eq!(names(&spec, &replacements), ["art"].into());
        let digests = replace(&mut spec, &replacements, &known("art")).unwrap();
        assert_eq!(digests, [("a".into(), "sha256:1".into())].into());
        assert_eq!(spec.components[0].image, "r.test/art@sha256:1");
        assert_eq!(
            spec.components[0].image_pull_secret.as_ref().unwrap().name,
            "p"
        );
        assert_eq!(spec.components[1].image, "y");
    }

    #[test]
    fn artifact_images_find_their_artifact_with_and_without_an_entry() {
        let yaml = "components: [{name: a, image: 'artifact://art'}]";
        let mut direct = spec(yaml);
        replace(&mut direct, &[], &known("art")).unwrap();
        assert_eq!(direct.components[0].image, "r.test/art@sha256:1");
        let mut renamed = spec(yaml);
        let replacements = [replacement("art", "other")];
        replace(&mut renamed, &replacements, &known("other")).unwrap();
        assert_eq!(renamed.components[0].image, "r.test/other@sha256:1");
    }

    #[test]
    fn a_service_without_a_name_is_called_service() {
        for service in ["{image: x}", "{image: x, name: ''}"] {
            let mut spec = spec(&format!("service: {service}"));
            let replacements = [replacement("service", "art")];
            replace(&mut spec, &replacements, &known("art")).unwrap();
            assert_eq!(spec.service.unwrap().image, "r.test/art@sha256:1");
        }
    }

    #[test]
    fn what_is_missing_or_unused_is_named() {
        let mut missing = spec("components: [{name: a, image: 'artifact://art'}]");
        let problem = replace(&mut missing, &[], &Known::new()).unwrap_err();
        assert_eq!(problem.reason, Reason::ArtifactNotFound);
        let mut twice = spec("components: [{name: a, image: x}]");
        let both = [replacement("a", "art"), replacement("a", "other")];
        let problem = replace(&mut twice, &both, &known("art")).unwrap_err();
        assert_eq!(problem.reason, Reason::InvalidSpec);
        assert!(problem.message.contains("two `artifacts` are named `a`"));
        let mut unused = spec("components: [{name: a, image: x}]");
        let problem = replace(&mut unused, &[replacement("z", "art")], &known("art")).unwrap_err();
        assert!(problem.message.contains("artifacts[z]"));
    }
}
