//! Values on their way into a store: what a guest has written so far. The first bytes are held in
//! memory, more go to a file, so that no value takes the host's memory however large it is, and a
//! store gets it whole, with its size. What a namespace may have on the way is bounded.

use std::{
    collections::HashMap,
    io::{self, Seek as _, Write as _},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use parking_lot::Mutex;
use tempfile::NamedTempFile;
use tokio::io::AsyncReadExt as _;

use super::store::{Reader, StoreError, unreadable};

/// Bytes that the values of a namespace have together while they are written.
const NAMESPACE: u64 = 4 << 30;
/// Bytes of a value that wait in memory for the file.
pub(super) const HELD: usize = 128 << 10;

/// Where values are held.
pub(super) struct Staging {
    folder: PathBuf,
    most: u64,
    used: Mutex<HashMap<String, Arc<AtomicU64>>>,
}

/// A value that is being written, or is whole and not stored yet. Dropping it gives up what it holds.
pub(crate) struct Staged {
    /// What is not in the file.
    held: Vec<u8>,
    file: Option<NamedTempFile>,
    folder: PathBuf,
    size: u64,
    most: u64,
    used: Arc<AtomicU64>,
}

impl Staging {
    /// In a folder that is there.
    pub(super) fn new(folder: PathBuf) -> Self {
        Self::bounded(folder, NAMESPACE)
    }

    pub(super) fn bounded(folder: PathBuf, most: u64) -> Self {
        Self {
            folder,
            most,
            used: Mutex::default(),
        }
    }

    /// An empty value of a namespace.
    pub(super) fn begin(&self, namespace: &str) -> Staged {
        let mut used = self.used.lock();
        // Namespaces that write nothing now are not remembered.
        used.retain(|_, used| Arc::strong_count(used) > 1);
        Staged {
            held: Vec::new(),
            file: None,
            folder: self.folder.clone(),
            size: 0,
            most: self.most,
            used: used.entry(namespace.to_owned()).or_default().clone(),
        }
    }
}

impl Staged {
    /// Bytes.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Adds bytes, in memory; whether it is time to [`spill`](Self::spill).
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<bool, StoreError> {
        let more = bytes.len() as u64;
        let used = self.used.fetch_add(more, Relaxed) + more;
        self.size += more;
        if used > self.most {
            return Err(StoreError::Staging(self.most));
        }
        self.held.extend_from_slice(bytes);
        Ok(self.held.len() >= HELD)
    }

    /// Moves what is in memory to the file. It waits for the disk.
    pub(super) fn spill(&mut self) -> Result<(), StoreError> {
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(
                tempfile::Builder::new()
                    .prefix("")
                    .rand_bytes(20)
                    .tempfile_in(&self.folder)?,
            ),
        };
        file.write_all(&self.held)?;
        // The value may wait long for its next bytes, or for its end.
        self.held = Vec::new();
        Ok(())
    }

    /// Adds all that there is to read.
    pub(super) async fn read_from(mut self, mut reader: Reader) -> Result<Self, StoreError> {
        let mut bytes = vec![0; HELD / 2];
        loop {
            let read = reader.read(&mut bytes).await.map_err(unreadable)?;
            if read == 0 {
                return Ok(self);
            }
            if self.push(&bytes[..read])? {
                self = on_disk(move || self.spill().map(|()| self)).await?;
            }
        }
    }

    /// All of it as a file, from its beginning. It waits for the disk.
    pub(super) fn into_file(mut self) -> Result<NamedTempFile, StoreError> {
        self.spill()?;
        match self.file.take() {
            Some(mut file) => {
                file.rewind()?;
                Ok(file)
            }
            None => Err(io::Error::other("no file").into()),
        }
    }

    /// All of it in memory, for a store that has checked its size. It waits for the disk.
    pub(super) fn into_bytes(mut self) -> Result<Vec<u8>, StoreError> {
        let mut bytes = Vec::new();
        if let Some(file) = &mut self.file {
            file.rewind()?;
            io::Read::read_to_end(file.as_file_mut(), &mut bytes)?;
        }
        bytes.append(&mut self.held);
        Ok(bytes)
    }

    /// Reads it from its beginning; it lasts as long as the value. It waits for the disk.
    pub(super) fn reader(&mut self) -> Result<Reader, StoreError> {
        if self.file.is_none() {
            return Ok(Box::new(io::Cursor::new(self.held.clone())));
        }
        self.spill()?;
        match &self.file {
            Some(file) => Ok(Box::new(tokio::fs::File::from_std(file.reopen()?))),
            None => Err(io::Error::other("no file").into()),
        }
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        self.used.fetch_sub(self.size, Relaxed);
    }
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        tracing::error!("objects: {error}");
        Self::Other(match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                "the host's disk is full".into()
            }
            _ => "the host can't read or write the files of its objects".into(),
        })
    }
}

/// Runs what waits for the disk.
pub(super) async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(io::Error::other(error).into()))
}

/// Does something to its end, whoever leaves meanwhile: what lies in several places fits together.
pub(super) async fn uncancelled<T: Send + 'static>(
    work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
) -> Result<T, StoreError> {
    let done = tokio::spawn(work).await;
    done.unwrap_or_else(|error| Err(io::Error::other(error).into()))
}
