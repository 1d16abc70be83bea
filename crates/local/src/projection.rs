//! Shows workloads and hosts as the Pods and Nodes that Kubernetes tools know.
//!
//! One task owns it all: it follows Workloads, Pods, Hosts and Nodes of the API and the states of the
//! hosts' workloads, and writes an object only when what it should say has changed. Pods of others
//! are told that nothing runs them. Deleting a Pod deletes its Workload, so that a set replaces it; a
//! Node that is deleted comes again, as long as there is its Host.

mod foreign;
mod node;
mod pod;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt as _, future::join_all, stream::BoxStream};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{
    Api, Client, Resource, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams, Preconditions},
    runtime::{WatchStreamExt as _, watcher},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};
use waft_api::{Host, Workload, names::MANAGER_PROJECTION};
use waft_ir::{Phase, StateMap, States, WorkloadId};

use crate::{
    event::UpEvent,
    index::{Index, Known},
};

/// Namespace and name.
type Key = (String, String);

/// Pods that are written at a time: they share the syncs of the disk.
const TOGETHER: usize = 16;

/// How long a Pod may wait for its workload to get further: most come as far as they do before it is
/// over, and their Pods are then written once.
const PATIENCE: Duration = Duration::from_millis(200);

/// Pause after a write that failed, doubled each time up to the longest.
const SHORTEST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What is kept of a Workload.
#[derive(Debug)]
struct Followed {
    uid: Option<String>,
    terminating: bool,
    /// The object, until its Pod shows that it has come as far as it does. It is many times as large
    /// as the rest, and is read again if it is needed again.
    object: Option<Box<Workload>>,
}

/// What is kept of a Pod.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Shown {
    uid: Option<String>,
    /// The uid of the Workload that it stands for.
    workload: Option<String>,
}

/// Digests of an object without its status, and of the status: of thousands of workloads nobody
/// wants to keep the text.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Written {
    main: [u8; 32],
    status: [u8; 32],
}

/// The projection and what it knows.
pub(crate) struct Projection {
    client: Client,
    index: Index,
    states: States,
    events: mpsc::Sender<UpEvent>,
    /// The state that the Pods show.
    shown: StateMap,
    workloads: BTreeMap<Key, Followed>,
    /// Whether the workloads that there were at the start are known.
    listed: bool,
    /// The Pods that stand for workloads.
    pods: BTreeMap<Key, Shown>,
    /// Name of each Host by its id.
    host_names: BTreeMap<String, String>,
    /// What was written last, Pods by key and Nodes by name, so that nothing is written twice.
    written: BTreeMap<Key, Written>,
    /// Workloads whose Pods may not be as they should.
    dirty: BTreeSet<Key>,
    /// Those of them that wait for their workloads to get further, and until when, in that order.
    waiting: BTreeSet<Key>,
    due: VecDeque<(Instant, Key)>,
    hosts: BTreeMap<String, Host>,
    /// Hosts whose Nodes may not be as they should.
    dirty_hosts: BTreeSet<String>,
    /// The Nodes of a list that is being read.
    listed_nodes: BTreeSet<String>,
    /// Uids of the Pods of others that users were warned of.
    warned: BTreeSet<Option<String>>,
    /// Workloads and hosts that could not be written.
    failed: BTreeSet<Key>,
    failed_hosts: BTreeSet<String>,
    /// When what failed is tried again, and the pause before that.
    retry: Option<(Instant, Duration)>,
}

impl Followed {
    fn new(workload: Workload) -> Self {
        Self {
            uid: workload.uid(),
            terminating: workload.metadata.deletion_timestamp.is_some(),
            object: Some(Box::new(workload)),
        }
    }
}

impl Shown {
    fn of(pod: &Pod) -> Self {
        Self {
            uid: pod.uid(),
            workload: pod::workload_of(pod).map(str::to_owned),
        }
    }
}

impl Projection {
    pub(crate) fn new(
        client: Client,
        index: Index,
        states: States,
        events: mpsc::Sender<UpEvent>,
    ) -> Self {
        Self {
            client,
            index,
            states,
            events,
            shown: StateMap::default(),
            workloads: BTreeMap::new(),
            listed: false,
            pods: BTreeMap::new(),
            host_names: BTreeMap::new(),
            written: BTreeMap::new(),
            dirty: BTreeSet::new(),
            waiting: BTreeSet::new(),
            due: VecDeque::new(),
            hosts: BTreeMap::new(),
            dirty_hosts: BTreeSet::new(),
            listed_nodes: BTreeSet::new(),
            warned: BTreeSet::new(),
            failed: BTreeSet::new(),
            failed_hosts: BTreeSet::new(),
            retry: None,
        }
    }

    /// Follows until dropped.
    pub(crate) async fn run(mut self) {
        let mut workloads = events::<Workload>(&self.client);
        let mut pods = events::<Pod>(&self.client);
        let mut hosts = events::<Host>(&self.client);
        let mut nodes = events::<Node>(&self.client);
        let foreign = foreign::follow(self.client.clone(), self.events.clone());
        let mut foreign = std::pin::pin!(foreign);
        self.forget_nodes().await;
        loop {
            self.write_what_changed().await;
            let retry = self.retry;
            let due = retry.map_or_else(Instant::now, |(due, _)| due);
            let waits = self.due.front().map(|(until, _)| *until);
            tokio::select! {
                Some(event) = workloads.next() => self.workload(event).await,
                Some(event) = pods.next() => self.pod(event).await,
                Some(event) = hosts.next() => self.host(event).await,
                Some(event) = nodes.next() => self.node(event),
                Ok(()) = self.states.changed() => self.state(),
                () = &mut foreign => return,
                () = sleep_until(waits.unwrap_or(due)), if waits.is_some() => {}
                () = sleep_until(due), if retry.is_some() => {
                    self.dirty_hosts.append(&mut self.failed_hosts);
                    self.dirty.append(&mut self.failed);
                }
            }
        }
    }

    async fn workload(&mut self, event: watcher::Event<Workload>) {
        match event {
            watcher::Event::Apply(workload) | watcher::Event::InitApply(workload) => {
                let key = key_of(&workload);
                self.index.insert(Known::of(&workload));
                self.workloads.insert(key.clone(), Followed::new(workload));
                self.dirty.insert(key);
            }
            watcher::Event::Delete(workload) => {
                let key = key_of(&workload);
                // A new one of the same name may already be known.
                let same = |known: &Followed| known.uid == workload.metadata.uid;
                if self.workloads.get(&key).is_some_and(same) {
                    self.index.remove(&key.0, &key.1);
                    self.workloads.remove(&key);
                    self.written.remove(&key);
                    self.dirty.remove(&key);
                }
                self.sweep(&key).await;
            }
            watcher::Event::InitDone => {
                self.listed = true;
                for key in self.pods.keys().cloned().collect::<Vec<_>>() {
                    self.sweep(&key).await;
                }
            }
            watcher::Event::Init => {}
        }
    }

    fn state(&mut self) {
        let new = self.states.borrow_and_update().clone();
        for id in new.changed(&self.shown) {
            if new.contains_key(id)
                && let Some(known) = self.index.by_id(id)
            {
                self.dirty
                    .insert((known.namespace.clone(), known.name.clone()));
            }
        }
        self.shown = new;
    }

    async fn pod(&mut self, event: watcher::Event<Pod>) {
        match event {
            watcher::Event::Apply(pod) | watcher::Event::InitApply(pod) => {
                let key = key_of(&pod);
                let shown = Shown::of(&pod);
                if shown.workload.is_none() {
                    let is_new = self.warned.insert(pod.uid());
                    foreign::tell_pod(&self.client, &self.events, &pod, is_new).await;
                    return;
                }
                if pod.metadata.deletion_timestamp.is_some() {
                    // No kubelet would ever end it.
                    self.end(&key, &shown).await;
                }
                self.pods.insert(key.clone(), shown);
                self.sweep(&key).await;
            }
            watcher::Event::Delete(pod) => {
                let key = key_of(&pod);
                let gone = Shown::of(&pod);
                self.warned.remove(&gone.uid);
                if self.pods.get(&key).and_then(|known| known.uid.as_ref()) != gone.uid.as_ref() {
                    return;
                }
                self.pods.remove(&key);
                self.written.remove(&key);
                self.replace(&key, &gone).await;
            }
            watcher::Event::Init | watcher::Event::InitDone => {}
        }
    }

    /// Ends the Pod of a workload that is gone. It may have been written just after that, from
    /// what was known before.
    async fn sweep(&self, key: &Key) {
        let Some(pod) = self.pods.get(key).filter(|_| self.listed) else {
            return;
        };
        let workload = self.workloads.get(key);
        if workload.and_then(|workload| workload.uid.as_ref()) != pod.workload.as_ref() {
            self.end(key, pod).await;
        }
    }

    /// Deletes just this Pod, at once.
    async fn end(&self, key: &Key, pod: &Shown) {
        let api = Api::<Pod>::namespaced(self.client.clone(), &key.0);
        let parameters = DeleteParams {
            grace_period_seconds: Some(0),
            preconditions: Some(Preconditions {
                uid: pod.uid.clone(),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        if let Err(error) = api.delete(&key.1, &parameters).await {
            tracing::debug!(%error, pod = key.1, "a Pod could not be ended");
        }
    }

    /// A Pod is gone: if its Workload is not, a person deleted it and wants another one.
    async fn replace(&self, key: &Key, pod: &Shown) {
        let Some(workload) = self.workloads.get(key) else {
            return;
        };
        let ours = pod.workload == workload.uid;
        if !ours || workload.terminating {
            return;
        }
        let api = Api::<Workload>::namespaced(self.client.clone(), &key.0);
        let parameters = DeleteParams {
            preconditions: Some(Preconditions {
                uid: workload.uid.clone(),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        if let Err(error) = api.delete(&key.1, &parameters).await {
            tracing::debug!(%error, workload = key.1, "the Workload of a deleted Pod was kept");
        }
    }

    async fn host(&mut self, event: watcher::Event<Host>) {
        match event {
            watcher::Event::Apply(host) | watcher::Event::InitApply(host) => {
                let name = host.name_any();
                if let Some(id) = host.id() {
                    self.host_names.insert(id.into(), name.clone());
                }
                self.dirty_hosts.insert(name.clone());
                if self.hosts.insert(name, host).is_none() {
                    // Pods of its workloads may have been waiting for its name.
                    self.dirty.extend(self.workloads.keys().cloned());
                }
            }
            watcher::Event::Delete(host) => {
                let name = host.name_any();
                self.host_names.retain(|_, known| *known != name);
                self.hosts.remove(&name);
                self.dirty_hosts.remove(&name);
                self.written.remove(&(String::new(), name.clone()));
                self.delete_node(&name).await;
            }
            watcher::Event::Init | watcher::Event::InitDone => {}
        }
    }

    /// A Node that is gone is written anew if its Host is not. One that went while the watch was
    /// broken is missing in the next list.
    fn node(&mut self, event: watcher::Event<Node>) {
        match event {
            watcher::Event::Delete(node) => self.write_node_anew(node.name_any()),
            watcher::Event::Init => self.listed_nodes.clear(),
            watcher::Event::InitApply(node) => {
                self.listed_nodes.insert(node.name_any());
            }
            watcher::Event::InitDone => {
                let listed = std::mem::take(&mut self.listed_nodes);
                let hosts = self.hosts.keys();
                let gone = hosts.filter(|name| !listed.contains(*name)).cloned();
                for name in gone.collect::<Vec<_>>() {
                    self.write_node_anew(name);
                }
            }
            watcher::Event::Apply(_) => {}
        }
    }

    fn write_node_anew(&mut self, name: String) {
        self.written.remove(&(String::new(), name.clone()));
        self.dirty_hosts.insert(name);
    }

    /// Deletes the Nodes of hosts that are gone since the last run. They can't have an owner: that
    /// lies in a namespace.
    async fn forget_nodes(&self) {
        let hosts = Api::<Host>::all(self.client.clone());
        let nodes = Api::<Node>::all(self.client.clone());
        let ours = ListParams::default().labels(node::LABEL);
        let (Ok(hosts), Ok(nodes)) = (
            hosts.list(&ListParams::default()).await,
            nodes.list(&ours).await,
        ) else {
            return;
        };
        let known = hosts.iter().map(Host::name_any).collect::<BTreeSet<_>>();
        for node in nodes.iter().map(Node::name_any) {
            if !known.contains(&node) {
                self.delete_node(&node).await;
            }
        }
    }

    async fn delete_node(&self, name: &str) {
        let nodes = Api::<Node>::all(self.client.clone());
        if let Err(error) = nodes.delete(name, &DeleteParams::default()).await {
            tracing::debug!(%error, node = name, "the Node of a Host that is gone stays");
        }
    }

    async fn write_what_changed(&mut self) {
        self.write_nodes().await;
        self.write_pods().await;
        let all_well = self.failed.is_empty() && self.failed_hosts.is_empty();
        let now = Instant::now();
        self.retry = match self.retry {
            _ if all_well => None,
            None => Some((now + SHORTEST_PAUSE, SHORTEST_PAUSE)),
            Some((due, pause)) if due <= now => {
                let pause = (pause * 2).min(LONGEST_PAUSE);
                Some((now + pause, pause))
            }
            waiting => waiting,
        };
    }

    async fn write_nodes(&mut self) {
        for name in std::mem::take(&mut self.dirty_hosts) {
            let Some(node) = self.hosts.get(&name).map(node::of) else {
                continue;
            };
            let api = Api::<Node>::all(self.client.clone());
            let key = (String::new(), name);
            let written = show(api, &key, node, self.written.get(&key).copied()).await;
            if !self.note(&key, written) {
                self.failed_hosts.insert(key.1);
            }
        }
    }

    async fn write_pods(&mut self) {
        let ripe = self.ripe();
        for keys in ripe.chunks(TOGETHER) {
            self.read_again(keys).await;
            let pods = keys
                .iter()
                .filter_map(|key| Some((key, self.wanted_pod(key)?)));
            let writes = pods.map(|(key, pod)| {
                let api = Api::<Pod>::namespaced(self.client.clone(), &key.0);
                let written = self.written.get(key).copied();
                async move { (key, show(api, key, pod, written).await) }
            });
            for (key, written) in join_all(writes).await {
                if self.note(key, written) {
                    self.release(key);
                } else {
                    self.failed.insert(key.clone());
                }
            }
        }
    }

    /// The workloads whose Pods are to be written now. The others wait.
    fn ripe(&mut self) -> Vec<Key> {
        let now = Instant::now();
        let mut ripe = Vec::new();
        for key in std::mem::take(&mut self.dirty) {
            if self.is_settled(&key) {
                self.waiting.remove(&key);
                ripe.push(key);
            } else if self.waiting.insert(key.clone()) {
                self.due.push_back((now + PATIENCE, key));
            }
        }
        while let Some((_, key)) = self.due.pop_front_if(|(until, _)| *until <= now) {
            if self.waiting.remove(&key) {
                ripe.push(key);
            }
        }
        ripe
    }

    /// Whether a workload is as far as it comes, and its object says so too.
    fn is_settled(&self, key: &Key) -> bool {
        let Some(known) = self.workloads.get(key) else {
            return true;
        };
        let id = known.uid.clone().map(WorkloadId);
        let phase = id.and_then(|id| Some(&self.shown.get(&id)?.phase));
        match phase {
            None | Some(Phase::Pulling | Phase::Compiling) => known.terminating,
            Some(Phase::Running) => {
                let object = known.object.as_ref();
                object.is_none_or(|workload| pod::ready_since(workload).is_some())
            }
            Some(_) => true,
        }
    }

    /// Reads the objects that are needed again.
    async fn read_again(&mut self, keys: &[Key]) {
        let is_needed = |key: &&Key| {
            let known = self.workloads.get(*key);
            known.is_some_and(|known| known.object.is_none())
        };
        let reads = keys.iter().filter(is_needed).map(|key| {
            let api = Api::<Workload>::namespaced(self.client.clone(), &key.0);
            async move { (key, api.get_opt(&key.1).await) }
        });
        for (key, read) in join_all(reads).await {
            match (self.workloads.get_mut(key), read) {
                (Some(known), Ok(Some(workload))) if known.uid == workload.metadata.uid => {
                    *known = Followed::new(workload);
                }
                (_, Err(error)) => {
                    tracing::debug!(%error, workload = key.1, "could not be read; tried again");
                    self.failed.insert(key.clone());
                }
                // It is gone, or another one by now: an event says so soon.
                _ => {}
            }
        }
    }

    /// Lets go of an object whose Pod shows it, if nothing more is expected of it.
    fn release(&mut self, key: &Key) {
        let Some(known) = self.workloads.get_mut(key) else {
            return;
        };
        let id = known.uid.clone().map(WorkloadId);
        let state = id.and_then(|id| self.shown.get(&id));
        if state.is_some_and(|state| !matches!(state.phase, Phase::Pulling | Phase::Compiling)) {
            known.object = None;
        }
    }

    /// The Pod that there should be.
    fn wanted_pod(&self, key: &Key) -> Option<Pod> {
        let workload = self.workloads.get(key)?.object.as_ref()?;
        if workload.metadata.deletion_timestamp.is_some() && !self.pods.contains_key(key) {
            // It goes; a Pod made now would only go with it.
            return None;
        }
        let id = WorkloadId(workload.uid().unwrap_or_default());
        let state = self.shown.get(&id).map(Arc::as_ref);
        let host = state
            .map(|state| state.host.0.as_str())
            .or(workload.status.as_ref().and_then(|s| s.host_id.as_deref()));
        let node = host.and_then(|id| self.host_names.get(id));
        Some(pod::of(workload, state, node.map(String::as_str)))
    }

    /// Remembers what was written. Whether it was.
    fn note(&mut self, key: &Key, written: Option<Written>) -> bool {
        match written {
            Some(written) => self.written.insert(key.clone(), written),
            None => self.written.remove(key),
        };
        written.is_some()
    }
}

/// Writes an object and its status where they are not what they should be; `written` is what was
/// written last. `None`: it could not be written.
async fn show<K>(api: Api<K>, key: &Key, wanted: K, written: Option<Written>) -> Option<Written>
where
    K: Resource<DynamicType = ()> + Clone + Serialize + DeserializeOwned + std::fmt::Debug,
{
    // Our own types always are JSON.
    let wanted = serde_json::to_value(wanted).ok()?;
    let (main, status) = split(&wanted);
    let digests = Written {
        main: digest(&main),
        status: digest(&status),
    };
    if written == Some(digests) {
        return written;
    }
    let done = async {
        match written {
            // A Node without a status is not accepted.
            None => apply(&api, &key.1, &wanted).await?,
            Some(before) if before.main != digests.main => apply(&api, &key.1, &main).await?,
            Some(_) => {}
        }
        let parameters = PatchParams {
            field_manager: Some(MANAGER_PROJECTION.into()),
            ..PatchParams::default()
        };
        let patch = Patch::Merge(json!({"status": status}));
        api.patch_status(&key.1, &parameters, &patch).await
    };
    match done.await {
        Ok(_) => Some(digests),
        Err(error) => {
            let error = match &error {
                kube::Error::Api(status) => status.message.clone(),
                other => other.to_string(),
            };
            let kind = K::kind(&());
            tracing::warn!(error, %kind, name = key.1, "could not be shown; tried again");
            None
        }
    }
}

async fn apply<K>(api: &Api<K>, name: &str, object: &Value) -> Result<(), kube::Error>
where
    K: Clone + DeserializeOwned + std::fmt::Debug,
{
    let parameters = PatchParams::apply(MANAGER_PROJECTION).force();
    api.patch(name, &parameters, &Patch::Apply(object))
        .await
        .map(drop)
}

/// An object without its status, and the status.
fn split(object: &Value) -> (Value, Value) {
    let mut main = object.clone();
    let status = main
        .as_object_mut()
        .and_then(|main| main.remove("status"))
        .unwrap_or_default();
    (main, status)
}

fn digest(value: &Value) -> [u8; 32] {
    Sha256::digest(value.to_string()).into()
}

fn key_of(object: &impl Resource) -> Key {
    (object.namespace().unwrap_or_default(), object.name_any())
}

/// All changes of a kind, over every namespace; a watch that breaks is started again.
fn events<K>(client: &Client) -> BoxStream<'static, watcher::Event<K>>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    watcher(Api::<K>::all(client.clone()), watcher::Config::default())
        .default_backoff()
        // Who wrote which field is of no use here, and half of an object. Lists are read with room
        // for more; those of a copy have none.
        .modify(|object| {
            object.meta_mut().managed_fields = None;
            *object = object.clone();
        })
        .filter_map(|event| async { event.ok() })
        .boxed()
}

#[cfg(test)]
mod tests {
    use waft_apiserver::{ApiServer, Config};

    use super::*;

    #[tokio::test]
    async fn a_node_that_went_while_nobody_watched_is_written_anew() {
        let server = ApiServer::open(Config::default()).await.unwrap();
        let client = Client::new(server.service(), "default");
        let (_states, states) = tokio::sync::watch::channel(StateMap::default());
        let (events, _told) = mpsc::channel(1);
        let mut projection = Projection::new(client, Index::default(), states, events);
        let named = |name: &str| json!({"metadata": {"name": name}});
        for name in ["gone", "there"] {
            let host = serde_json::from_value(named(name)).unwrap();
            projection.host(watcher::Event::Apply(host)).await;
        }
        projection.dirty_hosts.clear();

        let node = serde_json::from_value(named("there")).unwrap();
        for event in [
            watcher::Event::Init,
            watcher::Event::InitApply(node),
            watcher::Event::InitDone,
        ] {
            projection.node(event);
        }
        assert_eq!(projection.dirty_hosts, BTreeSet::from(["gone".to_owned()]));
    }
}
