//! Pods, Deployments and Jobs of users: Waft stores them and runs none, and says so at once, on the
//! object, as an Event and as a warning.

use std::collections::BTreeSet;

use futures::{StreamExt as _, stream::select_all};
use jiff::Timestamp;
use k8s_openapi::{
    api::{
        apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet},
        batch::v1::{CronJob, Job},
        core::v1::{Event, EventSource, ObjectReference, Pod, ReplicationController},
    },
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
use kube::{
    Api, Client, Resource, ResourceExt as _,
    api::{DynamicObject, Patch, PatchParams, PostParams},
    core::ApiResource,
    runtime::{WatchStreamExt as _, watcher},
};
use serde_json::{Value, json};
use tokio::sync::mpsc::{self, error::TrySendError};
use waft_api::{Reason, names::MANAGER_PROJECTION};

use crate::{apply::DEFAULT_NAMESPACE, event::UpEvent};

const MESSAGE: &str = "Waft runs WebAssembly components, not containers: this object is kept, and \
                       nothing runs it. Use a WorkloadDeployment.";

/// Follows the kinds that make Pods elsewhere.
pub(super) async fn follow(client: Client, events: mpsc::Sender<UpEvent>) {
    let kinds = [
        ApiResource::erase::<Deployment>(&()),
        ApiResource::erase::<ReplicaSet>(&()),
        ApiResource::erase::<StatefulSet>(&()),
        ApiResource::erase::<DaemonSet>(&()),
        ApiResource::erase::<Job>(&()),
        ApiResource::erase::<CronJob>(&()),
        ApiResource::erase::<ReplicationController>(&()),
    ];
    let streams = kinds.map(|kind| {
        let api = Api::<DynamicObject>::all_with(client.clone(), &kind);
        watcher(api, watcher::Config::default())
            .default_backoff()
            .filter_map(|event| async { event.ok() })
            .map(move |event| (kind.clone(), event))
            .boxed()
    });
    let mut changes = select_all(streams);
    // Those that users were warned of.
    let mut warned = BTreeSet::new();
    while let Some((kind, event)) = changes.next().await {
        let object = match event {
            watcher::Event::Apply(object) | watcher::Event::InitApply(object) => object,
            watcher::Event::Delete(object) => {
                warned.remove(&object.uid());
                continue;
            }
            watcher::Event::Init | watcher::Event::InitDone => continue,
        };
        let is_new = warned.insert(object.uid());
        if is_new {
            // Nobody listening is no reason not to go on.
            let _ = events.send(warning(&kind.kind, &object)).await;
        }
        let namespace = object.namespace().unwrap_or_default();
        let api = Api::<DynamicObject>::namespaced_with(client.clone(), &namespace, &kind);
        let generation = object.metadata.generation;
        let status = status_of(&kind.kind, generation);
        let is_told = match &status {
            Some(_) => is_told(&object.data["status"], &kind.kind, generation),
            None => !is_new,
        };
        if is_told {
            continue;
        }
        let name = object.name_any();
        tell(
            &client,
            &api,
            &namespace,
            &name,
            reference(&kind, &object),
            status.as_ref(),
        )
        .await;
    }
}

/// Whether a status says so of this generation of an object. That of a Job has none, nor has a Job
/// anything to say anew: once it has failed, it has.
fn is_told(status: &Value, kind: &str, generation: Option<i64>) -> bool {
    let reason = Reason::ContainersNotSupported.as_str();
    let conditions = status["conditions"].as_array().into_iter().flatten();
    let mut reasons = conditions.map(|condition| &condition["reason"]);
    let is_of_generation = kind == "Job" || status["observedGeneration"].as_i64() == generation;
    is_of_generation && reasons.any(|told| told == reason)
}

/// The line for people.
fn warning(kind: &str, object: &impl Resource) -> UpEvent {
    let name = object.name_any();
    UpEvent::Failed {
        object: match object.namespace().as_deref() {
            None | Some(DEFAULT_NAMESPACE) => format!("{kind}/{name}"),
            Some(namespace) => format!("{kind}/{name} in namespace {namespace}"),
        },
        reason: Reason::ContainersNotSupported.as_str().into(),
        message: MESSAGE.into(),
    }
}

/// What says of an object that nothing will come of it, in the words for which kubectl ends its
/// waiting, where there are such words. `None`: the status of its kind has no conditions.
fn status_of(kind: &str, generation: Option<i64>) -> Option<Value> {
    let conditions = match kind {
        "CronJob" => return None,
        "Job" => vec![condition("Failed", "True")],
        "Deployment" => {
            let mut progressing = condition("Progressing", "False");
            progressing["reason"] = "ProgressDeadlineExceeded".into();
            vec![condition("Available", "False"), progressing]
        }
        _ => vec![condition("Ready", "False")],
    };
    let mut status = json!({"conditions": conditions});
    if kind != "Job" {
        status["observedGeneration"] = generation.into();
    }
    Some(json!({"status": status}))
}

/// Tells a Pod that is no workload's, unless it was told before, and warns users of one that is new
/// to them.
pub(super) async fn tell_pod(
    client: &Client,
    events: &mpsc::Sender<UpEvent>,
    pod: &Pod,
    is_new: bool,
) {
    if pod.metadata.deletion_timestamp.is_some() {
        return;
    }
    // Workloads' Pods are not kept waiting by a terminal that is paused.
    if is_new && let Err(TrySendError::Full(warning)) = events.try_send(warning("Pod", pod)) {
        let events = events.clone();
        tokio::spawn(async move { events.send(warning).await });
    }
    let reason = Reason::ContainersNotSupported.as_str();
    if pod.status.as_ref().and_then(|s| s.reason.as_deref()) == Some(reason) {
        return;
    }
    let namespace = pod.namespace().unwrap_or_default();
    let status = json!({"status": {
        "phase": "Failed",
        "reason": reason,
        "message": MESSAGE,
        "conditions": [condition("Ready", "False")],
    }});
    let about = reference(&ApiResource::erase::<Pod>(&()), pod);
    let api = Api::<Pod>::namespaced(client.clone(), &namespace);
    tell(
        client,
        &api,
        &namespace,
        &pod.name_any(),
        about,
        Some(&status),
    )
    .await;
}

fn condition(type_: &str, holds: &str) -> Value {
    json!({
        "type": type_,
        "status": holds,
        "reason": Reason::ContainersNotSupported.as_str(),
        "message": MESSAGE,
        "lastTransitionTime": Time(Timestamp::now()),
    })
}

fn reference(kind: &ApiResource, object: &impl Resource) -> ObjectReference {
    ObjectReference {
        api_version: Some(kind.api_version.clone()),
        kind: Some(kind.kind.clone()),
        name: Some(object.name_any()),
        namespace: object.namespace(),
        uid: object.uid(),
        ..ObjectReference::default()
    }
}

async fn tell<K>(
    client: &Client,
    api: &Api<K>,
    namespace: &str,
    name: &str,
    about: ObjectReference,
    status: Option<&Value>,
) where
    K: Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    let parameters = PatchParams {
        field_manager: Some(MANAGER_PROJECTION.into()),
        ..PatchParams::default()
    };
    let patched = match status {
        Some(status) => {
            let patch = Patch::Merge(status);
            api.patch_status(name, &parameters, &patch).await.err()
        }
        None => None,
    };
    let now = Some(Time(Timestamp::now()));
    let event = Event {
        metadata: ObjectMeta {
            // One object is told once.
            name: Some(format!(
                "{name}.{}",
                about.uid.as_deref().unwrap_or("unknown")
            )),
            namespace: Some(namespace.into()),
            ..ObjectMeta::default()
        },
        involved_object: about,
        type_: Some("Warning".into()),
        reason: Some(Reason::ContainersNotSupported.as_str().into()),
        message: Some(MESSAGE.into()),
        count: Some(1),
        first_timestamp: now.clone(),
        last_timestamp: now,
        source: Some(EventSource {
            component: Some("waft".into()),
            ..EventSource::default()
        }),
        reporting_component: Some("waft".into()),
        ..Event::default()
    };
    let events = Api::<Event>::namespaced(client.clone(), namespace);
    let created = events.create(&PostParams::default(), &event).await;
    for error in [patched, created.err()].into_iter().flatten() {
        tracing::debug!(%error, name, "an object that nothing runs could not be told so");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deployment_ends_the_waiting_of_kubectl() {
        let status_of = |kind, generation| status_of(kind, Some(generation)).unwrap();
        let status = &status_of("Deployment", 3)["status"];
        assert_eq!(status["observedGeneration"], 3);
        assert_eq!(status["conditions"][0]["reason"], "ContainersNotSupported");
        assert_eq!(status["conditions"][1]["type"], "Progressing");
        assert_eq!(
            status["conditions"][1]["reason"],
            "ProgressDeadlineExceeded"
        );
        let job = &status_of("Job", 1)["status"];
        assert_eq!(job["conditions"][0]["type"], "Failed");
        assert!(job.get("observedGeneration").is_none());

        let status = &status_of("Deployment", 3)["status"];
        assert!(is_told(status, "Deployment", Some(3)));
        assert!(!is_told(status, "Deployment", Some(4)));
        assert!(is_told(job, "Job", Some(2)));
        assert!(!is_told(&Value::Null, "Job", Some(1)));
    }
}
