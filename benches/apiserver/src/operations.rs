//! What is measured, on whichever side.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::Method;
use serde_json::Value;
use tokio::task::JoinSet;

use crate::{
    Extent,
    client::{Ask, Client},
    objects::{config_map, config_maps, deployment, namespace},
    sides::Side,
};

pub(crate) const OPERATIONS: [&str; 5] = [
    "create",
    "get",
    "list of 1,000",
    "event to one of 100 watchers",
    "server-side apply",
];

const JSON: &str = "application/json";
const CLIENTS: usize = 32;
const LISTERS: usize = 8;
const WATCHERS: usize = 100;
const WRITERS: usize = 4;
const LISTED: u64 = 1000;

/// What one run came to.
#[derive(Clone)]
pub(crate) struct Figure {
    done: u64,
    took: Duration,
    cpu: Duration,
}

/// When a load ends.
#[derive(Clone, Copy)]
pub(crate) enum Until {
    Count(u64),
    Time(Duration),
}

impl Figure {
    pub(crate) fn per_second(&self) -> f64 {
        self.done as f64 / self.took.as_secs_f64()
    }

    pub(crate) fn microseconds(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.done as f64
    }
}

/// Makes what the operations find.
pub(crate) async fn prepare(side: &Side) -> Result<()> {
    let mut client = Client::connect(side).await?;
    for name in ["create", "list", "watch", "apply", "large"] {
        let ask = Ask::new(Method::POST, "/api/v1/namespaces", JSON, namespace(name));
        client.ask(ask).await?;
    }
    load(side, CLIENTS, Until::Count(LISTED), |_, number| {
        create("list", number)
    })
    .await?;
    let one_each = Until::Count(WRITERS as u64);
    load(side, 1, one_each, |_, number| create("watch", number)).await?;
    Ok(())
}

pub(crate) async fn run(
    side: &Side,
    operation: &str,
    round: usize,
    extent: &Extent,
) -> Result<Figure> {
    match operation {
        "create" => {
            let count = Until::Count(extent.creates);
            let figure = load(side, CLIENTS, count, |_, number| create("create", number)).await?;
            // The next round finds it as this one did.
            let all = Ask::new(Method::DELETE, config_maps("create"), JSON, Bytes::new());
            Client::connect(side).await?.ask(all).await?;
            Ok(figure)
        }
        "get" => {
            load(side, CLIENTS, Until::Time(extent.time), |_, number| {
                Ask::get(format!("{}/c-{}", config_maps("list"), number * 7 % LISTED))
            })
            .await
        }
        "list of 1,000" => {
            let list = || Ask::get(config_maps("list"));
            let whole = Client::connect(side).await?.ask(list()).await?;
            let whole: Value = serde_json::from_slice(&whole)?;
            let items = whole["items"].as_array().context("no items")?.len();
            // Each namespace may have one of the server's own.
            let expected = LISTED as usize..=LISTED as usize + 1;
            ensure!(expected.contains(&items), "{items} items");
            load(side, LISTERS, Until::Time(extent.time), move |_, _| list()).await
        }
        "event to one of 100 watchers" => watch(side, round, extent.changes).await,
        "server-side apply" => {
            load(side, CLIENTS, Until::Time(extent.time), move |client, number| {
                let name = format!("d-{client}");
                let path = format!(
                    "/apis/apps/v1/namespaces/apply/deployments/{name}?fieldManager=bench&force=true"
                );
                let body = deployment(&name, &format!("{round}-{number}"));
                Ask::new(Method::PATCH, path, "application/apply-patch+yaml", body)
            })
            .await
        }
        other => anyhow::bail!("no operation {other}"),
    }
}

pub(crate) fn create(namespace: &str, number: u64) -> Ask {
    let body = config_map(&format!("c-{number}"));
    Ask::new(Method::POST, config_maps(namespace), JSON, body)
}

/// So many clients, each asking as soon as it is answered. `make` gets the client's number and that
/// of the request.
pub(crate) async fn load(
    side: &Side,
    clients: usize,
    until: Until,
    make: impl Fn(usize, u64) -> Ask + Send + Sync + 'static,
) -> Result<Figure> {
    let (make, numbers) = (Arc::new(make), Arc::new(AtomicU64::new(0)));
    let mut connections = Vec::new();
    for _ in 0..clients {
        connections.push(Client::connect(side).await?);
    }
    let (cpu, began) = (side.cpu()?, Instant::now());
    let mut tasks = JoinSet::new();
    for (at, mut client) in connections.into_iter().enumerate() {
        let (make, numbers) = (make.clone(), numbers.clone());
        tasks.spawn(async move {
            let mut done = 0;
            loop {
                let number = numbers.fetch_add(1, Relaxed);
                let ended = match until {
                    Until::Count(count) => number >= count,
                    Until::Time(time) => began.elapsed() >= time,
                };
                if ended {
                    return anyhow::Ok(done);
                }
                let length = client.count(make(at, number)).await?;
                ensure!(length > 0, "an empty answer");
                done += 1;
            }
        });
    }
    let mut done = 0;
    while let Some(count) = tasks.join_next().await {
        done += count??;
    }
    Ok(Figure {
        done,
        took: began.elapsed(),
        cpu: side.cpu()? - cpu,
    })
}

/// Changes objects that many watch; done when each has heard of each change.
async fn watch(side: &Side, round: usize, changes: u64) -> Result<Figure> {
    let mut client = Client::connect(side).await?;
    let list = client.ask(Ask::get(config_maps("watch"))).await?;
    let list: Value = serde_json::from_slice(&list)?;
    let version = list["metadata"]["resourceVersion"]
        .as_str()
        .context("no version")?;
    let path = format!(
        "{}?watch=true&resourceVersion={version}",
        config_maps("watch")
    );
    let mut watchers = JoinSet::new();
    for _ in 0..WATCHERS {
        let mut client = Client::connect(side).await?;
        let mut body = client.begin(Ask::get(&path)).await?.into_body();
        watchers.spawn(async move {
            let mut heard = 0;
            while heard < changes {
                let frame = body.frame().await.context("the watch ended")??;
                let lines = frame.data_ref().into_iter().flatten();
                heard += lines.filter(|byte| **byte == b'\n').count() as u64;
            }
            drop(client);
            anyhow::Ok(heard)
        });
    }
    let (cpu, began) = (side.cpu()?, Instant::now());
    load(side, WRITERS, Until::Count(changes), move |_, number| {
        let path = format!("{}/c-{}", config_maps("watch"), number % WRITERS as u64);
        let patch = format!("{{\"data\":{{\"at\":\"{round}-{number}\"}}}}");
        Ask::new(Method::PATCH, path, "application/merge-patch+json", patch)
    })
    .await?;
    let mut done = 0;
    while let Some(heard) = watchers.join_next().await {
        done += heard??;
    }
    Ok(Figure {
        done,
        took: began.elapsed(),
        cpu: side.cpu()? - cpu,
    })
}
