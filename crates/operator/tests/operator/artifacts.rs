//! Artifacts: resolved once, and a new digest rolls.

use waft_api::{Artifact, WorkloadDeployment};
use waft_ir::FailureReason;

use crate::world::{World, deployment};

pub(crate) const TAG: &str = "r.test/hello:latest";
pub(crate) const HTTP: &str = "wasi:http/incoming-handler@0.2.0";

pub(crate) const ARTIFACT: &str = "
apiVersion: runtime.wasmcloud.dev/v1alpha1
kind: Artifact
metadata: {name: art}
spec: {image: 'r.test/hello:latest'}
";

#[tokio::test]
async fn a_tag_is_resolved_once_and_a_new_digest_rolls() {
    let world = World::new().await;
    let more = "artifacts: [{name: http, artifactFrom: {name: art}}]";
    world
        .apply::<WorkloadDeployment>(&deployment("replaced", more))
        .await;
    world
        .says::<WorkloadDeployment>("hello", "Artifact", "False", "ArtifactNotFound")
        .await;

    world.artifacts.fail(TAG, FailureReason::NotWasm);
    world.apply::<Artifact>(ARTIFACT).await;
    world
        .says::<Artifact>("art", "Sync", "False", "NotWasm")
        .await;
    world
        .says::<WorkloadDeployment>("hello", "Ready", "False", "ArtifactNotReady")
        .await;

    world.artifacts.answer(TAG, "sha256:1", HTTP);
    refresh(&world, "1").await;
    let art = world.ready::<Artifact>("art").await;
    let status = art.status.unwrap();
    assert_eq!(
        status.artifact_url.as_deref(),
        Some("r.test/hello:latest@sha256:1")
    );
    world.ready::<WorkloadDeployment>("hello").await;
    let image = |at: usize| {
        world.link.started()[at].1.components[0]
            .image
            .reference
            .clone()
    };
    assert_eq!(image(0), "r.test/hello:latest@sha256:1");
    let asked = world.artifacts.asked(TAG);
    assert_eq!(asked, 2, "once for each question");

    world.artifacts.answer(TAG, "sha256:2", HTTP);
    refresh(&world, "2").await;
    world
        .until::<Artifact>("art", "pinned anew", |art| {
            let status = art.status.as_ref();
            status.is_some_and(|status| status.digest.as_deref() == Some("sha256:2"))
        })
        .await;
    world
        .linked("rolled", |link| {
            link.started().len() == 2 && link.stopped().len() == 1
        })
        .await;
    assert_eq!(image(1), "r.test/hello:latest@sha256:2");
    assert_eq!(world.artifacts.asked(TAG), 3);
}

#[tokio::test]
async fn a_restarted_operator_does_not_ask_again() {
    let mut world = World::new().await;
    world.artifacts.answer(TAG, "sha256:1", HTTP);
    world.apply::<Artifact>(ARTIFACT).await;
    world.ready::<Artifact>("art").await;
    world.stop_operator().await;
    world.start_operator();
    let yaml = deployment("'artifact://art'", "");
    world.apply::<WorkloadDeployment>(&yaml).await;
    world.ready::<WorkloadDeployment>("hello").await;
    assert_eq!(world.artifacts.asked(TAG), 1);
}

async fn refresh(world: &World, value: &str) {
    world
        .merge::<Artifact>(
            "art",
            serde_json::json!({"metadata": {"annotations": {"waft.dev/refresh": value}}}),
        )
        .await;
}

#[tokio::test]
async fn an_image_that_is_pushed_later_is_found() {
    let world = World::new().await;
    world.artifacts.fail(TAG, FailureReason::ImageNotFound);
    world.apply::<Artifact>(ARTIFACT).await;
    world
        .says::<Artifact>("art", "Ready", "False", "ImageNotFound")
        .await;
    world.artifacts.answer(TAG, "sha256:1", HTTP);
    world.ready::<Artifact>("art").await;
}
