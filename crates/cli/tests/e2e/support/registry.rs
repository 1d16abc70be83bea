//! A real OCI registry: Debian's `docker-registry`, on a free port, with its files in a temporary
//! folder.

use std::{
    fs,
    net::SocketAddr,
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;
use waft_oci::{Store, StoreConfig};

use super::{eventually, free_address, http};

/// A running registry. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Registry {
    child: Child,
    pub(crate) address: SocketAddr,
    folder: TempDir,
    credentials: Option<waft_ir::Credentials>,
}

/// Name and password that a registry with credentials wants.
pub(crate) const USER: &str = "user";
/// See [`USER`].
pub(crate) const PASSWORD: &str = "secret";
/// `user:secret`, as `htpasswd -B` writes it.
const HTPASSWD: &str = "user:$2b$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n";

impl Registry {
    /// Starts one that anybody may use. `None`, and said so, where it is not installed.
    pub(crate) fn start() -> Option<Self> {
        Self::with(None)
    }

    /// Starts one that wants [`USER`] and [`PASSWORD`].
    pub(crate) fn with_credentials() -> Option<Self> {
        Self::with(Some((USER, PASSWORD)))
    }

    fn with(login: Option<(&str, &str)>) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let address = free_address();
        let root = folder.path().join("data");
        let mut config = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n\
             http: {{addr: \"{address}\"}}\n",
            root.display()
        );
        if login.is_some() {
            let file = folder.path().join("htpasswd");
            fs::write(&file, HTPASSWD).expect("a temporary file");
            config += &format!(
                "auth: {{htpasswd: {{realm: test, path: {}}}}}\n",
                file.display()
            );
        }
        let file = folder.path().join("config.yml");
        fs::write(&file, config).expect("a temporary file");
        let log = fs::File::create(folder.path().join("log")).expect("a temporary file");
        let started = Command::new("docker-registry")
            .arg("serve")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a temporary file"))
            .stderr(log)
            .spawn();
        let Ok(child) = started else {
            waft_guests::skip("no docker-registry: run `tests/env/testenv install debian`");
            return None;
        };
        let credentials = login.map(|(user, password)| docker_config(address, user, password));
        let registry = Self {
            child,
            address,
            folder,
            credentials,
        };
        eventually("the registry answers", || {
            match http::get(address, "localhost", "/v2/") {
                Ok(answer) if matches!(answer.status, 200 | 401) => Ok(()),
                other => Err(format!("{other:?}\n{}", registry.log())),
            }
        });
        Some(registry)
    }

    /// Publishes a component as `name`, for example `team/hello:1.0`, and gives its digest.
    pub(crate) fn push(&self, name: &str, component: Vec<u8>) -> String {
        let reference = format!("{}/{name}", self.address);
        let folder = self.folder.path();
        let store = Store::new(StoreConfig::new(folder.join("cache"), folder))
            .unwrap_or_else(|failure| panic!("{failure}"));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime
            .block_on(store.push(&reference, component.into(), self.credentials.as_ref()))
            .unwrap_or_else(|failure| panic!("push of {reference}: {failure}\n{}", self.log()))
    }

    /// `HOST=URL` for `--registry-mirror`: this registry in the place of `host`.
    pub(crate) fn mirror_of(&self, host: &str) -> String {
        format!("{host}=http://{}", self.address)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A docker config file with one login.
pub(crate) fn docker_config(
    address: SocketAddr,
    user: &str,
    password: &str,
) -> waft_ir::Credentials {
    let auths =
        serde_json::json!({ address.to_string(): { "username": user, "password": password } });
    waft_ir::Credentials {
        docker_config_json: serde_json::json!({ "auths": auths }).to_string(),
    }
}
