//! What the quota of a folder is asked for: which of an instance's descriptors lie below which, and what
//! may grow.

use std::{
    collections::HashMap,
    fs::{self, File},
    pin::Pin,
    sync::Arc,
};

use wasmtime::{
    Result, StoreContextMut,
    component::{Linker, LinkerInstance, Resource},
};
use wasmtime_wasi::{
    filesystem::{Descriptor, WasiFilesystemView},
    p2::bindings::filesystem::preopens,
};

use super::{
    Mount, OpenFiles, Quota, calls,
    folder::by_handle,
    quota::{Charged, ENTRY, Leaving},
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
    pub(super) quota: Arc<Quota>,
    pub(super) counters: Arc<Counters>,
}

/// What a call takes of a quota: how much, if it is bounded.
pub(super) struct Charge(Option<(Bound, u64)>);

/// Room that is being made. `Ok(None)`: nothing bounds it.
pub(super) type Charging =
    Pin<Box<dyn Future<Output = std::result::Result<Option<Charged>, Denied>> + Send>>;

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

/// Whether a call may be made, if there is room for what it takes.
pub(super) type Verdict = Result<std::result::Result<Charge, Denied>>;

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
    async fn charge(&self, bytes: u64) -> std::result::Result<Charged, Denied> {
        let charged = self.quota.charge(bytes).await;
        if charged.is_none() {
            Counters::add(&self.counters.volume_refused);
        }
        charged.ok_or(Denied::Full)
    }

    /// Whether another file or folder certainly has room.
    pub(super) fn has_room_for_entry(&self) -> bool {
        self.quota.has_room(ENTRY) == Some(true)
    }

    /// Is told that something may have gone.
    pub(super) fn freed(&self) {
        self.quota.freed();
    }

    /// Remembers a file that is open.
    pub(super) fn opened(&self, file: &Arc<File>) {
        self.quota.opened(file);
    }
}

impl Charge {
    const NOTHING: Self = Self(None);

    pub(super) fn new(bound: Option<Bound>, bytes: u64) -> Self {
        Self(bound.map(|bound| (bound, bytes)))
    }

    /// Another file or folder.
    pub(super) fn entry(bound: Option<Bound>) -> Self {
        Self::new(bound, ENTRY)
    }

    /// Makes room, which may take a look at all that is there. The outcome is kept until the call is over.
    pub(super) async fn make(self) -> std::result::Result<Option<Charged>, Denied> {
        match self.0 {
            Some((bound, bytes)) => bound.charge(bytes).await.map(Some),
            None => Ok(None),
        }
    }
}

/// Makes room for a call that may be made.
pub(super) async fn charged(
    verdict: Verdict,
) -> Result<std::result::Result<Option<Charged>, Denied>> {
    match verdict? {
        Ok(charge) => Ok(charge.make().await),
        Err(denied) => Ok(Err(denied)),
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

/// Binds what was opened below a folder as the folder is.
pub(super) fn bind(
    ctx: &mut Ctx,
    descriptor: &Resource<Descriptor>,
    bound: Option<Bound>,
) -> Result<()> {
    if let (Some(bound), Some(file)) = (&bound, file_of(ctx, descriptor)?) {
        bound.opened(&file);
    }
    ctx.quotas().set(descriptor, bound);
    Ok(())
}

/// Tells a quota of a file that is about to lose a name, and that was opened for this only.
pub(super) fn leaving(
    ctx: &mut Ctx,
    bound: &Bound,
    opened: Resource<Descriptor>,
) -> Result<Option<Leaving>> {
    let file = file_of(ctx, &opened)?;
    ctx.table().delete(opened)?;
    Ok(file.map(|file| bound.quota.leaving(file)))
}

/// Whether a file may have this size.
pub(super) fn may_grow(ctx: &mut Ctx, fd: &Resource<Descriptor>, size: u64) -> Verdict {
    let bound = ctx.quotas().of(fd);
    let file = file_of(ctx, fd)?;
    Ok(Ok(match file {
        Some(file) if bound.is_some() => Charge::new(bound, growth(&file, size)),
        _ => Charge::NOTHING,
    }))
}

/// Whether there may be another file or folder below this one.
pub(super) fn may_add(ctx: &mut Ctx, fd: &Resource<Descriptor>) -> Verdict {
    Ok(Ok(Charge::entry(ctx.quotas().of(fd))))
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
    Ok(is_reached.then_some(Charge::NOTHING).ok_or(Denied::TooDeep))
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

/// Begins to make room for a piece of a file, at a position or (`None`) at the end.
pub(super) fn charge_piece(
    bound: Option<&Bound>,
    file: &File,
    position: Option<u64>,
    bytes: usize,
) -> Charging {
    let bytes = bytes as u64;
    let grows = match (bound, position) {
        (Some(_), Some(position)) => growth(file, position.saturating_add(bytes)),
        _ => bytes,
    };
    Box::pin(Charge::new(bound.cloned(), grows).make())
}

/// How much a file grows to have this size.
fn growth(file: &File, size: u64) -> u64 {
    let now = file.metadata().map_or(0, |metadata| metadata.len());
    size.saturating_sub(now)
}

/// The file behind a descriptor, if it is one.
pub(super) fn file_of(ctx: &mut Ctx, fd: &Resource<Descriptor>) -> Result<Option<Arc<File>>> {
    Ok(match ctx.table().get(fd)? {
        Descriptor::File(file) => Some(file.file.clone()),
        Descriptor::Dir(_) => None,
    })
}

fn quota_of(mounts: &[Mount], path: &str) -> Option<Arc<Quota>> {
    let mount = mounts.iter().find(|mount| mount.path == path)?;
    mount.quota.clone()
}
