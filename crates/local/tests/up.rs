//! `waft up` as a whole: manifests in, HTTP answers out.

#![allow(clippy::unwrap_used, reason = "a test that stops says enough")]

mod support;

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Event, Namespace, Node, Pod},
};
use kube::api::{DeleteParams, ListParams, LogParams, Patch, PatchParams, PostParams};
use support::{Home, Platform, client, eventually, hello, hello_wasm};
use waft_api::{Host, Workload, WorkloadDeployment};
use waft_local::{ManifestError, Source, UpError, UpEvent, UpOptions};

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_answers_until_it_is_deleted() {
    let home = Home::new();
    home.write("hello.wasm", hello_wasm());
    let file = home.write("hello.yaml", hello("hello"));
    let mut platform = Platform::start(home.applying(&file)).await.unwrap();
    let url = platform
        .event(|event| match event {
            UpEvent::RouteReady { url, .. } => Some(url.clone()),
            _ => None,
        })
        .await;
    assert_eq!(
        url,
        format!("http://hello.localhost:{}/", platform.http.port())
    );
    let (status, body) = platform.get("hello.localhost", "/").await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(platform.admin("/readyz").await.0, 200);
    assert!(
        platform
            .admin("/metrics")
            .await
            .1
            .contains("waft_guest_calls_total")
    );

    let deployments = platform.api::<WorkloadDeployment>();
    deployments
        .delete("hello", &DeleteParams::default())
        .await
        .unwrap();
    platform.until_status("hello.localhost", 404).await;
    let pods = platform.api::<Pod>();
    eventually(async || {
        let left = pods.list(&ListParams::default()).await.unwrap();
        left.items.is_empty().then_some(())
    })
    .await;
    platform.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bare_component_is_a_workload_with_a_pod_on_a_node() {
    let home = Home::new();
    let file = home.write("hello.wasm", hello_wasm());
    let platform = Platform::start(home.applying(&file)).await.unwrap();
    platform.until_status("hello.localhost", 200).await;
    let host = platform
        .api::<Host>()
        .list(&ListParams::default())
        .await
        .unwrap();
    let host = host.items[0].metadata.name.clone().unwrap();
    let selector = "runtime.wasmcloud.dev/workload-deployment=hello";
    let pods = platform.api::<Pod>();
    let pod = eventually(async || {
        let pods = pods
            .list(&ListParams::default().labels(selector))
            .await
            .unwrap();
        let pod = pods.items.into_iter().next()?;
        let running = pod.status.as_ref()?.phase.as_deref() == Some("Running");
        (running && pod.spec.as_ref()?.node_name.is_some()).then_some(pod)
    })
    .await;
    assert_eq!(
        pod.spec.as_ref().unwrap().node_name.as_deref(),
        Some(host.as_str())
    );
    let nodes = kube::Api::<Node>::all(platform.client.clone());
    let node = nodes.get(&host).await.unwrap();

    // A Host always has a Node.
    nodes.delete(&host, &DeleteParams::default()).await.unwrap();
    eventually(async || {
        let new = nodes.get_opt(&host).await.unwrap()?;
        (new.metadata.uid != node.metadata.uid).then_some(())
    })
    .await;

    // Its log is what the guest wrote.
    platform.get("hello.localhost", "/log?a-line").await;
    let name = pod.metadata.name.clone().unwrap();
    eventually(async || {
        let log = pods.logs(&name, &LogParams::default()).await.unwrap();
        log.contains("a-line\n").then_some(())
    })
    .await;

    // Deleting the Pod replaces the workload, as a set does elsewhere.
    let workloads = platform.api::<Workload>();
    let before = workloads.get(&name).await.unwrap().metadata.uid;
    pods.delete(&name, &DeleteParams::default()).await.unwrap();
    eventually(async || {
        let all = workloads.list(&ListParams::default()).await.unwrap();
        let new = |w: &Workload| w.metadata.uid != before;
        (all.items.len() == 1 && all.items.iter().all(new)).then_some(())
    })
    .await;
    platform.until_status("hello.localhost", 200).await;
    platform.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_applied_serves_again_after_a_restart() {
    let home = Home::new();
    home.write("hello.wasm", hello_wasm());
    let file = home.write("hello.yaml", hello("again"));
    let platform = Platform::start(home.applying(&file)).await.unwrap();
    platform.until_status("again.localhost", 200).await;
    platform.stop().await.unwrap();

    let platform = Platform::start(home.options()).await.unwrap();
    platform.until_status("again.localhost", 200).await;
    platform.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_wrong_object_applies_nothing() {
    let home = Home::new();
    let wrong = hello("wrong").replace("image: file:hello.wasm", "image: 7\n          imge: x");
    let good = hello("good").replace("  name: good\n", "  name: good\n  namespace: fresh\n");
    let file = home.write("set.yaml", format!("{good}---\n{wrong}"));
    let error = Platform::start(home.applying(&file)).await.err().unwrap();
    let UpError::Refused { object, message } = &error else {
        panic!("{error}");
    };
    assert!(
        object.starts_with("WorkloadDeployment/wrong in "),
        "{object}"
    );
    assert!(
        message.contains("image") || message.contains("imge"),
        "{message}"
    );

    let platform = Platform::start(home.options()).await.unwrap();
    let deployments = kube::Api::<WorkloadDeployment>::all(platform.client.clone());
    assert!(
        deployments
            .list(&ListParams::default())
            .await
            .unwrap()
            .items
            .is_empty()
    );
    until_no_namespace(&platform, "fresh").await;
    platform.stop().await.unwrap();
}

/// What a set defines itself can only be judged once the definition is there.
#[tokio::test(flavor = "multi_thread")]
async fn a_set_that_is_refused_half_way_says_what_is_kept() {
    let home = Home::new();
    let set = "
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: fresh}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: colours.example.com}
spec:
  group: example.com
  names: {kind: Colour, plural: colours}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties: {spec: {type: object, properties: {size: {type: integer}}}}
---
apiVersion: example.com/v1
kind: Colour
metadata: {name: red}
spec: {size: large}
";
    let file = home.write("set.yaml", set);
    let error = Platform::start(home.applying(&file)).await.err().unwrap();
    let text = error.to_string();
    assert!(text.starts_with("Colour/red in "), "{text}");
    assert!(text.contains("size"), "{text}");
    let hint = error.hint().unwrap();
    for kept in [
        "Namespace/fresh",
        "ConfigMap/settings in namespace fresh",
        "CustomResourceDefinition/colours.example.com",
    ] {
        assert!(hint.contains(kept), "{hint}");
    }

    let platform = Platform::start(home.options()).await.unwrap();
    let namespaces = kube::Api::<Namespace>::all(platform.client.clone());
    assert!(namespaces.get_opt("fresh").await.unwrap().is_some());
    platform.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_of_the_set_is_created_with_it() {
    let home = Home::new();
    let set = "{apiVersion: v1, kind: Namespace, metadata: {name: team}}\n---\n\
               {apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: team}}\n";
    let file = home.write("set.yaml", set);
    for change in ["created", "unchanged"] {
        let platform = Platform::start(home.applying(&file)).await.unwrap();
        let applied = platform.told.iter().filter_map(|event| match event {
            UpEvent::Applied { object, change } => Some((object.as_str(), *change)),
            _ => None,
        });
        assert_eq!(
            applied.collect::<Vec<_>>(),
            [
                ("Namespace/team", change),
                ("ConfigMap/a in namespace team", change)
            ]
        );
        platform.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_no_object_can_have_is_told_with_its_file() {
    let home = Home::new();
    for (metadata, object) in [
        (
            "name: a, namespace: Bad NS",
            "ConfigMap/a in namespace Bad NS in ",
        ),
        ("name: a b", "ConfigMap/a b in "),
        (
            "name: a, namespace: Bad",
            "ConfigMap/a in namespace Bad in ",
        ),
    ] {
        let text = format!("{{apiVersion: v1, kind: ConfigMap, metadata: {{{metadata}}}}}");
        let file = home.write("map.yaml", text);
        let error = Platform::start(home.applying(&file)).await.err().unwrap();
        let said = error.to_string();
        assert!(
            said.starts_with(object) && said.contains("map.yaml: "),
            "{said}"
        );
        assert!(!said.contains("build request"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_is_given_twice_applies_nothing() {
    let home = Home::new();
    let map = "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}";
    let files = ["one.yaml", "two.yaml"].map(|name| home.write(name, map));
    let options = UpOptions {
        sources: files.map(Source::Path).into(),
        ..home.options()
    };
    let error = Platform::start(options).await.err().unwrap();
    let said = error.to_string();
    assert!(
        said.ends_with("both would be ConfigMap default/a"),
        "{said}"
    );
    assert!(error.hint().unwrap().starts_with("nothing was applied"));
}

/// Starts a platform whose reader tells it to stop when it hears of the API, and hears nothing else
/// before that.
async fn stopped_early(options: UpOptions) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    // Room for one: the next events wait until the reader has told it to stop.
    let (sender, mut events) = tokio::sync::mpsc::channel(1);
    let shutdown = tokio_util::sync::CancellationToken::new();
    let running = tokio::spawn(waft_local::up(options, sender, shutdown.clone()));
    let first = events.recv().await.unwrap();
    assert!(matches!(first, UpEvent::ApiReady { .. }), "{first:?}");
    shutdown.cancel();
    while let Some(event) = events.recv().await {
        assert!(!matches!(event, UpEvent::Applied { .. }), "{event:?}");
    }
    running.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_applied_once_it_is_to_stop() {
    let home = Home::new();
    let map = "{apiVersion: v1, kind: ConfigMap, metadata: {name: late, namespace: fresh}}";
    let file = home.write("map.yaml", map);
    stopped_early(home.applying(&file)).await;

    let platform = Platform::start(home.options()).await.unwrap();
    let maps = kube::Api::<ConfigMap>::all(platform.client.clone());
    let kept = maps.list(&ListParams::default()).await.unwrap();
    let mut names = kept.items.iter().filter_map(|m| m.metadata.name.as_deref());
    assert!(names.all(|name| name != "late"));
    until_no_namespace(&platform, "fresh").await;
    platform.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn data_that_cannot_be_used_says_which_and_the_way_out() {
    let home = Home::new();
    let platform = Platform::start(home.options()).await.unwrap();
    platform.stop().await.unwrap();
    let database = home.path().join("data/api/state.db");
    let refused = async || {
        let error = Platform::start(home.options()).await.err().unwrap();
        (error.to_string(), error.hint().unwrap())
    };
    // The format is SQLite's `user_version`, which stands there.
    let mut newer = std::fs::read(&database).unwrap();
    newer[60..64].copy_from_slice(&2_u32.to_be_bytes());
    std::fs::write(&database, newer).unwrap();
    let (said, hint) = refused().await;
    assert!(said.contains("data/api/state.db can't be read: "), "{said}");
    assert!(hint.starts_with("start the newer waft"), "{hint}");

    std::fs::write(&database, "no database at all").unwrap();
    let (said, hint) = refused().await;
    assert!(said.contains("data/api/state.db can't be read: "), "{said}");
    assert!(hint.starts_with("put a copy of it back"), "{hint}");

    std::fs::remove_file(&database).unwrap();
    std::fs::create_dir(&database).unwrap();
    let (said, hint) = refused().await;
    assert!(said.contains("data/api/state.db: Is a directory"), "{said}");
    assert!(hint.starts_with("take another with --data-dir"), "{hint}");

    let options = UpOptions {
        data_dir: Some("/proc/nowhere".into()),
        ..home.options()
    };
    let error = Platform::start(options).await.err().unwrap();
    assert!(error.to_string().starts_with("/proc/nowhere: "), "{error}");
    assert!(error.hint().unwrap().contains("--data-dir"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_without_an_object_is_refused() {
    let home = Home::new();
    let file = home.write("set.yaml", "# Later.\n---\n");
    let error = Platform::start(home.applying(&file)).await.err().unwrap();
    let nothing = UpError::Manifest(ManifestError::NoObject);
    assert_eq!(error.to_string(), nothing.to_string());
    assert_eq!(error.hint(), nothing.hint());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_and_a_folder_in_use_are_refused() {
    let home = Home::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let options = UpOptions {
        api: taken.local_addr().unwrap(),
        ..home.options()
    };
    let error = Platform::start(options).await.err().unwrap();
    assert!(
        matches!(error, UpError::Listen { what: "--api", .. }),
        "{error}"
    );

    let platform = Platform::start(home.options()).await.unwrap();
    let error = Platform::start(home.options()).await.err().unwrap();
    assert!(matches!(error, UpError::DataDirInUse { .. }), "{error}");
    platform.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_told_with_its_object_and_the_rest_serves() {
    let home = Home::new();
    home.write("hello.wasm", hello_wasm());
    let missing = hello("missing").replace("hello.wasm", "nowhere.wasm");
    let file = home.write("two.yaml", format!("{}---\n{missing}", hello("works")));
    let mut platform = Platform::start(home.applying(&file)).await.unwrap();
    let message = platform
        .event(|event| match event {
            UpEvent::Failed {
                object,
                reason,
                message,
            } => {
                assert_eq!(object, "WorkloadDeployment/missing");
                assert_eq!(reason, "FileNotFound");
                Some(message.clone())
            }
            _ => None,
        })
        .await;
    assert!(message.contains("nowhere.wasm"), "{message}");
    platform.until_status("works.localhost", 200).await;
    platform.until_status("missing.localhost", 503).await;

    // A container that never started has no log, and its Pod says why.
    let pods = platform.api::<Pod>();
    let selector = "runtime.wasmcloud.dev/workload-deployment=missing";
    let pod = eventually(async || {
        let selected = ListParams::default().labels(selector);
        let pods = pods.list(&selected).await.unwrap();
        pods.items.into_iter().next()?.metadata.name
    })
    .await;
    let waiting = format!("container \"http\" in pod \"{pod}\" is waiting to start: ");
    eventually(async || {
        let error = pods.logs(&pod, &LogParams::default()).await.unwrap_err();
        let kube::Error::Api(status) = error else {
            panic!("{error}");
        };
        assert_eq!(status.code, 400);
        let reason = status.message.strip_prefix(&waiting);
        // It is tried again now and then, and is `Pulling` meanwhile.
        (reason.expect(&status.message) == "FileNotFound").then_some(())
    })
    .await;
    home.write("nowhere.wasm", hello_wasm());
    platform.until_status("missing.localhost", 200).await;
    eventually(async || pods.logs(&pod, &LogParams::default()).await.ok()).await;
    platform.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watched_file_is_followed() {
    let home = Home::new();
    home.write("hello.wasm", hello_wasm());
    let file = home.write("all.yaml", format!("{}---\n{}", hello("one"), hello("two")));
    let options = UpOptions {
        watch: true,
        sources: vec![Source::Path(file.clone())],
        ..home.options()
    };
    let mut platform = Platform::start(options).await.unwrap();
    for host in ["one.localhost", "two.localhost"] {
        platform.until_status(host, 200).await;
    }
    let workloads = platform.api::<Workload>();
    let first = workloads.list(&ListParams::default()).await.unwrap();

    // A mistake changes nothing.
    home.write("all.yaml", "kind: [");
    platform
        .event(|event| match event {
            UpEvent::SourceFailed { message } => {
                assert!(message.contains("does not parse"), "{message}");
                Some(())
            }
            _ => None,
        })
        .await;
    assert_eq!(platform.get("two.localhost", "/").await.0, 200);

    home.write("all.yaml", hello("one"));
    platform.until_status("two.localhost", 404).await;
    assert_eq!(platform.get("one.localhost", "/").await.0, 200);

    // New bytes roll out: a custom section changes nothing else.
    let mut bytes = hello_wasm();
    bytes.extend([0, 2, 1, b'x']);
    home.write("hello.wasm", bytes);
    let known = first.items.iter().filter_map(|w| w.metadata.uid.clone());
    let known = known.collect::<Vec<_>>();
    eventually(async || {
        let now = workloads.list(&ListParams::default()).await.unwrap();
        let new = |w: &Workload| {
            w.metadata
                .uid
                .as_ref()
                .is_some_and(|uid| !known.contains(uid))
        };
        (now.items.len() == 1 && now.items.iter().all(new)).then_some(())
    })
    .await;
    platform.until_status("one.localhost", 200).await;
    platform.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_manifest_of_a_watched_folder_takes_its_objects_with_it() {
    let home = Home::new();
    let folder = home.path().join("manifests");
    std::fs::create_dir(&folder).unwrap();
    let map = |name: &str| {
        let text = format!("{{apiVersion: v1, kind: ConfigMap, metadata: {{name: {name}}}}}");
        home.write(&format!("manifests/{name}.yaml"), text)
    };
    let first = map("first");
    let options = UpOptions {
        watch: true,
        ..home.applying(&folder)
    };
    let mut platform = Platform::start(options).await.unwrap();
    let deleted = async |platform: &mut Platform, name: &str| {
        let name = format!("ConfigMap/{name}");
        let is_it = |event: &UpEvent| match event {
            UpEvent::Deleted { object } => (*object == name).then_some(()),
            _ => None,
        };
        platform.event(is_it).await;
    };
    std::fs::remove_file(first).unwrap();
    deleted(&mut platform, "first").await;

    // A folder that is not there is no empty one.
    let second = map("second");
    let created = |event: &UpEvent| match event {
        UpEvent::Applied { object, .. } => (object == "ConfigMap/second").then_some(()),
        _ => None,
    };
    platform.event(created).await;
    let away = home.path().join("away");
    std::fs::rename(&folder, &away).unwrap();
    let failed = |event: &UpEvent| match event {
        UpEvent::SourceFailed { message } => message.contains("manifests: ").then_some(()),
        _ => None,
    };
    platform.event(failed).await;
    let maps = platform.api::<ConfigMap>();
    assert!(maps.get_opt("second").await.unwrap().is_some());
    std::fs::rename(&away, &folder).unwrap();
    std::fs::remove_file(second).unwrap();
    deleted(&mut platform, "second").await;
    platform.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_pod_outlives_its_workload() {
    let home = Home::new();
    home.write("hello.wasm", hello_wasm());
    let file = home.write("hello.yaml", hello("brief"));
    let platform = Platform::start(home.applying(&file)).await.unwrap();
    platform.until_status("brief.localhost", 200).await;
    let deployments = platform.api::<WorkloadDeployment>();
    let mut wanted = deployments.get("brief").await.unwrap();
    wanted.metadata.resource_version = None;
    wanted.metadata.uid = None;
    wanted.metadata.managed_fields = None;
    let pods = platform.api::<Pod>();
    let all = ListParams::default();
    for _ in 0..10 {
        // Deleted while its Pods still change.
        deployments
            .delete("brief", &DeleteParams::default())
            .await
            .unwrap();
        eventually(async || {
            let (pods, workloads) = (pods.list(&all), platform.api::<Workload>());
            let workloads = workloads.list(&all).await.unwrap();
            (pods.await.unwrap().items.is_empty() && workloads.items.is_empty()).then_some(())
        })
        .await;
        deployments
            .create(&Default::default(), &wanted)
            .await
            .unwrap();
        eventually(async || {
            let shown = pods.list(&all).await.unwrap().items;
            (!shown.is_empty()).then_some(())
        })
        .await;
    }
    platform.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_is_kept_and_told_that_nothing_runs_it() {
    let home = Home::new();
    let platform = Platform::start(home.options()).await.unwrap();
    let pod: Pod = serde_json::from_value(serde_json::json!({
        "metadata": {"name": "nginx"},
        "spec": {"containers": [{"name": "nginx", "image": "nginx"}]},
    }))
    .unwrap();
    let pods = platform.api::<Pod>();
    pods.create(&PostParams::default(), &pod).await.unwrap();
    let status = eventually(async || {
        let status = pods.get("nginx").await.unwrap().status?;
        (status.phase.as_deref() == Some("Failed")).then_some(status)
    })
    .await;
    assert_eq!(status.reason.as_deref(), Some("ContainersNotSupported"));
    let events = platform.api::<Event>();
    eventually(async || {
        let events = events.list(&ListParams::default()).await.unwrap();
        let about = events
            .items
            .iter()
            .filter_map(|e| e.involved_object.name.as_deref());
        about.collect::<Vec<_>>().contains(&"nginx").then_some(())
    })
    .await;
    let refused = pods.logs("nginx", &LogParams::default()).await.unwrap_err();
    assert!(refused.to_string().contains("not containers"), "{refused}");
    platform.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_makes_containers_elsewhere_is_warned_of() {
    let template = "{metadata: {labels: {app: a}}, spec: {restartPolicy: Always, containers: \
                    [{name: a, image: nginx}]}}";
    let once = template.replace("Always", "Never");
    let selector = "selector: {matchLabels: {app: a}}";
    let objects = [
        (
            "apps/v1",
            "Deployment",
            format!("{selector}, template: {template}"),
        ),
        (
            "apps/v1",
            "ReplicaSet",
            format!("{selector}, template: {template}"),
        ),
        (
            "apps/v1",
            "StatefulSet",
            format!("serviceName: a, {selector}, template: {template}"),
        ),
        (
            "apps/v1",
            "DaemonSet",
            format!("{selector}, template: {template}"),
        ),
        (
            "v1",
            "ReplicationController",
            format!("template: {template}"),
        ),
        ("batch/v1", "Job", format!("template: {once}")),
        (
            "batch/v1",
            "CronJob",
            format!("schedule: '* * * * *', jobTemplate: {{spec: {{template: {once}}}}}"),
        ),
        (
            "v1",
            "Pod",
            "containers: [{name: a, image: nginx}]".to_owned(),
        ),
    ];
    let text = objects.iter().map(|(version, kind, spec)| {
        format!(
            "---\napiVersion: {version}\nkind: {kind}\nmetadata: {{name: a}}\nspec: {{{spec}}}\n"
        )
    });
    let home = Home::new();
    let file = home.write("all.yaml", text.collect::<String>());
    let mut platform = Platform::start(home.applying(&file)).await.unwrap();
    let events = platform.api::<Event>();
    for (_, kind, _) in &objects {
        warned_of(&mut platform, kind).await;
        eventually(async || {
            let events = events.list(&ListParams::default()).await.unwrap();
            let mut about = events.items.iter().map(|e| &e.involved_object.kind);
            about
                .any(|about| about.as_deref() == Some(kind))
                .then_some(())
        })
        .await;
    }
    // A Pod's status says so once it is told.
    let pods = platform.api::<Pod>();
    eventually(async || pods.get("a").await.unwrap().status?.reason).await;
    platform.stop().await.unwrap();

    let mut platform = Platform::start(home.options()).await.unwrap();
    for (_, kind, _) in &objects {
        warned_of(&mut platform, kind).await;
    }
    platform.stop().await.unwrap();
}

/// Waits until users are warned of object `a` of a kind.
async fn warned_of(platform: &mut Platform, kind: &str) {
    let wanted = format!("{kind}/a");
    let warning = |event: &UpEvent| match event {
        UpEvent::Failed { object, reason, .. } => {
            (*object == wanted && reason == "ContainersNotSupported").then_some(())
        }
        _ => None,
    };
    platform.event(warning).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_of_containers_is_told_again_when_it_is_edited() {
    let home = Home::new();
    let platform = Platform::start(home.options()).await.unwrap();
    let deployments = platform.api::<Deployment>();
    let deployment: Deployment = serde_json::from_value(serde_json::json!({
        "metadata": {"name": "web"},
        "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "web", "image": "nginx:1"}]},
            },
        },
    }))
    .unwrap();
    deployments
        .create(&PostParams::default(), &deployment)
        .await
        .unwrap();
    // What `kubectl rollout status` waits for.
    let told = async |generation| {
        eventually(async || {
            let status = deployments.get("web").await.unwrap().status?;
            (status.observed_generation == Some(generation)).then_some(())
        })
        .await;
    };
    told(1).await;
    let image = serde_json::json!({"spec": {"template": {"spec": {
        "containers": [{"name": "web", "image": "nginx:2"}],
    }}}});
    let (parameters, patch) = (PatchParams::default(), Patch::Strategic(image));
    let edited = deployments.patch("web", &parameters, &patch).await.unwrap();
    assert_eq!(edited.metadata.generation, Some(2));
    told(2).await;
    platform.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_on_all_addresses_is_reached_by_that_of_the_machine() {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    let own = socket
        .connect("192.0.2.1:9")
        .and_then(|()| socket.local_addr());
    let Ok(own) = own else {
        // A machine without a network has none.
        return;
    };
    let home = Home::new();
    let options = UpOptions {
        api: "0.0.0.0:0".parse().unwrap(),
        ..home.options()
    };
    let kubeconfig = options.data_dir.clone().unwrap().join("kubeconfig");
    let platform = Platform::start(options).await.unwrap();
    let text = std::fs::read_to_string(kubeconfig).unwrap();
    let text = text.replace("https://127.0.0.1:", &format!("https://{}:", own.ip()));
    let client = client(&home.write("by-address", text)).await;
    let namespaces = kube::Api::<Namespace>::all(client);
    assert!(namespaces.get_opt("default").await.unwrap().is_some());
    platform.stop().await.unwrap();
}

/// Waits until there is no such namespace any more.
async fn until_no_namespace(platform: &Platform, name: &str) {
    let namespaces = kube::Api::<Namespace>::all(platform.client.clone());
    eventually(async || {
        let found = namespaces.get_opt(name).await.unwrap();
        found.is_none().then_some(())
    })
    .await;
}
