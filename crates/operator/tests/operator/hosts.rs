//! Hosts: their objects, and which of them runs what.

use waft_api::{Host, HostGroup, Workload, WorkloadDeployment};

use crate::{
    fakes::host,
    world::{World, deployment, message},
};

#[tokio::test]
async fn each_host_that_reports_has_an_object_and_others_are_not_ready() {
    let world = World::new().await;
    let object = world.ready::<Host>("name-a").await;
    assert_eq!(object.host_id.as_deref(), Some("a"));
    assert_eq!(object.metadata.labels.unwrap()["hostgroup"], "default");
    let status = object.status.unwrap();
    assert_eq!((&*status.os_name, &*status.version), ("linux", "1"));
    assert!(status.last_seen.is_some());
    world
        .apply::<Host>(
            "
apiVersion: runtime.wasmcloud.dev/v1alpha1
kind: Host
metadata: {name: silent}
hostId: nobody
",
        )
        .await;
    world
        .says::<Host>("silent", "Ready", "False", "HostNotReporting")
        .await;
    world.link.set_hosts([]);
    world
        .says::<Host>("name-a", "Ready", "False", "HostNotReporting")
        .await;
    world.link.set_hosts([host("a")]);
    world.ready::<Host>("name-a").await;
}

#[tokio::test]
async fn a_workload_waits_for_a_host_that_fits_and_names_the_flag() {
    let world = World::new().await;
    let yaml = deployment("one", "").replace(
        "      components:",
        "      hostSelector: {zone: eu}\n      components:",
    );
    world.apply::<WorkloadDeployment>(&yaml).await;
    let hello = world
        .says::<WorkloadDeployment>("hello", "Ready", "False", "NoMatchingHost")
        .await;
    assert!(message(&hello, "Ready").contains("--host-label zone=eu"));
    let mut labelled = host("b");
    labelled.labels.insert("zone".into(), "eu".into());
    world.link.set_hosts([host("a"), labelled]);
    world.ready::<WorkloadDeployment>("hello").await;
    let workload = world.list::<Workload>().await.remove(0);
    assert_eq!(workload.status.unwrap().host_id.as_deref(), Some("b"));
}

#[tokio::test]
async fn a_label_on_the_host_object_counts() {
    let world = World::new().await;
    world.ready::<Host>("name-a").await;
    let yaml = deployment("one", "").replace(
        "      components:",
        "      hostSelector: {zone: eu}\n      components:",
    );
    world.apply::<WorkloadDeployment>(&yaml).await;
    world
        .says::<WorkloadDeployment>("hello", "Ready", "False", "NoMatchingHost")
        .await;
    world
        .merge::<Host>(
            "name-a",
            serde_json::json!({"metadata": {"labels": {"zone": "eu"}}}),
        )
        .await;
    world.ready::<WorkloadDeployment>("hello").await;
}

#[tokio::test]
async fn replicas_spread_over_hosts_and_move_when_one_is_lost() {
    let world = World::with_hosts([host("a"), host("b")]).await;
    world.deployed("one", "replicas: 4").await;
    let on = |id: &str| {
        let states = world.link.states_now();
        states.values().filter(|state| state.host.0 == id).count()
    };
    assert_eq!((on("a"), on("b")), (2, 2));
    world.link.set_hosts([host("a")]);
    world.link.lose("b");
    world
        .linked("all on one", |link| {
            let states = link.states_now();
            states.len() == 4 && states.values().all(|state| state.host.0 == "a")
        })
        .await;
}

#[tokio::test]
async fn a_host_group_is_stored_and_ready() {
    let world = World::new().await;
    world
        .apply::<HostGroup>(
            "
apiVersion: k8s.cosmonic.io/v1alpha1
kind: HostGroup
metadata: {name: default}
spec: {replicas: 1}
",
        )
        .await;
    world
        .until::<HostGroup>("default", "ready", |group| {
            let conditions = group.status.clone().unwrap_or_default().conditions;
            conditions
                .iter()
                .any(|c| c.is_true() && c.reason.as_deref() == Some("InProcess"))
        })
        .await;
}
