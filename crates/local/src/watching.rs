//! `--watch`: applies manifests and local components again when their files change.
//!
//! Only what came from files of the command line is looked after: an object that leaves them is
//! deleted, nothing else ever is. Objects of standard input and of addresses can't be read again,
//! but the components they name can: new bytes are applied.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Duration,
};

use notify::{EventKind, RecursiveMode, Watcher as _};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;

use crate::{
    apply::{Applier, Checked, DEFAULT_NAMESPACE, ObjectId},
    event::{UpError, UpEvent},
    manifest::{Manifests, Object, Source, image_paths, load},
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
    /// Objects of other sources that name local files, as they were applied last.
    given: Vec<Object>,
    files: BTreeSet<PathBuf>,
    watcher: notify::RecommendedWatcher,
    /// The folders that are watched, as far as they can be.
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
            given: applied.others_with_files(&held),
            held,
            files: BTreeSet::new(),
            watcher,
            folders: BTreeSet::new(),
            changes,
        };
        watching.follow(&manifests.files)?;
        Ok(watching)
    }

    /// Applies changes until the platform stops.
    pub(crate) async fn run(
        mut self,
        mut applier: Applier,
        events: mpsc::Sender<UpEvent>,
        shutdown: CancellationToken,
    ) {
        while let Some(path) = self.changes.recv().await {
            if !self.take_note(&path) {
                continue;
            }
            // Of what concerns nobody there may be more and more.
            let mut quiet = Instant::now() + QUIET;
            while let Ok(Some(path)) = timeout_at(quiet, self.changes.recv()).await {
                if self.take_note(&path) {
                    quiet = Instant::now() + QUIET;
                }
            }
            if shutdown.is_cancelled() {
                return;
            }
            if let Err(error) = self.again(&mut applier, &events, &shutdown).await {
                let message = error.to_string();
                let _ = events.send(UpEvent::SourceFailed { message }).await;
            }
        }
    }

    async fn again(
        &mut self,
        applier: &mut Applier,
        events: &mpsc::Sender<UpEvent>,
        shutdown: &CancellationToken,
    ) -> Result<(), UpError> {
        // First of all: when the manifests can't be read, their next change must still be seen.
        self.watch()?;
        let manifests = load(&self.sources, &self.working_dir).await?;
        self.follow(&manifests.files)?;
        let manifests = manifests.each_once(DEFAULT_NAMESPACE)?;
        let mut given = self.given.clone();
        applier.stamp(&mut given);
        let changed = given
            .iter()
            .zip(&self.given)
            .filter(|(new, old)| new != old);
        let mut all = Vec::new();
        for (new, _) in changed {
            if shutdown.is_cancelled() {
                return Ok(());
            }
            all.extend(applier.mark(new).await?);
        }
        // The check makes namespaces.
        if shutdown.is_cancelled() {
            return Ok(());
        }
        let checked = applier.check(manifests.objects).await?;
        all.extend(applier.apply(&checked, shutdown).await?);
        for applied in all {
            if applied.change != "unchanged" {
                let object = applied.object.to_string();
                let change = applied.change;
                let _ = events.send(UpEvent::Applied { object, change }).await;
            }
        }
        if shutdown.is_cancelled() {
            return Ok(());
        }
        self.given = given;
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

    /// Looks after these files, and those that the objects of other sources name.
    fn follow(&mut self, files: &[PathBuf]) -> Result<(), UpError> {
        let given = self.given.iter().flat_map(|o| image_paths(&o.value));
        self.files = files.iter().cloned().chain(given).collect();
        self.watch()
    }

    /// Watches the folders of all files. Files are replaced by renaming, and come and go, so that
    /// watching them themselves would lose them. So do folders: for one that is missing, the nearest
    /// that is there is watched. And those above it, since where one of them is moved, or is a link that
    /// leads elsewhere now, nothing happens to the folder that was watched.
    fn watch(&mut self) -> Result<(), UpError> {
        loop {
            let nearest =
                |file: &PathBuf| file.ancestors().find(|f| f.is_dir()).map(Path::to_owned);
            let nearest: BTreeSet<_> = self.files.iter().filter_map(nearest).collect();
            let above = nearest.iter().flat_map(|folder| folder.ancestors());
            let wanted: BTreeSet<_> = above.map(Path::to_owned).collect();
            // Once more after each change: a folder may have been made before its parent was watched.
            if wanted == self.folders {
                return Ok(());
            }
            for folder in self.folders.difference(&wanted) {
                // It may be gone, and the watch with it.
                let _ = self.watcher.unwatch(folder);
            }
            self.folders.retain(|folder| wanted.contains(folder));
            for folder in wanted {
                if self.folders.contains(&folder) {
                    continue;
                }
                match self.watcher.watch(&folder, RecursiveMode::NonRecursive) {
                    // Removed just now.
                    Err(_) if !folder.is_dir() => {}
                    Err(error) if nearest.contains(&folder) => {
                        return Err(cannot_watch(&folder, error));
                    }
                    // One above that nobody may list is not watched.
                    _ => drop(self.folders.insert(folder)),
                }
            }
        }
    }

    /// Takes note of a change. Returns whether the path is one of the files, lies in one of the
    /// folders among them, or is a folder above one.
    fn take_note(&mut self, path: &Path) -> bool {
        // Another folder may be there by now, so that it is watched anew.
        let gone = self.folders.extract_if(.., |f| f.starts_with(path));
        for folder in gone {
            // Gone with its folder, mostly.
            let _ = self.watcher.unwatch(&folder);
        }
        let in_folder = path.parent().is_some_and(|f| self.files.contains(f));
        in_folder || self.files.iter().any(|file| file.starts_with(path))
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

#[cfg(test)]
mod tests {
    use kube::Client;
    use serde_json::json;
    use waft_apiserver::{ApiServer, Config};

    use super::*;

    /// A change of a map in a namespace that is missing, and of the component of a workload.
    fn changed(folder: &Path, changes: mpsc::UnboundedReceiver<PathBuf>) -> Watching {
        let (map, component) = (folder.join("map.yaml"), folder.join("app.wasm"));
        let text = "{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: late}}";
        std::fs::write(&map, text).unwrap();
        std::fs::write(&component, b"\0asm").unwrap();
        let image = format!("file:{}", component.display());
        let value = json!({
            "apiVersion": "runtime.wasmcloud.dev/v1alpha1", "kind": "Workload",
            "metadata": {"name": "app"},
            "spec": {"components": [{"name": "app", "image": image}]}});
        let origin = "-".into();
        Watching {
            sources: vec![Source::Path(map.clone())],
            working_dir: folder.into(),
            held: BTreeSet::new(),
            given: vec![Object { value, origin }],
            files: BTreeSet::from([map, component]),
            watcher: notify::recommended_watcher(|_| {}).unwrap(),
            folders: BTreeSet::new(),
            changes,
        }
    }

    #[tokio::test]
    async fn nothing_is_asked_of_the_api_once_it_is_to_stop() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let stopped = CancellationToken::new();
        stopped.cancel();
        let server = ApiServer::open(Config::default()).await.unwrap();
        // What is asked now fails.
        server.shut_down();
        let applier = || Applier::new(Client::new(server.service(), "default"));
        let (events, mut told) = mpsc::channel(8);
        let (sender, changes) = mpsc::unbounded_channel();
        sender.send(root.join("map.yaml")).unwrap();
        drop(sender);
        let watching = changed(&root, changes);
        watching
            .run(applier(), events.clone(), stopped.clone())
            .await;

        // It stops while the files are read.
        let (_, changes) = mpsc::unbounded_channel();
        let mut watching = changed(&root, changes);
        let ended = watching.again(&mut applier(), &events, &stopped).await;
        ended.unwrap();
        watching.given.clear();
        let ended = watching.again(&mut applier(), &events, &stopped).await;
        ended.unwrap();
        drop(events);
        assert!(told.recv().await.is_none());
    }
}
