//! The calls of `wasi:filesystem`, of both generations, that name something by its path, in the
//! place of wasmtime's: they do what those do, and count what is refused. Opening looks first, so
//! that no guest waits for a pipe, and no component holds more files than it may.

use std::{fs::File, sync::Arc};

use wasmtime::{
    Result, StoreContextMut,
    component::{Accessor, Linker, Resource},
};
use wasmtime_wasi::filesystem::{Descriptor, WasiFilesystem, WasiFilesystemView};

use crate::{Ctx, Refusal};

/// The instances that hold these calls; the linker finds the first for all versions 0.2.
const TYPES_P2: &str = "wasi:filesystem/types@0.2.12";
const TYPES_P3: &str = "wasi:filesystem/types@0.3.0";

/// Puts functions of 0.2 in the place of wasmtime's.
macro_rules! counted_p2 {
    ($types:ident, $($name:literal $method:ident($($argument:ident: $type:ty),*) $kind:ident;)*) => {$(
        $types.func_wrap_async(
            concat!("[method]descriptor.", $name),
            |mut store: StoreContextMut<'_, Ctx>,
             (fd, $($argument,)*): (Resource<Descriptor>, $($type,)*)| {
                Box::new(async move {
                    let (ctx, rep) = (store.data_mut(), fd.rep());
                    let done = ctx.filesystem().$method(fd, $($argument),*).await;
                    p2::answer(ctx, rep, Call::$kind, done)
                })
            },
        )?;
    )*};
}

/// The same for 0.3.
macro_rules! counted_p3 {
    ($types:ident, $($name:literal $method:ident($($argument:ident: $type:ty),*) $kind:ident;)*) => {$(
        $types.func_wrap_concurrent(
            concat!("[method]descriptor.", $name),
            |accessor: &Accessor<Ctx>, (fd, $($argument,)*): (Resource<Descriptor>, $($type,)*)| {
                let inner = accessor.with_getter::<WasiFilesystem>(Ctx::filesystem);
                Box::pin(async move {
                    let rep = fd.rep();
                    let done = <WasiFilesystem as HostDescriptorWithStore<Ctx>>::$method(
                        &inner, fd, $($argument),*
                    )
                    .await;
                    accessor.with(|mut store| answer(store.get(), rep, Call::$kind, done))
                })
            },
        )?;
    )*};
}

/// Those of 0.3 that ask the quota first.
macro_rules! growing {
    ($types:ident, $(
        $name:literal $method:ident($($argument:ident: $type:ty),*) if |$ctx:ident, $fd:ident| $fits:expr;
    )*) => {$(
        $types.func_wrap_concurrent(
            concat!("[method]descriptor.", $name),
            |accessor: &Accessor<Ctx>, (fd, $($argument,)*): (Resource<Descriptor>, $($type,)*)| {
                let inner = accessor.with_getter::<WasiFilesystem>(Ctx::filesystem);
                Box::pin(async move {
                    let rep = fd.rep();
                    let fits: Result<bool> = accessor.with(|mut store| {
                        let ($ctx, $fd) = (store.get(), &fd);
                        $fits
                    });
                    if !fits? {
                        return Ok((Err(ErrorCode::InsufficientSpace),));
                    }
                    let done = <WasiFilesystem as HostDescriptorWithStore<Ctx>>::$method(
                        &inner, fd, $($argument),*
                    )
                    .await;
                    accessor.with(|mut store| answer(store.get(), rep, Call::Writes, done))
                })
            },
        )?;
    )*};
}

/// What a call is about to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Call {
    Reads,
    Writes,
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
        Call::Writes if is_fixed => Refusal::ReadOnly,
        _ => Refusal::Path,
    });
}

/// Whether one more file may be open. What is refused is counted.
fn may_open(ctx: &mut Ctx) -> bool {
    let has_room = ctx.quotas().open_files().has_room();
    if !has_room {
        ctx.count_refusal(Refusal::OpenFiles);
    }
    has_room
}

/// The file of the system behind a descriptor.
fn file_behind(ctx: &mut Ctx, fd: &Resource<Descriptor>) -> Result<Arc<File>> {
    Ok(match ctx.table().get(fd)? {
        Descriptor::File(file) => file.file.clone(),
        Descriptor::Dir(folder) => folder.dir.clone(),
    })
}

/// Counts what was opened among the open files.
fn opened(ctx: &mut Ctx, fd: &Resource<Descriptor>) -> Result<()> {
    let file = file_behind(ctx, fd)?;
    ctx.quotas().open_files().add(&file);
    Ok(())
}

pub(super) mod p2 {
    use wasmtime_wasi::p2::{
        FsResult,
        bindings::filesystem::types::{
            DescriptorFlags, DescriptorType, ErrorCode, HostDescriptor, MetadataHashValue,
            NewTimestamp, OpenFlags, PathFlags,
        },
    };

    use super::*;

    type Fallible<T> = Result<(std::result::Result<T, ErrorCode>,)>;

    pub(super) fn replace(linker: &mut Linker<Ctx>) -> Result<()> {
        let mut types = linker.instance(TYPES_P2)?;
        counted_p2! { types,
            "stat-at" stat_at(flags: PathFlags, path: String) Reads;
            "metadata-hash-at" metadata_hash_at(flags: PathFlags, path: String) Reads;
            "readlink-at" readlink_at(path: String) Reads;
            "set-times" set_times(accessed: NewTimestamp, modified: NewTimestamp) Writes;
            "set-times-at" set_times_at(
                flags: PathFlags, path: String, accessed: NewTimestamp, modified: NewTimestamp
            ) Writes;
            "link-at" link_at(
                flags: PathFlags, old: String, folder: Resource<Descriptor>, new: String
            ) Writes;
            "rename-at" rename_at(old: String, folder: Resource<Descriptor>, new: String) Writes;
            "remove-directory-at" remove_directory_at(path: String) Writes;
            "unlink-file-at" unlink_file_at(path: String) Writes;
        }
        // Types that the calls above name only in what they return.
        let _: Option<MetadataHashValue> = None;
        Ok(())
    }

    /// Opens a file or folder.
    pub(in crate::files) async fn open(
        ctx: &mut Ctx,
        fd: Resource<Descriptor>,
        (path_flags, path, open_flags, flags): (PathFlags, String, OpenFlags, DescriptorFlags),
        may_be_special: bool,
    ) -> Fallible<Resource<Descriptor>> {
        if !may_open(ctx) {
            return Ok((Err(ErrorCode::Quota),));
        }
        let rep = fd.rep();
        if may_be_special {
            let mut view = ctx.filesystem();
            let found = view
                .stat_at(Resource::new_borrow(rep), path_flags, path.clone())
                .await;
            if let Ok(found) = found
                && !matches!(
                    found.type_,
                    DescriptorType::RegularFile
                        | DescriptorType::Directory
                        | DescriptorType::SymbolicLink
                )
            {
                ctx.count_refusal(Refusal::SpecialFile);
                return Ok((Err(ErrorCode::NotPermitted),));
            }
        }
        let writes = open_flags.intersects(OpenFlags::CREATE | OpenFlags::TRUNCATE)
            || flags.contains(DescriptorFlags::WRITE);
        let call = if writes { Call::Writes } else { Call::Reads };
        let mut view = ctx.filesystem();
        let made = view.open_at(fd, path_flags, path, open_flags, flags).await;
        if let Ok(made) = &made {
            opened(ctx, made)?;
        }
        answer(ctx, rep, call, made)
    }

    /// The answer of a call on a descriptor.
    pub(in crate::files) fn answer<T>(
        ctx: &mut Ctx,
        fd: u32,
        call: Call,
        result: FsResult<T>,
    ) -> Fallible<T> {
        match result {
            Ok(value) => Ok((Ok(value),)),
            Err(error) => {
                let code = error.downcast()?;
                if code == ErrorCode::NotPermitted {
                    count_refusal(ctx, fd, call);
                }
                Ok((Err(code),))
            }
        }
    }
}

mod p3 {
    use wasmtime_wasi::p3::{
        bindings::filesystem::types::{
            DescriptorFlags, DescriptorType, ErrorCode, HostDescriptorWithStore, NewTimestamp,
            OpenFlags, PathFlags,
        },
        filesystem::FilesystemResult,
    };

    use super::{
        super::{
            streams,
            writing::{bind, may_add, may_grow},
        },
        *,
    };

    type Fallible<T> = Result<(std::result::Result<T, ErrorCode>,)>;

    pub(super) fn replace(linker: &mut Linker<Ctx>) -> Result<()> {
        let mut types = linker.instance(TYPES_P3)?;
        counted_p3! { types,
            "stat-at" stat_at(flags: PathFlags, path: String) Reads;
            "metadata-hash-at" metadata_hash_at(flags: PathFlags, path: String) Reads;
            "readlink-at" readlink_at(path: String) Reads;
            "set-times" set_times(accessed: NewTimestamp, modified: NewTimestamp) Writes;
            "set-times-at" set_times_at(
                flags: PathFlags, path: String, accessed: NewTimestamp, modified: NewTimestamp
            ) Writes;
            "link-at" link_at(
                flags: PathFlags, old: String, folder: Resource<Descriptor>, new: String
            ) Writes;
            "rename-at" rename_at(old: String, folder: Resource<Descriptor>, new: String) Writes;
            "remove-directory-at" remove_directory_at(path: String) Writes;
            "unlink-file-at" unlink_file_at(path: String) Writes;
        }
        types.func_wrap_concurrent(
            "[method]descriptor.open-at",
            |accessor: &Accessor<Ctx>, arguments| Box::pin(open_at(accessor, arguments)),
        )?;
        growing! { types,
            "set-size" set_size(size: u64) if |ctx, fd| may_grow(ctx, fd, size);
            "create-directory-at" create_directory_at(path: String) if |ctx, fd| Ok(may_add(ctx, fd));
            "symlink-at" symlink_at(old: String, new: String) if |ctx, fd| Ok(may_add(ctx, fd));
        }
        streams::replace(&mut types)
    }

    async fn open_at(
        accessor: &Accessor<Ctx>,
        (fd, path_flags, path, open_flags, flags): (
            Resource<Descriptor>,
            PathFlags,
            String,
            OpenFlags,
            DescriptorFlags,
        ),
    ) -> Fallible<Resource<Descriptor>> {
        type Types = WasiFilesystem;
        let inner = accessor.with_getter::<WasiFilesystem>(Ctx::filesystem);
        if !accessor.with(|mut store| may_open(store.get())) {
            return Ok((Err(ErrorCode::Quota),));
        }
        let bound = accessor.with(|mut store| store.get().quotas().of(&fd));
        if open_flags.contains(OpenFlags::CREATE)
            && let Some(bound) = &bound
            && !bound.charge_entry()
        {
            return Ok((Err(ErrorCode::InsufficientSpace),));
        }
        let rep = fd.rep();
        let folder = Resource::new_borrow(rep);
        let found = Types::stat_at(&inner, folder, path_flags, path.clone()).await;
        if let Ok(found) = found
            && !matches!(
                found.type_,
                DescriptorType::RegularFile
                    | DescriptorType::Directory
                    | DescriptorType::SymbolicLink
            )
        {
            accessor.with(|mut store| store.get().count_refusal(Refusal::SpecialFile));
            return Ok((Err(ErrorCode::NotPermitted),));
        }
        let writes = open_flags.intersects(OpenFlags::CREATE | OpenFlags::TRUNCATE)
            || flags.contains(DescriptorFlags::WRITE);
        let call = if writes { Call::Writes } else { Call::Reads };
        let made = Types::open_at(&inner, fd, path_flags, path, open_flags, flags).await;
        accessor.with(|mut store| {
            let ctx = store.get();
            if let Ok(made) = &made {
                opened(ctx, made)?;
                bind(ctx, made, bound)?;
            }
            answer(ctx, rep, call, made)
        })
    }

    fn answer<T>(ctx: &mut Ctx, fd: u32, call: Call, result: FilesystemResult<T>) -> Fallible<T> {
        match result {
            Ok(value) => Ok((Ok(value),)),
            Err(error) => {
                let code = error.downcast()?;
                if matches!(code, ErrorCode::NotPermitted) {
                    count_refusal(ctx, fd, call);
                }
                Ok((Err(code),))
            }
        }
    }
}
