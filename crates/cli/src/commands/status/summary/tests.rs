use serde_json::json;

use super::*;

fn deployment(name: &str, owner: Option<&str>) -> Value {
    let owners: Vec<_> = owner.iter().map(|uid| json!({ "uid": uid })).collect();
    json!({
        "metadata": {"namespace": "default", "name": name, "ownerReferences": owners},
        "spec": {"replicas": 2},
        "status": {"replicas": {"ready": 1}, "url": format!("http://{name}.localhost:8000/")},
    })
}

fn labelled(mut object: Value, deployment: &str) -> Value {
    object["metadata"]["namespace"] = "default".into();
    object["metadata"]["labels"] = json!({ LABEL_WORKLOAD_DEPLOYMENT: deployment });
    object
}

#[test]
fn a_deployment_is_summed_up() {
    let pod = |restarts: i64| {
        let container = json!({
            "restartCount": restarts,
            "lastState": {"terminated": {"message": "trap: unreachable"}},
        });
        labelled(
            json!({"status": {"containerStatuses": [container]}}),
            "hello",
        )
    };
    let objects = Objects {
        deployments: vec![deployment("hello", None)],
        pods: vec![pod(1), pod(2), labelled(json!({}), "other")],
        ..Objects::default()
    };
    let line = Line {
        namespace: "default".into(),
        name: "hello".into(),
        kind: "WorkloadDeployment",
        url: Some("http://hello.localhost:8000/".into()),
        ready: 1,
        replicas: 2,
        restarts: 3,
        last_error: Some("trap: unreachable".into()),
    };
    assert_eq!(summarize(&objects), [line]);
}

#[test]
fn the_closest_cause_is_the_error() {
    let workload = json!({"metadata": {}, "status": {"conditions": [
        {"type": "Sync", "status": "False", "reason": "ImageNotFound", "message": "no `x`"},
        {"type": "Ready", "status": "False", "reason": "NotReady", "message": "not synced"},
    ]}});
    let mut owned = deployment("hello", None);
    owned["status"]["conditions"] = json!([
        {"type": "Ready", "status": "False", "reason": "Unavailable", "message": "0 of 2"},
    ]);
    let mut objects = Objects {
        deployments: vec![owned],
        workloads: vec![labelled(workload, "hello")],
        ..Objects::default()
    };
    objects.workloads[0]["metadata"]["ownerReferences"] = json!([{"uid": "r"}]);
    let lines = summarize(&objects);
    assert_eq!(
        lines[0].last_error.as_deref(),
        Some("ImageNotFound: no `x`")
    );
    objects.workloads.clear();
    let lines = summarize(&objects);
    assert_eq!(lines[0].last_error.as_deref(), Some("Unavailable: 0 of 2"));
}

#[test]
fn a_trigger_speaks_for_its_deployment() {
    let trigger = json!({
        "metadata": {"namespace": "default", "name": "web", "uid": "t"},
        "spec": {"replicas": 3},
        "status": {"url": "http://web.localhost:8000/", "conditions": [
            {"type": "Accepted", "status": "False", "reason": "RouteConflict"},
        ]},
    });
    let objects = Objects {
        triggers: vec![trigger],
        deployments: vec![deployment("web", Some("t"))],
        ..Objects::default()
    };
    let lines = summarize(&objects);
    assert_eq!(lines.len(), 1);
    assert_eq!(
        (lines[0].kind, lines[0].ready, lines[0].replicas),
        ("HTTPTrigger", 1, 3)
    );
    assert_eq!(lines[0].url.as_deref(), Some("http://web.localhost:8000/"));
    assert_eq!(lines[0].last_error.as_deref(), Some("RouteConflict"));
}

#[test]
fn what_nobody_owns_has_a_line() {
    let ready = json!([{"type": "Ready", "status": "True"}]);
    let alone = json!({
        "metadata": {"namespace": "a", "name": "w"},
        "status": {"conditions": ready, "url": "http://w.a.localhost:8000/"},
    });
    let set = |name: &str, owners: Value| {
        json!({
            "metadata": {"namespace": "b", "name": name, "uid": name, "ownerReferences": owners},
            "spec": {"replicas": 2},
            "status": {"replicas": {"ready": 1}, "url": "http://s.b.localhost:8000/"},
        })
    };
    let bad = json!([{"type": "Sync", "status": "False", "reason": "ImageNotFound"}]);
    let owned = json!({
        "metadata": {"namespace": "b", "name": "s-1", "ownerReferences": [{"uid": "s"}]},
        "status": {"conditions": bad},
    });
    let pod = json!({
        "metadata": {"namespace": "b", "name": "s-1"},
        "status": {"containerStatuses": [{"restartCount": 4}]},
    });
    let objects = Objects {
        sets: vec![set("s", json!([])), set("of-one", json!([{"uid": "d"}]))],
        workloads: vec![alone, owned],
        pods: vec![pod],
        ..Objects::default()
    };
    let lines = summarize(&objects);
    assert_eq!(lines.len(), 2);
    assert_eq!(
        (lines[0].kind, lines[0].ready, lines[0].replicas),
        ("Workload", 1, 1)
    );
    assert_eq!(lines[0].url.as_deref(), Some("http://w.a.localhost:8000/"));
    assert_eq!(
        (lines[1].kind, lines[1].ready, lines[1].replicas),
        ("WorkloadReplicaSet", 1, 2)
    );
    assert_eq!(lines[1].restarts, 4);
    assert_eq!(lines[1].url.as_deref(), Some("http://s.b.localhost:8000/"));
    assert_eq!(lines[1].last_error.as_deref(), Some("ImageNotFound"));
}
