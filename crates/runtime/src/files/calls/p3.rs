//! Those of 0.3.

use wasmtime::{
    Result,
    component::{Accessor, Linker, Resource},
};
use wasmtime_wasi::{
    filesystem::{Descriptor, WasiFilesystem, WasiFilesystemView},
    p3::{
        bindings::filesystem::types::{
            DescriptorFlags, DescriptorStat, DescriptorType, DirectoryEntry, ErrorCode,
            HostDescriptorWithStore, NewTimestamp, OpenFlags, PathFlags,
        },
        filesystem::FilesystemResult,
    },
};

use super::*;
use crate::files::streams;

/// The instance that holds these calls.
const TYPES: &str = "wasi:filesystem/types@0.3.0";

macro_rules! calls {
    ($types:ident, $(
        $name:literal $method:ident($($argument:ident: $type:ty),*) $kind:ident
            $(if |$ctx:ident, $fd:ident| $verdict:expr $(, new $path:ident)?)?;
    )*) => {$(
        $types.func_wrap_concurrent(
            concat!("[method]descriptor.", $name),
            |accessor: &Accessor<Ctx>, (fd, $($argument,)*): (Resource<Descriptor>, $($type,)*)| {
                let inner = accessor.with_getter::<WasiFilesystem>(Ctx::filesystem);
                Box::pin(async move {
                    let rep = fd.rep();
                    $(
                        $(if is_taken(accessor, &fd, &$path).await {
                            return Ok((Err(ErrorCode::Exist),));
                        })?
                        let verdict: Verdict = accessor.with(|mut store| {
                            let ($ctx, $fd) = (store.get(), &fd);
                            $verdict
                        });
                        let _charged = match charged(verdict).await? {
                            Ok(charged) => charged,
                            Err(denied) => return Ok((Err(denied.into()),)),
                        };
                    )?
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

parts!(FilesystemResult, DescriptorType::Other(None));

pub(super) fn replace(linker: &mut Linker<Ctx>) -> Result<()> {
    let mut types = linker.instance(TYPES)?;
    types.func_wrap_concurrent(
        "[method]descriptor.open-at",
        |accessor: &Accessor<Ctx>, arguments| Box::pin(open_at(accessor, arguments)),
    )?;
    types.func_wrap_concurrent(
        "[method]descriptor.unlink-file-at",
        |accessor: &Accessor<Ctx>, arguments| Box::pin(unlink_file_at(accessor, arguments)),
    )?;
    replace_calls!(calls, types);
    streams::replace(&mut types)
}

/// Whether there is something at a path, where there may be no room: what is to be new there takes none. A
/// link itself is something.
async fn is_taken(accessor: &Accessor<Ctx>, folder: &Resource<Descriptor>, path: &str) -> bool {
    let bound = accessor.with(|mut store| store.get().quotas().of(folder));
    if bound.is_none_or(|bound| bound.has_room_for_entry()) {
        return false;
    }
    let inner = accessor.with_getter::<WasiFilesystem>(Ctx::filesystem);
    let (folder, none) = (Resource::new_borrow(folder.rep()), PathFlags::empty());
    let found = WasiFilesystem::stat_at(&inner, folder, none, path.to_owned()).await;
    found.is_ok()
}

async fn open_at(
    accessor: &Accessor<Ctx>,
    (fd, path_flags, path, open_flags, flags): Opening,
) -> Fallible<Resource<Descriptor>> {
    type Types = WasiFilesystem;
    let inner = accessor.with_getter::<WasiFilesystem>(Ctx::filesystem);
    let bound = match accessor.with(|mut store| may_open(store.get(), &fd)) {
        Ok(bound) => bound,
        Err(code) => return Ok((Err(code),)),
    };
    let rep = fd.rep();
    let folder = Resource::new_borrow(rep);
    let found = Types::stat_at(&inner, folder, path_flags, path.clone()).await;
    if let Ok(found) = found
        && accessor.with(|mut store| is_special(store.get(), &found))
    {
        return Ok((Err(ErrorCode::NotPermitted),));
    }
    if makes_new(open_flags) && is_taken(accessor, &fd, &path).await {
        return Ok((Err(ErrorCode::Exist),));
    }
    if bound.is_some()
        && let Some((opens, writes)) = without_making(open_flags, flags)
    {
        // What is there takes no more room.
        let folder = Resource::new_borrow(rep);
        let found = Types::open_at(&inner, folder, path_flags, path.clone(), opens, writes);
        let found = found.await;
        if !is_missing(&found) {
            let flags = (open_flags, flags);
            return accessor.with(|mut store| opened(store.get(), rep, flags, bound, found));
        }
    }
    let makes = open_flags.contains(OpenFlags::CREATE);
    let charge = Charge::entry(bound.clone().filter(|_| makes));
    let _charged = match charge.make().await {
        Ok(charged) => charged,
        Err(denied) => return Ok((Err(denied.into()),)),
    };
    let made = Types::open_at(&inner, fd, path_flags, path, open_flags, flags).await;
    accessor.with(|mut store| opened(store.get(), rep, (open_flags, flags), bound, made))
}

async fn unlink_file_at(
    accessor: &Accessor<Ctx>,
    (fd, path): (Resource<Descriptor>, String),
) -> Fallible<()> {
    type Types = WasiFilesystem;
    let inner = accessor.with_getter::<WasiFilesystem>(Ctx::filesystem);
    let rep = fd.rep();
    let mut leaves = None;
    if let Some(bound) = accessor.with(|mut store| store.get().quotas().of(&fd)) {
        let (folder, none) = (Resource::new_borrow(rep), PathFlags::empty());
        let (opens, reads) = (OpenFlags::empty(), DescriptorFlags::READ);
        let found = Types::open_at(&inner, folder, none, path.clone(), opens, reads).await;
        if let Ok(found) = found {
            leaves = accessor.with(|mut store| leaving(store.get(), &bound, found))?;
        }
    }
    let done = Types::unlink_file_at(&inner, fd, path).await;
    accessor.with(|mut store| unlinked(store.get(), rep, leaves, done))
}
