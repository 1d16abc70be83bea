//! `wasi:sockets@0.3`.

mod streams;
mod tcp;
mod udp;

use wasmtime::component::{Accessor, Linker, LinkerInstance};

use super::{
    Getter, Sockets,
    address::addresses_of,
    error::{Code, SocketError},
};
use crate::Ctx;

mod bindings {
    wasmtime::component::bindgen!({
        path: "wit/sockets-p3",
        world: "wasi:sockets/imports",
        imports: {
            "wasi:sockets/types.[method]tcp-socket.listen": store | trappable,
            "wasi:sockets/types.[method]tcp-socket.send": store | trappable,
            "wasi:sockets/types.[method]tcp-socket.receive": store | trappable,
            default: trappable,
        },
        trappable_error_type: {
            "wasi:sockets/types.error-code" => crate::sockets::error::SocketError,
        },
        with: {
            "wasi:sockets/types.tcp-socket": crate::sockets::tcp::TcpSocket,
            "wasi:sockets/types.udp-socket": crate::sockets::udp::UdpSocket,
        },
    });
}

use bindings::wasi::sockets::{
    ip_name_lookup,
    types::{self, ErrorCode, IpAddress},
};

/// Adds its interfaces to a linker.
pub(super) fn link(linker: &mut Linker<Ctx>) -> wasmtime::Result<()> {
    types::add_to_linker::<Ctx, Getter>(linker, |ctx| Sockets(ctx))?;
    ip_name_lookup::add_to_linker::<Ctx, Getter>(linker, |ctx| Sockets(ctx))
}

/// Adds one of the interfaces that depend on who calls to an instance.
pub(super) fn link_own(
    instance: &mut LinkerInstance<'_, Ctx>,
    name: &str,
    view: fn(&mut Ctx) -> Sockets<'_>,
) -> wasmtime::Result<()> {
    if name.contains("/types@") {
        types::add_to_linker_instance::<Ctx, Getter>(instance, view)
    } else {
        ip_name_lookup::add_to_linker_instance::<Ctx, Getter>(instance, view)
    }
}

impl types::Host for Sockets<'_> {
    fn convert_error_code(&mut self, error: SocketError) -> wasmtime::Result<ErrorCode> {
        match error {
            SocketError::Code(code) => Ok(code.into()),
            SocketError::Trap(error) => Err(error),
        }
    }
}

impl ip_name_lookup::Host for Sockets<'_> {}

impl ip_name_lookup::HostWithStore<Ctx> for Getter {
    async fn resolve_addresses(
        accessor: &Accessor<Ctx, Self>,
        name: String,
    ) -> wasmtime::Result<Result<Vec<IpAddress>, ip_name_lookup::ErrorCode>> {
        let net = accessor.with(|mut store| store.get().0.net().clone());
        Ok(match net.look_up(name).await {
            Ok(addresses) => Ok(addresses.into_iter().map(IpAddress::from).collect()),
            Err(code) => Err(code.into()),
        })
    }
}

impl From<Code> for ErrorCode {
    fn from(code: Code) -> Self {
        match code {
            Code::AccessDenied => Self::AccessDenied,
            Code::NotSupported => Self::NotSupported,
            Code::InvalidArgument => Self::InvalidArgument,
            Code::InvalidState
            | Code::NotInProgress
            | Code::ConcurrencyConflict
            | Code::WouldBlock => Self::InvalidState,
            Code::Timeout => Self::Timeout,
            Code::Limit => Self::OutOfMemory,
            Code::AddressNotBindable => Self::AddressNotBindable,
            Code::AddressInUse => Self::AddressInUse,
            Code::RemoteUnreachable => Self::RemoteUnreachable,
            Code::ConnectionRefused => Self::ConnectionRefused,
            Code::ConnectionReset => Self::ConnectionReset,
            Code::ConnectionBroken => Self::ConnectionBroken,
            Code::ConnectionAborted => Self::ConnectionAborted,
            Code::DatagramTooLarge => Self::DatagramTooLarge,
            Code::NameUnresolvable | Code::TemporaryResolverFailure | Code::Unknown => {
                Self::Other(None)
            }
        }
    }
}

impl From<Code> for ip_name_lookup::ErrorCode {
    fn from(code: Code) -> Self {
        match code {
            Code::AccessDenied => Self::AccessDenied,
            Code::InvalidArgument => Self::InvalidArgument,
            Code::NameUnresolvable => Self::NameUnresolvable,
            Code::TemporaryResolverFailure => Self::TemporaryResolverFailure,
            _ => Self::Other(None),
        }
    }
}

addresses_of!(types);
