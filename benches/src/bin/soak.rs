//! Mixed load for a long time on one host: requests, traps, memory that is refused, clients that
//! leave, workloads that come and go. Says what the process holds meanwhile and after all stopped.
//!
//! ```text
//! cargo run --release -p waft-benches --bin soak -- [--seconds N]
//! ```
//!
//! Ten minutes unless told otherwise. Resident memory at the end should be what it was after a third
//! of the time; threads, files and mappings after all stops what they were before the first start,
//! but for what is kept on purpose: threads that wait for work, and slots that stay mapped.
#![forbid(unsafe_code)]

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use tokio::task::JoinSet;
use waft_benches::{
    client::{Client, Exchange},
    host::{Rig, workload},
    process::{Held, held},
    report::{check_arguments, option},
};
use waft_ir::{Pool, WorkloadId};

const HELLO: &str = "Hello from Waft!\n";
/// Guest, path, answer, size of the pool.
const MIX: [(&str, &str, &str, u32); 7] = [
    ("hello-p2", "/", HELLO, 0),
    ("hello-p2", "/log?a-line", "logged\n", 4),
    ("hello-p2", "/sleep?20", "awake\n", 2),
    ("hello-p3", "/", "Hello from Waft, by WASI 0.3!\n", 2),
    ("trap-p2", "/now", "", 2),
    ("grow-p2", "/?8", "taken\n", 0),
    ("grow-p2", "/", "", 0),
];

#[tokio::main]
async fn main() -> Result<()> {
    check_arguments(include_str!("soak.rs"))?;
    let seconds = option("--seconds").map_or(Ok(600), |text| text.parse())?;
    let folder = tempfile::tempdir()?;
    let guests = waft_guests::path("hello-p2");
    let files = [guests.parent().context("a file in a folder")?.to_owned()];
    let rig = Arc::new(Rig::new(folder.path(), &files)?);
    // Everything is compiled and made once before the first look.
    for round in 0..3 {
        for id in start_all(&rig, round).await? {
            rig.stop(&id);
        }
        rig.running(0).await?;
    }
    print("before", 0, 0)?;

    let end = Instant::now() + Duration::from_secs(seconds);
    let (answers, others) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let mut clients = JoinSet::new();
    for (at, (_, path, answer, _)) in MIX.into_iter().enumerate() {
        for caller in 0..3 {
            let exchange = Exchange {
                path: path.into(),
                ..Exchange::get(&format!("mix-{at}.localhost"), answer)
            };
            let (answers, others) = (answers.clone(), others.clone());
            let address = rig.address;
            clients.spawn(async move {
                let mut sent = 0u64;
                while let Ok(mut client) = Client::connect(address).await {
                    loop {
                        sent += 1;
                        // Some clients leave before they have their answer.
                        let patience =
                            Duration::from_millis(if caller == 0 { sent % 7 } else { 5000 });
                        let asked = tokio::time::timeout(patience, client.exchange(&exchange));
                        if matches!(asked.await, Ok(Ok(()))) {
                            answers.fetch_add(1, Relaxed);
                        } else {
                            others.fetch_add(1, Relaxed);
                            break;
                        }
                    }
                }
            });
        }
    }
    let mut round = 10;
    let mut next_look = Instant::now();
    let mut running = start_all(&rig, round).await?;
    while Instant::now() < end {
        if Instant::now() >= next_look {
            print("load", answers.load(Relaxed), others.load(Relaxed))?;
            next_look += Duration::from_secs(seconds.div_ceil(10).max(1));
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        // The next set takes over while requests run.
        round += 1;
        let new = start_all(&rig, round).await?;
        running.iter().for_each(|id| rig.stop(id));
        running = new;
    }
    clients.shutdown().await;
    running.iter().for_each(|id| rig.stop(id));
    rig.running(0).await?;
    // Threads that wait for work go after ten seconds.
    tokio::time::sleep(Duration::from_secs(12)).await;
    print("after", answers.load(Relaxed), others.load(Relaxed))
}

/// Starts one workload of each kind and sends their host names there.
async fn start_all(rig: &Rig, round: u32) -> Result<Vec<WorkloadId>> {
    let mut ids = Vec::new();
    for (at, (guest, _, _, size)) in MIX.into_iter().enumerate() {
        let image = waft_guests::path(guest);
        let pool = Pool {
            size,
            ..Pool::default()
        };
        ids.push(rig.start(workload(
            &format!("mix-{at}-{round}"),
            Path::new(&image),
            pool,
        )));
    }
    for id in &ids {
        rig.running_one(id).await?;
    }
    let hosts = ids.iter().enumerate();
    rig.route(hosts.map(|(at, id)| (format!("mix-{at}.localhost"), id.clone())));
    Ok(ids)
}

fn print(when: &str, answers: u64, others: u64) -> Result<()> {
    let Held {
        resident,
        threads,
        files,
        mappings,
    } = held(std::process::id())?;
    println!(
        "{when:<7} {answers:>9} answers, {others:>7} others, {:>6.1} MiB resident, {threads} threads, \
         {files} files, {mappings} mappings",
        resident as f64 / f64::from(1 << 20)
    );
    Ok(())
}
