//! The resource `tcp-socket` of `wasi:sockets/types@0.3`.

use std::{future::poll_fn, net::SocketAddr};

use tokio::sync::oneshot;
use wasmtime::component::{Access, Accessor, FutureReader, Resource, StreamReader};

use super::{
    bindings::wasi::sockets::types::{
        ErrorCode, HostTcpSocket, HostTcpSocketWithStore, IpAddressFamily, IpSocketAddress,
    },
    family, is_v6,
    streams::{Accepted, Direction},
};
use crate::{
    Ctx,
    sockets::{
        Getter, Sockets,
        error::{Code, SocketResult, positive},
        options::options,
        tcp::{Half, TcpSocket},
    },
};

type Ended = FutureReader<Result<(), ErrorCode>>;

impl Sockets<'_> {
    fn tcp_socket(&mut self, socket: &Resource<TcpSocket>) -> SocketResult<&mut TcpSocket> {
        Ok(self.0.table().get_mut(socket)?)
    }
}

/// One direction of a connection: it can be taken once.
fn take<T>(
    socket: SocketResult<&mut TcpSocket>,
    of: impl FnOnce(&crate::sockets::tcp::Connected) -> &Half<T>,
) -> SocketResult<Result<T, Code>> {
    Ok(match socket?.connected() {
        Ok(connected) => of(connected).lock().take().ok_or(Code::InvalidState),
        Err(code) => Err(code),
    })
}

fn trap(error: crate::sockets::error::SocketError) -> wasmtime::Error {
    match error {
        crate::sockets::error::SocketError::Trap(error) => error,
        crate::sockets::error::SocketError::Code(code) => wasmtime::format_err!("{code:?}"),
    }
}

impl HostTcpSocketWithStore<Ctx> for Getter {
    async fn connect(
        accessor: &Accessor<Ctx, Self>,
        this: Resource<TcpSocket>,
        address: IpSocketAddress,
    ) -> SocketResult<()> {
        let to = SocketAddr::from(address);
        accessor.with(|mut store| -> SocketResult<()> {
            Ok(store.get().tcp_socket(&this)?.start_connect(to)?)
        })?;
        poll_fn(|cx| {
            accessor.with(|mut store| match store.get().tcp_socket(&this) {
                Ok(socket) => socket.poll_connected(cx).map_err(Into::into),
                Err(error) => std::task::Poll::Ready(Err(error)),
            })
        })
        .await
    }

    fn listen(
        mut store: Access<'_, Ctx, Self>,
        this: Resource<TcpSocket>,
    ) -> SocketResult<StreamReader<Resource<TcpSocket>>> {
        let accepted = Accepted(store.get().tcp_socket(&this)?.listen()?);
        Ok(StreamReader::new(&mut store, accepted)?)
    }

    fn send(
        mut store: Access<'_, Ctx, Self>,
        this: Resource<TcpSocket>,
        mut data: StreamReader<u8>,
    ) -> wasmtime::Result<Ended> {
        let outgoing = take(store.get().tcp_socket(&this), |of| &of.outgoing);
        match outgoing.map_err(trap)? {
            Ok(outgoing) => {
                let (ended, has_ended) = oneshot::channel();
                data.pipe(&mut store, Direction::new(outgoing, ended))?;
                FutureReader::new(&mut store, has_ended)
            }
            Err(code) => {
                data.close(&mut store)?;
                failed(&mut store, code)
            }
        }
    }

    fn receive(
        mut store: Access<'_, Ctx, Self>,
        this: Resource<TcpSocket>,
    ) -> wasmtime::Result<(StreamReader<u8>, Ended)> {
        let incoming = take(store.get().tcp_socket(&this), |of| &of.incoming);
        match incoming.map_err(trap)? {
            Ok(incoming) => {
                let (ended, has_ended) = oneshot::channel();
                let data = StreamReader::new(&mut store, Direction::new(incoming, ended))?;
                Ok((data, FutureReader::new(&mut store, has_ended)?))
            }
            Err(code) => {
                let nothing = StreamReader::new(&mut store, std::iter::empty())?;
                Ok((nothing, failed(&mut store, code)?))
            }
        }
    }
}

fn failed(store: &mut Access<'_, Ctx, Getter>, code: Code) -> wasmtime::Result<Ended> {
    let failed = async move { wasmtime::error::Ok(Err(ErrorCode::from(code))) };
    FutureReader::new(store, failed)
}

impl HostTcpSocket for Sockets<'_> {
    fn create(&mut self, family: IpAddressFamily) -> SocketResult<Resource<TcpSocket>> {
        let socket = TcpSocket::new(self.0.net().clone(), is_v6(family));
        Ok(self.0.table().push(socket)?)
    }

    fn bind(&mut self, this: Resource<TcpSocket>, address: IpSocketAddress) -> SocketResult<()> {
        Ok(self.tcp_socket(&this)?.bind(address.into())?)
    }

    fn get_local_address(&mut self, this: Resource<TcpSocket>) -> SocketResult<IpSocketAddress> {
        Ok(self.tcp_socket(&this)?.local_address()?.into())
    }

    fn get_remote_address(&mut self, this: Resource<TcpSocket>) -> SocketResult<IpSocketAddress> {
        Ok(self.tcp_socket(&this)?.remote_address()?.into())
    }

    fn get_is_listening(&mut self, this: Resource<TcpSocket>) -> wasmtime::Result<bool> {
        Ok(self.0.table().get(&this)?.is_listening())
    }

    fn get_address_family(
        &mut self,
        this: Resource<TcpSocket>,
    ) -> wasmtime::Result<IpAddressFamily> {
        Ok(family(self.0.table().get(&this)?.is_v6()))
    }

    fn set_listen_backlog_size(
        &mut self,
        this: Resource<TcpSocket>,
        size: u64,
    ) -> SocketResult<()> {
        Ok(self.tcp_socket(&this)?.set_backlog(size)?)
    }

    fn get_keep_alive_enabled(&mut self, this: Resource<TcpSocket>) -> SocketResult<bool> {
        Ok(self.tcp_socket(&this)?.options().keep_alive)
    }

    fn set_keep_alive_enabled(
        &mut self,
        this: Resource<TcpSocket>,
        value: bool,
    ) -> SocketResult<()> {
        let socket = self.tcp_socket(&this)?;
        socket.change(|options| options.keep_alive = value);
        Ok(())
    }

    options! { TcpSocket, tcp_socket:
        get_keep_alive_idle_time set_keep_alive_idle_time keep_alive_idle: u64;
        get_keep_alive_interval set_keep_alive_interval keep_alive_interval: u64;
        get_keep_alive_count set_keep_alive_count keep_alive_count: u32;
        get_hop_limit set_hop_limit hop_limit: u8;
        get_receive_buffer_size set_receive_buffer_size receive_buffer: u64;
        get_send_buffer_size set_send_buffer_size send_buffer: u64;
    }

    fn drop(&mut self, this: Resource<TcpSocket>) -> wasmtime::Result<()> {
        self.0.table().delete(this)?;
        Ok(())
    }
}
