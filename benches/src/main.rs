//! The benchmarks of Waft, one program: optimised as a whole, as what is measured is when it runs for long
//! (`--profile dist`), it would take as many times as long to link as there were programs.
//!
//! ```text
//! cargo run --profile dist -p waft-benches -- NAME [ARGUMENTS]
//! ```
//!
//! Nothing here asserts a time. A run with one wrong answer is void.

#![forbid(unsafe_code)]

mod client;
mod cold_start;
mod density;
mod density_up;
mod first_response;
mod host;
mod http;
mod keyvalue;
mod linked;
mod messaging;
mod neighbours;
mod soak;
mod waft;

use anyhow::{Result, bail};
use tokio::runtime::Runtime;
use waft_measure::report::check_arguments;

/// As of the `waft` program.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// What can be measured.
struct Benchmark {
    name: &'static str,
    /// Its source, whose head is its usage.
    source: &'static str,
    run: fn(&Runtime) -> Result<()>,
    /// What it does in processes of its own, which are started with `NAME as ROLE`.
    act: fn(&Runtime, &[&str]) -> Result<()>,
}

/// By what is called first, everything else second.
const BENCHMARKS: [Benchmark; 10] = [
    Benchmark {
        name: "http",
        source: include_str!("http.rs"),
        run: http::run,
        act: http::act,
    },
    alone("cold-start", include_str!("cold_start.rs"), |runtime| {
        runtime.block_on(cold_start::run())
    }),
    Benchmark {
        name: "density",
        source: include_str!("density.rs"),
        run: density::run,
        act: density::act,
    },
    alone("density-up", include_str!("density_up.rs"), density_up::run),
    Benchmark {
        name: "neighbours",
        source: include_str!("neighbours.rs"),
        run: |_| neighbours::run(),
        act: neighbours::act,
    },
    alone("linked", include_str!("linked.rs"), |runtime| {
        runtime.block_on(linked::run())
    }),
    alone("keyvalue", include_str!("keyvalue.rs"), |runtime| {
        runtime.block_on(keyvalue::run())
    }),
    alone("messaging", include_str!("messaging.rs"), |runtime| {
        runtime.block_on(messaging::run())
    }),
    alone("soak", include_str!("soak.rs"), |runtime| {
        runtime.block_on(soak::run())
    }),
    alone("first-response", include_str!("first_response.rs"), |_| {
        first_response::run()
    }),
];

/// One that is a single process.
const fn alone(
    name: &'static str,
    source: &'static str,
    run: fn(&Runtime) -> Result<()>,
) -> Benchmark {
    Benchmark {
        name,
        source,
        run,
        act: has_no_role,
    }
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let name = arguments.first().map_or("", String::as_str);
    let Some(benchmark) = BENCHMARKS.iter().find(|one| one.name == name) else {
        let names: Vec<_> = BENCHMARKS.iter().map(|one| one.name).collect();
        bail!("`{name}` is none of {}", names.join(", "));
    };
    let runtime = Runtime::new()?;
    let rest: Vec<&str> = arguments[1..].iter().map(String::as_str).collect();
    if let Some(("as", role)) = rest.split_first().map(|(first, role)| (*first, role)) {
        return (benchmark.act)(&runtime, role);
    }
    check_arguments(benchmark.source, &rest)?;
    (benchmark.run)(&runtime)
}

fn has_no_role(_: &Runtime, role: &[&str]) -> Result<()> {
    bail!("{role:?} is no role of it")
}
