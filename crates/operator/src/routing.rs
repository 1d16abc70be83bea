//! The table of routes as it is now: gathered from all objects and the states of the hosts,
//! published whole.
//!
//! What the routes are is decided in [`routes`](crate::routes); this module reads the caches,
//! publishes the result and wakes the objects whose routes changed their fate.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Duration,
};

use kube::{Resource, ResourceExt as _};
use parking_lot::Mutex;
use tokio::sync::watch;
use waft_api::{
    HttpTrigger, Reason, Workload, WorkloadDeployment, WorkloadReplicaSet, WorkloadSpec, names,
    parse_duration,
};
use waft_ir::{Backend, HostPattern, PathMatch, Phase, RouteTable, Routes, WorkloadId};

use crate::{
    context::Context,
    deployment::effective_spec,
    events::Warning,
    key::Kind,
    object::{created, is_owned_by, is_terminating, owner_of_kind},
    routes::{self, DEFAULT_TIMEOUT, Outcome, Source, SourceKey, Wish},
    workload::inbound_http,
};

/// The published table, and what became of each object's wishes.
pub(crate) struct Routing {
    table: watch::Sender<Arc<RouteTable>>,
    outcomes: Mutex<BTreeMap<SourceKey, Outcome>>,
}

/// Replicas of one source that serve.
#[derive(Default)]
struct Serving {
    backends: Vec<Backend>,
    exports_http: bool,
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

/// Gathers, decides and publishes. Once this returns, a workload that is being deleted is in no
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
    let changed = routing
        .outcomes
        .iter()
        .filter(|(source, outcome)| outcomes.get(*source) != Some(*outcome));
    for (source, _) in changed {
        let kind = match source.kind {
            "HTTPTrigger" => Kind::Trigger,
            "WorkloadDeployment" => Kind::Deployment,
            _ => continue,
        };
        context.wake(kind, &source.namespace, &source.name);
    }
    *outcomes = routing.outcomes;
}

/// Every object that wishes for routes.
fn gather(context: &Context) -> Vec<Source> {
    let mut serving = serving(context);
    let mut sources = Vec::new();
    let caches = &context.caches;
    for trigger in caches.triggers.all() {
        let serving = serving
            .remove(&key("HTTPTrigger", trigger.as_ref()))
            .unwrap_or_default();
        sources.extend(of_trigger(&trigger, serving));
    }
    for deployment in caches.deployments.all() {
        if owner_of_kind::<HttpTrigger>(deployment.as_ref()).is_some() {
            continue;
        }
        let spec = effective_spec(&deployment);
        sources.extend(of_spec(
            "WorkloadDeployment",
            deployment.as_ref(),
            &spec,
            &mut serving,
        ));
    }
    for set in caches.replica_sets.all() {
        if owner_of_kind::<WorkloadDeployment>(set.as_ref()).is_none() {
            let spec = &set.spec.template.spec;
            sources.extend(of_spec(
                "WorkloadReplicaSet",
                set.as_ref(),
                spec,
                &mut serving,
            ));
        }
    }
    for workload in caches.workloads.all() {
        if owner_of_kind::<WorkloadReplicaSet>(workload.as_ref()).is_none() {
            let spec = &workload.spec;
            sources.extend(of_spec("Workload", workload.as_ref(), spec, &mut serving));
        }
    }
    sources
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
        return Some(key("Workload", workload));
    };
    let set = context.caches.replica_sets.get(&namespace, &owner.name)?;
    if !is_owned_by(workload, set.as_ref()) {
        return None;
    }
    let Some(owner) = owner_of_kind::<WorkloadDeployment>(set.as_ref()) else {
        return Some(key("WorkloadReplicaSet", set.as_ref()));
    };
    let deployment = context.caches.deployments.get(&namespace, &owner.name)?;
    if !is_owned_by(set.as_ref(), deployment.as_ref()) {
        return None;
    }
    let Some(owner) = owner_of_kind::<HttpTrigger>(deployment.as_ref()) else {
        return Some(key("WorkloadDeployment", deployment.as_ref()));
    };
    let trigger = context.caches.triggers.get(&namespace, &owner.name)?;
    is_owned_by(deployment.as_ref(), trigger.as_ref()).then(|| key("HTTPTrigger", trigger.as_ref()))
}

fn of_trigger(trigger: &HttpTrigger, serving: Serving) -> Option<Source> {
    if is_terminating(trigger) {
        return None;
    }
    let spec = &trigger.spec;
    let ingress = spec.ingress.clone().unwrap_or_default();
    let host = ingress
        .host
        .filter(|host| !host.is_empty())
        .unwrap_or_else(|| default_host(trigger));
    let mut wishes: Vec<Wish> = ingress
        .paths
        .iter()
        .map(|path| Wish {
            host: host.clone(),
            path_type: path.path_type.clone().unwrap_or_else(|| "Prefix".into()),
            path: path.path.clone().unwrap_or_else(|| "/".into()),
        })
        .collect();
    if wishes.is_empty() {
        wishes.push(Wish::all_of(host));
    }
    wishes.extend(service_names(trigger, &spec.template.spec));
    let of_trigger = spec
        .timeout
        .as_deref()
        .and_then(|text| parse_duration(text).ok());
    Some(Source {
        key: key("HTTPTrigger", trigger),
        created: created(trigger),
        wishes,
        timeout: timeout(&spec.template.spec, of_trigger),
        backends: serving.backends,
    })
}

fn of_spec<K: Resource<DynamicType = ()>>(
    kind: &'static str,
    object: &K,
    spec: &WorkloadSpec,
    serving: &mut BTreeMap<SourceKey, Serving>,
) -> Option<Source> {
    let key = key(kind, object);
    let serving = serving.remove(&key).unwrap_or_default();
    if is_terminating(object) {
        return None;
    }
    let mut hosts: Vec<String> = Vec::new();
    let mut declared = false;
    for entry in inbound_http(spec) {
        declared = true;
        let config = &entry.config;
        let named = config.get(names::CONFIG_HOST).into_iter();
        for names in named.chain(config.get(names::CONFIG_HOST_ALIASES)) {
            let names = names
                .split(',')
                .map(str::trim)
                .filter(|name| !name.is_empty());
            hosts.extend(names.map(Into::into));
        }
    }
    if !declared && !serving.exports_http {
        return None;
    }
    if hosts.is_empty() {
        hosts.push(default_host(object));
    }
    let mut wishes: Vec<Wish> = hosts.into_iter().map(Wish::all_of).collect();
    wishes.extend(service_names(object, spec));
    Some(Source {
        key,
        created: created(object),
        wishes,
        timeout: timeout(spec, None),
        backends: serving.backends,
    })
}

/// The longest `limits.requestTimeout` that is set, else the trigger's timeout, else the default;
/// zero is no bound.
fn timeout(spec: &WorkloadSpec, of_trigger: Option<Duration>) -> Option<Duration> {
    let set: Vec<Duration> = spec
        .components
        .iter()
        .filter_map(|c| c.limits.as_ref()?.request_timeout.as_deref())
        .filter_map(|text| parse_duration(text).ok())
        .collect();
    let chosen = if set.iter().any(Duration::is_zero) {
        Duration::ZERO
    } else {
        let longest = set.into_iter().max();
        longest.or(of_trigger).unwrap_or(DEFAULT_TIMEOUT)
    };
    (!chosen.is_zero()).then_some(chosen)
}

/// The names under which a Service of the cluster would be reached.
fn service_names(object: &impl Resource, spec: &WorkloadSpec) -> Vec<Wish> {
    let service = spec.kubernetes.as_ref().and_then(|k| k.service.as_ref());
    let Some(service) = service.filter(|service| !service.name.is_empty()) else {
        return Vec::new();
    };
    let base = format!(
        "{}.{}",
        service.name,
        object.namespace().unwrap_or_default()
    );
    let names = [
        base.clone(),
        format!("{base}.svc"),
        format!("{base}.svc.cluster.local"),
    ];
    names.into_iter().map(Wish::all_of).collect()
}

fn default_host(object: &impl Resource) -> String {
    let namespace = object.namespace().unwrap_or_default();
    format!("{}.{namespace}.localhost", object.name_any())
}

fn key(kind: &'static str, object: &impl Resource) -> SourceKey {
    SourceKey {
        kind,
        namespace: object.namespace().unwrap_or_default(),
        name: object.name_any(),
    }
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

/// The warning for a listen address, which is accepted but not listened on.
pub(crate) fn address_warning(spec: &WorkloadSpec) -> Option<Warning> {
    let address = inbound_http(spec).find_map(|entry| entry.config.get(names::CONFIG_ADDRESS))?;
    Some(Warning {
        reason: Reason::AddressIgnored.as_str().into(),
        message: format!(
            "`config.address` `{address}` is not listened on: requests are routed by host name \
             from the port of the host; name one in `config.host`"
        ),
    })
}
