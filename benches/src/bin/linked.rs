//! A call from one component to another of its workload, against a request over HTTP between the
//! same two; and a list of 1 MiB against a copy in memory.
//!
//! ```text
//! cargo run --release -p waft-benches --bin linked -- [--quick]
//! ```
//!
//! The component takes the time itself. The request stays in the process, as those between
//! workloads do, so that it is the cheapest there is.
#![forbid(unsafe_code)]

use anyhow::Result;
use waft_benches::{
    client::text,
    host::{Rig, component, grant, workload},
    report::{check_arguments, flag, median},
};
use waft_ir::{Pool, Workload};

const HOST: &str = "measure.localhost";
const OTHER: &str = "hop.localhost";
const MIB: f64 = (1 << 20) as f64;

#[tokio::main]
async fn main() -> Result<()> {
    check_arguments(include_str!("linked.rs"))?;
    let folder = tempfile::tempdir()?;
    let image = waft_guests::path("measure-p2");
    let files = [image.parent().unwrap_or(&image).to_owned()];
    let rig = Rig::new(folder.path(), &files)?;
    let (here, there) = (rig.start(pair("here")?), rig.start(pair("there")?));
    rig.running(2).await?;
    rig.route([(HOST.into(), here), (OTHER.into(), there)]);
    let scale = if flag("--quick") { 10 } else { 1 };
    let (calls, hops, lists) = (200_000 / scale, 5_000 / scale, 1_000 / scale);
    let each = async |path: String, count: usize| -> Result<f64> {
        let nanoseconds: f64 = text(rig.address, HOST, &path).await?.parse()?;
        Ok(nanoseconds / count as f64)
    };
    let mut all: [Vec<f64>; 4] = Default::default();
    for _ in 0..5 {
        all[0].push(each(format!("/linked?{calls}"), calls).await?);
        all[1].push(each(format!("/hop?{hops}&{OTHER}"), hops).await?);
        all[2].push(each(format!("/list?{lists}"), lists).await?);
        all[3].push(each(format!("/copy?{lists}"), lists).await?);
    }
    let [linked, hop, list, copy] = all.map(median);
    println!("medians of 5, alternating");
    println!("a linked call, small record   {linked:>10.0} ns");
    println!(
        "the same by HTTP              {hop:>10.0} ns   {:.0} ×",
        hop / linked
    );
    println!("a list of 1 MiB               {:>10.2} GB/s", MIB / list);
    println!(
        "a copy of 1 MiB               {:>10.2} GB/s   {:.2} of it",
        MIB / copy,
        copy / list
    );
    Ok(())
}

/// The component that measures and the one that it calls.
fn pair(name: &str) -> Result<Workload> {
    let pool = Pool {
        size: 1,
        ..Pool::default()
    };
    let mut pair = workload(name, &waft_guests::path("measure-p2"), pool);
    pair.components[0].resources.allowed_hosts = vec![OTHER.into()];
    pair.components
        .push(component("records", "records-p2", pool));
    pair.grants = vec![grant(
        "wasi:keyvalue@0.2.0-draft",
        &[("backend", "in-memory")],
    )?];
    Ok(pair)
}
