//! What happens while the platform runs, for whoever prints it.

use std::{net::SocketAddr, path::PathBuf};

use waft_ir::LogLine;

use crate::manifest::ManifestError;

/// Something a user wants to see. Events are handed over in order; a slow reader slows down nothing
/// that serves.
#[derive(Clone, Debug)]
pub enum UpEvent {
    /// The Kubernetes API listens, and its kubeconfig is written.
    ApiReady {
        /// For example `https://127.0.0.1:7443`.
        url: String,
        /// The kubeconfig, with a client certificate.
        kubeconfig: PathBuf,
    },
    /// The tenants' HTTP listener is open.
    HttpReady {
        /// Where it listens.
        address: SocketAddr,
    },
    /// The admin listener is open.
    AdminReady {
        /// Where it listens.
        address: SocketAddr,
    },
    /// An object of a manifest was applied.
    Applied {
        /// `kind/name`, with the namespace when it is not `default`.
        object: String,
        /// `created`, `configured` or `unchanged`.
        change: &'static str,
    },
    /// An object was deleted because it left a watched file.
    Deleted {
        /// As in [`UpEvent::Applied`].
        object: String,
    },
    /// A watched file does not apply; what ran before goes on.
    SourceFailed {
        /// What is wrong with it.
        message: String,
    },
    /// A workload goes through a step that may take long.
    Progress {
        /// `namespace/workload`.
        workload: String,
        /// For example `pulling` or `compiling`.
        step: &'static str,
    },
    /// A route has its first ready workload.
    RouteReady {
        /// For example `http://hello.localhost:8000/`.
        url: String,
        /// The object it comes from, as `kind/name`.
        source: String,
    },
    /// An object can't become ready. Printed once per object and reason.
    Failed {
        /// The object.
        object: String,
        /// CamelCase reason.
        reason: String,
        /// What happened and what to do.
        message: String,
    },
    /// A line of a guest's log.
    Log {
        /// The workload, without the hash of its replica where it has one.
        workload: String,
        /// The line.
        line: LogLine,
    },
    /// One request was answered.
    Access {
        /// The line, ready to print.
        line: String,
    },
    /// Everything that was to be applied is applied; from here on, only what changes is told.
    Started,
    /// The platform finishes in-flight requests and stops.
    Stopping,
}

/// Why `waft up` ended.
#[derive(Debug, thiserror::Error)]
pub enum UpError {
    /// A manifest is wrong; nothing of the set was applied.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The API refused an object; nothing of the set was applied.
    #[error("{object}: {message}")]
    Refused {
        /// `kind/name` and the file it stands in.
        object: String,
        /// The API's message.
        message: String,
    },
    /// The API refused an object only when it was applied: one of a kind that its set defines, or
    /// that something else had changed since it was checked.
    #[error("{object}: {message}")]
    Interrupted {
        /// `kind/name` and the file it stands in.
        object: String,
        /// The API's message.
        message: String,
        /// What was applied before, as `kind/name`.
        applied: Vec<String>,
    },
    /// An address can't be listened on.
    #[error("can't listen on {address} for {what}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Which listener, with the flag that moves it.
        what: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another process uses the data folder.
    #[error("the data folder {} is in use by another waft", path.display())]
    DataDirInUse {
        /// The folder.
        path: PathBuf,
    },
    /// There is no space to open the data.
    #[error("the disk of the data folder {} is full", path.display())]
    DiskFull {
        /// The folder.
        path: PathBuf,
    },
    /// What earlier runs have kept is damaged.
    #[error("{} can't be read: {problem}", path.display())]
    Data {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// What earlier runs have kept is of another format than this program's.
    #[error("{} can't be read: {problem}", path.display())]
    DataFormat {
        /// The file.
        path: PathBuf,
        /// Which format it has.
        problem: String,
    },
    /// The data folder can't be opened.
    #[error("{}: {source}", path.display())]
    DataDir {
        /// The folder, or what lies in it.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The folder of a platform that keeps nothing can't be made.
    #[error("{}: {source}", path.display())]
    TemporaryDir {
        /// The folder in which it was to lie.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A folder or file of the platform can't be used.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The folder of the caches can't be used.
    #[error("{0}")]
    Cache(String),
    /// A flag has a value that can't be used.
    #[error("{flag} {value}: {problem}")]
    Flag {
        /// The flag.
        flag: &'static str,
        /// Its value.
        value: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A part of the platform failed in a way that is no user's doing.
    #[error("{0}")]
    Internal(String),
}

impl UpError {
    /// What the user can do about it, if there is something to say beyond the message.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Listen { what, .. } => Some(format!(
                "another program may hold the port; choose another with {what}"
            )),
            Self::DataDirInUse { .. } => {
                Some("stop it, or give this one its own folder with --data-dir".into())
            }
            Self::DataDir { .. } => Some(
                "take another with --data-dir, or none with --ephemeral, which keeps nothing".into(),
            ),
            Self::TemporaryDir { .. } => Some(
                "what is kept while it runs lies in $TMPDIR, without the variable in /tmp: set it to \
                 a folder that can be written"
                    .into(),
            ),
            Self::Data { .. } => Some(
                "put a copy of it back, or take another data folder with --data-dir; without the \
                 file, what was applied is gone"
                    .into(),
            ),
            Self::DataFormat { .. } => Some(
                "start the newer waft that wrote it, or take another data folder with --data-dir"
                    .into(),
            ),
            Self::DiskFull { .. } => {
                Some("nothing is lost: make space, some hundred KiB at least, and start again".into())
            }
            Self::Manifest(error) => error.hint(),
            Self::Refused { .. } => Some("nothing was applied".into()),
            Self::Interrupted { applied, .. } => Some(kept(applied)),
            Self::Cache(_) => Some(
                "images and compiled code are kept in $XDG_CACHE_HOME/waft, without the variable in \
                 ~/.cache/waft: set it to a folder that can be written"
                    .into(),
            ),
            Self::Flag { .. } | Self::Io { .. } | Self::Internal(_) => None,
        }
    }
}

/// What is left of a set that was interrupted.
fn kept(applied: &[String]) -> String {
    const SHOWN: usize = 8;
    if applied.is_empty() {
        return "nothing of its set was applied before".into();
    }
    let mut names = applied.iter().take(SHOWN).cloned().collect::<Vec<_>>();
    if let Some(more @ 1..) = applied.len().checked_sub(SHOWN) {
        names.push(format!("{more} more"));
    }
    format!(
        "what came before it was applied and is kept: {}; correct the object and apply the set again",
        names.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_that_was_interrupted_says_what_is_kept_of_it() {
        let names = |count: usize| {
            (0..count)
                .map(|at| format!("ConfigMap/{at}"))
                .collect::<Vec<_>>()
        };
        assert!(kept(&[]).starts_with("nothing"));
        assert!(kept(&names(2)).contains("kept: ConfigMap/0, ConfigMap/1; correct"));
        assert!(kept(&names(8)).contains("ConfigMap/7; correct"));
        assert!(kept(&names(10)).contains("ConfigMap/7, 2 more; correct"));
    }
}
