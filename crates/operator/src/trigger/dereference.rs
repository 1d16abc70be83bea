//! What the images of a trigger's template export: `incoming-handler` or `handler`.

use std::{sync::Arc, time::Duration};

use kube::ResourceExt as _;
use tokio::time::Instant;
use waft_api::{HttpTrigger, Reason, WorkloadSpec};
use waft_ir::{Artifacts, Image, InterfaceName};

use super::build::{HANDLER, INCOMING_HANDLER, merged_spec, template_hash};
use crate::{
    artifacts,
    condition::Verdict,
    context::Context,
    dereference,
    key::Kind,
    names::Hasher,
    problem::Problem,
    queue,
    schedule::schedule,
    workload::{Inputs, check, credentials, placement},
    write::WriteError,
};

/// Longest wait for a registry. The handler is a detail that may be guessed; the workload itself
/// waits for the image and says so.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a look at the images found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Looked {
    /// The inbound interface.
    Handler(&'static str),
    /// An image could not be had, and none that could serves HTTP.
    Nothing {
        /// How many looks in a row found that.
        looks: u32,
        /// When the next one is due.
        again: Instant,
    },
}

/// What could be found out.
#[derive(Clone, Debug)]
pub(crate) enum Found {
    /// The inbound interface.
    Handler(String),
    /// An image can't be had, and the interface may be guessed. Whatever is wrong with the image is
    /// told by the workload, which needs it. Says how long it is until the next look.
    Nothing(Duration),
    /// The images are being looked at; what is found wakes the trigger.
    Asked(Verdict),
    /// No host fits; or an Artifact or a pull secret is not there: a deployment that is made now might
    /// name another interface than one that is made when it is.
    Hindered(Problem),
    /// The caches are behind the API server; what they lack wakes the trigger.
    Unseen,
}

/// The inbound interface that a component or the service of the template exports. No image is asked
/// for before a host fits.
pub(crate) async fn handler(context: &Context, trigger: &HttpTrigger) -> Result<Found, WriteError> {
    let uid = trigger.uid().unwrap_or_default();
    let namespace = trigger.namespace().unwrap_or_default();
    let mut spec = merged_spec(trigger);
    let known = dereference::artifacts(&context.caches, &namespace, &artifacts::names(&spec, &[]));
    let replaced = artifacts::replace(&mut spec, &[], &known);
    let inputs = dereference::inputs(&context.caches, &namespace, &spec);
    let images = replaced
        .and_then(|_| fits_a_host(context, &spec))
        .and_then(|()| images(&spec, &inputs));
    let question = question(trigger, images.as_ref().ok());
    let looks = match context.handlers.at(&uid, &question) {
        Some(Some(Looked::Handler(handler))) => return Ok(Found::Handler(handler.to_owned())),
        Some(Some(Looked::Nothing { looks, again })) => {
            match again.checked_duration_since(Instant::now()) {
                Some(rest) if !rest.is_zero() => return Ok(Found::Nothing(rest)),
                _ => looks,
            }
        }
        Some(None) => return Ok(Found::Asked(asked())),
        None => 0,
    };
    if !dereference::are_newest(context, &namespace, &spec, &inputs, &known).await? {
        return Ok(Found::Unseen);
    }
    let images = match images {
        Ok(images) => images,
        Err(problem) => return Ok(Found::Hindered(problem)),
    };
    let look = look_up(context.artifacts.clone(), images, looks);
    let wake = context.waker(Kind::Trigger, &namespace, &trigger.name_any());
    let handlers = &context.handlers;
    handlers.begin(&uid, question, look, nothing(looks, true), wake);
    Ok(Found::Asked(asked()))
}

/// A hash of what decides what a look finds. New credentials are a reason to look again at once.
fn question(trigger: &HttpTrigger, images: Option<&Vec<Image>>) -> String {
    let mut question = Hasher::default();
    question.value(&template_hash(trigger)).value(&images);
    question.template()
}

/// What a look says that found nothing, after so many others. What `may_come` by itself is looked for
/// again later and later; what somebody would have to replace, seldom.
fn nothing(looks: u32, may_come: bool) -> Looked {
    let pause = match may_come {
        true => queue::pause(looks),
        false => queue::LONGEST_BACKOFF,
    };
    Looked::Nothing {
        looks: looks.saturating_add(1),
        again: Instant::now() + pause,
    }
}

fn asked() -> Verdict {
    Verdict::unknown(
        Reason::Pulling,
        "its images are being fetched, to see which interface they export",
    )
}

/// Whether a host fits the workload, whatever its images are.
fn fits_a_host(context: &Context, spec: &WorkloadSpec) -> Result<(), Problem> {
    let placement = placement(spec, &check(spec)?);
    match schedule(&placement, &dereference::candidates(context)) {
        Ok(_) => Ok(()),
        Err(message) => Err(Problem::new(Reason::NoMatchingHost, message)),
    }
}

/// The images of a template, with what is needed to pull them.
fn images(spec: &WorkloadSpec, inputs: &Inputs) -> Result<Vec<Image>, Problem> {
    let checked = check(spec)?;
    let of_components = checked.components.iter().map(|component| {
        let raw = component.raw;
        (&raw.image, component.policy, &raw.image_pull_secret)
    });
    let of_service = checked.service.iter().map(|service| {
        let raw = service.raw;
        (&raw.image, service.policy, &raw.image_pull_secret)
    });
    let all = of_components.chain(of_service);
    all.map(|(reference, policy, pull_secret)| {
        Ok(Image {
            reference: reference.clone(),
            policy,
            credentials: credentials(pull_secret.as_ref(), inputs)?,
        })
    })
    .collect()
}

/// What the first image exports that can be had and serves HTTP. Where all can be had and none does,
/// any will do: no host starts that workload. `looks` have found nothing before.
async fn look_up(artifacts: Arc<dyn Artifacts>, images: Vec<Image>, looks: u32) -> Looked {
    let mut all_there = true;
    let mut may_come = false;
    for image in &images {
        match tokio::time::timeout(PATIENCE, artifacts.resolve(image)).await {
            Ok(Ok(artifact)) => {
                if let Some(found) = exported(&artifact.exports) {
                    return Looked::Handler(found);
                }
                continue;
            }
            Ok(Err(failed)) => may_come |= failed.reason.is_transient(),
            Err(_) => may_come = true,
        }
        all_there = false;
    }
    match all_there {
        true => Looked::Handler(INCOMING_HANDLER),
        false => nothing(looks, may_come),
    }
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
    use waft_ir::{Artifact, Failure, FailureReason, PullPolicy};

    use super::*;

    /// A registry that answers everything with a failure, or not at all.
    struct Failing(Option<FailureReason>);

    #[async_trait::async_trait]
    impl Artifacts for Failing {
        async fn resolve(&self, _: &Image) -> Result<Artifact, Failure> {
            match self.0 {
                Some(reason) => Err(Failure::new(reason, "")),
                None => std::future::pending().await,
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_come_is_looked_for_later_and_later() {
        let image = Image {
            reference: "one".into(),
            policy: PullPolicy::Always,
            credentials: None,
        };
        let look = async |answer, looks| {
            let artifacts = Arc::new(Failing(answer));
            let Looked::Nothing { looks, again } =
                look_up(artifacts, vec![image.clone()], looks).await
            else {
                panic!("no image can be had")
            };
            (looks, again - Instant::now())
        };
        for answer in [Some(FailureReason::ImagePullFailed), None] {
            let first = look(answer, 0).await;
            assert_eq!(first, (1, queue::pause(0)));
            let second = look(answer, first.0).await;
            assert_eq!(second, (2, queue::pause(1)));
        }
        let seldom = look(Some(FailureReason::NotWasm), 0).await;
        assert_eq!(seldom, (1, queue::LONGEST_BACKOFF));
    }

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
