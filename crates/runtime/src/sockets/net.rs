//! What network one member of a workload has: the loopback within the workload, and whatever its
//! manifest grants outside.

use std::{
    collections::{HashMap, VecDeque},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use parking_lot::Mutex;
use tokio::sync::OwnedSemaphorePermit;

use super::{error::Code, loopback::Loopback};
use crate::{
    Denied, LookUp, Transport, classify,
    egress::{AddressClass, MACHINE_V4, MACHINE_V6},
    outgoing::Network,
};

/// Addresses whose names are remembered.
const KNOWN_ADDRESSES: usize = 1024;
/// Names that are remembered for one address.
const NAMES_OF_ADDRESS: usize = 16;
/// Longest name that is looked up: that of DNS.
const NAME_BYTES: usize = 253;

/// The network of one member; its instances share it.
pub(crate) struct Net {
    pub(crate) loopback: Loopback,
    outside: Arc<Network>,
    names: Mutex<Names>,
}

/// Which names led to an address, the oldest forgotten first.
#[derive(Default)]
struct Names {
    of: HashMap<IpAddr, Vec<String>>,
    order: VecDeque<IpAddr>,
}

impl Net {
    pub(crate) fn new(loopback: Loopback, outside: Arc<Network>) -> Self {
        Self {
            loopback,
            outside,
            names: Mutex::default(),
        }
    }

    /// Whether something outside may be connected to or sent to; the very address to use.
    pub(crate) fn check(&self, transport: Transport, to: SocketAddr) -> Result<SocketAddr, Code> {
        let names = self.names.lock();
        let led_here = names.of.get(&to.ip().to_canonical());
        let led_here = led_here.into_iter().flatten().map(String::as_str);
        self.outside
            .policy()
            .connect(transport, to, led_here)
            .map_err(|why| self.refuse(why))
    }

    /// A place among the connections outside.
    pub(crate) fn place(&self) -> Result<OwnedSemaphorePermit, Code> {
        let place = self.outside.places().clone().try_acquire_owned();
        place.map_err(|_| {
            self.outside.count_over_limit();
            Code::Limit
        })
    }

    /// The addresses of a name.
    pub(crate) async fn look_up(self: Arc<Self>, name: String) -> Result<Vec<IpAddr>, Code> {
        if name.len() > NAME_BYTES {
            return Err(Code::InvalidArgument);
        }
        // An address is its own answer; whether it may be connected to is asked then.
        if let Ok(address) = name.parse::<IpAddr>() {
            return Ok(vec![address]);
        }
        let resolved = match self.outside.policy().look_up(&name) {
            Err(Denied::NotAHost) => return Err(Code::InvalidArgument),
            Err(why) => return Err(self.refuse(why)),
            // Its service listens at either.
            Ok(LookUp::Workload(_)) => {
                return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
            }
            Ok(LookUp::Machine) => return Ok(vec![MACHINE_V4.into(), MACHINE_V6.into()]),
            Ok(LookUp::Address(address)) => return Ok(vec![address]),
            Ok(LookUp::Resolve(name)) => name,
        };
        let found = self.outside.resolve(&resolved).await;
        let found = found.map_err(|error| match error.kind() {
            std::io::ErrorKind::TimedOut => Code::TemporaryResolverFailure,
            _ => Code::NameUnresolvable,
        })?;
        let mut addresses: Vec<IpAddr> = Vec::new();
        let leads_nowhere = !found.is_empty();
        for address in found {
            let usable = classify(address) != AddressClass::Forbidden;
            if usable && !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        if addresses.is_empty() {
            // Whoever answers for the name wants the guest to reach the machine.
            if leads_nowhere {
                self.outside.count_denied(Denied::Forbidden);
            }
            return Err(Code::NameUnresolvable);
        }
        let mut names = self.names.lock();
        for address in &addresses {
            names.learn(address.to_canonical(), &resolved);
        }
        Ok(addresses)
    }

    /// Whether an address is of the loopback within the workload.
    pub(crate) fn is_inside(address: IpAddr) -> bool {
        address.is_loopback()
    }

    /// The loopback address to bind for one that a guest asked for: everything is loopback to it.
    pub(crate) fn bindable(
        &self,
        transport: Transport,
        address: SocketAddr,
    ) -> Result<SocketAddr, Code> {
        if is_no_address(transport, address.ip()) {
            return Err(Code::InvalidArgument);
        }
        let ip: IpAddr = match address.ip() {
            IpAddr::V4(v4) if v4.is_loopback() || v4.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(v6) if v6.is_loopback() || v6.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            _ => {
                self.outside.count_denied(Denied::ListenNotGranted);
                return Err(Code::AddressNotBindable);
            }
        };
        Ok(SocketAddr::new(ip, address.port()))
    }

    /// Whether an address can be sent to at all, from a socket of this family.
    pub(crate) fn valid_remote(
        &self,
        transport: Transport,
        to: SocketAddr,
        v6: bool,
    ) -> Result<(), Code> {
        let is_none = is_no_address(transport, to.ip());
        if to.is_ipv6() != v6 || is_none || to.port() == 0 || to.ip().is_unspecified() {
            if classify(to.ip()) == AddressClass::Forbidden {
                self.outside.count_denied(Denied::Forbidden);
            }
            return Err(Code::InvalidArgument);
        }
        Ok(())
    }

    /// Counts a connection within the workload that was refused.
    pub(crate) fn refused_inside(&self, code: Code) -> Code {
        if code == Code::ConnectionRefused {
            self.outside.count_denied(Denied::NothingListens);
        }
        code
    }

    /// Whether it may listen: a service may.
    pub(crate) fn may_listen(&self) -> Result<(), Code> {
        if self.loopback.listens() {
            return Ok(());
        }
        Err(self.refuse(Denied::ListenNotGranted))
    }

    fn refuse(&self, why: Denied) -> Code {
        self.outside.count_denied(why);
        Code::AccessDenied
    }
}

/// Whether `wasi:sockets` knows no such address, whoever asks: an IPv4 address written as an IPv6
/// address; for TCP, that of a group or of everybody.
fn is_no_address(transport: Transport, ip: IpAddr) -> bool {
    match (ip, transport) {
        (IpAddr::V6(v6), _) if v6.to_ipv4_mapped().is_some() => true,
        (IpAddr::V6(v6), Transport::Tcp) => v6.is_multicast(),
        (IpAddr::V4(v4), Transport::Tcp) => v4.is_multicast() || v4.is_broadcast(),
        (_, Transport::Udp) => false,
    }
}

impl Names {
    fn learn(&mut self, address: IpAddr, name: &str) {
        if !self.of.contains_key(&address) {
            if self.order.len() == KNOWN_ADDRESSES
                && let Some(oldest) = self.order.pop_front()
            {
                self.of.remove(&oldest);
            }
            self.order.push_back(address);
        }
        let known = self.of.entry(address).or_default();
        if !known.iter().any(|known| known == name) {
            if known.len() == NAMES_OF_ADDRESS {
                known.remove(0);
            }
            known.push(name.to_owned());
        }
    }
}

#[cfg(test)]
impl Net {
    /// A network of its own, for tests, from which these may be reached.
    pub(crate) fn granted(hosts: &[&str]) -> Arc<Self> {
        let resources = waft_ir::LocalResources {
            allowed_hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
            ..waft_ir::LocalResources::default()
        };
        let policy = crate::EgressPolicy::new(&resources, false).unwrap();
        let outside = Arc::new(crate::outgoing::Outside::new(None, Vec::new()));
        let loopback = Loopback::default().for_service();
        let network = Network::new(outside, Arc::new(policy), loopback.clone(), 8);
        Arc::new(Self::new(loopback, Arc::new(network)))
    }
}
