//! A platform for one test: its own folders, free ports, and the events it told.

use std::{
    fmt::Debug,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use kube::{
    Api, Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde::de::DeserializeOwned;
use tempfile::TempDir;
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use waft_local::{Source, UpError, UpEvent, UpOptions, up};

/// How long anything may take: a machine under load compiles slowly.
const PATIENCE: Duration = Duration::from_secs(300);

/// A platform that runs.
pub(crate) struct Platform {
    pub(crate) client: Client,
    pub(crate) http: SocketAddr,
    pub(crate) admin: SocketAddr,
    /// What was told before it had started.
    pub(crate) told: Vec<UpEvent>,
    events: mpsc::Receiver<UpEvent>,
    shutdown: CancellationToken,
    running: JoinHandle<Result<(), UpError>>,
}

/// A folder that outlives platforms, so that one can be started again.
pub(crate) struct Home(TempDir);

impl Home {
    pub(crate) fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes a file, whole, as an editor does, and returns its path: who watches it never sees
    /// half of it.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        let new = self.path().join(format!("{name}.new"));
        std::fs::write(&new, content).unwrap();
        std::fs::rename(new, &path).unwrap();
        path
    }

    /// Options that keep everything in this folder and take free ports.
    pub(crate) fn options(&self) -> UpOptions {
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        UpOptions {
            data_dir: Some(self.path().join("data")),
            cache_dir: cache(),
            http: free,
            api: free,
            admin: free,
            grace: Duration::from_secs(2),
            ..UpOptions::default()
        }
    }

    /// Options that apply a file.
    pub(crate) fn applying(&self, file: &Path) -> UpOptions {
        UpOptions {
            sources: vec![Source::Path(file.into())],
            ..self.options()
        }
    }
}

/// Compiled code is shared by the tests of one build.
fn cache() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache")
}

/// The prebuilt component of the first example.
pub(crate) fn hello_wasm() -> Vec<u8> {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/hello/hello.wasm");
    std::fs::read(example).unwrap()
}

/// A WorkloadDeployment of `hello.wasm` beside it, at `NAME.localhost`.
pub(crate) fn hello(name: &str) -> String {
    format!(
        "apiVersion: runtime.wasmcloud.dev/v1alpha1
kind: WorkloadDeployment
metadata:
  name: {name}
spec:
  template:
    spec:
      hostInterfaces:
        - namespace: wasi
          package: http
          interfaces: [incoming-handler]
          config: {{host: {name}.localhost}}
      components:
        - name: http
          image: file:hello.wasm
"
    )
}

impl Platform {
    /// Starts a platform and waits until it has applied everything.
    pub(crate) async fn start(options: UpOptions) -> Result<Self, UpError> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        // Shown for tests that fail, if RUST_LOG asks for it.
        let _ = tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
            .with_test_writer()
            .try_init();
        let folder = options.data_dir.clone().unwrap();
        let (sender, mut events) = mpsc::channel(1024);
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(up(options, sender, shutdown.clone()));
        let mut told = Vec::new();
        let (mut http, mut admin, mut started) = (None, None, false);
        while let Some(event) = events.recv().await {
            match &event {
                UpEvent::HttpReady { address } => http = Some(*address),
                UpEvent::AdminReady { address } => admin = Some(*address),
                UpEvent::Started => {
                    started = true;
                    break;
                }
                _ => {}
            }
            told.push(event);
        }
        let (true, Some(http), Some(admin)) = (started, http, admin) else {
            return Err(running.await.unwrap().unwrap_err());
        };
        Ok(Self {
            client: client(&folder.join("kubeconfig")).await,
            http,
            admin,
            told,
            events,
            shutdown,
            running,
        })
    }

    /// Objects in namespace `default`, over TLS as kubectl reaches them.
    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned,
    {
        Api::namespaced(self.client.clone(), "default")
    }

    /// The first event from now on for which there is an answer.
    pub(crate) async fn event<T>(&mut self, wanted: impl Fn(&UpEvent) -> Option<T>) -> T {
        if let Some(found) = self.told.iter().find_map(&wanted) {
            return found;
        }
        let search = async {
            loop {
                let event = self.events.recv().await.expect("the platform runs");
                if let Some(found) = wanted(&event) {
                    return found;
                }
                self.told.push(event);
            }
        };
        match tokio::time::timeout(PATIENCE, search).await {
            Ok(found) => found,
            Err(_) => panic!("not told; told was: {:#?}", self.told),
        }
    }

    /// Status and body of a request.
    pub(crate) async fn get(&self, host: &str, path: &str) -> (u16, String) {
        let url = format!("http://{}{path}", self.http);
        get(&url, Some(host)).await
    }

    /// Status and body of a request to the admin listener.
    pub(crate) async fn admin(&self, path: &str) -> (u16, String) {
        get(&format!("http://{}{path}", self.admin), None).await
    }

    /// Waits until a host answers with a status, and returns the body.
    pub(crate) async fn until_status(&self, host: &str, status: u16) -> String {
        eventually(async || {
            let (now, body) = self.get(host, "/").await;
            (now == status).then_some(body)
        })
        .await
    }

    /// Ends it as Ctrl-C does.
    pub(crate) async fn stop(self) -> Result<(), UpError> {
        self.shutdown.cancel();
        let ended = tokio::time::timeout(PATIENCE, self.running).await;
        ended.expect("it ends").unwrap()
    }
}

async fn get(url: &str, host: Option<&str>) -> (u16, String) {
    let mut request = reqwest::Client::new().get(url);
    if let Some(host) = host {
        request = request.header("host", host);
    }
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    (status, answer.text().await.unwrap())
}

/// A client by a kubeconfig.
pub(crate) async fn client(kubeconfig: &Path) -> Client {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(kubeconfig, &options)
        .await
        .unwrap();
    Client::try_from(config).unwrap()
}

/// Tries until there is an answer.
pub(crate) async fn eventually<T>(mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    let tries = async {
        loop {
            if let Some(found) = attempt().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let found = tokio::time::timeout(PATIENCE, tries).await;
    found.expect("the condition holds in time")
}
