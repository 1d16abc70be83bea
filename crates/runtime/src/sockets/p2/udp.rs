//! `wasi:sockets/udp@0.2` and `udp-create-socket`.
#![allow(
    unreachable_pub,
    reason = "generated code names these types as if they were public"
)]

use std::{net::SocketAddr, sync::Arc};

use bytes::Bytes;
use wasmtime::component::Resource;
use wasmtime_wasi_io::poll::{DynPollable, Pollable, subscribe};

use super::{
    Network,
    bindings::wasi::sockets::{
        network::{IpAddressFamily, IpSocketAddress},
        udp::{
            Host, HostIncomingDatagramStream, HostOutgoingDatagramStream, HostUdpSocket,
            IncomingDatagram, OutgoingDatagram,
        },
        udp_create_socket,
    },
    family, is_v6,
};
use crate::sockets::{
    Sockets,
    error::{Code, SocketResult, positive},
    options::options,
    udp::{Bound, UdpSocket},
};

/// Datagrams in one call.
const DATAGRAMS: usize = 64;

/// What arrives at a socket.
pub struct Arriving(Arc<Bound>, Option<SocketAddr>);

/// What leaves a socket.
pub struct Leaving(Arc<Bound>, Option<SocketAddr>);

#[async_trait::async_trait]
impl Pollable for UdpSocket {
    async fn ready(&mut self) {}
}

#[async_trait::async_trait]
impl Pollable for Arriving {
    async fn ready(&mut self) {
        self.0.ready().await;
    }
}

#[async_trait::async_trait]
impl Pollable for Leaving {
    async fn ready(&mut self) {}
}

impl Sockets<'_> {
    fn udp(&mut self, socket: &Resource<UdpSocket>) -> SocketResult<&mut UdpSocket> {
        Ok(self.0.table().get_mut(socket)?)
    }
}

impl Host for Sockets<'_> {}

impl udp_create_socket::Host for Sockets<'_> {
    fn create_udp_socket(&mut self, family: IpAddressFamily) -> SocketResult<Resource<UdpSocket>> {
        let socket = UdpSocket::new(self.0.net().clone(), is_v6(family));
        Ok(self.0.table().push(socket)?)
    }
}

impl HostUdpSocket for Sockets<'_> {
    fn start_bind(
        &mut self,
        this: Resource<UdpSocket>,
        network: Resource<Network>,
        address: IpSocketAddress,
    ) -> SocketResult<()> {
        self.0.table().get(&network)?;
        Ok(self.udp(&this)?.bind(address.into())?)
    }

    fn finish_bind(&mut self, this: Resource<UdpSocket>) -> SocketResult<()> {
        match self.udp(&this)?.bound {
            Some(_) => Ok(()),
            None => Err(Code::NotInProgress.into()),
        }
    }

    fn stream(
        &mut self,
        this: Resource<UdpSocket>,
        remote: Option<IpSocketAddress>,
    ) -> SocketResult<(Resource<Arriving>, Resource<Leaving>)> {
        let socket = self.udp(&this)?;
        let bound = socket.bound.clone().ok_or(Code::InvalidState)?;
        socket.connect(remote.map(SocketAddr::from))?;
        let remote = socket.remote;
        let table = self.0.table();
        Ok((
            table.push_child(Arriving(bound.clone(), remote), &this)?,
            table.push_child(Leaving(bound, remote), &this)?,
        ))
    }

    fn local_address(&mut self, this: Resource<UdpSocket>) -> SocketResult<IpSocketAddress> {
        Ok(self.udp(&this)?.local_address()?.into())
    }

    fn remote_address(&mut self, this: Resource<UdpSocket>) -> SocketResult<IpSocketAddress> {
        let remote = self.udp(&this)?.remote.ok_or(Code::InvalidState)?;
        Ok(remote.into())
    }

    fn address_family(&mut self, this: Resource<UdpSocket>) -> wasmtime::Result<IpAddressFamily> {
        Ok(family(self.0.table().get(&this)?.is_v6()))
    }

    options! { UdpSocket, udp:
        unicast_hop_limit set_unicast_hop_limit hop_limit: u8;
        receive_buffer_size set_receive_buffer_size receive_buffer: u64;
        send_buffer_size set_send_buffer_size send_buffer: u64;
    }

    fn subscribe(&mut self, this: Resource<UdpSocket>) -> wasmtime::Result<Resource<DynPollable>> {
        subscribe(self.0.table(), this)
    }

    fn drop(&mut self, this: Resource<UdpSocket>) -> wasmtime::Result<()> {
        self.0.table().delete(this)?;
        Ok(())
    }
}

impl HostIncomingDatagramStream for Sockets<'_> {
    fn receive(
        &mut self,
        this: Resource<Arriving>,
        most: u64,
    ) -> SocketResult<Vec<IncomingDatagram>> {
        let Arriving(bound, only) = self.0.table().get(&this)?;
        let most = usize::try_from(most).unwrap_or(DATAGRAMS).min(DATAGRAMS);
        let taken = bound.take(most, *only).into_iter();
        Ok(taken
            .map(|(from, data)| IncomingDatagram {
                data: data.into(),
                remote_address: from.into(),
            })
            .collect())
    }

    fn subscribe(&mut self, this: Resource<Arriving>) -> wasmtime::Result<Resource<DynPollable>> {
        subscribe(self.0.table(), this)
    }

    fn drop(&mut self, this: Resource<Arriving>) -> wasmtime::Result<()> {
        self.0.table().delete(this)?;
        Ok(())
    }
}

impl HostOutgoingDatagramStream for Sockets<'_> {
    fn check_send(&mut self, _: Resource<Leaving>) -> SocketResult<u64> {
        Ok(DATAGRAMS as u64)
    }

    fn send(
        &mut self,
        this: Resource<Leaving>,
        datagrams: Vec<OutgoingDatagram>,
    ) -> SocketResult<u64> {
        let Leaving(bound, remote) = self.0.table().get(&this)?;
        let mut sent = 0;
        for datagram in datagrams.into_iter().take(DATAGRAMS) {
            let to = match (datagram.remote_address.map(SocketAddr::from), *remote) {
                (Some(to), Some(remote)) if to != remote => Err(Code::InvalidArgument),
                (Some(to), _) | (None, Some(to)) => Ok(to),
                (None, None) => Err(Code::InvalidArgument),
            };
            match to.and_then(|to| bound.send(to, Bytes::from(datagram.data))) {
                Ok(()) => sent += 1,
                // What was sent before is told first.
                Err(_) if sent > 0 => break,
                Err(code) => return Err(code.into()),
            }
        }
        Ok(sent)
    }

    fn subscribe(&mut self, this: Resource<Leaving>) -> wasmtime::Result<Resource<DynPollable>> {
        subscribe(self.0.table(), this)
    }

    fn drop(&mut self, this: Resource<Leaving>) -> wasmtime::Result<()> {
        self.0.table().delete(this)?;
        Ok(())
    }
}
