//! A workload as a Pod: one container for each component and the service.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{
        Container, ContainerState, ContainerStateRunning, ContainerStateTerminated,
        ContainerStateWaiting, ContainerStatus, Pod, PodCondition, PodIP, PodSpec, PodStatus,
    },
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time},
};
use kube::{Resource as _, ResourceExt as _};
use waft_api::{Workload, conditions};
use waft_ir::{ComponentState, Phase, WorkloadState};

use crate::waiting;

/// Everything is reached through the machine's loopback.
const ADDRESS: &str = "127.0.0.1";

/// The uid of the Workload that a Pod stands for.
pub(super) fn workload_of(pod: &Pod) -> Option<&str> {
    let owners = pod.metadata.owner_references.as_deref().unwrap_or_default();
    let ours = owners
        .iter()
        .find(|owner| owner.kind == "Workload" && owner.api_version == Workload::api_version(&()));
    ours.map(|owner| owner.uid.as_str())
}

/// The Pod of a workload. `state` is what its host says, `node` the name of that host.
pub(super) fn of(workload: &Workload, state: Option<&WorkloadState>, node: Option<&str>) -> Pod {
    let name = workload.name_any();
    let owner = OwnerReference {
        api_version: Workload::api_version(&()).into(),
        kind: Workload::kind(&()).into(),
        name: name.clone(),
        uid: workload.uid().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(false),
    };
    Pod {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: workload.namespace(),
            labels: Some(workload.labels().clone()),
            annotations: Some(annotations(workload)),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        spec: Some(PodSpec {
            containers: containers(workload),
            node_name: node.map(Into::into),
            restart_policy: Some("Always".into()),
            enable_service_links: Some(false),
            automount_service_account_token: Some(false),
            ..PodSpec::default()
        }),
        status: Some(status(workload, state, node.is_some())),
    }
}

/// Annotations that mean something to tools; those of the operator would mislead.
fn annotations(workload: &Workload) -> BTreeMap<String, String> {
    let mut annotations = workload.annotations().clone();
    annotations.retain(|name, _| {
        !name.starts_with("runtime.wasmcloud.dev/")
            && !name.starts_with("kubectl.kubernetes.io/last")
    });
    annotations
}

fn containers(workload: &Workload) -> Vec<Container> {
    let container = |name: String, image: &String, policy: &Option<String>| Container {
        name,
        image: Some(image.clone()),
        image_pull_policy: policy.clone().or_else(|| Some("IfNotPresent".into())),
        ..Container::default()
    };
    let spec = &workload.spec;
    let components = spec
        .components
        .iter()
        .map(|c| container(c.name.clone(), &c.image, &c.image_pull_policy));
    let service = spec
        .service
        .iter()
        .map(|s| container(s.called().to_owned(), &s.image, &s.image_pull_policy));
    components.chain(service).collect()
}

fn status(workload: &Workload, state: Option<&WorkloadState>, scheduled: bool) -> PodStatus {
    let (waiting_reason, waiting_message) = state
        .and_then(waiting::of_state)
        .unwrap_or_else(|| waiting::of_object(workload));
    let phase = state.map(|state| &state.phase);
    let running = matches!(
        phase,
        Some(Phase::Running | Phase::Restarting(_) | Phase::Stopping)
    );
    let completed = matches!(phase, Some(Phase::Completed));
    let restarting = matches!(phase, Some(Phase::Restarting(_)));
    let ready = matches!(phase, Some(Phase::Running));
    let since = ready_since(workload);
    let service = workload.spec.service.as_ref();
    let service = service.map(|service| service.called().to_owned());
    let statuses = containers(workload)
        .into_iter()
        .map(|container| {
            let known = state.into_iter().flat_map(|s| &s.components);
            let known = known.clone().find(|c| c.name == container.name);
            let waits = restarting && service.as_ref() == Some(&container.name);
            let runs = running && !waits;
            let now = if completed || (runs && known.is_some_and(|c| c.completed)) {
                ended(0, "Completed", None)
            } else if runs {
                ContainerState {
                    running: Some(ContainerStateRunning {
                        started_at: since.clone(),
                    }),
                    ..ContainerState::default()
                }
            } else {
                ContainerState {
                    waiting: Some(ContainerStateWaiting {
                        reason: Some(waiting_reason.clone()),
                        message: waiting_message.clone(),
                    }),
                    ..ContainerState::default()
                }
            };
            ContainerStatus {
                image: container.image.unwrap_or_default(),
                image_id: known.and_then(|c| c.digest.clone()).unwrap_or_default(),
                name: container.name,
                ready: (ready || restarting) && now.running.is_some(),
                started: Some(now.running.is_some()),
                restart_count: known.map_or(0, |c| i32::try_from(c.restarts).unwrap_or(i32::MAX)),
                last_state: known.and_then(last_state),
                state: Some(now),
                ..ContainerStatus::default()
            }
        })
        .collect();
    let condition = |type_: &str, holds: bool| PodCondition {
        type_: type_.into(),
        status: if holds { "True" } else { "False" }.into(),
        reason: (!holds).then(|| waiting_reason.clone()),
        message: waiting_message.clone().filter(|_| !holds),
        last_transition_time: since.clone().filter(|_| holds),
        ..PodCondition::default()
    };
    PodStatus {
        phase: Some(
            if completed {
                "Succeeded"
            } else if running {
                "Running"
            } else {
                "Pending"
            }
            .into(),
        ),
        conditions: Some(vec![
            condition("PodScheduled", scheduled),
            condition("Initialized", scheduled),
            condition("ContainersReady", ready),
            condition("Ready", ready),
        ]),
        container_statuses: Some(statuses),
        host_ip: scheduled.then(|| ADDRESS.into()),
        pod_ip: scheduled.then(|| ADDRESS.into()),
        pod_ips: scheduled.then(|| vec![PodIP { ip: ADDRESS.into() }]),
        start_time: workload.creation_timestamp(),
        qos_class: Some("BestEffort".into()),
        ..PodStatus::default()
    }
}

/// When the workload became ready, as far as its conditions tell.
pub(super) fn ready_since(workload: &Workload) -> Option<Time> {
    let status = workload.status.as_ref()?;
    let ready = status
        .conditions
        .iter()
        .find(|c| c.type_ == conditions::READY)?;
    ready
        .last_transition_time
        .clone()
        .filter(|_| ready.is_true())
}

/// How an instance ended before, if one did.
fn last_state(component: &ComponentState) -> Option<ContainerState> {
    let error = component.last_error.as_deref()?;
    Some(ended(1, "Error", Some(error)))
}

fn ended(exit_code: i32, reason: &str, message: Option<&str>) -> ContainerState {
    ContainerState {
        terminated: Some(ContainerStateTerminated {
            exit_code,
            reason: Some(reason.into()),
            message: message.map(Into::into),
            ..ContainerStateTerminated::default()
        }),
        ..ContainerState::default()
    }
}

#[cfg(test)]
mod tests;
