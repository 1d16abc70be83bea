//! The files of objects, and who reads them: a file that is deleted while it is read keeps its room
//! on the disk, and is counted until its last reader has closed it.

use std::{
    collections::HashMap,
    fs::{self, File},
    io,
    path::PathBuf,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use parking_lot::Mutex;
use tempfile::NamedTempFile;
use tokio::io::{AsyncRead, AsyncSeek, ReadBuf};

/// Two folders of files: those that the index may not name yet, and those that it does.
pub(super) struct Objects {
    staging: PathBuf,
    stored: PathBuf,
    readers: Arc<Mutex<Readers>>,
}

/// By the names of files.
type Readers = HashMap<String, Reading>;

/// Who reads a file.
#[derive(Default)]
struct Reading {
    count: usize,
    /// It was deleted: whose it was, and what it counts.
    ghost: Option<(String, u64)>,
}

/// An open file.
pub(super) struct Open {
    file: tokio::fs::File,
    _registered: Registered,
}

struct Registered {
    name: String,
    readers: Arc<Mutex<Readers>>,
}

impl Objects {
    pub(super) fn new(staging: PathBuf, stored: PathBuf) -> Self {
        Self {
            staging,
            stored,
            readers: Arc::default(),
        }
    }

    /// The name of a staged file, which it keeps.
    pub(super) fn name(staged: &NamedTempFile) -> String {
        let name = staged.path().file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    /// Waits until a staged file and its name are on the disk.
    pub(super) fn sync(&self, staged: NamedTempFile) -> io::Result<NamedTempFile> {
        staged.as_file().sync_all()?;
        File::open(&self.staging)?.sync_all()?;
        Ok(staged)
    }

    /// Moves a staged file that the index names now to its place. If it can't, the file is found
    /// where it is.
    pub(super) fn keep(&self, staged: NamedTempFile) {
        let name = Self::name(&staged);
        let _readers = self.readers.lock();
        let moved = staged
            .keep()
            .map_err(io::Error::from)
            .and_then(|(_, path)| fs::rename(path, self.stored.join(name)));
        if let Err(error) = moved {
            tracing::error!("objects: {error}");
        }
    }

    /// Opens a file; `None`: it is gone.
    pub(super) fn open(&self, name: &str) -> io::Result<Option<Open>> {
        let mut readers = self.readers.lock();
        let opened = self.paths(name).into_iter().find_map(|path| {
            let opened = File::open(path);
            let is_gone = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
            (!opened.as_ref().is_err_and(is_gone)).then_some(opened)
        });
        let Some(file) = opened.transpose()? else {
            return Ok(None);
        };
        readers.entry(name.to_owned()).or_default().count += 1;
        Ok(Some(Open {
            file: tokio::fs::File::from_std(file),
            _registered: Registered {
                name: name.to_owned(),
                readers: self.readers.clone(),
            },
        }))
    }

    /// Deletes a file of a namespace, which counts so much.
    pub(super) fn remove(&self, name: &str, namespace: &str, cost: u64) {
        let mut readers = self.readers.lock();
        if let Some(reading) = readers.get_mut(name) {
            reading.ghost = Some((namespace.to_owned(), cost));
        }
        for path in self.paths(name) {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::error!("objects: {error}");
                }
                _ => {}
            }
        }
    }

    /// What a namespace's files count that are deleted and still read.
    pub(super) fn ghosts(&self, namespace: &str) -> u64 {
        let readers = self.readers.lock();
        let ghosts = readers.values().filter_map(|reading| {
            let (whose, cost) = reading.ghost.as_ref()?;
            (whose == namespace).then_some(*cost)
        });
        ghosts.sum()
    }

    /// The names of the files that the index named once.
    pub(super) fn files(&self) -> impl Iterator<Item = String> {
        let entries = fs::read_dir(&self.stored).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned())
    }

    fn paths(&self, name: &str) -> [PathBuf; 2] {
        [self.stored.join(name), self.staging.join(name)]
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let mut readers = self.readers.lock();
        if let Some(reading) = readers.get_mut(&self.name) {
            reading.count -= 1;
            if reading.count == 0 {
                readers.remove(&self.name);
            }
        }
    }
}

impl AsyncRead for Open {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.file).poll_read(context, buffer)
    }
}

impl AsyncSeek for Open {
    fn start_seek(mut self: Pin<&mut Self>, position: io::SeekFrom) -> io::Result<()> {
        Pin::new(&mut self.file).start_seek(position)
    }

    fn poll_complete(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<u64>> {
        Pin::new(&mut self.file).poll_complete(context)
    }
}
