//! How many bytes a folder may hold.
//!
//! Growth is added up as it happens, so the sum is never too small; what was deleted or truncated
//! is found out by looking, when the sum meets the limit and looking may help. Files that were deleted
//! and are still open hold their bytes, so they are remembered.

use std::{
    collections::HashSet,
    fs::{self, File, Metadata},
    io,
    os::unix::fs::MetadataExt as _,
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
    /// How much of that was added since it was counted: less may have come.
    added: u64,
    /// Whether anything may have gone since then.
    freed: bool,
    open: Vec<Weak<File>>,
    /// Those that were found deleted when it was counted.
    deleted: Vec<Weak<File>>,
}

/// A sum of what files hold.
#[derive(Debug, Default)]
struct Sum {
    bytes: u64,
    /// Files that have been met and may be met again, under another name.
    met: HashSet<u64>,
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
        if !fits(state.used) && (state.has_freed() || fits(state.used - state.added)) {
            state.count(&self.root);
        }
        let fits = fits(state.used);
        if fits {
            state.used += bytes;
            state.added += bytes;
        }
        fits
    }

    /// Makes room for another file or folder.
    pub(super) fn charge_entry(&self) -> bool {
        self.charge(ENTRY)
    }

    /// Is told that something may have gone.
    pub(super) fn freed(&self) {
        self.state.lock().freed = true;
    }

    /// Remembers a file that a guest has open.
    pub(super) fn opened(&self, file: &Arc<File>) {
        let mut state = self.state.lock();
        if state.open.len() == state.open.capacity() {
            state.open.retain(|file| file.strong_count() > 0);
        }
        state.open.push(Arc::downgrade(file));
    }
}

impl State {
    /// Whether anything may have gone since it was counted.
    fn has_freed(&self) -> bool {
        self.freed || self.deleted.iter().any(|file| file.strong_count() == 0)
    }

    /// Looks what there is. Where not everything can be seen the sum stays: it is never too small.
    fn count(&mut self, root: &Path) {
        let mut sum = Sum::default();
        self.deleted.clear();
        self.open.retain(|weak| {
            let Some(file) = weak.upgrade() else {
                return false;
            };
            if let Ok(metadata) = file.metadata()
                && metadata.nlink() == 0
            {
                sum.add(&metadata);
                self.deleted.push(weak.clone());
            }
            true
        });
        if sum.add_below(root).is_ok() {
            self.used = sum.bytes;
        }
        (self.added, self.freed) = (0, false);
    }
}

impl Sum {
    fn add(&mut self, metadata: &Metadata) {
        let is_new = metadata.nlink() == 1 || self.met.insert(metadata.ino());
        let content = if is_new { metadata.len() } else { 0 };
        self.bytes = self.bytes.saturating_add(ENTRY).saturating_add(content);
    }

    /// Adds what lies below a folder. Links are not followed; what goes away meanwhile counts nothing.
    fn add_below(&mut self, root: &Path) -> io::Result<()> {
        let mut folders = vec![root.to_owned()];
        while let Some(folder) = folders.pop() {
            let entries = match fs::read_dir(folder) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                entries => entries?,
            };
            for entry in entries {
                let entry = entry?;
                let metadata = match entry.metadata() {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    metadata => metadata?,
                };
                if metadata.is_dir() {
                    self.bytes = self.bytes.saturating_add(ENTRY);
                    folders.push(entry.path());
                } else {
                    self.add(&metadata);
                }
            }
        }
        Ok(())
    }
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
        quota.freed();
        assert!(!quota.charge(1), "still held by the open file");
        drop(held);
        assert!(quota.charge(10 * ENTRY));
        assert!(!quota.charge(u64::MAX));
    }

    #[test]
    fn it_looks_when_that_may_help_and_not_else() {
        let folder = tempfile::tempdir().unwrap();
        let quota = Quota::new(folder.path().into(), 10 * ENTRY);
        assert!(quota.charge(8 * ENTRY));
        fs::write(folder.path().join("a"), vec![0; 7 << 10]).unwrap();
        assert!(quota.charge(ENTRY), "of what is there already, perhaps");
        assert!(quota.charge(2 * ENTRY), "nothing came of that");
        fs::remove_file(folder.path().join("a")).unwrap();
        assert!(
            !quota.charge(3 * ENTRY),
            "nobody said that anything has gone"
        );
        quota.freed();
        assert!(quota.charge(10 * ENTRY));
    }

    #[test]
    fn what_can_not_be_seen_counts_as_before() {
        let folder = tempfile::tempdir().unwrap();
        let quota = Quota::new(folder.path().join("a"), 10 * ENTRY);
        assert!(quota.charge(10 * ENTRY));
        // A folder that can't be read, whoever reads it.
        fs::write(folder.path().join("a"), "").unwrap();
        quota.freed();
        assert!(!quota.charge(1));
    }

    #[test]
    fn a_file_of_several_names_holds_its_bytes_once() {
        let folder = tempfile::tempdir().unwrap();
        let quota = Quota::new(folder.path().into(), 10 * ENTRY);
        let path = |name: &str| folder.path().join(name);
        assert!(quota.charge(10 * ENTRY));
        fs::write(path("a"), vec![0; 4 << 10]).unwrap();
        fs::hard_link(path("a"), path("b")).unwrap();
        quota.freed();
        assert!(!quota.charge(5 * ENTRY));
        assert!(quota.charge(4 * ENTRY));
    }
}
