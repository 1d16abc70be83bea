//! Those of 0.2.

use std::future::poll_fn;

use wasmtime::{
    Result, StoreContextMut,
    component::{Linker, LinkerInstance, Resource, ResourceType},
};
use wasmtime_wasi::{
    filesystem::{Descriptor, WasiFilesystemView},
    p2::{
        FsResult,
        bindings::filesystem::types::{
            DescriptorFlags, DescriptorStat, DescriptorType, DirectoryEntry, ErrorCode,
            HostDescriptor, NewTimestamp, OpenFlags, PathFlags,
        },
    },
};

use super::*;
use crate::files::bounded;

/// The instance that holds these calls, as the newest 0.2 is named; the linker finds it for all.
const TYPES: &str = "wasi:filesystem/types@0.2.12";

macro_rules! calls {
    ($types:ident, $(
        $name:literal $method:ident($($argument:ident: $type:ty),*) $kind:ident
            $(if |$ctx:ident, $fd:ident| $verdict:expr $(, new $path:ident)?)?;
    )*) => {$(
        $types.func_wrap_async(
            concat!("[method]descriptor.", $name),
            |mut store: StoreContextMut<'_, Ctx>,
             (fd, $($argument,)*): (Resource<Descriptor>, $($type,)*)| {
                Box::new(async move {
                    let (ctx, rep) = (store.data_mut(), fd.rep());
                    $(
                        $(if is_taken(ctx, &fd, &$path).await {
                            return Ok((Err(ErrorCode::Exist),));
                        })?
                        let verdict: Verdict = {
                            let ($ctx, $fd) = (&mut *ctx, &fd);
                            $verdict
                        };
                        let _charged = match charged(verdict).await? {
                            Ok(charged) => charged,
                            Err(denied) => return Ok((Err(denied.into()),)),
                        };
                    )?
                    let done = ctx.filesystem().$method(fd, $($argument),*).await;
                    answer(ctx, rep, Call::$kind, done)
                })
            },
        )?;
    )*};
}

parts!(FsResult, DescriptorType::Unknown);

pub(super) fn replace(linker: &mut Linker<Ctx>) -> Result<()> {
    let mut types = linker.instance(TYPES)?;
    types.func_wrap_async(
        "[method]descriptor.open-at",
        |store: StoreContextMut<'_, Ctx>, arguments| Box::new(open_at(store, arguments)),
    )?;
    types.func_wrap_async(
        "[method]descriptor.unlink-file-at",
        |store: StoreContextMut<'_, Ctx>, arguments| Box::new(unlink_file_at(store, arguments)),
    )?;
    replace_calls!(calls, types);
    calls! { types,
        "write" write(bytes: Vec<u8>, offset: u64) Writes
            if |ctx, fd| may_grow(ctx, fd, offset.saturating_add(bytes.len() as u64));
    }
    replace_listings(&mut types)?;
    bounded::replace(&mut types)
}

/// Puts folders that are read in pieces in the place of wasmtime's, which are read at once.
fn replace_listings(types: &mut LinkerInstance<'_, Ctx>) -> Result<()> {
    types.resource(
        "directory-entry-stream",
        ResourceType::host::<Listing>(),
        |mut store, place| {
            let listing = Resource::<Listing>::new_own(place);
            store.data_mut().table().delete(listing)?;
            Ok(())
        },
    )?;
    types.func_wrap(
        "[method]descriptor.read-directory",
        |mut store: StoreContextMut<'_, Ctx>, (fd,): (Resource<Descriptor>,)| {
            let ctx = store.data_mut();
            let made: Fallible<Resource<Listing>> = match list(ctx, &fd)? {
                Ok(listing) => Ok((Ok(ctx.table().push(listing)?),)),
                Err(code) => Ok((Err(code),)),
            };
            made
        },
    )?;
    types.func_wrap_async(
        "[method]directory-entry-stream.read-directory-entry",
        |mut store: StoreContextMut<'_, Ctx>, (listing,): (Resource<Listing>,)| {
            Box::new(async move {
                let listing = store.data_mut().table().get_mut(&listing)?;
                let found = poll_fn(|cx| listing.poll_next(cx)).await;
                Ok((found.map(entry).transpose(),))
            })
        },
    )
}

/// Whether there is something at a path, where there may be no room: what is to be new there takes none. A
/// link itself is something.
async fn is_taken(ctx: &mut Ctx, folder: &Resource<Descriptor>, path: &str) -> bool {
    let bound = ctx.quotas().of(folder);
    if bound.is_none_or(|bound| bound.has_room_for_entry()) {
        return false;
    }
    let (folder, none) = (Resource::new_borrow(folder.rep()), PathFlags::empty());
    let found = ctx
        .filesystem()
        .stat_at(folder, none, path.to_owned())
        .await;
    found.is_ok()
}

async fn open_at(
    mut store: StoreContextMut<'_, Ctx>,
    (fd, path_flags, path, open_flags, flags): Opening,
) -> Fallible<Resource<Descriptor>> {
    let ctx = store.data_mut();
    let bound = match may_open(ctx, &fd) {
        Ok(bound) => bound,
        Err(code) => return Ok((Err(code),)),
    };
    let rep = fd.rep();
    let folder = Resource::new_borrow(rep);
    if bound.is_none() {
        // What Waft made holds files and folders only.
        let mut view = ctx.filesystem();
        let found = view.stat_at(folder, path_flags, path.clone()).await;
        if let Ok(found) = found
            && is_special(ctx, &found)
        {
            return Ok((Err(ErrorCode::NotPermitted),));
        }
    } else if makes_new(open_flags) {
        if is_taken(ctx, &fd, &path).await {
            return Ok((Err(ErrorCode::Exist),));
        }
    } else if let Some((opens, writes)) = without_making(open_flags, flags) {
        // What is there takes no more room.
        let mut view = ctx.filesystem();
        let found = view.open_at(folder, path_flags, path.clone(), opens, writes);
        let found = found.await;
        if !is_missing(&found) {
            return opened(ctx, rep, (open_flags, flags), bound, found);
        }
    }
    let makes = open_flags.contains(OpenFlags::CREATE);
    let charge = Charge::entry(bound.clone().filter(|_| makes));
    let _charged = match charge.make().await {
        Ok(charged) => charged,
        Err(denied) => return Ok((Err(denied.into()),)),
    };
    let mut view = ctx.filesystem();
    let made = view.open_at(fd, path_flags, path, open_flags, flags).await;
    opened(ctx, rep, (open_flags, flags), bound, made)
}

async fn unlink_file_at(
    mut store: StoreContextMut<'_, Ctx>,
    (fd, path): (Resource<Descriptor>, String),
) -> Fallible<()> {
    let (ctx, rep) = (store.data_mut(), fd.rep());
    let mut leaves = None;
    if let Some(bound) = ctx.quotas().of(&fd) {
        let (folder, none) = (Resource::new_borrow(rep), PathFlags::empty());
        let (opens, reads) = (OpenFlags::empty(), DescriptorFlags::READ);
        let mut view = ctx.filesystem();
        let found = view.open_at(folder, none, path.clone(), opens, reads).await;
        if let Ok(found) = found {
            leaves = leaving(ctx, &bound, found)?;
        }
    }
    let done = ctx.filesystem().unlink_file_at(fd, path).await;
    unlinked(ctx, rep, leaves, done)
}
