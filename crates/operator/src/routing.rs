//! The table of routes as it is now: what objects and hosts' states say, looked at where something
//! changed, and published whole.
//!
//! What the routes are is decided in [`routes`](crate::routes); this module reads the caches,
//! publishes the result and wakes the objects whose routes changed their fate.

use std::{
    collections::{BTreeSet, HashSet},
    mem,
    sync::Arc,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt as _;
use parking_lot::Mutex;
use tokio::sync::watch;
use waft_api::{
    HttpTrigger, Reason, Workload, WorkloadDeployment, WorkloadReplicaSet, WorkloadSpec,
    conditions::READY,
};
use waft_ir::{Backend, HostPattern, PathMatch, Phase, RouteTable, Routes, WorkloadId};

use crate::{
    cache::Cache,
    condition::find,
    config_layers::Sources,
    context::{Caches, Context},
    deployment::effective_spec,
    dereference,
    events::Warning,
    key::Kind,
    object::{HasStatus, Object, is_owned_by, is_terminating, owner_among, owner_of_kind},
    routes::{Changes, Claims, Outcome, Source, SourceKey, Wish},
    sources::{self, Serving},
};

/// The published table, and what became of each object's wishes.
pub(crate) struct Routing {
    table: watch::Sender<Arc<RouteTable>>,
    claims: Mutex<Claims>,
    /// Objects whose wishes, or whose replicas, may be others than in the table.
    dirty: Mutex<BTreeSet<SourceKey>>,
}

impl Default for Routing {
    fn default() -> Self {
        Self {
            table: watch::Sender::new(Arc::default()),
            claims: Mutex::default(),
            dirty: Mutex::default(),
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
        self.claims.lock().outcome(source)
    }
}

/// Has the routes of an object looked at again, and those of the objects above it, whose replica it
/// may be.
pub(crate) fn touch(context: &Context, kind: Kind, meta: &ObjectMeta) {
    mark(
        &context.caches,
        &mut context.routing.dirty.lock(),
        kind,
        meta,
    );
    context.wake_single(Kind::Routes);
}

/// As [`touch`], of everything in a namespace whose host names may come from a ConfigMap.
pub(crate) fn touch_configured(context: &Context, namespace: &str) {
    touch_all(context, namespace, names_config_maps);
}

/// As [`touch`], of everything in a namespace that names a Service.
pub(crate) fn touch_service(context: &Context, namespace: &str, service: &str) {
    touch_all(context, namespace, |spec| {
        sources::service(spec) == Some(service)
    });
}

/// As [`touch`], of everything in a namespace whose spec is of a kind.
fn touch_all(context: &Context, namespace: &str, is_meant: impl Fn(&WorkloadSpec) -> bool) {
    let caches = &context.caches;
    let mut dirty = context.routing.dirty.lock();
    for trigger in caches.triggers.of_namespace(namespace) {
        if is_meant(&trigger.spec.template.spec) {
            mark(caches, &mut dirty, Kind::Trigger, &trigger.metadata);
        }
    }
    for deployment in caches.deployments.of_namespace(namespace) {
        if is_meant(&effective_spec(&deployment)) {
            mark(caches, &mut dirty, Kind::Deployment, &deployment.metadata);
        }
    }
    for set in caches.replica_sets.of_namespace(namespace) {
        if is_meant(&set.spec.template.spec) {
            mark(caches, &mut dirty, Kind::ReplicaSet, &set.metadata);
        }
    }
    for workload in caches.workloads.of_namespace(namespace) {
        if is_meant(&workload.spec) {
            mark(caches, &mut dirty, Kind::Workload, &workload.metadata);
        }
    }
    drop(dirty);
    context.wake_single(Kind::Routes);
}

/// Notes an object and those above it. Above one that is not there nothing is noted: it is when that
/// one comes, and was when it went.
fn mark(caches: &Caches, dirty: &mut BTreeSet<SourceKey>, kind: Kind, meta: &ObjectMeta) {
    dirty.insert(SourceKey::of_meta(kind, meta));
    match kind {
        Kind::Workload => mark_owner(caches, dirty, meta, Kind::ReplicaSet, &caches.replica_sets),
        Kind::ReplicaSet => mark_owner(caches, dirty, meta, Kind::Deployment, &caches.deployments),
        Kind::Deployment => mark_owner(caches, dirty, meta, Kind::Trigger, &caches.triggers),
        _ => {}
    }
}

/// Notes the owner of this kind that an object has, and those above that one.
fn mark_owner<O: Object>(
    caches: &Caches,
    dirty: &mut BTreeSet<SourceKey>,
    meta: &ObjectMeta,
    kind: Kind,
    cache: &Cache<O>,
) {
    let owners = meta.owner_references.as_deref().unwrap_or_default();
    let Some(owner) = owner_among::<O>(owners) else {
        return;
    };
    let key = SourceKey {
        kind,
        namespace: meta.namespace.clone().unwrap_or_default(),
        name: owner.name.clone(),
    };
    let found = cache.get(&key.namespace, &key.name);
    dirty.insert(key);
    if let Some(owner) = found {
        mark(caches, dirty, kind, owner.meta());
    }
}

/// Sees to it that a workload that is being deleted is in no route any more. When many go at a time,
/// the first takes the others with it.
pub(crate) fn withdraw(context: &Context, workload: &Workload) {
    let meta = &workload.metadata;
    mark(
        &context.caches,
        &mut context.routing.dirty.lock(),
        Kind::Workload,
        meta,
    );
    refresh(context);
}

/// Looks at what was touched, decides and publishes. Once this returns, no workload that was touched
/// because it is being deleted is in a route any more.
pub(crate) fn refresh(context: &Context) {
    // Held throughout, so that of two at a time the later one publishes the newer state.
    let mut claims = context.routing.claims.lock();
    // What is touched from now on is looked at the next time.
    let dirty = mem::take(&mut *context.routing.dirty.lock());
    let mut changes = Changes::default();
    for key in &dirty {
        let wanted = source(context, key, claims.wishes(key));
        claims.set(key, wanted, &mut changes);
    }
    context.routing.table.send_if_modified(|published| {
        let mut table = RouteTable::clone(published);
        let mut changed = false;
        for (key, route) in changes.routes {
            changed |= table.set(&key, route);
        }
        if changed {
            *published = Arc::new(table);
        }
        changed
    });
    for source in changes.outcomes {
        context.wake(source.kind, &source.namespace, &source.name);
    }
}

/// The routes that an object wants, and the replicas that serve them. `known`: what it wanted.
fn source(context: &Context, key: &SourceKey, known: Option<&[Wish]>) -> Option<Source> {
    let caches = &context.caches;
    let (namespace, name) = (key.namespace.as_str(), key.name.as_str());
    let of_spec = |meta: &ObjectMeta, spec: &WorkloadSpec| {
        let serving = serving(context, key, meta);
        let config_maps = config_maps(context, namespace, spec);
        let source = sources::of_spec(key.kind, meta, spec, serving, &config_maps, known);
        with_service(caches, spec, source?)
    };
    match key.kind {
        Kind::Trigger => {
            let trigger = caches.triggers.get(namespace, name)?;
            let serving = serving(context, key, &trigger.metadata);
            let source = sources::of_trigger(&trigger, serving)?;
            with_service(caches, &trigger.spec.template.spec, source)
        }
        Kind::Deployment => {
            let deployment = caches.deployments.get(namespace, name)?;
            let is_own = owner_of_kind::<HttpTrigger>(deployment.as_ref()).is_none();
            is_own.then(|| of_spec(&deployment.metadata, &effective_spec(&deployment)))?
        }
        Kind::ReplicaSet => {
            let set = caches.replica_sets.get(namespace, name)?;
            let is_own = owner_of_kind::<WorkloadDeployment>(set.as_ref()).is_none();
            is_own.then(|| of_spec(&set.metadata, &set.spec.template.spec))?
        }
        Kind::Workload => {
            let workload = caches.workloads.get(namespace, name)?;
            let is_own = owner_of_kind::<WorkloadReplicaSet>(workload.as_ref()).is_none();
            is_own.then(|| of_spec(&workload.metadata, &workload.spec))?
        }
        _ => None,
    }
}

/// Notes the Service that a spec names, if there is none. That is told of what serves: until then it
/// may be about to come.
fn with_service(caches: &Caches, spec: &WorkloadSpec, mut source: Source) -> Option<Source> {
    if let Some(name) = sources::service(spec)
        && !source.backends.is_empty()
        && caches.services.get(&source.key.namespace, name).is_none()
    {
        source.missing_service = Some(name.to_owned());
    }
    Some(source)
}

fn names_config_maps(spec: &WorkloadSpec) -> bool {
    sources::http(spec).any(|entry| !entry.config_from.is_empty())
}

/// The ConfigMaps that name hosts.
fn config_maps(context: &Context, namespace: &str, spec: &WorkloadSpec) -> Sources {
    match names_config_maps(spec) {
        true => dereference::inputs(&context.caches, namespace, spec).sources,
        false => Sources::default(),
    }
}

/// The warnings for what an object's `wasi:http` entries say in vain, where they are news: when its
/// spec has changed, or a ConfigMap or Secret has come that was missing.
pub(crate) fn warnings<K: HasStatus>(
    context: &Context,
    object: &K,
    spec: &WorkloadSpec,
    of_trigger: Option<&HttpTrigger>,
) -> Vec<Warning> {
    let lacked = [Reason::ConfigMapNotFound, Reason::SecretNotFound].map(Reason::as_str);
    let is_told = find(object.conditions(), READY).is_some_and(|ready| {
        ready.observed_generation == object.meta().generation
            && !ready
                .reason
                .as_deref()
                .is_some_and(|reason| lacked.contains(&reason))
    });
    if is_told {
        return Vec::new();
    }
    let namespace = object.namespace().unwrap_or_default();
    let inputs = dereference::inputs(&context.caches, &namespace, spec);
    sources::warnings(spec, &inputs.sources, of_trigger)
}

/// The replicas of an object at the top of its chain.
fn serving(context: &Context, key: &SourceKey, meta: &ObjectMeta) -> Serving {
    let states = context.link.states().borrow().clone();
    let caches = &context.caches;
    let mut serving = Serving::default();
    let mut replicas = match key.kind {
        Kind::Workload => Vec::from_iter(caches.workloads.get(&key.namespace, &key.name)),
        _ => below(caches, key.kind, meta.uid.as_deref().unwrap_or_default()),
    };
    replicas.sort_by_cached_key(|workload| workload.name_any());
    let mut restarting = Vec::new();
    for workload in replicas {
        let id = WorkloadId(workload.uid().unwrap_or_default());
        let Some(state) = states.get(&id) else {
            continue;
        };
        if root(context, &workload).as_ref() != Some(key) {
            continue;
        }
        serving.exports_http |= state.components.iter().any(|c| c.http.is_some());
        let backends = match state.phase {
            _ if is_terminating(workload.as_ref()) => continue,
            Phase::Running => &mut serving.backends,
            Phase::Restarting(_) => &mut restarting,
            Phase::Completed => {
                serving.has_completed = true;
                continue;
            }
            _ => continue,
        };
        backends.push(Backend {
            host: state.host.clone(),
            workload: id,
        });
    }
    if serving.backends.is_empty() {
        // Their components serve, without the service: better than nobody.
        serving.backends = restarting;
    }
    serving
}

/// The workloads below an object of a kind.
fn below(caches: &Caches, kind: Kind, uid: &str) -> Vec<Arc<Workload>> {
    let (kind, children): (_, Vec<Option<String>>) = match kind {
        Kind::ReplicaSet => return caches.workloads.owned_by(uid),
        Kind::Deployment => {
            let sets = caches.replica_sets.owned_by(uid);
            (Kind::ReplicaSet, sets.iter().map(|set| set.uid()).collect())
        }
        Kind::Trigger => {
            let deployments = caches.deployments.owned_by(uid);
            let uids = deployments.iter().map(|deployment| deployment.uid());
            (Kind::Deployment, uids.collect())
        }
        _ => return Vec::new(),
    };
    let children = children.iter().flatten();
    children.flat_map(|uid| below(caches, kind, uid)).collect()
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
