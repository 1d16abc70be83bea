//! An API server, an operator, and ways to ask for things and wait for what comes of it.

use std::{fmt::Debug, sync::Arc, time::Duration};

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Event;
use kube::{
    Api, Client, Resource, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams},
    core::NamespaceResourceScope,
    runtime::{WatchStreamExt as _, wait::await_condition, watcher},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use waft_api::{
    Artifact, Condition, Host, HttpTrigger, Workload, WorkloadDeployment, WorkloadReplicaSet,
};
use waft_apiserver::{ApiServer, Config};
use waft_ir::{HostInfo, Routes};
use waft_operator::{Operator, OperatorConfig};

use crate::{
    fakes::{FakeArtifacts, FakeLink, host},
    lag::Lag,
};

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct World {
    pub client: Client,
    pub link: Arc<FakeLink>,
    pub artifacts: Arc<FakeArtifacts>,
    pub routes: Routes,
    server: Arc<ApiServer>,
    operator: Option<(CancellationToken, JoinHandle<()>)>,
}

/// A kind in a namespace.
pub(crate) trait Kind:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + Serialize
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
}
impl<K> Kind for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + Serialize
        + DeserializeOwned
        + Send
        + Sync
        + 'static
{
}

/// The conditions of a kind.
pub(crate) trait Conditioned: Kind {
    fn conditions(&self) -> Vec<Condition>;
}

macro_rules! conditioned {
    ($($kind:ty),*) => {
        $(impl Conditioned for $kind {
            fn conditions(&self) -> Vec<Condition> {
                self.status.as_ref().map(|s| s.conditions.clone()).unwrap_or_default()
            }
        })*
    };
}
conditioned!(
    Artifact,
    Host,
    HttpTrigger,
    Workload,
    WorkloadDeployment,
    WorkloadReplicaSet
);

impl World {
    /// One host, one operator.
    pub(crate) async fn new() -> Self {
        Self::with_hosts([host("a")]).await
    }

    pub(crate) async fn with_hosts(hosts: impl IntoIterator<Item = HostInfo>) -> Self {
        let mut world = Self::without_operator(hosts).await;
        world.start_operator();
        world
    }

    /// One host, one operator whose watch of a resource lags.
    pub(crate) async fn lagging(resource: &str) -> (Self, Lag) {
        let mut world = Self::without_operator([host("a")]).await;
        let lag = world.start_lagging(resource).await;
        (world, lag)
    }

    pub(crate) async fn without_operator(hosts: impl IntoIterator<Item = HostInfo>) -> Self {
        let server = ApiServer::open(Config::default()).await.unwrap();
        let crds = waft_api::crds();
        let crds = crds.iter().map(|crd| serde_json::to_value(crd).unwrap());
        server.install_crds(crds.collect()).await.unwrap();
        let client = Client::new(server.service(), "default");
        let link = FakeLink::new(hosts);
        let artifacts = Arc::new(FakeArtifacts::default());
        let operator = Operator::new(
            client.clone(),
            link.clone(),
            artifacts.clone(),
            OperatorConfig::default(),
        );
        Self {
            routes: operator.routes(),
            client,
            link,
            artifacts,
            server,
            operator: None,
        }
    }

    /// Starts an operator that knows nothing yet.
    pub(crate) fn start_operator(&mut self) {
        self.start_operator_with(self.client.clone());
    }

    /// Starts one whose watch of a resource lags. What happens after this comes too late for its list.
    pub(crate) async fn start_lagging(&mut self, resource: &str) -> Lag {
        let (lag, client) = Lag::of(resource, &self.server);
        self.start_operator_with(client);
        lag.begun().await;
        lag
    }

    fn start_operator_with(&mut self, client: Client) {
        let operator = Operator::new(
            client,
            self.link.clone(),
            self.artifacts.clone(),
            OperatorConfig::default(),
        );
        self.routes = operator.routes();
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(operator.run(shutdown.clone()));
        self.operator = Some((shutdown, task));
    }

    pub(crate) async fn stop_operator(&mut self) {
        let (shutdown, task) = self.operator.take().unwrap();
        shutdown.cancel();
        within(task, "the operator stops").await.unwrap();
    }

    pub(crate) fn api<K: Kind>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), "default")
    }

    /// Applies a manifest of a known kind.
    pub(crate) async fn apply<K: Kind>(&self, yaml: &str) -> K {
        let object: Value = serde_saphyr::from_str(yaml).unwrap();
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        let parameters = PatchParams::apply("test").force();
        let applied = self
            .api::<K>()
            .patch(&name, &parameters, &Patch::Apply(&object))
            .await;
        applied.unwrap_or_else(|error| panic!("{error}\n{yaml}"))
    }

    pub(crate) async fn merge<K: Kind>(&self, name: &str, patch: Value) -> K {
        let parameters = PatchParams::default();
        self.api::<K>()
            .patch(name, &parameters, &Patch::Merge(&patch))
            .await
            .unwrap()
    }

    pub(crate) async fn scale<K: Kind>(&self, name: &str, replicas: i32) -> K {
        self.merge(name, serde_json::json!({"spec": {"replicas": replicas}}))
            .await
    }

    pub(crate) async fn delete<K: Kind>(&self, name: &str) {
        let parameters = DeleteParams::background();
        self.api::<K>().delete(name, &parameters).await.unwrap();
    }

    pub(crate) async fn list<K: Kind>(&self) -> Vec<K> {
        self.api::<K>()
            .list(&ListParams::default())
            .await
            .unwrap()
            .items
    }

    /// Waits until an object is as described.
    pub(crate) async fn until<K: Kind>(
        &self,
        name: &str,
        what: &str,
        holds: impl Fn(&K) -> bool,
    ) -> K {
        let condition = |object: Option<&K>| object.is_some_and(&holds);
        let found = await_condition(self.api::<K>(), name, condition);
        match tokio::time::timeout(PATIENCE, found).await {
            Ok(found) => found.unwrap().unwrap(),
            Err(_) => {
                let now = self.api::<K>().get_opt(name).await.unwrap();
                panic!("{name} never was: {what}\n{now:#?}")
            }
        }
    }

    pub(crate) async fn gone<K: Kind>(&self, name: &str) {
        let absent = |object: Option<&K>| object.is_none();
        let found = await_condition(self.api::<K>(), name, absent);
        if tokio::time::timeout(PATIENCE, found).await.is_err() {
            panic!(
                "{name} never went: {:#?}",
                self.api::<K>().get_opt(name).await
            );
        }
    }

    /// Applies the [deployment] `hello` and waits until it is ready.
    pub(crate) async fn deployed(&self, image: &str, more: &str) -> WorkloadDeployment {
        self.apply::<WorkloadDeployment>(&deployment(image, more))
            .await;
        self.ready("hello").await
    }

    /// Waits until an object is ready, at its newest generation.
    pub(crate) async fn ready<K: Conditioned>(&self, name: &str) -> K {
        self.until(name, "ready", |object: &K| {
            is(object, "Ready", "True", None) && observed(object)
        })
        .await
    }

    /// Waits until a condition of an object, at its newest generation, has a status and a reason.
    pub(crate) async fn says<K: Conditioned>(
        &self,
        name: &str,
        type_: &str,
        status: &str,
        reason: &str,
    ) -> K {
        let what = format!("{type_}={status} because {reason}");
        self.until(name, &what, |object: &K| {
            is(object, type_, status, Some(reason)) && observed(object)
        })
        .await
    }

    /// Waits until the table of routes is as described.
    pub(crate) async fn routed(
        &mut self,
        what: &str,
        holds: impl Fn(&waft_ir::RouteTable) -> bool,
    ) {
        let found = self.routes.wait_for(|table| holds(table));
        let found = tokio::time::timeout(PATIENCE, found).await.is_ok();
        if !found {
            let table = self.routes.borrow().clone();
            panic!("{what}: {:#?}", table.iter().collect::<Vec<_>>());
        }
    }

    /// Waits until a host name has so many backends; `None`: no route.
    pub(crate) async fn has_backends(&mut self, host: &str, wanted: Option<usize>) {
        let what = format!("{host} with {wanted:?} backends");
        self.routed(&what, |table| backends(table, host) == wanted)
            .await;
    }

    /// How many backends a host name has; `None`: no route.
    pub(crate) fn backends(&self, host: &str) -> Option<usize> {
        backends(&self.routes.borrow(), host)
    }

    /// Waits until the link is as described.
    pub(crate) async fn linked(&self, what: &str, holds: impl Fn(&FakeLink) -> bool) {
        use waft_ir::HostLink as _;
        let mut states = self.link.states();
        let found = states.wait_for(|_| holds(&self.link));
        assert!(
            tokio::time::timeout(PATIENCE, found).await.is_ok(),
            "{what}"
        );
    }

    pub(crate) async fn events(&self, name: &str) -> Vec<Event> {
        let events = self.list::<Event>().await;
        let of = |event: &Event| event.involved_object.name.as_deref() == Some(name);
        events.into_iter().filter(of).collect()
    }

    /// Waits until an object was warned of: the Event follows the status.
    pub(crate) async fn warned(&self, name: &str, reason: &str) {
        let events = watcher(self.api::<Event>(), watcher::Config::default());
        let told = events.touched_objects().any(|event| {
            let event = event.unwrap();
            let found = event.involved_object.name.as_deref() == Some(name)
                && event.reason.as_deref() == Some(reason);
            std::future::ready(found)
        });
        assert!(within(told, reason).await);
    }

    /// The only set of a deployment.
    pub(crate) async fn only_set(&self) -> WorkloadReplicaSet {
        let mut sets = self.list::<WorkloadReplicaSet>().await;
        assert_eq!(
            sets.len(),
            1,
            "{:?}",
            sets.iter().map(|s| s.name_any()).collect::<Vec<_>>()
        );
        sets.remove(0)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some((shutdown, _)) = &self.operator {
            shutdown.cancel();
        }
        self.server.shut_down();
    }
}

pub(crate) fn backends(table: &waft_ir::RouteTable, host: &str) -> Option<usize> {
    table.find(host, "/").map(|route| route.backends.len())
}

pub(crate) async fn within<T>(future: impl Future<Output = T>, what: &str) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("took too long: {what}"),
    }
}

/// Whether a condition has a status and, if given, a reason.
pub(crate) fn is<K: Conditioned>(
    object: &K,
    type_: &str,
    status: &str,
    reason: Option<&str>,
) -> bool {
    object.conditions().iter().any(|condition| {
        condition.type_ == type_
            && condition.status == status
            && (reason.is_none() || condition.reason.as_deref() == reason)
    })
}

/// Whether every condition speaks of the newest generation.
pub(crate) fn observed<K: Conditioned>(object: &K) -> bool {
    object
        .conditions()
        .iter()
        .all(|condition| condition.observed_generation == object.meta().generation)
}

pub(crate) fn message<K: Conditioned>(object: &K, type_: &str) -> String {
    let conditions = object.conditions();
    let condition = conditions.iter().find(|condition| condition.type_ == type_);
    condition
        .and_then(|condition| condition.message.clone())
        .unwrap_or_default()
}

/// A deployment of one component.
pub(crate) fn deployment(image: &str, more: &str) -> String {
    format!(
        "
apiVersion: runtime.wasmcloud.dev/v1alpha1
kind: WorkloadDeployment
metadata: {{name: hello}}
spec:
  {more}
  template:
    labels: {{app: hello}}
    spec:
      components:
      - name: http
        image: {image}
      hostInterfaces:
      - {{namespace: wasi, package: http, interfaces: [incoming-handler]}}
"
    )
}
