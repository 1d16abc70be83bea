//! Deleting folders that guests have filled, however deep: with few open files, and on a disk that has
//! no room left.

use std::{
    ffi::{CStr, CString},
    fs, io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{AtFlags, CWD, Dir, Mode, OFlags, openat, renameat, unlinkat},
    io::Errno,
};

/// Levels of folders that are deleted where they are, each with an open file. What lies deeper moves up
/// first.
const LEVELS: usize = 16;

/// Deletes a folder and all that is in it. That it is gone already, or goes meanwhile, is no failure.
pub(super) fn remove(folder: &Path) -> io::Result<()> {
    let Some(top) = open(CWD, folder)? else {
        return Ok(());
    };
    let to_top = |folder: BorrowedFd<'_>, name: &CStr| {
        let unused = uuid::Uuid::new_v4().to_string();
        renameat(folder, name, &top, unused)
    };
    while let Some(inside) = open(&top, c".")?
        && empty(inside, LEVELS, &to_top)?
    {}
    match fs::remove_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Deletes what lies in a folder, to so many levels. Folders that lie deeper are moved up. Returns
/// whether there was anything.
fn empty(
    folder: OwnedFd,
    levels: usize,
    move_up: &impl Fn(BorrowedFd<'_>, &CStr) -> Result<(), Errno>,
) -> io::Result<bool> {
    let mut entries = Dir::new(folder)?;
    let mut any = false;
    while let Some(name) = next(&mut entries)? {
        any = true;
        let folder = entries.fd()?;
        if is_file_and_gone(folder, &name)? {
            continue;
        }
        if levels == 0 {
            // On a full disk there may be no room for a name, until something goes.
            while move_up(folder, &name).is_err() && delete_innermost(folder, &name)? {}
        } else if let Some(inner) = open(folder, &name)? {
            empty(inner, levels - 1, move_up)?;
            delete_empty(folder, &name)?;
        }
    }
    Ok(any)
}

/// Deletes one folder that holds no other, however deep, and the files on the way there. Returns whether
/// there was one.
fn delete_innermost(folder: BorrowedFd<'_>, name: &CStr) -> io::Result<bool> {
    let (mut outer, mut name) = (folder.try_clone_to_owned()?, name.to_owned());
    while let Some(inner) = open(&outer, &name)? {
        match first_folder(&inner)? {
            Some(first) => (outer, name) = (inner, first),
            None => {
                delete_empty(&outer, &name)?;
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// The first folder in a folder; the files before it are deleted.
fn first_folder(folder: &OwnedFd) -> io::Result<Option<CString>> {
    let Some(entries) = open(folder, c".")? else {
        return Ok(None);
    };
    let mut entries = Dir::new(entries)?;
    while let Some(name) = next(&mut entries)? {
        if !is_file_and_gone(folder, &name)? {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

/// The next name in a folder. None are left in one that is gone.
fn next(entries: &mut Dir) -> io::Result<Option<CString>> {
    for entry in entries {
        let name = entry?.file_name().to_owned();
        if !matches!(name.as_bytes(), b"." | b"..") {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

/// Deletes what has this name unless it is a folder.
fn is_file_and_gone(folder: impl AsFd, name: &CStr) -> io::Result<bool> {
    match unlinkat(folder, name, AtFlags::empty()) {
        // Linux says the first of a folder, other systems the second.
        Err(Errno::ISDIR | Errno::PERM) => Ok(false),
        done => unless(&[Errno::NOENT], done).map(|_| true),
    }
}

/// Deletes a folder. What came in meanwhile has its turn next time.
fn delete_empty(folder: impl AsFd, name: &CStr) -> io::Result<()> {
    let others = [Errno::NOENT, Errno::NOTEMPTY, Errno::EXIST];
    unless(&others, unlinkat(folder, name, AtFlags::REMOVEDIR)).map(drop)
}

/// Opens a folder, unless it is gone.
fn open(at: impl AsFd, name: impl rustix::path::Arg) -> io::Result<Option<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    unless(&[Errno::NOENT], openat(at, name, flags, Mode::empty()))
}

/// The outcome, if it is none of these errors.
fn unless<T>(errors: &[Errno], outcome: Result<T, Errno>) -> io::Result<Option<T>> {
    match outcome {
        Ok(value) => Ok(Some(value)),
        Err(error) if errors.contains(&error) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(folder: &Path) -> OwnedFd {
        open(CWD, folder).unwrap().unwrap()
    }

    #[test]
    fn what_finds_no_room_above_goes_where_it_is() {
        let scratch = tempfile::tempdir().unwrap();
        let deep = scratch.path().join("d/".repeat(3 * LEVELS));
        for name in ["a/b", "a/c", "e"] {
            fs::create_dir_all(deep.join(name)).unwrap();
            fs::write(deep.join(name).join("file"), "x").unwrap();
        }
        let is_full = |_: BorrowedFd<'_>, _: &CStr| Err(Errno::NOSPC);
        assert!(empty(opened(scratch.path()), LEVELS, &is_full).unwrap());
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_folder_that_another_deletes_is_empty() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = opened(scratch.path());
        drop(scratch);
        assert!(!empty(folder, LEVELS, &|_, _| Ok(())).unwrap());
    }
}
