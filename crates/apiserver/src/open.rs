//! Opening and closing a server.

use std::fs::File;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fs4::fs_std::FileExt;
use parking_lot::RwLock;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use waft_apimachinery::decode::{Body, Target};
use waft_apimachinery::registry::{Registry, Resource};
use waft_apimachinery::status::Status;

use crate::access::AccessError;
use crate::admission::Admission;
use crate::admit::Admit;
use crate::authorize;
use crate::authorize::granted::Granted;
use crate::cached::Cached;
use crate::connect::{Connect, NoConnect};
use crate::root_certificate::RootCertificate;
use crate::service::{Service, Text};
use crate::store::{self, Store, StoreError};
use crate::tokens::Tokens;

/// What a server is made of.
#[derive(Clone)]
pub struct Config {
    /// Where objects are kept; `None`: in memory.
    pub data_dir: Option<PathBuf>,
    /// What runs behind pods.
    pub connect: Arc<dyn Connect>,
    /// Further rules for writes.
    pub admit: Vec<Arc<dyn Admit>>,
    /// How much history is kept for watches and lists of the past, in bytes.
    pub history_bytes: usize,
    /// The largest request body, in bytes.
    pub body_bytes: usize,
    /// How many watches may be open at a time; those of this process are not counted.
    pub watches: usize,
    /// The largest list that is answered in one piece, in bytes of stored objects.
    pub list_bytes: usize,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            data_dir: None,
            connect: Arc::new(NoConnect),
            admit: Vec::new(),
            history_bytes: 16 << 20,
            body_bytes: 3 << 20,
            watches: 4096,
            list_bytes: 256 << 20,
        }
    }
}

/// Why a server could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has the data folder.
    #[error("the data folder {} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// The data folder could not be made ready.
    #[error("the data folder {} cannot be used: {source}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The objects could not be read.
    #[error("the data in {} cannot be read: {source}", path.display())]
    Store {
        /// The file that holds them.
        path: PathBuf,
        /// What is wrong with it.
        source: StoreError,
    },
    /// The key of ServiceAccount tokens could not be made or read.
    #[error("the key of service accounts: {0}")]
    Key(#[from] AccessError),
    /// The objects that every server has could not be written.
    #[error("the first objects cannot be written: {0}")]
    Seed(Status),
}

/// The server. Its background work needs a tokio runtime and ends with [`ApiServer::shut_down`].
pub struct ApiServer {
    pub(crate) store: Store,
    pub(crate) registry: RwLock<Arc<Registry>>,
    pub(crate) connect: Arc<dyn Connect>,
    pub(crate) admit: Vec<Arc<dyn Admit>>,
    pub(crate) body_bytes: usize,
    pub(crate) list_bytes: usize,
    pub(crate) watches: Arc<Semaphore>,
    pub(crate) tokens: Tokens,
    pub(crate) root_certificate: RootCertificate,
    pub(crate) granted: Cached<Granted>,
    pub(crate) admission: Cached<Admission>,
    pub(crate) closing: CancellationToken,
    lock: Option<File>,
}

/// The namespaces that every server has.
pub(crate) const NAMESPACES: [&str; 3] = ["default", "kube-system", "kube-public"];

/// The roles and bindings that every server has, from a real one.
const POLICY: &str = include_str!("../data/policy.json");

impl ApiServer {
    /// Opens the data folder, or an empty server in memory, and starts the background work.
    pub async fn open(config: Config) -> Result<Arc<ApiServer>, OpenError> {
        let lock = config.data_dir.as_deref().map(lock_folder).transpose()?;
        let folder = config.data_dir.as_deref();
        let store =
            Store::open(folder, config.history_bytes).map_err(|source| OpenError::Store {
                path: folder.unwrap_or(Path::new("")).join(store::FILE),
                source,
            })?;
        let tokens = Tokens::open(config.data_dir.as_deref())?;
        let server = Arc::new(ApiServer {
            store,
            registry: RwLock::new(Arc::new(Registry::builtin())),
            connect: config.connect,
            admit: config.admit,
            body_bytes: config.body_bytes,
            list_bytes: config.list_bytes,
            watches: Arc::new(Semaphore::new(config.watches.min(Semaphore::MAX_PERMITS))),
            tokens,
            root_certificate: RootCertificate::default(),
            granted: Cached::default(),
            admission: Cached::default(),
            closing: CancellationToken::new(),
            lock,
        });
        server.load_definitions();
        server.seed().await.map_err(OpenError::Seed)?;
        crate::collector::start(&server);
        Ok(server)
    }

    /// A handle that answers requests in this process, as cluster-admin.
    pub fn service(self: &Arc<Self>) -> Service {
        Service::new(self.clone())
    }

    /// Creates or updates CustomResourceDefinitions; they are served when this returns.
    pub async fn install_crds(&self, definitions: Vec<Value>) -> Result<(), Status> {
        for definition in definitions {
            self.install(definition).await?;
        }
        Ok(())
    }

    /// Ends watches and background work, and closes the store. Requests are refused from then on.
    pub fn shut_down(&self) {
        self.closing.cancel();
        self.store.close();
        if let Some(lock) = &self.lock {
            // The lock goes with the file anyway; this frees it for whoever reopens at once.
            let _ = FileExt::unlock(lock);
        }
    }

    /// What is served now.
    pub(crate) fn registry(&self) -> Arc<Registry> {
        self.registry.read().clone()
    }

    /// Makes what every server has, and what of it is missing: together, so that it costs one
    /// write of the disk or two.
    async fn seed(&self) -> Result<(), Status> {
        let namespaces = NAMESPACES.map(|name| {
            let object =
                json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
            ("", "namespaces", object)
        });
        let policy: Vec<Value> =
            serde_json::from_str(POLICY).map_err(|error| Status::internal(error.to_string()))?;
        let policy = policy.into_iter().map(|object| {
            let plural = match object["kind"] == "ClusterRole" {
                true => "clusterroles",
                false => "clusterrolebindings",
            };
            (authorize::GROUP, plural, object)
        });
        let all = namespaces.into_iter().chain(policy);
        let all = all.map(|(group, plural, object)| async move {
            match self.create_internal(group, plural, None, object).await {
                Err(status) if status.code != 409 => Err(status),
                _ => Ok(()),
            }
        });
        futures::future::try_join_all(all).await?;
        let accounts = NAMESPACES.map(|name| self.make_default_account(name));
        futures::future::try_join_all(accounts).await?;
        Ok(())
    }

    /// Creates an object on the server's own behalf.
    pub(crate) async fn create_internal(
        &self,
        group: &str,
        plural: &str,
        namespace: Option<&str>,
        mut object: Value,
    ) -> Result<Value, Status> {
        let resource = self
            .registry()
            .get(group, "v1", plural)
            .cloned()
            .ok_or_else(Status::unknown_resource)?;
        let mut text = Text::internal();
        let body = own_body(&resource, &mut object)?;
        self.create(&resource, namespace, body, &Default::default(), &mut text)
            .await
    }
}

/// A body that this process made itself.
pub(crate) fn own_body(resource: &Resource, object: &mut Value) -> Result<Body, Status> {
    Target::of(resource)
        .check(object, b"")
        .map_err(|unfit| unfit.into_status(&resource.kind, b""))?;
    Ok(Body::plain(object.take()))
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.closing.cancel();
    }
}

fn lock_folder(path: &Path) -> Result<File, OpenError> {
    let failed = |source| OpenError::Folder {
        path: path.to_owned(),
        source,
    };
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(failed)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)).map_err(failed)?;
    let file = std::fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(path.join("lock"))
        .map_err(failed)?;
    match FileExt::try_lock_exclusive(&file) {
        Ok(true) => Ok(file),
        Ok(false) => Err(OpenError::InUse(path.to_owned())),
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
            Err(OpenError::InUse(path.to_owned()))
        }
        Err(error) => Err(failed(error)),
    }
}
