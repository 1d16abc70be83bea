//! A UDP socket of a guest: a port on the loopback within the workload, and one of the machine's
//! once something outside was sent to.
#![allow(
    unreachable_pub,
    reason = "generated code names these types as if they were public"
)]

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::{io::ReadBuf, net, sync::OwnedSemaphorePermit};

use super::{error::Code, loopback::UdpPort, net::Net, stream::no_wait};
use crate::Transport;

/// The largest datagram of UDP over IPv4.
pub(crate) const DATAGRAM: usize = 65_507;
/// Addresses outside that one socket may talk with.
const PEERS: usize = 1024;

/// A socket.
pub struct UdpSocket {
    net: Arc<Net>,
    v6: bool,
    /// Where it is bound; 0.2 shares it with its streams.
    pub(crate) bound: Option<Arc<Bound>>,
    pub(crate) remote: Option<SocketAddr>,
    pub(crate) hop_limit: u8,
    pub(crate) receive_buffer: u64,
    pub(crate) send_buffer: u64,
}

/// Where it is bound.
pub(crate) struct Bound {
    net: Arc<Net>,
    inside: UdpPort,
    outside: Mutex<Option<Outside>>,
}

/// A socket of the machine. It hears only those that it sent to.
struct Outside {
    socket: net::UdpSocket,
    /// The same socket, to send by: without asking the reactor, which learns of a new one later.
    sending: std::net::UdpSocket,
    /// By the address that is sent to, the one that the guest knows.
    peers: HashMap<SocketAddr, SocketAddr>,
    _place: OwnedSemaphorePermit,
}

impl UdpSocket {
    pub(crate) fn new(net: Arc<Net>, v6: bool) -> Self {
        Self {
            net,
            v6,
            bound: None,
            remote: None,
            hop_limit: 64,
            receive_buffer: 64 << 10,
            send_buffer: 64 << 10,
        }
    }

    pub(crate) fn is_v6(&self) -> bool {
        self.v6
    }

    pub(crate) fn bind(&mut self, address: SocketAddr) -> Result<(), Code> {
        if self.bound.is_some() {
            return Err(Code::InvalidState);
        }
        if address.is_ipv6() != self.v6 {
            return Err(Code::InvalidArgument);
        }
        let address = self.net.bindable(address)?;
        // A port of its own choice is a server's.
        if address.port() != 0 {
            self.net.may_listen()?;
        }
        self.bound = Some(Arc::new(Bound {
            inside: self.net.loopback.bind_udp(address)?,
            outside: Mutex::default(),
            net: self.net.clone(),
        }));
        Ok(())
    }

    /// Where it is bound, which is any port if it was not bound yet.
    pub(crate) fn bound_or_any(&mut self) -> Result<Arc<Bound>, Code> {
        if self.bound.is_none() {
            let ip: IpAddr = if self.v6 {
                Ipv6Addr::LOCALHOST.into()
            } else {
                Ipv4Addr::LOCALHOST.into()
            };
            self.bind(SocketAddr::new(ip, 0))?;
        }
        self.bound.clone().ok_or(Code::InvalidState)
    }

    /// Sends to, and hears, only this address from now on; `None`: any again.
    pub(crate) fn connect(&mut self, to: Option<SocketAddr>) -> Result<(), Code> {
        if let Some(to) = to {
            self.net.valid_remote(to, self.v6)?;
            if !Net::is_inside(to.ip()) {
                self.net.check(Transport::Udp, to)?;
            }
        }
        self.remote = to;
        Ok(())
    }

    pub(crate) fn local_address(&self) -> Result<SocketAddr, Code> {
        let bound = self.bound.as_ref().ok_or(Code::InvalidState)?;
        Ok(bound.inside.address())
    }
}

impl Bound {
    /// Sends a datagram.
    pub(crate) fn send(&self, to: SocketAddr, datagram: Bytes) -> Result<(), Code> {
        if datagram.len() > DATAGRAM {
            return Err(Code::DatagramTooLarge);
        }
        self.net.valid_remote(to, self.inside.address().is_ipv6())?;
        if Net::is_inside(to.ip()) {
            self.inside.send(to, datagram);
            return Ok(());
        }
        let address = self.net.check(Transport::Udp, to)?;
        let mut outside = self.outside.lock();
        let outside = match &mut *outside {
            Some(outside) => outside,
            none => {
                let made = Outside::new(&self.net, address.is_ipv6())?;
                // Who waits already waits inside only.
                self.inside.wake();
                none.insert(made)
            }
        };
        if !outside.peers.contains_key(&address) {
            if outside.peers.len() == PEERS {
                return Err(Code::Limit);
            }
            outside.peers.insert(address, to);
        }
        match outside.sending.send_to(&datagram, address) {
            Ok(_) => Ok(()),
            // The kernel's buffer is full: the datagram is lost, as datagrams may be.
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(Code::from(&error)),
        }
    }

    /// Takes the next datagram, from this address only if one is given.
    pub(crate) fn poll_receive(
        &self,
        cx: &mut Context<'_>,
        only: Option<SocketAddr>,
    ) -> Poll<(SocketAddr, Bytes)> {
        let wanted = |from: SocketAddr| only.is_none_or(|only| only == from);
        while let Poll::Ready((from, datagram)) = self.inside.poll_receive(cx) {
            if wanted(from) {
                return Poll::Ready((from, datagram));
            }
        }
        let outside = self.outside.lock();
        let Some(outside) = &*outside else {
            return Poll::Pending;
        };
        let mut bytes = vec![0; DATAGRAM];
        loop {
            let mut buffer = ReadBuf::new(&mut bytes);
            match outside.socket.poll_recv_from(cx, &mut buffer) {
                Poll::Pending => return Poll::Pending,
                // An earlier datagram was refused by its receiver.
                Poll::Ready(Err(_)) => continue,
                Poll::Ready(Ok(from)) => {
                    let known = outside.peers.get(&from).copied();
                    if let Some(from) = known.filter(|from| wanted(*from)) {
                        return Poll::Ready((from, Bytes::copy_from_slice(buffer.filled())));
                    }
                }
            }
        }
    }

    /// Waits for a datagram.
    pub(crate) fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.inside.poll_ready(cx).is_ready() {
            return Poll::Ready(());
        }
        match &*self.outside.lock() {
            Some(outside) => outside.socket.poll_recv_ready(cx).map(|_| ()),
            None => Poll::Pending,
        }
    }

    /// Takes what has arrived, up to so many datagrams.
    pub(crate) fn take(&self, most: usize, only: Option<SocketAddr>) -> Vec<(SocketAddr, Bytes)> {
        let mut taken = Vec::new();
        while taken.len() < most
            && let Poll::Ready(datagram) = self.poll_receive(&mut no_wait(), only)
        {
            taken.push(datagram);
        }
        taken
    }
}

impl Outside {
    fn new(net: &Net, v6: bool) -> Result<Self, Code> {
        let any: IpAddr = if v6 {
            Ipv6Addr::UNSPECIFIED.into()
        } else {
            Ipv4Addr::UNSPECIFIED.into()
        };
        let place = net.place()?;
        let both = std::net::UdpSocket::bind((any, 0)).and_then(|sending| {
            sending.set_nonblocking(true)?;
            Ok((net::UdpSocket::from_std(sending.try_clone()?)?, sending))
        });
        let (socket, sending) = both.map_err(|error| Code::from(&error))?;
        Ok(Self {
            socket,
            sending,
            peers: HashMap::new(),
            _place: place,
        })
    }
}
