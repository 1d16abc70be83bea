//! `wasi:sockets@0.3`.

mod streams;
mod tcp;
mod udp;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use wasmtime::component::{Accessor, Linker, LinkerInstance};

use super::{
    Getter, Sockets,
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
    types::{self, ErrorCode, IpAddress, IpAddressFamily, IpSocketAddress},
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

impl From<IpSocketAddress> for SocketAddr {
    fn from(address: IpSocketAddress) -> Self {
        match address {
            IpSocketAddress::Ipv4(v4) => {
                let (a, b, c, d) = v4.address;
                SocketAddrV4::new(Ipv4Addr::new(a, b, c, d), v4.port).into()
            }
            IpSocketAddress::Ipv6(v6) => {
                let (a, b, c, d, e, f, g, h) = v6.address;
                let ip = Ipv6Addr::new(a, b, c, d, e, f, g, h);
                SocketAddrV6::new(ip, v6.port, v6.flow_info, v6.scope_id).into()
            }
        }
    }
}

impl From<SocketAddr> for IpSocketAddress {
    fn from(address: SocketAddr) -> Self {
        match address {
            SocketAddr::V4(v4) => Self::Ipv4(types::Ipv4SocketAddress {
                port: v4.port(),
                address: parts_v4(*v4.ip()),
            }),
            SocketAddr::V6(v6) => Self::Ipv6(types::Ipv6SocketAddress {
                port: v6.port(),
                flow_info: v6.flowinfo(),
                address: parts_v6(*v6.ip()),
                scope_id: v6.scope_id(),
            }),
        }
    }
}

impl From<IpAddr> for IpAddress {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => Self::Ipv4(parts_v4(v4)),
            IpAddr::V6(v6) => Self::Ipv6(parts_v6(v6)),
        }
    }
}

fn parts_v4(address: Ipv4Addr) -> (u8, u8, u8, u8) {
    let [a, b, c, d] = address.octets();
    (a, b, c, d)
}

fn parts_v6(address: Ipv6Addr) -> (u16, u16, u16, u16, u16, u16, u16, u16) {
    let [a, b, c, d, e, f, g, h] = address.segments();
    (a, b, c, d, e, f, g, h)
}

fn is_v6(family: IpAddressFamily) -> bool {
    matches!(family, IpAddressFamily::Ipv6)
}

fn family(v6: bool) -> IpAddressFamily {
    if v6 {
        IpAddressFamily::Ipv6
    } else {
        IpAddressFamily::Ipv4
    }
}
