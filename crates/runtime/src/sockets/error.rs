//! What goes wrong with a socket, in the words that both generations of `wasi:sockets` have.
#![allow(
    unreachable_pub,
    reason = "generated code names these types as if they were public"
)]

use std::io;

use wasmtime::component::ResourceTableError;

/// A failure that the guest is told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Code {
    AccessDenied,
    NotSupported,
    InvalidArgument,
    InvalidState,
    Timeout,
    /// As many sockets or connections as there may be.
    Limit,
    AddressNotBindable,
    AddressInUse,
    RemoteUnreachable,
    ConnectionRefused,
    ConnectionReset,
    ConnectionBroken,
    ConnectionAborted,
    DatagramTooLarge,
    NameUnresolvable,
    TemporaryResolverFailure,
    /// Of 0.2: an operation was not begun, another goes on, or it is not done.
    NotInProgress,
    ConcurrencyConflict,
    WouldBlock,
    Unknown,
}

/// A failure of a host call: told, or the end of the guest.
#[derive(Debug)]
pub enum SocketError {
    Code(Code),
    Trap(wasmtime::Error),
}

pub(crate) type SocketResult<T> = Result<T, SocketError>;

impl From<Code> for SocketError {
    fn from(code: Code) -> Self {
        Self::Code(code)
    }
}

impl From<ResourceTableError> for SocketError {
    fn from(error: ResourceTableError) -> Self {
        Self::Trap(error.into())
    }
}

impl From<wasmtime::Error> for SocketError {
    fn from(error: wasmtime::Error) -> Self {
        Self::Trap(error)
    }
}

impl From<&io::Error> for Code {
    fn from(error: &io::Error) -> Self {
        use io::ErrorKind as Kind;
        match error.kind() {
            Kind::AddrInUse => Self::AddressInUse,
            Kind::AddrNotAvailable => Self::AddressNotBindable,
            Kind::ConnectionAborted => Self::ConnectionAborted,
            Kind::ConnectionRefused => Self::ConnectionRefused,
            Kind::ConnectionReset => Self::ConnectionReset,
            Kind::BrokenPipe => Self::ConnectionBroken,
            Kind::HostUnreachable | Kind::NetworkUnreachable | Kind::NetworkDown => {
                Self::RemoteUnreachable
            }
            Kind::InvalidInput => Self::InvalidArgument,
            Kind::NotConnected => Self::InvalidState,
            Kind::PermissionDenied => Self::AccessDenied,
            Kind::TimedOut => Self::Timeout,
            Kind::Unsupported => Self::NotSupported,
            Kind::OutOfMemory | Kind::QuotaExceeded => Self::Limit,
            _ => Self::Unknown,
        }
    }
}

/// A value that must not be zero.
pub(super) fn positive<T: Default + PartialEq>(value: T) -> Result<T, Code> {
    if value == T::default() {
        return Err(Code::InvalidArgument);
    }
    Ok(value)
}
