//! What all controllers share: the client, the ports to hosts and images, what is known of every
//! object, and the way to wake each other.

use std::{collections::HashMap, sync::Arc};

use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service};
use kube::Client;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use waft_api::{
    Artifact, Host, HostGroup, HttpTrigger, Workload, WorkloadDeployment, WorkloadReplicaSet,
};
use waft_ir::{Artifacts, Failure, HostLink};

use crate::{
    artifact::{Pinned, Question},
    cache::Cache,
    key::{Key, Kind},
    looks::Looks,
    operator::OperatorConfig,
    routing::Routing,
    trigger::Looked,
    workload::Memories,
};

/// Everything that a controller may use.
pub(crate) struct Context {
    /// The API server.
    pub client: Client,
    /// The hosts.
    pub link: Arc<dyn HostLink>,
    /// The images.
    pub artifacts: Arc<dyn Artifacts>,
    /// Settings.
    pub config: OperatorConfig,
    /// Every object that matters.
    pub caches: Caches,
    /// The table of routes.
    pub routing: Routing,
    /// What was tried with each workload.
    pub memory: Mutex<Memories>,
    /// What was asked of each Artifact's image when it was answered last, by uid.
    pub resolved: Mutex<HashMap<String, Question>>,
    /// Looks at the images of Artifacts.
    pub pins: Looks<Question, Result<Pinned, Failure>>,
    /// Children that the API server refused, with its answer, by the uid of the parent.
    pub refused: Mutex<HashMap<String, (String, String)>>,
    /// Which HTTP handler the images of triggers export, asked by a hash of the template and its
    /// images. What was found is kept: the deployment that tells it may not be seen yet when the
    /// trigger is looked at again. So is that nothing was found, until another look is due.
    pub handlers: Looks<String, Looked>,
    wake: mpsc::UnboundedSender<Key>,
}

/// The newest known state of all objects, one watch per kind.
#[derive(Default)]
pub(crate) struct Caches {
    /// HTTPTriggers.
    pub triggers: Cache<HttpTrigger>,
    /// WorkloadDeployments.
    pub deployments: Cache<WorkloadDeployment>,
    /// WorkloadReplicaSets.
    pub replica_sets: Cache<WorkloadReplicaSet>,
    /// Workloads.
    pub workloads: Cache<Workload>,
    /// Artifacts.
    pub artifacts: Cache<Artifact>,
    /// Hosts.
    pub hosts: Cache<Host>,
    /// HostGroups.
    pub host_groups: Cache<HostGroup>,
    /// ConfigMaps.
    pub config_maps: Cache<ConfigMap>,
    /// Secrets.
    pub secrets: Cache<Secret>,
    /// Services.
    pub services: Cache<Service>,
}

impl Context {
    /// Puts the parts together. Keys that are woken come out of the receiver; it is unbounded
    /// because the queue behind it holds each key once.
    pub(crate) fn new(
        client: Client,
        link: Arc<dyn HostLink>,
        artifacts: Arc<dyn Artifacts>,
        config: OperatorConfig,
    ) -> (Self, mpsc::UnboundedReceiver<Key>) {
        let (wake, woken) = mpsc::unbounded_channel();
        let context = Self {
            client,
            link,
            artifacts,
            config,
            caches: Caches::default(),
            routing: Routing::default(),
            memory: Mutex::default(),
            resolved: Mutex::default(),
            pins: Looks::default(),
            refused: Mutex::default(),
            handlers: Looks::default(),
            wake,
        };
        (context, woken)
    }

    /// Has an object reconciled soon.
    pub(crate) fn wake(&self, kind: Kind, namespace: &str, name: &str) {
        // The receiver is only gone when the operator stops.
        let _ = self.wake.send(Key::new(kind, namespace, name));
    }

    /// Has an object reconciled when it is called.
    pub(crate) fn waker(
        &self,
        kind: Kind,
        namespace: &str,
        name: &str,
    ) -> impl FnOnce() + Send + 'static + use<> {
        let (wake, key) = (self.wake.clone(), Key::new(kind, namespace, name));
        move || {
            // The receiver is only gone when the operator stops.
            let _ = wake.send(key);
        }
    }

    /// Has something that is one per operator reconciled soon.
    pub(crate) fn wake_single(&self, kind: Kind) {
        let _ = self.wake.send(Key::single(kind));
    }
}
