//! The latency of a well-behaved workload at 1,000 requests a second, alone and beside others that
//! spin, take memory, trap, flood and write lines; and beside services that spin.
//!
//! ```text
//! cargo run --release -p waft-benches --bin neighbours -- [--quick] [--rate N]
//! ```
//!
//! The victim's requests are due at fixed times, and measured from then (open loop). The clients of
//! all run in this process, on the same processors as the host.
#![forbid(unsafe_code)]

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result};
use tokio::task::JoinSet;
use waft_benches::{
    client::{Client, Exchange, open_loop},
    host::{Rig, workload},
    process::Server,
    report::{check_arguments, flag, ms, option, quantile},
};
use waft_ir::{LocalResources, Pool, Service, Workload};

/// A bad neighbour: its name, guest, path, how many call it at a time (0: one a processor), and
/// what it answers, if it does.
const NEIGHBOURS: [(&str, &str, &str, usize, &str); 5] = [
    ("spinning", "spin-p2", "/", 0, ""),
    ("allocating", "grow-p2", "/", 4, ""),
    ("trapping", "trap-p2", "/now", 4, ""),
    ("flooding", "hello-p2", "/", 64, "Hello from Waft!\n"),
    ("logging", "hello-p2", "/log?spam-spam-spam", 8, "logged\n"),
];
/// Beside services that compute for ever, one a processor. They have a server of their own, since nobody
/// has to call them.
const SERVICES: &str = "services";
const VICTIM: &str = "victim.localhost";

fn main() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    if std::env::args().nth(1).as_deref() == Some("serve") {
        return runtime.block_on(serve());
    }
    check_arguments(include_str!("neighbours.rs"))?;
    let seconds = Duration::from_secs(if flag("--quick") { 3 } else { 15 });
    let rate = option("--rate").map_or(Ok(1000), |text| text.parse())?;
    let mut server = Server::of_this_program(&["serve"])?;
    println!(
        "{:<12} {:>12} {:>12} {:>12}",
        "beside", "p50", "p99", "p99.9"
    );
    runtime.block_on(async {
        let uncalled = |name| (name, "", "", 0, "");
        let rows = [uncalled("nobody")].into_iter().chain(NEIGHBOURS);
        for (name, _, path, callers, answer) in rows.chain([uncalled(SERVICES)]) {
            if name == SERVICES {
                server = Server::of_this_program(&["serve", SERVICES])?;
            }
            let bad = if path.is_empty() {
                JoinSet::new()
            } else {
                bother(&server, name, path, callers, answer)
            };
            let victim = Exchange::get(VICTIM, "Hello from Waft!\n");
            let mut load = open_loop(server.address, &victim, rate, seconds).await?;
            drop(bad);
            println!(
                "{name:<12} {:>12} {:>12} {:>12}",
                ms(quantile(&mut load.latencies, 0.5)),
                ms(quantile(&mut load.latencies, 0.99)),
                ms(quantile(&mut load.latencies, 0.999)),
            );
            // What was begun for callers that left has to end first.
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        Ok(())
    })
}

/// Calls a bad neighbour again and again, until this is dropped.
fn bother(
    server: &Server,
    name: &str,
    path: &str,
    callers: usize,
    answer: &'static str,
) -> JoinSet<()> {
    let callers = match callers {
        0 => processors(),
        some => some,
    };
    let (address, mut tasks) = (server.address, JoinSet::new());
    let exchange = Arc::new(Exchange {
        path: path.into(),
        ..Exchange::get(&format!("{name}.localhost"), answer)
    });
    for _ in 0..callers {
        let exchange = exchange.clone();
        tasks.spawn(async move {
            loop {
                let Ok(mut client) = Client::connect(address).await else {
                    return;
                };
                // Most answer with an error, and then come again on a new connection.
                while client.exchange(&exchange).await.is_ok() {}
            }
        });
    }
    tasks
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// A workload that is nothing but a service, which computes for ever.
fn spinning_service(at: usize) -> Workload {
    let mut workload = workload(
        &format!("{SERVICES}-{at}"),
        &waft_guests::path("service-p2"),
        Pool::default(),
    );
    workload.service = workload.components.pop().map(|part| Service {
        name: part.name,
        image: part.image,
        max_restarts: 0,
        resources: LocalResources {
            environment: [("MODE".to_owned(), "spin".to_owned())].into(),
            ..part.resources
        },
        limits: part.limits,
    });
    workload
}

async fn serve() -> Result<()> {
    let caches = std::env::temp_dir().join("waft-bench");
    std::fs::create_dir_all(&caches)?;
    let guests = waft_guests::path("hello-p2");
    let files = [guests.parent().context("a file in a folder")?.to_owned()];
    let rig = Rig::new(&caches, &files)?;
    let victim = [("victim", "hello-p2")];
    let bad = NEIGHBOURS.map(|(name, guest, ..)| (name, guest));
    let mut routes = Vec::new();
    for (name, guest) in victim.into_iter().chain(bad) {
        let image = waft_guests::path(guest);
        let id = rig.start(workload(name, &image, Pool::default()));
        rig.running_one(&id).await?;
        routes.push((format!("{name}.localhost"), id));
    }
    rig.route(routes);
    if std::env::args().nth(2).as_deref() == Some(SERVICES) {
        for at in 0..processors() {
            let id = rig.start(spinning_service(at));
            rig.running_one(&id).await?;
        }
    }
    println!("{}", rig.address);
    let mut nothing = tokio::io::empty();
    let _ = tokio::io::copy(&mut tokio::io::stdin(), &mut nothing).await;
    Ok(())
}
