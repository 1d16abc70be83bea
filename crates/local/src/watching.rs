//! `--watch`: applies manifests and local components again when their files change.
//!
//! Only what came from files of the command line is looked after: an object that leaves them is
//! deleted, nothing else ever is.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Duration,
};

use notify::{EventKind, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;

use crate::{
    apply::{Applier, Checked, ObjectId},
    event::{UpError, UpEvent},
    manifest::{Manifests, Source, load},
};

/// How long files must be left alone before they are read: editors and linkers write in steps.
const QUIET: Duration = Duration::from_millis(100);

/// Files that are looked after.
pub(crate) struct Watching {
    /// The sources that can be read again.
    sources: Vec<Source>,
    working_dir: PathBuf,
    /// What the files held last.
    held: BTreeSet<ObjectId>,
    files: BTreeSet<PathBuf>,
    watcher: notify::RecommendedWatcher,
    folders: BTreeSet<PathBuf>,
    changes: mpsc::UnboundedReceiver<PathBuf>,
}

impl Watching {
    /// Begins to watch what was just applied. Changes from now on are seen by
    /// [`run`](Self::run).
    pub(crate) async fn start(
        sources: &[Source],
        working_dir: &Path,
        manifests: &Manifests,
        applied: &Checked,
        applier: &mut Applier,
    ) -> Result<Self, UpError> {
        let (sender, changes) = mpsc::unbounded_channel();
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // An error means lost events of one file; the next change brings it up to date.
            for path in event
                .into_iter()
                .filter(changes_content)
                .flat_map(|e| e.paths)
            {
                let _ = sender.send(path);
            }
        });
        let watcher = watcher.map_err(|error| cannot_watch(working_dir, error))?;
        let (files, others): (Vec<_>, Vec<_>) = sources
            .iter()
            .cloned()
            .partition(|source| matches!(source, Source::Path(_)));
        let held = if others.is_empty() {
            applied.ids()
        } else {
            // Only what came from files can leave them.
            let manifests = load(&files, working_dir).await?;
            applier.check(manifests.objects).await?.ids()
        };
        let mut watching = Self {
            sources: files,
            working_dir: working_dir.into(),
            held,
            files: BTreeSet::new(),
            watcher,
            folders: BTreeSet::new(),
            changes,
        };
        watching.follow(manifests)?;
        Ok(watching)
    }

    /// Applies changes until the platform stops.
    pub(crate) async fn run(mut self, mut applier: Applier, events: mpsc::Sender<UpEvent>) {
        while let Some(path) = self.changes.recv().await {
            let mut concerned = self.concerns(&path);
            while let Ok(Some(path)) = tokio::time::timeout(QUIET, self.changes.recv()).await {
                concerned |= self.concerns(&path);
            }
            if !concerned {
                continue;
            }
            if let Err(error) = self.again(&mut applier, &events).await {
                let message = error.to_string();
                let _ = events.send(UpEvent::SourceFailed { message }).await;
            }
        }
    }

    async fn again(
        &mut self,
        applier: &mut Applier,
        events: &mpsc::Sender<UpEvent>,
    ) -> Result<(), UpError> {
        let manifests = load(&self.sources, &self.working_dir).await?;
        self.follow(&manifests)?;
        let checked = applier.check(manifests.objects).await?;
        for applied in applier.apply(&checked).await? {
            if applied.change != "unchanged" {
                let object = applied.object.to_string();
                let change = applied.change;
                let _ = events.send(UpEvent::Applied { object, change }).await;
            }
        }
        let held = checked.ids();
        for dropped in self.held.difference(&held) {
            let object = dropped.to_string();
            applier
                .delete(dropped)
                .await
                .map_err(|error| UpError::Refused {
                    object: object.clone(),
                    message: error.to_string(),
                })?;
            let _ = events.send(UpEvent::Deleted { object }).await;
        }
        self.held = held;
        Ok(())
    }

    /// Watches the folders of all files. Files are replaced by renaming, and come and go, so that
    /// watching them themselves would lose them.
    fn follow(&mut self, manifests: &Manifests) -> Result<(), UpError> {
        self.files = manifests.files.iter().cloned().collect();
        let folders = self.files.iter().filter_map(|file| match file.is_dir() {
            true => Some(file.as_path()),
            false => file.parent(),
        });
        for folder in folders.filter(|folder| folder.is_dir()) {
            if self.folders.insert(folder.into()) {
                self.watcher
                    .watch(folder, RecursiveMode::NonRecursive)
                    .map_err(|error| cannot_watch(folder, error))?;
            }
        }
        Ok(())
    }

    /// Whether a changed path is one of the files, or lies in one of the folders among them.
    fn concerns(&self, path: &Path) -> bool {
        self.files.contains(path)
            || path
                .parent()
                .is_some_and(|folder| self.files.contains(folder))
    }
}

/// Whether a file may have other content now.
fn changes_content(event: &notify::Event) -> bool {
    !matches!(event.kind, EventKind::Access(_))
}

fn cannot_watch(path: &Path, error: notify::Error) -> UpError {
    let source = match error.kind {
        notify::ErrorKind::Io(source) => source,
        other => std::io::Error::other(notify::Error::new(other)),
    };
    UpError::Io {
        path: path.into(),
        source,
    }
}
