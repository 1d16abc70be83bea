//! The Kubernetes API of this process.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
};

use waft_apiserver::{Access, AccessError, ApiServer, Config, OpenError, Status};

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
    let names = [reached(address).ip().to_string()];
    let access = Access::open(Some(data_dir), &names).map_err(no_access)?;
    let kubeconfig = data_dir.join("kubeconfig");
    access
        .write_kubeconfig(&kubeconfig, &reached(address).to_string())
        .map_err(no_access)?;
    Ok((access, kubeconfig))
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
        OpenError::Folder { path, source } => UpError::Io { path, source },
        other => UpError::Internal(other.to_string()),
    }
}

fn refused(status: Status) -> UpError {
    UpError::Internal(format!("our own definitions are refused: {status}"))
}
