//! Messages a second through a workload's handler: over NATS, against a subscriber that does
//! nothing but count; and in memory.
//!
//! ```text
//! cargo run --profile dist -p waft-benches -- messaging [--quick] [--only CASE]
//! ```
//!
//! Publisher, server and host share the processors.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use async_nats::{Client, ConnectOptions};
use futures::StreamExt as _;
use waft_capabilities::Backends;
use waft_ir::{Pool, Workload};
use waft_measure::report::{flag, median, option};
use waft_servers::Server;

use crate::{
    client::text,
    host::{Rig, grant, workload},
};

const ASKER: &str = "asker.localhost";
/// How often it is looked whether all messages were handled. A look takes a tenth of a millisecond.
const LOOK: Duration = Duration::from_millis(2);
/// Longer than any round takes.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs it.
///
/// # Errors
/// If something that it needs is missing, or an answer was wrong.
pub(crate) async fn run() -> Result<()> {
    let count: u32 = if flag("--quick") { 20_000 } else { 200_000 };
    let server = Server::nats().context("no NATS")?;
    let folder = tempfile::tempdir()?;
    let image = waft_guests::path("worker");
    let files = [image.parent().unwrap_or(&image).to_owned()];
    let backends = Backends {
        nats: Some(server.url()),
        ..Backends::default()
    };
    let rig = Rig::with(folder.path(), &files, backends)?;
    let only = option("--only");
    let mut names = vec!["nats-fresh", "nats-pooled", "memory-fresh", "memory-pooled"];
    names.retain(|name| only.as_ref().is_none_or(|only| only == name));
    for &name in &names {
        let id = rig.start(worker(name, count)?);
        rig.running_one(&id).await?;
    }
    let mut asker = workload("asker", &waft_guests::path("asker-p2"), Pool::default());
    asker.grants = vec![messaging("in-memory", "")?];
    let asker = rig.start(asker);
    rig.running_one(&asker).await?;
    rig.route([(ASKER.into(), asker)]);
    // As between host and publisher, each has a connection of its own.
    let client = async_nats::connect(server.url()).await?;
    let options = ConnectOptions::new().subscription_capacity(count as usize);
    let counter = options.connect(server.url()).await?;
    let mut bare = Vec::new();
    let mut through: [Vec<f64>; 4] = Default::default();
    for _ in 0..5 {
        bare.push(bare_subscriber(&client, &counter, count).await?);
        for (&name, rates) in names.iter().zip(&mut through) {
            rates.push(handler(&rig, &client, name, count).await?);
        }
    }
    let bare = median(bare);
    println!("medians of 5, alternating, {count} messages each");
    println!("bare NATS subscriber   {bare:>10.0} a second");
    for (name, rates) in names.into_iter().zip(through) {
        let rate = median(rates);
        println!(
            "{name:<22} {rate:>10.0} a second   {:.2} of it",
            rate / bare
        );
    }
    Ok(())
}

fn messaging(backend: &str, subjects: &str) -> Result<waft_ir::CapabilityGrant> {
    let config = [("backend", backend), ("subscriptions", subjects)];
    let config = if subjects.is_empty() {
        &config[..1]
    } else {
        &config
    };
    let mut entry = grant("wasmcloud:messaging@0.2.0", config)?;
    entry.interfaces = vec!["consumer".into(), "handler".into()];
    Ok(entry)
}

/// Takes the messages of `bench.NAME`.
fn worker(name: &str, count: u32) -> Result<Workload> {
    let size = if name.ends_with("pooled") { 64 } else { 0 };
    let pool = Pool {
        size,
        ..Pool::default()
    };
    let mut worker = workload(name, &waft_guests::path("worker"), pool);
    // Published as fast as it can be: all of them may wait.
    worker.components[0].limits.queue = count;
    let backend = if name.starts_with("nats") {
        "nats"
    } else {
        "in-memory"
    };
    worker.grants = vec![messaging(backend, &format!("bench.{name}"))?];
    Ok(worker)
}

async fn publish(client: &Client, subject: &str, count: u32) -> Result<()> {
    for _ in 0..count {
        client.publish(subject.to_owned(), "quiet".into()).await?;
    }
    Ok(client.flush().await?)
}

/// Waits until a workload has handled so many messages since it had handled `before`.
async fn wait(rig: &Rig, name: &str, before: u64, count: u32, began: Instant) -> Result<()> {
    while handled(rig, name) < before + u64::from(count) {
        if began.elapsed() > PATIENCE {
            let handled = handled(rig, name) - before;
            bail!("{name}: of {count} messages {handled} were handled");
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

/// Messages a second that a subscriber counts.
async fn bare_subscriber(client: &Client, counter: &Client, count: u32) -> Result<f64> {
    let mut subscriber = counter.subscribe("bench.bare").await?;
    // What it sends itself comes back once the server knows of the subscription.
    counter.publish("bench.bare", "quiet".into()).await?;
    subscriber.next().await.context("no NATS")?;
    let began = Instant::now();
    let counting = subscriber.take(count as usize).count();
    let counting = tokio::time::timeout(PATIENCE, counting);
    let (published, counted) = tokio::join!(publish(client, "bench.bare", count), counting);
    published?;
    counted.context("the bare subscriber has lost messages")?;
    Ok(f64::from(count) / began.elapsed().as_secs_f64())
}

/// Messages a second that a workload handles.
async fn handler(rig: &Rig, client: &Client, name: &str, count: u32) -> Result<f64> {
    let before = handled(rig, name);
    let began = Instant::now();
    if name.starts_with("nats") {
        let subject = format!("bench.{name}");
        publish(client, &subject, count).await?;
    } else {
        let path = format!("/many?bench.{name}&{count}");
        let said = text(rig.address, ASKER, &path).await?;
        anyhow::ensure!(said == count.to_string(), "{said}");
    }
    wait(rig, name, before, count, began).await?;
    Ok(f64::from(count) / began.elapsed().as_secs_f64())
}

fn handled(rig: &Rig, name: &str) -> u64 {
    let labels = format!("namespace=\"bench\",workload=\"{name}\",component=\"main\"");
    let series = format!("waft_messages_total{{{labels},result=\"Handled\"}} ");
    let metrics = rig.host.metrics();
    let value = metrics.lines().find_map(|line| line.strip_prefix(&series));
    value.and_then(|value| value.parse().ok()).unwrap_or(0)
}
