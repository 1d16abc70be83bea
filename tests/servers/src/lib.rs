//! Real servers for tests: each on a free port of this machine, with its data in a folder of its
//! own, and written to the disk before it is acknowledged. They can be killed and started again.
//!
//! `tests/env/testenv install debian nats s3` installs them.
#![forbid(unsafe_code)]

mod postgres;
mod tls;

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

pub use tls::self_signed;

/// Longer than a server takes to start, unless it doesn't.
const PATIENCE: Duration = Duration::from_secs(180);

/// A server of this test. Dropping it ends it.
#[derive(Debug)]
pub struct Server {
    kind: Kind,
    child: Option<Child>,
    port: u16,
    folder: TempDir,
    /// Arguments beside those of its kind.
    more: Vec<String>,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Redis,
    Nats,
    Postgres,
    S3,
}

impl Server {
    /// Key and secret of its S3 servers.
    pub const S3_CREDENTIALS: (&str, &str) = ("waft-test", "waft-test-secret");

    /// Starts a Redis. `None`, and said so, where it is not installed.
    pub fn redis() -> Option<Self> {
        Self::of(Kind::Redis)
    }

    /// Starts a NATS server with JetStream. `None`, and said so, where it is not installed.
    pub fn nats() -> Option<Self> {
        Self::of(Kind::Nats)
    }

    /// Starts three NATS servers with JetStream that are one cluster, which takes a moment to choose its
    /// leader. `None`, and said so, where it is not installed.
    pub fn nats_cluster() -> Option<Vec<Self>> {
        let routes = [(); 3].map(|()| format!("nats://{}", free_address()));
        let servers = (0..routes.len()).map(|at| {
            let more = [
                ("--server_name", format!("server-{at}")),
                ("--cluster_name", "test".into()),
                ("--cluster", routes[at].clone()),
                ("--routes", routes.join(",")),
            ];
            let more = more.into_iter();
            let more = more.flat_map(|(name, value)| [name.to_owned(), value]);
            Self::with(Kind::Nats, more.collect(), |_| {})
        });
        servers.collect()
    }

    /// Starts a PostgreSQL, whose user `postgres` needs no password. `None`, and said so, where it is
    /// not installed.
    pub fn postgres() -> Option<Self> {
        Self::of(Kind::Postgres)
    }

    /// The same, encrypted with a certificate and its key in PEM.
    pub fn encrypted_postgres(certificate: &str, key: &str) -> Option<Self> {
        Self::prepared(Kind::Postgres, |folder| {
            postgres::encrypt(folder, certificate, key);
        })
    }

    /// Starts a server that speaks S3. `None`, and said so, where it is not installed.
    pub fn s3() -> Option<Self> {
        Self::of(Kind::S3)
    }

    fn of(kind: Kind) -> Option<Self> {
        Self::prepared(kind, |_| {})
    }

    /// Starts one after something was done in its folder.
    fn prepared(kind: Kind, prepare: impl FnOnce(&Path)) -> Option<Self> {
        Self::with(kind, Vec::new(), prepare)
    }

    fn with(kind: Kind, more: Vec<String>, prepare: impl FnOnce(&Path)) -> Option<Self> {
        let mut server = Self {
            kind,
            child: None,
            port: free_address().port(),
            folder: tempfile::tempdir().expect("a temporary folder"),
            more,
        };
        let is_there = match kind {
            Kind::Postgres => postgres::prepare(server.folder.path()),
            Kind::S3 => ["data", "notes"]
                .iter()
                .all(|name| std::fs::create_dir(server.folder.path().join(name)).is_ok()),
            Kind::Redis | Kind::Nats => true,
        };
        if is_there {
            prepare(server.folder.path());
            if server.start() {
                return Some(server);
            }
        }
        waft_guests::skip(&format!(
            "no {kind:?}: run `tests/env/testenv install debian nats s3`"
        ));
        None
    }

    /// Where it is.
    pub fn url(&self) -> String {
        let scheme = match self.kind {
            Kind::Redis => "redis",
            Kind::Nats => "nats",
            Kind::S3 => "http",
            Kind::Postgres => {
                return format!("postgres://postgres@127.0.0.1:{}/postgres", self.port);
            }
        };
        format!("{scheme}://127.0.0.1:{}", self.port)
    }

    /// Ends it as a crash does.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Starts it again, with its data and on its port.
    ///
    /// # Panics
    /// If it does not start.
    pub fn restart(&mut self) {
        self.kill();
        assert!(
            self.start(),
            "{:?} was there and is not any more",
            self.kind
        );
    }

    /// Starts it again with its data where nobody looks for it: who was connected does not find it until
    /// it is [restarted](Self::restart_at) at its old port, which is given back.
    ///
    /// # Panics
    /// If it does not start.
    pub fn restart_elsewhere(&mut self) -> u16 {
        let known = std::mem::replace(&mut self.port, free_address().port());
        self.restart();
        known
    }

    /// Starts it again at a port that it had.
    ///
    /// # Panics
    /// If it does not start.
    pub fn restart_at(&mut self, port: u16) {
        self.kill();
        self.port = port;
        self.restart();
    }

    /// Starts it and waits until it answers; whether it is installed.
    fn start(&mut self) -> bool {
        let Some(child) = self.spawn() else {
            return false;
        };
        self.child = Some(child);
        let until = Instant::now() + PATIENCE;
        while !self.kind.answers(self.port) {
            let log = || std::fs::read_to_string(self.folder.path().join("log"));
            assert!(Instant::now() < until, "it does not start: {:?}", log());
            thread::sleep(Duration::from_millis(20));
            // One that was killed may leave processes that hold what the next one needs.
            let ended = self.child.as_mut().map(Child::try_wait);
            if matches!(ended, Some(Ok(Some(_)))) {
                self.child = self.spawn();
            }
        }
        true
    }
}

impl Server {
    fn spawn(&self) -> Option<Child> {
        let log = std::fs::File::create(self.folder.path().join("log")).expect("a temporary file");
        let mut command = match self.kind {
            Kind::Postgres => postgres::command("postgres")?,
            kind => Command::new(kind.program()),
        };
        command
            .args(self.kind.arguments(self.port, self.folder.path()))
            .args(&self.more)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a temporary file"))
            .stderr(log)
            .spawn()
            .ok()
    }
}

/// The machine's address to the outside; no packet is sent to find it. `None`, and said so, where it has
/// no address but loopback.
pub fn outward_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    let connected = socket.connect("198.51.100.1:9");
    match connected.and_then(|()| socket.local_addr()) {
        Ok(address) if !address.ip().is_loopback() => Some(address.ip()),
        _ => {
            waft_guests::skip("the machine has no address but loopback");
            None
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Kind {
    fn program(self) -> PathBuf {
        match self {
            Self::Redis => "redis-server".into(),
            Self::Nats => waft_guests::test_home().join("bin/nats-server"),
            Self::Postgres => "postgres".into(),
            Self::S3 => waft_guests::test_home().join("bin/versitygw"),
        }
    }

    fn arguments(self, port: u16, folder: &Path) -> Vec<String> {
        let (port, folder) = (port.to_string(), folder.display().to_string());
        let (data, notes) = (format!("{folder}/data"), format!("{folder}/notes"));
        let address = format!("127.0.0.1:{port}");
        let arguments: &[&str] = match self {
            Self::Redis => &[
                "--bind",
                "127.0.0.1",
                "--port",
                &port,
                "--dir",
                &folder,
                "--save",
                "",
                "--appendonly",
                "yes",
                "--appendfsync",
                "always",
            ],
            Self::Nats => &[
                "--addr",
                "127.0.0.1",
                "--port",
                &port,
                "--jetstream",
                "--store_dir",
                &folder,
            ],
            Self::S3 => &[
                "--access",
                Server::S3_CREDENTIALS.0,
                "--secret",
                Server::S3_CREDENTIALS.1,
                "--port",
                &address,
                "posix",
                // Beside the files, because not every folder has extended attributes.
                "--sidecar",
                &notes,
                &data,
            ],
            Self::Postgres => &["-D", &data, "-p", &port, "-h", "127.0.0.1", "-k", ""],
        };
        arguments
            .iter()
            .map(|argument| (*argument).to_owned())
            .collect()
    }

    /// Whether it is ready: Redis says so when asked, NATS greets, PostgreSQL lets its user in,
    /// S3 speaks HTTP.
    fn answers(self, port: u16) -> bool {
        let Ok(mut connection) = TcpStream::connect(("127.0.0.1", port)) else {
            return false;
        };
        let _ = connection.set_read_timeout(Some(Duration::from_secs(1)));
        let expected = match self {
            Self::Redis => {
                if connection.write_all(b"PING\r\n").is_err() {
                    return false;
                }
                "+PONG"
            }
            Self::Nats => "INFO ",
            Self::Postgres => return postgres::lets_in(connection),
            Self::S3 => {
                if connection.write_all(b"GET / HTTP/1.0\r\n\r\n").is_err() {
                    return false;
                }
                "HTTP/1."
            }
        };
        let mut line = String::new();
        let read = BufReader::new(connection).read_line(&mut line);
        read.is_ok() && line.starts_with(expected)
    }
}

/// A loopback address that nobody listens on, kept for whoever asked: a connection has just ended
/// there, and for a minute the kernel gives the port of such a one only to those who name it, not to
/// those who ask for any. A port that was merely free is soon given to another test's listener.
///
/// # Panics
/// If the loopback can't be used.
pub fn free_address() -> SocketAddr {
    let kept = || {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let mut client = TcpStream::connect(address)?;
        // It is the side that ends first whose port is kept.
        drop(listener.accept()?);
        let ended = client.read(&mut [0])?;
        assert_eq!(ended, 0, "nobody sends anything");
        Ok::<_, std::io::Error>(address)
    };
    kept().expect("the loopback")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_given_once_and_can_be_listened_on() {
        let addresses: Vec<_> = (0..8).map(|_| free_address()).collect();
        // As many as make it likely that one of eight is given again if nothing keeps it.
        for _ in 0..20_000 {
            let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            assert!(!addresses.contains(&other.local_addr().unwrap()));
        }
        for address in addresses {
            drop(TcpListener::bind(address).unwrap());
        }
    }
}
