use serde_json::{Value, json};

use super::*;
use crate::registry::Registry;

fn cells(group: &str, resource: &str, object: Value) -> Vec<Value> {
    let registry = Registry::builtin();
    let resource = registry
        .get(group, "v1", resource)
        .expect("a built-in kind");
    let now = timestamp("2026-01-02T00:00:00Z").expect("a time");
    let row = row(resource, &object, IncludeObject::None, "v1", now);
    row["cells"].as_array().expect("cells").clone()
}

#[test]
fn every_builtin_column_has_a_recipe() {
    for resource in Registry::builtin()
        .all()
        .filter(|resource| !resource.review)
    {
        assert!(!resource.columns.is_empty(), "{}", resource.plural);
        for column in &resource.columns {
            let empty = matches!(column.cell, Cell::Empty);
            assert!(!empty, "{} {}", resource.plural, column.definition["name"]);
        }
    }
    let kinds: Vec<Value> =
        serde_json::from_str(include_str!("../../data/kinds.json")).expect("JSON");
    for kind in kinds {
        let (group, plural) = (
            kind["group"].as_str().expect("group"),
            kind["resource"].as_str().expect("name"),
        );
        let registry = Registry::builtin();
        let version = kind["version"].as_str().expect("version");
        let columns = &registry.get(group, version, plural).expect(plural).columns;
        assert_eq!(
            columns.len(),
            kind["cells"].as_array().expect("cells").len(),
            "{plural}"
        );
    }
}

#[test]
fn pods_print_as_kubectl_shows_them() {
    let pod = json!({
        "metadata": {"name": "p", "creationTimestamp": "2026-01-01T23:58:00Z"},
        "spec": {"nodeName": "n", "containers": [{"name": "a"}, {"name": "b"}]},
        "status": {"phase": "Running", "podIP": "10.0.0.1", "containerStatuses": [
            {"ready": true, "restartCount": 2, "state": {"running": {}},
             "lastState": {"terminated": {"finishedAt": "2026-01-01T23:59:30Z"}}},
            {"ready": false, "restartCount": 1, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]},
    });
    assert_eq!(
        cells("", "pods", pod),
        [
            json!("p"),
            json!("1/2"),
            json!("CrashLoopBackOff"),
            json!("3 (30s ago)"),
            json!("2m"),
            json!("10.0.0.1"),
            json!("n"),
            json!("<none>"),
            json!("<none>")
        ]
    );
}

#[test]
fn a_terminating_pod_says_so() {
    let pod = json!({"metadata": {"name": "p", "deletionTimestamp": "2026-01-01T00:00:00Z"}, "spec": {"containers": []},
        "status": {"phase": "Running"}});
    assert_eq!(cells("", "pods", pod)[2], json!("Terminating"));
}

#[test]
fn services_and_nodes() {
    let service = json!({"metadata": {"name": "s"}, "spec": {"type": "LoadBalancer", "clusterIP": "10.96.0.1",
        "selector": {"b": "2", "a": "1"}, "ports": [{"port": 80, "nodePort": 30080, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]}});
    assert_eq!(
        cells("", "services", service),
        [
            json!("s"),
            json!("LoadBalancer"),
            json!("10.96.0.1"),
            json!("<pending>"),
            json!("80:30080/TCP,53/UDP"),
            json!("<unknown>"),
            json!("a=1,b=2")
        ]
    );
    let node = json!({"metadata": {"name": "n", "labels": {"node-role.kubernetes.io/waft": ""}}, "spec": {"unschedulable": true},
        "status": {"conditions": [{"type": "Ready", "status": "True"}], "addresses": [{"type": "InternalIP", "address": "1.2.3.4"}],
        "nodeInfo": {"kubeletVersion": "v1", "osImage": "Linux"}}});
    let node = cells("", "nodes", node);
    assert_eq!(
        node[1..6],
        [
            json!("Ready,SchedulingDisabled"),
            json!("waft"),
            json!("<unknown>"),
            json!("v1"),
            json!("1.2.3.4")
        ]
    );
}

#[test]
fn durations_have_at_most_two_units() {
    for (seconds, shown) in [
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (125, "2m5s"),
        (600, "10m"),
        (10_799, "179m"),
        (10_800, "3h"),
        (11_000, "3h3m"),
        (172_800, "2d"),
        (180_000, "2d2h"),
        (864_000, "10d"),
        (63_072_000 + 86_400, "2y1d"),
        (-5, "<invalid>"),
        (-1, "0s"),
    ] {
        assert_eq!(human_duration(seconds), shown);
    }
}

#[test]
fn typed_cells_refuse_other_types() {
    let object = json!({"n": 3, "s": "x", "o": {"a": 1}, "b": true});
    let cell = |path, kind| Cell::typed(path, kind).evaluate(&object, 0);
    assert_eq!(cell(".n", "integer"), json!(3));
    assert_eq!(cell(".s", "integer"), Value::Null);
    assert_eq!(cell(".n", "string"), json!("3"));
    assert_eq!(cell(".o", "string"), json!("{\"a\":1}"));
    assert_eq!(cell(".b", "boolean"), json!(true));
    assert_eq!(cell(".absent", "string"), Value::Null);
}
