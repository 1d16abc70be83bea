//! The resource `udp-socket` of `wasi:sockets/types@0.3`.

use std::net::SocketAddr;

use bytes::Bytes;
use wasmtime::component::{Accessor, Resource};

use super::{
    bindings::wasi::sockets::types::{
        HostUdpSocket, HostUdpSocketWithStore, IpAddressFamily, IpSocketAddress,
    },
    family, is_v6,
};
use crate::{
    Ctx,
    sockets::{
        Getter, Sockets,
        error::{Code, SocketResult, positive},
        options::options,
        udp::UdpSocket,
    },
};

impl Sockets<'_> {
    fn udp_socket(&mut self, socket: &Resource<UdpSocket>) -> SocketResult<&mut UdpSocket> {
        Ok(self.0.table().get_mut(socket)?)
    }
}

impl HostUdpSocketWithStore<Ctx> for Getter {
    async fn send(
        accessor: &Accessor<Ctx, Self>,
        this: Resource<UdpSocket>,
        data: Vec<u8>,
        to: Option<IpSocketAddress>,
    ) -> SocketResult<()> {
        accessor.with(|mut store| {
            let mut sockets = store.get();
            let socket = sockets.udp_socket(&this)?;
            let to = match (to.map(SocketAddr::from), socket.remote) {
                (Some(to), Some(remote)) if to != remote => {
                    return Err(Code::InvalidArgument.into());
                }
                (Some(to), _) | (None, Some(to)) => to,
                (None, None) => return Err(Code::InvalidArgument.into()),
            };
            Ok(socket.bound_or_any()?.send(to, Bytes::from(data))?)
        })
    }

    async fn receive(
        accessor: &Accessor<Ctx, Self>,
        this: Resource<UdpSocket>,
    ) -> SocketResult<(Vec<u8>, IpSocketAddress)> {
        let (bound, only) = accessor.with(|mut store| -> SocketResult<_> {
            let mut sockets = store.get();
            let socket = sockets.udp_socket(&this)?;
            Ok((
                socket.bound.clone().ok_or(Code::InvalidState)?,
                socket.remote,
            ))
        })?;
        let (from, data) = bound.receive(only).await;
        Ok((data.into(), from.into()))
    }
}

impl HostUdpSocket for Sockets<'_> {
    fn create(&mut self, family: IpAddressFamily) -> SocketResult<Resource<UdpSocket>> {
        let socket = UdpSocket::new(self.0.net().clone(), is_v6(family));
        Ok(self.0.table().push(socket)?)
    }

    fn bind(&mut self, this: Resource<UdpSocket>, address: IpSocketAddress) -> SocketResult<()> {
        Ok(self.udp_socket(&this)?.bind(address.into())?)
    }

    fn connect(&mut self, this: Resource<UdpSocket>, address: IpSocketAddress) -> SocketResult<()> {
        let socket = self.udp_socket(&this)?;
        socket.bound_or_any()?;
        Ok(socket.connect(Some(address.into()))?)
    }

    fn disconnect(&mut self, this: Resource<UdpSocket>) -> SocketResult<()> {
        let socket = self.udp_socket(&this)?;
        if socket.remote.is_none() {
            return Err(Code::InvalidState.into());
        }
        Ok(socket.connect(None)?)
    }

    fn get_local_address(&mut self, this: Resource<UdpSocket>) -> SocketResult<IpSocketAddress> {
        Ok(self.udp_socket(&this)?.local_address()?.into())
    }

    fn get_remote_address(&mut self, this: Resource<UdpSocket>) -> SocketResult<IpSocketAddress> {
        let remote = self.udp_socket(&this)?.remote;
        Ok(remote.ok_or(Code::InvalidState)?.into())
    }

    fn get_address_family(
        &mut self,
        this: Resource<UdpSocket>,
    ) -> wasmtime::Result<IpAddressFamily> {
        Ok(family(self.0.table().get(&this)?.is_v6()))
    }

    options! { UdpSocket, udp_socket:
        get_unicast_hop_limit set_unicast_hop_limit hop_limit: u8;
        get_receive_buffer_size set_receive_buffer_size receive_buffer: u64;
        get_send_buffer_size set_send_buffer_size send_buffer: u64;
    }

    fn drop(&mut self, this: Resource<UdpSocket>) -> wasmtime::Result<()> {
        self.0.table().delete(this)?;
        Ok(())
    }
}
