//! Idle workloads on one host, driven through its `HostLink`: how long they take to start, what
//! each holds, and how long a random one takes to its first response.
//!
//! ```text
//! cargo run --profile dist -p waft-benches -- density [--quick]
//! ```

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use tokio::runtime::Runtime;
use waft_ir::Pool;
use waft_measure::{
    process::held,
    report::{flag, ms, quantile},
};

use crate::{
    client::{Client, Exchange, text},
    host::{Rig, workload},
};

/// First requests that are measured.
const SAMPLES: usize = 200;

/// Measures so many workloads of so many images.
///
/// # Errors
/// As [`run`].
pub(crate) fn act(runtime: &Runtime, role: &[&str]) -> Result<()> {
    let [count, images] = role else {
        bail!("{role:?} is no number of workloads and one of images");
    };
    runtime.block_on(measure(count.parse()?, images.parse()?))
}

/// Runs it.
///
/// # Errors
/// If something that it needs is missing, or an answer was wrong.
pub(crate) fn run(_: &Runtime) -> Result<()> {
    let counts: &[u32] = if flag("--quick") {
        &[1000]
    } else {
        &[1000, 10_000]
    };
    for count in counts {
        for images in [1, 100] {
            // A process each: what one allocated is not the next one's.
            let own = std::env::current_exe()?;
            let status = std::process::Command::new(own)
                .args(["density", "as", &count.to_string(), &images.to_string()])
                .status()?;
            anyhow::ensure!(status.success(), "{count} workloads: {status}");
        }
    }
    Ok(())
}

async fn measure(count: usize, images: usize) -> Result<()> {
    let caches = std::env::temp_dir().join("waft-bench-density");
    let folder = tempfile::tempdir()?;
    std::fs::create_dir_all(&caches)?;
    let images = copies(folder.path(), images)?;
    let rig = Rig::new(&caches, &[folder.path().to_owned()])?;
    // Compiles what is not cached, and makes what is made once.
    for (at, image) in images.iter().enumerate() {
        let id = rig.start(workload(&format!("warm-{at}"), image, Pool::default()));
        rig.running_one(&id).await?;
        rig.stop(&id);
    }
    rig.running(0).await?;

    let me = std::process::id();
    let before = held(me)?;
    let began = Instant::now();
    let mut ids = Vec::new();
    for at in 0..count {
        let image = &images[at % images.len()];
        ids.push(rig.start(workload(&format!("w{at}"), image, Pool::default())));
    }
    rig.running(count).await?;
    let took = began.elapsed();
    let after = held(me)?;
    let hosts = ids.iter().enumerate();
    rig.route(hosts.map(|(at, id)| (format!("w{at}.localhost"), id.clone())));

    // The host takes the routes in by itself. This one is not among those that are measured.
    let routed = async {
        while text(rig.address, "w1.localhost", "/").await.is_err() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), routed).await?;

    let mut client = Client::connect(rig.address).await?;
    let mut times = Vec::new();
    for sample in 0..SAMPLES {
        // A step without a common divisor visits them in an order without a pattern.
        let at = sample * 7919 % count;
        let exchange = Exchange::get(&format!("w{at}.localhost"), "Hello from Waft!\n");
        let sent = Instant::now();
        client.exchange(&exchange).await?;
        times.push(sent.elapsed());
    }
    println!(
        "{count} workloads of {} images: started in {}, {:.1} KiB each, {} threads, {} files and {} \
         mappings more; first response p50 {}, p99 {}",
        images.len(),
        ms(took),
        after.resident.saturating_sub(before.resident) as f64 / 1024.0 / count as f64,
        after.threads.saturating_sub(before.threads),
        after.files.saturating_sub(before.files),
        after.mappings.saturating_sub(before.mappings),
        ms(quantile(&mut times, 0.5)),
        ms(quantile(&mut times, 0.99)),
    );
    Ok(())
}

/// So many components that do the same and are not the same bytes.
fn copies(folder: &Path, count: usize) -> Result<Vec<PathBuf>> {
    let copies = (0..count).map(|at| {
        let path = folder.join(format!("{at}.wasm"));
        std::fs::write(&path, waft_guests::with_image_name(&format!("copy-{at}")))?;
        Ok(path)
    });
    copies.collect()
}
