//! What there is to reach for: servers on the machine, names that lie, and a folder with ways out.

use std::{
    fs, io,
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    os::unix::fs::symlink,
    path::Path,
    process::Command,
    sync::Arc,
    thread,
};

use async_trait::async_trait;
use waft_ir::{Volume, VolumeMount, VolumeSource, Workload};
use waft_runtime::Resolve;

use crate::harness::{Rig, engine};

/// A host, and the world around it.
pub(super) struct World {
    pub(super) rig: Rig,
    /// A server on the machine's address to the outside.
    outside: SocketAddr,
    /// One on its loopback.
    machine: SocketAddr,
    /// A UDP socket beside the server outside.
    _datagrams: UdpSocket,
    _folder: tempfile::TempDir,
}

/// `granted.test` is the server outside; every other name leads to the loopback.
struct Names(IpAddr);

#[async_trait]
impl Resolve for Names {
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        Ok(vec![match name {
            "granted.test" => self.0,
            _ => Ipv4Addr::LOCALHOST.into(),
        }])
    }
}

impl World {
    /// `None`, said on stderr, on a machine without a network.
    pub(super) fn new() -> Option<Self> {
        let own = waft_servers::outward_address()?;
        let folder = tempfile::tempdir().unwrap();
        fill(folder.path());
        let root = folder.path().to_owned();
        let rig = Rig::with(engine(Some(Arc::new(Names(own)))), |config| {
            config.allow_host_loopback = true;
            config.host_path_roots = vec![root];
        });
        let (outside, datagrams) = serve_with_datagrams(own);
        Some(Self {
            rig,
            outside,
            machine: serve(Ipv4Addr::LOCALHOST.into()),
            _datagrams: datagrams,
            _folder: folder,
        })
    }

    /// Puts addresses in the place of the words that stand for them.
    pub(super) fn told(&self, text: &str) -> String {
        text.replace("OUTSIDE-IP", &self.outside.ip().to_string())
            .replace("OUTSIDE-PORT", &self.outside.port().to_string())
            .replace("OUTSIDE", &self.outside.to_string())
            .replace("MACHINE-PORT", &self.machine.port().to_string())
            .replace("MACHINE", &self.machine.to_string())
    }

    /// Gives a component of a workload the folder, as `/v`.
    pub(super) fn mount(&self, workload: &mut Workload, read_only: bool) {
        workload.volumes.push(Volume {
            name: "v".into(),
            source: VolumeSource::HostPath(self._folder.path().join("inside")),
        });
        workload.components[0].resources.mounts.push(VolumeMount {
            volume: "v".into(),
            path: "/v".into(),
            read_only,
        });
    }

    pub(super) fn folder(&self) -> &Path {
        self._folder.path()
    }
}

/// `inside` is what guests have.
fn fill(folder: &Path) {
    let inside = folder.join("inside");
    fs::create_dir_all(inside.join("folder")).unwrap();
    fs::create_dir(folder.join("outside")).unwrap();
    fs::write(folder.join("outside/secret"), "outside").unwrap();
    fs::write(inside.join("file"), "inside").unwrap();
    fs::write(inside.join("spare"), "spare").unwrap();
    for (target, link) in [
        ("../outside/secret", "way-out"),
        ("/etc/passwd", "absolute"),
        ("/proc/self/environ", "environ"),
        ("/proc/self/fd", "descriptors"),
        ("/dev/zero", "zero"),
        ("file", "alias"),
    ] {
        symlink(target, inside.join(link)).unwrap();
    }
    let pipe = Command::new("mkfifo").arg(inside.join("pipe")).status();
    assert!(pipe.unwrap().success());
}

/// A server, and a UDP socket of the same address. Somebody else may have that of a port that is free
/// for TCP.
fn serve_with_datagrams(ip: IpAddr) -> (SocketAddr, UdpSocket) {
    loop {
        let server = serve(ip);
        match UdpSocket::bind(server) {
            Ok(socket) => return (server, socket),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::AddrInUse),
        }
    }
}

/// A server that answers with the head of a request, once it has the body that the head promises, and
/// redirects `/redirect` to the metadata service.
fn serve(ip: IpAddr) -> SocketAddr {
    let listener = TcpListener::bind((ip, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // One that sends nothing must not keep the next from being answered.
            thread::spawn(move || answer(stream));
        }
    });
    address
}

fn answer(mut stream: std::net::TcpStream) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let text = String::from_utf8_lossy(&head).to_ascii_lowercase();
    let promised = text
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; promised.map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body)?;
    let (status, more) = if head.starts_with(b"GET /redirect ") {
        let to = "http://169.254.169.254/latest/meta-data/";
        ("302 Found", format!("location: {to}\r\n"))
    } else {
        ("200 OK", String::new())
    };
    let length = head.len();
    let answer =
        format!("HTTP/1.1 {status}\r\nconnection: close\r\n{more}content-length: {length}\r\n\r\n");
    stream.write_all(answer.as_bytes())?;
    stream.write_all(&head)
}
