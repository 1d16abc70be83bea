//! The calls of `wasi:filesystem`, of both generations, that open something, name it by its path or
//! make a folder grow, in the place of wasmtime's: they do what those do, ask the quota first, and count
//! what is refused. Opening looks first, so that no guest waits for a pipe, and no component holds more
//! files, or folders that it reads, than it may.
//!
//! Each generation has types of its own under the same names. What both say alike stands here, in
//! macros that are used where those types are in scope.

use std::{fs::File, io, sync::Arc};

use rustix::fs::FileType;
use wasmtime::{
    Result,
    component::{Linker, Resource},
};
use wasmtime_wasi::filesystem::Descriptor;

use super::{
    listing::{Entry, Listing},
    quota::Leaving,
    writing::{
        Bound, Charge, Denied, Verdict, bind, charged, leaving, may_add, may_grow, may_link,
        may_make, may_move,
    },
};
use crate::{Ctx, Refusal};

/// Has a macro of a generation put functions in the place of wasmtime's: name, method, arguments, what
/// it does, what must hold before it is done, and the path at which there must be nothing yet.
macro_rules! replace_calls {
    ($calls:ident, $types:ident) => {
        $calls! { $types,
            "stat-at" stat_at(flags: PathFlags, path: String) Reads;
            "metadata-hash-at" metadata_hash_at(flags: PathFlags, path: String) Reads;
            "readlink-at" readlink_at(path: String) Reads;
            "set-times" set_times(accessed: NewTimestamp, modified: NewTimestamp) Writes;
            "set-times-at" set_times_at(
                flags: PathFlags, path: String, accessed: NewTimestamp, modified: NewTimestamp
            ) Writes;
            "link-at" link_at(
                flags: PathFlags, old: String, folder: Resource<Descriptor>, new: String
            ) Writes if |ctx, fd| may_link(ctx, fd, &folder);
            "rename-at" rename_at(old: String, folder: Resource<Descriptor>, new: String) Frees
                if |ctx, fd| may_move(ctx, fd, &folder, &new);
            "remove-directory-at" remove_directory_at(path: String) Frees;
            "set-size" set_size(size: u64) Frees if |ctx, fd| may_grow(ctx, fd, size);
            "create-directory-at" create_directory_at(path: String) Writes
                if |ctx, fd| may_make(ctx, fd, &path), new path;
            "symlink-at" symlink_at(old: String, new: String) Writes
                if |ctx, fd| may_add(ctx, fd), new new;
        }
    };
}

/// The parts of a generation that need its types, but not its way to be called: `$Outcome` is what
/// wasmtime's functions return, `$unknown` what it calls that which has no name.
macro_rules! parts {
    ($Outcome:ident, $unknown:expr) => {
        pub(in crate::files) type Fallible<T> = Result<(std::result::Result<T, ErrorCode>,)>;

        impl From<Denied> for ErrorCode {
            fn from(denied: Denied) -> Self {
                match denied {
                    Denied::Full => Self::InsufficientSpace,
                    Denied::OtherVolume => Self::CrossDevice,
                    Denied::TooDeep => Self::NameTooLong,
                }
            }
        }

        /// What `open-at` is given.
        type Opening = (
            Resource<Descriptor>,
            PathFlags,
            String,
            OpenFlags,
            DescriptorFlags,
        );

        /// The answer of a call on a descriptor.
        pub(in crate::files) fn answer<T>(
            ctx: &mut Ctx,
            fd: u32,
            call: Call,
            outcome: $Outcome<T>,
        ) -> Fallible<T> {
            match outcome {
                Ok(value) => {
                    if call == Call::Frees {
                        freed(ctx, fd);
                    }
                    Ok((Ok(value),))
                }
                Err(error) => {
                    let code = error.downcast()?;
                    if matches!(code, ErrorCode::NotPermitted) {
                        count_refusal(ctx, fd, call);
                    }
                    Ok((Err(code),))
                }
            }
        }

        /// Whether one more file may be open: then what bounds it.
        fn may_open(
            ctx: &mut Ctx,
            folder: &Resource<Descriptor>,
        ) -> std::result::Result<Option<Bound>, ErrorCode> {
            match has_room(ctx) {
                true => Ok(ctx.quotas().of(folder)),
                false => Err(ErrorCode::Quota),
            }
        }

        /// Flags by which a file that is there is opened as by these, and none is made. `None`: these
        /// make none, or one that must be new.
        fn without_making(
            open_flags: OpenFlags,
            flags: DescriptorFlags,
        ) -> Option<(OpenFlags, DescriptorFlags)> {
            let of_old_files = OpenFlags::CREATE | OpenFlags::TRUNCATE;
            let may_be_there = of_old_files.contains(open_flags);
            let makes = open_flags.contains(OpenFlags::CREATE);
            // What makes a file may write to it, and wasmtime lets it read what it was not to write.
            let writes = match flags.contains(DescriptorFlags::WRITE) {
                true => flags,
                false => flags | DescriptorFlags::READ | DescriptorFlags::WRITE,
            };
            (makes && may_be_there).then_some((open_flags & !OpenFlags::CREATE, writes))
        }

        /// Whether these make a file that must be new.
        fn makes_new(open_flags: OpenFlags) -> bool {
            let of_new_files = OpenFlags::CREATE | OpenFlags::EXCLUSIVE;
            open_flags.contains(of_new_files) && !open_flags.contains(OpenFlags::DIRECTORY)
        }

        /// Whether nothing was found.
        fn is_missing<T>(outcome: &$Outcome<T>) -> bool {
            let code = outcome
                .as_ref()
                .err()
                .and_then(|error| error.downcast_ref());
            matches!(code, Some(ErrorCode::NoEntry))
        }

        /// Whether what was found is no file, folder or link. That is counted.
        fn is_special(ctx: &mut Ctx, found: &DescriptorStat) -> bool {
            use DescriptorType::{Directory, RegularFile, SymbolicLink};
            let is_special = !matches!(found.type_, RegularFile | Directory | SymbolicLink);
            if is_special {
                ctx.count_refusal(Refusal::SpecialFile);
            }
            is_special
        }

        /// Begins to read a folder, which is one more open file.
        pub(in crate::files) fn list(
            ctx: &mut Ctx,
            fd: &Resource<Descriptor>,
        ) -> Result<std::result::Result<Listing, ErrorCode>> {
            let folder = match ctx.table().get(fd)? {
                Descriptor::Dir(folder) => folder.dir.clone(),
                Descriptor::File(_) => return Ok(Err(ErrorCode::NotDirectory)),
            };
            if !has_room(ctx) {
                return Ok(Err(ErrorCode::Quota));
            }
            let listing = Listing::new(folder);
            ctx.quotas().open_files().add(listing.source());
            Ok(Ok(listing))
        }

        /// What was found in a folder, as a guest is told.
        pub(in crate::files) fn entry(
            found: io::Result<Entry>,
        ) -> std::result::Result<DirectoryEntry, ErrorCode> {
            let Entry { name, kind } = found?;
            let name = String::from_utf8(name).map_err(|_| ErrorCode::IllegalByteSequence)?;
            let type_ = match kind {
                FileType::RegularFile => DescriptorType::RegularFile,
                FileType::Directory => DescriptorType::Directory,
                FileType::Symlink => DescriptorType::SymbolicLink,
                FileType::Fifo => DescriptorType::Fifo,
                FileType::Socket => DescriptorType::Socket,
                FileType::CharacterDevice => DescriptorType::CharacterDevice,
                FileType::BlockDevice => DescriptorType::BlockDevice,
                FileType::Unknown => $unknown,
            };
            Ok(DirectoryEntry { type_, name })
        }

        /// The answer of a call that deletes a file. Without a bound handle of that file only a look
        /// tells what has gone.
        fn unlinked(
            ctx: &mut Ctx,
            fd: u32,
            leaving: Option<Leaving>,
            outcome: $Outcome<()>,
        ) -> Fallible<()> {
            let call = match leaving {
                Some(leaving) => {
                    if outcome.is_ok() {
                        leaving.left();
                    }
                    Call::Writes
                }
                None => Call::Frees,
            };
            answer(ctx, fd, call, outcome)
        }

        /// The answer of a call that opens.
        fn opened(
            ctx: &mut Ctx,
            fd: u32,
            (open_flags, flags): (OpenFlags, DescriptorFlags),
            bound: Option<Bound>,
            outcome: $Outcome<Resource<Descriptor>>,
        ) -> Fallible<Resource<Descriptor>> {
            if let Ok(made) = &outcome {
                count_open(ctx, made)?;
                bind(ctx, made, bound)?;
            }
            let call = if open_flags.contains(OpenFlags::TRUNCATE) {
                Call::Frees
            } else if open_flags.contains(OpenFlags::CREATE)
                || flags.contains(DescriptorFlags::WRITE)
            {
                Call::Writes
            } else {
                Call::Reads
            };
            answer(ctx, fd, call, outcome)
        }
    };
}

pub(super) mod p2;
pub(super) mod p3;

/// What a call is about to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Call {
    Reads,
    Writes,
    /// Writes so that afterwards there may be less than before.
    Frees,
}

/// Puts these functions in the place of wasmtime's.
pub(super) fn replace(linker: &mut Linker<Ctx>, with_p3: bool) -> Result<()> {
    p2::replace(linker)?;
    if with_p3 {
        p3::replace(linker)?;
    }
    Ok(())
}

/// Counts a call that was not permitted.
pub(super) fn count_refusal(ctx: &mut Ctx, fd: u32, call: Call) {
    let fd = Resource::<Descriptor>::new_borrow(fd);
    let perms = ctx.table().get(&fd).map(|descriptor| match descriptor {
        Descriptor::File(file) => file.perms,
        Descriptor::Dir(folder) => folder.perms,
    });
    let is_fixed = perms.is_ok_and(|perms| perms.write_not_permitted());
    ctx.count_refusal(match call {
        Call::Writes | Call::Frees if is_fixed => Refusal::ReadOnly,
        _ => Refusal::Path,
    });
}

/// Tells the quota of a descriptor that something may have gone.
fn freed(ctx: &mut Ctx, fd: u32) {
    if let Some(bound) = ctx.quotas().of(&Resource::new_borrow(fd)) {
        bound.freed();
    }
}

/// Whether one more file may be open. What is refused is counted.
pub(super) fn has_room(ctx: &mut Ctx) -> bool {
    let has_room = ctx.quotas().open_files().has_room();
    if !has_room {
        ctx.count_refusal(Refusal::OpenFiles);
    }
    has_room
}

/// Counts what was opened among the open files.
fn count_open(ctx: &mut Ctx, fd: &Resource<Descriptor>) -> Result<()> {
    let file: Arc<File> = match ctx.table().get(fd)? {
        Descriptor::File(file) => file.file.clone(),
        Descriptor::Dir(folder) => folder.dir.clone(),
    };
    ctx.quotas().open_files().add(&file);
    Ok(())
}
