//! HTTPTriggers: routes, and the deployment they own.

use kube::ResourceExt as _;
use waft_api::{Artifact, HttpTrigger, Workload, WorkloadDeployment};
use waft_ir::{Failure, FailureReason, Phase};

use crate::{
    artifacts,
    fakes::host,
    world::{World, deployment, is, message},
};

pub(crate) fn trigger(name: &str, host: &str, more: &str) -> String {
    format!(
        "
apiVersion: control.cosmonic.io/v1alpha1
kind: HTTPTrigger
metadata: {{name: {name}}}
spec:
  ingress: {{host: {host}}}
  {more}
  template:
    spec:
      components:
      - {{name: http, image: one}}
"
    )
}

#[tokio::test]
async fn a_trigger_leads_to_its_workload_and_takes_it_along() {
    let mut world = World::new().await;
    world
        .artifacts
        .answer("one", "sha256:1", "wasi:http/handler@0.3.0");
    world
        .apply::<HttpTrigger>(&trigger("hello", "hello.test", "timeout: 300s"))
        .await;
    let hello = world.ready::<HttpTrigger>("hello").await;
    let status = hello.status.clone().unwrap();
    assert_eq!(status.url.as_deref(), Some("http://hello.test:8000/"));
    assert_eq!(status.current_replicas, Some(1));
    let types: Vec<_> = status.conditions.iter().map(|c| c.type_.as_str()).collect();
    assert_eq!(types, ["Accepted", "Programmed", "Ready"]);
    let owned = world.ready::<WorkloadDeployment>("hello").await;
    let entry = &owned.spec.template.spec.host_interfaces[0];
    assert_eq!(entry.interfaces, ["handler"]);
    assert_eq!(owned.owner_references()[0].kind, "HTTPTrigger");
    world.has_backends("hello.test", Some(1)).await;
    let table = world.routes.borrow().clone();
    assert_eq!(
        table
            .find("hello.test", "/")
            .unwrap()
            .timeout
            .unwrap()
            .as_secs(),
        300
    );
    assert_eq!(
        world.backends("hello.default.localhost"),
        None,
        "the deployment is no source"
    );

    // Replicas: unset, so whoever scales decides; then the trigger.
    world.scale::<WorkloadDeployment>("hello", 2).await;
    world
        .until::<HttpTrigger>("hello", "two", |hello| {
            let status = hello.status.clone().unwrap();
            status.current_replicas == Some(2) && is(hello, "Ready", "True", None)
        })
        .await;
    world.scale::<HttpTrigger>("hello", 3).await;
    world.ready::<HttpTrigger>("hello").await;
    world.has_backends("hello.test", Some(3)).await;
    world.scale::<WorkloadDeployment>("hello", 1).await;
    world
        .until::<WorkloadDeployment>("hello", "follows the trigger", |owned| {
            owned.spec.replicas == Some(3)
        })
        .await;

    world.delete::<HttpTrigger>("hello").await;
    world.gone::<WorkloadDeployment>("hello").await;
    world
        .linked("stopped", |link| link.states_now().is_empty())
        .await;
    for workload in world.list::<Workload>().await {
        world.gone::<Workload>(&workload.name_any()).await;
    }
    world
        .routed("no route", |table| table.iter().count() == 0)
        .await;
}

#[tokio::test]
async fn of_two_with_one_route_the_older_keeps_it() {
    let mut world = World::new().await;
    world
        .artifacts
        .answer("one", "sha256:1", "wasi:http/incoming-handler@0.2.0");
    world
        .apply::<HttpTrigger>(&trigger("a-first", "same.test", ""))
        .await;
    world.ready::<HttpTrigger>("a-first").await;
    world
        .apply::<HttpTrigger>(&trigger("b-second", "Same.test", ""))
        .await;
    let second = world
        .says::<HttpTrigger>("b-second", "Accepted", "False", "RouteConflict")
        .await;
    assert!(message(&second, "Accepted").contains("HTTPTrigger default/a-first"));
    world
        .says::<HttpTrigger>("b-second", "Ready", "False", "RouteConflict")
        .await;
    world.warned("b-second", "RouteConflict").await;
    world.delete::<HttpTrigger>("a-first").await;
    world.ready::<HttpTrigger>("b-second").await;
    world.has_backends("same.test", Some(1)).await;
}

#[tokio::test]
async fn a_route_that_is_refused_leaves_the_others() {
    let mut world = World::new().await;
    let paths = "
  ingress:
    host: paths.test
    paths:
    - {path: /good}
    - {path: /bad, pathType: ImplementationSpecific}";
    let yaml = trigger("paths", "x", "").replace("\n  ingress: {host: x}", paths);
    world.apply::<HttpTrigger>(&yaml).await;
    world
        .says::<HttpTrigger>("paths", "Accepted", "False", "InvalidPath")
        .await;
    world
        .says::<HttpTrigger>("paths", "Degraded", "True", "InvalidPath")
        .await;
    let paths = world.ready::<HttpTrigger>("paths").await;
    assert!(is(&paths, "Programmed", "True", None));
    world
        .routed("the good one", |table| {
            table
                .find("paths.test", "/good")
                .is_some_and(|route| route.backends.len() == 1)
        })
        .await;
    assert!(world.routes.borrow().find("paths.test", "/bad").is_none());
}

#[tokio::test]
async fn a_host_in_the_template_of_a_trigger_is_said_to_be_ignored() {
    let world = World::new().await;
    let yaml = trigger("hello", "hello.test", "").replace(
        "      components:",
        "      hostInterfaces:
      - {namespace: wasi, package: http, interfaces: [outgoing-handler], \
         config: {host-aliases: other.test}}
      components:",
    );
    world.apply::<HttpTrigger>(&yaml).await;
    world.ready::<HttpTrigger>("hello").await;
    world.warned("hello", "HostIgnored").await;
    assert_eq!(world.backends("other.test"), None);
}

#[tokio::test]
async fn contradictions_are_not_accepted() {
    let world = World::new().await;
    let yaml = trigger("hello", "hello.test", "hostSelector: {a: b}").replace(
        "      components:",
        "      hostSelector: {a: c}\n      components:",
    );
    world.apply::<HttpTrigger>(&yaml).await;
    world
        .says::<HttpTrigger>("hello", "Accepted", "False", "ConflictingFields")
        .await;
    assert!(world.list::<WorkloadDeployment>().await.is_empty());
}

#[tokio::test]
async fn a_change_of_the_template_rolls_through_the_deployment() {
    let mut world = World::new().await;
    world
        .artifacts
        .answer("one", "sha256:1", "wasi:http/incoming-handler@0.2.0");
    world
        .apply::<HttpTrigger>(&trigger("hello", "hello.test", ""))
        .await;
    world.ready::<HttpTrigger>("hello").await;
    let yaml = trigger("hello", "hello.test", "").replace("image: one", "image: two");
    world.apply::<HttpTrigger>(&yaml).await;
    world.ready::<HttpTrigger>("hello").await;
    let started = world.link.started();
    assert_eq!(
        started.last().unwrap().1.components[0].image.reference,
        "two"
    );
    world.has_backends("hello.test", Some(1)).await;
}

#[tokio::test]
async fn labels_that_are_taken_away_leave_the_deployment_too() {
    let world = World::new().await;
    world
        .artifacts
        .answer("one", "sha256:1", "wasi:http/incoming-handler@0.2.0");
    let labelled = trigger("hello", "hello.test", "")
        .replace("{name: hello}", "{name: hello, labels: {team: shop}}");
    world.apply::<HttpTrigger>(&labelled).await;
    world.ready::<HttpTrigger>("hello").await;
    let set = world.only_set().await.name_any();
    let owned = world.ready::<WorkloadDeployment>("hello").await;
    assert_eq!(owned.labels()["team"], "shop");
    world
        .apply::<HttpTrigger>(&trigger("hello", "hello.test", ""))
        .await;
    world
        .until::<WorkloadDeployment>("hello", "without the label", |owned| {
            !owned.labels().contains_key("team")
        })
        .await;
    world.ready::<HttpTrigger>("hello").await;
    assert_eq!(world.only_set().await.name_any(), set, "nothing was rolled");
    assert_eq!(
        world.artifacts.asked("one"),
        1,
        "nor was the image looked at again"
    );
}

#[tokio::test]
async fn a_registry_that_hangs_holds_nobody_else() {
    /// More than there are workers.
    const HANGING: usize = 40;
    let world = World::new().await;
    for number in 0..HANGING {
        let (name, image) = (format!("hangs-{number}"), format!("hangs.test/{number}"));
        world.artifacts.hang(&image);
        let yaml = trigger(&name, &format!("{name}.test"), "")
            .replace("image: one", &format!("image: {image}"));
        world.apply::<HttpTrigger>(&yaml).await;
        let artifact = artifacts::ARTIFACT
            .replace("name: art", &format!("name: {name}"))
            .replace(artifacts::TAG, &image);
        world.apply::<Artifact>(&artifact).await;
    }
    for number in 0..HANGING {
        let name = format!("hangs-{number}");
        let says = world.says::<Artifact>(&name, "Ready", "Unknown", "Pulling");
        let image = format!("hangs.test/{number}");
        assert!(message(&says.await, "Ready").contains(&image));
        world
            .says::<HttpTrigger>(&name, "Ready", "Unknown", "Pulling")
            .await;
    }

    world
        .artifacts
        .answer("one", "sha256:1", "wasi:http/handler@0.3.0");
    world
        .artifacts
        .answer(artifacts::TAG, "sha256:1", artifacts::HTTP);
    world
        .apply::<HttpTrigger>(&trigger("other", "other.test", ""))
        .await;
    world.apply::<Artifact>(artifacts::ARTIFACT).await;
    let uses = deployment("'artifact://art'", "");
    world.apply::<WorkloadDeployment>(&uses).await;
    world.ready::<HttpTrigger>("other").await;
    world.ready::<WorkloadDeployment>("hello").await;

    let last = format!("hangs.test/{}", HANGING - 1);
    world
        .artifacts
        .answer(&last, "sha256:2", "wasi:http/handler@0.3.0");
    world.artifacts.go_on();
    let name = format!("hangs-{}", HANGING - 1);
    world.ready::<Artifact>(&name).await;
    world.ready::<HttpTrigger>(&name).await;
    let owned = world.ready::<WorkloadDeployment>(&name).await;
    let entry = &owned.spec.template.spec.host_interfaces[0];
    assert_eq!(entry.interfaces, ["handler"], "it was waited for");
}

/// What the deployment of the trigger `hello` takes requests by.
async fn has_handler(world: &World, handler: &str) {
    world
        .until::<WorkloadDeployment>("hello", handler, |owned| {
            let entries = &owned.spec.template.spec.host_interfaces;
            entries[0].interfaces.last().unwrap() == handler
        })
        .await;
}

#[tokio::test]
async fn an_entry_of_a_version_is_given_the_handler_of_that_version() {
    let mut new = host("a");
    new.offers.push("wasi:http@0.3.0".parse().unwrap());
    let world = World::with_hosts([new]).await;
    let missing = Failure::new(FailureReason::ImageNotFound, "no such tag");
    world.link.script("one", Phase::Failed(missing));
    let yaml = trigger("hello", "hello.test", "").replace(
        "      components:",
        "      hostInterfaces:
      - {namespace: wasi, package: http, version: 0.3.0, interfaces: [client]}
      components:",
    );
    world.apply::<HttpTrigger>(&yaml).await;
    let hello = world
        .says::<HttpTrigger>("hello", "Ready", "False", "ImageNotFound")
        .await;
    assert!(message(&hello, "Ready").contains("no such tag"));
    has_handler(&world, "handler").await;
    assert_eq!(
        world.artifacts.asked("one"),
        0,
        "nothing was to be found out"
    );
    world.link.turn("one", Phase::Running);
    world.ready::<HttpTrigger>("hello").await;
}

#[tokio::test]
async fn a_guess_is_not_kept() {
    let mut world = World::new().await;
    apply_without_image(&world).await;
    has_handler(&world, "incoming-handler").await;
    world
        .artifacts
        .answer("one", "sha256:1", "wasi:http/handler@0.3.0");
    world.link.turn("one", Phase::Running);
    has_handler(&world, "handler").await;
    world.ready::<HttpTrigger>("hello").await;
    // What was found out is, over restarts too.
    let asked = world.artifacts.asked("one");
    world.stop_operator().await;
    world.start_operator();
    world.scale::<HttpTrigger>("hello", 2).await;
    world.ready::<HttpTrigger>("hello").await;
    assert_eq!(world.artifacts.asked("one"), asked);
}

#[tokio::test]
async fn an_image_is_looked_for_again_though_nothing_else_changes() {
    let world = World::new().await;
    apply_without_image(&world).await;
    world
        .artifacts
        .answer("one", "sha256:1", "wasi:http/handler@0.3.0");
    has_handler(&world, "handler").await;
}

#[tokio::test]
async fn what_wakes_a_trigger_is_no_reason_to_look_again() {
    /// Changes that leave the images as they are.
    const CHANGES: i32 = 20;
    let world = World::new().await;
    let broken = Failure::new(FailureReason::NotWasm, "it is a picture");
    world.artifacts.fail("one", FailureReason::NotWasm);
    world.link.script("one", Phase::Failed(broken));
    world
        .apply::<HttpTrigger>(&trigger("hello", "hello.test", ""))
        .await;
    for replicas in 1..CHANGES {
        world.scale::<HttpTrigger>("hello", replicas).await;
        world
            .says::<HttpTrigger>("hello", "Ready", "False", "NotWasm")
            .await;
    }
    assert_eq!(world.artifacts.asked("one"), 1);
    // A change of the template is.
    world
        .artifacts
        .answer("one", "sha256:1", "wasi:http/handler@0.3.0");
    let yaml = trigger("hello", "hello.test", "").replace("name: http", "name: web");
    world.apply::<HttpTrigger>(&yaml).await;
    has_handler(&world, "handler").await;
}

#[tokio::test]
async fn a_guess_is_looked_at_again_after_a_restart() {
    let mut world = World::new().await;
    world
        .apply::<HttpTrigger>(&trigger("hello", "hello.test", ""))
        .await;
    world.ready::<HttpTrigger>("hello").await;
    has_handler(&world, "incoming-handler").await;
    world.stop_operator().await;
    world
        .artifacts
        .answer("one", "sha256:1", "wasi:http/handler@0.3.0");
    world.start_operator();
    has_handler(&world, "handler").await;
}

#[tokio::test]
async fn the_service_may_be_what_serves() {
    let world = World::new().await;
    world
        .artifacts
        .answer("one", "sha256:1", "my:own/thing@0.1.0");
    world
        .artifacts
        .answer("two", "sha256:2", "wasi:http/handler@0.3.0");
    let yaml = trigger("hello", "hello.test", "").replace(
        "      components:",
        "      service: {image: two}\n      components:",
    );
    world.apply::<HttpTrigger>(&yaml).await;
    has_handler(&world, "handler").await;
}

#[tokio::test]
async fn nothing_is_pulled_for_a_trigger_before_a_host_fits() {
    let world = World::new().await;
    world.artifacts.hang("one");
    let yaml = trigger("hello", "hello.test", "").replace(
        "      components:",
        "      hostInterfaces:
      - {namespace: my, package: own, interfaces: [thing]}
      components:",
    );
    world.apply::<HttpTrigger>(&yaml).await;
    let hello = world
        .says::<HttpTrigger>("hello", "Ready", "False", "NoMatchingHost")
        .await;
    assert!(message(&hello, "Ready").contains("`my:own/thing`"));
    assert_eq!(world.artifacts.asked("one"), 0);
    let mut other = host("b");
    other.offers.push("my:own".parse().unwrap());
    world
        .artifacts
        .answer("one", "sha256:1", "wasi:http/handler@0.3.0");
    world.artifacts.go_on();
    world.link.set_hosts([host("a"), other]);
    world.ready::<HttpTrigger>("hello").await;
    assert_eq!(world.artifacts.asked("one"), 1);
}

/// Applies a trigger whose image is not there yet, and waits until that is told.
async fn apply_without_image(world: &World) {
    let missing = Failure::new(FailureReason::ImageNotFound, "no such tag");
    world.link.script("one", Phase::Failed(missing));
    world
        .apply::<HttpTrigger>(&trigger("hello", "hello.test", ""))
        .await;
    world
        .says::<HttpTrigger>("hello", "Ready", "False", "ImageNotFound")
        .await;
}
