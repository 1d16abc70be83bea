//! How a call can fail, and what kind of trap ended it.

use std::fmt::{self, Write as _};

use wasmtime::Trap;
use wasmtime::component::ResourceTableError;
use wasmtime_wasi::I32Exit;
use wasmtime_wasi_http::FieldMapError;

use crate::backtrace;

/// Why a request got no answer from the guest. The text is fit for a client: it never holds text
/// of the guest.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CallError {
    /// The guest trapped before its response headers.
    #[error("the component failed")]
    Trap {
        /// What kind of trap.
        reason: TrapReason,
    },
    /// No response headers within the time allowed.
    #[error("the component did not answer in time")]
    Deadline,
    /// As many requests wait as may.
    #[error("too many requests are waiting for the component")]
    QueueFull,
    /// The request waited for an instance longer than it may.
    #[error("the component was busy for too long")]
    QueueTimeout,
    /// The instance ended because of another request it was serving.
    #[error("the instance that served the request was lost")]
    InstanceLost,
    /// The host has no room for another instance.
    #[error("the host has no room for another instance")]
    HostAtCapacity,
    /// The guest answered with an error code of `wasi:http`.
    #[error("the component answered with error code {0}")]
    GuestErrorCode(String),
    /// The guest returned without an answer.
    #[error("the component returned no response")]
    NoResponse,
    /// The guest's answer, or the request, can't be expressed in HTTP.
    #[error("the component's response is malformed")]
    Malformed,
    /// The component exports no HTTP handler.
    #[error("the component serves no HTTP")]
    NotHttp,
    /// The component exports no handler of messages.
    #[error("the component takes no messages")]
    NotMessaging,
}

/// What ended an instance.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum TrapReason {
    /// It trapped after its memory was not allowed to grow.
    MemoryLimit,
    /// It used up its processor time.
    CpuTime,
    /// It made the host hold more than a guest may: handles, bytes in one call, headers.
    HostResourceLimit,
    /// It executed `unreachable`: a panic or an abort.
    Unreachable,
    /// It called `wasi:cli/exit`.
    Exit,
    /// Any other trap: stack overflow, access out of bounds, division by zero.
    Other,
}

/// The guest used its time; raised from the epoch callback.
#[derive(Debug, thiserror::Error)]
#[error("the call used up its processor time")]
pub(crate) struct CpuTimeExceeded;

impl CallError {
    /// The CamelCase name, for the `x-waft-reason` header, conditions and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Trap { reason } => reason.as_str(),
            Self::Deadline => "Deadline",
            Self::QueueFull => "QueueFull",
            Self::QueueTimeout => "QueueTimeout",
            Self::InstanceLost => "InstanceLost",
            Self::HostAtCapacity => "HostAtCapacity",
            Self::GuestErrorCode(_) => "GuestErrorCode",
            Self::NoResponse => "NoResponse",
            Self::Malformed => "MalformedResponse",
            Self::NotHttp => "NotHttp",
            Self::NotMessaging => "NotMessaging",
        }
    }
}

impl TrapReason {
    /// All reasons, in the order of their counters.
    pub const ALL: [Self; 6] = [
        Self::MemoryLimit,
        Self::CpuTime,
        Self::HostResourceLimit,
        Self::Unreachable,
        Self::Exit,
        Self::Other,
    ];

    /// The CamelCase name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MemoryLimit => "MemoryLimit",
            Self::CpuTime => "CpuTime",
            Self::HostResourceLimit => "HostResourceLimit",
            Self::Unreachable => "Trap",
            Self::Exit => "Exit",
            Self::Other => "Trap",
        }
    }

    /// What ended an instance, from wasmtime's error and whether memory was refused before it.
    pub(crate) fn of(error: &wasmtime::Error, memory_refused: bool) -> Self {
        if error.is::<CpuTimeExceeded>() {
            return Self::CpuTime;
        }
        if error.is::<I32Exit>() {
            return Self::Exit;
        }
        if is_host_limit(error) {
            return Self::HostResourceLimit;
        }
        if memory_refused {
            return Self::MemoryLimit;
        }
        match error.downcast_ref::<Trap>() {
            Some(Trap::UnreachableCodeReached) => Self::Unreachable,
            _ => Self::Other,
        }
    }
}

/// The name of an error code. What a guest says beside it may be long, and is not looked at.
pub(crate) fn name_of(code: &impl fmt::Debug) -> String {
    let mut name = Name(String::new());
    // Fails where the name ends.
    let _ = write!(name, "{code:?}");
    name.0
}

/// Takes what stands before the first parenthesis.
struct Name(String);

impl fmt::Write for Name {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = text.find('(');
        self.0.push_str(&text[..end.unwrap_or(text.len())]);
        end.map_or(Ok(()), |_| Err(fmt::Error))
    }
}

/// Whether a fixed limit on what a guest makes the host hold was met. Three of the limits have no
/// error type that can be named from here, so their words are looked for.
fn is_host_limit(error: &wasmtime::Error) -> bool {
    if matches!(
        error.downcast_ref::<ResourceTableError>(),
        Some(ResourceTableError::Full)
    ) || matches!(
        error.downcast_ref::<FieldMapError>(),
        Some(FieldMapError::TooManyFields | FieldMapError::TotalSizeTooBig)
    ) {
        return true;
    }
    error.chain().any(|cause| {
        let text = backtrace::cause(cause);
        text.starts_with("too much data is being copied")
            || text.contains("component handles")
            || (text.starts_with("requested len") && text.contains("exceeds limit"))
    })
}

#[cfg(test)]
mod tests {
    use wasmtime_wasi_http::p2::bindings::http::types::ErrorCode;

    use super::*;

    #[test]
    fn an_error_code_is_known_by_its_name() {
        let text = "(long) ".repeat(1000);
        for (code, name) in [
            (ErrorCode::LoopDetected, "ErrorCode::LoopDetected"),
            (
                ErrorCode::InternalError(Some(text)),
                "ErrorCode::InternalError",
            ),
        ] {
            assert_eq!(name_of(&code), name);
        }
    }
}
