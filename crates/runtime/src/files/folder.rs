//! A folder that stays the same one, whatever happens to its path.

use std::{
    fs::{File, OpenOptions},
    io,
    path::{Path, PathBuf},
};

/// A folder that is held open.
#[derive(Debug)]
pub struct Folder {
    /// Names the open folder itself where the system can do so: another guest that may write
    /// beside it could put a symbolic link in the place of its path.
    path: PathBuf,
    _held: File,
}

impl Folder {
    /// Opens a folder. Its path is followed now and never again, where the system can name open
    /// files (Linux).
    pub fn open(path: &Path) -> io::Result<Self> {
        let held = OpenOptions::new().read(true).open(path)?;
        if !held.metadata()?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        let path = by_handle(&held).unwrap_or_else(|| path.to_owned());
        Ok(Self { path, _held: held })
    }

    /// A path that leads to it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where it really is, every symbolic link followed.
    pub fn real_path(&self) -> io::Result<PathBuf> {
        self.path.canonicalize()
    }
}

#[cfg(target_os = "linux")]
pub(super) fn by_handle(file: &File) -> Option<PathBuf> {
    use std::os::fd::AsRawFd;
    let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    path.exists().then_some(path)
}

#[cfg(not(target_os = "linux"))]
pub(super) fn by_handle(_: &File) -> Option<PathBuf> {
    None
}
