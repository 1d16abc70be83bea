//! What `waft up` can be told.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use crate::manifest::Source;

/// Settings of one platform on one machine. [`Default`] is what `waft up` does without flags. It has
/// no `Debug`, because URLs hold passwords.
#[derive(Clone)]
pub struct UpOptions {
    /// What to apply at start. Empty: only what the data folder holds.
    pub sources: Vec<Source>,
    /// Folder of the store, the logs and the kubeconfig. `None`: a temporary folder, which goes at
    /// the end.
    pub data_dir: Option<PathBuf>,
    /// Whether API objects are kept in memory only.
    pub ephemeral: bool,
    /// Folder of cached images and compiled code.
    pub cache_dir: PathBuf,
    /// Address of the tenants' HTTP listener; port 0 takes a free one.
    pub http: SocketAddr,
    /// Address of the Kubernetes API.
    pub api: SocketAddr,
    /// Address of the admin listener (`/metrics`, `/livez`, `/readyz`).
    pub admin: SocketAddr,
    /// Whether the sources, and the Wasm files they name, are watched.
    pub watch: bool,
    /// Registry host → base URL that stands in for it.
    pub registry_mirrors: Vec<(String, String)>,
    /// Labels of the Host, beside `hostgroup=default`.
    pub host_labels: BTreeMap<String, String>,
    /// Environment of the Host; `None` matches any.
    pub environment: Option<String>,
    /// Folders, beside the working folder and those of the sources, that `file:` and `oci:` may
    /// name.
    pub file_roots: Vec<PathBuf>,
    /// Folders that `hostPath` volumes may name.
    pub host_path_roots: Vec<PathBuf>,
    /// Whether guests may reach ports of the machine's loopback that their manifest lists.
    pub allow_host_loopback: bool,
    /// Files in PEM with certificate authorities that guests' requests trust beside the system's.
    pub outbound_ca: Vec<PathBuf>,
    /// URL of a NATS server for the interfaces that want one.
    pub nats: Option<String>,
    /// URL of a Redis server for the interfaces that want one.
    pub redis: Option<String>,
    /// URL of an S3 server for the interfaces that want one; its credentials are in the environment.
    pub s3: Option<String>,
    /// URL of a PostgreSQL server for `wasmcloud:postgres`.
    pub postgres: Option<String>,
    /// Whether a span of each request is sent to the OpenTelemetry collector that the variables
    /// `OTEL_…` name.
    pub traces: bool,
    /// Whether what guests say by `wasi:otel` is sent to it, as far as the variables name one.
    pub guest_telemetry: bool,
    /// How long in-flight requests may go on at the end.
    pub grace: Duration,
}

impl Default for UpOptions {
    fn default() -> Self {
        Self {
            sources: Vec::new(),
            data_dir: default_data_dir(),
            ephemeral: false,
            cache_dir: default_cache_dir(),
            http: SocketAddr::from(([127, 0, 0, 1], 8000)),
            api: SocketAddr::from(([127, 0, 0, 1], 7443)),
            admin: SocketAddr::from(([127, 0, 0, 1], 7444)),
            watch: false,
            registry_mirrors: Vec::new(),
            host_labels: BTreeMap::new(),
            environment: None,
            file_roots: Vec::new(),
            host_path_roots: Vec::new(),
            allow_host_loopback: false,
            outbound_ca: Vec::new(),
            nats: None,
            redis: None,
            s3: None,
            postgres: None,
            traces: false,
            guest_telemetry: false,
            grace: Duration::from_secs(10),
        }
    }
}

/// `$XDG_STATE_HOME/waft/default`, else `~/.local/state/waft/default`. `None` without a home.
pub fn default_data_dir() -> Option<PathBuf> {
    xdg("XDG_STATE_HOME", ".local/state").map(|base| base.join("waft/default"))
}

/// `$XDG_CACHE_HOME/waft`, else `~/.cache/waft`; without a home, a folder under the system's
/// temporary folder.
pub fn default_cache_dir() -> PathBuf {
    xdg("XDG_CACHE_HOME", ".cache")
        .unwrap_or_else(std::env::temp_dir)
        .join("waft")
}

/// A base folder of the XDG specification: the variable if it holds an absolute path, else the
/// default below the home folder.
fn xdg(variable: &str, below_home: &str) -> Option<PathBuf> {
    let set = std::env::var_os(variable)
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    set.or_else(|| std::env::home_dir().map(|home| home.join(below_home)))
}
