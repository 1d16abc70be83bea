//! A host as `waft up` sets it up, without API and control plane: driven through its `HostLink`.

use std::{
    collections::BTreeMap,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use tokio::{runtime::Handle, sync::watch};
use waft_capabilities::{Backends, Capabilities};
use waft_host::{Host, HostConfig};
use waft_ir::{
    Backend, CapabilityGrant, Component, HostId, HostLink, HostPattern, Image, Limits,
    LocalResources, PathMatch, Phase, Pool, PullPolicy, Route, RouteKey, RouteTable, Workload,
    WorkloadId,
};
use waft_oci::{Store, StoreConfig};
use waft_runtime::{EngineBuilder, EngineConfig};

/// A host that listens.
pub(crate) struct Rig {
    /// The host.
    pub(crate) host: Arc<Host>,
    /// Its HTTP listener.
    pub(crate) address: SocketAddr,
    id: HostId,
    routes: watch::Sender<Arc<RouteTable>>,
}

impl Rig {
    /// Sets one up, with its caches in a folder. Images are files below `files`.
    ///
    /// # Errors
    /// As the host itself.
    pub(crate) fn new(folder: &Path, files: &[PathBuf]) -> Result<Self> {
        Self::with(folder, files, Backends::default())
    }

    /// The same, with servers behind its interfaces.
    ///
    /// # Errors
    /// As the host itself.
    pub(crate) fn with(folder: &Path, files: &[PathBuf], backends: Backends) -> Result<Self> {
        let mut config = StoreConfig::new(folder.join("images"), folder);
        config.roots.extra = files.to_vec();
        let store = Store::new(config)?;
        let mut builder = EngineBuilder::new(EngineConfig {
            cache_dir: Some(folder.join("compiled")),
            ..EngineConfig::default()
        });
        let capabilities = Capabilities::new(backends)?;
        capabilities.register(&mut builder);
        let engine = builder.build()?;
        let id = HostId("bench".into());
        let config = HostConfig {
            id: id.clone(),
            name: "bench".into(),
            hostname: "localhost".into(),
            labels: BTreeMap::new(),
            environment: None,
            log_dir: Some(folder.join("logs")),
            stop_grace: Duration::from_secs(10),
            // What a component may reach there its workload says.
            allow_host_loopback: true,
            volume_dir: None,
            host_path_roots: Vec::new(),
            tracer: None,
            control_runtime: Handle::current(),
            guest_runtime: Handle::current(),
        };
        let host = Host::new(config, engine, capabilities, store)?;
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let routes = watch::Sender::new(Arc::default());
        host.serve_http(listener, routes.subscribe())?;
        Ok(Self {
            host,
            address,
            id,
            routes,
        })
    }

    /// Starts a workload; returns at once.
    pub(crate) fn start(&self, workload: Workload) -> WorkloadId {
        let id = workload.id.clone();
        self.host.start(&self.id, Arc::new(workload));
        id
    }

    /// Stops a workload; returns at once.
    pub(crate) fn stop(&self, id: &WorkloadId) {
        self.host.stop(&self.id, id);
    }

    /// Waits until a workload runs.
    ///
    /// # Errors
    /// If it fails.
    pub(crate) async fn running_one(&self, id: &WorkloadId) -> Result<()> {
        let mut states = self.host.states();
        loop {
            let phase = states.borrow_and_update().get(id).map(|s| s.phase.clone());
            match phase {
                Some(Phase::Running) => return Ok(()),
                Some(Phase::Failed(failure)) => bail!("{id}: {failure}"),
                _ => states.changed().await.context("the host is gone")?,
            }
        }
    }

    /// Waits until so many workloads run, and no others are there.
    ///
    /// # Errors
    /// If one fails.
    pub(crate) async fn running(&self, count: usize) -> Result<()> {
        let mut states = self.host.states();
        loop {
            let now = states.borrow_and_update().clone();
            for (id, state) in now.iter() {
                if let Phase::Failed(failure) = &state.phase {
                    bail!("{id}: {failure}");
                }
            }
            let running = now.values().filter(|s| s.phase == Phase::Running);
            if running.count() == count && now.len() == count {
                return Ok(());
            }
            states.changed().await.context("the host is gone")?;
        }
    }

    /// Routes host names, one workload each, in place of the routes before.
    pub(crate) fn route(&self, routes: impl IntoIterator<Item = (String, WorkloadId)>) {
        let route = |(host, workload): (String, WorkloadId)| Route {
            key: RouteKey {
                host: HostPattern::Exact(host),
                path: PathMatch::prefix("/"),
            },
            source: "bench".into(),
            timeout: Some(Duration::from_secs(15)),
            backends: vec![Backend {
                host: self.id.clone(),
                workload,
            }],
        };
        let table = RouteTable::new(routes.into_iter().map(route));
        self.routes.send_replace(Arc::new(table));
    }
}

/// A component, with every limit at its default.
pub(crate) fn component(name: &str, guest: &str, pool: Pool) -> Component {
    Component {
        name: name.into(),
        ..part(&waft_guests::path(guest), pool)
    }
}

/// What an entry of `hostInterfaces` grants.
///
/// # Errors
/// If the package is none.
pub(crate) fn grant(package: &str, config: &[(&str, &str)]) -> Result<CapabilityGrant> {
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    Ok(CapabilityGrant {
        name: None,
        package: package.parse()?,
        interfaces: Vec::new(),
        config: config.iter().map(owned).collect(),
    })
}

fn part(image: &Path, pool: Pool) -> Component {
    Component {
        name: "main".into(),
        image: Image {
            reference: format!("file:{}", image.display()),
            policy: PullPolicy::IfNotPresent,
            credentials: None,
        },
        pool,
        resources: LocalResources::default(),
        limits: Limits::default(),
    }
}

/// A workload of one component, with every limit at its default.
pub(crate) fn workload(name: &str, image: &Path, pool: Pool) -> Workload {
    Workload {
        id: WorkloadId(format!("uid-{name}")),
        namespace: "bench".into(),
        name: name.into(),
        app: name.into(),
        annotations: BTreeMap::new(),
        components: vec![part(image, pool)],
        service: None,
        grants: vec![],
        volumes: vec![],
    }
}

/// Waits until the program that started this one ends it, or ends: it holds the other end of the input.
pub(crate) async fn until_input_ends() {
    let mut nothing = tokio::io::empty();
    let _ = tokio::io::copy(&mut tokio::io::stdin(), &mut nothing).await;
}
