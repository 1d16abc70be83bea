use serde_json::{Value, json};
use waft_ir::{Failure, FailureReason, HostId};

use super::*;

fn workload() -> Workload {
    serde_json::from_value(json!({
        "metadata": {
            "name": "hello-x-y",
            "namespace": "shop",
            "uid": "1",
            "labels": {"app": "hello", "runtime.wasmcloud.dev/workload-deployment": "hello"},
            "annotations": {"a": "b", "runtime.wasmcloud.dev/workload-replica-set-generation": "z"},
        },
        "spec": {
            "components": [{"name": "http", "image": "r.test/a:1"}],
            "service": {"name": "", "image": "r.test/s:1"},
        },
        "status": {"conditions": [
            {"type": "HostSelection", "status": "False", "reason": "NoMatchingHost", "message": "m"},
            {"type": "Ready", "status": "False", "reason": "NoMatchingHost"},
        ]},
    }))
    .unwrap()
}

fn state(phase: Phase) -> WorkloadState {
    WorkloadState {
        host: HostId("h".into()),
        phase,
        components: vec![
            ComponentState {
                name: "http".into(),
                digest: Some("sha256:1".into()),
                restarts: 2,
                last_error: Some("it failed".into()),
                ..ComponentState::default()
            },
            ComponentState {
                name: "service".into(),
                ..ComponentState::default()
            },
        ],
        warnings: Vec::new(),
    }
}

fn shown(state: Option<&WorkloadState>, node: Option<&str>) -> Value {
    serde_json::to_value(of(&workload(), state, node)).unwrap()
}

#[test]
fn a_pod_is_its_workloads() {
    let pod = shown(None, None);
    assert_eq!(pod["metadata"]["name"], "hello-x-y");
    assert_eq!(pod["metadata"]["namespace"], "shop");
    assert_eq!(pod["metadata"]["labels"], json!(workload().labels()));
    assert_eq!(pod["metadata"]["annotations"], json!({"a": "b"}));
    assert_eq!(pod["metadata"]["ownerReferences"][0]["uid"], "1");
    let names = pod["spec"]["containers"].as_array().unwrap();
    let names = names
        .iter()
        .map(|c| c["name"].as_str().unwrap())
        .collect::<Vec<_>>();
    assert_eq!(names, ["http", "service"]);
    let typed = of(&workload(), None, None);
    assert_eq!(workload_of(&typed), Some("1"));
    assert_eq!(workload_of(&Pod::default()), None);
}

#[test]
fn what_never_came_to_a_host_says_why() {
    let pod = shown(None, None);
    assert_eq!(pod["status"]["phase"], "Pending");
    let waiting = &pod["status"]["containerStatuses"][0]["state"]["waiting"];
    assert_eq!(
        (&waiting["reason"], &waiting["message"]),
        (&json!("NoMatchingHost"), &json!("m"))
    );
    assert_eq!(pod["status"]["conditions"][0]["status"], "False");
    assert!(pod["spec"].get("nodeName").is_none());
}

#[test]
fn what_runs_is_ready_and_counts_its_restarts() {
    let pod = shown(Some(&state(Phase::Running)), Some("node"));
    assert_eq!(pod["status"]["phase"], "Running");
    assert_eq!(pod["spec"]["nodeName"], "node");
    let container = &pod["status"]["containerStatuses"][0];
    assert_eq!(container["ready"], true);
    assert_eq!(container["restartCount"], 2);
    assert_eq!(container["imageID"], "sha256:1");
    assert_eq!(container["lastState"]["terminated"]["message"], "it failed");
    let ready = pod["status"]["conditions"].as_array().unwrap();
    assert!(ready.iter().all(|c| c["status"] == "True"));
}

#[test]
fn a_failure_is_the_reason_for_waiting() {
    let failure = Failure::new(FailureReason::NotWasm, "it is a text");
    let pod = shown(Some(&state(Phase::Failed(failure))), Some("node"));
    assert_eq!(pod["status"]["phase"], "Pending");
    let waiting = &pod["status"]["containerStatuses"][0]["state"]["waiting"];
    assert_eq!(waiting["reason"], "NotWasm");
    assert_eq!(waiting["message"], "it is a text");
}

#[test]
fn a_service_that_is_started_again_waits_beside_components_that_run() {
    let failure = Failure::new(FailureReason::CrashLoopBackOff, "restart 1 of 3");
    let pod = shown(Some(&state(Phase::Restarting(failure))), Some("node"));
    assert_eq!(pod["status"]["phase"], "Running");
    let [http, service] = [0, 1].map(|at| &pod["status"]["containerStatuses"][at]);
    assert!(http["state"]["running"].is_object() && http["ready"] == true);
    let waiting = &service["state"]["waiting"];
    assert_eq!(
        (&waiting["reason"], &waiting["message"], &service["ready"]),
        (
            &json!("CrashLoopBackOff"),
            &json!("restart 1 of 3"),
            &json!(false)
        )
    );
    let ready = &pod["status"]["conditions"][3];
    assert_eq!(
        (&ready["type"], &ready["status"], &ready["reason"]),
        (&json!("Ready"), &json!("False"), &json!("CrashLoopBackOff"))
    );
}

#[test]
fn a_service_that_ended_well_is_completed_and_the_pod_ready() {
    let mut state = state(Phase::Running);
    state.components[1].completed = true;
    let pod = shown(Some(&state), Some("node"));
    let [http, service] = [0, 1].map(|at| &pod["status"]["containerStatuses"][at]);
    assert!(http["state"]["running"].is_object() && http["ready"] == true);
    let ended = &service["state"]["terminated"];
    assert_eq!(
        (&ended["reason"], &ended["exitCode"], &service["ready"]),
        (&json!("Completed"), &json!(0), &json!(false))
    );
    assert_eq!(pod["status"]["phase"], "Running");
    assert_eq!(pod["status"]["conditions"][3]["status"], "True");
}

#[test]
fn what_stops_is_no_longer_ready_but_runs() {
    let pod = shown(Some(&state(Phase::Stopping)), Some("node"));
    assert_eq!(pod["status"]["phase"], "Running");
    assert_eq!(pod["status"]["containerStatuses"][0]["ready"], false);
}
