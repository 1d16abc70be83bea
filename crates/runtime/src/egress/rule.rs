//! The forms in which a manifest grants hosts, names and ports, read once.

use std::{net::IpAddr, str::FromStr};

use super::Transport;

/// One entry of `allowedHosts`: `[SCHEME://]HOST[:PORT]`, where `HOST` is a name, an address,
/// `*.SUFFIX` or, alone, `*`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct HostRule {
    scheme: Option<String>,
    host: HostForm,
    port: Option<u16>,
}

/// What an entry says of the host.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum HostForm {
    /// `*`
    Any,
    /// `*.SUFFIX`: names below it, not itself.
    Suffix(String),
    /// One name.
    Name(String),
    /// One address.
    Address(IpAddr),
}

/// One entry of `allowedHostLoopbackPorts`: `PORT[/tcp|udp]`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct PortRule {
    pub(super) port: u16,
    pub(super) transport: Transport,
}

/// A host of a request, in the one form that is compared.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Host {
    Name(String),
    Address(IpAddr),
}

impl HostRule {
    /// Reads an entry; `None` if it has none of the forms.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => {
                let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
                    && scheme
                        .chars()
                        .all(|c| c.is_ascii_alphanumeric() || "+.-".contains(c));
                let rest = rest.strip_suffix('/').unwrap_or(rest);
                (Some(is_scheme.then(|| scheme.to_ascii_lowercase())?), rest)
            }
            None => (None, text),
        };
        if rest == "*" {
            return Some(Self {
                scheme,
                host: HostForm::Any,
                port: None,
            });
        }
        let (host, port) = split_port(rest)?;
        let port = match port {
            Some(port) => Some(parse_port(port)?),
            None => None,
        };
        let host = HostForm::parse(host).filter(|host| *host != HostForm::Any)?;
        Some(Self { scheme, host, port })
    }

    /// Whether it grants a host, and if so whether it writes that host out.
    pub(super) fn grants(&self, scheme: &str, host: &Host, port: u16) -> Option<bool> {
        let fits = self.scheme.as_ref().is_none_or(|own| own == scheme)
            && self.port.is_none_or(|own| own == port)
            && self.host.matches(host);
        fits.then(|| self.host.is_written_out())
    }

    /// As [`grants`](Self::grants) for a connection without a scheme of its own: a rule for
    /// `http` or `https` is for `wasi:http`, `tcp` and `udp` are for that transport, and any other
    /// scheme names a protocol over TCP.
    pub(super) fn grants_socket(
        &self,
        transport: Transport,
        host: &Host,
        port: u16,
    ) -> Option<bool> {
        let fits = match (self.scheme.as_deref(), transport) {
            (None, _) | (Some("tcp"), Transport::Tcp) | (Some("udp"), Transport::Udp) => true,
            (Some("http" | "https" | "tcp" | "udp"), _) | (Some(_), Transport::Udp) => false,
            (Some(_), Transport::Tcp) => true,
        };
        let fits = fits && self.port.is_none_or(|own| own == port) && self.host.matches(host);
        fits.then(|| self.host.is_written_out())
    }
}

impl HostForm {
    /// Reads `*`, `*.SUFFIX`, a name or an address.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::Any);
        }
        if let Some(suffix) = text.strip_prefix("*.") {
            return match Host::parse(suffix)? {
                Host::Name(suffix) => Some(Self::Suffix(suffix)),
                Host::Address(_) => None,
            };
        }
        Some(match Host::parse(text)? {
            Host::Name(name) => Self::Name(name),
            Host::Address(address) => Self::Address(address),
        })
    }

    /// Whether a host is one of these.
    pub(super) fn matches(&self, host: &Host) -> bool {
        match (self, host) {
            (Self::Any, _) => true,
            (Self::Suffix(suffix), Host::Name(name)) => name
                .strip_suffix(suffix.as_str())
                .is_some_and(|rest| rest.len() > 1 && rest.ends_with('.')),
            (Self::Name(own), Host::Name(name)) => own == name,
            (Self::Address(own), Host::Address(address)) => own == address,
            _ => false,
        }
    }

    fn is_written_out(&self) -> bool {
        matches!(self, Self::Name(_) | Self::Address(_))
    }
}

impl PortRule {
    /// Reads an entry; `None` if it has none of the forms.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (port, transport) = match text.split_once('/') {
            None => (text, Transport::Tcp),
            Some((port, name)) => (port, Transport::parse(name)?),
        };
        let port = parse_port(port)?;
        Some(Self { port, transport })
    }
}

impl Host {
    /// Reads a name or an address, an IPv6 one with or without brackets. Names are lower case,
    /// without the last dot, in ASCII as IDNA has it; an IPv4 address within IPv6 is that IPv4
    /// address.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if !text.is_ascii() {
            // First: what is an address afterwards is judged as one.
            return Self::parse(&idna::domain_to_ascii(text).ok()?);
        }
        let bare = text
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        if let Some(inner) = bare {
            return IpAddr::from_str(inner)
                .ok()
                .filter(IpAddr::is_ipv6)
                .map(Self::address);
        }
        if let Ok(address) = IpAddr::from_str(text) {
            return Some(Self::address(address));
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        let is_name = !name.is_empty()
            && name.len() <= 253
            && name.split('.').all(|label| {
                let fits = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'_';
                !label.is_empty() && label.len() <= 63 && label.bytes().all(fits)
            });
        is_name.then(|| Self::Name(name.to_ascii_lowercase()))
    }

    pub(super) fn address(address: IpAddr) -> Self {
        Self::Address(address.to_canonical())
    }
}

impl Transport {
    fn parse(text: &str) -> Option<Self> {
        match text.to_ascii_lowercase().as_str() {
            "tcp" => Some(Self::Tcp),
            "udp" => Some(Self::Udp),
            _ => None,
        }
    }
}

/// Splits `HOST[:PORT]`; an IPv6 address with a port has brackets.
fn split_port(text: &str) -> Option<(&str, Option<&str>)> {
    if text.starts_with('[') {
        let end = text.find(']')? + 1;
        let (host, rest) = text.split_at(end);
        return match rest.strip_prefix(':') {
            Some(port) => Some((host, Some(port))),
            None => rest.is_empty().then_some((host, None)),
        };
    }
    if IpAddr::from_str(text).is_ok() {
        return Some((text, None));
    }
    Some(match text.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    })
}

/// A port other than 0, in digits only.
fn parse_port(text: &str) -> Option<u16> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok())?.filter(|port| *port != 0)
}
