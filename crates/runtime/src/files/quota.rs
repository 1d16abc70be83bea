//! How many bytes a folder may hold.
//!
//! Growth is added up as it happens, so the sum is never too small. What a file that nobody holds open
//! held is given back when it is deleted. What else was deleted or truncated is found out by looking,
//! when the sum meets the limit and looking may help: in a thread of its own, one look at a time, and
//! no more than a fifth of the time, because nobody is charged for it. Who needs one waits for it: to be
//! told that there is no room, where there is, would be wrong. Files that were deleted and are still
//! open hold their bytes, so they are remembered.

use std::{
    collections::HashSet,
    fs::{self, File, Metadata},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Weak},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    sync::OwnedMutexGuard,
    task::spawn_blocking,
    time::{Instant, sleep_until},
};
use tokio_util::task::AbortOnDropHandle;

/// Bytes that each file and folder counts, beside its content: empty ones take room too.
pub(super) const ENTRY: u64 = 1 << 10;

/// How many times as long as a look took there is none after it.
const REST: u32 = 4;

/// What a folder may hold, and holds.
#[derive(Debug)]
pub struct Quota {
    root: PathBuf,
    limit: u64,
    state: Mutex<State>,
    /// Held by who looks what there is.
    looking: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Debug, Default)]
struct State {
    /// At least what the folder holds.
    used: u64,
    /// How much of that was added since a look began.
    added: u64,
    /// How much of that is on its way: a look may not see it yet. Of the rest less may have come.
    pending: u64,
    /// Whether anything may have gone since a look began.
    freed: bool,
    open: Vec<Open>,
    /// Those that were found deleted when it was looked last.
    deleted: Vec<Weak<File>>,
    /// How often a look has begun or ended.
    looks: u64,
    /// When the next look may begin.
    rests_until: Option<Instant>,
}

/// A file that a guest has open.
#[derive(Debug)]
struct Open {
    inode: u64,
    file: Weak<File>,
}

/// Room that was made for what is being written. It stays taken when this goes.
#[derive(Debug)]
pub(super) struct Charged {
    quota: Arc<Quota>,
    bytes: u64,
}

/// A file that is about to lose a name. It is held open, so that it is known afterwards whether that
/// was its last.
#[derive(Debug)]
pub(super) struct Leaving {
    quota: Arc<Quota>,
    file: Arc<File>,
    looks: u64,
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
            looking: Arc::default(),
        }
    }

    /// Makes room for so many more bytes. `None`: there is none.
    pub(super) async fn charge(self: &Arc<Self>, bytes: u64) -> Option<Charged> {
        let mut has_room = self.charge_unseen(bytes);
        while has_room.is_none() {
            // A task of its own: who does not go on waiting for it holds up nobody else who does.
            let look = tokio::spawn(self.clone().look_for(bytes));
            AbortOnDropHandle::new(look).await.ok()?;
            has_room = self.charge_unseen(bytes);
        }
        let quota = self.clone();
        (has_room == Some(true)).then_some(Charged { quota, bytes })
    }

    /// Looks what there is, in turn and not too soon, unless it can be said meanwhile without a look
    /// whether there is room for so many bytes.
    async fn look_for(self: Arc<Self>, bytes: u64) {
        let turn = self.turn_to_look().await;
        if self.has_room(bytes).is_some() {
            return;
        }
        let rests_until = self.state.lock().rests_until;
        if let Some(end) = rests_until {
            sleep_until(end).await;
            if self.has_room(bytes).is_some() {
                return;
            }
        }
        // The turn lasts as long as the look, though nobody may wait for it any more.
        let look = move || {
            self.look();
            drop(turn);
        };
        // One that panics has been told, and was a look.
        let _ = spawn_blocking(look).await;
    }

    /// Waits until nobody else looks what there is, and nobody else does while this is held.
    pub(super) async fn turn_to_look(&self) -> OwnedMutexGuard<()> {
        self.looking.clone().lock_owned().await
    }

    /// Whether there is room for so many more bytes, if that can be said without a look.
    pub(super) fn has_room(&self, bytes: u64) -> Option<bool> {
        self.state.lock().has_room(self.limit, bytes)
    }

    /// Makes room for so many more bytes, if that can be said without a look.
    fn charge_unseen(&self, bytes: u64) -> Option<bool> {
        let mut state = self.state.lock();
        let has_room = state.has_room(self.limit, bytes);
        if has_room == Some(true) {
            state.used += bytes;
            state.added += bytes;
            state.pending += bytes;
        }
        has_room
    }

    /// Is told that something may have gone.
    pub(super) fn freed(&self) {
        self.state.lock().freed = true;
    }

    /// Remembers a file that a guest has open.
    pub(super) fn opened(&self, file: &Arc<File>) {
        let mut state = self.state.lock();
        if state.open.len() == state.open.capacity() {
            state.open.retain(|open| open.file.strong_count() > 0);
        }
        let file_now = file.metadata().ok();
        let file = Arc::downgrade(file);
        if let Some(metadata) = &file_now
            && metadata.nlink() == 0
        {
            // Deleted while it was opened: what it holds may have been given back.
            state.used = state.used.saturating_add(held_by(metadata));
            state.deleted.push(file.clone());
        }
        let inode = file_now.map_or(0, |metadata| metadata.ino());
        state.open.push(Open { inode, file });
    }

    /// Is told that a name of this file will be deleted, before it is.
    pub(super) fn leaving(self: &Arc<Self>, file: Arc<File>) -> Leaving {
        self.opened(&file);
        let looks = self.state.lock().looks;
        let quota = self.clone();
        Leaving { quota, file, looks }
    }

    /// Looks what there is. Where not everything can be seen the sum stays: it is never too small.
    fn look(&self) {
        let began = Instant::now();
        let mut state = self.state.lock();
        (state.added, state.freed) = (state.pending, false);
        state.looks += 1;
        drop(state);
        let mut sum = Sum::default();
        let is_whole = sum.add_below(&self.root).is_ok();
        let mut state = self.state.lock();
        let bytes = sum.bytes.saturating_add(state.find_deleted());
        if is_whole {
            state.used = bytes.saturating_add(state.added);
        }
        state.looks += 1;
        state.rest_from(began.elapsed());
    }
}

impl State {
    fn has_room(&self, limit: u64, bytes: u64) -> Option<bool> {
        let fits = |used: u64| used.checked_add(bytes).is_some_and(|sum| sum <= limit);
        if fits(self.used) {
            return Some(true);
        }
        let in_doubt = self.added.saturating_sub(self.pending);
        let may_help = self.has_freed() || fits(self.used.saturating_sub(in_doubt));
        (!may_help).then_some(false)
    }

    /// There is no look for a while after one that took so long.
    fn rest_from(&mut self, look: Duration) {
        self.rests_until = Instant::now().checked_add(look.saturating_mul(REST));
    }

    /// Whether anything may have gone since it was looked.
    fn has_freed(&self) -> bool {
        self.freed || self.deleted.iter().any(|file| file.strong_count() == 0)
    }

    /// Finds open files that were deleted, and what they hold together.
    fn find_deleted(&mut self) -> u64 {
        let mut bytes = 0_u64;
        self.deleted.clear();
        self.open.retain(|open| {
            let Some(file) = open.file.upgrade() else {
                return false;
            };
            if let Ok(metadata) = file.metadata()
                && metadata.nlink() == 0
            {
                bytes = bytes.saturating_add(held_by(&metadata));
                self.deleted.push(open.file.clone());
            }
            true
        });
        bytes
    }

    /// Whether nobody else holds a file open.
    fn is_sole(&self, inode: u64, file: &Arc<File>) -> bool {
        let is_other = |open: &Open| {
            let is_open = open.file.strong_count() > 0;
            open.inode == inode && is_open && !std::ptr::eq(open.file.as_ptr(), Arc::as_ptr(file))
        };
        !self.open.iter().any(is_other)
    }
}

impl Drop for Charged {
    fn drop(&mut self) {
        let mut state = self.quota.state.lock();
        state.pending = state.pending.saturating_sub(self.bytes);
    }
}

impl Leaving {
    /// Is told that a name was deleted, most likely of this file.
    pub(super) fn left(self) {
        let Self { quota, file, looks } = self;
        let mut state = quota.state.lock();
        let gone = file.metadata().ok();
        let gone = gone.filter(|metadata| metadata.nlink() == 0);
        let gone = gone.filter(|metadata| state.is_sole(metadata.ino(), &file));
        // A look that was going on may have seen it, or not.
        let is_unseen = looks == state.looks && looks.is_multiple_of(2);
        match gone {
            Some(metadata) if is_unseen => {
                state.used = state.used.saturating_sub(held_by(&metadata));
            }
            _ => state.freed = true,
        }
        // Before the state is let go: who comes next is alone with the file.
        drop(file);
    }
}

/// What a file takes of a quota that has one name, or none any more.
fn held_by(metadata: &Metadata) -> u64 {
    ENTRY.saturating_add(metadata.len())
}

impl Sum {
    fn add(&mut self, metadata: &Metadata) {
        let is_new = metadata.nlink() == 1 || self.met.insert(metadata.ino());
        let bytes = if is_new { held_by(metadata) } else { ENTRY };
        self.bytes = self.bytes.saturating_add(bytes);
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
    use std::pin::pin;

    use tempfile::TempDir;

    use super::*;

    /// A folder that may hold so much.
    fn limited(limit: u64) -> (TempDir, Arc<Quota>) {
        let folder = tempfile::tempdir().unwrap();
        let quota = Arc::new(Quota::new(folder.path().into(), limit));
        (folder, quota)
    }

    /// Whether there is room for something that has come, or hasn't, when this returns.
    async fn charge(quota: &Arc<Quota>, bytes: u64) -> bool {
        quota.charge(bytes).await.is_some()
    }

    /// Deletes a file as guests do.
    fn unlink(quota: &Arc<Quota>, path: &Path) {
        let leaving = quota.leaving(Arc::new(File::open(path).unwrap()));
        fs::remove_file(path).unwrap();
        leaving.left();
    }

    #[tokio::test]
    async fn room_comes_back_when_files_go_and_not_before_they_are_closed() {
        let (folder, quota) = limited(10 * ENTRY);
        let path = folder.path().join("a");
        assert!(charge(&quota, ENTRY).await && charge(&quota, 9 * ENTRY).await);
        fs::write(&path, vec![0; 9 << 10]).unwrap();
        assert!(!charge(&quota, 1).await, "full");

        let held = Arc::new(File::open(&path).unwrap());
        quota.opened(&held);
        fs::remove_file(&path).unwrap();
        quota.freed();
        assert!(!charge(&quota, 1).await, "still held by the open file");
        drop(held);
        assert!(charge(&quota, 10 * ENTRY).await);
        assert!(!charge(&quota, u64::MAX).await);
    }

    #[tokio::test]
    async fn it_looks_when_that_may_help_and_not_else() {
        let (folder, quota) = limited(10 * ENTRY);
        assert!(charge(&quota, 8 * ENTRY).await);
        fs::write(folder.path().join("a"), vec![0; 7 << 10]).unwrap();
        let perhaps = charge(&quota, ENTRY).await;
        assert!(perhaps, "of what is there already, perhaps");
        // To look is nothing for who asks first.
        assert_eq!(quota.charge_unseen(2 * ENTRY), None);
        assert!(charge(&quota, 2 * ENTRY).await, "nothing came of that");
        fs::remove_file(folder.path().join("a")).unwrap();
        assert!(
            !charge(&quota, 3 * ENTRY).await,
            "nobody said that anything has gone"
        );
        quota.freed();
        assert!(charge(&quota, 10 * ENTRY).await);
    }

    #[tokio::test(start_paused = true)]
    async fn who_needs_a_look_soon_after_a_long_one_waits() {
        let (_folder, quota) = limited(10 * ENTRY);
        let began = Instant::now();
        assert!(charge(&quota, 10 * ENTRY).await && charge(&quota, 10 * ENTRY).await);
        assert_eq!(began.elapsed(), Duration::ZERO, "the first one");
        quota.state.lock().rest_from(Duration::from_secs(10));
        assert!(charge(&quota, 10 * ENTRY).await);
        assert!(began.elapsed() >= Duration::from_secs(40));
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_go_on_waiting_holds_up_nobody() {
        let (_folder, quota) = limited(10 * ENTRY);
        quota.state.lock().used = 10 * ENTRY;
        quota.state.lock().rest_from(Duration::from_secs(1));
        quota.freed();
        let mut first = pin!(quota.charge(1));
        assert!(futures::poll!(&mut first).is_pending());
        assert!(charge(&quota, 1).await);
        assert!(first.await.is_some());
    }

    #[tokio::test]
    async fn what_is_on_its_way_counts_though_a_look_can_not_see_it() {
        let (_folder, quota) = limited(10 * ENTRY);
        let charged = quota.charge(9 * ENTRY).await;
        quota.freed();
        assert!(!charge(&quota, 2 * ENTRY).await);
        drop(charged);
        assert!(charge(&quota, 2 * ENTRY).await, "it never came");
    }

    #[tokio::test]
    async fn what_a_deleted_file_held_is_given_back_without_a_look() {
        let (folder, quota) = limited(10 * ENTRY);
        let path = folder.path().join("a");
        assert!(charge(&quota, 10 * ENTRY).await);
        fs::write(&path, vec![0; 5 << 10]).unwrap();
        // A look would find it.
        fs::write(folder.path().join("not-charged"), vec![0; 8 << 10]).unwrap();
        unlink(&quota, &path);
        assert_eq!(quota.charge_unseen(6 * ENTRY), Some(true));
    }

    #[tokio::test]
    async fn a_file_that_is_open_or_has_another_name_is_not_given_back() {
        let (folder, quota) = limited(11 * ENTRY);
        let path = |name: &str| folder.path().join(name);
        assert!(charge(&quota, 11 * ENTRY).await);
        fs::write(path("a"), vec![0; 9 << 10]).unwrap();
        fs::hard_link(path("a"), path("b")).unwrap();
        unlink(&quota, &path("a"));
        assert!(charge(&quota, ENTRY).await, "for the name");
        assert!(!charge(&quota, 2 * ENTRY).await);

        // One that was opened before, and one that is opened just now.
        let held = [(); 2].map(|()| Arc::new(File::open(path("b")).unwrap()));
        let [early, late] = held;
        quota.opened(&early);
        unlink(&quota, &path("b"));
        assert!(!charge(&quota, 2 * ENTRY).await);
        drop(early);
        quota.opened(&late);
        assert!(!charge(&quota, 2 * ENTRY).await);
        drop(late);
        assert!(charge(&quota, 11 * ENTRY).await);
    }

    #[tokio::test]
    async fn a_file_that_is_deleted_while_it_is_opened_is_taken_back() {
        let (folder, quota) = limited(10 * ENTRY);
        let path = folder.path().join("a");
        assert!(charge(&quota, 10 * ENTRY).await);
        fs::write(&path, vec![0; 9 << 10]).unwrap();
        let late = Arc::new(File::open(&path).unwrap());
        unlink(&quota, &path);
        quota.opened(&late);
        assert!(!charge(&quota, ENTRY).await);
        drop(late);
        assert!(charge(&quota, 10 * ENTRY).await);
    }

    #[tokio::test]
    async fn what_can_not_be_seen_counts_as_before() {
        let folder = tempfile::tempdir().unwrap();
        let quota = Arc::new(Quota::new(folder.path().join("a"), 10 * ENTRY));
        assert!(charge(&quota, 10 * ENTRY).await);
        // A folder that can't be read, whoever reads it.
        fs::write(folder.path().join("a"), "").unwrap();
        quota.freed();
        assert!(!charge(&quota, 1).await);
    }

    #[tokio::test]
    async fn a_file_of_several_names_holds_its_bytes_once() {
        let (folder, quota) = limited(10 * ENTRY);
        let path = |name: &str| folder.path().join(name);
        assert!(charge(&quota, 10 * ENTRY).await);
        fs::write(path("a"), vec![0; 4 << 10]).unwrap();
        fs::hard_link(path("a"), path("b")).unwrap();
        quota.freed();
        assert!(!charge(&quota, 5 * ENTRY).await);
        assert!(charge(&quota, 4 * ENTRY).await);
    }
}
