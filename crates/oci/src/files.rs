//! Local files and folders: where a relative path counts from, and which paths are allowed.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Component, Path, PathBuf},
};

use bytes::Bytes;
use waft_ir::{Failure, FailureReason};

/// The folders below which `file:` and `oci:` images may lie.
#[derive(Clone, Debug, Default)]
pub struct FileRoots {
    /// Where relative paths count from first.
    pub working_dir: PathBuf,
    /// Folders of the manifests, where relative paths are looked for next, in order.
    pub manifest_dirs: Vec<PathBuf>,
    /// Folders that are allowed as well (`--file-root`).
    pub extra: Vec<PathBuf>,
}

impl FileRoots {
    /// Finds the file or folder of a path and returns where it really is, symbolic links resolved.
    /// Both the path as written and the place it leads to must lie below a root: the first check
    /// keeps a stranger from learning what exists elsewhere, the second holds against links.
    pub(crate) fn find(&self, path: &str, reference: &str) -> Result<PathBuf, Failure> {
        let roots = self.roots();
        let candidates = self.candidates(Path::new(path));
        let below = |path: &PathBuf| roots.iter().any(|root| path.starts_with(root));
        let mut allowed = candidates.iter().filter(|path| below(path)).peekable();
        if allowed.peek().is_none() {
            return Err(self.not_allowed(reference));
        }
        for candidate in allowed {
            match candidate.canonicalize() {
                Ok(real) if below(&real) => return Ok(real),
                Ok(_) => return Err(self.not_allowed(reference)),
                Err(error) if is_absent(&error) => {}
                Err(error) => return Err(unreadable(reference, &error)),
            }
        }
        let tried: Vec<_> = candidates.iter().map(|p| p.display().to_string()).collect();
        Err(Failure::new(
            FailureReason::FileNotFound,
            format!(
                "`{reference}`: there is no `{}`; build the component, or correct the path",
                tried.join("` and no `")
            ),
        ))
    }

    /// Absolute forms of a path, `.` and `..` taken out.
    fn candidates(&self, path: &Path) -> Vec<PathBuf> {
        let bases = std::iter::once(&self.working_dir).chain(&self.manifest_dirs);
        let mut found = Vec::new();
        for base in bases {
            // An absolute path replaces the base, so it comes out the same for each.
            let candidate = normalize(&absolute(base).join(path));
            if !found.contains(&candidate) {
                found.push(candidate);
            }
        }
        found
    }

    /// All roots, each as written and as it really is (`/tmp` may be a link).
    fn roots(&self) -> Vec<PathBuf> {
        let all = std::iter::once(&self.working_dir)
            .chain(&self.manifest_dirs)
            .chain(&self.extra);
        let forms = |root: &PathBuf| {
            let written = absolute(root);
            [written.canonicalize().ok(), Some(normalize(&written))]
        };
        all.flat_map(forms).flatten().collect()
    }

    fn not_allowed(&self, reference: &str) -> Failure {
        Failure::new(
            FailureReason::PathNotAllowed,
            format!(
                "`{reference}` lies outside the folders that images may come from (the working \
                 folder of `waft up` and the folders of the manifests given to it); start it with \
                 `--file-root DIR` to allow another"
            ),
        )
    }
}

/// Reads a whole file of at most `limit` bytes.
pub(crate) fn read(path: &Path, limit: u64, reference: &str) -> Result<Bytes, Failure> {
    let error = |e: io::Error| unreadable(reference, &e);
    // A pipe or a device would be read for ever, so only ordinary files are opened at all.
    if !fs::metadata(path).map_err(error)?.is_file() {
        return Err(Failure::new(
            FailureReason::FileNotFound,
            format!("`{reference}` is no file; for a folder in OCI layout write `oci:DIRECTORY`"),
        ));
    }
    let mut bytes = Vec::new();
    let mut file = File::open(path).map_err(error)?.take(limit + 1);
    file.read_to_end(&mut bytes).map_err(error)?;
    if bytes.len() as u64 > limit {
        return Err(too_large(reference, limit));
    }
    Ok(bytes.into())
}

/// The failure of an image above the ceiling.
pub(crate) fn too_large(reference: &str, limit: u64) -> Failure {
    Failure::new(
        FailureReason::ImagePullFailed,
        format!(
            "`{reference}` is larger than {} MiB, the most that is accepted; strip or optimise it",
            limit >> 20
        ),
    )
}

/// The failure of a path that exists but can't be read.
fn unreadable(reference: &str, error: &io::Error) -> Failure {
    let reason = match is_absent(error) {
        true => FailureReason::FileNotFound,
        false => FailureReason::PathNotAllowed,
    };
    Failure::new(reason, format!("`{reference}` can't be read: {error}"))
}

fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Takes `.` and `..` out of an absolute path, without asking the file system.
fn normalize(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                clean.pop();
            }
            part => clean.push(part),
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    struct Tree {
        dir: tempfile::TempDir,
        roots: FileRoots,
    }

    fn tree() -> Tree {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["work", "manifests", "extra", "secret"] {
            fs::create_dir(dir.path().join(folder)).unwrap();
        }
        let at = |name: &str| dir.path().join(name);
        fs::write(at("manifests/a.wasm"), "a").unwrap();
        fs::write(at("secret/key"), "key").unwrap();
        let roots = FileRoots {
            working_dir: at("work"),
            manifest_dirs: vec![at("manifests")],
            extra: vec![at("extra")],
        };
        Tree { dir, roots }
    }

    impl Tree {
        fn reason(&self, path: &str) -> FailureReason {
            self.roots.find(path, path).unwrap_err().reason
        }

        fn path(&self, name: &str) -> PathBuf {
            self.dir.path().canonicalize().unwrap().join(name)
        }
    }

    #[test]
    fn the_working_folder_comes_before_the_manifests() {
        let tree = tree();
        let found = tree.roots.find("a.wasm", "file:a.wasm").unwrap();
        assert_eq!(found, tree.path("manifests/a.wasm"));
        fs::write(tree.path("work/a.wasm"), "b").unwrap();
        let found = tree.roots.find("./x/../a.wasm", "").unwrap();
        assert_eq!(found, tree.path("work/a.wasm"));
    }

    #[test]
    fn nothing_outside_is_reached() {
        let tree = tree();
        let secret = tree.path("secret/key").display().to_string();
        let absent = tree.path("secret/absent").display().to_string();
        for path in ["../secret/key", &secret, &absent, "/etc/passwd"] {
            assert_eq!(tree.reason(path), FailureReason::PathNotAllowed, "{path}");
        }
        let failure = tree
            .roots
            .find("/etc/passwd", "file:/etc/passwd")
            .unwrap_err();
        let whose = "the working folder of `waft up` and the folders of the manifests given to it";
        assert!(failure.message.contains(whose), "{}", failure.message);
        symlink(tree.path("secret"), tree.path("work/link")).unwrap();
        assert_eq!(tree.reason("link/key"), FailureReason::PathNotAllowed);
        let absent = tree.reason("absent.wasm");
        assert_eq!(absent, FailureReason::FileNotFound);
    }

    #[test]
    fn links_between_roots_are_fine() {
        let tree = tree();
        fs::write(tree.path("extra/b.wasm"), "b").unwrap();
        symlink(tree.path("extra/b.wasm"), tree.path("work/b.wasm")).unwrap();
        let found = tree.roots.find("b.wasm", "").unwrap();
        assert_eq!(found, tree.path("extra/b.wasm"));
    }

    #[test]
    fn only_ordinary_files_up_to_the_limit_are_read() {
        let tree = tree();
        let file = tree.path("manifests/a.wasm");
        assert_eq!(read(&file, 1, "a").unwrap(), "a");
        let reason = |path: &Path, limit| read(path, limit, "a").unwrap_err().reason;
        assert_eq!(reason(&file, 0), FailureReason::ImagePullFailed);
        let folder = tree.path("work");
        assert_eq!(reason(&folder, 9), FailureReason::FileNotFound);
        let device = Path::new("/dev/zero");
        assert_eq!(reason(device, 9), FailureReason::FileNotFound);
    }
}
