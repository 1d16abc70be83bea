//! From exec of `waft up examples/hello`, its compiled code cached, to the first 200: the median of
//! twenty.
//!
//! ```text
//! cargo build --profile dist
//! cargo run --profile dist -p waft-benches -- first-response [PATH-OF-WAFT]
//! ```
//!
//! The program is the one that lies beside this one, unless a path is given. Each run has a data
//! folder of its own and a fresh process; images and compiled code are cached by a run before the
//! first that counts. The client connects again at once for as long as nobody listens.

use std::{
    env,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use crate::waft::Waft;
use anyhow::{Context, Result, bail};

const RUNS: usize = 20;
const GIVE_UP: Duration = Duration::from_secs(120);
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: hello.localhost\r\nconnection: close\r\n\r\n";

/// Runs it.
///
/// # Errors
/// If something that it needs is missing, or an answer was wrong.
pub(crate) fn run() -> Result<()> {
    let waft = Waft::program(env::args_os().nth(2).as_deref())?;
    let home = tempfile::tempdir()?;
    let compiled = first_response(&waft, home.path()).context("the run that fills the cache")?;
    println!("first run, compiling: {} ms", milliseconds(compiled));
    let mut times = (0..RUNS)
        .map(|_| first_response(&waft, home.path()))
        .collect::<Result<Vec<_>>>()?;
    times.sort();
    println!(
        "{RUNS} runs, compiled code cached: median {} ms, least {} ms, most {} ms",
        milliseconds((times[RUNS / 2 - 1] + times[RUNS / 2]) / 2),
        milliseconds(times[0]),
        milliseconds(times[RUNS - 1]),
    );
    Ok(())
}

/// Starts the example and measures until its first 200.
fn first_response(waft: &Path, home: &Path) -> Result<Duration> {
    let data = tempfile::tempdir()?;
    let data = data.path().join("data");
    let arguments = [
        "examples/hello".as_ref(),
        "--data-dir".as_ref(),
        data.as_os_str(),
    ];
    let start = Instant::now();
    let mut waft = Waft::up(waft, home, arguments, Stdio::null())?;
    wait_for_200(&mut waft, start)
}

fn wait_for_200(waft: &mut Waft, start: Instant) -> Result<Duration> {
    let mut answer = Vec::new();
    loop {
        answer.clear();
        if let Ok(mut stream) = TcpStream::connect(waft.http) {
            let got = stream
                .write_all(REQUEST)
                .and_then(|()| stream.read_to_end(&mut answer));
            if got.is_ok() && answer.starts_with(b"HTTP/1.1 200 ") {
                return Ok(start.elapsed());
            }
        }
        waft.check()?;
        if start.elapsed() > GIVE_UP {
            bail!("no 200; last: {}", String::from_utf8_lossy(&answer));
        }
        // Leaves the processor to the program that is measured.
        thread::sleep(Duration::from_micros(500));
    }
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() * 1000.0)
}
