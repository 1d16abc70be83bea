//! A log file that is renamed to `NAME.1` when it is full, so that two halves are kept.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

/// Bytes of one half.
pub(super) const HALF: u64 = 1 << 20;

/// A log file open for appending.
pub(super) struct RotatedFile {
    path: PathBuf,
    file: File,
    length: u64,
}

impl RotatedFile {
    /// Opens or makes the file, and its folders.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let open = || OpenOptions::new().append(true).create(true).open(path);
        let file = match open() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
                open()?
            }
            other => other?,
        };
        Ok(Self {
            path: path.into(),
            length: file.metadata()?.len(),
            file,
        })
    }

    /// Appends whole lines; they stay together in one half.
    pub(super) fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.length > 0 && self.length + lines.len() as u64 > HALF {
            fs::rename(&self.path, older(&self.path))?;
            *self = Self::open(&self.path)?;
        }
        self.file.write_all(lines)?;
        self.length += lines.len() as u64;
        Ok(())
    }
}

/// Where the older half is.
pub(super) fn older(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    name.into()
}

/// Opens both halves for reading, the older first. What is missing is left out.
pub(super) fn open_halves(path: &Path) -> Vec<File> {
    [older(path), path.into()]
        .iter()
        .filter_map(|path| File::open(path).ok())
        .collect()
}

/// Removes both halves, and the folders of workload and namespace if nothing else is in them.
pub(super) fn remove(path: &Path) {
    // What is not there need not be removed, and what can't be is not worth failing for.
    let _ = fs::remove_file(path);
    let _ = fs::remove_file(older(path));
    for folder in path.ancestors().skip(1).take(2) {
        if fs::remove_dir(folder).is_err() {
            break;
        }
    }
}

/// A name that is a single path element and collides with no other: bytes that are no part of a
/// DNS name are spelled out.
pub(super) fn safe_name(name: &str) -> String {
    let mut safe = String::with_capacity(name.len());
    for (at, byte) in name.bytes().enumerate() {
        let plain = byte.is_ascii_alphanumeric() || byte == b'-' || (byte == b'.' && at > 0);
        if plain {
            safe.push(char::from(byte));
        } else {
            safe.push_str(&format!("%{byte:02X}"));
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotates_once_full_and_keeps_two_halves() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ns/w/c.log");
        let mut file = RotatedFile::open(&path).unwrap();
        let block = vec![b'x'; 300 << 10];
        for _ in 0..20 {
            file.append(&block).unwrap();
        }
        let size = |path: &Path| fs::metadata(path).unwrap().len();
        assert_eq!(size(&path), 2 * block.len() as u64);
        assert_eq!(size(&older(&path)), 3 * block.len() as u64);
        // Opening again goes on where it was.
        drop(file);
        RotatedFile::open(&path).unwrap().append(b"y").unwrap();
        assert_eq!(size(&path), 2 * block.len() as u64 + 1);
        remove(&path);
        assert!(!folder.path().join("ns").exists());
    }

    #[test]
    fn names_stay_in_their_folder() {
        assert_eq!(safe_name("web-1.a"), "web-1.a");
        assert_eq!(safe_name(".."), "%2E.");
        assert_eq!(safe_name("a/../b"), "a%2F..%2Fb");
    }
}
