//! A call from one component to another of its workload, against requests over HTTP between the
//! same two: within the process, as between workloads of one host, and over TCP on the machine's
//! loopback, as to a workload of another host. And a list of 1 MiB against a copy in memory.
//!
//! ```text
//! cargo run --profile dist -p waft-benches -- linked [--quick]
//! ```
//!
//! The component takes the time itself. Both hosts are in this process, and connections are kept, so
//! that the request over TCP is the cheapest that leaves a host.

use anyhow::Result;
use waft_ir::{Pool, Workload};
use waft_measure::report::{flag, median};

use crate::{
    client::text,
    host::{Rig, component, grant, workload},
};

const HOST: &str = "measure.localhost";
const OTHER: &str = "hop.localhost";
/// The machine, as its components call it.
const MACHINE: &str = "host.wasmcloud.internal";
const MIB: f64 = (1 << 20) as f64;

/// Runs it.
///
/// # Errors
/// If something that it needs is missing, or an answer was wrong.
pub(crate) async fn run() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let image = waft_guests::path("measure-p2");
    let files = [image.parent().unwrap_or(&image).to_owned()];
    let (near, far) = (folder.path().join("near"), folder.path().join("far"));
    std::fs::create_dir(&near)?;
    std::fs::create_dir(&far)?;
    let (rig, peer) = (Rig::new(&near, &files)?, Rig::new(&far, &files)?);
    let port = peer.address.port();
    let away = peer.start(pair("away", port)?);
    let (here, there) = (
        rig.start(pair("here", port)?),
        rig.start(pair("there", port)?),
    );
    rig.running(2).await?;
    peer.running(1).await?;
    // Only the other host knows the name, so that a request for it leaves this one.
    peer.route([(MACHINE.into(), away)]);
    rig.route([(HOST.into(), here), (OTHER.into(), there)]);
    let scale = if flag("--quick") { 10 } else { 1 };
    let (calls, hops, lists) = (200_000 / scale, 5_000 / scale, 1_000 / scale);
    let each = async |path: String, count: usize| -> Result<f64> {
        let nanoseconds: f64 = text(rig.address, HOST, &path).await?.parse()?;
        Ok(nanoseconds / count as f64)
    };
    let mut all: [Vec<f64>; 5] = Default::default();
    for _ in 0..5 {
        all[0].push(each(format!("/linked?{calls}"), calls).await?);
        all[1].push(each(format!("/hop?{hops}&{OTHER}"), hops).await?);
        all[2].push(each(format!("/list?{lists}"), lists).await?);
        all[3].push(each(format!("/copy?{lists}"), lists).await?);
        let over_tcp = format!("/hop?{hops}&{MACHINE}:{port}");
        all[4].push(each(over_tcp, hops).await?);
    }
    let [linked, hop, list, copy, tcp] = all.map(median);
    println!("medians of 5, alternating");
    println!("a linked call, small record   {linked:>10.0} ns");
    println!(
        "HTTP within the process       {hop:>10.0} ns   {:.0} ×",
        hop / linked
    );
    println!(
        "HTTP over TCP to another host {tcp:>10.0} ns   {:.0} ×",
        tcp / linked
    );
    println!("a list of 1 MiB               {:>10.2} GB/s", MIB / list);
    println!(
        "a copy of 1 MiB               {:>10.2} GB/s   {:.2} of it",
        MIB / copy,
        copy / list
    );
    Ok(())
}

/// The component that measures and the one that it calls. It may ask the other workload, and what
/// listens on a port of the machine.
fn pair(name: &str, port: u16) -> Result<Workload> {
    let pool = Pool {
        size: 1,
        ..Pool::default()
    };
    let mut pair = workload(name, &waft_guests::path("measure-p2"), pool);
    let resources = &mut pair.components[0].resources;
    resources.allowed_hosts = vec![OTHER.into(), MACHINE.into()];
    resources.allowed_loopback_ports = vec![port.to_string()];
    pair.components
        .push(component("records", "records-p2", pool));
    pair.grants = vec![grant(
        "wasi:keyvalue@0.2.0-draft",
        &[("backend", "in-memory")],
    )?];
    Ok(pair)
}
