//! Workloads: one replica each, brought to a host and kept there.
//!
//! *Dereference* reads what the spec names, *validate* and *build* (pure) turn it into the model,
//! *decide* (pure) says what to do, *apply* tells the host, *status* tells the user. A change that
//! comes from the host arrives as a change of its states; nothing is asked of it.

mod apply;
mod build;
mod decide;
mod memories;
mod references;
mod status;
mod validate;
mod volumes;

use std::{sync::Arc, time::Duration};

use kube::ResourceExt as _;
use tokio::time::Instant;
use waft_api::{
    Workload, WorkloadReplicaSet,
    names::{ANNOTATION_CONTENT_DIGEST, FINALIZER_WORKLOAD, LABEL_WORKLOAD_DEPLOYMENT},
};
use waft_ir::WorkloadId;

pub(crate) use build::{Identity, Inputs, build, check_inputs, credentials, placement};
use decide::{Action, Content};
pub(crate) use memories::Memories;
pub(crate) use references::References;
pub(crate) use validate::{Checked, check, replicas};

use crate::{
    artifacts,
    context::Context,
    dereference,
    names::Hasher,
    object::{is_terminating, owner_of_kind},
    problem::Problem,
    queue::Next,
    write::{self, WriteError},
};

/// Brings one workload closer to what it should be.
pub(crate) async fn reconcile(
    context: &Context,
    namespace: &str,
    name: &str,
    waited: Duration,
) -> Result<Next, WriteError> {
    let Some(workload) = context.caches.workloads.get(namespace, name) else {
        return Ok(Next::Await);
    };
    let Some(uid) = workload.uid() else {
        return Ok(Next::Await);
    };
    let id = WorkloadId(uid);
    let state = context.link.states().borrow().get(&id).cloned();
    if is_terminating(workload.as_ref()) {
        return apply::finish(context, &workload, &id, state.as_deref()).await;
    }
    if !workload
        .finalizers()
        .iter()
        .any(|f| f == FINALIZER_WORKLOAD)
    {
        // Nothing is started that could be forgotten.
        let mut finalizers = workload.finalizers().to_vec();
        finalizers.push(FINALIZER_WORKLOAD.into());
        write::set_finalizers(&context.client, workload.as_ref(), &finalizers).await?;
        return Ok(Next::Await);
    }

    let mut spec = workload.spec.clone();
    let known = dereference::artifacts(
        &context.caches,
        namespace,
        &artifacts::names(&workload.spec, &[]),
    );
    let replaced = artifacts::replace(&mut spec, &[], &known);
    let inputs = dereference::inputs(&context.caches, namespace, &spec);
    let checked = check(&spec);
    let placement = checked
        .as_ref()
        .ok()
        .map(|checked| placement(&spec, checked));
    let wanted = wanted(&workload, replaced.map(drop), &checked, &inputs);

    // Where it runs already, nothing is chosen.
    let hosts = match state {
        Some(_) => Vec::new(),
        None => dereference::candidates(context),
    };
    let memory = context.memory.lock().get(&id);
    let is_buildable = wanted.is_ok();
    let restarts_in_place = !is_rolled(context, &workload);
    let decision = decide::decide(&decide::Situation {
        wanted,
        placement: placement.as_ref(),
        hosts: &hosts,
        state: state.as_deref(),
        memory: &memory,
        restarts_in_place,
        now: Instant::now(),
    });
    // Below a deployment, this was asked before its set was made.
    if restarts_in_place
        && (!is_buildable || decision.action != Action::None)
        && !dereference::are_newest(context, namespace, &spec, &inputs, &known).await?
    {
        return Ok(Next::Await);
    }
    apply::tell(context, &id, &decision);
    status::write(context, &workload, waited, &decision).await
}

/// The model to run, and hashes of what decides it.
fn wanted(
    workload: &Workload,
    replaced: Result<(), Problem>,
    checked: &Result<Checked<'_>, Problem>,
    inputs: &Inputs,
) -> Result<(Arc<waft_ir::Workload>, Content), Problem> {
    replaced?;
    let checked = checked.as_ref().map_err(Clone::clone)?;
    let identity = Identity {
        uid: workload.uid().unwrap_or_default(),
        namespace: workload.namespace().unwrap_or_default(),
        name: workload.name_any(),
        app: app(workload),
        annotations: workload.annotations().clone(),
    };
    let built = build(&identity, checked, inputs)?;
    let mut content = built.clone();
    // Of its annotations, only other bytes behind the same path make it another one.
    content
        .annotations
        .retain(|name, _| name == ANNOTATION_CONTENT_DIGEST);
    let mut credentials = Hasher::default();
    let of_components = content.components.iter_mut().map(|c| &mut c.image);
    let of_service = content.service.iter_mut().map(|s| &mut s.image);
    for image in of_components.chain(of_service) {
        credentials.value(&image.credentials.take());
    }
    let content = Content {
        workload: Hasher::default().value(&content).template(),
        credentials: credentials.template(),
    };
    Ok((Arc::new(built), content))
}

/// What the replicas of a workload have in common.
fn app(workload: &Workload) -> String {
    if let Some(deployment) = workload.labels().get(LABEL_WORKLOAD_DEPLOYMENT) {
        return deployment.clone();
    }
    let owner = owner_of_kind::<WorkloadReplicaSet>(workload);
    owner.map_or_else(|| workload.name_any(), |owner| owner.name.clone())
}

/// Whether a deployment replaces this workload when something changes.
fn is_rolled(context: &Context, workload: &Workload) -> bool {
    let Some(owner) = owner_of_kind::<WorkloadReplicaSet>(workload) else {
        return false;
    };
    let namespace = workload.namespace().unwrap_or_default();
    let set = context.caches.replica_sets.get(&namespace, &owner.name);
    set.is_none_or(|set| owner_of_kind::<waft_api::WorkloadDeployment>(set.as_ref()).is_some())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn new_credentials_of_any_image_restart_nothing() {
        let member = json!({"name": "a", "image": "r.test/a:1", "imagePullSecret": {"name": "s"}});
        for spec in [json!({"components": [member]}), json!({"service": member})] {
            let metadata = json!({"name": "w", "namespace": "default", "uid": "u"});
            let workload = json!({"metadata": metadata, "spec": spec});
            let workload: Workload = serde_json::from_value(workload).unwrap();
            let content = |secret: &str| {
                let inputs = Inputs {
                    pull_secrets: [("s".into(), Some(secret.into()))].into(),
                    ..Inputs::default()
                };
                let (_, content) = wanted(&workload, Ok(()), &check(&workload.spec), &inputs)
                    .unwrap_or_else(|problem| panic!("{}", problem.message));
                content
            };
            let old = content(r#"{"auths":{"r.test":{"auth":"YTpi"}}}"#);
            let new = content(r#"{"auths":{"r.test":{"auth":"YTpj"}}}"#);
            assert_eq!(old.workload, new.workload, "{spec}");
            assert_ne!(old.credentials, new.credentials, "{spec}");
        }
    }
}
