//! A read of `wasi:keyvalue` in memory, against the cheapest call of a host interface that there is.
//!
//! ```text
//! cargo run --profile dist -p waft-benches -- keyvalue [--quick]
//! ```

use anyhow::Result;
use waft_ir::Pool;
use waft_measure::report::{flag, median};

use crate::{
    client::text,
    host::{Rig, component, grant, workload},
};

const HOST: &str = "measure.localhost";

/// Runs it.
///
/// # Errors
/// If something that it needs is missing, or an answer was wrong.
pub(crate) async fn run() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let image = waft_guests::path("measure-p2");
    let files = [image.parent().unwrap_or(&image).to_owned()];
    let rig = Rig::new(folder.path(), &files)?;
    let pool = Pool {
        size: 1,
        ..Pool::default()
    };
    let mut measured = workload("measure", &image, pool);
    measured
        .components
        .push(component("records", "records-p2", pool));
    measured.grants = vec![grant(
        "wasi:keyvalue@0.2.0-draft",
        &[("backend", "in-memory")],
    )?];
    let id = rig.start(measured);
    rig.running_one(&id).await?;
    rig.route([(HOST.into(), id)]);
    let count = if flag("--quick") { 50_000 } else { 500_000 };
    let mut all: [Vec<f64>; 2] = Default::default();
    for _ in 0..5 {
        for (path, times) in ["/get", "/floor"].iter().zip(&mut all) {
            let took = text(rig.address, HOST, &format!("{path}?{count}")).await?;
            times.push(took.parse::<f64>()? / f64::from(count));
        }
    }
    let [get, floor] = all.map(median);
    println!("medians of 5, alternating");
    println!("get of a small value, in memory   {get:>8.0} ns");
    println!("the cheapest host call            {floor:>8.0} ns");
    println!(
        "between them                      {:>8.2} µs",
        (get - floor) / 1000.0
    );
    Ok(())
}
