//! From the command that starts a workload to its first response: with its component compiled, and
//! with its code in the cache on disk or in memory.
//!
//! ```text
//! cargo run --profile dist -p waft-benches -- cold-start [--runs N]
//! ```

use std::{path::Path, time::Instant};

use anyhow::Result;
use waft_ir::Pool;
use waft_measure::report::{median, option};

use crate::{
    client::{Client, Exchange},
    host::{Rig, workload},
};

const HOST: &str = "bench.localhost";

/// Milliseconds until the workload runs, and until it has answered.
struct Times {
    running: f64,
    answered: f64,
}

/// Runs it.
///
/// # Errors
/// If something that it needs is missing, or an answer was wrong.
pub(crate) async fn run() -> Result<()> {
    let runs = option("--runs").map_or(Ok(10), |text| text.parse::<usize>())?;
    println!("medians of {runs}, in ms, from the start command");
    println!(
        "{:<10} {:<28} {:>9} {:>9}",
        "guest", "", "running", "answered"
    );
    for (guest, answer) in [
        ("hello-p2", "Hello from Waft!\n"),
        ("hello-p3", "Hello from Waft, by WASI 0.3!\n"),
    ] {
        let image = waft_guests::path(guest);
        let mut all: [Vec<Times>; 3] = Default::default();
        for _ in 0..runs {
            let folder = tempfile::tempdir()?;
            let files = [image.parent().unwrap_or(Path::new("/")).to_owned()];
            for times in &mut all[..2] {
                // A new engine: it finds on disk what the one before it compiled.
                let rig = Rig::new(folder.path(), &files)?;
                times.push(start(&rig, "first", &image, answer).await?);
            }
            let rig = Rig::new(folder.path(), &files)?;
            start(&rig, "first", &image, answer).await?;
            all[2].push(start(&rig, "second", &image, answer).await?);
        }
        let names = ["compiled", "cached on disk", "used by another workload"];
        for (name, times) in names.iter().zip(all) {
            let (running, answered): (Vec<_>, Vec<_>) =
                times.into_iter().map(|t| (t.running, t.answered)).unzip();
            println!(
                "{guest:<10} {name:<28} {:>9.2} {:>9.2}",
                median(running),
                median(answered)
            );
        }
    }
    Ok(())
}

async fn start(rig: &Rig, name: &str, image: &Path, answer: &'static str) -> Result<Times> {
    let exchange = Exchange::get(HOST, answer);
    let mut client = Client::connect(rig.address).await?;
    let workload = workload(name, image, Pool::default());
    rig.route([(HOST.into(), workload.id.clone())]);
    let began = Instant::now();
    let id = rig.start(workload);
    rig.running_one(&id).await?;
    let running = began.elapsed();
    client.exchange(&exchange).await?;
    let answered = began.elapsed();
    Ok(Times {
        running: running.as_secs_f64() * 1e3,
        answered: answered.as_secs_f64() * 1e3,
    })
}
