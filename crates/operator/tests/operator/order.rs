//! What was applied earlier is seen later: nothing is started, or said, that the next moment would
//! take back.

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::ResourceExt as _;
use waft_api::{Artifact, HttpTrigger, Workload, WorkloadDeployment, WorkloadReplicaSet};
use waft_ir::WorkloadId;

use crate::{
    artifacts::{ARTIFACT, HTTP, TAG},
    triggers::trigger,
    world::{World, deployment, message},
};

fn config_map(level: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: ConfigMap, metadata: {{name: settings}}, data: {{level: {level}}}}}"
    )
}

/// A deployment whose volume may be empty.
fn mounting(more: &str) -> String {
    deployment("one", more).replace(
        "      components:",
        "      volumes: [{name: settings, configMap: {name: settings, optional: true}}]
      components:",
    )
}

/// Files of the volume of the workload that was started last.
fn files(world: &World) -> String {
    let started = world.link.started();
    match &started.last().unwrap().1.volumes[0].source {
        waft_ir::VolumeSource::Files(files) => {
            let files = files.iter();
            let files =
                files.map(|(name, text)| format!("{name}={}", String::from_utf8_lossy(text)));
            files.collect::<Vec<_>>().join(" ")
        }
        other => panic!("{other:?}"),
    }
}

/// Changes an object of a resource and the template of the deployment that names it. The operator starts
/// then, and sees the object's change last: the deployment waits for it, and rolls.
async fn rolls_once(
    world: &mut World,
    (resource, name): (&str, &str),
    deployment: &str,
    change: impl AsyncFnOnce(&World),
) {
    let before = world.only_set().await.name_any();
    world.stop_operator().await;
    let lag = world.start_lagging(resource).await;
    change(world).await;
    let other_template = deployment.replace("{app: hello}", "{app: changed}");
    world.apply::<WorkloadDeployment>(&other_template).await;
    lag.asked(name).await;
    assert_eq!(world.only_set().await.name_any(), before);
    lag.catch_up();
    world.gone::<WorkloadReplicaSet>(&before).await;
    world.ready::<WorkloadDeployment>("hello").await;
}

/// A workload that nothing owns.
const ALONE: &str = "
apiVersion: runtime.wasmcloud.dev/v1alpha1
kind: Workload
metadata: {name: alone}
spec:
  components: [{name: http, image: one}]
";

#[tokio::test]
async fn a_volume_that_may_be_empty_has_what_was_applied_before_it() {
    let (world, lag) = World::lagging("configmaps").await;
    world.apply::<ConfigMap>(&config_map("one")).await;
    world.apply::<WorkloadDeployment>(&mounting("")).await;
    lag.asked("settings").await;
    lag.catch_up();
    world.ready::<WorkloadDeployment>("hello").await;
    assert_eq!(world.link.started().len(), 1);
    assert_eq!(files(&world), "level=one");
}

#[tokio::test]
async fn a_configuration_and_a_template_that_change_together_roll_once() {
    let mut world = World::new().await;
    world.apply::<ConfigMap>(&config_map("one")).await;
    let policy = "deployPolicy: Recreate";
    world.apply::<WorkloadDeployment>(&mounting(policy)).await;
    world.ready::<WorkloadDeployment>("hello").await;
    rolls_once(
        &mut world,
        ("configmaps", "settings"),
        &mounting(policy),
        async |world| {
            world.apply::<ConfigMap>(&config_map("two")).await;
        },
    )
    .await;
    assert_eq!(world.link.started().len(), 2);
    assert_eq!(files(&world), "level=two");
}

#[tokio::test]
async fn what_is_only_seen_late_is_not_called_missing() {
    let (world, lag) = World::lagging("secrets").await;
    let secret = "{apiVersion: v1, kind: Secret, metadata: {name: token}, stringData: {A: b}}";
    world.apply::<Secret>(secret).await;
    let yaml = deployment("one", "").replace(
        "image: one\n",
        "image: one\n        localResources: {environment: {secretFrom: [{name: token}]}}\n",
    );
    world.apply::<WorkloadDeployment>(&yaml).await;
    lag.asked("token").await;
    lag.catch_up();
    world.ready::<WorkloadDeployment>("hello").await;
    assert!(world.events("hello").await.is_empty());
}

#[tokio::test]
async fn a_workload_of_its_own_starts_once_with_what_was_applied_before_it() {
    let (world, lag) = World::lagging("configmaps").await;
    world.apply::<ConfigMap>(&config_map("one")).await;
    let yaml = format!(
        "{ALONE}  volumes: [{{name: settings, configMap: {{name: settings, optional: true}}}}]
  hostInterfaces:
  - {{namespace: wasi, package: http, interfaces: [incoming-handler]}}
"
    );
    world.apply::<Workload>(&yaml).await;
    lag.asked("settings").await;
    lag.catch_up();
    world.ready::<Workload>("alone").await;
    assert_eq!(world.link.started().len(), 1);
    assert_eq!(files(&world), "level=one");
}

#[tokio::test]
async fn an_artifact_and_a_template_that_change_together_roll_once() {
    let mut world = World::new().await;
    world.artifacts.answer(TAG, "sha256:1", HTTP);
    world.apply::<Artifact>(ARTIFACT).await;
    let yaml = deployment("'artifact://art'", "");
    world.apply::<WorkloadDeployment>(&yaml).await;
    world.ready::<WorkloadDeployment>("hello").await;
    rolls_once(&mut world, ("artifacts", "art"), &yaml, async |world| {
        let next = "r.test/hello:next";
        world.artifacts.answer(next, "sha256:2", HTTP);
        let artifact = ARTIFACT.replace("latest", "next");
        world.apply::<Artifact>(&artifact).await;
    })
    .await;
    let images: Vec<_> = world
        .link
        .started()
        .iter()
        .map(|(_, started)| started.components[0].image.reference.clone())
        .collect();
    assert_eq!(
        images,
        ["r.test/hello:latest@sha256:1", "r.test/hello:next@sha256:2"]
    );
}

#[tokio::test]
async fn a_pull_secret_that_only_an_artifact_names_may_go_and_come_back() {
    let world = World::new().await;
    world.artifacts.answer(TAG, "sha256:1", HTTP);
    let secret = "{apiVersion: v1, kind: Secret, metadata: {name: pull}, \
                  stringData: {.dockerconfigjson: '{}'}}";
    world.apply::<Secret>(secret).await;
    let artifact = ARTIFACT.replace("spec: {", "spec: {imagePullSecret: {name: pull}, ");
    world.apply::<Artifact>(&artifact).await;
    let yaml = deployment("'artifact://art'", "");
    world.apply::<WorkloadDeployment>(&yaml).await;
    world.ready::<WorkloadDeployment>("hello").await;

    world.delete::<Secret>("pull").await;
    world
        .says::<WorkloadDeployment>("hello", "Ready", "False", "SecretNotFound")
        .await;
    world.apply::<Secret>(secret).await;
    world.ready::<WorkloadDeployment>("hello").await;
    assert_eq!(world.link.started().len(), 1);
}

#[tokio::test]
async fn a_trigger_waits_for_its_artifact_to_learn_what_it_exports() {
    let world = World::new().await;
    let yaml = trigger("hello", "hello.test", "").replace("image: one", "image: 'artifact://art'");
    world.apply::<HttpTrigger>(&yaml).await;
    let hello = world
        .says::<HttpTrigger>("hello", "Ready", "False", "ArtifactNotFound")
        .await;
    assert!(message(&hello, "Ready").contains("`art`"));
    assert!(world.list::<WorkloadDeployment>().await.is_empty());

    let pinned = "r.test/hello:latest@sha256:1";
    let exports = "wasi:http/handler@0.3.0";
    world.artifacts.answer(TAG, "sha256:1", exports);
    world.artifacts.answer(pinned, "sha256:1", exports);
    world.apply::<Artifact>(ARTIFACT).await;
    world.ready::<HttpTrigger>("hello").await;
    let owned = world.ready::<WorkloadDeployment>("hello").await;
    let entry = &owned.spec.template.spec.host_interfaces[0];
    assert_eq!(entry.interfaces, ["handler"]);
    assert_eq!(world.link.started().len(), 1);
}

#[tokio::test]
async fn a_template_that_declares_its_handler_needs_no_look_at_the_image() {
    let world = World::new().await;
    let yaml = trigger("hello", "hello.test", "").replace(
        "      components:",
        "      hostInterfaces: [{namespace: wasi, package: http, interfaces: [handler]}]
      components:",
    );
    world.apply::<HttpTrigger>(&yaml).await;
    world.ready::<HttpTrigger>("hello").await;
    assert_eq!(world.artifacts.asked("one"), 0);
}

#[tokio::test]
async fn a_workload_that_was_made_again_while_nobody_watched_leaves_nothing_running() {
    let mut world = World::new().await;
    world.apply::<Workload>(ALONE).await;
    let before = world.ready::<Workload>("alone").await.uid().unwrap();
    world.stop_operator().await;
    let lag = world.start_lagging("workloads").await;
    // Someone takes the finalizer away, so that nobody waits for the host.
    world.delete::<Workload>("alone").await;
    let none = serde_json::json!({"metadata": {"finalizers": null}});
    world.merge::<Workload>("alone", none).await;
    world.gone::<Workload>("alone").await;
    world.apply::<Workload>(ALONE).await;
    lag.expire();
    world
        .linked("what ran before is stopped", |link| {
            link.stopped() == [WorkloadId(before.clone())]
        })
        .await;
    let after = world.ready::<Workload>("alone").await.uid().unwrap();
    assert_ne!(before, after);
}
