//! Artifacts: an image by a name of its own, resolved once for all who use it.
//!
//! An Artifact is resolved when its spec or one of its annotations changes; so
//! `kubectl annotate artifact NAME waft.dev/refresh=… --overwrite` asks for a new look at the tag.
//! It is pulled by resolving it, so that workloads find it in the cache.

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;
use waft_api::{Artifact, ArtifactStatus, Reason, conditions as types};
use waft_ir::{Credentials, Image, PullPolicy};

use crate::{
    condition::{Verdict, find, merge, summary},
    context::Context,
    dereference, events, failure,
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

/// Brings one Artifact closer to what it should be.
pub(crate) async fn reconcile(
    context: &Context,
    namespace: &str,
    name: &str,
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
    if is_resolved(&artifact)
        && answered
            .as_ref()
            .is_none_or(|answered| answered.image == question.image)
    {
        // Resolved by this operator, or by one before it.
        context.resolved.lock().insert(uid, question);
        let status = status(&artifact, Ok(()), known);
        write::status(&context.client, artifact.as_ref(), status).await?;
        return Ok(Next::Await);
    }
    if answered.as_ref() == Some(&question) {
        return Ok(Next::Await);
    }

    let resolved = match credentials {
        Ok(credentials) => {
            let image = Image {
                reference: artifact.spec.image.clone(),
                policy: PullPolicy::Always,
                credentials,
            };
            context.artifacts.resolve(&image).await.map_err(|failed| {
                let retry = failed.reason.is_transient();
                let problem = Problem::new(failure::reason(failed.reason), failed.message);
                (problem, retry)
            })
        }
        Err(problem) => Err((problem, false)),
    };
    let next = match &resolved {
        Err((_, true)) => Next::Backoff,
        _ => Next::Await,
    };
    let status = match resolved {
        Ok(found) => status(&artifact, Ok(()), Some((found.pinned, found.digest))),
        // What is in use stays in use until there is something better, for the same spec.
        Err((problem, _)) => {
            let observed = artifact.status.as_ref().and_then(|s| s.observed_generation);
            let same = observed == artifact.metadata.generation;
            status(&artifact, Err(problem), known.filter(|_| same))
        }
    };
    events::write_status(context, artifact.as_ref(), status, None).await?;
    if next == Next::Await {
        context.resolved.lock().insert(uid, question);
    }
    Ok(next)
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

fn status(
    artifact: &Artifact,
    outcome: Result<(), Problem>,
    known: Option<(String, String)>,
) -> ArtifactStatus {
    let sync = outcome.map_or_else(|problem| problem.verdict(), |()| Verdict::good());
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
    let (artifact_url, digest) = known.unzip();
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
