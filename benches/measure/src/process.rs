//! Processes that are measured, and what the kernel says they used.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

/// Ticks of the kernel's clock a second, as `/proc` counts on Linux.
const TICKS: u32 = 100;

/// A server in a process of its own. It ends when this is dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
}

/// What a process holds.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    /// Resident memory, in bytes.
    pub resident: u64,
    /// Threads.
    pub threads: u64,
    /// Open file descriptors.
    pub files: u64,
    /// Memory mappings.
    pub mappings: u64,
}

impl Server {
    /// Starts this program again with other arguments; it prints its address as its first line.
    ///
    /// # Errors
    /// If it ends before it has said where it listens.
    pub fn of_this_program(arguments: &[&str]) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        let output = child.stdout.take().context("its output is piped")?;
        BufReader::new(output).read_line(&mut line)?;
        let address = line.trim().parse();
        let address = address.with_context(|| format!("{arguments:?} said {line:?}"))?;
        Ok(Self { child, address })
    }

    /// Starts another program that listens at `address`, and waits until it does.
    ///
    /// # Errors
    /// If it does not listen within five minutes: it may have to compile first.
    pub fn of(mut command: Command, address: SocketAddr) -> Result<Self> {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("{command:?}"))?;
        let server = Self { child, address };
        let give_up = Instant::now() + Duration::from_secs(300);
        while std::net::TcpStream::connect(address).is_err() {
            if Instant::now() > give_up {
                bail!("{command:?} does not listen");
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(server)
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Processor time that it used, user and system.
    ///
    /// # Errors
    /// If it is gone.
    pub fn cpu(&self) -> Result<Duration> {
        cpu_time(self.id())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Processor time that a process used, user and system.
///
/// # Errors
/// If it is gone.
pub fn cpu_time(process: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    let (_, fields) = stat.rsplit_once(')').context("no name in stat")?;
    let mut times = fields.split_whitespace().skip(11);
    let mut next = || -> Result<u32> { Ok(times.next().context("stat is short")?.parse()?) };
    let ticks = next()? + next()?;
    Ok(Duration::from_secs(ticks.into()) / TICKS)
}

/// What a process holds now.
///
/// # Errors
/// If it is gone.
pub fn held(process: u32) -> Result<Held> {
    let folder = format!("/proc/{process}");
    let status = fs::read_to_string(format!("{folder}/status"))?;
    let field = |name: &str| -> Result<u64> {
        let line = status.lines().find_map(|l| l.strip_prefix(name));
        let number = line.and_then(|l| l.split_whitespace().next());
        Ok(number.with_context(|| format!("no {name}"))?.parse()?)
    };
    Ok(Held {
        resident: field("VmRSS:")? * 1024,
        threads: field("Threads:")?,
        files: fs::read_dir(format!("{folder}/fd"))?.count() as u64,
        mappings: fs::read_to_string(format!("{folder}/maps"))?
            .lines()
            .count() as u64,
    })
}
