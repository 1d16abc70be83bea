//! Mixed load for a long time on one host: requests, traps, memory that is refused, clients that
//! leave, workloads that come and go. Says what the process holds meanwhile and after all stopped.
//!
//! ```text
//! cargo run --profile dist -p waft-benches -- soak [--seconds N] [--rounds N]
//! ```
//!
//! A round is ten minutes unless told otherwise, and there is one. Resident memory at its end should
//! be what it was after a third of the time. Before the first round comes what is made once and kept:
//! half a minute of load brings threads' heaps and compiled code, and short loads, each of which ends
//! with all stopped, bring the slots of instances that stay mapped. Those have twice the callers: as many
//! instances as the round has at a time were there before. Threads, files and
//! mappings after all stops should be those after all stops of that.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use tokio::task::JoinSet;
use waft_ir::{Pool, WorkloadId};
use waft_measure::{
    process::{Held, held},
    report::option,
};

use crate::{
    client::{Client, Exchange},
    host::{Rig, workload},
};

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

/// Callers of each workload in a round.
const CALLERS: usize = 3;
/// How long the load lasts that comes before the first round.
const WARM_UP: u64 = 30;
/// Loads of a second each that come then. After all stopped, code is loaded anew and has no slots of
/// its own; wasmtime gives it some that were never used, about five, until 100 of a pool are free.
const FRESH_STARTS: u32 = 40;

#[derive(Default)]
struct Counts {
    answers: AtomicU64,
    others: AtomicU64,
}

/// Runs it.
///
/// # Errors
/// If something that it needs is missing, or an answer was wrong.
pub(crate) async fn run() -> Result<()> {
    let seconds = option("--seconds").map_or(Ok(600), |text| text.parse())?;
    let rounds = option("--rounds").map_or(Ok(1), |text| text.parse::<u32>())?;
    let folder = tempfile::tempdir()?;
    let guests = waft_guests::path("hello-p2");
    let files = [guests.parent().context("a file in a folder")?.to_owned()];
    let rig = Arc::new(Rig::new(folder.path(), &files)?);
    print("start", &Counts::default())?;
    let mut set = 0;
    let mut counts = Arc::default();
    load(&rig, WARM_UP, 2 * CALLERS, &mut set, &counts).await?;
    for _ in 0..FRESH_STARTS {
        load(&rig, 1, 2 * CALLERS, &mut set, &counts).await?;
    }
    settle(&counts).await?;
    for _ in 0..rounds {
        counts = Arc::default();
        load(&rig, seconds, CALLERS, &mut set, &counts).await?;
        settle(&counts).await?;
    }
    Ok(())
}

/// Says what is left after all stopped.
async fn settle(counts: &Counts) -> Result<()> {
    // Threads that wait for work go after ten seconds.
    tokio::time::sleep(Duration::from_secs(12)).await;
    print("after", counts)
}

/// Load, until all has stopped. `set` counts the sets of workloads.
async fn load(
    rig: &Arc<Rig>,
    seconds: u64,
    callers: usize,
    set: &mut u32,
    counts: &Arc<Counts>,
) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut clients = JoinSet::new();
    for (at, (_, path, answer, _)) in MIX.into_iter().enumerate() {
        for caller in 0..callers {
            let exchange = Exchange {
                path: path.into(),
                ..Exchange::get(&format!("mix-{at}.localhost"), answer)
            };
            clients.spawn(call(
                rig.address,
                exchange,
                caller % CALLERS == 0,
                counts.clone(),
            ));
        }
    }
    let mut next_look = Instant::now();
    let mut running = start_all(rig, set).await?;
    while Instant::now() < end {
        if Instant::now() >= next_look {
            print("load", counts)?;
            next_look += Duration::from_secs(seconds.div_ceil(10).max(1));
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        // The next set takes over while requests run.
        let new = start_all(rig, set).await?;
        running.iter().for_each(|id| rig.stop(id));
        running = new;
    }
    clients.shutdown().await;
    running.iter().for_each(|id| rig.stop(id));
    rig.running(0).await
}

/// Sends one request after another. A client that leaves often does not wait for its answer.
async fn call(address: SocketAddr, exchange: Exchange, leaves: bool, counts: Arc<Counts>) {
    let mut sent = 0u64;
    while let Ok(mut client) = Client::connect(address).await {
        loop {
            sent += 1;
            let patience = Duration::from_millis(if leaves { sent % 7 } else { 5000 });
            let asked = tokio::time::timeout(patience, client.exchange(&exchange));
            if matches!(asked.await, Ok(Ok(()))) {
                counts.answers.fetch_add(1, Relaxed);
            } else {
                counts.others.fetch_add(1, Relaxed);
                break;
            }
        }
    }
}

/// Starts one workload of each kind and sends their host names there.
async fn start_all(rig: &Rig, set: &mut u32) -> Result<Vec<WorkloadId>> {
    *set += 1;
    let mut ids = Vec::new();
    for (at, (guest, _, _, size)) in MIX.into_iter().enumerate() {
        let image = waft_guests::path(guest);
        let pool = Pool {
            size,
            ..Pool::default()
        };
        ids.push(rig.start(workload(
            &format!("mix-{at}-{set}"),
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

fn print(when: &str, counts: &Counts) -> Result<()> {
    let (answers, others) = (counts.answers.load(Relaxed), counts.others.load(Relaxed));
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
