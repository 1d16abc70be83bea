//! The embedded API server against the real one: kube-apiserver with its default flags, and etcd.
//!
//! ```text
//! tests/env/testenv install kube        # once
//! cargo run --release -p waft-bench-apiserver -- [--quick] [--folder FOLDER] [--only waft] [--operation NAME]
//! ```
//!
//! Both serve HTTPS and write to the same disk, and both make a write durable before they
//! acknowledge it. Five alternating runs; a median of each figure. Every answer is checked; one that
//! is wrong ends the run. The clients use a part of the same processors, which the ratios of
//! throughput hide and those of processor time don't.
#![forbid(unsafe_code)]

mod client;
mod large;
mod objects;
mod operations;
mod sides;

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, Result};
use waft_measure::report::{check_arguments, flag, median, option};

use crate::{
    operations::{Figure, OPERATIONS},
    sides::Side,
};

/// How much is done.
pub(crate) struct Extent {
    rounds: usize,
    /// How long reads and applies are repeated in a round.
    time: Duration,
    /// Objects that are created in a round.
    creates: u64,
    /// Changes that are watched in a round.
    changes: u64,
    /// Objects of the large store.
    large: u64,
}

const FULL: Extent = Extent {
    rounds: 5,
    time: Duration::from_secs(3),
    creates: 3000,
    changes: 300,
    large: 100_000,
};

const QUICK: Extent = Extent {
    rounds: 1,
    time: Duration::from_secs(1),
    creates: 1000,
    changes: 100,
    large: 10_000,
};

fn main() -> Result<()> {
    if let Some(folder) = option("serve") {
        return sides::serve(&PathBuf::from(folder));
    }
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(compare())
}

async fn compare() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    check_arguments(include_str!("main.rs"), &arguments)?;
    let extent = if flag("--quick") { QUICK } else { FULL };
    let folder = match option("--folder") {
        Some(folder) => tempfile::tempdir_in(folder)?,
        None => tempfile::tempdir()?,
    };
    sides::refuse_memory(folder.path())?;
    let mut sides = vec![Side::waft(&folder.path().join("waft"))?];
    if option("--only").as_deref() != Some("waft") {
        sides.push(Side::kube(&folder.path().join("kube"))?);
    }
    for side in &sides {
        operations::prepare(side).await?;
        println!("{}", side.memory("ready")?);
    }
    // By operation, then by side, the rounds.
    let mut figures = vec![vec![Vec::new(); sides.len()]; OPERATIONS.len()];
    let chosen = option("--operation");
    let chosen = |operation: &str| chosen.as_ref().is_none_or(|only| operation.contains(only));
    for round in 0..extent.rounds {
        let operations = OPERATIONS.iter().zip(&mut figures);
        for (operation, figures) in operations.filter(|(operation, _)| chosen(operation)) {
            for (side, figures) in sides.iter().zip(figures) {
                let figure = operations::run(side, operation, round, &extent).await;
                figures.push(figure.with_context(|| format!("{operation} of {}", side.name))?);
            }
        }
    }
    print(&sides, &figures);
    for side in &sides {
        println!("{}", side.memory("after the load")?);
    }
    if !chosen("large") {
        return Ok(());
    }
    for side in &sides {
        large::run(side, &extent).await?;
    }
    Ok(())
}

fn print(sides: &[Side], figures: &[Vec<Vec<Figure>>]) {
    println!();
    print!("| operation |");
    for side in sides {
        print!(" {0} a second | {0} CPU µs |", side.name);
    }
    println!(" throughput | CPU |");
    println!("|---|{}---|---|", "---|---|".repeat(sides.len()));
    let measured = OPERATIONS.iter().zip(figures);
    for (operation, figures) in measured.filter(|(_, figures)| !figures[0].is_empty()) {
        print!("| {operation} |");
        let middle = |of: fn(&Figure) -> f64| -> Vec<f64> {
            let sides = figures.iter();
            sides
                .map(|rounds| median(rounds.iter().map(of).collect()))
                .collect()
        };
        let (rates, costs) = (middle(Figure::per_second), middle(Figure::microseconds));
        for (rate, cost) in rates.iter().zip(&costs) {
            print!(" {rate:.0} | {cost:.0} |");
        }
        if let ([ours, theirs], [cost, their_cost]) = (&rates[..], &costs[..]) {
            print!(" {:.1} × | 1/{:.1} |", ours / theirs, their_cost / cost);
        }
        println!();
    }
    println!();
}
