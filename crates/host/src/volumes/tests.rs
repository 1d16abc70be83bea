use std::os::unix::fs::symlink;

use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};
use waft_ir::{VolumeMount, WorkloadId};

use super::*;

fn workload(source: VolumeSource) -> Workload {
    Workload {
        id: WorkloadId("w".into()),
        namespace: "default".into(),
        name: "w".into(),
        app: "w".into(),
        annotations: BTreeMap::new(),
        components: Vec::new(),
        service: None,
        grants: Vec::new(),
        volumes: vec![Volume {
            name: "v".into(),
            source,
        }],
    }
}

fn resources(volume: &str) -> LocalResources {
    LocalResources {
        mounts: vec![VolumeMount {
            volume: volume.into(),
            path: "/v".into(),
            read_only: false,
        }],
        ..LocalResources::default()
    }
}

#[test]
fn shared_folders_lie_below_a_root_however_they_are_named() {
    let scratch = tempfile::tempdir().unwrap();
    let base = scratch.path().canonicalize().unwrap();
    let (root, outside) = (base.join("root"), base.join("outside"));
    fs::create_dir_all(root.join("inner")).unwrap();
    fs::create_dir_all(&outside).unwrap();
    fs::write(root.join("file"), "x").unwrap();
    symlink(&outside, root.join("way-out")).unwrap();
    symlink(root.join("inner"), base.join("way-in")).unwrap();
    let volumes = Volumes::new(base.join("ephemeral"), vec![root.clone()]).unwrap();
    let reason = |path: PathBuf| {
        let prepared = volumes.prepare(&workload(VolumeSource::HostPath(path)));
        prepared.err().map(|failure| failure.reason)
    };
    use FailureReason::{FileNotFound, PathNotAllowed};
    for (path, expected) in [
        (root.clone(), None),
        (root.join("inner"), None),
        (base.join("way-in"), None),
        (outside.clone(), Some(PathNotAllowed)),
        (root.join("../outside"), Some(PathNotAllowed)),
        (root.join("way-out"), Some(PathNotAllowed)),
        (PathBuf::from("inner"), Some(PathNotAllowed)),
        (PathBuf::from("/"), Some(PathNotAllowed)),
        (PathBuf::from("/proc"), Some(PathNotAllowed)),
        (base.join("root-of-another"), Some(PathNotAllowed)),
        (root.join("file"), Some(FileNotFound)),
        (root.join("missing"), Some(FileNotFound)),
    ] {
        assert_eq!(reason(path.clone()), expected, "{}", path.display());
    }
}

#[test]
fn what_is_made_for_a_workload_goes_with_it() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("ephemeral");
    fs::create_dir_all(folder.join("left")).unwrap();
    let volumes = Volumes::new(folder.clone(), Vec::new()).unwrap();
    let count = || fs::read_dir(&folder).unwrap().count();
    assert_eq!(count(), 0, "what was left is gone");

    let prepared = volumes
        .prepare(&workload(VolumeSource::Ephemeral { size_limit: 1 }))
        .unwrap();
    assert_eq!(count(), 1);
    assert!(prepared.mounts(&resources("other")).is_err());
    let mounts = prepared.mounts(&resources("v")).unwrap();
    assert!(!mounts[0].read_only && mounts[0].quota.is_some());
    drop(prepared);
    assert_eq!(count(), 0);

    // A process that ends drops nothing.
    let held = volumes.prepare(&workload(VolumeSource::Ephemeral { size_limit: 1 }));
    assert_eq!(count(), 1);
    volumes.remove_all();
    assert_eq!(count(), 0);
    drop(held);
}

#[test]
fn what_can_not_be_deleted_is_tried_again() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("ephemeral");
    let volumes = Volumes::new(folder.clone(), Vec::new()).unwrap();
    let prepare = || {
        let prepared = volumes.prepare(&workload(VolumeSource::Ephemeral { size_limit: 1 }));
        prepared.unwrap()
    };
    let names = || -> Vec<PathBuf> {
        let entries = fs::read_dir(&folder).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    };
    // A file in the place of the folder is none that goes.
    let stuck = || {
        let held = prepare();
        let [path] = <[_; 1]>::try_from(names()).unwrap();
        fs::remove_dir(&path).unwrap();
        fs::write(&path, "").unwrap();
        drop(held);
        assert_eq!(names(), [path.as_path()]);
        path
    };
    let is_again_a_folder = |path: &Path| {
        fs::remove_file(path).unwrap();
        fs::create_dir(path).unwrap();
    };
    is_again_a_folder(&stuck());
    drop(prepare());
    assert!(names().is_empty());
    is_again_a_folder(&stuck());
    volumes.remove_all();
    assert!(names().is_empty());
}

/// Makes folders below one another, deeper than any path reaches, with a file in each.
fn fill(folder: &Path) {
    let open = OFlags::RDONLY | OFlags::DIRECTORY;
    let make = OFlags::WRONLY | OFlags::CREATE;
    let mut inner = openat(CWD, folder, open, Mode::empty()).unwrap();
    for _ in 0..20_000 {
        openat(&inner, "file", make, Mode::RUSR).unwrap();
        mkdirat(&inner, "d", Mode::RWXU).unwrap();
        inner = openat(&inner, "d", open, Mode::empty()).unwrap();
    }
}

#[test]
fn folders_of_any_depth_go() {
    // Disks take their time for each folder.
    let scratch = TempDir::new_in(memory_folder().unwrap()).unwrap();
    let (folder, outside) = (scratch.path().join("ephemeral"), scratch.path().join("o"));
    fs::create_dir_all(folder.join("left/empty")).unwrap();
    fs::create_dir_all(outside.join("kept")).unwrap();
    fill(&folder.join("left"));
    symlink(&outside, folder.join("left/way-out")).unwrap();
    let volumes = Volumes::new(folder.clone(), Vec::new()).unwrap();
    assert!(fs::read_dir(&folder).unwrap().next().is_none());
    assert!(outside.join("kept").exists(), "links are not followed");

    let held = volumes.prepare(&workload(VolumeSource::Ephemeral { size_limit: 1 }));
    let made = || fs::read_dir(&folder).unwrap().next();
    fill(&made().unwrap().unwrap().path());
    drop(held);
    assert!(made().is_none());

    let held = volumes.prepare(&workload(VolumeSource::Ephemeral { size_limit: 1 }));
    fill(&made().unwrap().unwrap().path());
    volumes.remove_all();
    assert!(made().is_none());
    drop(held);
}

#[test]
fn fixed_files_are_read_only_and_stay_below_their_folder() {
    let scratch = tempfile::tempdir().unwrap();
    let volumes = Volumes::new(scratch.path().join("ephemeral"), Vec::new()).unwrap();
    let files = |path: &str| VolumeSource::Files([(path.to_owned(), b"x".to_vec())].into());
    let prepared = volumes.prepare(&workload(files("a/b"))).unwrap();
    let mounts = prepared.mounts(&resources("v")).unwrap();
    assert!(mounts[0].read_only);
    let real = mounts[0].folder.real_path().unwrap();
    assert_eq!(fs::read(real.join("a/b")).unwrap(), b"x");
    drop((prepared, mounts));
    assert!(!real.exists());
    for path in ["../x", "/etc/x", "a/../../x", ""] {
        assert!(volumes.prepare(&workload(files(path))).is_err(), "{path}");
    }
}
