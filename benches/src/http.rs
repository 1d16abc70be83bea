//! Processor time per request of waft's host, of `wasmtime serve` and of a bare hyper handler, by
//! case and number of connections; medians of alternating runs.
//!
//! ```text
//! cargo run --profile dist -p waft-benches -- http [--quick] [--seconds N] [--runs N]
//!     [--only CASE] [--wasmtime PATH]
//! ```
//!
//! waft's host has every limit on and 1,000 routes loaded. `wasmtime` is the one in
//! `~/.cache/waft-bench/bin` or on the `PATH`, unless told otherwise; without one its columns are
//! missing. Processor time is user and system time of the server's process as the kernel counts it;
//! clients run in this process and don't count.

use std::{convert::Infallible, path::PathBuf, process::Command, time::Duration};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Response, body::Incoming, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::runtime::Runtime;
use waft_guests::Language;
use waft_ir::Pool;
use waft_measure::{
    process::Server,
    report::{flag, median, option, quantile},
};
use waft_servers::free_address;

use crate::{
    client::{Client, Exchange, closed_loop},
    host::{Rig, until_input_ends, workload},
};

const ROUTES: usize = 1000;
const HOST: &str = "bench.localhost";
const HELLO: &str = "Hello from Waft!\n";
/// More than any run sends.
const REUSE: u32 = 100_000;

/// What is asked of a server.
struct Case {
    name: &'static str,
    image: PathBuf,
    exchange: Exchange,
    is_p3: bool,
}

/// A server to compare, by the arguments that start it.
#[derive(Clone, Copy, Debug)]
enum Subject {
    Waft(Pool),
    /// With `--max-instance-reuse-count`, if it is more than 0.
    Wasmtime(u32),
    Hyper,
}

/// A server: waft's host with an image, or bare hyper.
///
/// # Errors
/// As [`run`].
pub(crate) fn act(runtime: &Runtime, role: &[&str]) -> Result<()> {
    match *role {
        ["waft", image, size, concurrency] => {
            let pool = Pool {
                size: size.parse()?,
                max_concurrency: concurrency.parse()?,
                ..Pool::default()
            };
            runtime.block_on(serve_waft(image.into(), pool))
        }
        ["hyper"] => runtime.block_on(serve_hyper()),
        _ => bail!("{role:?} is no server"),
    }
}

/// Runs it.
///
/// # Errors
/// If something that it needs is missing, or an answer was wrong.
pub(crate) fn run(runtime: &Runtime) -> Result<()> {
    let quick = flag("--quick");
    let number = |name, default| option(name).map_or(Ok(default), |text| text.parse::<u64>());
    let seconds = number("--seconds", if quick { 2 } else { 5 })?;
    let runs = number("--runs", if quick { 1 } else { 5 })?;
    let connections: &[usize] = if quick { &[32] } else { &[1, 32, 256] };
    let only = option("--only");
    let wasmtime = wasmtime();
    println!(
        "load average {}",
        std::fs::read_to_string("/proc/loadavg")?.trim()
    );
    match &wasmtime {
        Some(path) => println!("{}", version(path)?),
        None => println!("no wasmtime: its columns are missing"),
    }
    println!(
        "{:<10} {:>5} {:<34} {:>9} {:>9} {:>9} {:>9}",
        "case", "conn", "server", "cpu µs", "req/s", "p50 µs", "p99 µs"
    );
    for case in cases()? {
        if only.as_ref().is_some_and(|only| only != case.name) {
            continue;
        }
        let subjects = subjects(&case, wasmtime.is_some());
        for &connections in connections {
            let mut results = vec![[const { Vec::new() }; 4]; subjects.len()];
            for _ in 0..runs {
                for (subject, result) in subjects.iter().zip(&mut results) {
                    let time = Duration::from_secs(seconds);
                    let measured = measure(
                        runtime,
                        &case,
                        *subject,
                        wasmtime.as_ref(),
                        connections,
                        time,
                    );
                    let measured =
                        measured.with_context(|| format!("{} {subject:?}: void", case.name))?;
                    for (values, value) in result.iter_mut().zip(measured) {
                        values.push(value);
                    }
                }
            }
            for (subject, result) in subjects.iter().zip(results) {
                let [cpu, rate, p50, p99] = result.map(median);
                println!(
                    "{:<10} {connections:>5} {:<34} {cpu:>9.1} {rate:>9.0} {p50:>9.0} {p99:>9.0}",
                    case.name,
                    subject.name(&case)
                );
            }
        }
    }
    Ok(())
}

/// CPU µs per request, requests per second, and two quantiles of the latency in µs.
fn measure(
    runtime: &Runtime,
    case: &Case,
    subject: Subject,
    wasmtime: Option<&PathBuf>,
    connections: usize,
    time: Duration,
) -> Result<[f64; 4]> {
    let server = subject.start(case, wasmtime)?;
    runtime.block_on(async {
        // Warms up, and waits for routes.
        let give_up = std::time::Instant::now() + Duration::from_secs(60);
        loop {
            let tried = async {
                Client::connect(server.address)
                    .await?
                    .exchange(&case.exchange)
                    .await
            };
            match tried.await {
                Ok(()) => break,
                Err(error) if std::time::Instant::now() > give_up => return Err(error),
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
        closed_loop(server.address, &case.exchange, connections, time / 5).await?;
        let before = server.cpu()?;
        let mut load = closed_loop(server.address, &case.exchange, connections, time).await?;
        let used = server.cpu()? - before;
        let answers = load.answers as f64;
        let micros = |time: Duration| time.as_secs_f64() * 1e6;
        Ok([
            micros(used) / answers,
            answers / load.took.as_secs_f64(),
            micros(quantile(&mut load.latencies, 0.5)),
            micros(quantile(&mut load.latencies, 0.99)),
        ])
    })
}

fn cases() -> Result<Vec<Case>> {
    let large: Bytes = (0..1 << 20)
        .map(|at: u32| (at % 251) as u8)
        .collect::<Vec<u8>>()
        .into();
    let echo = Exchange {
        host: HOST.into(),
        path: "/".into(),
        body: large.clone(),
        expected: large,
    };
    let case = |name, guest, exchange: &Exchange, is_p3| Case {
        name,
        image: waft_guests::path(guest),
        exchange: exchange.clone(),
        is_p3,
    };
    let hello = Exchange::get(HOST, HELLO);
    let hello_p3 = Exchange::get(HOST, "Hello from Waft, by WASI 0.3!\n");
    let mut cases = vec![
        case("hello-p2", "hello-p2", &hello, false),
        case("hello-p3", "hello-p3", &hello_p3, true),
        case("echo-1mib", "echo-p2", &echo, false),
    ];
    if let Some(image) = waft_guests::foreign(Language::JavaScript) {
        cases.push(Case {
            name: "javascript",
            image,
            exchange: Exchange::get(HOST, "Hello from JavaScript! /\n"),
            is_p3: false,
        });
    }
    Ok(cases)
}

fn subjects(case: &Case, with_wasmtime: bool) -> Vec<Subject> {
    let pool = |size, max_concurrency| {
        Subject::Waft(Pool {
            size,
            max_concurrency,
            ..Pool::default()
        })
    };
    let mut subjects = vec![pool(0, 1), pool(256, 1)];
    if case.is_p3 {
        // As many calls an instance as `wasmtime serve` gives one.
        subjects.push(pool(16, 16));
    }
    if with_wasmtime {
        let counts: &[u32] = if case.is_p3 {
            &[0, 1, REUSE]
        } else {
            &[0, REUSE]
        };
        subjects.extend(counts.iter().map(|count| Subject::Wasmtime(*count)));
    }
    if case.exchange.expected == HELLO {
        subjects.push(Subject::Hyper);
    }
    subjects
}

impl Subject {
    fn name(self, case: &Case) -> String {
        match self {
            Self::Waft(pool) if pool.size == 0 => "waft, fresh instances".into(),
            Self::Waft(pool) if case.is_p3 => {
                format!(
                    "waft, poolSize {}, concurrency {}",
                    pool.size, pool.max_concurrency
                )
            }
            Self::Waft(pool) => format!("waft, poolSize {}", pool.size),
            Self::Wasmtime(0) => "wasmtime serve".into(),
            Self::Wasmtime(count) => format!("wasmtime serve, reuse {count}"),
            Self::Hyper => "bare hyper".into(),
        }
    }

    fn start(self, case: &Case, wasmtime: Option<&PathBuf>) -> Result<Server> {
        let image = case.image.to_str().context("a path of UTF-8")?;
        match self {
            Self::Waft(pool) => Server::of_this_program(&[
                "http",
                "as",
                "waft",
                image,
                &pool.size.to_string(),
                &pool.max_concurrency.to_string(),
            ]),
            Self::Hyper => Server::of_this_program(&["http", "as", "hyper"]),
            Self::Wasmtime(count) => {
                let address = free_address();
                let mut command = Command::new(wasmtime.context("no wasmtime")?);
                command.args(["serve", "-S", "cli", "--addr", &address.to_string()]);
                if count > 0 {
                    command.args(["--max-instance-reuse-count", &count.to_string()]);
                }
                command.arg(image);
                Server::of(command, address)
            }
        }
    }
}

fn wasmtime() -> Option<PathBuf> {
    if let Some(path) = option("--wasmtime") {
        return Some(path.into());
    }
    let home = PathBuf::from(std::env::var_os("HOME")?);
    let installed = home.join(".cache/waft-bench/bin/wasmtime");
    if installed.is_file() {
        return Some(installed);
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join("wasmtime"))
        .find(|program| program.is_file())
}

fn version(program: &PathBuf) -> Result<String> {
    let output = Command::new(program).arg("--version").output()?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().into())
}

async fn serve_waft(image: PathBuf, pool: Pool) -> Result<()> {
    // Kept between runs: what is compiled once is loaded from there.
    let caches = std::env::temp_dir().join("waft-bench");
    std::fs::create_dir_all(&caches)?;
    let files = [image.parent().context("a file in a folder")?.to_owned()];
    let rig = Rig::new(&caches, &files)?;
    let id = rig.start(workload("bench", &image, pool));
    rig.running(1).await?;
    let others = (1..ROUTES).map(|at| format!("route-{at}.localhost"));
    rig.route(others.chain([HOST.into()]).map(|host| (host, id.clone())));
    println!("{}", rig.address);
    until_input_ends().await;
    Ok(())
}

async fn serve_hyper() -> Result<()> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    tokio::spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                return;
            };
            let _ = stream.set_nodelay(true);
            let answer = service_fn(async |_: hyper::Request<Incoming>| {
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(
                    HELLO.as_bytes(),
                ))))
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), answer);
            tokio::spawn(connection);
        }
    });
    until_input_ends().await;
    Ok(())
}
