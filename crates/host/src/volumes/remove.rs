//! Deleting folders that guests have filled, however deep: with four open files, and no call within
//! itself.

use std::{
    ffi::CStr,
    fs, io,
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{AtFlags, CWD, Dir, Mode, OFlags, openat, renameat, unlinkat},
    io::Errno,
};

/// Deletes a folder and all that is in it. That it is gone already, or goes meanwhile, is no failure.
pub(super) fn remove(folder: &Path) -> io::Result<()> {
    let Some(top) = open(CWD, folder)? else {
        return Ok(());
    };
    // What lay deeper comes up by one level each time.
    while empty(&top)? {}
    match fs::remove_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Deletes what lies in a folder. The folders that lie one level deeper move into it. Returns whether
/// there was anything.
fn empty(top: &OwnedFd) -> io::Result<bool> {
    let mut any = false;
    each(top, |name| {
        any = true;
        if is_file_and_gone(top, name)? {
            return Ok(());
        }
        let Some(folder) = open(top, name)? else {
            return Ok(());
        };
        each(&folder, |inner| {
            if is_file_and_gone(&folder, inner)? {
                return Ok(());
            }
            let unused = uuid::Uuid::new_v4().to_string();
            unless(&[Errno::NOENT], renameat(&folder, inner, top, unused)).map(drop)
        })?;
        // What came in meanwhile has its turn next time.
        let others = [Errno::NOENT, Errno::NOTEMPTY, Errno::EXIST];
        unless(&others, unlinkat(top, name, AtFlags::REMOVEDIR)).map(drop)
    })?;
    Ok(any)
}

/// Does something with each name in a folder.
fn each(folder: &OwnedFd, mut act: impl FnMut(&CStr) -> io::Result<()>) -> io::Result<()> {
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            act(name)?;
        }
    }
    Ok(())
}

/// Deletes what has this name unless it is a folder.
fn is_file_and_gone(folder: &OwnedFd, name: &CStr) -> io::Result<bool> {
    match unlinkat(folder, name, AtFlags::empty()) {
        // Linux says the first of a folder, other systems the second.
        Err(Errno::ISDIR | Errno::PERM) => Ok(false),
        done => unless(&[Errno::NOENT], done).map(|_| true),
    }
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
