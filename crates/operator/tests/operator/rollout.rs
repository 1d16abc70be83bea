//! One template after another.

use kube::ResourceExt as _;
use waft_api::{Workload, WorkloadDeployment, WorkloadReplicaSet};
use waft_ir::{Failure, FailureReason, Phase};

use crate::world::{World, backends, deployment, message, observed, within};

const HOST: &str = "hello.default.localhost";

fn broken() -> Phase {
    Phase::Failed(Failure::new(
        FailureReason::ImageNotFound,
        "image `bad` is not there",
    ))
}

async fn images(world: &World) -> Vec<String> {
    let sets = world.list::<WorkloadReplicaSet>().await;
    let mut images: Vec<_> = sets
        .iter()
        .map(|set| set.spec.template.spec.components[0].image.clone())
        .collect();
    images.sort();
    images
}

#[tokio::test]
async fn a_broken_image_leaves_the_old_replicas_serving_and_can_be_taken_back() {
    let mut world = World::new().await;
    world.deployed("good", "replicas: 2").await;
    world.link.script("bad", broken());
    world
        .apply::<WorkloadDeployment>(&deployment("bad", "replicas: 2"))
        .await;
    let hello = world
        .says::<WorkloadDeployment>("hello", "Ready", "False", "ImageNotFound")
        .await;
    assert!(message(&hello, "Ready").contains("image `bad` is not there"));
    let status = hello.status.unwrap();
    assert!(status.previous_replica_set.is_some());
    world.has_backends(HOST, Some(2)).await;

    // Two updates in a row: the healthy set outlives both.
    world.link.script("worse", broken());
    world
        .apply::<WorkloadDeployment>(&deployment("worse", "replicas: 2"))
        .await;
    world
        .says::<WorkloadDeployment>("hello", "Ready", "False", "ImageNotFound")
        .await;
    world
        .until::<WorkloadDeployment>("hello", "on the newest", |_| true)
        .await;
    for set in world.list::<WorkloadReplicaSet>().await {
        if set.spec.template.spec.components[0].image == "bad" {
            world.gone::<WorkloadReplicaSet>(&set.name_any()).await;
        }
    }
    assert_eq!(images(&world).await, ["good", "worse"]);
    assert_eq!(world.backends(HOST), Some(2));

    world.deployed("good", "replicas: 2").await;
    assert_eq!(images(&world).await, ["good"]);
    let good = world
        .link
        .started()
        .iter()
        .filter(|(_, w)| w.components[0].image.reference == "good")
        .count();
    assert_eq!(good, 2, "nothing of the old set was started again");
}

#[tokio::test]
async fn the_new_set_is_fully_ready_before_the_old_goes() {
    let mut world = World::new().await;
    world.deployed("one", "replicas: 2").await;
    world.link.script("two", Phase::Compiling);
    world
        .apply::<WorkloadDeployment>(&deployment("two", "replicas: 2"))
        .await;
    world
        .says::<WorkloadDeployment>("hello", "Ready", "Unknown", "Compiling")
        .await;
    assert_eq!(images(&world).await, ["one", "two"]);
    assert_eq!(world.link.stopped().len(), 0);
    world.link.turn("two", Phase::Running);
    world.ready::<WorkloadDeployment>("hello").await;
    assert_eq!(images(&world).await, ["two"]);
    world.has_backends(HOST, Some(2)).await;
    assert_eq!(world.link.stopped().len(), 2);
}

#[tokio::test]
async fn a_new_set_whose_service_fails_again_and_again_does_not_take_over() {
    let restarting = || {
        let text = "service `s`: it ended with an error; restart 1 of 3";
        Phase::Restarting(Failure::new(FailureReason::CrashLoopBackOff, text))
    };
    let mut world = World::new().await;
    world.deployed("one", "replicas: 2").await;
    world.link.script("two", restarting());
    world
        .apply::<WorkloadDeployment>(&deployment("two", "replicas: 2"))
        .await;
    let hello = world
        .says::<WorkloadDeployment>("hello", "Ready", "False", "CrashLoopBackOff")
        .await;
    assert!(message(&hello, "Ready").contains("restart 1 of 3"));
    assert_eq!(images(&world).await, ["one", "two"]);
    assert_eq!(world.link.stopped().len(), 0);
    world.has_backends(HOST, Some(2)).await;
    // Where no other replica is ready, they serve.
    world.link.turn("one", restarting());
    world.has_backends(HOST, Some(4)).await;
    world.link.turn("two", Phase::Running);
    world.ready::<WorkloadDeployment>("hello").await;
    assert_eq!(images(&world).await, ["two"]);
    world.has_backends(HOST, Some(2)).await;
}

#[tokio::test]
async fn recreate_waits_until_the_old_replicas_are_gone() {
    let world = World::new().await;
    let more = "deployPolicy: Recreate";
    world.deployed("one", more).await;
    world.link.hold_stops();
    world
        .apply::<WorkloadDeployment>(&deployment("two", more))
        .await;
    world
        .linked("the old one is told to stop", |link| {
            link.stopped().len() == 1
        })
        .await;
    world
        .says::<WorkloadDeployment>("hello", "Ready", "Unknown", "RollingOut")
        .await;
    assert_eq!(world.link.started().len(), 1);
    world.link.release();
    world.ready::<WorkloadDeployment>("hello").await;
    assert_eq!(images(&world).await, ["two"]);
    assert_eq!(world.list::<Workload>().await.len(), 1);
}

#[tokio::test]
async fn annotations_of_the_template_restart() {
    let world = World::new().await;
    world.deployed("one", "").await;
    let before = world.only_set().await.name_any();
    world
        .merge::<WorkloadDeployment>(
            "hello",
            serde_json::json!({"spec": {"template": {"metadata": {"annotations": {
                "kubectl.kubernetes.io/restartedAt": "now"
            }}}}}),
        )
        .await;
    world.ready::<WorkloadDeployment>("hello").await;
    assert_ne!(world.only_set().await.name_any(), before);
    let workload = world.list::<Workload>().await.remove(0);
    assert_eq!(
        workload.annotations()["kubectl.kubernetes.io/restartedAt"],
        "now"
    );
}

#[tokio::test]
async fn scaling_reaches_the_old_set_while_the_new_one_is_broken() {
    let mut world = World::new().await;
    world.deployed("good", "").await;
    world.link.script("bad", broken());
    world
        .apply::<WorkloadDeployment>(&deployment("bad", ""))
        .await;
    world
        .says::<WorkloadDeployment>("hello", "Ready", "False", "ImageNotFound")
        .await;
    world
        .apply::<WorkloadDeployment>(&deployment("bad", "replicas: 3"))
        .await;
    world.has_backends(HOST, Some(3)).await;
}

#[tokio::test]
async fn many_replicas_come_and_go() {
    let mut world = World::new().await;
    world.deployed("one", "replicas: 100").await;
    world.deployed("two", "replicas: 100").await;
    world.delete::<WorkloadDeployment>("hello").await;
    world
        .linked("all stopped", |link| link.states_now().is_empty())
        .await;
    world
        .routed("no route", |table| table.iter().count() == 0)
        .await;
}

#[tokio::test]
async fn a_storm_of_updates_never_takes_a_replica_from_the_routes() {
    let mut world = World::new().await;
    for bad in 0..40 {
        world.link.script(&format!("bad-{bad}"), broken());
    }
    world.deployed("good", "replicas: 2").await;
    world.has_backends(HOST, Some(2)).await;
    let mut routes = world.routes.clone();
    let fewest = tokio::spawn(async move {
        let mut fewest = 2;
        while routes.changed().await.is_ok() {
            let table = routes.borrow_and_update().clone();
            fewest = fewest.min(backends(&table, HOST).unwrap_or(0));
            if backends(&table, "the.end").is_some() {
                break;
            }
        }
        fewest
    });
    // Two of three are broken; some changes come before the last was looked at, some after.
    for update in 0..40 {
        let image = match update % 3 {
            0 => format!("fine-{update}"),
            _ => format!("bad-{update}"),
        };
        world
            .apply::<WorkloadDeployment>(&deployment(&image, "replicas: 2"))
            .await;
        if update % 4 == 0 {
            world
                .until::<WorkloadDeployment>("hello", "was looked at", observed)
                .await;
        }
        if update % 10 == 9 {
            world
                .apply::<WorkloadDeployment>(&deployment("good", "replicas: 2"))
                .await;
            world.ready::<WorkloadDeployment>("hello").await;
        }
    }
    world.deployed("last", "replicas: 2").await;
    assert_eq!(images(&world).await, ["last"]);
    let end = deployment("last", "")
        .replace("name: hello", "name: end")
        .replace(
            "interfaces: [incoming-handler]",
            "interfaces: [incoming-handler], config: {host: the.end}",
        );
    world.apply::<WorkloadDeployment>(&end).await;
    assert_eq!(within(fewest, "the end is routed").await.unwrap(), 2);
    world
        .linked("only the last runs", |link| link.states_now().len() == 3)
        .await;
}
