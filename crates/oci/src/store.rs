//! The store: every form of image, through one door.

mod flight;
mod pull;

use std::{collections::HashMap, io, path::PathBuf, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use waft_ir::{Artifact, Artifacts, Failure, FailureReason, Image};

use self::flight::Flights;
use crate::{
    FileRoots, Mirror, Retry, Transfers,
    cache::Cache,
    component::{self, Surface},
    credentials::DockerConfig,
    digest::Digest,
    files,
    layout::{self, Found},
    progress::Progress,
    reference::{self, Source},
    registry::Registries,
};

/// Largest layer by default.
const MAX_LAYER_BYTES: u64 = 512 << 20;
/// Most surfaces remembered; past it, all are read again.
const MOST_SURFACES: usize = 1024;

/// How a store is set up.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// The cache's folder; created when absent, readable by the user alone.
    pub cache_dir: PathBuf,
    /// Registries reached under another address.
    pub mirrors: Vec<Mirror>,
    /// Where `file:` and `oci:` images may lie.
    pub roots: FileRoots,
    /// The user's own registry credentials, used where the manifest has none.
    pub docker_config: DockerConfig,
    /// Largest component that is accepted.
    pub max_layer_bytes: u64,
    /// How registries are tried again.
    pub retry: Retry,
}

/// Fetches images and keeps them. Clones share everything.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

/// A fetched image.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// Digest of what the reference names: the manifest or index in a registry or layout, the
    /// bytes of a file.
    pub digest: String,
    /// The same image by that digest, where its form allows that.
    pub pinned: String,
    /// Digest of [`bytes`](Self::bytes).
    pub content_digest: Digest,
    /// The component, verified.
    pub bytes: Bytes,
}

struct Inner {
    config: StoreConfig,
    cache: Cache,
    registries: Registries,
    progress: Progress,
    flights: Flights<flight::Key, Result<Fetched, Failure>>,
    surfaces: Mutex<HashMap<Digest, Arc<Surface>>>,
}

impl StoreConfig {
    /// A configuration without mirrors, for files below one folder, with the user's credentials.
    pub fn new(cache_dir: impl Into<PathBuf>, working_dir: impl Into<PathBuf>) -> Self {
        Self {
            cache_dir: cache_dir.into(),
            mirrors: Vec::new(),
            roots: FileRoots {
                working_dir: working_dir.into(),
                ..FileRoots::default()
            },
            docker_config: DockerConfig::User,
            max_layer_bytes: MAX_LAYER_BYTES,
            retry: Retry::default(),
        }
    }
}

impl Store {
    /// Opens a store. Fails if its cache can't be written.
    pub fn new(config: StoreConfig) -> Result<Self, Failure> {
        // Refused if the process has chosen a provider before, which is just as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let cache = Cache::open(&config.cache_dir).map_err(|e| {
            let message = format!("the image cache `{}`: {e}", config.cache_dir.display());
            Failure::new(FailureReason::Internal, message)
        })?;
        let registries = Registries::new(
            config.mirrors.clone(),
            config.docker_config.clone(),
            config.retry,
        );
        Ok(Self(Arc::new(Inner {
            config,
            cache,
            registries,
            progress: Progress::new(),
            flights: Flights::default(),
            surfaces: Mutex::default(),
        })))
    }

    /// Fetches an image under its policy. Calls for the same image at the same time share one
    /// download, which goes on when a caller leaves. Needs a tokio runtime.
    pub async fn fetch(&self, image: &Image) -> Result<Fetched, Failure> {
        match reference::parse(&image.reference)? {
            Source::Registry(reference) => {
                let (inner, owned) = (self.0.clone(), image.clone());
                let pull = async move { inner.pull(&owned, &reference).await };
                let lost = || Failure::new(FailureReason::Internal, "the download was lost");
                let key = flight::Key::of(image);
                let result = self.0.flights.join(key, pull).await;
                result.unwrap_or_else(|| Err(lost()))
            }
            Source::File(path) => {
                self.local(image, move |inner, written| {
                    let real = inner.config.roots.find(&path, written)?;
                    let bytes = files::read(&real, inner.config.max_layer_bytes, written)?;
                    let digest = Digest::of(&bytes);
                    Ok(Found {
                        digest,
                        content: digest,
                        bytes,
                    })
                })
                .await
            }
            Source::Layout(target) => {
                self.local(image, move |inner, written| {
                    let limit = inner.config.max_layer_bytes;
                    layout::read(&inner.config.roots, &target, limit, written)
                })
                .await
            }
        }
    }

    /// The downloads under way.
    pub fn transfers(&self) -> Transfers {
        self.0.progress.subscribe()
    }

    pub(crate) fn registries(&self) -> &Registries {
        &self.0.registries
    }

    /// Reads an image from this machine, off the async threads.
    async fn local(
        &self,
        image: &Image,
        read: impl FnOnce(&Inner, &str) -> Result<Found, Failure> + Send + 'static,
    ) -> Result<Fetched, Failure> {
        let (inner, written) = (self.0.clone(), image.reference.clone());
        let task = tokio::task::spawn_blocking(move || {
            let found = read(&inner, &written)?;
            Ok(Fetched {
                digest: found.digest.to_string(),
                pinned: written,
                content_digest: found.content,
                bytes: found.bytes,
            })
        });
        task.await
            .unwrap_or_else(|e| Err(cache_failure(&io::Error::other(e))))
    }

    /// Imports and exports of a component; remembered, because replicas ask again and again.
    fn surface(&self, reference: &str, fetched: &Fetched) -> Result<Arc<Surface>, Failure> {
        if let Some(surface) = self.0.surfaces.lock().get(&fetched.content_digest) {
            return Ok(surface.clone());
        }
        let surface = Arc::new(component::inspect(reference, &fetched.bytes)?);
        let mut surfaces = self.0.surfaces.lock();
        if surfaces.len() >= MOST_SURFACES {
            surfaces.clear();
        }
        surfaces.insert(fetched.content_digest, surface.clone());
        Ok(surface)
    }
}

#[async_trait]
impl Artifacts for Store {
    async fn resolve(&self, image: &Image) -> Result<Artifact, Failure> {
        let fetched = self.fetch(image).await?;
        let surface = self.surface(&image.reference, &fetched)?;
        Ok(Artifact {
            digest: fetched.digest,
            pinned: fetched.pinned,
            imports: surface.imports.clone(),
            exports: surface.exports.clone(),
        })
    }
}

/// The failure of a cache that can't be read or written.
pub(crate) fn cache_failure(error: &io::Error) -> Failure {
    let (reason, hint) = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            (FailureReason::HostAtCapacity, "; make room on its disk")
        }
        _ => (FailureReason::Internal, ""),
    };
    Failure::new(reason, format!("the image cache failed: {error}{hint}"))
}

/// The failure of bytes that hash to something else than the digest that names them.
pub(crate) fn digest_mismatch(reference: &str, digest: Digest) -> Failure {
    Failure::new(
        FailureReason::DigestMismatch,
        format!(
            "`{reference}`: what the registry sent for `{digest}` hashes to something else, and \
             was thrown away; push the image again, or check what lies between"
        ),
    )
}
