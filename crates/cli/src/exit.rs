//! How `waft` ends. The numbers are part of the interface: `waft --help` lists them.

use std::process::ExitCode;

/// How a command ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum ExitStatus {
    /// As asked; for `waft up`: stopped by a signal, everything finished.
    Success,
    /// Not as asked; the reason is on standard error.
    Failure,
    /// `waft up`: a second signal cut it short.
    Interrupted,
}

impl ExitStatus {
    /// The number.
    pub(crate) fn code(self) -> u8 {
        // 2 is a command line that can't be understood; clap ends the process with it.
        match self {
            Self::Success => 0,
            Self::Failure => 1,
            Self::Interrupted => 130,
        }
    }
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        Self::from(status.code())
    }
}
