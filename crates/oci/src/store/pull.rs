//! From a registry reference to bytes: the policy, the cache, the registry.

use std::io;

use bytes::Bytes;
use oci_client::Reference;
use waft_ir::{Failure, FailureReason, Image, PullPolicy};

use super::{Fetched, Inner, cache_failure, digest_mismatch};
use crate::{
    cache::Cache,
    digest::Digest,
    files,
    manifest::{self, Descriptor, Document},
    registry::{Repository, RepositoryAccess},
};

/// Most indexes on the way to a manifest. More than one has no use.
const DEPTH: usize = 2;

impl Inner {
    /// Fetches an image of a registry.
    pub(super) async fn pull(
        &self,
        image: &Image,
        reference: &Reference,
    ) -> Result<Fetched, Failure> {
        let written = image.reference.as_str();
        let name = reference.to_string();
        let named: Option<Digest> = reference.digest().and_then(|digest| digest.parse().ok());
        let cached = match named {
            Some(digest) => Some(digest),
            None => {
                let name = name.clone();
                self.blocking(move |cache| cache.tag(&name)).await?
            }
        };
        let ask_again = image.policy == PullPolicy::Always && named.is_none();
        if let Some(digest) = cached
            && !ask_again
            && let Some(fetched) = self.assemble(digest, reference, written, None).await?
        {
            return Ok(fetched);
        }
        if image.policy == PullPolicy::Never {
            return Err(Failure::new(
                FailureReason::ImageNotCached,
                format!(
                    "`{written}` is not in the cache, and `imagePullPolicy: Never` forbids to pull \
                     it; pull it once with `IfNotPresent`"
                ),
            ));
        }
        let repository = self
            .registries
            .open(
                reference,
                written,
                image.credentials.as_ref(),
                RepositoryAccess::Pull,
            )
            .await?;
        let complete = async |digest| {
            let fetched = self.assemble(digest, reference, written, Some(&repository));
            fetched.await?.ok_or_else(|| damaged(written))
        };
        if let Some(digest) = named {
            return complete(digest).await;
        }
        // The tag's image was damaged on disk: the same image again, if the registry still has it.
        if let Some(digest) = cached
            && !ask_again
        {
            match complete(digest).await {
                Err(failure) if failure.reason == FailureReason::ImageNotFound => {}
                other => return other,
            }
        }
        let tag = reference.tag().unwrap_or("latest");
        let digest = self.resolve(&repository, tag, ask_again, written).await?;
        let fetched = complete(digest).await?;
        self.blocking(move |cache| cache.set_tag(&name, digest))
            .await?;
        Ok(fetched)
    }

    /// What a tag stands for; its manifest is in the cache afterwards, unless it was only asked for
    /// by name.
    async fn resolve(
        &self,
        repository: &Repository<'_>,
        tag: &str,
        by_name: bool,
        written: &str,
    ) -> Result<Digest, Failure> {
        // Where the image is likely to be cached, its name is enough (and some registries count
        // each manifest sent as a pull).
        if by_name && let Some(digest) = repository.resolve(tag).await? {
            return Ok(digest);
        }
        let (bytes, told) = repository.manifest(tag).await?;
        let digest = Digest::of(&bytes);
        if let Some(told) = told
            && told != digest
        {
            return Err(digest_mismatch(written, told));
        }
        self.blocking(move |cache| cache.write(digest, &bytes))
            .await?;
        Ok(digest)
    }

    /// Follows a digest to the component. What the cache lacks is downloaded; without a repository
    /// to download from, `None` says that something is lacking.
    async fn assemble(
        &self,
        top: Digest,
        reference: &Reference,
        written: &str,
        repository: Option<&Repository<'_>>,
    ) -> Result<Option<Fetched>, Failure> {
        let unsuitable =
            |why: String| Failure::new(FailureReason::NotWasm, format!("`{written}`: {why}"));
        let mut digest = top;
        let mut depth = 0;
        let layers = loop {
            let Some(bytes) = self.document(digest, repository, written).await? else {
                return Ok(None);
            };
            match Document::parse(&bytes).map_err(unsuitable)? {
                Document::Manifest(layers) => break layers,
                Document::Index(entries) if depth < DEPTH => {
                    let entry = manifest::choose_manifest(&entries).map_err(unsuitable)?;
                    digest = entry.digest().map_err(unsuitable)?;
                    depth += 1;
                }
                Document::Index(_) => {
                    return Err(unsuitable("its indexes point to indexes".into()));
                }
            }
        };
        let layer = manifest::choose_layer(&layers).map_err(unsuitable)?;
        let content = layer.digest().map_err(unsuitable)?;
        let Some(bytes) = self.layer(layer, content, repository, written).await? else {
            return Ok(None);
        };
        let (registry, path) = (reference.registry(), reference.repository());
        Ok(Some(Fetched {
            digest: top.to_string(),
            pinned: format!("{registry}/{path}@{top}"),
            content_digest: content,
            bytes,
        }))
    }

    /// A manifest or index.
    async fn document(
        &self,
        digest: Digest,
        repository: Option<&Repository<'_>>,
        written: &str,
    ) -> Result<Option<Bytes>, Failure> {
        let cached = self.blocking(move |cache| cache.read(digest)).await?;
        let Some(repository) = repository.filter(|_| cached.is_none()) else {
            return Ok(cached);
        };
        let (bytes, _) = repository.manifest(&digest.to_string()).await?;
        if Digest::of(&bytes) != digest {
            return Err(digest_mismatch(written, digest));
        }
        let copy = bytes.clone();
        self.blocking(move |cache| cache.write(digest, &copy))
            .await?;
        Ok(Some(bytes))
    }

    /// A layer.
    async fn layer(
        &self,
        layer: &Descriptor,
        digest: Digest,
        repository: Option<&Repository<'_>>,
        written: &str,
    ) -> Result<Option<Bytes>, Failure> {
        if layer.size > self.config.max_layer_bytes {
            return Err(files::too_large(written, self.config.max_layer_bytes));
        }
        let cached = self.blocking(move |cache| cache.read(digest)).await?;
        let Some(repository) = repository.filter(|_| cached.is_none()) else {
            return Ok(cached);
        };
        let ticket = self.progress.begin(written, layer.size);
        repository
            .download(layer, digest, &self.cache, ticket)
            .await?;
        self.blocking(move |cache| cache.read(digest)).await
    }

    /// Runs a cache operation off the async threads.
    async fn blocking<T: Send + 'static>(
        &self,
        run: impl FnOnce(&Cache) -> io::Result<T> + Send + 'static,
    ) -> Result<T, Failure> {
        let cache = self.cache.clone();
        let task = tokio::task::spawn_blocking(move || run(&cache));
        let result = task.await.unwrap_or_else(|e| Err(io::Error::other(e)));
        result.map_err(|e| cache_failure(&e))
    }
}

/// The failure of a download that was damaged again before it could be read.
fn damaged(reference: &str) -> Failure {
    let message = format!("`{reference}` was pulled but can't be read back from the cache");
    Failure::new(FailureReason::Internal, message)
}
