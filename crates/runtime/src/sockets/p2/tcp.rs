//! `wasi:sockets/tcp@0.2` and `tcp-create-socket`.
#![allow(
    unreachable_pub,
    reason = "generated code names these types as if they were public"
)]

use std::{future::poll_fn, task::Poll};

use wasmtime::component::Resource;
use wasmtime_wasi_io::{
    poll::{DynPollable, Pollable, subscribe},
    streams::{DynInputStream, DynOutputStream},
};

use super::{
    Network,
    bindings::wasi::sockets::{
        network::{IpAddressFamily, IpSocketAddress},
        tcp::{Host, HostTcpSocket, ShutdownType},
        tcp_create_socket,
    },
    family, is_v6,
    streams::{Input, Output, shut},
};
use crate::sockets::{
    Sockets,
    error::{Code, SocketResult, positive},
    options::options,
    stream::no_wait,
    tcp::{State, TcpSocket},
};

/// A socket, and what was begun and not finished yet.
pub struct Socket {
    inner: TcpSocket,
    begun: Option<Begun>,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Begun {
    Bind,
    Connect,
    Listen,
}

type Streams = (Resource<DynInputStream>, Resource<DynOutputStream>);

impl Socket {
    fn begin(
        &mut self,
        begun: Begun,
        act: impl FnOnce(&mut TcpSocket) -> Result<(), Code>,
    ) -> Result<(), Code> {
        if self.begun.is_some() {
            return Err(Code::ConcurrencyConflict);
        }
        act(&mut self.inner)?;
        self.begun = Some(begun);
        Ok(())
    }

    fn finish(&mut self, begun: Begun) -> Result<(), Code> {
        if self.begun != Some(begun) {
            return Err(Code::NotInProgress);
        }
        self.begun = None;
        Ok(())
    }
}

#[async_trait::async_trait]
impl Pollable for Socket {
    async fn ready(&mut self) {
        poll_fn(|cx| self.inner.poll_ready(cx)).await;
    }
}

impl Sockets<'_> {
    fn tcp(&mut self, socket: &Resource<Socket>) -> SocketResult<&mut Socket> {
        Ok(self.0.table().get_mut(socket)?)
    }

    fn tcp_inner(&mut self, socket: &Resource<Socket>) -> SocketResult<&mut TcpSocket> {
        Ok(&mut self.tcp(socket)?.inner)
    }

    /// The streams of a connection, as children of its socket.
    fn tcp_streams(&mut self, socket: &Resource<Socket>) -> SocketResult<Streams> {
        let connected = self.tcp_inner(socket)?.connected()?;
        let input: DynInputStream = Box::new(Input(connected.incoming.clone()));
        let output: DynOutputStream = Box::new(Output::new(connected.outgoing.clone()));
        let table = self.0.table();
        Ok((
            table.push_child(input, socket)?,
            table.push_child(output, socket)?,
        ))
    }
}

impl Host for Sockets<'_> {}

impl tcp_create_socket::Host for Sockets<'_> {
    fn create_tcp_socket(&mut self, family: IpAddressFamily) -> SocketResult<Resource<Socket>> {
        let inner = TcpSocket::new(self.0.net().clone(), is_v6(family));
        Ok(self.0.table().push(Socket { inner, begun: None })?)
    }
}

impl HostTcpSocket for Sockets<'_> {
    fn start_bind(
        &mut self,
        this: Resource<Socket>,
        network: Resource<Network>,
        address: IpSocketAddress,
    ) -> SocketResult<()> {
        self.0.table().get(&network)?;
        let socket = self.tcp(&this)?;
        Ok(socket.begin(Begun::Bind, |socket| socket.bind(address.into()))?)
    }

    fn finish_bind(&mut self, this: Resource<Socket>) -> SocketResult<()> {
        Ok(self.tcp(&this)?.finish(Begun::Bind)?)
    }

    fn start_connect(
        &mut self,
        this: Resource<Socket>,
        network: Resource<Network>,
        address: IpSocketAddress,
    ) -> SocketResult<()> {
        self.0.table().get(&network)?;
        let socket = self.tcp(&this)?;
        Ok(socket.begin(Begun::Connect, |socket| {
            socket.start_connect(address.into())
        })?)
    }

    fn finish_connect(&mut self, this: Resource<Socket>) -> SocketResult<Streams> {
        let socket = self.tcp(&this)?;
        if socket.begun != Some(Begun::Connect) {
            return Err(Code::NotInProgress.into());
        }
        let Poll::Ready(result) = socket.inner.poll_connected(&mut no_wait()) else {
            return Err(Code::WouldBlock.into());
        };
        socket.begun = None;
        result?;
        self.tcp_streams(&this)
    }

    fn start_listen(&mut self, this: Resource<Socket>) -> SocketResult<()> {
        let socket = self.tcp(&this)?;
        Ok(socket.begin(Begun::Listen, |socket| {
            // In 0.2 a socket is bound before it listens.
            match socket.state {
                State::Bound(_) => socket.listen().map(|_| ()),
                _ => Err(Code::InvalidState),
            }
        })?)
    }

    fn finish_listen(&mut self, this: Resource<Socket>) -> SocketResult<()> {
        Ok(self.tcp(&this)?.finish(Begun::Listen)?)
    }

    fn accept(
        &mut self,
        this: Resource<Socket>,
    ) -> SocketResult<(
        Resource<Socket>,
        Resource<DynInputStream>,
        Resource<DynOutputStream>,
    )> {
        let socket = self.tcp(&this)?;
        let State::Listening(acceptor) = &socket.inner.state else {
            return Err(Code::InvalidState.into());
        };
        let Poll::Ready(inner) = acceptor.poll_accept(&mut no_wait()) else {
            return Err(Code::WouldBlock.into());
        };
        let accepted = self.0.table().push(Socket { inner, begun: None })?;
        let (input, output) = self.tcp_streams(&accepted)?;
        Ok((accepted, input, output))
    }

    fn local_address(&mut self, this: Resource<Socket>) -> SocketResult<IpSocketAddress> {
        Ok(self.tcp_inner(&this)?.local_address()?.into())
    }

    fn remote_address(&mut self, this: Resource<Socket>) -> SocketResult<IpSocketAddress> {
        Ok(self.tcp_inner(&this)?.remote_address()?.into())
    }

    fn is_listening(&mut self, this: Resource<Socket>) -> wasmtime::Result<bool> {
        Ok(self.0.table().get(&this)?.inner.is_listening())
    }

    fn address_family(&mut self, this: Resource<Socket>) -> wasmtime::Result<IpAddressFamily> {
        Ok(family(self.0.table().get(&this)?.inner.is_v6()))
    }

    fn set_listen_backlog_size(&mut self, this: Resource<Socket>, size: u64) -> SocketResult<()> {
        Ok(self.tcp_inner(&this)?.set_backlog(size)?)
    }

    fn keep_alive_enabled(&mut self, this: Resource<Socket>) -> SocketResult<bool> {
        Ok(self.tcp_inner(&this)?.options().keep_alive)
    }

    fn set_keep_alive_enabled(&mut self, this: Resource<Socket>, value: bool) -> SocketResult<()> {
        let socket = self.tcp_inner(&this)?;
        socket.change(|options| options.keep_alive = value);
        Ok(())
    }

    options! { Socket, tcp_inner:
        keep_alive_idle_time set_keep_alive_idle_time keep_alive_idle: u64;
        keep_alive_interval set_keep_alive_interval keep_alive_interval: u64;
        keep_alive_count set_keep_alive_count keep_alive_count: u32;
        hop_limit set_hop_limit hop_limit: u8;
        receive_buffer_size set_receive_buffer_size receive_buffer: u64;
        send_buffer_size set_send_buffer_size send_buffer: u64;
    }

    fn subscribe(&mut self, this: Resource<Socket>) -> wasmtime::Result<Resource<DynPollable>> {
        subscribe(self.0.table(), this)
    }

    fn shutdown(&mut self, this: Resource<Socket>, how: ShutdownType) -> SocketResult<()> {
        let connected = self.tcp_inner(&this)?.connected()?;
        if matches!(how, ShutdownType::Receive | ShutdownType::Both) {
            *connected.incoming.lock() = None;
        }
        if matches!(how, ShutdownType::Send | ShutdownType::Both) {
            shut(&connected.outgoing);
        }
        Ok(())
    }

    fn drop(&mut self, this: Resource<Socket>) -> wasmtime::Result<()> {
        self.0.table().delete(this)?;
        Ok(())
    }
}
