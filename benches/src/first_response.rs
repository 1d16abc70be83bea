//! From exec of `waft up examples/hello`, its compiled code cached, to the first 200: the median of
//! twenty.
//!
//! ```text
//! cargo build --release
//! cargo run --release -p waft-benches --bin first-response [PATH-OF-WAFT]
//! ```
//!
//! The program is the one that lies beside this one, unless a path is given. Each run has a data
//! folder of its own and a fresh process; images and compiled code are cached by a run before the
//! first that counts. The client connects again at once for as long as nobody listens.
#![forbid(unsafe_code)]

use std::{
    env,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

const RUNS: usize = 20;
const GIVE_UP: Duration = Duration::from_secs(120);
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: hello.localhost\r\nconnection: close\r\n\r\n";

fn main() -> Result<()> {
    let waft = match env::args_os().nth(1) {
        Some(path) => PathBuf::from(path),
        None => env::current_exe()?.with_file_name("waft"),
    };
    ensure!(
        waft.is_file(),
        "{} is missing: cargo build --release",
        waft.display()
    );
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
    let [http, api, admin] = free_addresses()?;
    let mut command = Command::new(waft);
    command
        .args(["up", "examples/hello", "--data-dir"])
        .arg(data.path().join("data"))
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .env("HOME", home)
        .env_remove("XDG_CACHE_HOME")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    for (flag, address) in [("--http", http), ("--api", api), ("--admin", admin)] {
        command.arg(flag).arg(address.to_string());
    }
    let start = Instant::now();
    let mut child = command.spawn()?;
    let answered = wait_for_200(&mut child, http, start);
    child.kill()?;
    child.wait()?;
    answered
}

fn wait_for_200(child: &mut Child, address: SocketAddr, start: Instant) -> Result<Duration> {
    let mut answer = Vec::new();
    loop {
        answer.clear();
        if let Ok(mut stream) = TcpStream::connect(address) {
            let got = stream
                .write_all(REQUEST)
                .and_then(|()| stream.read_to_end(&mut answer));
            if got.is_ok() && answer.starts_with(b"HTTP/1.1 200 ") {
                return Ok(start.elapsed());
            }
        }
        if let Some(status) = child.try_wait()? {
            let mut text = String::new();
            if let Some(mut stderr) = child.stderr.take() {
                stderr.read_to_string(&mut text)?;
            }
            bail!("waft up ended with {status}: {text}");
        }
        if start.elapsed() > GIVE_UP {
            bail!("no 200; last: {}", String::from_utf8_lossy(&answer));
        }
        // Leaves the processor to the program that is measured.
        thread::sleep(Duration::from_micros(500));
    }
}

/// Three addresses of loopback that nobody listens on.
fn free_addresses() -> Result<[SocketAddr; 3]> {
    let bind = || TcpListener::bind("127.0.0.1:0");
    let listeners = [bind()?, bind()?, bind()?];
    let [a, b, c] = listeners.map(|listener| listener.local_addr());
    Ok([a?, b?, c?])
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() * 1000.0)
}
