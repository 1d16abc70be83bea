//! Keeps the cache's folder within its bound.

use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// After this long a file that belongs to no entry was left behind by a writer that died.
const ABANDONED: Duration = Duration::from_secs(24 * 3600);

/// One entry: its hash's file, whose time says when it was last used, and its code.
struct Entry {
    used: SystemTime,
    bytes: u64,
    sum: PathBuf,
    code: PathBuf,
}

/// Removes the entries that were not used for longest until the rest is within `bound`; never
/// `newest`, which was just made. Another process that looks for what is removed compiles it again.
pub(super) fn trim(folder: &Path, bound: u64, newest: &Path) -> io::Result<()> {
    let mut entries = Vec::new();
    let mut rest = Vec::new();
    for found in fs::read_dir(folder)? {
        let path = found?.path();
        // A file that another process has just removed is none.
        match entry(&path) {
            Ok(Some(entry)) => entries.push(entry),
            Ok(None) => rest.push(path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    let codes: HashSet<_> = entries.iter().map(|entry| &entry.code).collect();
    for path in rest.iter().filter(|path| !codes.contains(path)) {
        if is_abandoned(path) {
            remove(path)?;
        }
    }
    entries.sort_by_key(|entry| entry.used);
    let mut total: u64 = entries.iter().map(|entry| entry.bytes).sum();
    for entry in entries.iter().filter(|entry| entry.code != newest) {
        if total <= bound {
            break;
        }
        // The hash first: code without it is never loaded.
        remove(&entry.sum)?;
        remove(&entry.code)?;
        total -= entry.bytes;
    }
    Ok(())
}

/// The entry that a hash's file stands for; `None` for any other file.
fn entry(sum: &Path) -> io::Result<Option<Entry>> {
    if sum
        .extension()
        .is_none_or(|extension| extension != super::SUM)
    {
        return Ok(None);
    }
    let code = sum.with_extension("cwasm");
    let found = fs::metadata(sum)?;
    Ok(Some(Entry {
        used: found.modified()?,
        bytes: found.len() + fs::metadata(&code).map_or(0, |code| code.len()),
        sum: sum.to_owned(),
        code,
    }))
}

fn is_abandoned(path: &Path) -> bool {
    fs::metadata(path)
        .and_then(|found| found.modified())
        .is_ok_and(|at| at.elapsed().is_ok_and(|age| age > ABANDONED))
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, bytes: usize, age: u64) {
        fs::write(path, vec![0; bytes]).unwrap();
        let file = fs::File::options().append(true).open(path).unwrap();
        let hours = Duration::from_secs(age * 3600);
        file.set_modified(SystemTime::now() - hours).unwrap();
    }

    #[test]
    fn what_was_not_used_for_longest_goes() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for (name, age) in [("new", 0), ("old", 30), ("older", 40), ("used", 1)] {
            // Written long ago; when it was used is another matter.
            write(&at(&format!("{name}.cwasm")), 1000, 50);
            write(&at(&format!("{name}.xxh3")), 32, age);
        }
        write(&at(".tmp1"), 10, 48);
        write(&at(".tmp2"), 10, 0);
        write(&at("alone.cwasm"), 10, 48);
        write(&at("alone.xxh3"), 32, 48);
        fs::remove_file(at("alone.xxh3")).unwrap();
        trim(folder.path(), 2500, &at("new.cwasm")).unwrap();
        let mut left: Vec<_> = fs::read_dir(folder.path())
            .unwrap()
            .map(|found| found.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        let wanted = [".tmp2", "new.cwasm", "new.xxh3", "used.cwasm", "used.xxh3"];
        assert_eq!(left, wanted);
        // What was just made stays, whatever its size.
        trim(folder.path(), 10, &at("new.cwasm")).unwrap();
        assert!(at("new.cwasm").exists() && !at("used.cwasm").exists());
    }
}
