//! The folders a guest has: what is mounted where, what may be written, and how much.
//!
//! The sandbox itself, in which no path and no symbolic link leads out of a mounted folder, is
//! wasmtime's; what is mounted is the host's choice.

mod folder;
mod open;
mod paths;
mod quota;
mod writing;

use std::sync::Arc;

pub use folder::Folder;
pub(crate) use open::OpenFiles;
pub use quota::Quota;
use waft_ir::{Failure, FailureReason, InterfaceName};
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

/// Refuses a component that could write past a quota: by the streams of `wasi:filesystem@0.3`,
/// which don't ask it.
pub(crate) fn check(imports: &[InterfaceName], mounts: &[Mount]) -> Result<(), Failure> {
    let writes_by_p3 = imports.iter().any(|import| {
        let is_p3 = import.version.as_ref().is_some_and(|v| v.minor >= 3);
        import.namespace == "wasi" && import.package == "filesystem" && is_p3
    });
    let bounded = mounts.iter().find(|m| m.quota.is_some() && !m.read_only);
    match bounded {
        Some(mount) if writes_by_p3 => Err(Failure::new(
            FailureReason::NotSupportedYet,
            format!(
                "the component imports `wasi:filesystem@0.3`, by which an ephemeral volume can't \
                 be written yet: mount the one at {} with `readOnly: true`, or build the component \
                 against 0.2",
                mount.path
            ),
        )),
        _ => Ok(()),
    }
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
