//! The cache on disk: blobs by digest, references to digests.
//!
//! ```text
//! blobs/sha256/HEX   content; the name says what it must hash to
//! refs/HEX           {"reference": …, "digest": …}; HEX is the hash of the reference
//! tmp/               what is being written
//! ```
//! A file gets its final name only when it is whole and on disk, so a process killed at any moment
//! leaves nothing but a file in `tmp`. Several processes may share one cache. All of it blocks;
//! callers run it off the async threads.

use std::{
    fs::{self, DirBuilder, File, Permissions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use crate::digest::Digest;

/// Age at which a file in `tmp` belongs to nobody any more: downloads write all the time.
const ABANDONED: Duration = Duration::from_secs(3600);

/// An open cache.
#[derive(Clone, Debug)]
pub(crate) struct Cache {
    root: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct Tag {
    reference: String,
    digest: String,
}

impl Cache {
    /// Opens or creates a cache, for this user's eyes only.
    pub(crate) fn open(root: &Path) -> io::Result<Self> {
        let cache = Self { root: root.into() };
        for dir in [
            root.to_owned(),
            cache.blobs(),
            cache.refs(),
            cache.temporary(),
        ] {
            DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
        }
        fs::set_permissions(root, Permissions::from_mode(0o700))?;
        cache.sweep();
        Ok(cache)
    }

    /// The content of a digest. Content that was damaged on disk is dropped, as if never there.
    pub(crate) fn read(&self, digest: Digest) -> io::Result<Option<Bytes>> {
        let path = self.blob(digest);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        if Digest::of(&bytes) == digest {
            return Ok(Some(bytes.into()));
        }
        tracing::warn!(%digest, path = %path.display(), "dropping a damaged file of the image cache");
        fs::remove_file(&path)?;
        Ok(None)
    }

    /// A file to write content to.
    pub(crate) fn begin(&self) -> io::Result<NamedTempFile> {
        NamedTempFile::new_in(self.temporary())
    }

    /// Makes written content visible. The caller has checked that it hashes to the digest.
    pub(crate) fn commit(&self, file: NamedTempFile, digest: Digest) -> io::Result<()> {
        persist(file, &self.blob(digest))
    }

    /// Writes content that is at hand.
    pub(crate) fn write(&self, digest: Digest, bytes: &[u8]) -> io::Result<()> {
        let mut file = self.begin()?;
        file.write_all(bytes)?;
        self.commit(file, digest)
    }

    /// What a reference stood for when it was last pulled.
    pub(crate) fn tag(&self, reference: &str) -> io::Result<Option<Digest>> {
        let bytes = match fs::read(self.reference(reference)) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        // A file that isn't ours or is damaged counts as absent: it will be written again.
        let tag: Option<Tag> = serde_json::from_slice(&bytes).ok();
        let tag = tag.filter(|tag| tag.reference == reference);
        Ok(tag.and_then(|tag| tag.digest.parse().ok()))
    }

    /// Remembers what a reference stands for. Its blobs must be there already.
    pub(crate) fn set_tag(&self, reference: &str, digest: Digest) -> io::Result<()> {
        let mut file = self.begin()?;
        let tag = Tag {
            reference: reference.into(),
            digest: digest.to_string(),
        };
        serde_json::to_writer(&mut file, &tag)?;
        persist(file, &self.reference(reference))
    }

    fn sweep(&self) {
        let Ok(entries) = fs::read_dir(self.temporary()) else {
            return;
        };
        let now = SystemTime::now();
        for entry in entries.flatten() {
            let written = entry.metadata().and_then(|m| m.modified());
            let age = written.map(|time| now.duration_since(time).unwrap_or_default());
            if age.is_ok_and(|age| age > ABANDONED) {
                // Another process may have been quicker, and a leftover does no harm.
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    fn blobs(&self) -> PathBuf {
        self.root.join("blobs/sha256")
    }

    fn refs(&self) -> PathBuf {
        self.root.join("refs")
    }

    fn temporary(&self) -> PathBuf {
        self.root.join("tmp")
    }

    fn blob(&self, digest: Digest) -> PathBuf {
        self.blobs().join(digest.hex())
    }

    fn reference(&self, reference: &str) -> PathBuf {
        // Hashed, since a reference may be longer than a file name.
        self.refs().join(Digest::of(reference.as_bytes()).hex())
    }
}

/// Gives a file its final name once its content is on disk.
fn persist(file: NamedTempFile, path: &Path) -> io::Result<()> {
    file.as_file().sync_all()?;
    file.persist(path).map_err(|e| e.error)?;
    match path.parent() {
        Some(dir) => File::open(dir)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache() -> (tempfile::TempDir, Cache) {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(&dir.path().join("images")).unwrap();
        (dir, cache)
    }

    #[test]
    fn content_and_references_are_kept() {
        let (dir, cache) = cache();
        let digest = Digest::of(b"hello");
        assert_eq!(cache.read(digest).unwrap(), None);
        cache.write(digest, b"hello").unwrap();
        cache.set_tag("a:1", digest).unwrap();
        let again = Cache::open(&dir.path().join("images")).unwrap();
        assert_eq!(again.read(digest).unwrap().unwrap(), "hello");
        assert_eq!(again.tag("a:1").unwrap(), Some(digest));
        assert_eq!(again.tag("a:2").unwrap(), None);
        let mode = fs::metadata(&cache.root).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    #[test]
    fn damage_counts_as_absence() {
        let (_dir, cache) = cache();
        let digest = Digest::of(b"hello");
        cache.write(digest, b"hello").unwrap();
        fs::write(cache.blob(digest), "hellO").unwrap();
        assert_eq!(cache.read(digest).unwrap(), None);
        assert!(!cache.blob(digest).exists());
        cache.set_tag("a:1", digest).unwrap();
        fs::write(cache.reference("a:1"), "{").unwrap();
        assert_eq!(cache.tag("a:1").unwrap(), None);
    }

    #[test]
    fn only_abandoned_leftovers_are_swept() {
        let (dir, cache) = cache();
        let (young, old) = (cache.temporary().join("a"), cache.temporary().join("b"));
        fs::write(&young, "").unwrap();
        let file = File::create(&old).unwrap();
        file.set_modified(SystemTime::now() - 2 * ABANDONED)
            .unwrap();
        Cache::open(&dir.path().join("images")).unwrap();
        assert!(young.exists() && !old.exists());
    }
}
