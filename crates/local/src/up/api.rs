//! The Kubernetes API of this process.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    path::{Path, PathBuf},
    sync::Arc,
};

use waft_apiserver::{Access, AccessError, ApiServer, Config, OpenError, Status, StoreError};

use super::host::hostname;
use crate::{connect::Workloads, event::UpError, options::UpOptions};

/// Opens the objects, and has our definitions served.
pub(super) async fn open(
    options: &UpOptions,
    data_dir: &Path,
    connect: Workloads,
) -> Result<Arc<ApiServer>, UpError> {
    let config = Config {
        data_dir: (!options.ephemeral).then(|| data_dir.join("api")),
        connect: Arc::new(connect),
        ..Config::default()
    };
    let server = ApiServer::open(config).await.map_err(cannot_open)?;
    let definitions = waft_api::crds()
        .iter()
        .map(serde_json::to_value)
        .collect::<Result<_, _>>();
    let definitions = definitions.map_err(|error| UpError::Internal(error.to_string()))?;
    server.install_crds(definitions).await.map_err(refused)?;
    Ok(server)
}

/// Keys and certificates of the API, and its kubeconfig, written into the data folder.
pub(super) fn access(address: SocketAddr, data_dir: &Path) -> Result<(Access, PathBuf), UpError> {
    let names = names(address);
    let access = Access::open(Some(data_dir), &names).map_err(no_access)?;
    let kubeconfig = data_dir.join("kubeconfig");
    access
        .write_kubeconfig(&kubeconfig, &reached(address).to_string())
        .map_err(no_access)?;
    Ok((access, kubeconfig))
}

/// The names by which clients reach what listens on an address: those of the machine, if it listens
/// on all of them.
fn names(address: SocketAddr) -> Vec<String> {
    let mut names = vec![reached(address).ip().to_string()];
    if address.ip().is_unspecified() {
        names.extend(machine_names(&hostname()));
        names.extend(outward_addresses().map(|address| address.to_string()));
    }
    names
}

/// A machine's name, and what stands before its domain; certificates have names of ASCII only.
fn machine_names(hostname: &str) -> BTreeSet<String> {
    let whole = hostname.trim().to_lowercase();
    let first = whole.split('.').next().unwrap_or_default().to_owned();
    let all = [whole, first];
    all.into_iter()
        .filter(|name| !name.is_empty() && name.is_ascii())
        .collect()
}

/// The addresses from which the machine reaches others. Nothing is sent: the system only chooses
/// where it would go out.
fn outward_addresses() -> impl Iterator<Item = IpAddr> {
    // Addresses that are kept for documentation: far away from any machine.
    let ways = [("0.0.0.0:0", "192.0.2.1:9"), ("[::]:0", "[2001:db8::1]:9")];
    ways.into_iter().filter_map(|(from, to)| {
        let socket = UdpSocket::bind(from).ok()?;
        socket.connect(to).ok()?;
        Some(socket.local_addr().ok()?.ip())
    })
}

/// How a client on this machine reaches what listens on an address.
pub(super) fn reached(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        });
    }
    address
}

pub(super) fn no_access(error: AccessError) -> UpError {
    UpError::Internal(format!("the API can't be served: {error}"))
}

fn cannot_open(error: OpenError) -> UpError {
    match error {
        OpenError::InUse(path) => UpError::DataDirInUse { path },
        OpenError::Folder { path, source } => UpError::DataDir { path, source },
        OpenError::Store {
            source: StoreError::DiskFull(path),
            ..
        } => UpError::DiskFull { path },
        OpenError::Store { path, source } => match source {
            StoreError::Format { .. } => UpError::DataFormat {
                path,
                problem: source.to_string(),
            },
            StoreError::Io(source) => UpError::DataDir { path, source },
            source if source.is_damage() => UpError::Data {
                path,
                problem: source.to_string(),
            },
            // Locked by a backup, for example.
            source => UpError::DataDir {
                path,
                source: std::io::Error::other(source),
            },
        },
        other => UpError::Internal(other.to_string()),
    }
}

fn refused(status: Status) -> UpError {
    UpError::Internal(format!("our own definitions are refused: {status}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_has_its_name_with_its_domain_and_without() {
        let names = |hostname: &str| Vec::from_iter(machine_names(hostname));
        assert_eq!(names("Web1.Example.com\n"), ["web1", "web1.example.com"]);
        assert_eq!(names("vm\n"), ["vm"]);
        assert!(names("\n").is_empty());
        assert!(names("bücher\n").is_empty());
    }
}
