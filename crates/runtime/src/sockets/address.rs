//! Addresses as guests write them. Both generations have the same types in modules of their own.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Conversions between a generation's addresses, in the module `$types`, and ours.
macro_rules! addresses_of {
    ($types:ident) => {
        impl From<$types::IpSocketAddress> for std::net::SocketAddr {
            fn from(address: $types::IpSocketAddress) -> Self {
                match address {
                    $types::IpSocketAddress::Ipv4(v4) => {
                        let (a, b, c, d) = v4.address;
                        std::net::SocketAddrV4::new(std::net::Ipv4Addr::new(a, b, c, d), v4.port)
                            .into()
                    }
                    $types::IpSocketAddress::Ipv6(v6) => {
                        let (a, b, c, d, e, f, g, h) = v6.address;
                        let ip = std::net::Ipv6Addr::new(a, b, c, d, e, f, g, h);
                        std::net::SocketAddrV6::new(ip, v6.port, v6.flow_info, v6.scope_id).into()
                    }
                }
            }
        }

        impl From<std::net::SocketAddr> for $types::IpSocketAddress {
            fn from(address: std::net::SocketAddr) -> Self {
                match address {
                    std::net::SocketAddr::V4(v4) => Self::Ipv4($types::Ipv4SocketAddress {
                        port: v4.port(),
                        address: $crate::sockets::address::parts_v4(*v4.ip()),
                    }),
                    std::net::SocketAddr::V6(v6) => Self::Ipv6($types::Ipv6SocketAddress {
                        port: v6.port(),
                        flow_info: v6.flowinfo(),
                        address: $crate::sockets::address::parts_v6(*v6.ip()),
                        scope_id: v6.scope_id(),
                    }),
                }
            }
        }

        impl From<std::net::IpAddr> for $types::IpAddress {
            fn from(address: std::net::IpAddr) -> Self {
                match address {
                    std::net::IpAddr::V4(v4) => Self::Ipv4($crate::sockets::address::parts_v4(v4)),
                    std::net::IpAddr::V6(v6) => Self::Ipv6($crate::sockets::address::parts_v6(v6)),
                }
            }
        }

        fn is_v6(family: $types::IpAddressFamily) -> bool {
            matches!(family, $types::IpAddressFamily::Ipv6)
        }

        fn family(v6: bool) -> $types::IpAddressFamily {
            if v6 {
                $types::IpAddressFamily::Ipv6
            } else {
                $types::IpAddressFamily::Ipv4
            }
        }
    };
}
pub(super) use addresses_of;

pub(super) fn parts_v4(address: Ipv4Addr) -> (u8, u8, u8, u8) {
    let [a, b, c, d] = address.octets();
    (a, b, c, d)
}

pub(super) fn parts_v6(address: Ipv6Addr) -> (u16, u16, u16, u16, u16, u16, u16, u16) {
    let [a, b, c, d, e, f, g, h] = address.segments();
    (a, b, c, d, e, f, g, h)
}
