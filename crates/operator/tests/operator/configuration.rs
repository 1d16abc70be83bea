//! ConfigMaps and Secrets: what is missing, what changes, what must not be seen.

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::ResourceExt as _;
use waft_api::{Workload, WorkloadDeployment, WorkloadReplicaSet};
use waft_ir::{Failure, FailureReason, Phase};

use crate::world::{World, deployment, message};

fn configured() -> String {
    deployment("one", "").replace(
        "        image: one\n",
        "        image: one
        localResources:
          environment:
            config: {LEVEL: inline}
            configFrom: [{name: settings}]
            secretFrom: [{name: token}]
",
    )
}

fn config_map(level: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: ConfigMap, metadata: {{name: settings}}, data: {{LEVEL: {level}}}}}"
    )
}

const SECRET: &str =
    "{apiVersion: v1, kind: Secret, metadata: {name: token}, stringData: {TOKEN: hunter2}}";

#[tokio::test]
async fn what_is_missing_is_named_and_heals_and_what_changes_rolls() {
    let world = World::new().await;
    world.apply::<WorkloadDeployment>(&configured()).await;
    let hello = world
        .says::<WorkloadDeployment>("hello", "Ready", "False", "ConfigMapNotFound")
        .await;
    assert!(message(&hello, "Ready").contains("`settings`"));
    world.apply::<ConfigMap>(&config_map("one")).await;
    let hello = world
        .says::<WorkloadDeployment>("hello", "Ready", "False", "SecretNotFound")
        .await;
    assert!(message(&hello, "Ready").contains("`token`"));
    world.apply::<Secret>(SECRET).await;
    world.ready::<WorkloadDeployment>("hello").await;
    let environment = world.link.started()[0].1.components[0]
        .resources
        .environment
        .clone();
    assert_eq!(environment["LEVEL"], "one");
    assert_eq!(environment["TOKEN"], "hunter2");

    let before = world.only_set().await.name_any();
    world.apply::<ConfigMap>(&config_map("two")).await;
    world.gone::<WorkloadReplicaSet>(&before).await;
    world.ready::<WorkloadDeployment>("hello").await;
    let started = world.link.started();
    let environment = &started.last().unwrap().1.components[0]
        .resources
        .environment;
    assert_eq!(environment["LEVEL"], "two");

    // A ConfigMap that goes away does not take the running replicas with it.
    world.delete::<ConfigMap>("settings").await;
    world
        .says::<WorkloadDeployment>("hello", "Ready", "False", "ConfigMapNotFound")
        .await;
    assert_eq!(world.link.states_now().len(), 1);
}

#[tokio::test]
async fn a_config_map_that_goes_takes_no_host_name_with_it() {
    let mut world = World::new().await;
    let map = |host: &str| {
        format!(
            "{{apiVersion: v1, kind: ConfigMap, metadata: {{name: hosts}}, data: {{host: {host}}}}}"
        )
    };
    world.apply::<ConfigMap>(&map("first.test")).await;
    let named = deployment("one", "").replace(
        "interfaces: [incoming-handler]",
        "interfaces: [incoming-handler], configFrom: [{name: hosts}]",
    );
    world.apply::<WorkloadDeployment>(&named).await;
    world.ready::<WorkloadDeployment>("hello").await;
    world.has_backends("first.test", Some(1)).await;

    world.delete::<ConfigMap>("hosts").await;
    world
        .says::<WorkloadDeployment>("hello", "Ready", "False", "ConfigMapNotFound")
        .await;
    // The routes were looked at after the ConfigMap went: this one is younger.
    let other = deployment("one", "").replace("name: hello", "name: other");
    world.apply::<WorkloadDeployment>(&other).await;
    world.has_backends("other.default.localhost", Some(1)).await;
    assert_eq!(world.backends("first.test"), Some(1));
    assert_eq!(world.backends("hello.default.localhost"), None);

    world.apply::<ConfigMap>(&map("second.test")).await;
    world.has_backends("second.test", Some(1)).await;
    world.has_backends("first.test", None).await;
}

/// What comes later in the same file is no change that rolls: the replica that serves first is the
/// one that stays, with what it wrote into its volumes.
#[tokio::test]
async fn a_deployment_waits_for_its_volumes_and_rolls_with_each_of_their_files() {
    let world = World::new().await;
    let mounted = deployment("one", "").replace(
        "      components:",
        "      volumes:
      - {name: settings, configMap: {name: settings}}
      - {name: scratch, ephemeral: {}}
      service: {name: worker, image: one, localResources: {environment: {secretFrom: [{name: token}]}}}
      components:",
    );
    world.apply::<WorkloadDeployment>(&mounted).await;
    world
        .says::<WorkloadDeployment>("hello", "Ready", "False", "SecretNotFound")
        .await;
    world.apply::<Secret>(SECRET).await;
    let hello = world
        .says::<WorkloadDeployment>("hello", "Ready", "False", "ConfigMapNotFound")
        .await;
    assert!(message(&hello, "Ready").contains("`settings`"));
    assert!(world.list::<WorkloadReplicaSet>().await.is_empty());
    let icon = |bytes: &str| {
        format!(
            "{{apiVersion: v1, kind: ConfigMap, metadata: {{name: settings}}, \
             binaryData: {{icon: {bytes}}}}}"
        )
    };
    world.apply::<ConfigMap>(&icon("gIGC")).await;
    world.ready::<WorkloadDeployment>("hello").await;
    assert_eq!(world.link.started().len(), 1);

    let before = world.only_set().await.name_any();
    world.apply::<ConfigMap>(&icon("gIGD")).await;
    world.gone::<WorkloadReplicaSet>(&before).await;
    world.ready::<WorkloadDeployment>("hello").await;
}

#[tokio::test]
async fn secrets_stand_nowhere_but_in_secrets() {
    let world = World::new().await;
    world.apply::<ConfigMap>(&config_map("one")).await;
    world.apply::<Secret>(SECRET).await;
    world.apply::<WorkloadDeployment>(&configured()).await;
    world.ready::<WorkloadDeployment>("hello").await;
    let binary = "{apiVersion: v1, kind: Secret, metadata: {name: token}, \
         data: {TOKEN: aHVudGVyMg==, BLOB: gIGC}}";
    world.apply::<Secret>(binary).await;
    let hello = world
        .says::<WorkloadDeployment>("hello", "Ready", "False", "InvalidConfigValue")
        .await;
    assert!(message(&hello, "Ready").contains("`BLOB`"));
    world.warned("hello", "InvalidConfigValue").await;
    let mut texts = vec![serde_json::to_string(&hello).unwrap()];
    for set in world.list::<WorkloadReplicaSet>().await {
        texts.push(serde_json::to_string(&set).unwrap());
    }
    for workload in world.list::<Workload>().await {
        texts.push(serde_json::to_string(&workload).unwrap());
    }
    for event in world.list::<k8s_openapi::api::core::v1::Event>().await {
        texts.push(serde_json::to_string(&event).unwrap());
    }
    assert!(texts.len() > 3);
    for text in texts {
        assert!(
            !text.contains("hunter2") && !text.contains("aHVudGVyMg"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn a_bare_workload_waits_for_its_configuration_and_restarts_with_it() {
    let world = World::new().await;
    world
        .apply::<Workload>(
            "
apiVersion: runtime.wasmcloud.dev/v1alpha1
kind: Workload
metadata: {name: bare}
spec:
  components:
  - name: http
    image: one
    localResources: {environment: {configFrom: [{name: settings}]}}
",
        )
        .await;
    world
        .says::<Workload>("bare", "Config", "False", "ConfigMapNotFound")
        .await;
    world.apply::<ConfigMap>(&config_map("one")).await;
    world.ready::<Workload>("bare").await;
    world.apply::<ConfigMap>(&config_map("two")).await;
    world
        .linked("started again", |link| {
            let started = link.started();
            let level =
                |at: usize| started[at].1.components[0].resources.environment["LEVEL"].clone();
            started.len() == 2 && level(1) == "two"
        })
        .await;
    world.ready::<Workload>("bare").await;
    // It is a source of routes of its own, and says where it answers.
    let url = "http://bare.default.localhost:8000/";
    let answers = |workload: &Workload| {
        let status = workload.status.as_ref();
        status.is_some_and(|status| status.url.as_deref() == Some(url))
    };
    world.until::<Workload>("bare", "has a URL", answers).await;
}

#[tokio::test]
async fn corrected_credentials_are_tried() {
    let world = World::new().await;
    let secret = |json: &str| {
        format!(
            "{{apiVersion: v1, kind: Secret, metadata: {{name: login}}, \
             type: kubernetes.io/dockerconfigjson, stringData: {{.dockerconfigjson: '{json}'}}}}"
        )
    };
    world.apply::<Secret>(&secret(r#"{"auths":{}}"#)).await;
    let refused = Failure::new(FailureReason::ImagePullUnauthorized, "wrong password");
    world.link.script("one", Phase::Failed(refused));
    let yaml = deployment("one", "").replace(
        "        image: one\n",
        "        image: one\n        imagePullSecret: {name: login}\n",
    );
    world.apply::<WorkloadDeployment>(&yaml).await;
    world
        .says::<WorkloadDeployment>("hello", "Ready", "False", "ImagePullUnauthorized")
        .await;
    let set = world.only_set().await.name_any();
    world.link.script("one", Phase::Running);
    world
        .apply::<Secret>(&secret(r#"{"auths":{"r.test":{}}}"#))
        .await;
    world.ready::<WorkloadDeployment>("hello").await;
    assert_eq!(
        world.only_set().await.name_any(),
        set,
        "credentials don't roll"
    );

    world.delete::<Secret>("login").await;
    let rest = yaml.replace("name: hello", "name: other");
    world.apply::<WorkloadDeployment>(&rest).await;
    world
        .says::<WorkloadDeployment>("other", "Ready", "False", "SecretNotFound")
        .await;
}

#[tokio::test]
async fn a_host_name_in_a_secret_is_not_routed_and_that_is_told() {
    let mut world = World::new().await;
    let yaml = deployment("one", "").replace(
        "interfaces: [incoming-handler]",
        "interfaces: [incoming-handler], secretFrom: [{name: hosts}]",
    );
    world.apply::<WorkloadDeployment>(&yaml).await;
    world
        .says::<WorkloadDeployment>("hello", "Ready", "False", "SecretNotFound")
        .await;
    world
        .apply::<Secret>(
            "{apiVersion: v1, kind: Secret, metadata: {name: hosts}, data: {host: cy50ZXN0}}",
        )
        .await;
    world.ready::<WorkloadDeployment>("hello").await;
    world.warned("hello", "HostIgnored").await;
    world.has_backends("hello.default.localhost", Some(1)).await;
    assert_eq!(world.backends("s.test"), None);
}

#[tokio::test]
async fn any_entry_of_http_names_the_hosts_of_what_answers() {
    let mut world = World::new().await;
    let yaml = deployment("one", "").replace(
        "interfaces: [incoming-handler]",
        "interfaces: [outgoing-handler], config: {host: api.test}",
    );
    world.apply::<WorkloadDeployment>(&yaml).await;
    world.ready::<WorkloadDeployment>("hello").await;
    world.has_backends("api.test", Some(1)).await;
    assert_eq!(world.backends("hello.default.localhost"), None);
}
