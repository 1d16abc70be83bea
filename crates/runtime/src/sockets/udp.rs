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
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::{net, sync::OwnedSemaphorePermit};

use super::{error::Code, loopback::UdpPort, net::Net};
use crate::Transport;

/// The largest datagram of UDP over IPv4.
pub(crate) const DATAGRAM: usize = 65_507;
/// Addresses outside that one socket may talk with.
const PEERS: usize = 1024;
/// Datagrams of the machine's socket that are read at a time, be they all from strangers.
const AT_A_TIME: usize = 64;

/// A socket.
pub struct UdpSocket {
    net: Arc<Net>,
    v6: bool,
    /// Where it is bound; 0.2 shares it with its streams.
    pub(crate) bound: Option<Arc<Bound>>,
    pub(crate) remote: Option<SocketAddr>,
    options: Options,
}

/// Options that are kept for who asks.
#[derive(Clone, Copy)]
pub(crate) struct Options {
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
    socket: Arc<net::UdpSocket>,
    /// The same socket, to send by: without asking the reactor, which learns of a new one later.
    sending: std::net::UdpSocket,
    /// By the address that is sent to, the one that the guest knows.
    peers: HashMap<SocketAddr, SocketAddr>,
    _place: OwnedSemaphorePermit,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            hop_limit: 64,
            receive_buffer: 64 << 10,
            send_buffer: 64 << 10,
        }
    }
}

impl UdpSocket {
    pub(crate) fn new(net: Arc<Net>, v6: bool) -> Self {
        Self {
            net,
            v6,
            bound: None,
            remote: None,
            options: Options::default(),
        }
    }

    pub(crate) fn options(&self) -> Options {
        self.options
    }

    pub(crate) fn change(&mut self, change: impl FnOnce(&mut Options)) {
        change(&mut self.options);
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
        let address = self.net.bindable(Transport::Udp, address)?;
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
            self.net.valid_remote(Transport::Udp, to, self.v6)?;
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
        let v6 = self.inside.address().is_ipv6();
        self.net.valid_remote(Transport::Udp, to, v6)?;
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

    /// Waits for the next datagram, from this address only if one is given. Whoever gives up leaves
    /// nothing behind.
    pub(crate) async fn receive(&self, only: Option<SocketAddr>) -> (SocketAddr, Bytes) {
        loop {
            if let Some(datagram) = self.next(only) {
                return datagram;
            }
            self.ready().await;
        }
    }

    /// Waits for a datagram.
    pub(crate) async fn ready(&self) {
        loop {
            let arrived = self.inside.arrived();
            if self.inside.has_datagram() {
                return;
            }
            let outside = self.outside.lock().as_ref().map(|of| of.socket.clone());
            match outside {
                None => arrived.await,
                Some(socket) => tokio::select! {
                    () = arrived => {}
                    Ok(()) = socket.readable() => return,
                },
            }
        }
    }

    /// Takes what has arrived, up to so many datagrams.
    pub(crate) fn take(&self, most: usize, only: Option<SocketAddr>) -> Vec<(SocketAddr, Bytes)> {
        std::iter::from_fn(|| self.next(only)).take(most).collect()
    }

    fn next(&self, only: Option<SocketAddr>) -> Option<(SocketAddr, Bytes)> {
        let wanted = |from: &SocketAddr| only.is_none_or(|only| only == *from);
        while let Some((from, datagram)) = self.inside.take() {
            if wanted(&from) {
                return Some((from, datagram));
            }
        }
        let outside = self.outside.lock();
        let outside = outside.as_ref()?;
        let mut bytes = vec![0; DATAGRAM];
        for _ in 0..AT_A_TIME {
            match outside.socket.try_recv_from(&mut bytes) {
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return None,
                // An earlier datagram was refused by its receiver.
                Err(_) => {}
                Ok((length, from)) => {
                    let known = outside.peers.get(&from).copied();
                    if let Some(from) = known.filter(wanted) {
                        return Some((from, Bytes::copy_from_slice(&bytes[..length])));
                    }
                }
            }
        }
        None
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
            let socket = net::UdpSocket::from_std(sending.try_clone()?)?;
            Ok((Arc::new(socket), sending))
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

#[cfg(test)]
mod tests {
    use std::{
        future::Future,
        pin::pin,
        task::{Context, Wake, Waker},
    };

    use super::*;

    struct Task;

    impl Wake for Task {
        fn wake(self: Arc<Self>) {}
    }

    fn socket(net: &Arc<Net>) -> Arc<Bound> {
        let mut socket = UdpSocket::new(net.clone(), false);
        socket.bound_or_any().unwrap()
    }

    #[tokio::test]
    async fn who_no_longer_waits_for_a_datagram_is_forgotten() {
        let here = socket(&Net::granted(&[]));
        for _ in 0..10 {
            let task = Arc::new(Task);
            let waker = Waker::from(task.clone());
            {
                let receiving = pin!(here.receive(None));
                let polled = receiving.poll(&mut Context::from_waker(&waker));
                assert!(polled.is_pending());
                assert!(Arc::strong_count(&task) > 2);
            }
            drop(waker);
            assert_eq!(Arc::strong_count(&task), 1);
        }
    }

    #[tokio::test]
    async fn each_who_waits_has_a_datagram() {
        let net = Net::granted(&[]);
        let (here, there) = (socket(&net), socket(&net));
        let send = async {
            for datagram in ["a", "b"] {
                there.send(here.inside.address(), datagram.into()).unwrap();
            }
        };
        let (a, b, ()) = tokio::join!(here.receive(None), here.receive(None), send);
        let mut got = [a.1, b.1];
        got.sort();
        assert_eq!(got, ["a", "b"]);
    }
}
