//! What the quota of a folder is asked for: which of an instance's descriptors lie below which, what may
//! grow, and the streams of `wasi:filesystem@0.2`, which ask before each write.

use std::{
    collections::HashMap,
    fs::{self, File},
    io,
    sync::Arc,
};

use bytes::Bytes;
use wasmtime::{
    Result, StoreContextMut,
    component::{Linker, LinkerInstance, Resource},
};
use wasmtime_wasi::{
    filesystem::{Descriptor, WasiFilesystemView},
    p2::{
        DynOutputStream, FsResult, OutputStream, Pollable, StreamError, StreamResult,
        bindings::filesystem::{preopens, types::HostDescriptor},
    },
};

use super::{
    Mount, OpenFiles, Quota,
    calls::{
        self, Call,
        p2::{Fallible, answer},
    },
    folder::by_handle,
};
use crate::{Ctx, stats::Counters};

/// The instances that give a guest its folders; the linker finds the first for all versions 0.2.
const PREOPENS: [&str; 2] = [
    "wasi:filesystem/preopens@0.2.12",
    "wasi:filesystem/preopens@0.3.0",
];

/// Which of an instance's descriptors lie below which quota, by their place in its table.
pub(crate) struct Quotas {
    bounds: HashMap<u32, Bound>,
    counters: Arc<Counters>,
    /// Of all instances of the component.
    open_files: Arc<OpenFiles>,
}

/// A quota as one guest meets it: what is refused is counted.
#[derive(Clone)]
pub(super) struct Bound {
    quota: Arc<Quota>,
    counters: Arc<Counters>,
}

/// Why a call that makes something grow is not made.
#[derive(Clone, Copy, Debug)]
pub(super) enum Denied {
    /// The quota has no room.
    Full,
    /// What leaves one quota would not count for the other.
    OtherVolume,
    /// No path would reach it.
    TooDeep,
}

/// Whether a call may be made.
pub(super) type Verdict = Result<std::result::Result<(), Denied>>;

impl Quotas {
    pub(crate) fn new(counters: Arc<Counters>, open_files: Arc<OpenFiles>) -> Self {
        Self {
            bounds: HashMap::new(),
            counters,
            open_files,
        }
    }

    pub(super) fn open_files(&self) -> &OpenFiles {
        &self.open_files
    }

    pub(super) fn of(&self, descriptor: &Resource<Descriptor>) -> Option<Bound> {
        self.bounds.get(&descriptor.rep()).cloned()
    }

    /// Places are used again, so that what was there before is forgotten.
    pub(super) fn set(&mut self, descriptor: &Resource<Descriptor>, bound: Option<Bound>) {
        match bound {
            Some(bound) => self.bounds.insert(descriptor.rep(), bound),
            None => self.bounds.remove(&descriptor.rep()),
        };
    }

    /// Whether what lies below these folders counts for the same quota, or for none.
    fn are_one(&self, a: &Resource<Descriptor>, b: &Resource<Descriptor>) -> bool {
        let quota =
            |of: &Resource<Descriptor>| self.bounds.get(&of.rep()).map(|bound| &bound.quota);
        match (quota(a), quota(b)) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            (a, b) => a.is_none() && b.is_none(),
        }
    }

    fn bound(&self, quota: Arc<Quota>) -> Bound {
        Bound {
            quota,
            counters: self.counters.clone(),
        }
    }
}

impl Bound {
    pub(super) fn charge(&self, bytes: u64) -> bool {
        self.counted(self.quota.charge(bytes))
    }

    pub(super) fn charge_entry(&self) -> bool {
        self.counted(self.quota.charge_entry())
    }

    /// Is told that something may have gone.
    pub(super) fn freed(&self) {
        self.quota.freed();
    }

    fn counted(&self, fits: bool) -> bool {
        if !fits {
            Counters::add(&self.counters.volume_refused);
        }
        fits
    }
}

/// Adds `wasi:filesystem/preopens` of either generation for the member in this place to an instance.
pub(crate) fn link_preopens(instance: &mut LinkerInstance<'_, Ctx>, place: usize) -> Result<()> {
    instance.func_wrap(
        "get-directories",
        move |mut store: StoreContextMut<'_, Ctx>, (): ()| {
            let ctx = store.data_mut().of_place(place);
            let found = preopens::Host::get_directories(&mut ctx.filesystem())?;
            for (descriptor, path) in &found {
                let quota = quota_of(ctx.mounts(), path);
                let bound = quota.map(|quota| ctx.quotas().bound(quota));
                ctx.quotas().set(descriptor, bound);
            }
            Ok((found,))
        },
    )
}

/// Puts these functions in the place of wasmtime's.
pub(crate) fn replace(linker: &mut Linker<Ctx>, with_p3: bool) -> Result<()> {
    linker.allow_shadowing(true);
    for name in PREOPENS {
        link_preopens(&mut linker.instance(name)?, 0)?;
    }
    calls::replace(linker, with_p3)?;
    linker.allow_shadowing(false);
    Ok(())
}

/// The same for those of 0.2 that give a stream to write to.
pub(super) fn replace_streams(types: &mut LinkerInstance<'_, Ctx>) -> Result<()> {
    types.func_wrap(
        "[method]descriptor.write-via-stream",
        |mut store: StoreContextMut<'_, Ctx>, (fd, offset): (Resource<Descriptor>, u64)| {
            let (ctx, borrowed) = (store.data_mut(), Resource::new_borrow(fd.rep()));
            let made = ctx.filesystem().write_via_stream(fd, offset);
            bounded(ctx, &borrowed, Some(offset), made)
        },
    )?;
    types.func_wrap(
        "[method]descriptor.append-via-stream",
        |mut store: StoreContextMut<'_, Ctx>, (fd,): (Resource<Descriptor>,)| {
            let (ctx, borrowed) = (store.data_mut(), Resource::new_borrow(fd.rep()));
            let made = ctx.filesystem().append_via_stream(fd);
            bounded(ctx, &borrowed, None, made)
        },
    )
}

/// Binds what was opened below a folder as the folder is.
pub(super) fn bind(
    ctx: &mut Ctx,
    descriptor: &Resource<Descriptor>,
    bound: Option<Bound>,
) -> Result<()> {
    if let (Some(bound), Some(file)) = (&bound, file_of(ctx, descriptor)?) {
        bound.quota.opened(&file);
    }
    ctx.quotas().set(descriptor, bound);
    Ok(())
}

/// Whether a file may have this size.
pub(super) fn may_grow(ctx: &mut Ctx, fd: &Resource<Descriptor>, size: u64) -> Verdict {
    let Some(bound) = ctx.quotas().of(fd) else {
        return Ok(Ok(()));
    };
    let file = file_of(ctx, fd)?;
    let fits = file.is_none_or(|file| bound.charge(growth(&file, size)));
    Ok(fits.then_some(()).ok_or(Denied::Full))
}

/// Whether there may be another file or folder below this one.
pub(super) fn may_add(ctx: &mut Ctx, fd: &Resource<Descriptor>) -> Verdict {
    let fits = ctx.quotas().of(fd).is_none_or(|bound| bound.charge_entry());
    Ok(fits.then_some(()).ok_or(Denied::Full))
}

/// Whether a folder may be made at a path below this one.
pub(super) fn may_make(ctx: &mut Ctx, fd: &Resource<Descriptor>, path: &str) -> Verdict {
    match is_reached(ctx, fd, path)? {
        true => may_add(ctx, fd),
        false => Ok(Err(Denied::TooDeep)),
    }
}

/// Whether what lies below a folder may get another name below this one.
pub(super) fn may_link(
    ctx: &mut Ctx,
    from: &Resource<Descriptor>,
    to: &Resource<Descriptor>,
) -> Verdict {
    match ctx.quotas().are_one(from, to) {
        true => may_add(ctx, to),
        false => Ok(Err(Denied::OtherVolume)),
    }
}

/// Whether what lies below a folder may move to a path below this one.
pub(super) fn may_move(
    ctx: &mut Ctx,
    from: &Resource<Descriptor>,
    to: &Resource<Descriptor>,
    path: &str,
) -> Verdict {
    if !ctx.quotas().are_one(from, to) {
        return Ok(Err(Denied::OtherVolume));
    }
    let is_reached = is_reached(ctx, to, path)?;
    Ok(is_reached.then_some(()).ok_or(Denied::TooDeep))
}

/// Whether the whole path of what lies below a folder is one that the system takes. A guest that goes
/// on from an open folder could make deeper ones, which nobody else can name.
fn is_reached(ctx: &mut Ctx, fd: &Resource<Descriptor>, path: &str) -> Result<bool> {
    let Descriptor::Dir(folder) = ctx.table().get(fd)? else {
        return Ok(true);
    };
    let Some(handle) = by_handle(&folder.dir) else {
        return Ok(true);
    };
    // The answer of the system fails where the path is too long by itself.
    let real = fs::read_link(handle);
    Ok(real.is_ok_and(|real| real.as_os_str().len() + 1 + path.len() < libc::PATH_MAX as usize))
}

/// How much a file grows to have this size.
pub(super) fn growth(file: &File, size: u64) -> u64 {
    let now = file.metadata().map_or(0, |metadata| metadata.len());
    size.saturating_sub(now)
}

fn file_of(ctx: &mut Ctx, fd: &Resource<Descriptor>) -> Result<Option<Arc<File>>> {
    Ok(match ctx.table().get(fd)? {
        Descriptor::File(file) => Some(file.file.clone()),
        Descriptor::Dir(_) => None,
    })
}

fn quota_of(mounts: &[Mount], path: &str) -> Option<Arc<Quota>> {
    let mount = mounts.iter().find(|mount| mount.path == path)?;
    mount.quota.clone()
}

/// Puts a stream of a file into one that asks the quota, if there is one, and takes no more than it
/// permitted.
fn bounded(
    ctx: &mut Ctx,
    fd: &Resource<Descriptor>,
    position: Option<u64>,
    made: FsResult<Resource<DynOutputStream>>,
) -> Fallible<Resource<DynOutputStream>> {
    let stream = match made {
        Ok(stream) => stream,
        Err(error) => return answer(ctx, fd.rep(), Call::Writes, Err(error)),
    };
    let bound = ctx.quotas().of(fd);
    let Some(file) = file_of(ctx, fd)? else {
        return Ok((Ok(stream),));
    };
    let inner = ctx.table().delete(stream)?;
    let bounded: DynOutputStream = Box::new(Bounded {
        inner,
        bound,
        file,
        position,
    });
    Ok((Ok(ctx.table().push(bounded)?),))
}

struct Bounded {
    inner: DynOutputStream,
    /// `None`: no quota.
    bound: Option<Bound>,
    file: Arc<File>,
    /// Where the next byte goes; `None`: at the end.
    position: Option<u64>,
}

impl Bounded {
    fn charge(&mut self, bytes: usize) -> StreamResult<()> {
        let Some(bound) = &self.bound else {
            return Ok(());
        };
        let bytes = bytes as u64;
        let grows = match &mut self.position {
            None => bytes,
            Some(position) => {
                *position = position.saturating_add(bytes);
                growth(&self.file, *position)
            }
        };
        if bound.charge(grows) {
            return Ok(());
        }
        let full = io::Error::from_raw_os_error(libc::ENOSPC);
        Err(StreamError::LastOperationFailed(full.into()))
    }
}

#[async_trait::async_trait]
impl Pollable for Bounded {
    async fn ready(&mut self) {
        self.inner.ready().await;
    }
}

#[async_trait::async_trait]
impl OutputStream for Bounded {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        // They are in memory until the disk has them.
        if bytes.len() > self.check_write()? {
            return Err(StreamError::trap("more was written than was permitted"));
        }
        self.charge(bytes.len())?;
        self.inner.write(bytes)
    }

    fn flush(&mut self) -> StreamResult<()> {
        self.inner.flush()
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        self.inner.check_write()
    }

    async fn blocking_write_and_flush(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.charge(bytes.len())?;
        self.inner.blocking_write_and_flush(bytes).await
    }

    async fn cancel(&mut self) {
        self.inner.cancel().await;
    }
}
