//! What the images of a trigger's template export: `incoming-handler` or `handler`.

use std::{sync::Arc, time::Duration};

use kube::ResourceExt as _;
use waft_api::{HttpTrigger, Reason, WorkloadSpec};
use waft_ir::{Artifacts, Image, InterfaceName};

use super::build::{HANDLER, INCOMING_HANDLER, template_hash};
use crate::{
    artifacts,
    condition::Verdict,
    context::Context,
    dereference,
    key::Kind,
    problem::Problem,
    workload::{CheckedComponent, Inputs, check, credentials},
    write::WriteError,
};

/// Longest wait for a registry. The handler is a detail that may be guessed; the workload itself
/// waits for the image and says so.
const PATIENCE: Duration = Duration::from_secs(30);

/// What could be found out.
#[derive(Clone, Debug)]
pub(crate) enum Found {
    /// The inbound interface.
    Handler(String),
    /// The images are being looked at; what is found wakes the trigger.
    Asked(Verdict),
    /// An Artifact or a pull secret is not there: a deployment that is made now might name another
    /// interface than one that is made when it is.
    Hindered(Problem),
    /// The caches are behind the API server; what they lack wakes the trigger.
    Unseen,
}

/// The inbound interface that a component of the template exports; where an image can't be had, that
/// of `wasi:http@0.2`. Whatever is wrong with the image is told by the workload, which needs it.
pub(crate) async fn handler(context: &Context, trigger: &HttpTrigger) -> Result<Found, WriteError> {
    let uid = trigger.uid().unwrap_or_default();
    let template = template_hash(trigger);
    match context.handlers.at(&uid, &template) {
        Some(Some(handler)) => return Ok(Found::Handler(handler.to_owned())),
        Some(None) => return Ok(Found::Asked(asked())),
        None => {}
    }
    let namespace = trigger.namespace().unwrap_or_default();
    let mut spec = trigger.spec.template.spec.clone();
    let known = dereference::artifacts(&context.caches, &namespace, &artifacts::names(&spec, &[]));
    let replaced = artifacts::replace(&mut spec, &[], &known);
    let inputs = dereference::inputs(&context.caches, &namespace, &spec);
    if !dereference::are_newest(context, &namespace, &spec, &inputs, &known).await? {
        return Ok(Found::Unseen);
    }
    let images = match replaced.and_then(|_| images(&spec, &inputs)) {
        Ok(images) => images,
        Err(problem) => return Ok(Found::Hindered(problem)),
    };
    let look = look_up(context.artifacts.clone(), images);
    let wake = context.waker(Kind::Trigger, &namespace, &trigger.name_any());
    let handlers = &context.handlers;
    handlers.begin(&uid, template, look, INCOMING_HANDLER, wake);
    Ok(Found::Asked(asked()))
}

fn asked() -> Verdict {
    Verdict::unknown(
        Reason::Pulling,
        "its images are being fetched, to see which interface they export",
    )
}

/// The images of a template, with what is needed to pull them.
fn images(spec: &WorkloadSpec, inputs: &Inputs) -> Result<Vec<Image>, Problem> {
    let checked = check(spec)?;
    let image = |component: &CheckedComponent<'_>| {
        Ok(Image {
            reference: component.raw.image.clone(),
            policy: component.policy,
            credentials: credentials(component.raw.image_pull_secret.as_ref(), inputs)?,
        })
    };
    checked.components.iter().map(image).collect()
}

/// What the first image exports that can be had and serves HTTP.
async fn look_up(artifacts: Arc<dyn Artifacts>, images: Vec<Image>) -> &'static str {
    for image in &images {
        let resolved = tokio::time::timeout(PATIENCE, artifacts.resolve(image)).await;
        let Ok(Ok(artifact)) = resolved else { continue };
        if let Some(found) = exported(&artifact.exports) {
            return found;
        }
    }
    INCOMING_HANDLER
}

fn exported(exports: &[InterfaceName]) -> Option<&'static str> {
    let http = exports
        .iter()
        .filter(|export| export.namespace == "wasi" && export.package == "http");
    let names: Vec<&str> = http
        .filter_map(|export| export.interface.as_deref())
        .collect();
    [HANDLER, INCOMING_HANDLER]
        .into_iter()
        .find(|name| names.contains(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_export_decides() {
        let names = |names: &[&str]| -> Vec<InterfaceName> {
            names.iter().map(|name| name.parse().unwrap()).collect()
        };
        let of = |list: &[&str]| exported(&names(list));
        assert_eq!(of(&["wasi:http/handler@0.3.0"]), Some(HANDLER));
        assert_eq!(
            of(&["wasi:http/incoming-handler@0.2.12"]),
            Some(INCOMING_HANDLER)
        );
        assert_eq!(of(&["wasi:cli/run@0.2.0", "my:http/handler"]), None);
    }
}
