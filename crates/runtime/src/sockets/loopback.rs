//! The network within one replica of a workload: what its service listens on, and its members
//! reach, at 127.0.0.1 and ::1. It never leaves the process, and nobody else is on it.

use std::{
    collections::{HashMap, VecDeque},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, futures::Notified};

use super::{
    error::Code,
    pipe::{Reader, Waiter, Writer, pipe},
    stream::Inside,
};

/// Connections at a time. Each holds up to twice the capacity of a pipe.
const CONNECTIONS: usize = 256;
/// Connections that wait for a listener to accept them, unless it asks for fewer.
const BACKLOG: usize = 128;
/// Ports with a UDP socket.
const UDP_PORTS: usize = 256;
/// Datagrams, and bytes of them, that wait at one port; more are lost, as datagrams may be.
const MAILBOX: (usize, usize) = (256, 256 << 10);
/// Ports that are given to who asks for any.
const ANY_PORT: std::ops::RangeInclusive<u16> = 49152..=65535;

/// The network, as one member has it. Clones are the same network.
#[derive(Clone)]
pub struct Loopback {
    shared: Arc<Shared>,
    listens: bool,
}

struct Shared {
    state: Mutex<State>,
    listened: Notify,
    connections: Arc<Semaphore>,
}

#[derive(Default)]
struct State {
    listeners: HashMap<SocketAddr, Queue>,
    mailboxes: HashMap<SocketAddr, Mailbox>,
    last_port: u16,
}

/// Connections on their way to one listener.
struct Queue {
    waiting: VecDeque<Connection>,
    backlog: usize,
    listener: Waiter,
}

/// Datagrams on their way to one socket.
#[derive(Default)]
struct Mailbox {
    waiting: VecDeque<(SocketAddr, Bytes)>,
    bytes: usize,
    arrived: Arc<Notify>,
}

/// One end of a connection.
pub(crate) struct Connection {
    pub(crate) reader: Reader,
    pub(crate) writer: Writer,
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    pub(crate) place: Arc<OwnedSemaphorePermit>,
}

/// A port that is listened on, until it is dropped.
pub(crate) struct Listener {
    network: Loopback,
    address: SocketAddr,
}

/// A port that datagrams are sent to, until it is dropped.
pub(crate) struct UdpPort {
    network: Loopback,
    address: SocketAddr,
    /// That of its mailbox. Several may wait, and who gives up is forgotten.
    arrived: Arc<Notify>,
}

/// The loopback address that stands for all of a family: 127.0.0.2 is 127.0.0.1.
pub(crate) fn loopback_of(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    }
}

fn key(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(loopback_of(address.ip()), address.port())
}

impl Default for Loopback {
    fn default() -> Self {
        let shared = Shared {
            state: Mutex::default(),
            listened: Notify::new(),
            connections: Arc::new(Semaphore::new(CONNECTIONS)),
        };
        Self {
            shared: Arc::new(shared),
            listens: false,
        }
    }
}

impl Loopback {
    /// The same network for a member that may listen: the service.
    pub fn for_service(&self) -> Self {
        Self {
            shared: self.shared.clone(),
            listens: true,
        }
    }

    /// Waits until somebody listens.
    pub async fn somebody_listens(&self) {
        loop {
            let listened = self.shared.listened.notified();
            if !self.shared.state.lock().listeners.is_empty() {
                return;
            }
            listened.await;
        }
    }

    /// Whether this member may listen.
    pub(crate) fn listens(&self) -> bool {
        self.listens
    }

    /// A port that is not in use.
    pub(crate) fn any_port(&self, of: IpAddr) -> u16 {
        self.shared.state.lock().any_port(of)
    }

    /// Whether somebody listens there.
    pub(crate) fn is_listening(&self, address: SocketAddr) -> bool {
        self.shared
            .state
            .lock()
            .listeners
            .contains_key(&key(address))
    }

    /// Listens on an address.
    pub(crate) fn listen(
        &self,
        address: SocketAddr,
        backlog: Option<usize>,
    ) -> Result<Listener, Code> {
        let address = key(address);
        let mut state = self.shared.state.lock();
        if state.listeners.contains_key(&address) {
            return Err(Code::AddressInUse);
        }
        let queue = Queue {
            waiting: VecDeque::new(),
            backlog: backlog.map_or(BACKLOG, |wanted| wanted.clamp(1, BACKLOG)),
            listener: Waiter::default(),
        };
        state.listeners.insert(address, queue);
        self.shared.listened.notify_waiters();
        Ok(Listener {
            network: self.clone(),
            address,
        })
    }

    /// Connects to who listens on an address, from a port or any.
    pub(crate) fn connect(&self, to: SocketAddr, from: Option<u16>) -> Result<Connection, Code> {
        let place = self.shared.connections.clone().try_acquire_owned();
        let place = Arc::new(place.map_err(|_| Code::Limit)?);
        let remote = key(to);
        let mut state = self.shared.state.lock();
        let port = from.unwrap_or_else(|| state.any_port(remote.ip()));
        let queue = state.listeners.get_mut(&remote);
        let queue = queue.ok_or(Code::ConnectionRefused)?;
        if queue.waiting.len() >= queue.backlog {
            return Err(Code::ConnectionRefused);
        }
        let local = SocketAddr::new(remote.ip(), port);
        let (there, from_here) = pipe();
        let (here, from_there) = pipe();
        queue.waiting.push_back(Connection {
            reader: from_here,
            writer: here,
            local: remote,
            remote: local,
            place: place.clone(),
        });
        queue.listener.wake();
        Ok(Connection {
            reader: from_there,
            writer: there,
            local,
            remote,
            place,
        })
    }

    /// Connects one of the host's own clients to who listens on a port.
    pub(crate) fn open(&self, v6: bool, port: u16) -> Option<Inside> {
        let ip: IpAddr = if v6 {
            Ipv6Addr::LOCALHOST.into()
        } else {
            Ipv4Addr::LOCALHOST.into()
        };
        let connection = self.connect(SocketAddr::new(ip, port), None).ok()?;
        Some(Inside::new(connection))
    }

    /// Takes a port for datagrams; 0 is any.
    pub(crate) fn bind_udp(&self, address: SocketAddr) -> Result<UdpPort, Code> {
        let mut state = self.shared.state.lock();
        if state.mailboxes.len() >= UDP_PORTS {
            return Err(Code::Limit);
        }
        let mut address = key(address);
        if address.port() == 0 {
            address.set_port(state.any_port(address.ip()));
        }
        if state.mailboxes.contains_key(&address) {
            return Err(Code::AddressInUse);
        }
        let mailbox = Mailbox::default();
        let arrived = mailbox.arrived.clone();
        state.mailboxes.insert(address, mailbox);
        Ok(UdpPort {
            network: self.clone(),
            address,
            arrived,
        })
    }
}

impl State {
    fn any_port(&mut self, of: IpAddr) -> u16 {
        let count = usize::from(ANY_PORT.end() - ANY_PORT.start()) + 1;
        for _ in 0..count {
            self.last_port = self.last_port.wrapping_add(1).max(*ANY_PORT.start());
            let address = SocketAddr::new(loopback_of(of), self.last_port);
            let taken = self.listeners.contains_key(&address);
            if !taken && !self.mailboxes.contains_key(&address) {
                break;
            }
        }
        self.last_port
    }
}

impl Listener {
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes the next connection.
    pub(crate) fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<Connection> {
        self.with(|queue| match queue.waiting.pop_front() {
            Some(connection) => Poll::Ready(connection),
            None => {
                queue.listener.set(cx);
                Poll::Pending
            }
        })
    }

    /// Waits for a connection.
    pub(crate) fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.with(|queue| {
            if queue.waiting.is_empty() {
                queue.listener.set(cx);
                return Poll::Pending;
            }
            Poll::Ready(())
        })
    }

    fn with<T>(&self, act: impl FnOnce(&mut Queue) -> Poll<T>) -> Poll<T> {
        let mut state = self.network.shared.state.lock();
        // It is there as long as this is.
        match state.listeners.get_mut(&self.address) {
            Some(queue) => act(queue),
            None => Poll::Pending,
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let gone = self
            .network
            .shared
            .state
            .lock()
            .listeners
            .remove(&self.address);
        // Connections that nobody took end here, and their other ends learn of it.
        drop(gone);
    }
}

impl UdpPort {
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends a datagram; it is lost where nobody receives or too many wait.
    pub(crate) fn send(&self, to: SocketAddr, datagram: Bytes) {
        let mut state = self.network.shared.state.lock();
        let Some(mailbox) = state.mailboxes.get_mut(&key(to)) else {
            return;
        };
        let (count, bytes) = MAILBOX;
        if mailbox.waiting.len() < count && mailbox.bytes + datagram.len() <= bytes {
            mailbox.bytes += datagram.len();
            mailbox.waiting.push_back((self.address, datagram));
            mailbox.arrived.notify_waiters();
        }
    }

    /// Takes the next datagram and its sender.
    pub(crate) fn take(&self) -> Option<(SocketAddr, Bytes)> {
        let mut state = self.network.shared.state.lock();
        let mailbox = state.mailboxes.get_mut(&self.address)?;
        let (from, datagram) = mailbox.waiting.pop_front()?;
        mailbox.bytes -= datagram.len();
        Some((from, datagram))
    }

    /// Whether a datagram waits.
    pub(crate) fn has_datagram(&self) -> bool {
        let state = self.network.shared.state.lock();
        let mailbox = state.mailboxes.get(&self.address);
        mailbox.is_some_and(|mailbox| !mailbox.waiting.is_empty())
    }

    /// The next time that a datagram arrives, from now on.
    pub(crate) fn arrived(&self) -> Notified<'_> {
        self.arrived.notified()
    }

    /// Has those who wait for a datagram look again.
    pub(crate) fn wake(&self) {
        self.arrived.notify_waiters();
    }
}

impl Drop for UdpPort {
    fn drop(&mut self) {
        self.network
            .shared
            .state
            .lock()
            .mailboxes
            .remove(&self.address);
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn who_listens_is_reached_and_nobody_else() {
        let (network, other) = (Loopback::default(), Loopback::default());
        let listener = network.listen(at("127.0.0.1:7000"), None).unwrap();
        let again = network.listen(at("127.0.0.9:7000"), None).err();
        assert_eq!(again, Some(Code::AddressInUse));
        for (network, to) in [
            (&other, "127.0.0.1:7000"),
            (&network, "127.0.0.1:7001"),
            (&network, "[::1]:7000"),
        ] {
            let refused = network.connect(at(to), None).err();
            assert_eq!(refused, Some(Code::ConnectionRefused), "{to}");
        }
        let near = network.connect(at("127.0.0.2:7000"), None).unwrap();
        let far = poll_fn(|cx| listener.poll_accept(cx)).await;
        assert_eq!((near.local, near.remote), (far.remote, far.local));
        poll_fn(|cx| near.writer.poll_write(cx, b"hello"))
            .await
            .unwrap();
        let mut got = [0; 9];
        let length = poll_fn(|cx| far.reader.poll_read(cx, &mut got)).await;
        assert_eq!(&got[..length], b"hello");
        drop(listener);
        assert_eq!(
            network.connect(at("127.0.0.1:7000"), None).err(),
            Some(Code::ConnectionRefused)
        );
    }

    #[test]
    fn connections_are_bounded_and_freed() {
        let network = Loopback::default();
        let address = at("[::1]:1");
        let listener = network.listen(address, Some(2)).unwrap();
        let kept: Vec<_> = (0..2).map(|_| network.connect(address, None)).collect();
        assert!(kept.iter().all(Result::is_ok));
        let third = network.connect(address, None).err();
        assert_eq!(third, Some(Code::ConnectionRefused));
        drop((kept, listener));
        let listener = network.listen(address, Some(1)).unwrap();
        let held: Vec<_> = (0..CONNECTIONS)
            .map(|_| {
                let near = network.connect(address, None).unwrap();
                let mut cx = Context::from_waker(std::task::Waker::noop());
                (near, listener.poll_accept(&mut cx))
            })
            .collect();
        assert_eq!(network.connect(address, None).err(), Some(Code::Limit));
        drop(held);
        assert!(network.connect(address, None).is_ok());
    }

    #[test]
    fn datagrams_find_their_port_and_are_lost_past_the_limit() {
        let network = Loopback::default();
        let server = network.bind_udp(at("127.0.0.1:53")).unwrap();
        let client = network.bind_udp(at("127.0.0.1:0")).unwrap();
        assert_ne!(client.address().port(), 0);
        client.send(at("127.0.0.1:54"), Bytes::from_static(b"lost"));
        client.send(server.address(), Bytes::from_static(b"ping"));
        let (from, datagram) = server.take().unwrap();
        assert_eq!((from, &datagram[..]), (client.address(), &b"ping"[..]));
        for _ in 0..10_000 {
            client.send(server.address(), Bytes::from(vec![0; 1000]));
        }
        let kept = std::iter::from_fn(|| server.take()).count();
        assert_eq!(kept, MAILBOX.0);
    }
}
