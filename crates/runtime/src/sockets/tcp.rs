//! A TCP socket of a guest: its states, whatever generation of `wasi:sockets` drives it.
#![allow(
    unreachable_pub,
    reason = "generated code names these types as if they were public"
)]

use std::{
    future::Future,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use parking_lot::Mutex;
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

/// The two directions of a connection, each until it is taken or shut down.
pub(crate) type Half<T> = Arc<Mutex<Option<T>>>;

/// A socket.
pub struct TcpSocket {
    net: Arc<Net>,
    v6: bool,
    pub(crate) state: State,
    /// Asked for, before it listens.
    backlog: Option<usize>,
    pub(crate) options: Options,
}

/// What it is doing.
pub(crate) enum State {
    Unbound,
    Bound(SocketAddr),
    Connecting(Connecting),
    Connected(Connected),
    /// Shared with the stream that accepts, in 0.3.
    Listening(Arc<Listener>),
    Closed,
}

/// On its way.
pub(crate) type Connecting = Pin<Box<dyn Future<Output = Result<Connected, Code>> + Send + Sync>>;

/// A connection.
pub(crate) struct Connected {
    pub(crate) incoming: Half<Incoming>,
    pub(crate) outgoing: Half<Outgoing>,
    local: SocketAddr,
    remote: SocketAddr,
}

/// Options that are kept for who asks; within the process none of them means anything, and the
/// kernel's defaults serve connections to the outside.
#[derive(Clone, Copy)]
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

impl TcpSocket {
    pub(crate) fn new(net: Arc<Net>, v6: bool) -> Self {
        Self {
            net,
            v6,
            state: State::Unbound,
            backlog: None,
            options: Options::default(),
        }
    }

    /// The socket of a connection that a listener took.
    fn accepted(net: Arc<Net>, v6: bool, connected: Connected) -> Self {
        Self {
            state: State::Connected(connected),
            ..Self::new(net, v6)
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
        let mut address = self.net.bindable(address)?;
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
        self.net.valid_remote(to, self.v6)?;
        let connecting: Connecting = if Net::is_inside(to.ip()) {
            let made = self.net.loopback.connect(to, from);
            let made = made.map_err(|code| self.net.refused_inside(code));
            let result = made.map(|connection| {
                let (local, remote) = (connection.local, connection.remote);
                Connected::new(inside(connection), local, remote)
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
                Ok(Connected::new(outside(stream, place), local, to))
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
    pub(crate) fn listen(&mut self) -> Result<Arc<Listener>, Code> {
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
        let listener = Arc::new(self.net.loopback.listen(address, self.backlog)?);
        self.state = State::Listening(listener.clone());
        Ok(listener)
    }

    /// Takes the next connection of a listener.
    pub(crate) fn poll_accept(
        listener: &Listener,
        net: &Arc<Net>,
        cx: &mut Context<'_>,
    ) -> Poll<Self> {
        listener.poll_accept(cx).map(|connection| {
            let (local, remote) = (connection.local, connection.remote);
            let connected = Connected::new(inside(connection), local, remote);
            Self::accepted(net.clone(), local.is_ipv6(), connected)
        })
    }

    pub(crate) fn net(&self) -> &Arc<Net> {
        &self.net
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
            State::Listening(listener) => Ok(listener.address()),
            _ => Err(Code::InvalidState),
        }
    }

    pub(crate) fn remote_address(&self) -> Result<SocketAddr, Code> {
        self.connected().map(|connected| connected.remote)
    }

    /// Waits until something can be done: accepted, or known whether it is connected.
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.state {
            State::Listening(listener) => listener.poll_ready(cx),
            State::Connecting(connecting) => connecting.as_mut().poll(cx).map(|result| {
                // Kept for the one who asks.
                self.state = State::Connecting(Box::pin(std::future::ready(result)));
            }),
            _ => Poll::Ready(()),
        }
    }
}

impl Connected {
    fn new(
        (incoming, outgoing): (Incoming, Outgoing),
        local: SocketAddr,
        remote: SocketAddr,
    ) -> Self {
        Self {
            incoming: Arc::new(Mutex::new(Some(incoming))),
            outgoing: Arc::new(Mutex::new(Some(outgoing))),
            local,
            remote,
        }
    }
}
