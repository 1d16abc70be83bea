//! How many files a component holds open. Descriptors are the process's, so that one component
//! which takes them all would leave none for its neighbours' connections.

use std::{
    any::Any,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;

/// Files and folders that all instances of a component may hold open together, beside the folders
/// that are mounted.
const OPEN_FILES: usize = 1024;

/// The files and folders that the instances of one component hold open.
#[derive(Debug, Default)]
pub(crate) struct OpenFiles(Mutex<Vec<Weak<dyn Any + Send + Sync>>>);

impl OpenFiles {
    /// Whether there may be one more.
    pub(super) fn has_room(&self) -> bool {
        let mut open = self.0.lock();
        if open.len() >= OPEN_FILES {
            open.retain(|file| file.strong_count() > 0);
        }
        open.len() < OPEN_FILES
    }

    /// Remembers what holds one, until it is gone.
    pub(super) fn add<T: Any + Send + Sync>(&self, holds: &Arc<T>) {
        let holds = Arc::downgrade(holds);
        self.0.lock().push(holds);
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn there_is_room_again_when_files_are_closed() {
        let open = OpenFiles::default();
        let null = || Arc::new(File::open("/dev/null").unwrap());
        let mut held = Vec::new();
        while open.has_room() {
            let file = null();
            open.add(&file);
            held.push(file);
        }
        assert_eq!(held.len(), OPEN_FILES);
        held.pop();
        assert!(open.has_room());
        open.add(&null());
        // The last one was closed at once.
        assert!(open.has_room());
    }
}
