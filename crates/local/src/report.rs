//! Tells what happens, as [`UpEvent`]s: routes that answer, objects that fail, steps that take long,
//! lines of guests and requests. Reads only; whoever prints slowly misses lines, nobody waits.

mod failures;
mod urls;

use std::{borrow::Cow, collections::BTreeSet, net::SocketAddr, sync::Arc};

use futures::{StreamExt as _, stream::BoxStream};
use kube::{
    Api, Client, Resource,
    api::DynamicObject,
    core::ApiResource,
    runtime::{WatchStreamExt as _, watcher},
};
use tokio::sync::{broadcast, mpsc};
use waft_api::{Artifact, HttpTrigger, Workload, WorkloadDeployment, WorkloadReplicaSet};
use waft_host::{Access, Event, Host};
use waft_ir::{HostLink as _, HostRoutes, Phase, Routes, StateMap, States};

use crate::{event::UpEvent, index::Index};
use failures::Failures;

/// Where events go.
pub(crate) type Events = mpsc::Sender<UpEvent>;

/// What is read.
pub(crate) struct Report {
    pub(crate) client: Client,
    pub(crate) host: Arc<Host>,
    pub(crate) routes: Routes,
    pub(crate) index: Index,
    pub(crate) http: SocketAddr,
}

impl Report {
    /// Tells until dropped, or until nobody listens any more.
    pub(crate) async fn run(self, events: Events) {
        let lines = lines(self.host.subscribe(), self.index.clone(), &events);
        let routes = routes(self.routes, self.http, &events);
        let steps = steps(self.host.states(), self.index, &events);
        let failures = failures(&self.client, &events);
        tokio::select! {
            () = async { tokio::join!(lines, routes, steps, failures); } => {}
            () = events.closed() => {}
        }
    }
}

async fn lines(mut host: broadcast::Receiver<Event>, index: Index, events: &Events) {
    loop {
        let event = match host.recv().await {
            Ok(Event::Line { workload, line }) => UpEvent::Log {
                workload: shown(&index, &workload),
                line: line.as_ref().clone(),
            },
            Ok(Event::Access(access)) => UpEvent::Access {
                line: access_line(&index, &access),
            },
            // Whoever reads too slowly misses lines; the log files have them all.
            Err(broadcast::error::RecvError::Lagged(_)) => continue,
            Err(broadcast::error::RecvError::Closed) => return,
        };
        let _ = events.send(event).await;
    }
}

/// The name a person gave to the workload `namespace/name`, with its namespace if it isn't
/// `default`.
fn shown(index: &Index, workload: &str) -> String {
    let (namespace, name) = workload.split_once('/').unwrap_or(("default", workload));
    let known = index.named(namespace, name);
    let name = known.map_or(name.to_owned(), |known| known.shown.clone());
    match namespace {
        "default" => name,
        namespace => format!("{namespace}/{name}"),
    }
}

fn access_line(index: &Index, access: &Access) -> String {
    let status = access
        .status
        .map_or("client left".into(), |s| s.to_string());
    let backend = match &access.backend {
        Some((workload, component)) => format!(" {}/{component}", shown(index, workload)),
        None => String::new(),
    };
    let reason = match &access.reason {
        Some(reason) => format!(" {}", reason.as_str()),
        None => String::new(),
    };
    format!(
        "{} {}{} {status} {:.1}ms {}B{backend}{reason}",
        access.method,
        access.host,
        access.path,
        access.duration.as_secs_f64() * 1000.0,
        access.bytes,
    )
}

async fn routes(mut routes: Routes, http: SocketAddr, events: &Events) {
    let mut told = BTreeSet::new();
    let mut before = Arc::default();
    loop {
        let table = routes.borrow_and_update().clone();
        for (old, new) in table.changed(&before) {
            let served = |routes: &HostRoutes, table| {
                urls::served(routes.iter().map(AsRef::as_ref), table, http)
            };
            let (old, new) = (served(&old, &before), served(&new, &table));
            // A route that goes and comes back is told again.
            for url in old.keys().filter(|url| !new.contains_key(*url)) {
                told.remove(url);
            }
            for (url, source) in new {
                if told.insert(url.clone()) {
                    let _ = events.send(UpEvent::RouteReady { url, source }).await;
                }
            }
        }
        before = table;
        if routes.changed().await.is_err() {
            return;
        }
    }
}

async fn steps(mut states: States, index: Index, events: &Events) {
    let mut before = StateMap::default();
    loop {
        let now = states.borrow_and_update().clone();
        for id in now.changed(&before) {
            let Some(step) = now.get(id).and_then(|state| step(&state.phase)) else {
                continue;
            };
            if before.get(id).and_then(|state| self::step(&state.phase)) == Some(step) {
                continue;
            }
            let known = index.by_id(id);
            let Some(known) = known else { continue };
            let workload = format!("{}/{}", known.namespace, known.shown);
            let _ = events.send(UpEvent::Progress { workload, step }).await;
        }
        before = now;
        if states.changed().await.is_err() {
            return;
        }
    }
}

/// The word for how far a workload is that gets ahead.
fn step(phase: &Phase) -> Option<&'static str> {
    match phase {
        Phase::Pulling => Some("pulling"),
        Phase::Compiling => Some("compiling"),
        Phase::Running => Some("running"),
        Phase::Restarting(_) | Phase::Completed | Phase::Stopping | Phase::Failed(_) => None,
    }
}

async fn failures(client: &Client, events: &Events) {
    let kinds = [
        changes::<HttpTrigger>(client),
        changes::<WorkloadDeployment>(client),
        changes::<WorkloadReplicaSet>(client),
        changes::<Workload>(client),
        changes::<Artifact>(client),
    ];
    let mut changes = futures::stream::select_all(kinds);
    let mut failures = Failures::default();
    while let Some((kind, event)) = changes.next().await {
        let new = match event {
            watcher::Event::Apply(object) | watcher::Event::InitApply(object) => {
                failures.changed(&kind, &object)
            }
            watcher::Event::Delete(object) => {
                failures.gone(&kind, &object);
                continue;
            }
            watcher::Event::Init | watcher::Event::InitDone => continue,
        };
        for event in new {
            let _ = events.send(event).await;
        }
    }
}

type Changes = BoxStream<'static, (Cow<'static, str>, watcher::Event<DynamicObject>)>;

fn changes<K: Resource<DynamicType = ()>>(client: &Client) -> Changes {
    let resource = ApiResource::erase::<K>(&());
    let kind = K::kind(&());
    watcher(
        Api::<DynamicObject>::all_with(client.clone(), &resource),
        watcher::Config::default(),
    )
    .default_backoff()
    .filter_map(|event| async { event.ok() })
    .map(move |event| (kind.clone(), event))
    .boxed()
}
