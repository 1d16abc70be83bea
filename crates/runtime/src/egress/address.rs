//! What kind of address an IP address is, whatever form it is written in.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Who may reach an address.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum AddressClass {
    /// Any address of the internet.
    Public,
    /// A network of the user's own: only through a name or address that the manifest writes out.
    Private,
    /// The machine itself, its link, its cloud's metadata, or no single machine at all: never.
    Forbidden,
}

/// Metadata services and the like that lie outside the link-local range: Amazon's over IPv6,
/// Alibaba's, Oracle's, Azure's host agent.
const METADATA: [IpAddr; 4] = [
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
];

/// The class of an address. An IPv6 address that carries an IPv4 address is at least as
/// restricted as that one.
pub fn classify(address: IpAddr) -> AddressClass {
    if METADATA.contains(&address) {
        return AddressClass::Forbidden;
    }
    match address {
        IpAddr::V4(v4) => classify_v4(v4),
        IpAddr::V6(v6) => {
            let own = classify_v6(v6);
            carried(v6).map_or(own, |v4| own.max(classify(IpAddr::V4(v4))))
        }
    }
}

/// The registry of special-purpose addresses: RFC 6890 and what was added to it.
fn classify_v4(address: Ipv4Addr) -> AddressClass {
    match address.octets() {
        // This network, loopback, link-local, multicast, reserved and broadcast.
        [0 | 127 | 224.., ..] | [169, 254, ..] => AddressClass::Forbidden,
        [10, ..]
        | [172, 16..=31, ..]
        | [192, 168, ..]
        // Shared by a provider's customers, protocol assignments, benchmarks, documentation.
        | [100, 64..=127, ..]
        | [192, 0, 0 | 2, _]
        | [198, 18..=19, ..]
        | [198, 51, 100, _]
        | [203, 0, 113, _] => AddressClass::Private,
        _ => AddressClass::Public,
    }
}

fn classify_v6(address: Ipv6Addr) -> AddressClass {
    if address.is_loopback() || address.is_unspecified() || address.is_multicast() {
        return AddressClass::Forbidden;
    }
    match address.segments()[0] {
        // Link-local; the discard prefix.
        0xfe80..=0xfebf | 0x0100 => AddressClass::Forbidden,
        // Unique local; the site-local addresses of old.
        0xfc00..=0xfdff | 0xfec0..=0xfeff => AddressClass::Private,
        _ => AddressClass::Public,
    }
}

/// The IPv4 address within an IPv6 address that a gateway or the kernel would send to.
fn carried(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let from = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Some(Ipv4Addr::new(a, b, c, d))
    };
    match address.segments() {
        // ::1 and :: are no carriers.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        // Mapped, translated (RFC 2765), and compatible.
        [0, 0, 0, 0, 0, 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0, 0, 0, 0, 0, 0, high, low]
        // NAT64, well known and local.
        | [0x64, 0xff9b, 0 | 1, 0, 0, 0, high, low] => from(high, low),
        // 6to4.
        [0x2002, high, low, ..] => from(high, low),
        // Teredo: the client's address is inverted.
        [0x2001, 0, .., high, low] => from(!high, !low),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_the_class_of_what_they_reach() {
        use AddressClass::*;
        for (class, addresses) in [
            (
                Forbidden,
                "127.0.0.1 127.255.255.254 0.0.0.0 0.1.2.3 169.254.169.254 169.254.170.2 \
                 224.0.0.1 239.255.255.250 240.0.0.1 255.255.255.255 168.63.129.16 \
                 100.100.100.200 192.0.0.192 :: ::1 fe80::1 febf::1 ff02::1 100::1 fd00:ec2::254 \
                 ::ffff:127.0.0.1 ::ffff:169.254.169.254 ::ffff:0:127.0.0.1 ::127.0.0.1 \
                 64:ff9b::127.0.0.1 64:ff9b::169.254.169.254 64:ff9b:1::169.254.169.254 \
                 2002:7f00:1:: 2002:a9fe:a9fe::1 2001:0:1:2:3:4:5601:5601 ::ffff:168.63.129.16",
            ),
            (
                Private,
                "10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.1 100.64.0.1 100.127.255.255 \
                 198.18.0.1 192.0.2.1 198.51.100.1 203.0.113.1 fc00::1 fd12::1 fec0::1 \
                 ::ffff:10.0.0.1 64:ff9b::10.0.0.1 2002:c0a8:101::1",
            ),
            (
                Public,
                "1.1.1.1 172.15.0.1 172.32.0.1 192.167.1.1 100.63.0.1 100.128.0.1 169.253.1.1 \
                 2606:4700::1111 ::ffff:1.1.1.1 64:ff9b::8.8.8.8 2001:db9::1",
            ),
        ] {
            for text in addresses.split_whitespace() {
                assert_eq!(classify(text.parse().unwrap()), class, "{text}");
            }
        }
    }
}
