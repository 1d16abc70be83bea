//! `wasi:sockets@0.2`: the network, its addresses and its errors.
#![allow(
    unreachable_pub,
    reason = "generated code names these types as if they were public"
)]

mod names;
mod streams;
mod tcp;
mod udp;

use wasmtime::component::{Linker, LinkerInstance, Resource};

use super::{
    Getter, Sockets,
    address::addresses_of,
    error::{Code, SocketError},
};
use crate::Ctx;

mod bindings {
    wasmtime::component::bindgen!({
        path: "wit/sockets-p2",
        world: "wasi:sockets/imports",
        imports: {
            // At least one is asynchronous, as the imported wasi:io has it.
            "wasi:sockets/ip-name-lookup.resolve-addresses": async | trappable,
            default: trappable,
        },
        trappable_error_type: {
            "wasi:sockets/network.error-code" => crate::sockets::error::SocketError,
        },
        with: {
            "wasi:io/poll": wasmtime_wasi_io::bindings::wasi::io::poll,
            "wasi:io/streams": wasmtime_wasi_io::bindings::wasi::io::streams,
            "wasi:io/error": wasmtime_wasi_io::bindings::wasi::io::error,
            "wasi:sockets/network.network": crate::sockets::p2::Network,
            "wasi:sockets/tcp.tcp-socket": crate::sockets::p2::tcp::Socket,
            "wasi:sockets/udp.udp-socket": crate::sockets::udp::UdpSocket,
            "wasi:sockets/udp.incoming-datagram-stream": crate::sockets::p2::udp::Arriving,
            "wasi:sockets/udp.outgoing-datagram-stream": crate::sockets::p2::udp::Leaving,
            "wasi:sockets/ip-name-lookup.resolve-address-stream": crate::sockets::p2::names::Answers,
        },
    });
}

use bindings::wasi::sockets::{
    instance_network, ip_name_lookup,
    network::{self, ErrorCode},
    tcp as wit_tcp, tcp_create_socket, udp as wit_udp, udp_create_socket,
};

/// The resource `network`. Which network it is, the socket knows.
pub struct Network;

/// Adds all its interfaces to a linker.
pub(super) fn link(linker: &mut Linker<Ctx>) -> wasmtime::Result<()> {
    let options = network::LinkOptions::default();
    network::add_to_linker::<Ctx, Getter>(linker, &options, |ctx| Sockets(ctx))?;
    instance_network::add_to_linker::<Ctx, Getter>(linker, |ctx| Sockets(ctx))?;
    ip_name_lookup::add_to_linker::<Ctx, Getter>(linker, |ctx| Sockets(ctx))?;
    wit_tcp::add_to_linker::<Ctx, Getter>(linker, |ctx| Sockets(ctx))?;
    tcp_create_socket::add_to_linker::<Ctx, Getter>(linker, |ctx| Sockets(ctx))?;
    wit_udp::add_to_linker::<Ctx, Getter>(linker, |ctx| Sockets(ctx))?;
    udp_create_socket::add_to_linker::<Ctx, Getter>(linker, |ctx| Sockets(ctx))
}

/// Adds one of the interfaces that depend on who calls to an instance.
pub(super) fn link_own(
    instance: &mut LinkerInstance<'_, Ctx>,
    name: &str,
    view: fn(&mut Ctx) -> Sockets<'_>,
) -> wasmtime::Result<()> {
    if name.contains("/instance-network@") {
        instance_network::add_to_linker_instance::<Ctx, Getter>(instance, view)
    } else if name.contains("/tcp-create-socket@") {
        tcp_create_socket::add_to_linker_instance::<Ctx, Getter>(instance, view)
    } else if name.contains("/udp-create-socket@") {
        udp_create_socket::add_to_linker_instance::<Ctx, Getter>(instance, view)
    } else {
        ip_name_lookup::add_to_linker_instance::<Ctx, Getter>(instance, view)
    }
}

impl network::Host for Sockets<'_> {
    fn convert_error_code(&mut self, error: SocketError) -> wasmtime::Result<ErrorCode> {
        match error {
            SocketError::Code(code) => Ok(code.into()),
            SocketError::Trap(error) => Err(error),
        }
    }

    fn network_error_code(
        &mut self,
        error: Resource<wasmtime::Error>,
    ) -> wasmtime::Result<Option<ErrorCode>> {
        let error = self.0.table().get(&error)?;
        let error = error.downcast_ref::<std::io::Error>();
        Ok(error.map(|error| Code::from(error).into()))
    }
}

impl network::HostNetwork for Sockets<'_> {
    fn drop(&mut self, network: Resource<Network>) -> wasmtime::Result<()> {
        self.0.table().delete(network)?;
        Ok(())
    }
}

impl instance_network::Host for Sockets<'_> {
    fn instance_network(&mut self) -> wasmtime::Result<Resource<Network>> {
        Ok(self.0.table().push(Network)?)
    }
}

impl From<Code> for ErrorCode {
    fn from(code: Code) -> Self {
        match code {
            Code::AccessDenied => Self::AccessDenied,
            Code::NotSupported => Self::NotSupported,
            Code::InvalidArgument => Self::InvalidArgument,
            Code::InvalidState => Self::InvalidState,
            Code::Timeout => Self::Timeout,
            Code::Limit => Self::NewSocketLimit,
            Code::AddressNotBindable => Self::AddressNotBindable,
            Code::AddressInUse => Self::AddressInUse,
            Code::RemoteUnreachable => Self::RemoteUnreachable,
            Code::ConnectionRefused => Self::ConnectionRefused,
            Code::ConnectionReset | Code::ConnectionBroken => Self::ConnectionReset,
            Code::ConnectionAborted => Self::ConnectionAborted,
            Code::DatagramTooLarge => Self::DatagramTooLarge,
            Code::NameUnresolvable => Self::NameUnresolvable,
            Code::TemporaryResolverFailure => Self::TemporaryResolverFailure,
            Code::NotInProgress => Self::NotInProgress,
            Code::ConcurrencyConflict => Self::ConcurrencyConflict,
            Code::WouldBlock => Self::WouldBlock,
            Code::Unknown => Self::Unknown,
        }
    }
}

addresses_of!(network);
