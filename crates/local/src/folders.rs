//! The folders of manifests that were applied: their `file:` images stay allowed when `waft up` is
//! started again without them.

use std::path::{Path, PathBuf};

use crate::event::UpError;

const FILE: &str = "manifest-folders";

/// Adds folders to those the data folder remembers, and returns all that still exist.
pub(crate) fn remember(data_dir: &Path, new: &[PathBuf]) -> Result<Vec<PathBuf>, UpError> {
    let path = data_dir.join(FILE);
    let io = |source| UpError::DataDir {
        path: path.clone(),
        source,
    };
    let known = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(io(error)),
    };
    let mut folders = known.lines().map(PathBuf::from).collect::<Vec<_>>();
    folders.retain(|folder| folder.is_dir());
    for folder in new {
        if !folders.contains(folder) {
            folders.push(folder.clone());
        }
    }
    let mut text = String::new();
    // A folder with a line break in its name is allowed now, but can't be remembered.
    for name in folders.iter().filter_map(|folder| folder.to_str()) {
        if !name.contains('\n') {
            text.push_str(name);
            text.push('\n');
        }
    }
    if text != known {
        std::fs::write(&path, text).map_err(io)?;
    }
    Ok(folders)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_remembered_while_they_exist() {
        let data = tempfile::tempdir().unwrap();
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let paths = [a.path().to_owned(), b.path().to_owned()];
        assert_eq!(remember(data.path(), &paths).unwrap(), paths);
        drop(a);
        assert_eq!(remember(data.path(), &[]).unwrap(), [b.path().to_owned()]);
    }
}
