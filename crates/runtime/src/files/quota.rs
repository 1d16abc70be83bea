//! How many bytes a folder may hold.
//!
//! Growth is added up as it happens, so the sum is never too small; what was deleted or truncated
//! is found out by looking, when the sum meets the limit. Files that were deleted and are still
//! open hold their bytes, so they are remembered.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    sync::{Arc, Weak},
};

use parking_lot::Mutex;

/// Bytes that each file and folder counts, beside its content: empty ones take room too.
const ENTRY: u64 = 1 << 10;

/// What a folder may hold, and holds.
#[derive(Debug)]
pub struct Quota {
    root: PathBuf,
    limit: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// At least what the folder holds.
    used: u64,
    open: Vec<Weak<File>>,
}

impl Quota {
    /// A limit for a folder that is empty now.
    pub fn new(root: PathBuf, limit: u64) -> Self {
        Self {
            root,
            limit,
            state: Mutex::default(),
        }
    }

    /// Makes room for so many more bytes. `false`: there is none.
    pub(super) fn charge(&self, bytes: u64) -> bool {
        let mut state = self.state.lock();
        let fits = |used: u64| used.checked_add(bytes).is_some_and(|sum| sum <= self.limit);
        if !fits(state.used) {
            state.used = self.measure(&mut state.open);
        }
        let fits = fits(state.used);
        if fits {
            state.used += bytes;
        }
        fits
    }

    /// Makes room for another file or folder.
    pub(super) fn charge_entry(&self) -> bool {
        self.charge(ENTRY)
    }

    /// Remembers a file that a guest has open.
    pub(super) fn opened(&self, file: &Arc<File>) {
        let mut state = self.state.lock();
        if state.open.len() == state.open.capacity() {
            state.open.retain(|file| file.strong_count() > 0);
        }
        state.open.push(Arc::downgrade(file));
    }

    fn measure(&self, open: &mut Vec<Weak<File>>) -> u64 {
        open.retain(|file| file.strong_count() > 0);
        let deleted = open.iter().filter_map(Weak::upgrade);
        let deleted = deleted.filter_map(|file| file.metadata().ok());
        let deleted: u64 = deleted.filter(is_deleted).map(|m| m.len() + ENTRY).sum();
        deleted.saturating_add(below(&self.root))
    }
}

#[cfg(unix)]
fn is_deleted(metadata: &fs::Metadata) -> bool {
    std::os::unix::fs::MetadataExt::nlink(metadata) == 0
}

#[cfg(not(unix))]
fn is_deleted(_: &fs::Metadata) -> bool {
    false
}

/// What lies below a folder. Links are not followed; what goes away meanwhile counts nothing.
fn below(root: &Path) -> u64 {
    let mut folders = vec![root.to_owned()];
    let mut sum = 0_u64;
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(folder) else {
            continue;
        };
        for entry in entries.flatten() {
            let Ok(metadata) = entry.metadata() else {
                continue;
            };
            sum = sum.saturating_add(ENTRY);
            if metadata.is_dir() {
                folders.push(entry.path());
            } else {
                sum = sum.saturating_add(metadata.len());
            }
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_comes_back_when_files_go_and_not_before_they_are_closed() {
        let folder = tempfile::tempdir().unwrap();
        let quota = Quota::new(folder.path().into(), 10 * ENTRY);
        let path = folder.path().join("a");
        assert!(quota.charge_entry() && quota.charge(9 * ENTRY));
        fs::write(&path, vec![0; 9 << 10]).unwrap();
        assert!(!quota.charge(1), "full");

        let held = Arc::new(File::open(&path).unwrap());
        quota.opened(&held);
        fs::remove_file(&path).unwrap();
        assert!(!quota.charge(1), "still held by the open file");
        drop(held);
        assert!(quota.charge(10 * ENTRY));
        assert!(!quota.charge(u64::MAX));
    }
}
