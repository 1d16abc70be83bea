//! The folders a guest has: what is mounted where, what may be written, and how much.
//!
//! The sandbox itself, in which no path and no symbolic link leads out of a mounted folder, is
//! wasmtime's; what is mounted is the host's choice.

mod bounded;
mod calls;
mod folder;
mod listing;
mod open;
mod quota;
mod streams;
mod writing;

use std::sync::Arc;

pub use folder::Folder;
pub(crate) use open::OpenFiles;
pub use quota::Quota;
use wasmtime_wasi::{FsPerms, WasiCtxBuilder};
pub(crate) use writing::{Quotas, link_preopens, replace};

/// A folder as a guest sees it.
#[derive(Clone, Debug)]
pub struct Mount {
    /// The folder.
    pub folder: Arc<Folder>,
    /// Absolute path in the guest.
    pub path: String,
    /// Whether writes are refused.
    pub read_only: bool,
    /// Bounds what may be written. `None`: the machine's own bounds only.
    pub quota: Option<Arc<Quota>>,
}

impl Mount {
    /// Opens the folder for one instance. Fails only when the folder is gone.
    pub(crate) fn open(&self, wasi: &mut WasiCtxBuilder) -> wasmtime::Result<()> {
        let perms = match self.read_only {
            true => FsPerms::ReadOnly,
            false => FsPerms::ReadWrite,
        };
        wasi.preopened_dir(self.folder.path(), &self.path, perms)
            .map(drop)
    }
}
