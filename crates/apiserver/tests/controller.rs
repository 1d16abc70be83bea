//! A controller as people write them with kube-rs: finalizer, server-side apply of what it owns,
//! a Recorder, and a Lease for the one that leads. The same test runs against this server over
//! HTTPS and, where it is installed, against the real kube-apiserver.

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Event as CoreEvent};
use k8s_openapi::api::events::v1::Event as NewEvent;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, ApiResource, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::runtime::finalizer::{Event as Finalize, finalizer};
use kube::runtime::wait::{await_condition, conditions};
use kube::runtime::watcher;
use kube::{Client, Config, Resource, ResourceExt};
use serde_json::json;
use support::cluster::{Cluster, program};
use support::{eventually, widget, widget_api, widgets, within};

const FINALIZER: &str = "test.waft.dev/cleanup";

/// Who writes what the controller owns.
const MANAGER: &str = "widget-controller";

#[test]
fn controllers_of_kube_rs_work_against_this_server() {
    let cluster = Cluster::open();
    let kubeconfig = cluster.path().join("kubeconfig");
    cluster.runtime.block_on(lead_and_reconcile(&kubeconfig));
}

#[test]
fn the_same_controller_works_against_the_real_server() {
    let Some(server) = RealServer::start() else {
        return;
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(lead_and_reconcile(&server.folder.path().join("kubeconfig")));
}

/// kube-apiserver, etcd and kube-controller-manager.
struct RealServer {
    folder: tempfile::TempDir,
}

impl RealServer {
    fn start() -> Option<RealServer> {
        program("kube-apiserver")?;
        let folder = tempfile::tempdir().expect("a folder");
        let server = RealServer { folder };
        server.testenv("up", &["kube"]);
        Some(server)
    }

    fn testenv(&self, command: &str, more: &[&str]) {
        let script: PathBuf = [env!("CARGO_MANIFEST_DIR"), "../../tests/env/testenv"]
            .iter()
            .collect();
        let status = Command::new(script)
            .arg(command)
            .arg(self.folder.path())
            .args(more)
            .stdout(std::process::Stdio::null())
            .status()
            .expect("testenv starts");
        assert!(status.success(), "testenv {command}: {status}");
    }
}

impl Drop for RealServer {
    fn drop(&mut self) {
        self.testenv("down", &[]);
    }
}

async fn client(kubeconfig: &Path) -> Client {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).expect("a kubeconfig");
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
    Client::try_from(config.expect("a configuration")).expect("a client")
}

/// Takes the lease if nobody holds it; a lost race is not taken.
async fn lead(leases: &Api<Lease>, who: &str) -> bool {
    let held = leases
        .get_opt("widget-controller")
        .await
        .expect("an answer");
    let mut lease = held.clone().unwrap_or_else(|| {
        serde_json::from_value(json!({"metadata": {"name": "widget-controller"}})).expect("a Lease")
    });
    let spec = lease.spec.get_or_insert_default();
    match spec.holder_identity.as_deref() {
        Some(holder) if !holder.is_empty() => return holder == who,
        _ => spec.holder_identity = Some(who.to_owned()),
    }
    spec.lease_duration_seconds = Some(15);
    let written = match held {
        Some(_) => {
            leases
                .replace("widget-controller", &PostParams::default(), &lease)
                .await
        }
        None => leases.create(&PostParams::default(), &lease).await,
    };
    match written {
        Ok(_) => true,
        Err(kube::Error::Api(status)) if status.code == 409 => false,
        Err(error) => panic!("{error}"),
    }
}

struct Work {
    client: Client,
    recorder: Recorder,
}

async fn reconcile(
    object: Arc<DynamicObject>,
    work: Arc<Work>,
) -> Result<Action, kube::runtime::finalizer::Error<kube::Error>> {
    let namespace = object.namespace().unwrap_or_default();
    let kind = ApiResource::from_gvk_with_plural(
        &kube::api::GroupVersionKind::gvk("test.waft.dev", "v1", "Widget"),
        "widgets",
    );
    let api: Api<DynamicObject> = Api::namespaced_with(work.client.clone(), &namespace, &kind);
    finalizer(&api, FINALIZER, object, |event| async {
        match event {
            Finalize::Apply(object) => apply(&api, &kind, &object, &work).await,
            Finalize::Cleanup(object) => {
                record(&work, &kind, &object, "Cleaned").await?;
                Ok(Action::await_change())
            }
        }
    })
    .await
}

async fn apply(
    api: &Api<DynamicObject>,
    kind: &ApiResource,
    object: &DynamicObject,
    work: &Work,
) -> Result<Action, kube::Error> {
    let maps: Api<ConfigMap> =
        Api::namespaced(work.client.clone(), &object.namespace().unwrap_or_default());
    let name = object.name_any();
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "ownerReferences": [object.controller_owner_ref(kind)]},
        "data": {"color": object.data["spec"]["color"]},
    });
    let manager = PatchParams::apply(MANAGER).force();
    maps.patch(&name, &manager, &Patch::Apply(&map)).await?;
    let status = json!({
        "apiVersion": "test.waft.dev/v1", "kind": "Widget",
        "status": {"observed": object.metadata.generation},
    });
    api.patch_status(&name, &manager, &Patch::Apply(&status))
        .await?;
    record(work, kind, object, "Applied").await?;
    Ok(Action::await_change())
}

async fn record(
    work: &Work,
    kind: &ApiResource,
    object: &DynamicObject,
    reason: &str,
) -> Result<(), kube::Error> {
    let event = Event {
        type_: EventType::Normal,
        reason: reason.into(),
        note: Some(format!("{reason} {}", object.name_any())),
        action: "Reconciling".into(),
        secondary: None,
    };
    work.recorder
        .publish(&event, &object.object_ref(kind))
        .await
}

async fn lead_and_reconcile(kubeconfig: &Path) {
    let client = client(kubeconfig).await;
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let name = "widgets.test.waft.dev";
    let manager = PatchParams::apply("test").force();
    definitions
        .patch(name, &manager, &Patch::Apply(widgets()))
        .await
        .expect("applied");
    let established = await_condition(definitions, name, conditions::is_crd_established());
    let established = tokio::time::timeout(Duration::from_secs(60), established).await;
    established.expect("in time").expect("established");

    // Of two at once one leads; the other does when that one has gone.
    let leases: Api<Lease> = Api::default_namespaced(client.clone());
    let (first, second) = tokio::join!(lead(&leases, "one"), lead(&leases, "two"));
    assert!(first ^ second, "{first} {second}");
    let (leader, other) = if first {
        ("one", "two")
    } else {
        ("two", "one")
    };
    assert!(lead(&leases, leader).await && !lead(&leases, other).await);
    let stale = leases.get("widget-controller").await.expect("a Lease");
    let released = json!({"spec": {"holderIdentity": null}});
    leases
        .patch(
            "widget-controller",
            &PatchParams::default(),
            &Patch::Merge(&released),
        )
        .await
        .expect("released");
    let late = leases
        .replace("widget-controller", &PostParams::default(), &stale)
        .await;
    assert!(matches!(late, Err(kube::Error::Api(status)) if status.code == 409));
    assert!(lead(&leases, other).await);

    let kind = ApiResource::erase::<DynamicObject>(&ApiResource::from_gvk_with_plural(
        &kube::api::GroupVersionKind::gvk("test.waft.dev", "v1", "Widget"),
        "widgets",
    ));
    let work = Arc::new(Work {
        client: client.clone(),
        recorder: Recorder::new(client.clone(), Reporter::from("widget-controller")),
    });
    let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
    let controller = Controller::new_with(widget_api(&client), watcher::Config::default(), kind)
        .owns(maps.clone(), watcher::Config::default())
        .run(
            reconcile,
            |_, _, _| Action::requeue(Duration::from_millis(200)),
            work,
        )
        .for_each(|_| async {});
    let controller = tokio::spawn(controller);
    drive(&client, &maps).await;
    controller.abort();
}

/// What a user does to the objects, and what the controller makes of it.
async fn drive(client: &Client, maps: &Api<ConfigMap>) {
    let objects = widget_api(client);
    let color = |map: &Option<ConfigMap>| {
        let data = map.as_ref().and_then(|map| map.data.as_ref());
        data.and_then(|data| data.get("color").cloned())
    };
    objects
        .create(
            &PostParams::default(),
            &widget("w", json!({"color": "blue"})),
        )
        .await
        .expect("created");
    let becomes = async |wanted: &str| {
        eventually("an owned object", || async {
            let map = maps.get_opt("w").await.expect("an answer");
            color(&map).as_deref() == Some(wanted)
        })
        .await;
    };
    becomes("blue").await;
    let observed = async |generation: i64| {
        eventually("a status", || async {
            let object = objects.get("w").await.expect("there");
            object.data["status"]["observed"] == generation
                && object.metadata.generation == Some(generation)
        })
        .await;
    };
    observed(1).await;
    assert_eq!(
        objects.get("w").await.expect("there").finalizers(),
        [FINALIZER]
    );

    let other = json!({"data": {"theirs": "kept"}});
    maps.patch("w", &PatchParams::default(), &Patch::Merge(&other))
        .await
        .expect("patched");
    let green = json!({"spec": {"color": "green"}});
    objects
        .patch("w", &PatchParams::default(), &Patch::Merge(&green))
        .await
        .expect("patched");
    becomes("green").await;
    observed(2).await;
    let map = maps.get("w").await.expect("there");
    assert_eq!(map.data.as_ref().expect("data")["theirs"], "kept");
    let applied = map.managed_fields().iter().find(|entry| {
        entry.manager.as_deref() == Some(MANAGER) && entry.operation.as_deref() == Some("Apply")
    });
    let fields = &applied
        .expect("an entry")
        .fields_v1
        .as_ref()
        .expect("fields")
        .0;
    assert_eq!(fields["f:data"], json!({"f:color": {}}));

    let uid = map.uid();
    maps.delete("w", &Default::default())
        .await
        .expect("deleted");
    eventually("what it owns again", || async {
        let map = maps.get_opt("w").await.expect("an answer");
        map.is_some_and(|map| map.uid() != uid)
    })
    .await;

    objects
        .delete("w", &Default::default())
        .await
        .expect("deleted");
    // The real collector learns of new kinds only twice a minute.
    within(Duration::from_secs(90), "the end of both", || async {
        let object = objects.get_opt("w").await.expect("an answer");
        let map = maps.get_opt("w").await.expect("an answer");
        object.is_none() && map.is_none()
    })
    .await;

    // Both faces of the events show the same ones.
    let new: Api<NewEvent> = Api::default_namespaced(client.clone());
    let core: Api<CoreEvent> = Api::default_namespaced(client.clone());
    let all = ListParams::default();
    let about = ListParams::default().fields("involvedObject.name=w");
    let new = new.list(&all).await.expect("a list");
    let new = new.items.iter().filter(|event| {
        event
            .regarding
            .as_ref()
            .and_then(|about| about.name.as_deref())
            == Some("w")
    });
    let mut new: Vec<_> = new.filter_map(|event| event.reason.clone()).collect();
    let core = core.list(&about).await.expect("a list");
    let mut core: Vec<_> = core
        .items
        .iter()
        .filter_map(|event| event.reason.clone())
        .collect();
    new.sort();
    core.sort();
    assert_eq!(new, core);
    assert!(
        new.contains(&"Applied".into()) && new.contains(&"Cleaned".into()),
        "{new:?}"
    );
}
