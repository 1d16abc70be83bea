//! Artifacts: an image by a name of its own, resolved once for all who use it.
//!
//! An Artifact is resolved when its spec or one of its annotations changes; so
//! `kubectl annotate artifact NAME waft.dev/refresh=… --overwrite` asks for a new look at the tag.
//! It is pulled by resolving it, so that workloads find it in the cache.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;
use waft_api::{Artifact, ArtifactStatus, Reason, conditions as types};
use waft_ir::{Credentials, Failure, FailureReason, Image, PullPolicy};

use crate::{
    condition::{Verdict, find, merge, summary},
    context::Context,
    dereference, events, failure,
    key::Kind,
    names::Hasher,
    object::{HasStatus as _, is_terminating},
    problem::Problem,
    queue::Next,
    workload::credentials,
    write::{self, WriteError},
};

/// Set by kubectl on every apply: no wish for a new look.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Hashes of what decides to what an Artifact is resolved.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Question {
    /// Of the spec and the annotations.
    image: String,
    /// Of the credentials: new ones are a reason to ask again only if there is no answer yet.
    credentials: String,
}

/// What an image stands for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Pinned {
    /// The image by its digest.
    url: String,
    /// The digest.
    digest: String,
}

/// Brings one Artifact closer to what it should be.
pub(crate) async fn reconcile(
    context: &Context,
    namespace: &str,
    name: &str,
    waited: Duration,
) -> Result<Next, WriteError> {
    let Some(artifact) = context.caches.artifacts.get(namespace, name) else {
        return Ok(Next::Await);
    };
    let Some(uid) = artifact
        .uid()
        .filter(|_| !is_terminating(artifact.as_ref()))
    else {
        return Ok(Next::Await);
    };
    let secret = artifact.spec.image_pull_secret.as_ref();
    let inputs = dereference::pull_secret(&context.caches, namespace, secret);
    let credentials = credentials(secret, &inputs);
    let question = question(&artifact, &credentials);
    let answered = context.resolved.lock().get(&uid).cloned();
    let known = artifact.status.clone().unwrap_or_default();
    let known = known.artifact_url.zip(known.digest);
    let known = known.map(|(url, digest)| Pinned { url, digest });
    if is_resolved(&artifact)
        && answered
            .as_ref()
            .is_none_or(|answered| answered.image == question.image)
    {
        // Resolved by this operator, or by one before it.
        context.resolved.lock().insert(uid, question);
        let status = status(&artifact, Verdict::good(), known);
        write::status(&context.client, artifact.as_ref(), status).await?;
        return Ok(Next::Await);
    }
    if answered.as_ref() == Some(&question) {
        return Ok(Next::Await);
    }

    let resolved = match credentials {
        Ok(credentials) => match context.pins.at(&uid, &question) {
            Some(Some(answer)) => answer.map_err(|failed| {
                let retry = failed.reason.is_transient();
                let problem = Problem::new(failure::reason(failed.reason), failed.message);
                (problem, retry)
            }),
            Some(None) => return fetching(context, &artifact, waited).await,
            None => {
                look(context, &artifact, question, credentials);
                return fetching(context, &artifact, waited).await;
            }
        },
        Err(problem) => Err((problem, false)),
    };
    let next = match &resolved {
        Err((_, true)) => Next::Backoff,
        _ => Next::Await,
    };
    let status = match resolved {
        Ok(found) => status(&artifact, Verdict::good(), Some(found)),
        // What is in use stays in use until there is something better, for the same spec.
        Err((problem, _)) => {
            let observed = artifact.status.as_ref().and_then(|s| s.observed_generation);
            let same = observed == artifact.metadata.generation;
            status(&artifact, problem.verdict(), known.filter(|_| same))
        }
    };
    events::write_status(context, artifact.as_ref(), status, None).await?;
    context.pins.forget(&uid);
    if next == Next::Await {
        context.resolved.lock().insert(uid, question);
    }
    Ok(next)
}

/// Has the image looked at.
fn look(
    context: &Context,
    artifact: &Artifact,
    question: Question,
    credentials: Option<Credentials>,
) {
    let image = Image {
        reference: artifact.spec.image.clone(),
        policy: PullPolicy::Always,
        credentials,
    };
    let artifacts = context.artifacts.clone();
    let look = async move {
        let found = artifacts.resolve(&image).await?;
        Ok(Pinned {
            url: found.pinned,
            digest: found.digest,
        })
    };
    let message = format!("`{}`: the look at it was lost", artifact.spec.image);
    let lost = Err(Failure::new(FailureReason::Internal, message));
    let (uid, namespace) = (artifact.uid(), artifact.namespace());
    let wake = context.waker(
        Kind::Artifact,
        &namespace.unwrap_or_default(),
        &artifact.name_any(),
    );
    let pins = &context.pins;
    pins.begin(&uid.unwrap_or_default(), question, look, lost, wake);
}

/// Says that the image is being looked at, if nothing is known of this spec yet and it takes more
/// than a moment. What older specs were resolved to stays in use meanwhile.
async fn fetching(
    context: &Context,
    artifact: &Artifact,
    waited: Duration,
) -> Result<Next, WriteError> {
    let sync = find(artifact.conditions(), types::SYNC);
    if sync.is_some_and(|sync| sync.observed_generation == artifact.metadata.generation) {
        return Ok(Next::Pending);
    }
    if waited < write::PATIENCE {
        return Ok(Next::PutOff(write::PATIENCE));
    }
    let message = format!("`{}` is being fetched", artifact.spec.image);
    let mut status = status(artifact, Verdict::unknown(Reason::Pulling, message), None);
    if let Some(before) = artifact.status.clone() {
        status.observed_generation = before.observed_generation.or(status.observed_generation);
        (status.artifact_url, status.digest) = (before.artifact_url, before.digest);
    }
    write::status(&context.client, artifact, status).await?;
    Ok(Next::Pending)
}

/// Whether the status speaks of this spec and says that it is resolved.
fn is_resolved(artifact: &Artifact) -> bool {
    let sync = find(artifact.conditions(), types::SYNC);
    sync.is_some_and(|sync| {
        sync.is_true() && sync.observed_generation == artifact.metadata.generation
    })
}

fn question(artifact: &Artifact, credentials: &Result<Option<Credentials>, Problem>) -> Question {
    let mut annotations = artifact.annotations().clone();
    annotations.remove(LAST_APPLIED);
    let mut image = Hasher::default();
    image.value(&artifact.spec).value(&annotations);
    Question {
        image: image.template(),
        credentials: Hasher::default()
            .value(&credentials.as_ref().ok())
            .template(),
    }
}

fn status(artifact: &Artifact, sync: Verdict, known: Option<Pinned>) -> ArtifactStatus {
    let published = if known.is_some() {
        Verdict::good()
    } else {
        Verdict::unknown(Reason::Waiting, "")
    };
    let ready = summary([&sync, &published]);
    let verdicts = vec![
        (types::SYNC, sync),
        (types::PUBLISHED, published),
        (types::READY, ready),
    ];
    let generation = artifact.metadata.generation;
    let (artifact_url, digest) = known.map(|known| (known.url, known.digest)).unzip();
    ArtifactStatus {
        conditions: merge(
            artifact.conditions(),
            &verdicts,
            generation,
            Timestamp::now(),
        ),
        observed_generation: generation,
        artifact_url,
        digest,
    }
}
