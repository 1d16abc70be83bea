//! The volumes of workloads: folders that are made for them and go with them, and folders of the
//! machine that they may share.
//!
//! What a guest may do within a folder is the runtime's business.

mod remove;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs, io,
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;
use remove::remove;
use tempfile::TempDir;
use tokio::runtime::Handle;
use waft_ir::{Failure, FailureReason, LocalResources, Volume, VolumeSource, Workload};
use waft_runtime::{Folder, Mount, Quota};

/// Begins the names of folders with fixed files; the process id follows.
const PREFIX: &str = "waft-files-";

/// Where volumes come from.
#[derive(Debug)]
pub(crate) struct Volumes {
    /// Folder of the ephemeral ones.
    folder: PathBuf,
    /// Folders below which `hostPath` volumes may lie.
    roots: Vec<PathBuf>,
    made: Arc<Mutex<Folders>>,
}

/// Folders that were made and are not gone yet.
#[derive(Debug, Default)]
struct Folders {
    used: HashSet<PathBuf>,
    /// Those that could not be deleted, as the log has been told. It is tried again when another one goes.
    left: HashSet<PathBuf>,
    /// One thread at a time tries again.
    is_tried: bool,
}

/// A folder that was made for a workload, and goes when this is dropped.
#[derive(Debug)]
struct Made {
    folder: PathBuf,
    all: Arc<Mutex<Folders>>,
}

/// The volumes of one workload. With the last of them, what was made for them is deleted.
#[derive(Debug, Default)]
pub(crate) struct WorkloadVolumes {
    by_name: HashMap<String, Prepared>,
    _made: Vec<Made>,
}

#[derive(Debug)]
struct Prepared {
    folder: Arc<Folder>,
    quota: Option<Arc<Quota>>,
    /// Whether nobody may write, whatever the mount says.
    is_fixed: bool,
}

impl Volumes {
    /// Takes over a folder for ephemeral volumes: whatever an earlier process left there goes.
    pub(crate) fn new(folder: PathBuf, roots: Vec<PathBuf>) -> io::Result<Self> {
        fs::create_dir_all(&folder)?;
        let made = Arc::<Mutex<Folders>>::default();
        for left in fs::read_dir(&folder)?.flatten() {
            // Names are never used again, so that it is in nobody's way meanwhile.
            let (left, made) = (left.path(), made.clone());
            aside(move || Folders::delete(&made, left));
        }
        if let Some(memory) = memory_folder() {
            remove_left_files(&memory);
        }
        Ok(Self {
            folder,
            roots,
            made,
        })
    }

    /// Deletes everything that was made, whoever still has it: the process is about to end, and
    /// then nobody drops what it holds.
    pub(crate) fn remove_all(&self) {
        let Folders { used, left, .. } = std::mem::take(&mut *self.made.lock());
        for folder in used {
            remove_or_say(&folder);
        }
        for folder in left {
            // What is left now is deleted by the next process.
            let _ = remove(&folder);
        }
    }

    fn keep(&self, folder: TempDir) -> Made {
        let folder = folder.keep();
        self.made.lock().used.insert(folder.clone());
        Made {
            folder,
            all: self.made.clone(),
        }
    }

    /// Makes a workload's volumes ready.
    pub(crate) fn prepare(&self, workload: &Workload) -> Result<WorkloadVolumes, Failure> {
        let mut volumes = WorkloadVolumes::default();
        for volume in &workload.volumes {
            let prepared = self.prepare_one(volume, &mut volumes)?;
            volumes.by_name.insert(volume.name.clone(), prepared);
        }
        Ok(volumes)
    }

    fn prepare_one(
        &self,
        volume: &Volume,
        volumes: &mut WorkloadVolumes,
    ) -> Result<Prepared, Failure> {
        let name = &volume.name;
        let unmade = |error: io::Error| {
            Failure::new(
                FailureReason::HostAtCapacity,
                format!("volume `{name}` can't be made: {error}"),
            )
        };
        let (folder, quota, is_fixed) = match &volume.source {
            VolumeSource::Ephemeral { size_limit } => {
                let made = self.keep(TempDir::new_in(&self.folder).map_err(unmade)?);
                let folder = Folder::open(&made.folder).map_err(unmade)?;
                let quota = Quota::new(made.folder.clone(), *size_limit);
                volumes._made.push(made);
                (folder, Some(Arc::new(quota)), false)
            }
            VolumeSource::Files(files) => {
                let made = self.keep(with_files(files).map_err(unmade)?);
                let folder = Folder::open(&made.folder).map_err(unmade)?;
                volumes._made.push(made);
                (folder, None, true)
            }
            VolumeSource::HostPath(path) => (self.share(name, path)?, None, false),
        };
        Ok(Prepared {
            folder: Arc::new(folder),
            quota,
            is_fixed,
        })
    }

    /// A folder of the machine, if it lies where it may.
    fn share(&self, name: &str, path: &Path) -> Result<Folder, Failure> {
        let refuse = |reason, text: String| {
            Failure::new(
                reason,
                format!("volume `{name}`: {} {text}", path.display()),
            )
        };
        let is_plain =
            |part: Component<'_>| matches!(part, Component::RootDir | Component::Normal(_));
        if !path.is_absolute() || !path.components().all(is_plain) {
            return Err(refuse(
                FailureReason::PathNotAllowed,
                "is no absolute path without `..`".into(),
            ));
        }
        let not_allowed = || {
            refuse(
                FailureReason::PathNotAllowed,
                "does not lie below a folder that hostPath volumes may use; start the host with \
                 `--host-path-root DIR`"
                    .into(),
            )
        };
        // Whether a path that is not allowed exists is nobody's business.
        let is_below = |path: &Path| {
            let mut roots = self
                .roots
                .iter()
                .filter_map(|root| root.canonicalize().ok());
            roots.any(|root| path.starts_with(root))
        };
        let named_below = self.roots.iter().any(|root| path.starts_with(root));
        if !named_below && !path.canonicalize().is_ok_and(|real| is_below(&real)) {
            return Err(not_allowed());
        }
        let folder = Folder::open(path).map_err(|error| {
            let text = format!("can't be opened as a folder: {error}");
            refuse(FailureReason::FileNotFound, text)
        })?;
        // The folder that was opened is the one that is checked.
        match folder.real_path() {
            Ok(real) if is_below(&real) => Ok(folder),
            _ => Err(not_allowed()),
        }
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        let (folder, all) = (std::mem::take(&mut self.folder), self.all.clone());
        aside(move || {
            Folders::try_again(&all);
            Folders::delete(&all, folder);
        });
    }
}

impl Folders {
    /// Deletes a folder.
    fn delete(all: &Mutex<Self>, folder: PathBuf) {
        let is_gone = remove_or_say(&folder);
        let mut all = all.lock();
        all.used.remove(&folder);
        if !is_gone {
            all.left.insert(folder);
        }
    }

    /// Deletes those that could not be deleted before, unless another thread does.
    fn try_again(all: &Mutex<Self>) {
        let left: Vec<_> = {
            let mut all = all.lock();
            if std::mem::replace(&mut all.is_tried, true) {
                return;
            }
            all.left.iter().cloned().collect()
        };
        for folder in left {
            if remove(&folder).is_ok() {
                all.lock().left.remove(&folder);
            }
        }
        all.lock().is_tried = false;
    }
}

impl WorkloadVolumes {
    /// What one member of the workload mounts.
    pub(crate) fn mounts(&self, resources: &LocalResources) -> Result<Vec<Mount>, Failure> {
        let mounts = resources.mounts.iter().map(|mount| {
            let volume = self.by_name.get(&mount.volume).ok_or_else(|| {
                Failure::new(
                    FailureReason::StartFailed,
                    format!("the workload has no volume `{}`", mount.volume),
                )
            })?;
            Ok(Mount {
                folder: volume.folder.clone(),
                path: mount.path.clone(),
                read_only: mount.read_only || volume.is_fixed,
                quota: volume.quota.clone(),
            })
        });
        mounts.collect()
    }
}

/// Does what may take long where nobody waits for it, if this thread is one of a runtime.
fn aside(work: impl FnOnce() + Send + 'static) {
    match Handle::try_current() {
        Ok(runtime) => drop(runtime.spawn_blocking(work)),
        Err(_) => work(),
    }
}

/// Deletes a folder with all that is in it. What can't be deleted is left. Returns whether it is gone.
fn remove_or_say(folder: &Path) -> bool {
    let removed = remove(folder);
    if let Err(error) = &removed {
        tracing::warn!(folder = %folder.display(), %error, "a volume can't be deleted");
    }
    removed.is_ok()
}

/// A folder in memory that holds these files: values of Secrets are never written to a disk.
fn with_files(files: &BTreeMap<String, Vec<u8>>) -> io::Result<TempDir> {
    let memory = memory_folder()
        .ok_or_else(|| io::Error::other("this machine has no folder that is kept in memory"))?;
    let made = tempfile::Builder::new()
        .prefix(&format!("{PREFIX}{}-", std::process::id()))
        .tempdir_in(memory)?;
    for (path, content) in files {
        let relative = Path::new(path);
        let is_plain = |part: Component<'_>| matches!(part, Component::Normal(_));
        if path.is_empty() || !relative.components().all(is_plain) {
            return Err(io::Error::other(format!("`{path}` is no path below it")));
        }
        let file = made.path().join(relative);
        if let Some(parent) = file.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(file, content)?;
    }
    Ok(made)
}

/// A folder whose files are kept in memory only.
fn memory_folder() -> Option<PathBuf> {
    let shared = PathBuf::from("/dev/shm");
    let of_user = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    [Some(shared), of_user]
        .into_iter()
        .flatten()
        .find(|folder| tempfile::Builder::new().tempfile_in(folder).is_ok())
}

/// Deletes what processes left behind that had no time to do it themselves.
fn remove_left_files(memory: &Path) {
    let Ok(entries) = fs::read_dir(memory) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let pid = name
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split('-').next());
        let is_left = pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists());
        if is_left && Path::new("/proc/self").exists() {
            // Another user's stays: deleting it is refused.
            let _ = remove(&entry.path());
        }
    }
}

#[cfg(test)]
mod tests;
