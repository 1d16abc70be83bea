//! A TCP socket of a guest: its states, whatever generation of `wasi:sockets` drives it.
#![allow(
    unreachable_pub,
    reason = "generated code names these types as if they were public"
)]

use std::{
    future::Future,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Poll},
    time::Duration,
};

use parking_lot::Mutex;
use rustix::net::{AddressFamily, sockopt};
use tokio::net::TcpStream;

use super::{
    error::Code,
    loopback::Listener,
    net::Net,
    stream::{Incoming, Outgoing, inside, outside},
};
use crate::Transport;

/// Longest wait for a connection to the outside.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(60);

/// Shortest and longest times between packets that keep a connection alive, as Linux takes them.
const KEEP_ALIVE: (Duration, Duration) =
    (Duration::from_secs(1), Duration::from_secs(i16::MAX as u64));
/// The most of these packets without an answer.
const KEEP_ALIVE_COUNT: u32 = i8::MAX as u32;

/// The two directions of a connection, each until it is taken or shut down.
pub(crate) type Half<T> = Arc<Mutex<Option<T>>>;

/// A socket.
pub struct TcpSocket {
    net: Arc<Net>,
    v6: bool,
    pub(crate) state: State,
    /// Asked for, before it listens.
    backlog: Option<usize>,
    options: Shared,
}

/// What it is doing.
pub(crate) enum State {
    Unbound,
    Bound(SocketAddr),
    Connecting(Connecting),
    Connected(Connected),
    Listening(Acceptor),
    Closed,
}

/// What takes the connections of a socket that listens. 0.3 has a stream of them.
#[derive(Clone)]
pub(crate) struct Acceptor {
    listener: Arc<Listener>,
    net: Arc<Net>,
    /// Those of the socket, which the next connection has too.
    options: Shared,
}

/// On its way.
pub(crate) type Connecting = Pin<Box<dyn Future<Output = Result<Connected, Code>> + Send + Sync>>;

/// A connection.
pub(crate) struct Connected {
    pub(crate) incoming: Half<Incoming>,
    pub(crate) outgoing: Half<Outgoing>,
    local: SocketAddr,
    remote: SocketAddr,
    /// The kernel's, as long as one of the directions is open: none within the process.
    stream: Weak<TcpStream>,
}

/// The options of a socket.
type Shared = Arc<Mutex<Options>>;

/// Options as they were asked for. Within the process none of them means anything; connections to the
/// outside keep the kernel's sizes of buffers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Options {
    pub(crate) keep_alive: bool,
    pub(crate) keep_alive_idle: u64,
    pub(crate) keep_alive_interval: u64,
    pub(crate) keep_alive_count: u32,
    pub(crate) hop_limit: u8,
    pub(crate) receive_buffer: u64,
    pub(crate) send_buffer: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            keep_alive: false,
            keep_alive_idle: 7_200_000_000_000,
            keep_alive_interval: 75_000_000_000,
            keep_alive_count: 9,
            hop_limit: 64,
            receive_buffer: 64 << 10,
            send_buffer: 64 << 10,
        }
    }
}

impl Options {
    /// Tells the kernel. What it doesn't take stays as it was.
    fn apply(&self, stream: &TcpStream) {
        let time = |nanos: u64| Duration::from_nanos(nanos).clamp(KEEP_ALIVE.0, KEEP_ALIVE.1);
        let count = self.keep_alive_count.min(KEEP_ALIVE_COUNT);
        let _ = sockopt::set_tcp_keepidle(stream, time(self.keep_alive_idle));
        let _ = sockopt::set_tcp_keepintvl(stream, time(self.keep_alive_interval));
        let _ = sockopt::set_tcp_keepcnt(stream, count);
        let _ = sockopt::set_socket_keepalive(stream, self.keep_alive);
        let _ = match sockopt::socket_domain(stream) {
            Ok(AddressFamily::INET6) => {
                sockopt::set_ipv6_unicast_hops(stream, Some(self.hop_limit))
            }
            _ => sockopt::set_ip_ttl(stream, self.hop_limit.into()),
        };
    }
}

impl TcpSocket {
    pub(crate) fn new(net: Arc<Net>, v6: bool) -> Self {
        Self {
            net,
            v6,
            state: State::Unbound,
            backlog: None,
            options: Shared::default(),
        }
    }

    pub(crate) fn options(&self) -> Options {
        *self.options.lock()
    }

    /// Changes its options, and those of its connection.
    pub(crate) fn change(&mut self, change: impl FnOnce(&mut Options)) {
        change(&mut self.options.lock());
        if let State::Connected(connected) = &self.state {
            connected.apply(&self.options());
        }
    }

    pub(crate) fn is_v6(&self) -> bool {
        self.v6
    }

    pub(crate) fn bind(&mut self, address: SocketAddr) -> Result<(), Code> {
        let State::Unbound = self.state else {
            return Err(Code::InvalidState);
        };
        if address.is_ipv6() != self.v6 {
            return Err(Code::InvalidArgument);
        }
        let mut address = self.net.bindable(Transport::Tcp, address)?;
        if address.port() == 0 {
            address.set_port(self.net.loopback.any_port(address.ip()));
        } else if self.net.loopback.is_listening(address) {
            return Err(Code::AddressInUse);
        }
        self.state = State::Bound(address);
        Ok(())
    }

    /// Begins to connect. Within the workload it is done at once.
    pub(crate) fn start_connect(&mut self, to: SocketAddr) -> Result<(), Code> {
        let from = match &self.state {
            State::Unbound => None,
            State::Bound(address) => Some(address.port()),
            _ => return Err(Code::InvalidState),
        };
        self.net.valid_remote(Transport::Tcp, to, self.v6)?;
        let connecting: Connecting = if Net::is_inside(to.ip()) {
            let made = self.net.loopback.connect(to, from);
            let made = made.map_err(|code| self.net.refused_inside(code));
            let result = made.map(|connection| {
                let (local, remote) = (connection.local, connection.remote);
                Connected::new(inside(connection), local, remote, Weak::new())
            });
            Box::pin(std::future::ready(result))
        } else {
            let address = self.net.check(Transport::Tcp, to)?;
            let place = self.net.place()?;
            Box::pin(async move {
                let stream = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address))
                    .await
                    .map_err(|_| Code::Timeout)?
                    .map_err(|error| Code::from(&error))?;
                // Guests write what they want sent; small pieces are not held back.
                let _ = stream.set_nodelay(true);
                let local = stream.local_addr().map_err(|error| Code::from(&error))?;
                let stream = Arc::new(stream);
                let kernels = Arc::downgrade(&stream);
                Ok(Connected::new(outside(&stream, place), local, to, kernels))
            })
        };
        self.state = State::Connecting(connecting);
        Ok(())
    }

    /// Whether it is connected, and why not.
    pub(crate) fn poll_connected(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Code>> {
        let State::Connecting(connecting) = &mut self.state else {
            return Poll::Ready(match self.state {
                State::Connected(_) => Ok(()),
                _ => Err(Code::NotInProgress),
            });
        };
        connecting.as_mut().poll(cx).map(|result| match result {
            Ok(connected) => {
                let options = *self.options.lock();
                if options != Options::default() {
                    connected.apply(&options);
                }
                self.state = State::Connected(connected);
                Ok(())
            }
            Err(code) => {
                self.state = State::Closed;
                Err(code)
            }
        })
    }

    /// Listens where it is bound, or on any port.
    pub(crate) fn listen(&mut self) -> Result<Acceptor, Code> {
        let address = match &self.state {
            State::Bound(address) => *address,
            State::Unbound => {
                let ip: IpAddr = if self.v6 {
                    Ipv6Addr::LOCALHOST.into()
                } else {
                    Ipv4Addr::LOCALHOST.into()
                };
                SocketAddr::new(ip, self.net.loopback.any_port(ip))
            }
            _ => return Err(Code::InvalidState),
        };
        self.net.may_listen()?;
        let acceptor = Acceptor {
            listener: Arc::new(self.net.loopback.listen(address, self.backlog)?),
            net: self.net.clone(),
            options: self.options.clone(),
        };
        self.state = State::Listening(acceptor.clone());
        Ok(acceptor)
    }

    pub(crate) fn set_backlog(&mut self, size: u64) -> Result<(), Code> {
        if size == 0 {
            return Err(Code::InvalidArgument);
        }
        if !matches!(
            self.state,
            State::Unbound | State::Bound(_) | State::Listening(_)
        ) {
            return Err(Code::InvalidState);
        }
        self.backlog = Some(usize::try_from(size).unwrap_or(usize::MAX));
        Ok(())
    }

    pub(crate) fn connected(&self) -> Result<&Connected, Code> {
        match &self.state {
            State::Connected(connected) => Ok(connected),
            _ => Err(Code::InvalidState),
        }
    }

    pub(crate) fn is_listening(&self) -> bool {
        matches!(self.state, State::Listening(_))
    }

    pub(crate) fn local_address(&self) -> Result<SocketAddr, Code> {
        match &self.state {
            State::Bound(address) => Ok(*address),
            State::Connected(connected) => Ok(connected.local),
            State::Listening(acceptor) => Ok(acceptor.listener.address()),
            _ => Err(Code::InvalidState),
        }
    }

    pub(crate) fn remote_address(&self) -> Result<SocketAddr, Code> {
        self.connected().map(|connected| connected.remote)
    }

    /// Waits until something can be done: accepted, or known whether it is connected.
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.state {
            State::Listening(acceptor) => acceptor.poll_ready(cx),
            State::Connecting(connecting) => connecting.as_mut().poll(cx).map(|result| {
                // Kept for the one who asks.
                self.state = State::Connecting(Box::pin(std::future::ready(result)));
            }),
            _ => Poll::Ready(()),
        }
    }
}

impl Acceptor {
    /// Takes the next connection.
    pub(crate) fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<TcpSocket> {
        self.listener.poll_accept(cx).map(|connection| {
            let (local, remote) = (connection.local, connection.remote);
            let connected = Connected::new(inside(connection), local, remote, Weak::new());
            TcpSocket {
                state: State::Connected(connected),
                options: Arc::new(Mutex::new(*self.options.lock())),
                ..TcpSocket::new(self.net.clone(), local.is_ipv6())
            }
        })
    }

    /// Waits for a connection.
    pub(crate) fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.listener.poll_ready(cx)
    }
}

impl Connected {
    fn new(
        (incoming, outgoing): (Incoming, Outgoing),
        local: SocketAddr,
        remote: SocketAddr,
        stream: Weak<TcpStream>,
    ) -> Self {
        Self {
            incoming: Arc::new(Mutex::new(Some(incoming))),
            outgoing: Arc::new(Mutex::new(Some(outgoing))),
            local,
            remote,
            stream,
        }
    }

    fn apply(&self, options: &Options) {
        if let Some(stream) = self.stream.upgrade() {
            options.apply(&stream);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn change(options: &mut Options) {
        options.keep_alive = true;
        options.keep_alive_idle = 30 * SECOND;
        options.keep_alive_interval = 5 * SECOND;
        options.keep_alive_count = 1000;
        options.hop_limit = 9;
        options.receive_buffer = 1;
    }

    #[tokio::test]
    async fn what_is_accepted_has_the_options_of_who_listens() {
        let net = Net::granted(&[]);
        let mut listening = TcpSocket::new(net.clone(), false);
        let acceptor = listening.listen().unwrap();
        listening.change(change);
        let mut near = TcpSocket::new(net, false);
        near.start_connect(listening.local_address().unwrap())
            .unwrap();
        let far = poll_fn(|cx| acceptor.poll_accept(cx)).await;
        assert_eq!(far.options(), listening.options());
        assert_ne!(far.options(), Options::default());
        // From then on they are its own.
        listening.change(|options| options.hop_limit = 10);
        assert_eq!(far.options().hop_limit, 9);
    }

    #[tokio::test]
    async fn the_kernel_is_told_what_a_connection_to_the_outside_asks_for() {
        let Some(ip) = waft_servers::outward_address() else {
            return;
        };
        let server = tokio::net::TcpListener::bind((ip, 0)).await.unwrap();
        let to = server.local_addr().unwrap();
        let net = Net::granted(&[&to.to_string()]);
        let mut socket = TcpSocket::new(net, to.is_ipv6());
        socket.change(change);
        socket.start_connect(to).unwrap();
        poll_fn(|cx| socket.poll_connected(cx)).await.unwrap();
        let stream = socket.connected().unwrap().stream.upgrade().unwrap();
        assert_eq!(sockopt::socket_keepalive(&stream), Ok(true));
        let seconds = |count| Ok(Duration::from_secs(count));
        assert_eq!(sockopt::tcp_keepidle(&stream), seconds(30));
        assert_eq!(sockopt::tcp_keepintvl(&stream), seconds(5));
        assert_eq!(sockopt::tcp_keepcnt(&stream), Ok(KEEP_ALIVE_COUNT));
        if to.is_ipv4() {
            assert_eq!(sockopt::ip_ttl(&stream), Ok(9));
        }
        socket.change(|options| options.keep_alive = false);
        assert_eq!(sockopt::socket_keepalive(&stream), Ok(false));
    }
}
