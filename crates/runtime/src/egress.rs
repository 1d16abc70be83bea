//! Where a component may send: its manifest's grants, read once and asked for every request,
//! look-up and connection.
//!
//! Pure: it resolves nothing and connects to nothing. Whoever does asks first for the name
//! ([`EgressPolicy::http`], [`EgressPolicy::look_up`]), then for the very address that is about to
//! be connected to ([`Grant::admits`], [`EgressPolicy::connect`]), so that a name which changes its
//! mind between the two gains nothing.

mod address;
mod rule;

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use waft_ir::LocalResources;

pub use address::{AddressClass, classify};
use rule::{Host, HostForm, HostRule, PortRule};

/// The name under which guests reach the machine's loopback.
pub const MACHINE_NAME: &str = "host.wasmcloud.internal";

/// The zone of names that the host answers itself.
const INTERNAL_ZONE: &str = "wasmcloud.internal";

/// What [`MACHINE_NAME`] resolves to for a guest with sockets. Reserved addresses, which no machine
/// has: they stand for the machine's loopback and are replaced when a guest connects to them.
pub const MACHINE_V4: Ipv4Addr = Ipv4Addr::new(240, 0, 0, 1);
/// The same over IPv6 (the discard prefix).
pub const MACHINE_V6: Ipv6Addr = Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 1);

/// What one component may reach.
#[derive(Clone, Debug, Default)]
pub struct EgressPolicy {
    hosts: Vec<HostRule>,
    lookups: Vec<HostForm>,
    machine_ports: Vec<PortRule>,
    machine_is_open: bool,
}

/// A protocol over IP.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// Where a request goes that was granted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Destination {
    /// A port of the machine's loopback.
    Machine(u16),
    /// The loopback network within the workload: its service.
    Workload,
    /// Another machine, if its address is admitted.
    Remote(Grant),
}

/// A granted name, whose addresses have yet to be checked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Grant {
    /// Whether the manifest writes the name or address out, rather than by `*`.
    is_written_out: bool,
}

/// What a look-up may answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum LookUp {
    /// The resolver's answer for this name, without the addresses that are
    /// [`Forbidden`](AddressClass::Forbidden).
    Resolve(String),
    /// This address itself.
    Address(IpAddr),
    /// The machine: [`MACHINE_V4`] and [`MACHINE_V6`].
    Machine,
    /// A name of the workload's own network, such as `service.wasmcloud.internal`.
    Workload(String),
}

/// Why something is not reached.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
pub enum Denied {
    /// No entry of the manifest grants it.
    #[error("not granted: add it to `localResources.allowedHosts`")]
    NotGranted,
    /// A look-up of a name that no entry grants.
    #[error("not granted: add the name to `localResources.allowedIpNameLookups`")]
    LookUpNotGranted,
    /// The port of the machine's loopback is not listed, or the host does not open it to guests.
    #[error(
        "not granted: list the port in `localResources.allowedHostLoopbackPorts`, and start the \
         host with `--allow-host-loopback`"
    )]
    MachineNotGranted,
    /// An address of the machine, its link, its cloud's metadata, or no single machine.
    #[error("loopback, link-local, metadata and multicast addresses are never reachable")]
    Forbidden,
    /// A private address, granted only by `*`.
    #[error("a private address is reachable only through a name or address written out")]
    PrivateNeedsName,
    /// A connection within the workload to a port on which none of its components listens.
    #[error(
        "nothing of the workload listens there; the machine's own loopback is \
         `host.wasmcloud.internal`"
    )]
    NothingListens,
    /// A port that a component wanted to listen on, and is not the service.
    #[error("only the service of a workload listens")]
    ListenNotGranted,
    /// No host and port at all.
    #[error("not a host name or address")]
    NotAHost,
}

/// An entry of a manifest that has none of the forms.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`localResources.{field}` has the entry `{entry}`: expected {expected}")]
pub struct InvalidRule {
    /// The field of the manifest.
    pub field: &'static str,
    /// The entry.
    pub entry: String,
    /// The forms there are.
    pub expected: &'static str,
}

impl EgressPolicy {
    /// Reads a component's grants. `machine_is_open`: whether the host was started with
    /// `--allow-host-loopback`.
    pub fn new(resources: &LocalResources, machine_is_open: bool) -> Result<Self, InvalidRule> {
        Ok(Self {
            hosts: read(
                "allowedHosts",
                "`*`, or `[SCHEME://]HOST[:PORT]` with a name, an address or `*.SUFFIX`",
                &resources.allowed_hosts,
                HostRule::parse,
            )?,
            lookups: read(
                "allowedIpNameLookups",
                "`*`, `*.SUFFIX`, a name or an address",
                &resources.allowed_name_lookups,
                HostForm::parse,
            )?,
            machine_ports: read(
                "allowedHostLoopbackPorts",
                "a port from 1 to 65535, with `/tcp` or `/udp` if need be",
                &resources.allowed_loopback_ports,
                PortRule::parse,
            )?,
            machine_is_open,
        })
    }

    /// Whether nothing at all is granted.
    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty() && self.lookups.is_empty() && self.machine_ports.is_empty()
    }

    /// Whether a request to `scheme://host:port` may be sent. `host` is as in a URL: an IPv6
    /// address has brackets.
    pub fn http(&self, scheme: &str, host: &str, port: u16) -> Result<Destination, Denied> {
        let host = Host::parse(host).ok_or(Denied::NotAHost)?;
        if let Some(inside) = self.internal(&host, Transport::Tcp, port) {
            return inside;
        }
        let granted = self
            .hosts
            .iter()
            .filter_map(|rule| rule.grants(scheme, &host, port));
        let grant = Grant::best(granted).ok_or(Denied::NotGranted)?;
        if let Host::Address(address) = host {
            grant.admits(address)?;
        }
        Ok(Destination::Remote(grant))
    }

    /// Whether `allowedHosts` grants a name, whatever it resolves to: for requests that go to
    /// another workload without leaving the process. Addresses and the names that the host answers
    /// itself are never another workload's.
    pub fn grants_name(&self, scheme: &str, name: &str, port: u16) -> bool {
        let Some(Host::Name(name)) = Host::parse(name) else {
            return false;
        };
        if name == MACHINE_NAME || is_workload_name(&name) {
            return false;
        }
        let host = Host::Name(name);
        self.hosts
            .iter()
            .any(|rule| rule.grants(scheme, &host, port).is_some())
    }

    /// Whether a name may be looked up.
    pub fn look_up(&self, name: &str) -> Result<LookUp, Denied> {
        let host = Host::parse(name).ok_or(Denied::NotAHost)?;
        if let Host::Name(name) = &host {
            if name == MACHINE_NAME {
                // Naming it reveals nothing; connecting is what is checked.
                return Ok(LookUp::Machine);
            }
            if is_workload_name(name) {
                return Ok(LookUp::Workload(name.clone()));
            }
        }
        if !self.lookups.iter().any(|form| form.matches(&host)) {
            return Err(Denied::LookUpNotGranted);
        }
        Ok(match host {
            Host::Name(name) => LookUp::Resolve(name),
            Host::Address(address) => LookUp::Address(address),
        })
    }

    /// Whether a socket may send to an address, and the address to use instead if it stands for
    /// the machine. `names` are the names that this component looked up and that resolved to the
    /// address: what is granted to them is granted to it.
    ///
    /// The loopback network within the workload is not asked about here: it never leaves the
    /// process.
    pub fn connect<'a>(
        &self,
        transport: Transport,
        address: SocketAddr,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Result<SocketAddr, Denied> {
        let (ip, port) = (address.ip().to_canonical(), address.port());
        if ip == IpAddr::V4(MACHINE_V4) || ip == IpAddr::V6(MACHINE_V6) {
            self.machine(transport, port)?;
            let loopback: IpAddr = match ip {
                IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
            };
            return Ok(SocketAddr::new(loopback, port));
        }
        let names = names.into_iter().filter_map(Host::parse);
        let hosts: Vec<Host> = [Host::Address(ip)].into_iter().chain(names).collect();
        let granted = self.hosts.iter().flat_map(|rule| {
            hosts
                .iter()
                .filter_map(move |host| rule.grants_socket(transport, host, port))
        });
        let grant = Grant::best(granted).ok_or(Denied::NotGranted)?;
        grant.admits(ip)?;
        Ok(address)
    }

    /// Where a name that the host answers itself leads, if it is one.
    fn internal(
        &self,
        host: &Host,
        transport: Transport,
        port: u16,
    ) -> Option<Result<Destination, Denied>> {
        match host {
            Host::Name(name) if name == MACHINE_NAME => Some(
                self.machine(transport, port)
                    .map(|()| Destination::Machine(port)),
            ),
            Host::Name(name) if is_workload_name(name) => Some(Ok(Destination::Workload)),
            Host::Address(ip) if ip.is_loopback() => Some(Ok(Destination::Workload)),
            _ => None,
        }
    }

    fn machine(&self, transport: Transport, port: u16) -> Result<(), Denied> {
        let rule = PortRule { port, transport };
        if self.machine_is_open && self.machine_ports.contains(&rule) {
            Ok(())
        } else {
            Err(Denied::MachineNotGranted)
        }
    }
}

impl Grant {
    /// Whether an address, of those that a granted name resolved to, may be connected to.
    pub fn admits(self, address: IpAddr) -> Result<(), Denied> {
        match classify(address) {
            AddressClass::Public => Ok(()),
            AddressClass::Private if self.is_written_out => Ok(()),
            AddressClass::Private => Err(Denied::PrivateNeedsName),
            AddressClass::Forbidden => Err(Denied::Forbidden),
        }
    }

    /// The widest of several grants of the same host.
    fn best(granted: impl Iterator<Item = bool>) -> Option<Self> {
        let is_written_out = granted.reduce(|one, other| one || other)?;
        Some(Self { is_written_out })
    }
}

impl Denied {
    /// All reasons, in the order of their counters.
    pub const ALL: [Self; 8] = [
        Self::NotGranted,
        Self::LookUpNotGranted,
        Self::MachineNotGranted,
        Self::Forbidden,
        Self::PrivateNeedsName,
        Self::NothingListens,
        Self::ListenNotGranted,
        Self::NotAHost,
    ];

    /// The CamelCase name, for metrics and log lines.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotGranted => "HostNotGranted",
            Self::LookUpNotGranted => "LookUpNotGranted",
            Self::MachineNotGranted => "HostLoopbackNotGranted",
            Self::Forbidden => "ForbiddenAddress",
            Self::PrivateNeedsName => "PrivateAddress",
            Self::NothingListens => "NothingListens",
            Self::ListenNotGranted => "ListenNotGranted",
            Self::NotAHost => "NotAHost",
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// Whether a name is of the network within the workload.
fn is_workload_name(name: &str) -> bool {
    let below = name
        .strip_suffix(INTERNAL_ZONE)
        .is_some_and(|rest| rest.ends_with('.'));
    // Names below `localhost` are those of routes.
    (below && name != MACHINE_NAME) || name == "localhost"
}

fn read<T>(
    field: &'static str,
    expected: &'static str,
    entries: &[String],
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Vec<T>, InvalidRule> {
    let read = entries.iter().map(|entry| {
        parse(entry).ok_or_else(|| InvalidRule {
            field,
            entry: entry.clone(),
            expected,
        })
    });
    read.collect()
}

#[cfg(test)]
mod tests;
