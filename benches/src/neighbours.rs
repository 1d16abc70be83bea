//! The latency of a well-behaved workload at 1,000 requests a second, alone and beside others that
//! spin, take memory, trap, flood (over many connections, and over one of HTTP/2) and write lines; and beside
//! services that spin.
//!
//! ```text
//! cargo run --profile dist -p waft-benches -- neighbours [--quick] [--rate N] [--only NEIGHBOUR]
//! ```
//!
//! The victim's requests are due at fixed times, and measured from then (open loop), in a process of their
//! own, which goes before all others where the kernel allows it: what a client waits for a processor is no
//! latency of the host's. Who calls the others runs in another one. All share the processors with the host.

use std::{
    net::SocketAddr,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
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
const NEIGHBOURS: [(&str, &str, &str, usize, &str); 6] = [
    ("spinning", "spin-p2", "/", 0, ""),
    ("allocating", "grow-p2", "/", 4, ""),
    ("trapping", "trap-p2", "/now", 4, ""),
    ("flooding", "hello-p2", "/", 64, "Hello from Waft!\n"),
    (STREAMS, "hello-p2", "/", 128, "Hello from Waft!\n"),
    ("logging", "hello-p2", "/log?spam-spam-spam", 8, "logged\n"),
];
/// The one that is called over a single connection of HTTP/2.
const STREAMS: &str = "streams";
/// Beside services that compute for ever, one a processor. They have a server of their own, since nobody
/// has to call them.
const SERVICES: &str = "services";
/// The well-behaved one.
const VICTIM: &str = "victim";
/// Arguments of `chrt` for a program that goes before all others.
const URGENT: [&str; 2] = ["--fifo", "1"];

/// The host, the victim's client, or who calls a bad neighbour.
///
/// # Errors
/// As [`run`].
pub(crate) fn act(runtime: &Runtime, role: &[&str]) -> Result<()> {
    match *role {
        ["host", ref services @ ..] => runtime.block_on(serve(!services.is_empty())),
        ["caller", name, address] => runtime.block_on(bother(name, address.parse()?)),
        [VICTIM, address, rate, seconds] => {
            let (rate, time) = (rate.parse()?, Duration::from_secs(seconds.parse()?));
            runtime.block_on(visit(address.parse()?, rate, time))
        }
        _ => bail!("{role:?} is no role"),
    }
}

/// Runs it.
///
/// # Errors
/// If something that it needs is missing, or an answer was wrong.
pub(crate) fn run() -> Result<()> {
    let seconds = if flag("--quick") { "3" } else { "15" };
    let rate = option("--rate").unwrap_or_else(|| "1000".into());
    let only = option("--only");
    let called = NEIGHBOURS.map(|(name, ..)| name);
    let mut names: Vec<_> = ["nobody"]
        .into_iter()
        .chain(called)
        .chain([SERVICES])
        .collect();
    names.retain(|name| only.as_deref().is_none_or(|only| only == *name));
    let only = only.unwrap_or_default();
    ensure!(!names.is_empty(), "no neighbour is called `{only}`");
    let is_urgent = can_be_urgent();
    if !is_urgent {
        println!("the kernel lets no client go first (chrt): latencies include its waiting");
    }
    let mut server = Server::of_this_program(&["neighbours", "as", "host"])?;
    println!(
        "{:<12} {:>12} {:>12} {:>12}",
        "beside", "p50", "p99", "p99.9"
    );
    for name in names {
        if name == SERVICES {
            server = Server::of_this_program(&["neighbours", "as", "host", SERVICES])?;
        }
        let address = server.address.to_string();
        let bad = called
            .contains(&name)
            .then(|| Server::of_this_program(&["neighbours", "as", "caller", name, &address]));
        let bad = bad.transpose()?;
        let role = ["neighbours", "as", VICTIM, &address, &rate, seconds];
        let latencies = output_of_this_program(&role, is_urgent)?;
        drop(bad);
        print!("{name:<12} {latencies}");
        // What was begun for callers that left has to end first.
        std::thread::sleep(Duration::from_millis(300));
    }
    Ok(())
}

/// Whether a process may go before all others.
fn can_be_urgent() -> bool {
    let tried = Command::new("chrt")
        .args(URGENT)
        .arg("true")
        .stderr(Stdio::null())
        .status();
    tried.is_ok_and(|status| status.success())
}

/// What this program prints in a role.
fn output_of_this_program(role: &[&str], is_urgent: bool) -> Result<String> {
    let program = std::env::current_exe()?;
    let mut command = Command::new(&program);
    if is_urgent {
        command = Command::new("chrt");
        command.args(URGENT).arg(&program);
    }
    let output = command.args(role).stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "{role:?}: {}", output.status);
    Ok(String::from_utf8(output.stdout)?)
}

/// Calls the victim, and prints how long that took.
async fn visit(address: SocketAddr, rate: u32, time: Duration) -> Result<()> {
    let exchange = Exchange::get(&format!("{VICTIM}.localhost"), "Hello from Waft!\n");
    let mut load = open_loop(address, &exchange, rate, time).await?;
    let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|part| ms(quantile(&mut load.latencies, part)));
    println!("{p50:>12} {p99:>12} {p999:>12}");
    Ok(())
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
    if name == STREAMS {
        for mut client in Client::connect_streams(address, callers).await? {
            let exchange = exchange.clone();
            tasks.spawn(async move {
                let error = loop {
                    if let Err(error) = client.exchange(&exchange).await {
                        break error;
                    }
                };
                // Without it there is no flood.
                eprintln!("{STREAMS}: {error:#}");
            });
        }
    }
    for _ in tasks.len()..callers {
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
    let victim = [(VICTIM, "hello-p2")];
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
