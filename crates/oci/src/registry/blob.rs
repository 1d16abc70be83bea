//! Blobs: down into the cache, up from memory.

use std::io;

use bytes::Bytes;
use reqwest::{Method, Response, StatusCode, header};
use tokio::io::AsyncWriteExt;
use waft_ir::{Failure, FailureReason};

use super::{Ask, Repository, SMALL_TIMEOUT, client::SendError, failure::bad_address};
use crate::{
    cache::Cache,
    digest::{Digest, Hasher},
    manifest::{self, Descriptor},
    progress::Ticket,
    store::{cache_failure, digest_mismatch},
};

/// Why a download did not come to its end.
enum Broken {
    Network(SendError),
    Disk(io::Error),
    /// More bytes than announced; the digest can't fit any more.
    TooLong,
}

impl Repository<'_> {
    /// Downloads a blob into the cache. It becomes visible there when it is whole and hashes to
    /// its digest.
    pub(crate) async fn download(
        &self,
        blob: &Descriptor,
        digest: Digest,
        cache: &Cache,
        mut ticket: Ticket<'_>,
    ) -> Result<(), Failure> {
        let url = self.url(&format!("blobs/{digest}"))?;
        let ask = Ask {
            method: Method::GET,
            url,
            headers: &[],
            body: None,
            timeout: None,
        };
        let mut attempt = 1;
        loop {
            let response = self.send(&ask).await?;
            let response = self.expect(response).await?;
            let failure = match store(response, blob.size, digest, cache, &mut ticket).await {
                Ok(true) => return Ok(()),
                Ok(false) | Err(Broken::TooLong) => {
                    return Err(digest_mismatch(&self.reference, digest));
                }
                Err(Broken::Disk(error)) => return Err(cache_failure(&error)),
                Err(Broken::Network(error)) => self.broken_off(&error),
            };
            let Some(pause) = self.registries.retry.pause_after(attempt, None) else {
                return Err(failure);
            };
            tracing::debug!(reference = self.reference, attempt, %failure, "downloading again");
            tokio::time::sleep(pause).await;
            attempt += 1;
        }
    }

    /// Uploads a blob, unless the repository has it.
    pub(crate) async fn upload(&self, digest: Digest, bytes: Bytes) -> Result<(), Failure> {
        let head = Ask {
            method: Method::HEAD,
            url: self.url(&format!("blobs/{digest}"))?,
            headers: &[],
            body: None,
            timeout: Some(SMALL_TIMEOUT),
        };
        let response = self.send(&head).await?;
        if response.status() != StatusCode::NOT_FOUND {
            self.expect(response).await?;
            return Ok(());
        }
        let open = Ask {
            method: Method::POST,
            url: self.url("blobs/uploads/")?,
            headers: &[(header::CONTENT_LENGTH, "0")],
            body: None,
            timeout: Some(SMALL_TIMEOUT),
        };
        let response = self.send(&open).await?;
        let response = self.expect(response).await?;
        let location = response.headers().get(header::LOCATION);
        let location = location.and_then(|value| value.to_str().ok());
        let Some(location) = location else {
            return Err(Failure::new(
                FailureReason::ImagePullFailed,
                format!(
                    "`{}` can't be pushed: the registry gave no address to upload to",
                    self.reference
                ),
            ));
        };
        let url = response.url().join(location);
        let mut url = url.map_err(|e| bad_address(&self.reference, &e))?;
        url.query_pairs_mut()
            .append_pair("digest", &digest.to_string());
        let put = Ask {
            method: Method::PUT,
            url,
            headers: &[(header::CONTENT_TYPE, "application/octet-stream")],
            body: Some(bytes),
            timeout: None,
        };
        let response = self.send(&put).await?;
        self.expect(response).await?;
        Ok(())
    }

    /// Uploads a manifest under a tag or digest.
    pub(crate) async fn upload_manifest(&self, target: &str, bytes: Bytes) -> Result<(), Failure> {
        let put = Ask {
            method: Method::PUT,
            url: self.url(&format!("manifests/{target}"))?,
            headers: &[(header::CONTENT_TYPE, manifest::MANIFEST)],
            body: Some(bytes),
            timeout: Some(SMALL_TIMEOUT),
        };
        let response = self.send(&put).await?;
        self.expect(response).await?;
        Ok(())
    }
}

/// Writes an answer into the cache; `false` if it hashes to something else than the digest.
async fn store(
    mut response: Response,
    size: u64,
    digest: Digest,
    cache: &Cache,
    ticket: &mut Ticket<'_>,
) -> Result<bool, Broken> {
    let file = cache.begin().map_err(Broken::Disk)?;
    // Split, so that the file is written asynchronously while its path is still deleted on drop.
    let (file, path) = file.into_parts();
    let mut file = tokio::io::BufWriter::with_capacity(256 << 10, tokio::fs::File::from_std(file));
    let mut hasher = Hasher::default();
    let mut received = 0;
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|e| Broken::Network(e.into()))?
    {
        received += chunk.len() as u64;
        if received > size {
            return Err(Broken::TooLong);
        }
        hasher.update(&chunk);
        file.write_all(&chunk).await.map_err(Broken::Disk)?;
        ticket.received(received);
    }
    file.flush().await.map_err(Broken::Disk)?;
    if hasher.finish() != digest {
        return Ok(false);
    }
    let file = file.into_inner().into_std().await;
    let file = tempfile::NamedTempFile::from_parts(file, path);
    let cache = cache.clone();
    let committed = tokio::task::spawn_blocking(move || cache.commit(file, digest)).await;
    committed
        .unwrap_or_else(|e| Err(io::Error::other(e)))
        .map_err(Broken::Disk)?;
    Ok(true)
}
