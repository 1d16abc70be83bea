//! Idle workloads of a whole `waft up`, with all their API objects: how long until all are ready,
//! what each takes of memory and of the processor, how long a random one takes to its first
//! response, and how long until all are gone after `waft delete` has begun.
//!
//! ```text
//! cargo build --profile dist
//! cargo run --profile dist -p waft-benches -- density-up [--quick] [--count N]
//! ```
//!
//! Every workload is a WorkloadDeployment of one replica and one component, all of one image. What
//! one takes is the difference between many and a single one.

use std::{
    fmt::Write as _,
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

/// First requests that are measured.
const SAMPLES: usize = 200;
/// Once the last workload is ready its last writes are waited for: until it uses less than a twentieth
/// of a processor for so long.
const QUIET: Duration = Duration::from_secs(2);
use tokio::runtime::Runtime;
use waft_measure::{
    process::{cpu_time, held},
    report::{flag, ms, option, quantile},
};

use crate::{
    client::{Client, Exchange},
    waft::Waft,
};

/// What a `waft up` of some workloads took.
struct Taken {
    resident: u64,
    cpu: Duration,
    ready: Duration,
    files: u64,
    threads: u64,
    first: Vec<Duration>,
    gone: Duration,
}

/// Runs it.
///
/// # Errors
/// If something that it needs is missing, or an answer was wrong.
pub(crate) fn run(runtime: &Runtime) -> Result<()> {
    let counts = match option("--count") {
        Some(count) => vec![count.parse()?],
        None if flag("--quick") => vec![1000],
        None => vec![1000, 10_000],
    };
    let program = Waft::program(None)?;
    let home = tempfile::tempdir()?;
    // The first one compiles.
    runtime.block_on(measure(&program, home.path(), 1))?;
    let one = runtime.block_on(measure(&program, home.path(), 1))?;
    for count in counts {
        let mut many = runtime.block_on(measure(&program, home.path(), count))?;
        let others = (count - 1) as f64;
        println!(
            "{count} workloads: ready in {}, {:.1} KiB and {:.2} ms of processor time each, {} files \
             and {} threads more; first response p50 {}, p99 {}; all gone in {}",
            ms(many.ready),
            many.resident.saturating_sub(one.resident) as f64 / 1024.0 / others,
            many.cpu.saturating_sub(one.cpu).as_secs_f64() * 1000.0 / others,
            many.files.saturating_sub(one.files),
            many.threads.saturating_sub(one.threads),
            ms(quantile(&mut many.first, 0.5)),
            ms(quantile(&mut many.first, 0.99)),
            ms(many.gone),
        );
    }
    Ok(())
}

async fn measure(program: &Path, home: &Path, count: usize) -> Result<Taken> {
    let folder = tempfile::tempdir()?;
    fs::write(
        folder.path().join("hello.wasm"),
        waft_guests::with_image_name("density"),
    )?;
    let manifests = folder.path().join("all.yaml");
    fs::write(&manifests, deployments(count)?)?;
    let data = folder.path().join("data");
    let arguments = [
        manifests.as_os_str(),
        "--output".as_ref(),
        "json".as_ref(),
        "--data-dir".as_ref(),
        data.as_os_str(),
    ];
    let began = Instant::now();
    let mut waft = Waft::up(program, home, arguments, Stdio::piped())?;
    let output = waft.output().context("its output is piped")?;
    let mut ready = 0;
    // Read until the end: a closed pipe would end the program.
    let mut lines = BufReader::new(output).lines();
    for line in lines.by_ref() {
        ready += usize::from(line?.contains(r#""event":"routeReady""#));
        if ready == count {
            break;
        }
    }
    let took = began.elapsed();
    waft.check()?;
    let cpu = quiet(&waft).await?;
    let now = held(waft.id())?;
    let mut first = Vec::new();
    let mut client = Client::connect(waft.http).await?;
    for sample in 0..SAMPLES.min(count) {
        // A step without a common divisor visits them in an order without a pattern.
        let at = sample * 7919 % count;
        let exchange = Exchange::get(&format!("d{at}.localhost"), "Hello from Waft!\n");
        let sent = Instant::now();
        client.exchange(&exchange).await?;
        first.push(sent.elapsed());
    }
    // What nobody reads would hold it up.
    thread::spawn(move || lines.for_each(drop));
    let gone = delete(program, &manifests, &data)?;
    waft.check()?;
    Ok(Taken {
        resident: now.resident,
        cpu,
        ready: took,
        files: now.files,
        threads: now.threads,
        first,
        gone,
    })
}

/// Deletes all and waits until nothing is left of them, and says how long that took.
fn delete(program: &Path, manifests: &Path, data: &Path) -> Result<Duration> {
    let began = Instant::now();
    let command = |name| {
        let mut command = Command::new(program);
        command.args([name, "--kubeconfig"]);
        command.arg(data.join("kubeconfig"));
        command
    };
    let mut deleting = command("delete");
    deleting.args(["--quiet", "--filename"]).arg(manifests);
    ensure!(deleting.status()?.success(), "waft delete failed");
    loop {
        let left = command("get").args(["workloads", "-o", "name"]).output()?;
        ensure!(left.status.success(), "waft get failed");
        if left.stdout.is_empty() {
            return Ok(began.elapsed());
        }
        thread::sleep(Duration::from_millis(100));
    }
}

/// Waits until its processor time hardly grows, and says what it is.
async fn quiet(waft: &Waft) -> Result<Duration> {
    let mut before = cpu_time(waft.id())?;
    loop {
        tokio::time::sleep(QUIET).await;
        let now = cpu_time(waft.id())?;
        if now.saturating_sub(before) < QUIET / 20 {
            return Ok(now);
        }
        before = now;
    }
}

fn deployments(count: usize) -> Result<String> {
    let mut text = String::new();
    for at in 0..count {
        write!(
            text,
            "\
---
apiVersion: runtime.wasmcloud.dev/v1alpha1
kind: WorkloadDeployment
metadata: {{name: d{at}}}
spec:
  replicas: 1
  template:
    spec:
      hostInterfaces:
      - namespace: wasi
        package: http
        interfaces: [incoming-handler]
        config: {{host: d{at}.localhost}}
      components:
      - name: main
        image: file:hello.wasm
"
        )?;
    }
    Ok(text)
}
