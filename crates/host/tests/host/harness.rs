//! A host for a test, and workloads to run on it.

use std::{
    collections::BTreeMap,
    net::{SocketAddr, TcpListener},
    path::Path,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::{runtime::Runtime, sync::watch, time::timeout};
use waft_capabilities::{Backends, Capabilities};
use waft_host::{Host, HostConfig};
use waft_ir::{
    Backend, Component, HostId, HostLink, HostPattern, Image, Limits, LocalResources, PathMatch,
    Phase, Pool, PullPolicy, Route, RouteKey, RouteTable, Workload, WorkloadId, WorkloadState,
};
use waft_oci::{Store, StoreConfig};
use waft_runtime::{Engine, EngineBuilder, EngineConfig, Resolve};

/// Longer than anything here takes, unless it hangs. Several guests may be compiled at a time.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

/// Longer than a loaded machine needs for a few answers, and shorter than a call lives whose client
/// has left, or that spins: those take 20 seconds or more.
pub(crate) const SOON: Duration = Duration::from_secs(10);

pub(crate) static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    raise_open_files();
    Runtime::new().unwrap()
});

/// As the program does: the files that guests hold are all of this process.
fn raise_open_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
}

static CAPABILITIES: LazyLock<Capabilities> =
    LazyLock::new(|| Capabilities::new(Backends::default()).unwrap());

/// Shared, so that a guest is compiled once for all tests.
static ENGINE: LazyLock<Engine> = LazyLock::new(|| engine(None));

/// An engine with all capabilities, and names of the test's own if they are given.
pub(crate) fn engine(names: Option<Arc<dyn Resolve>>) -> Engine {
    engine_of(EngineConfig::default(), names)
}

/// The same, of another size.
pub(crate) fn engine_of(config: EngineConfig, names: Option<Arc<dyn Resolve>>) -> Engine {
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("code");
    let mut builder = EngineBuilder::new(EngineConfig {
        cache_dir: Some(cache),
        ..config
    });
    if let Some(names) = names {
        builder.resolver(names);
    }
    CAPABILITIES.register(&mut builder);
    let _guard = RUNTIME.enter();
    builder.build().unwrap()
}

/// A host that listens, and its routes.
pub(crate) struct Rig {
    pub(crate) host: Arc<Host>,
    pub(crate) address: SocketAddr,
    pub(crate) id: HostId,
    pub(crate) folder: tempfile::TempDir,
    routes: watch::Sender<Arc<RouteTable>>,
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self::with_grace(Duration::from_secs(10))
    }

    pub(crate) fn with_grace(stop_grace: Duration) -> Self {
        Self::with(ENGINE.clone(), |config| config.stop_grace = stop_grace)
    }

    /// A rig with another engine, [`engine`]'s, and a changed configuration.
    pub(crate) fn with(engine: Engine, change: impl FnOnce(&mut HostConfig)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = StoreConfig::new(folder.path().join("images"), folder.path());
        config.roots.extra = vec![waft_guests::path("hello-p2").parent().unwrap().into()];
        let store = Store::new(config).unwrap();
        let id = HostId("host-1".into());
        let mut config = HostConfig {
            id: id.clone(),
            name: "host-1".into(),
            hostname: "localhost".into(),
            labels: BTreeMap::new(),
            environment: None,
            log_dir: Some(folder.path().join("logs")),
            stop_grace: Duration::from_secs(10),
            allow_host_loopback: false,
            volume_dir: Some(folder.path().join("volumes")),
            host_path_roots: Vec::new(),
            tracer: None,
            control_runtime: RUNTIME.handle().clone(),
            guest_runtime: RUNTIME.handle().clone(),
        };
        change(&mut config);
        let host = Host::new(config, engine, CAPABILITIES.clone(), store).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let routes = watch::Sender::new(Arc::default());
        host.serve_http(listener, routes.subscribe()).unwrap();
        Self {
            host,
            address,
            id,
            folder,
            routes,
        }
    }

    /// A rig with one guest behind the host name `test`.
    pub(crate) fn serving(guest: &str) -> Self {
        Self::serving_with(guest, |_| {})
    }

    /// The same, with a changed component.
    pub(crate) fn serving_with(guest: &str, change: impl FnOnce(&mut Component)) -> Self {
        let rig = Self::new();
        let mut workload = workload("w", &[("main", guest)]);
        change(&mut workload.components[0]);
        let id = rig.run(workload);
        rig.route("test", &[&id]);
        rig
    }

    pub(crate) fn start(&self, workload: Workload) -> WorkloadId {
        let id = workload.id.clone();
        self.host.start(&self.id, Arc::new(workload));
        id
    }

    /// Starts a workload and waits until it serves.
    pub(crate) fn run(&self, workload: Workload) -> WorkloadId {
        let id = self.start(workload);
        let state = self.settled(&id);
        assert_eq!(state.phase, Phase::Running);
        id
    }

    /// Waits until a workload serves or has failed.
    pub(crate) fn settled(&self, id: &WorkloadId) -> WorkloadState {
        let state = self.wait_for(id, |state| {
            state.is_some_and(|s| matches!(s.phase, Phase::Running | Phase::Failed(_)))
        });
        state.unwrap()
    }

    pub(crate) fn wait_for(
        &self,
        id: &WorkloadId,
        mut condition: impl FnMut(Option<&WorkloadState>) -> bool,
    ) -> Option<WorkloadState> {
        let mut states = self.host.states();
        RUNTIME.block_on(async {
            let waiting = states.wait_for(|states| condition(states.get(id).map(AsRef::as_ref)));
            let states = timeout(PATIENCE, waiting).await.expect("it hangs");
            states
                .unwrap()
                .get(id)
                .map(|state| WorkloadState::clone(state))
        })
    }

    pub(crate) fn stop(&self, id: &WorkloadId) {
        self.host.stop(&self.id, id);
    }

    /// Routes one host name to replicas, in place of the routes before. Answers may take their time.
    pub(crate) fn route(&self, host: &str, backends: &[&WorkloadId]) {
        self.route_within(host, backends, None);
    }

    pub(crate) fn route_within(
        &self,
        host: &str,
        backends: &[&WorkloadId],
        timeout: Option<Duration>,
    ) {
        self.show([self.route_to(host, backends, timeout)]);
    }

    /// Routes host names to one replica each, in place of the routes before.
    pub(crate) fn routes(&self, routes: [(&str, &WorkloadId, Option<Duration>); 2]) {
        self.show(routes.map(|(host, id, timeout)| self.route_to(host, &[id], timeout)));
    }

    fn route_to(&self, host: &str, backends: &[&WorkloadId], timeout: Option<Duration>) -> Route {
        Route {
            key: RouteKey {
                host: HostPattern::parse(host).unwrap(),
                path: PathMatch::prefix("/"),
            },
            source: "test".into(),
            timeout,
            backends: backends
                .iter()
                .map(|id| Backend {
                    host: self.id.clone(),
                    workload: (*id).clone(),
                })
                .collect(),
        }
    }

    /// Gives the host a table, and waits until it follows it.
    fn show(&self, routes: impl IntoIterator<Item = Route>) {
        // The host follows the table in a task of its own. A name that no table before had, and
        // that leads nowhere, tells when it has it.
        static TABLES: AtomicU32 = AtomicU32::new(0);
        let mark = format!("table-{}.test", TABLES.fetch_add(1, Relaxed));
        let routes = routes.into_iter().chain([self.route_to(&mark, &[], None)]);
        self.routes.send_replace(Arc::new(RouteTable::new(routes)));
        let deadline = std::time::Instant::now() + PATIENCE;
        loop {
            let probe = format!("GET / HTTP/1.1\r\nhost: {mark}\r\n\r\n");
            let answer = self.connect().request(&probe);
            if answer.header("x-waft-reason") == Some("NoReadyBackend") {
                return;
            }
            assert!(std::time::Instant::now() < deadline, "no route: {answer:?}");
            std::thread::yield_now();
        }
    }

    pub(crate) fn connect(&self) -> crate::client::Client {
        crate::client::Client::connect(self.address)
    }

    /// One GET of a path at the host name `test`, on a connection of its own.
    pub(crate) fn get(&self, path: &str) -> crate::client::Answer {
        self.connect()
            .request(format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n"))
    }
}

/// A workload of (component, guest) pairs. Time passes for a guest also while others have the
/// processor: on a loaded machine it may need much of it.
pub(crate) fn workload(name: &str, components: &[(&str, &str)]) -> Workload {
    let component = |(name, guest): &(&str, &str)| Component {
        name: (*name).into(),
        image: Image {
            reference: format!("file:{}", waft_guests::path(guest).display()),
            policy: PullPolicy::IfNotPresent,
            credentials: None,
        },
        pool: Pool::default(),
        resources: LocalResources::default(),
        limits: Limits {
            cpu_time: PATIENCE,
            request_timeout: Some(PATIENCE),
            ..Limits::default()
        },
    };
    Workload {
        id: WorkloadId(format!("uid-{name}")),
        namespace: "default".into(),
        name: name.into(),
        app: name.into(),
        annotations: BTreeMap::new(),
        components: components.iter().map(component).collect(),
        service: None,
        grants: vec![],
        volumes: vec![],
    }
}
