//! The latency of a well-behaved workload at 1,000 requests a second, alone and beside others that
//! spin, take memory, trap, flood and write lines; and beside services that spin.
//!
//! ```text
//! cargo run --profile dist -p waft-benches -- neighbours [--quick] [--rate N]
//! ```
//!
//! The victim's requests are due at fixed times, and measured from then (open loop), in a process that
//! does nothing else: who calls the others runs in one of its own, so that what it takes is no latency of
//! the victim's client. All share the processors with the host.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};
use tokio::{runtime::Runtime, task::JoinSet};
use waft_ir::{LocalResources, Pool, Service, Workload};
use waft_measure::{
    process::Server,
    report::{flag, ms, option, quantile},
};

use crate::{
    client::{Client, Exchange, open_loop},
    host::{Rig, until_input_ends, workload},
};

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

/// The host, or who calls a bad neighbour.
///
/// # Errors
/// As [`run`].
pub(crate) fn act(runtime: &Runtime, role: &[&str]) -> Result<()> {
    match *role {
        ["host", ref services @ ..] => runtime.block_on(serve(!services.is_empty())),
        ["caller", name, address] => runtime.block_on(bother(name, address.parse()?)),
        _ => bail!("{role:?} is neither the host nor a caller"),
    }
}

/// Runs it.
///
/// # Errors
/// If something that it needs is missing, or an answer was wrong.
pub(crate) fn run(runtime: &Runtime) -> Result<()> {
    let seconds = Duration::from_secs(if flag("--quick") { 3 } else { 15 });
    let rate = option("--rate").map_or(Ok(1000), |text| text.parse())?;
    let mut server = Server::of_this_program(&["neighbours", "as", "host"])?;
    println!(
        "{:<12} {:>12} {:>12} {:>12}",
        "beside", "p50", "p99", "p99.9"
    );
    runtime.block_on(async {
        let called = NEIGHBOURS.map(|(name, ..)| name);
        for name in ["nobody"].into_iter().chain(called).chain([SERVICES]) {
            if name == SERVICES {
                server = Server::of_this_program(&["neighbours", "as", "host", SERVICES])?;
            }
            let address = server.address.to_string();
            let bad = called
                .contains(&name)
                .then(|| Server::of_this_program(&["neighbours", "as", "caller", name, &address]));
            let bad = bad.transpose()?;
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

/// Calls a bad neighbour again and again, until the program that wants it ends this process.
async fn bother(name: &str, address: SocketAddr) -> Result<()> {
    let known = NEIGHBOURS.into_iter().find(|(known, ..)| *known == name);
    let (_, _, path, callers, answer) = known.context("no such neighbour")?;
    let callers = match callers {
        0 => processors(),
        some => some,
    };
    let exchange = Arc::new(Exchange {
        path: path.into(),
        ..Exchange::get(&format!("{name}.localhost"), answer)
    });
    let mut tasks = JoinSet::new();
    for _ in 0..callers {
        let exchange = exchange.clone();
        tasks.spawn(async move {
            // Most answer with an error, and then come again on a new connection.
            while let Ok(mut client) = Client::connect(address).await {
                while client.exchange(&exchange).await.is_ok() {}
            }
        });
    }
    println!("{address}");
    until_input_ends().await;
    Ok(())
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

async fn serve(with_services: bool) -> Result<()> {
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
    if with_services {
        for at in 0..processors() {
            let id = rig.start(spinning_service(at));
            rig.running_one(&id).await?;
        }
    }
    println!("{}", rig.address);
    until_input_ends().await;
    Ok(())
}
