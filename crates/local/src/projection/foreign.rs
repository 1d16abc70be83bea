//! Pods, Deployments and Jobs of users: Waft stores them and runs none, and says so at once, on the
//! object and as an Event.

use futures::{StreamExt as _, stream::select_all};
use jiff::Timestamp;
use k8s_openapi::{
    api::{
        apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet},
        batch::v1::Job,
        core::v1::{Event, EventSource, ObjectReference, Pod},
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
use waft_api::{Reason, names::MANAGER_PROJECTION};

const MESSAGE: &str = "Waft runs WebAssembly components, not containers: this object is kept, and \
                       nothing runs it. Use a WorkloadDeployment.";

/// Follows the kinds that make Pods elsewhere.
pub(super) async fn follow(client: Client) {
    let kinds = [
        ApiResource::erase::<Deployment>(&()),
        ApiResource::erase::<ReplicaSet>(&()),
        ApiResource::erase::<StatefulSet>(&()),
        ApiResource::erase::<DaemonSet>(&()),
        ApiResource::erase::<Job>(&()),
    ];
    let streams = kinds.map(|kind| {
        let api = Api::<DynamicObject>::all_with(client.clone(), &kind);
        watcher(api, watcher::Config::default())
            .default_backoff()
            .applied_objects()
            .filter_map(|object| async { object.ok() })
            .map(move |object| (kind.clone(), object))
            .boxed()
    });
    let mut objects = select_all(streams);
    while let Some((kind, object)) = objects.next().await {
        let namespace = object.namespace().unwrap_or_default();
        let api = Api::<DynamicObject>::namespaced_with(client.clone(), &namespace, &kind);
        let generation = object.metadata.generation;
        if is_told(&object.data["status"], &kind.kind, generation) {
            continue;
        }
        let status = status_of(&kind.kind, generation);
        let name = object.name_any();
        tell(
            &client,
            &api,
            &namespace,
            &name,
            reference(&kind, &object),
            &status,
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

/// What says of an object that nothing will come of it, in the words for which kubectl ends its
/// waiting, where there are such words.
fn status_of(kind: &str, generation: Option<i64>) -> Value {
    let conditions = match kind {
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
    json!({"status": status})
}

/// Tells a Pod that is no workload's, unless it was told before.
pub(super) async fn tell_pod(client: &Client, pod: &Pod) {
    let reason = Reason::ContainersNotSupported.as_str();
    let told = pod.status.as_ref().and_then(|s| s.reason.as_deref()) == Some(reason);
    if told || pod.metadata.deletion_timestamp.is_some() {
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
    tell(client, &api, &namespace, &pod.name_any(), about, &status).await;
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
    status: &Value,
) where
    K: Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    let parameters = PatchParams {
        field_manager: Some(MANAGER_PROJECTION.into()),
        ..PatchParams::default()
    };
    let patched = api
        .patch_status(name, &parameters, &Patch::Merge(status))
        .await;
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
    for error in [patched.map(drop).err(), created.map(drop).err()]
        .into_iter()
        .flatten()
    {
        tracing::debug!(%error, name, "an object that nothing runs could not be told so");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deployment_ends_the_waiting_of_kubectl() {
        let status = &status_of("Deployment", Some(3))["status"];
        assert_eq!(status["observedGeneration"], 3);
        assert_eq!(status["conditions"][0]["reason"], "ContainersNotSupported");
        assert_eq!(status["conditions"][1]["type"], "Progressing");
        assert_eq!(
            status["conditions"][1]["reason"],
            "ProgressDeadlineExceeded"
        );
        let job = &status_of("Job", Some(1))["status"];
        assert_eq!(job["conditions"][0]["type"], "Failed");
        assert!(job.get("observedGeneration").is_none());

        let status = &status_of("Deployment", Some(3))["status"];
        assert!(is_told(status, "Deployment", Some(3)));
        assert!(!is_told(status, "Deployment", Some(4)));
        assert!(is_told(job, "Job", Some(2)));
        assert!(!is_told(&Value::Null, "Job", Some(1)));
    }
}
