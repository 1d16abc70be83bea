//! The data folder: private to the user, and used by one process at a time.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::ErrorKind,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use crate::event::UpError;

/// An open data folder. Dropping it lets others use the folder; a temporary one is removed.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
    _temporary: Option<TempDir>,
}

impl DataDir {
    /// Opens a folder, made with mode 0700 if it is missing, and locks it. `None` takes a temporary
    /// folder.
    pub fn open(path: Option<&Path>) -> Result<Self, UpError> {
        let (path, temporary) = match path {
            Some(path) => (path.to_owned(), None),
            None => {
                let made = tempfile::Builder::new().prefix("waft-").tempdir();
                let folder = made.map_err(|source| UpError::TemporaryDir {
                    path: std::env::temp_dir(),
                    source,
                })?;
                (folder.path().to_owned(), Some(folder))
            }
        };
        if path.exists() && !path.is_dir() {
            return Err(io(&path)(ErrorKind::NotADirectory.into()));
        }
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&path)
            .map_err(io(&path))?;
        // A folder that was there before may be open to others; keys will lie in it.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).map_err(io(&path))?;
        let path = path.canonicalize().map_err(io(&path))?;
        let lock_path = path.join("lock");
        let mut options = OpenOptions::new();
        let lock = options
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&lock_path);
        let lock = lock.map_err(io(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                path,
                _lock: lock,
                _temporary: temporary,
            }),
            Err(TryLockError::WouldBlock) => Err(UpError::DataDirInUse { path }),
            Err(TryLockError::Error(source)) => Err(io(&lock_path)(source)),
        }
    }

    /// The folder, absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Puts the path into an error of the system.
fn io(path: &Path) -> impl FnOnce(std::io::Error) -> UpError {
    let path = path.to_owned();
    move |source| UpError::DataDir { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_in_use_is_refused_and_free_again_afterwards() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("a/b");
        let first = DataDir::open(Some(&path)).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o700
        );
        assert!(matches!(
            DataDir::open(Some(&path)),
            Err(UpError::DataDirInUse { .. })
        ));
        drop(first);
        DataDir::open(Some(&path)).unwrap();
    }

    #[test]
    fn a_file_is_no_folder() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = DataDir::open(Some(file.path())).unwrap_err().to_string();
        assert!(error.contains("not a directory"), "{error}");
    }

    #[test]
    fn a_temporary_folder_goes_with_its_owner() {
        let folder = DataDir::open(None).unwrap();
        let path = folder.path().to_owned();
        assert!(path.is_dir());
        drop(folder);
        assert!(!path.exists());
    }
}
