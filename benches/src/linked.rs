//! A call from one component to another of its workload, against requests over HTTP between the
//! same two: within the process, as between workloads of one host, and over TCP on the machine's
//! loopback, as to a workload of another host. And lists of bytes against copies in
//! memory.
//!
//! ```text
//! cargo run --profile dist -p waft-benches -- linked [--quick]
//! ```
//!
//! The component takes the time itself. Both hosts are in this process, and connections are kept, so
//! that the request over TCP is the cheapest that leaves a host.

use anyhow::{Result, bail};
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
/// Bytes of the lists, and how many times fewer calls are made with them.
const LENGTHS: [(u32, u32); 5] = [(16, 1), (100, 1), (1000, 1), (65_536, 20), (1 << 20, 200)];
/// What is done with each, as its path and in words; the copy comes last.
const WAYS: [(&str, &str); 4] = [
    ("list", "taken"),
    ("odd", "at an odd address"),
    ("given", "given"),
    ("copy", "copied"),
];

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
    let (calls, hops) = (200_000_u32 / scale, 5_000 / scale);
    let away = format!("{MACHINE}:{port}");
    // What the component does so many times, and whom it asks.
    let kinds = [
        ("linked", calls, ""),
        ("hop", hops, OTHER),
        ("hop", hops, away.as_str()),
        ("linked-point", calls, ""),
        ("hop-point", hops, away.as_str()),
    ];
    let lengths = LENGTHS.map(|(length, share)| (length.to_string(), calls / share));
    let with_lists = lengths
        .iter()
        .flat_map(|(length, count)| WAYS.map(|(what, _)| (what, *count, length.as_str())));
    let kinds: Vec<_> = kinds.into_iter().chain(with_lists).collect();
    let mut all = vec![Vec::new(); kinds.len()];
    for _ in 0..5 {
        for ((what, count, whom), times) in kinds.iter().zip(&mut all) {
            let path = format!("/{what}?{count}&{whom}");
            let nanoseconds: f64 = text(rig.address, HOST, &path).await?.parse()?;
            times.push(nanoseconds / f64::from(*count));
        }
    }
    let all: Vec<_> = all.into_iter().map(median).collect();
    let [linked, inside, tcp, point, point_tcp, ref lists @ ..] = *all else {
        bail!("there are five kinds of calls");
    };
    let told = |what: &str, nanoseconds: f64, of: f64| {
        println!(
            "{what:<32} {nanoseconds:>9.0} ns   {:.0} ×",
            nanoseconds / of
        );
    };
    println!("medians of 5, alternating");
    told("a linked call, with strings", linked, linked);
    told("HTTP within the process", inside, linked);
    told("HTTP over TCP to another host", tcp, linked);
    told("a linked call, numbers only", point, point);
    told("HTTP over TCP to another host", point_tcp, point);
    for ((length, _), times) in LENGTHS.into_iter().zip(lists.chunks(WAYS.len())) {
        let copy = times.last().copied().unwrap_or_default();
        for ((_, what), took) in WAYS.into_iter().zip(times) {
            println!(
                "{:<32} {took:>9.0} ns   {:>6.2} GB/s   {:.2} of the copy",
                format!("{length} bytes, {what}"),
                f64::from(length) / took,
                copy / took
            );
        }
    }
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
