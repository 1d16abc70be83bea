//! The operator as a whole: watches, a queue of keys, and workers that reconcile them.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::StreamExt as _;
use kube::{
    Api, Client,
    runtime::{WatchStreamExt as _, watcher},
};
use tokio::{
    sync::{mpsc, watch},
    task::{Id, JoinError, JoinSet},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use waft_ir::{Artifacts, HostLink, Routes};

use crate::{
    artifact,
    cache::Cache,
    context::{Caches, Context},
    deployment, host, host_group,
    key::{Key, Kind},
    object::Object,
    queue::{Next, Queue},
    replica_set, routing, strays, trigger,
    wake::{self, Wakes},
    workload,
    write::WriteError,
};

/// Keys handled at a time. Most of a reconcile is waiting for the API server.
const WORKERS: usize = 32;

/// How many times as long as it took a look at all objects rests.
const RESTS: u32 = 20;

/// Settings of an operator.
#[derive(Clone, Debug)]
pub struct OperatorConfig {
    /// Where Host objects live.
    pub operator_namespace: String,
}

/// The controllers, ready to run.
pub struct Operator {
    context: Arc<Context>,
    woken: mpsc::UnboundedReceiver<Key>,
}

impl Default for OperatorConfig {
    fn default() -> Self {
        Self {
            operator_namespace: "default".into(),
        }
    }
}

impl Operator {
    /// An operator over an API server, hosts and images. Does nothing until [`run`](Self::run).
    pub fn new(
        client: Client,
        link: Arc<dyn HostLink>,
        artifacts: Arc<dyn Artifacts>,
        config: OperatorConfig,
    ) -> Self {
        let (context, woken) = Context::new(client, link, artifacts, config);
        Self {
            context: Arc::new(context),
            woken,
        }
    }

    /// The table of routes, as it changes.
    pub fn routes(&self) -> Routes {
        self.context.routing.table()
    }

    /// Runs until told to stop. What is being reconciled then is finished first; workloads go on.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut watches = JoinSet::new();
        let listed = watch_everything(&self.context, &mut watches);
        let ready = async {
            // Before the first lists are complete, what is missing can't be told from what is not
            // known yet.
            for mut listed in listed {
                let _ = listed.wait_for(|listed| *listed).await;
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = ready => {
                self.context.wake_single(Kind::Routes);
                self.context.wake_single(Kind::Strays);
                work(self.context.clone(), self.woken, &shutdown).await;
            }
        }
        watches.shutdown().await;
    }
}

/// Starts one watch per kind and those of the hosts. The receivers turn true when the first list
/// of their kind is complete.
fn watch_everything(
    context: &Arc<Context>,
    watches: &mut JoinSet<()>,
) -> Vec<watch::Receiver<bool>> {
    watches.spawn(follow(
        context.clone(),
        context.link.hosts(),
        |context, old, new| wake::hosts(context, old, new),
    ));
    watches.spawn(follow(context.clone(), context.link.states(), wake::states));
    vec![
        watch_kind(context, watches, |caches| &caches.triggers),
        watch_kind(context, watches, |caches| &caches.deployments),
        watch_kind(context, watches, |caches| &caches.replica_sets),
        watch_kind(context, watches, |caches| &caches.workloads),
        watch_kind(context, watches, |caches| &caches.artifacts),
        watch_kind(context, watches, |caches| &caches.hosts),
        watch_kind(context, watches, |caches| &caches.host_groups),
        watch_kind(context, watches, |caches| &caches.config_maps),
        watch_kind(context, watches, |caches| &caches.secrets),
        watch_kind(context, watches, |caches| &caches.services),
    ]
}

fn watch_kind<K: Object + Wakes>(
    context: &Arc<Context>,
    watches: &mut JoinSet<()>,
    cache: fn(&Caches) -> &Cache<K>,
) -> watch::Receiver<bool> {
    let (report, listed) = watch::channel(false);
    let context = context.clone();
    watches.spawn(async move {
        let api = Api::<K>::all(context.client.clone());
        let events = watcher(api, watcher::Config::default())
            .default_backoff()
            // Nothing here asks who wrote which field, and it is half of an object. What is written
            // back without it keeps it. Lists are read with room for more; those of a copy have none.
            .modify(|object| {
                object.meta_mut().managed_fields = None;
                *object = object.clone();
            });
        let mut events = std::pin::pin!(events);
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => {
                    for change in cache(&context.caches).apply(event) {
                        K::wake(&context, &change);
                    }
                    report.send_if_modified(|listed| {
                        let was = *listed;
                        *listed = cache(&context.caches).is_listed();
                        was != *listed
                    });
                }
                Err(error) => {
                    let kind = K::kind(&());
                    tracing::warn!(%kind, %error, "the watch failed and is started again");
                }
            }
        }
    });
    listed
}

/// Wakes whom each change of a value concerns, until nobody changes it any more.
async fn follow<T: Clone + Default + Send + Sync>(
    context: Arc<Context>,
    mut values: watch::Receiver<T>,
    wake: fn(&Context, &T, &T),
) {
    let mut old = T::default();
    loop {
        let new = values.borrow_and_update().clone();
        wake(&context, &old, &new);
        old = new;
        if values.changed().await.is_err() {
            return;
        }
    }
}

/// Hands keys to workers until told to stop, then waits for the workers.
async fn work(
    context: Arc<Context>,
    mut woken: mpsc::UnboundedReceiver<Key>,
    shutdown: &CancellationToken,
) {
    let mut queue: Queue<Key> = Queue::default();
    let mut workers: JoinSet<Next> = JoinSet::new();
    let mut keys: BTreeMap<Id, Key> = BTreeMap::new();
    loop {
        while queue.running() < WORKERS
            && let Some(key) = queue.pop()
        {
            let waited = queue.waited(&key, Instant::now());
            let worker = workers.spawn(reconcile(context.clone(), key.clone(), waited));
            keys.insert(worker.id(), key);
        }
        let due = queue.next_due();
        tokio::select! {
            () = shutdown.cancelled() => break,
            key = woken.recv() => match key {
                Some(key) => queue.add(key),
                None => break,
            },
            Some(done) = workers.join_next_with_id() => {
                finish(&mut queue, &mut keys, done);
            }
            () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                queue.wake_due(Instant::now());
            }
        }
        while let Ok(key) = woken.try_recv() {
            queue.add(key);
        }
    }
    while workers.join_next().await.is_some() {}
}

fn finish(
    queue: &mut Queue<Key>,
    keys: &mut BTreeMap<Id, Key>,
    done: Result<(Id, Next), JoinError>,
) {
    let (id, next) = match done {
        Ok((id, next)) => (id, next),
        Err(error) => {
            tracing::error!(%error, "a controller failed; its object is tried again");
            (error.id(), Next::Backoff)
        }
    };
    if let Some(key) = keys.remove(&id) {
        queue.done(key, next, Instant::now());
    }
}

/// Does what looks at all objects, and rests for longer than it took before it is done again: while
/// thousands of objects change, most of the time is left for them.
async fn rested(look: impl FnOnce()) -> Next {
    let began = Instant::now();
    look();
    tokio::time::sleep(began.elapsed() * RESTS).await;
    Next::Await
}

/// `waited` is for how long the status of the object was put off.
async fn reconcile(context: Arc<Context>, key: Key, waited: Duration) -> Next {
    let (namespace, name) = (key.namespace.as_str(), key.name.as_str());
    let done = match key.kind {
        Kind::Routes => Ok(rested(|| routing::refresh(&context)).await),
        Kind::Strays => Ok(rested(|| strays::stop(&context)).await),
        Kind::Trigger => trigger::reconcile(&context, namespace, name, waited).await,
        Kind::Deployment => deployment::reconcile(&context, namespace, name, waited).await,
        Kind::ReplicaSet => replica_set::reconcile(&context, namespace, name, waited).await,
        Kind::Workload => workload::reconcile(&context, namespace, name, waited).await,
        Kind::Artifact => artifact::reconcile(&context, namespace, name, waited).await,
        Kind::Host => host::reconcile(&context, name).await,
        Kind::HostGroup => host_group::reconcile(&context, namespace, name).await,
    };
    match done {
        Ok(next) => next,
        // The change that made it stale, or the deletion, is on its way; the pause is for the case
        // that it was seen already.
        Err(WriteError::Stale | WriteError::Gone) => Next::Backoff,
        Err(error) => {
            tracing::warn!(%key, %error, "could not be reconciled; tried again later");
            Next::Backoff
        }
    }
}
