//! The two servers that are compared, each in processes of its own.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio_rustls::TlsConnector;
use waft_apiserver::{Access, ApiServer, Config};
use waft_measure::process::{Server, cpu_time, held};

/// One server, ready for requests.
pub(crate) struct Side {
    pub(crate) name: &'static str,
    pub(crate) address: SocketAddr,
    pub(crate) tls: TlsConnector,
    /// Names and numbers of the processes that do its work.
    processes: Vec<(&'static str, u32)>,
    _running: Running,
}

/// Ends the processes when it is dropped.
enum Running {
    Program {
        _server: Server,
    },
    /// What `testenv up` started in this folder.
    Environment(PathBuf),
}

impl Side {
    /// This program again, with nothing in it but the API server.
    pub(crate) fn waft(folder: &Path) -> Result<Self> {
        let path = folder.to_str().context("a path of UTF-8")?;
        let server = Server::of_this_program(&["serve", path])?;
        Ok(Self {
            name: "waft",
            address: server.address,
            tls: connector(&folder.join("pki"), "client")?,
            processes: vec![("waft", server.id())],
            _running: Running::Program { _server: server },
        })
    }

    /// kube-apiserver and etcd. The controllers are stopped: what they cost is not measured.
    pub(crate) fn kube(folder: &Path) -> Result<Self> {
        let output = Command::new(testenv())
            .arg("up")
            .arg(folder)
            .arg("kube")
            .output()?;
        let running = Running::Environment(folder.to_owned());
        ensure!(
            output.status.success(),
            "kube-apiserver does not start; `tests/env/testenv install kube` builds it: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let process = |name: &str| -> Result<u32> {
            let file = folder.join(format!("{name}.pid"));
            Ok(fs::read_to_string(file)?.trim().parse()?)
        };
        let controllers = process("kube-controller-manager")?.to_string();
        ensure!(Command::new("kill").arg(controllers).status()?.success());
        let kubeconfig = fs::read_to_string(folder.join("kubeconfig"))?;
        let address = kubeconfig
            .split_once("https://")
            .and_then(|(_, rest)| rest.split('"').next());
        Ok(Self {
            name: "kube",
            address: address.context("no address in the kubeconfig")?.parse()?,
            tls: connector(&folder.join("pki"), "admin")?,
            processes: vec![
                ("kube-apiserver", process("kube-apiserver")?),
                ("etcd", process("etcd")?),
            ],
            _running: running,
        })
    }

    /// Processor time of all its processes.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        self.processes.iter().map(|(_, id)| cpu_time(*id)).sum()
    }

    /// A line that says what each process holds.
    pub(crate) fn memory(&self, when: &str) -> Result<String> {
        let each: Result<Vec<String>> = self
            .processes
            .iter()
            .map(|(name, id)| {
                let mebibytes = held(*id)?.resident as f64 / f64::from(1 << 20);
                Ok(format!("{name} {mebibytes:.1} MiB"))
            })
            .collect();
        Ok(format!("resident, {when}: {}", each?.join(", ")))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Running::Environment(folder) = self {
            // What is left running shows itself; there is nobody to tell here.
            let _ = Command::new(testenv()).arg("down").arg(folder).output();
        }
    }
}

/// Serves an API server from a folder, and nothing else; prints where.
pub(crate) fn serve(folder: &Path) -> Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let config = Config {
            data_dir: Some(folder.to_owned()),
            ..Config::default()
        };
        let server = ApiServer::open(config).await?;
        let access = Access::open(Some(folder), &[])?;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        Ok(server.serve(listener, &access).await?)
    })
}

/// A memory file system would make both durable for nothing.
pub(crate) fn refuse_memory(folder: &Path) -> Result<()> {
    let folder = folder.canonicalize()?;
    let mounts = fs::read_to_string("/proc/mounts")?;
    let kind = mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ').skip(1);
            let (at, kind) = (fields.next()?, fields.next()?);
            folder.starts_with(at).then_some((at.len(), kind))
        })
        .max_by_key(|(length, _)| *length);
    let (_, kind) = kind.context("no mount")?;
    println!("both write to {} ({kind})", folder.display());
    if kind == "tmpfs" {
        bail!(
            "{} is in memory: give a --folder on a disk",
            folder.display()
        );
    }
    Ok(())
}

fn testenv() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/env/testenv")
}

fn connector(pki: &Path, client: &str) -> Result<TlsConnector> {
    let certificate = |name: &str| CertificateDer::from_pem_file(pki.join(name));
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate("ca.crt")?)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_client_auth_cert(
            vec![certificate(&format!("{client}.crt"))?],
            PrivateKeyDer::from_pem_file(pki.join(format!("{client}.key")))?,
        )?;
    Ok(TlsConnector::from(Arc::new(config)))
}
