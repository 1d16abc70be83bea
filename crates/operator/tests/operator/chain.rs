//! From a deployment to a host and back to its status; scale; delete; what is refused.

use std::pin::pin;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Service;
use kube::{
    ResourceExt as _,
    api::{WatchEvent, WatchParams},
};
use serde_json::json;
use waft_api::{HttpTrigger, Workload, WorkloadDeployment, WorkloadReplicaSet};
use waft_ir::{Failure, FailureReason, HostId, Phase, WorkloadState};

use crate::{
    fakes::host,
    triggers::trigger,
    world::{Conditioned as _, World, backends, deployment, is, message, observed, within},
};

const LABEL: &str = "runtime.wasmcloud.dev/workload-deployment";

#[tokio::test]
async fn a_deployment_becomes_ready_and_is_routed_by_its_name() {
    let mut world = World::new().await;
    let hello = world.deployed("one", "").await;
    let status = hello.status.clone().unwrap();
    let counts = status.replicas.unwrap();
    assert_eq!(
        (counts.expected, counts.current, counts.ready),
        (Some(1), Some(1), Some(1))
    );
    assert_eq!(counts.unavailable, Some(0));
    assert_eq!(status.current_replicas, Some(1));
    assert_eq!(status.selector.as_deref(), Some(&*format!("{LABEL}=hello")));
    assert_eq!(status.observed_generation, hello.metadata.generation);
    let types: Vec<_> = status.conditions.iter().map(|c| c.type_.as_str()).collect();
    assert_eq!(types, ["Artifact", "Sync", "Deploy", "Scale", "Ready"]);

    let set = world.only_set().await;
    assert_eq!(status.current_replica_set.unwrap().name, set.name_any());
    assert_eq!(set.labels()[LABEL], "hello");
    assert_eq!(set.owner_references()[0].controller, Some(true));
    let workloads = world.list::<Workload>().await;
    assert_eq!(workloads.len(), 1);
    let workload = &workloads[0];
    assert_eq!(
        (&*workload.labels()[LABEL], &*workload.labels()["app"]),
        ("hello", "hello")
    );
    assert_eq!(workload.owner_references()[0].name, set.name_any());
    let of_workload = workload.status.clone().unwrap();
    assert_eq!(of_workload.host_id.as_deref(), Some("a"));
    assert_eq!(of_workload.workload_id, workload.uid());
    assert_eq!(world.link.started().len(), 1);
    world.has_backends("hello.default.localhost", Some(1)).await;
    let hello = world
        .until::<WorkloadDeployment>("hello", "has its url", |hello| {
            hello
                .status
                .as_ref()
                .is_some_and(|status| status.url.is_some())
        })
        .await;
    assert_eq!(
        hello.status.unwrap().url.as_deref(),
        Some("http://hello.default.localhost:8000/")
    );
}

#[tokio::test]
async fn scale_up_and_down_and_delete_leave_nothing_behind() {
    let mut world = World::new().await;
    world.deployed("one", "replicas: 3").await;
    assert_eq!(world.list::<Workload>().await.len(), 3);
    world.has_backends("hello.default.localhost", Some(3)).await;

    world.scale::<WorkloadDeployment>("hello", 1).await;
    let hello = world.ready::<WorkloadDeployment>("hello").await;
    assert_eq!(hello.status.unwrap().current_replicas, Some(1));
    world
        .linked("two stopped", |link| link.states_now().len() == 1)
        .await;

    world.scale::<WorkloadDeployment>("hello", 0).await;
    world.ready::<WorkloadDeployment>("hello").await;
    world
        .linked("all stopped", |link| link.states_now().is_empty())
        .await;
    world.has_backends("hello.default.localhost", Some(0)).await;

    world.scale::<WorkloadDeployment>("hello", 2).await;
    world.ready::<WorkloadDeployment>("hello").await;
    world.delete::<WorkloadDeployment>("hello").await;
    world
        .linked("stopped", |link| link.states_now().is_empty())
        .await;
    for workload in world.list::<Workload>().await {
        world.gone::<Workload>(&workload.name_any()).await;
    }
    for set in world.list::<WorkloadReplicaSet>().await {
        world.gone::<WorkloadReplicaSet>(&set.name_any()).await;
    }
    world.has_backends("hello.default.localhost", None).await;
}

#[tokio::test]
async fn routes_leave_before_a_workload_is_stopped() {
    let mut world = World::new().await;
    world.deployed("one", "").await;
    world.has_backends("hello.default.localhost", Some(1)).await;
    world.link.hold_stops();
    world.scale::<WorkloadDeployment>("hello", 0).await;
    world
        .linked("told to stop", |link| !link.stopped().is_empty())
        .await;
    assert_eq!(world.backends("hello.default.localhost"), Some(0));
    // The object stays until the host has finished.
    assert_eq!(world.list::<Workload>().await.len(), 1);
    world.link.release();
    let workload = world.list::<Workload>().await;
    for workload in workload {
        world.gone::<Workload>(&workload.name_any()).await;
    }
}

#[tokio::test]
async fn what_a_host_says_stands_on_every_object_of_the_chain() {
    let world = World::new().await;
    let failure = Failure::new(FailureReason::NotWasm, "component `http`: `one` is no wasm");
    world.link.script("one", Phase::Failed(failure));
    world
        .apply::<WorkloadDeployment>(&deployment("one", ""))
        .await;
    let hello = world
        .says::<WorkloadDeployment>("hello", "Ready", "False", "NotWasm")
        .await;
    assert_eq!(
        message(&hello, "Ready"),
        "component `http`: `one` is no wasm"
    );
    let set = world.only_set().await;
    assert!(is(&set, "Ready", "False", Some("NotWasm")));
    let workload = world.list::<Workload>().await.remove(0);
    assert!(is(&workload, "Sync", "False", Some("NotWasm")) && observed(&workload));
    world.warned(&workload.name_any(), "NotWasm").await;
    let events = world.events(&workload.name_any()).await;
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].reason.as_deref(), Some("NotWasm"));
    assert_eq!(world.link.started().len(), 1, "waits for a change");
}

#[tokio::test]
async fn passing_failures_are_tried_again() {
    let world = World::new().await;
    let failure = Failure::new(FailureReason::ImagePullFailed, "the registry is down");
    world.link.script("one", Phase::Failed(failure));
    world
        .apply::<WorkloadDeployment>(&deployment("one", ""))
        .await;
    world
        .says::<WorkloadDeployment>("hello", "Ready", "False", "ImagePullFailed")
        .await;
    // It fails the same way once more, of which the host has nothing new to tell.
    world
        .linked("tried again", |link| link.started().len() > 1)
        .await;
    world.link.script("one", Phase::Running);
    let in_vain = world.link.started().len();
    world.ready::<WorkloadDeployment>("hello").await;
    assert_eq!(world.link.started().len(), in_vain + 1);
}

#[tokio::test]
async fn what_is_not_served_yet_is_named_and_nothing_starts() {
    let world = World::new().await;
    let yaml = deployment("one", "").replace(
        "      hostInterfaces:",
        "      hostInterfaces:\n      - {namespace: cosmonic, package: kafka, interfaces: [handler]}",
    );
    world.apply::<WorkloadDeployment>(&yaml).await;
    let hello = world
        .says::<WorkloadDeployment>("hello", "Ready", "False", "NotSupportedYet")
        .await;
    assert!(message(&hello, "Ready").contains("cosmonic:kafka"));
    assert!(world.list::<WorkloadReplicaSet>().await.is_empty());
}

#[tokio::test]
async fn values_that_make_no_sense_are_refused() {
    let world = World::new().await;
    let field = "deployPolicy: Sometimes";
    world
        .apply::<WorkloadDeployment>(&deployment("one", field))
        .await;
    let hello = world
        .until::<WorkloadDeployment>("hello", field, |hello| {
            is(hello, "Ready", "False", Some("InvalidSpec"))
                && message(hello, "Ready").contains("Sometimes")
        })
        .await;
    assert!(observed(&hello));
    assert!(world.link.started().is_empty());
    // What can be scaled is looked at by the API server itself.
    let negative: serde_json::Value =
        serde_saphyr::from_str(&deployment("one", "replicas: -1")).expect("YAML");
    let refused = world
        .api::<WorkloadDeployment>()
        .patch(
            "hello",
            &kube::api::PatchParams::apply("test").force(),
            &kube::api::Patch::Apply(&negative),
        )
        .await
        .expect_err("refused");
    assert!(refused.to_string().contains(".spec.replicas"), "{refused}");
}

#[tokio::test]
async fn what_answers_without_an_entry_keeps_its_route_without_replicas() {
    let mut world = World::new().await;
    let entry = "\n      hostInterfaces:\n      - {namespace: wasi, package: http, interfaces: [incoming-handler]}";
    let manifest = deployment("one", "replicas: 1").replace(entry, "");
    assert!(!manifest.contains("hostInterfaces"), "{manifest}");
    world.apply::<WorkloadDeployment>(&manifest).await;
    world.ready::<WorkloadDeployment>("hello").await;
    world.has_backends("hello.default.localhost", Some(1)).await;
    world.scale::<WorkloadDeployment>("hello", 0).await;
    world.has_backends("hello.default.localhost", Some(0)).await;
    world.ready::<WorkloadDeployment>("hello").await;
    assert_eq!(world.backends("hello.default.localhost"), Some(0));
    world.delete::<WorkloadDeployment>("hello").await;
    world.has_backends("hello.default.localhost", None).await;
}

#[tokio::test]
async fn a_bare_set_and_a_bare_workload_run_too() {
    let mut world = World::new().await;
    let spec = "
      components: [{name: http, image: one}]
      hostInterfaces:
      - {namespace: wasi, package: http, interfaces: [incoming-handler]}";
    world
        .apply::<Workload>(&format!(
            "apiVersion: runtime.wasmcloud.dev/v1alpha1\nkind: Workload\n\
             metadata: {{name: bare}}\nspec:{spec}"
        ))
        .await;
    let bare = world.ready::<Workload>("bare").await;
    assert!(
        bare.finalizers()
            .contains(&"runtime.wasmcloud.dev/workload-finalizer".to_owned())
    );
    let indented = spec.replace("\n  ", "\n      ");
    world
        .apply::<WorkloadReplicaSet>(&format!(
            "apiVersion: runtime.wasmcloud.dev/v1alpha1\nkind: WorkloadReplicaSet\n\
             metadata: {{name: set}}\nspec:\n  replicas: 2\n  template:\n    spec:{}",
            indented.replace("handler]", "handler], config: {address: '0.0.0.0:80'}")
        ))
        .await;
    world.ready::<WorkloadReplicaSet>("set").await;
    world.warned("set", "AddressIgnored").await;
    world
        .until::<WorkloadReplicaSet>("set", "says its address", |set| {
            let url = set.status.as_ref().and_then(|status| status.url.as_deref());
            url == Some("http://set.default.localhost:8000/")
        })
        .await;
    world
        .until::<Workload>("bare", "says its address", |bare| {
            let url = bare
                .status
                .as_ref()
                .and_then(|status| status.url.as_deref());
            url == Some("http://bare.default.localhost:8000/")
        })
        .await;
    for workload in world.list::<Workload>().await {
        let url = workload.status.clone().unwrap_or_default().url;
        assert_eq!(url.is_some(), workload.name_any() == "bare");
    }
    world
        .routed("both are routed by their names", |table| {
            backends(table, "bare.default.localhost") == Some(1)
                && backends(table, "set.default.localhost") == Some(2)
        })
        .await;

    // A changed spec restarts a bare workload in place.
    world
        .merge::<Workload>(
            "bare",
            serde_json::json!({"spec": {"components": [{"name": "http", "image": "two"}]}}),
        )
        .await;
    world.ready::<Workload>("bare").await;
    let started = world.link.started();
    assert_eq!(
        started.last().unwrap().1.components[0].image.reference,
        "two"
    );
    world.delete::<Workload>("bare").await;
    world.gone::<Workload>("bare").await;
}

#[tokio::test]
async fn after_a_restart_strays_are_stopped_and_the_rest_is_placed_again() {
    let mut world = World::new().await;
    world.deployed("one", "replicas: 2").await;
    world.stop_operator().await;

    // The host process ends as well; its successor has another id, and something on it.
    world.link.lose("a");
    world.link.set_hosts([host("b")]);
    let stray = WorkloadState {
        host: HostId("b".into()),
        phase: Phase::Running,
        components: vec![],
        warnings: vec![],
    };
    world.link.add_state("stray", stray);
    world.start_operator();
    world
        .linked("placed again, the stray gone", |link| {
            let states = link.states_now();
            states.len() == 2 && states.keys().all(|id| id.0 != "stray")
        })
        .await;
    for workload in world.list::<Workload>().await {
        world
            .until::<Workload>(&workload.name_any(), "on the new host", |workload| {
                let status = workload.status.as_ref();
                status.is_some_and(|status| status.host_id.as_deref() == Some("b"))
                    && is(workload, "Ready", "True", None)
            })
            .await;
    }
    world.ready::<WorkloadDeployment>("hello").await;
}

#[tokio::test]
async fn a_change_of_spec_never_leaves_ready_standing() {
    let world = World::new().await;
    let before = world.deployed("one", "").await;
    let patch = serde_json::json!({"spec": {"deployPolicy": "Recreate"}});
    let changed = world.merge::<WorkloadDeployment>("hello", patch).await;
    let api = world.api::<WorkloadDeployment>();
    let version = before.resource_version().unwrap();
    let events = api.watch(&WatchParams::default(), &version).await.unwrap();
    let mut events = pin!(events);
    let mut seen = Vec::new();
    while seen.last().is_none_or(|status| status != "True") {
        let event = within(events.next(), "the deployment is ready again").await;
        let WatchEvent::Modified(hello) = event.unwrap().unwrap() else {
            continue;
        };
        let conditions = hello.status.unwrap_or_default().conditions;
        let ready = conditions.into_iter().find(|c| c.type_ == "Ready").unwrap();
        if ready.observed_generation == changed.metadata.generation {
            seen.push(ready.status);
        }
    }
    assert_eq!(seen, ["Unknown", "True"]);
}

#[tokio::test]
async fn nothing_is_written_when_nothing_changed() {
    let world = World::new().await;
    world.deployed("one", "replicas: 2").await;
    world
        .until::<WorkloadDeployment>("hello", "has its url", |hello| {
            hello
                .status
                .as_ref()
                .is_some_and(|status| status.url.is_some())
        })
        .await;
    world.ready::<waft_api::Host>("name-a").await;
    let versions = async || {
        let mut versions = Vec::new();
        for object in world.list::<WorkloadDeployment>().await {
            versions.push((object.name_any(), object.resource_version()));
        }
        for object in world.list::<WorkloadReplicaSet>().await {
            versions.push((object.name_any(), object.resource_version()));
        }
        for object in world.list::<Workload>().await {
            versions.push((object.name_any(), object.resource_version()));
        }
        for object in world.list::<waft_api::Host>().await {
            versions.push((object.name_any(), object.resource_version()));
        }
        versions
    };
    let before = versions().await;
    // Wakes everything: the host is a little busier, and an object of each kind is looked at again.
    let mut busier = host("a");
    busier.cpu_percent = 2.0;
    world.link.set_hosts([busier]);
    world
        .apply::<WorkloadDeployment>(&deployment("one", "replicas: 2"))
        .await;
    // What comes after in the same queue shows that the rest was handled.
    let other = deployment("two", "").replace("name: hello", "name: other");
    world.apply::<WorkloadDeployment>(&other).await;
    world.ready::<WorkloadDeployment>("other").await;
    let after: Vec<_> = versions()
        .await
        .into_iter()
        .filter(|(name, _)| !name.starts_with("other"))
        .collect();
    assert_eq!(before, after);
}

#[tokio::test]
async fn a_deployment_that_no_route_leads_to_says_who_holds_it() {
    let mut world = World::new().await;
    let named =
        |name: &str| {
            deployment("one", "").replace("name: hello", &format!("name: {name}")).replace(
            "interfaces: [incoming-handler]",
            "interfaces: [incoming-handler], config: {host: same.test, address: '0.0.0.0:80'}",
        )
        };
    world.apply::<WorkloadDeployment>(&named("a-first")).await;
    world.ready::<WorkloadDeployment>("a-first").await;
    world.apply::<WorkloadDeployment>(&named("b-second")).await;
    let second = world
        .says::<WorkloadDeployment>("b-second", "Ready", "False", "RouteConflict")
        .await;
    assert!(message(&second, "Ready").contains("WorkloadDeployment default/a-first"));
    assert!(is(&second, "Degraded", "True", Some("RouteConflict")));
    world
        .says::<WorkloadDeployment>("b-second", "Deploy", "True", "Available")
        .await;
    assert_eq!(world.backends("same.test"), Some(1));
    world.warned("b-second", "AddressIgnored").await;
    world.warned("b-second", "RouteConflict").await;
    world.delete::<WorkloadDeployment>("a-first").await;
    world.ready::<WorkloadDeployment>("b-second").await;
    world.has_backends("same.test", Some(1)).await;
}

#[tokio::test]
async fn what_the_api_server_refuses_is_told() {
    let world = World::new().await;
    let yaml = deployment("one", "").replace("{app: hello}", "{app: 'not a label value'}");
    world.apply::<WorkloadDeployment>(&yaml).await;
    let hello = world
        .says::<WorkloadDeployment>("hello", "Ready", "False", "ApplyFailed")
        .await;
    assert!(message(&hello, "Ready").contains("not a label value"));
    let set = world.only_set().await;
    assert!(is(&set, "ScaleUp", "False", Some("ApplyFailed")));
    world.deployed("one", "").await;
}

#[tokio::test]
async fn a_name_that_belongs_to_someone_else_is_left_alone() {
    let world = World::new().await;
    world.deployed("one", "").await;
    let trigger = "
apiVersion: control.cosmonic.io/v1alpha1
kind: HTTPTrigger
metadata: {name: hello}
spec:
  ingress: {host: other.test}
  template: {spec: {components: [{name: http, image: two}]}}
";
    world.apply::<waft_api::HttpTrigger>(trigger).await;
    world
        .says::<waft_api::HttpTrigger>("hello", "Ready", "False", "NameTaken")
        .await;
    let hello = world.ready::<WorkloadDeployment>("hello").await;
    assert_eq!(hello.spec.template.spec.components[0].image, "one");
}

#[tokio::test]
async fn what_is_deleted_by_hand_comes_back() {
    let mut world = World::new().await;
    world.deployed("one", "replicas: 2").await;
    let workload = world.list::<Workload>().await.remove(0);
    world.delete::<Workload>(&workload.name_any()).await;
    let back = world
        .until::<Workload>(&workload.name_any(), "another of the name", |now| {
            now.uid() != workload.uid()
        })
        .await;
    world.ready::<Workload>(&back.name_any()).await;
    let set = world.only_set().await;
    world.delete::<WorkloadReplicaSet>(&set.name_any()).await;
    world
        .until::<WorkloadReplicaSet>(&set.name_any(), "another of the name", |now| {
            now.uid() != set.uid()
        })
        .await;
    world.ready::<WorkloadDeployment>("hello").await;
    world.has_backends("hello.default.localhost", Some(2)).await;
    assert!(
        world.events("hello").await.is_empty(),
        "nothing of it was wrong"
    );
}

#[tokio::test]
async fn deleted_and_created_again_at_once() {
    let mut world = World::new().await;
    for image in ["one", "two", "one"] {
        world
            .apply::<WorkloadDeployment>(&deployment(image, "replicas: 2"))
            .await;
        world.ready::<WorkloadDeployment>("hello").await;
        world.delete::<WorkloadDeployment>("hello").await;
        world
            .apply::<WorkloadDeployment>(&deployment(image, "replicas: 2"))
            .await;
        world.ready::<WorkloadDeployment>("hello").await;
        world.has_backends("hello.default.localhost", Some(2)).await;
    }
    world
        .linked("two run", |link| link.states_now().len() == 2)
        .await;
    assert!(
        world.events("hello").await.is_empty(),
        "nothing of it was wrong"
    );
}

#[tokio::test]
async fn what_a_user_must_know_is_passed_up() {
    let world = World::new().await;
    world.deployed("one", "").await;
    let states = world.link.states_now();
    let (id, state) = states.iter().next().unwrap();
    let mut state = WorkloadState::clone(state);
    state.warnings = vec![("EmbeddedBackend".into(), "kept in memory".into())];
    world.link.add_state(&id.0, state);
    let hello = world
        .says::<WorkloadDeployment>("hello", "Degraded", "True", "EmbeddedBackend")
        .await;
    assert!(is(&hello, "Ready", "True", None));
}

#[tokio::test]
async fn a_service_that_is_not_there_is_told_until_it_is() {
    let world = World::new().await;
    let service = "kubernetes: {service: {name: shop}}";
    let http = trigger("front", "front.test", "").replace(
        "      components:",
        &format!("      {service}\n      components:"),
    );
    world.deployed("one", service).await;
    world
        .says::<WorkloadDeployment>("hello", "Degraded", "True", "ServiceNotFound")
        .await;
    world.warned("hello", "ServiceNotFound").await;
    world
        .merge::<WorkloadDeployment>("hello", json!({"spec": {"kubernetes": null}}))
        .await;
    let is_told = |conditions: &[waft_api::Condition]| {
        let mut types = conditions.iter().map(|condition| condition.type_.as_str());
        types.any(|type_| type_ == "Degraded")
    };
    let untold = |hello: &WorkloadDeployment| !is_told(&hello.conditions());
    world.until("hello", "names no Service", untold).await;
    world.apply::<HttpTrigger>(&http).await;
    world
        .says::<HttpTrigger>("front", "Degraded", "True", "ServiceNotFound")
        .await;
    world
        .apply::<Service>(
            "{apiVersion: v1, kind: Service, metadata: {name: shop}, spec: {ports: [{port: 80}]}}",
        )
        .await;
    let untold = |front: &HttpTrigger| !is_told(&front.conditions());
    world.until("front", "has its Service", untold).await;
    world.delete::<Service>("shop").await;
    world
        .says::<HttpTrigger>("front", "Degraded", "True", "ServiceNotFound")
        .await;
}
