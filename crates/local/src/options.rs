//! What `waft up` can be told.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use waft_apimachinery::names::{label_value, qualified_name};

use crate::{event::UpError, manifest::Source};

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

impl UpOptions {
    /// Refuses values that would only be found out about later, and by nobody: a Host object with such
    /// labels can't be written, and nothing lies in a folder that is not there.
    pub(crate) fn check(&self) -> Result<(), UpError> {
        let refused = |flag, value: String, problem: String| UpError::Flag {
            flag,
            value,
            problem,
        };
        for (key, value) in &self.host_labels {
            let problems = qualified_name(key).into_iter().chain(label_value(value));
            if let Some(problem) = problems.last() {
                return Err(refused("--host-label", format!("{key}={value}"), problem));
            }
        }
        let files = self.file_roots.iter().map(|root| ("--file-root", root));
        let host_paths = self.host_path_roots.iter();
        let host_paths = host_paths.map(|root| ("--host-path-root", root));
        for (flag, root) in files.chain(host_paths) {
            let problem = match std::fs::metadata(root) {
                Ok(found) if found.is_dir() => continue,
                Ok(_) => "it is no folder".into(),
                Err(error) => error.to_string(),
            };
            return Err(refused(flag, root.display().to_string(), problem));
        }
        Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut UpOptions)) -> String {
        let mut options = UpOptions::default();
        change(&mut options);
        let checked = options.check();
        checked.err().map_or_else(String::new, |e| e.to_string())
    }

    #[test]
    fn values_of_flags_that_can_only_fail_later_are_refused() {
        let label = |key: &str, value: &str| {
            refused(|options| {
                options.host_labels = [(key.to_owned(), value.to_owned())].into();
            })
        };
        assert_eq!(label("example.com/zone", "eu_1"), "");
        assert_eq!(label("zone", ""), "");
        let said = label("a b", "c");
        assert!(
            said.starts_with("--host-label a b=c: name part must"),
            "{said}"
        );
        let said = label("zone", "!");
        assert!(
            said.starts_with("--host-label zone=!: a valid label"),
            "{said}"
        );

        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let root = |path: PathBuf| refused(|options| options.file_roots = vec![path]);
        assert_eq!(root(folder.path().into()), "");
        let said = root(file.clone());
        assert_eq!(
            said,
            format!("--file-root {}: it is no folder", file.display())
        );
        let said = refused(|options| options.host_path_roots = vec!["absent".into()]);
        assert!(
            said.starts_with("--host-path-root absent: No such file"),
            "{said}"
        );
    }
}
