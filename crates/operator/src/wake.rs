//! Who must look again when something changed: the arrows between kinds.
//!
//! ```text
//! ConfigMap, Secret, Artifact ─→ WorkloadDeployment, WorkloadReplicaSet's Workloads, HTTPTrigger
//! Workload ─→ WorkloadReplicaSet ─→ WorkloadDeployment ─→ HTTPTrigger
//! hosts, states ─→ Workload, Host
//! hosts ─→ HTTPTrigger
//! Service, all of the left but ConfigMap, Secret, Artifact ─→ routes
//! ```

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service};
use kube::{Resource, ResourceExt as _};
use waft_api::{
    Artifact, Host, HostGroup, HttpTrigger, Workload, WorkloadDeployment, WorkloadReplicaSet,
    WorkloadSpec, names,
};
use waft_ir::{HostId, HostInfo, StateMap};

use crate::{
    artifacts,
    cache::{Change, name_of},
    condition::is_ready,
    context::Context,
    key::Kind,
    object::{HasStatus as _, is_terminating, owner_of_kind},
    routing,
    workload::References,
};

/// A kind whose changes wake controllers.
pub(crate) trait Wakes: Sized {
    /// Wakes who depends on the object.
    fn wake(context: &Context, change: &Change<Self>);
}

impl<K> Change<K> {
    /// The object, in its newest known state.
    fn object(&self) -> Option<&Arc<K>> {
        self.new.as_ref().or(self.old.as_ref())
    }

    /// The object that is gone: deleted, or deleted and made again by the same name while the watch
    /// was down, so that a list shows another one.
    fn gone(&self) -> Option<&Arc<K>>
    where
        K: Resource,
    {
        let old = self.old.as_ref()?;
        let remains = self.new.as_ref().is_some_and(|new| new.uid() == old.uid());
        (!remains).then_some(old)
    }

    /// Whether something that a function reads has changed.
    fn differs<T: PartialEq>(&self, read: impl Fn(&K) -> T) -> bool {
        match (&self.old, &self.new) {
            (Some(old), Some(new)) => read(old) != read(new),
            _ => true,
        }
    }
}

impl Wakes for HttpTrigger {
    fn wake(context: &Context, change: &Change<Self>) {
        wake_own(context, Kind::Trigger, change);
        wake_routes(context, Kind::Trigger, change);
    }
}

impl Wakes for WorkloadDeployment {
    fn wake(context: &Context, change: &Change<Self>) {
        wake_own(context, Kind::Deployment, change);
        wake_owner::<HttpTrigger, _>(context, Kind::Trigger, change);
        wake_routes(context, Kind::Deployment, change);
    }
}

impl Wakes for WorkloadReplicaSet {
    fn wake(context: &Context, change: &Change<Self>) {
        wake_own(context, Kind::ReplicaSet, change);
        wake_owner::<WorkloadDeployment, _>(context, Kind::Deployment, change);
        wake_routes(context, Kind::ReplicaSet, change);
    }
}

impl Wakes for Workload {
    fn wake(context: &Context, change: &Change<Self>) {
        wake_own(context, Kind::Workload, change);
        wake_owner::<WorkloadReplicaSet, _>(context, Kind::ReplicaSet, change);
        wake_routes(context, Kind::Workload, change);
        let Some(gone) = change.gone() else {
            return;
        };
        context.wake_single(Kind::Strays);
        // A deployment that recreates waits for the last workload, whose set is gone before.
        if let Some(deployment) = gone.labels().get(names::LABEL_WORKLOAD_DEPLOYMENT) {
            let namespace = gone.namespace().unwrap_or_default();
            context.wake(Kind::Deployment, &namespace, deployment);
        }
    }
}

impl Wakes for Artifact {
    fn wake(context: &Context, change: &Change<Self>) {
        wake_own(context, Kind::Artifact, change);
        let Some(artifact) = change.object() else {
            return;
        };
        if !change.differs(|artifact| (artifact.spec.clone(), artifact.status.clone())) {
            return;
        }
        let (namespace, name) = name_of(artifact.as_ref());
        wake_users_of_artifact(context, &namespace, &name);
    }
}

impl Wakes for ConfigMap {
    fn wake(context: &Context, change: &Change<Self>) {
        let Some(map) = change.object() else { return };
        if !change.differs(|map| (map.data.clone(), map.binary_data.clone())) {
            return;
        }
        let (namespace, name) = name_of(map.as_ref());
        // Host names may come from it.
        routing::touch_configured(context, &namespace);
        let uses = |spec: &WorkloadSpec| References::of(spec).config_maps.contains(name.as_str());
        wake_deployments(context, &namespace, uses);
        wake_users(context, &namespace, uses);
    }
}

impl Wakes for Secret {
    fn wake(context: &Context, change: &Change<Self>) {
        let Some(secret) = change.object() else {
            return;
        };
        if !change.differs(|secret| secret.data.clone()) {
            return;
        }
        let (namespace, name) = name_of(secret.as_ref());
        let uses = |spec: &WorkloadSpec| {
            let references = References::of(spec);
            references.secrets.contains(name.as_str())
                || references.pull_secrets.contains(name.as_str())
        };
        wake_deployments(context, &namespace, uses);
        wake_users(context, &namespace, uses);
        for artifact in context.caches.artifacts.of_namespace(&namespace) {
            let secret = artifact.spec.image_pull_secret.as_ref();
            if secret.is_some_and(|secret| secret.name == name) {
                let artifact = artifact.name_any();
                context.wake(Kind::Artifact, &namespace, &artifact);
                // They pull with it, though they don't name it.
                wake_users_of_artifact(context, &namespace, &artifact);
            }
        }
    }
}

impl Wakes for Service {
    fn wake(context: &Context, change: &Change<Self>) {
        // Whether it is there is all that counts.
        let object = match (&change.old, &change.new) {
            (Some(object), None) | (None, Some(object)) => object,
            _ => return,
        };
        let (namespace, name) = name_of(object.as_ref());
        routing::touch_service(context, &namespace, &name);
    }
}

impl Wakes for Host {
    fn wake(context: &Context, change: &Change<Self>) {
        wake_own(context, Kind::Host, change);
        if change.differs(|host| host.metadata.labels.clone()) {
            wake_unready(context);
        }
    }
}

impl Wakes for HostGroup {
    fn wake(context: &Context, change: &Change<Self>) {
        wake_own(context, Kind::HostGroup, change);
    }
}

/// Hosts came, went or reported something new.
pub(crate) fn hosts(
    context: &Context,
    old: &BTreeMap<HostId, HostInfo>,
    new: &BTreeMap<HostId, HostInfo>,
) {
    let namespace = &context.config.operator_namespace;
    let gone = old.iter().filter(|(id, _)| !new.contains_key(*id));
    let changed = new.iter().filter(|(id, info)| old.get(*id) != Some(*info));
    for (_, info) in gone.chain(changed) {
        context.wake(Kind::Host, namespace, &info.name);
    }
    let placed = |hosts: &BTreeMap<HostId, HostInfo>| -> Vec<_> {
        hosts
            .values()
            .map(|host| {
                (
                    host.id.clone(),
                    host.labels.clone(),
                    host.environment.clone(),
                    host.offers.clone(),
                    host.http_port,
                )
            })
            .collect()
    };
    if placed(old) != placed(new) {
        wake_unready(context);
    }
}

/// Workloads changed their state on a host.
pub(crate) fn states(context: &Context, old: &StateMap, new: &StateMap) {
    for id in new.changed(old) {
        match context.caches.workloads.by_uid(&id.0) {
            Some(workload) => {
                let (namespace, name) = name_of(workload.as_ref());
                context.wake(Kind::Workload, &namespace, &name);
                routing::touch(context, Kind::Workload, &workload.metadata);
            }
            None => context.wake_single(Kind::Strays),
        }
    }
}

fn wake_own<K: Resource>(context: &Context, kind: Kind, change: &Change<K>) {
    if let Some(object) = change.object() {
        let (namespace, name) = name_of(object.as_ref());
        context.wake(kind, &namespace, &name);
    }
}

/// Wakes the owner, and the one before if that changed.
fn wake_owner<O: crate::object::Object, K: Resource>(
    context: &Context,
    kind: Kind,
    change: &Change<K>,
) {
    for object in change.old.iter().chain(&change.new) {
        if let Some(owner) = owner_of_kind::<O>(object.as_ref()) {
            let (namespace, _) = name_of(object.as_ref());
            context.wake(kind, &namespace, &owner.name);
        }
    }
}

/// Routes read specs, owners, and who is being deleted; not what status says.
fn wake_routes<K: Resource>(context: &Context, kind: Kind, change: &Change<K>) {
    let read = |object: &K| {
        (
            object.uid(),
            object.meta().generation,
            is_terminating(object),
            object.owner_references().to_vec(),
        )
    };
    if change.differs(read) {
        // The owners before and after, if they are others now.
        for object in change.old.iter().chain(&change.new) {
            routing::touch(context, kind, object.meta());
        }
    }
}

fn wake_deployments(context: &Context, namespace: &str, uses: impl Fn(&WorkloadSpec) -> bool) {
    for deployment in context.caches.deployments.of_namespace(namespace) {
        if uses(&deployment.spec.template.spec) {
            context.wake(Kind::Deployment, namespace, &deployment.name_any());
        }
    }
}

/// Wakes the triggers and workloads that use something.
fn wake_users(context: &Context, namespace: &str, uses: impl Fn(&WorkloadSpec) -> bool) {
    for trigger in context.caches.triggers.of_namespace(namespace) {
        if uses(&trigger.spec.template.spec) {
            context.wake(Kind::Trigger, namespace, &trigger.name_any());
        }
    }
    for workload in context.caches.workloads.of_namespace(namespace) {
        if uses(&workload.spec) {
            context.wake(Kind::Workload, namespace, &workload.name_any());
        }
    }
}

fn wake_users_of_artifact(context: &Context, namespace: &str, name: &str) {
    for deployment in context.caches.deployments.of_namespace(namespace) {
        let spec = &deployment.spec;
        if artifacts::names(&spec.template.spec, &spec.artifacts).contains(name) {
            context.wake(Kind::Deployment, namespace, &deployment.name_any());
        }
    }
    wake_users(context, namespace, |spec| {
        artifacts::names(spec, &[]).contains(name)
    });
}

/// Wakes the workloads that a change of hosts may help, or harm, and the triggers that it may help.
fn wake_unready(context: &Context) {
    let hosts = context.link.hosts().borrow().clone();
    for workload in context.caches.workloads.all() {
        let host = workload.status.as_ref().and_then(|s| s.host_id.clone());
        let reports = host.is_some_and(|id| hosts.contains_key(&HostId(id)));
        if !reports || !is_ready(workload.conditions(), workload.metadata.generation) {
            let (namespace, name) = name_of(workload.as_ref());
            context.wake(Kind::Workload, &namespace, &name);
        }
    }
    for trigger in context.caches.triggers.all() {
        if !is_ready(trigger.conditions(), trigger.metadata.generation) {
            let (namespace, name) = name_of(trigger.as_ref());
            context.wake(Kind::Trigger, &namespace, &name);
        }
    }
}
