//! The table of routes as it is now: gathered from all objects and the states of the hosts,
//! published whole.
//!
//! What the routes are is decided in [`routes`](crate::routes); this module reads the caches,
//! publishes the result and wakes the objects whose routes changed their fate.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt as _;
use parking_lot::Mutex;
use tokio::sync::watch;
use waft_api::{HttpTrigger, Workload, WorkloadDeployment, WorkloadReplicaSet, WorkloadSpec};
use waft_ir::{Backend, HostPattern, PathMatch, Phase, RouteTable, Routes, WorkloadId};

use crate::{
    config_layers::Sources,
    context::Context,
    deployment::effective_spec,
    dereference,
    key::Kind,
    object::{is_owned_by, is_terminating, owner_of_kind},
    routes::{self, Outcome, Source, SourceKey},
    sources::{self, Serving},
};

/// The published table, and what became of each object's wishes.
pub(crate) struct Routing {
    table: watch::Sender<Arc<RouteTable>>,
    outcomes: Mutex<BTreeMap<SourceKey, Outcome>>,
}

impl Default for Routing {
    fn default() -> Self {
        Self {
            table: watch::Sender::new(Arc::default()),
            outcomes: Mutex::default(),
        }
    }
}

impl Routing {
    /// The table, as it changes.
    pub(crate) fn table(&self) -> Routes {
        self.table.subscribe()
    }

    /// What became of an object's wishes.
    pub(crate) fn outcome(&self, source: &SourceKey) -> Outcome {
        self.outcomes
            .lock()
            .get(source)
            .cloned()
            .unwrap_or_default()
    }
}

/// Sees to it that a workload that is being deleted is in no route any more. When many go at a time,
/// the first takes the others with it.
pub(crate) fn withdraw(context: &Context, id: &WorkloadId) {
    let table = context.routing.table.borrow().clone();
    let mut backends = table.iter().flat_map(|route| &route.backends);
    if backends.any(|backend| backend.workload == *id) {
        refresh(context);
    }
}

/// Gathers, decides and publishes. Once this returns, no workload that is being deleted is in a
/// route any more.
pub(crate) fn refresh(context: &Context) {
    // Held throughout, so that of two at a time the later one publishes the newer state.
    let mut outcomes = context.routing.outcomes.lock();
    let routing = routes::build(gather(context));
    let table = RouteTable::new(routing.routes);
    context.routing.table.send_if_modified(|published| {
        let changed = **published != table;
        if changed {
            *published = Arc::new(table);
        }
        changed
    });
    let (old, new) = (&*outcomes, &routing.outcomes);
    let changed = new
        .keys()
        .chain(old.keys())
        .filter(|source| old.get(source) != new.get(source));
    for source in changed {
        context.wake(source.kind, &source.namespace, &source.name);
    }
    *outcomes = routing.outcomes;
}

/// Every object that wishes for routes.
fn gather(context: &Context) -> Vec<Source> {
    let mut serving = serving(context);
    let mut found = Vec::new();
    let caches = &context.caches;
    for trigger in caches.triggers.all() {
        let key = SourceKey::of(Kind::Trigger, trigger.as_ref());
        let serving = serving.remove(&key).unwrap_or_default();
        found.extend(sources::of_trigger(&trigger, serving));
    }
    let mut add = |kind: Kind, meta: &ObjectMeta, spec: &WorkloadSpec| {
        let key = SourceKey::of_meta(kind, meta);
        let serving = serving.remove(&key).unwrap_or_default();
        let config_maps = config_maps(context, &key.namespace, spec);
        found.extend(sources::of_spec(kind, meta, spec, serving, &config_maps));
    };
    for deployment in caches.deployments.all() {
        if owner_of_kind::<HttpTrigger>(deployment.as_ref()).is_none() {
            let spec = effective_spec(&deployment);
            add(Kind::Deployment, &deployment.metadata, &spec);
        }
    }
    for set in caches.replica_sets.all() {
        if owner_of_kind::<WorkloadDeployment>(set.as_ref()).is_none() {
            add(Kind::ReplicaSet, &set.metadata, &set.spec.template.spec);
        }
    }
    for workload in caches.workloads.all() {
        if owner_of_kind::<WorkloadReplicaSet>(workload.as_ref()).is_none() {
            add(Kind::Workload, &workload.metadata, &workload.spec);
        }
    }
    found
}

/// The ConfigMaps that name hosts. Secrets are left out: a host name stands in status.
fn config_maps(context: &Context, namespace: &str, spec: &WorkloadSpec) -> Sources {
    let any = sources::inbound_http(spec).any(|entry| !entry.config_from.is_empty());
    if !any {
        return Sources::default();
    }
    Sources {
        config_maps: dereference::inputs(&context.caches, namespace, spec)
            .sources
            .config_maps,
        ..Sources::default()
    }
}

/// The replicas that serve, by the object at the top of their chain.
fn serving(context: &Context) -> BTreeMap<SourceKey, Serving> {
    let states = context.link.states().borrow().clone();
    let mut found: BTreeMap<SourceKey, Serving> = BTreeMap::new();
    for workload in context.caches.workloads.all() {
        let id = WorkloadId(workload.uid().unwrap_or_default());
        let Some(state) = states.get(&id) else {
            continue;
        };
        let Some(root) = root(context, &workload) else {
            continue;
        };
        let serving = found.entry(root).or_default();
        serving.exports_http |= state.components.iter().any(|c| c.http.is_some());
        if state.phase == Phase::Running && !is_terminating(workload.as_ref()) {
            serving.backends.push(Backend {
                host: state.host.clone(),
                workload: id,
            });
        }
    }
    found
}

/// The object at the top of a workload's chain. `None` while part of the chain is gone.
fn root(context: &Context, workload: &Workload) -> Option<SourceKey> {
    let namespace = workload.namespace().unwrap_or_default();
    let Some(owner) = owner_of_kind::<WorkloadReplicaSet>(workload) else {
        return Some(SourceKey::of(Kind::Workload, workload));
    };
    let set = context.caches.replica_sets.get(&namespace, &owner.name)?;
    if !is_owned_by(workload, set.as_ref()) {
        return None;
    }
    let Some(owner) = owner_of_kind::<WorkloadDeployment>(set.as_ref()) else {
        return Some(SourceKey::of(Kind::ReplicaSet, set.as_ref()));
    };
    let deployment = context.caches.deployments.get(&namespace, &owner.name)?;
    if !is_owned_by(set.as_ref(), deployment.as_ref()) {
        return None;
    }
    let Some(owner) = owner_of_kind::<HttpTrigger>(deployment.as_ref()) else {
        return Some(SourceKey::of(Kind::Deployment, deployment.as_ref()));
    };
    let trigger = context.caches.triggers.get(&namespace, &owner.name)?;
    is_owned_by(deployment.as_ref(), trigger.as_ref())
        .then(|| SourceKey::of(Kind::Trigger, trigger.as_ref()))
}

/// Where the first accepted route answers.
pub(crate) fn url(context: &Context, outcome: &Outcome) -> Option<String> {
    let key = outcome.accepted.first()?;
    let hosts = context.link.hosts().borrow().clone();
    let ports: HashSet<u16> = hosts.values().filter_map(|host| host.http_port).collect();
    let port = ports.into_iter().min()?;
    let host = match &key.host {
        HostPattern::Exact(name) => name.clone(),
        HostPattern::Suffix(suffix) => format!("*.{suffix}"),
        HostPattern::Any => "localhost".into(),
    };
    let (PathMatch::Exact(path) | PathMatch::Prefix(path)) = &key.path;
    let port = if port == 80 {
        String::new()
    } else {
        format!(":{port}")
    };
    Some(format!("http://{host}{port}{path}"))
}
