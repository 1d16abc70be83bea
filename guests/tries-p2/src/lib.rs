//! Tries what its path and query say, with the interfaces of WASI 0.2 themselves rather than a library
//! above them, and answers what it was told. The crate `tries` says what there is to try.

use std::{
    io::Read as _,
    net::SocketAddr,
    pin::pin,
    task::{Context, Poll, Waker},
};

use tries::{Open, Told, Wasi, told};
use wasip2::{
    filesystem::{
        preopens::get_directories,
        types::{Descriptor, DescriptorFlags, DirectoryEntryStream, OpenFlags, PathFlags},
    },
    http::{
        outgoing_handler,
        types::{
            Fields, IncomingRequest, IncomingResponse, OutgoingBody, OutgoingRequest,
            ResponseOutparam, Scheme,
        },
    },
    io::streams::{InputStream, OutputStream},
    sockets::{
        instance_network::instance_network,
        ip_name_lookup::resolve_addresses,
        network::{IpAddressFamily, IpSocketAddress, Ipv4SocketAddress, Ipv6SocketAddress},
        tcp::TcpSocket,
        tcp_create_socket::create_tcp_socket,
        udp::{OutgoingDatagram, UdpSocket},
        udp_create_socket::create_udp_socket,
    },
};

wasip2::http::proxy::export!(Tries);

struct Tries;

impl wasip2::exports::http::incoming_handler::Guest for Tries {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let (path, query) = http_answer::path_and_query(&request);
        let answer = pin!(tries::answer::<Self>(&path, &query));
        match answer.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(told) => http_answer::text(out, 200, &told),
            Poll::Pending => unreachable!("calls of 0.2 return when they are done"),
        }
    }
}

impl Wasi for Tries {
    type File = Descriptor;
    type Listing = DirectoryEntryStream;
    type Appending = OutputStream;
    /// Its streams go before it does.
    type Connection = ((InputStream, OutputStream), TcpSocket);
    type Response = IncomingResponse;

    fn folder() -> Option<Descriptor> {
        let folders = get_directories();
        folders.into_iter().next().map(|(folder, _)| folder)
    }

    async fn open(folder: &Descriptor, path: &str, how: Open) -> Told<Descriptor> {
        let new = OpenFlags::CREATE | OpenFlags::EXCLUSIVE;
        let (open, access) = match how {
            Open::Read => (OpenFlags::empty(), DescriptorFlags::READ),
            Open::Create => (OpenFlags::CREATE, DescriptorFlags::WRITE),
            Open::New => (new, DescriptorFlags::WRITE),
        };
        told(folder.open_at(PathFlags::SYMLINK_FOLLOW, path, open, access))
    }

    async fn read(file: &Descriptor) -> Told<Vec<u8>> {
        told(file.read(1000, 0)).map(|(content, _)| content)
    }

    async fn write(file: &Descriptor, data: Vec<u8>, at_end: bool) -> Told<()> {
        let at = match at_end {
            true => told(file.stat())?.size,
            false => 0,
        };
        told(file.write(&data, at)).map(drop)
    }

    async fn list(folder: &Descriptor) -> Told<DirectoryEntryStream> {
        let listing = told(folder.read_directory())?;
        told(listing.read_directory_entry()).map(|_| listing)
    }

    async fn append(file: &Descriptor) -> Told<OutputStream> {
        told(file.append_via_stream())
    }

    async fn set_size(file: &Descriptor, size: u64) -> Told<()> {
        told(file.set_size(size))
    }

    async fn stat(folder: &Descriptor, path: &str) -> Told<()> {
        told(folder.stat_at(PathFlags::SYMLINK_FOLLOW, path)).map(drop)
    }

    async fn unlink(folder: &Descriptor, path: &str) -> Told<()> {
        told(folder.unlink_file_at(path))
    }

    async fn mkdir(folder: &Descriptor, path: &str) -> Told<()> {
        told(folder.create_directory_at(path))
    }

    async fn link(folder: &Descriptor, old: &str, new: &str) -> Told<()> {
        told(folder.link_at(PathFlags::empty(), old, folder, new))
    }

    async fn rename(folder: &Descriptor, old: &str, new: &str) -> Told<()> {
        told(folder.rename_at(old, folder, new))
    }

    async fn symlink(folder: &Descriptor, old: &str, new: &str) -> Told<()> {
        told(folder.symlink_at(old, new))
    }

    async fn connect(to: SocketAddr) -> Told<Self::Connection> {
        let (address, family) = address(to);
        let socket = told(create_tcp_socket(family))?;
        told(socket.start_connect(&instance_network(), address))?;
        socket.subscribe().block();
        told(socket.finish_connect()).map(|streams| (streams, socket))
    }

    async fn send(to: SocketAddr, data: Vec<u8>) -> Told<()> {
        let own: SocketAddr = match to {
            SocketAddr::V4(_) => ([127, 0, 0, 1], 0).into(),
            SocketAddr::V6(_) => ([0, 0, 0, 0, 0, 0, 0, 1u16], 0).into(),
        };
        let socket = bind_udp(own)?;
        let (_incoming, outgoing) = told(socket.stream(None))?;
        told(outgoing.check_send())?;
        let datagram = OutgoingDatagram {
            data,
            remote_address: Some(address(to).0),
        };
        told(outgoing.send(&[datagram])).map(drop)
    }

    async fn listen(at: SocketAddr) -> Told<()> {
        let (address, family) = address(at);
        let socket = told(create_tcp_socket(family))?;
        told(socket.start_bind(&instance_network(), address))?;
        told(socket.finish_bind())?;
        told(socket.start_listen())?;
        told(socket.finish_listen())
    }

    async fn bind_udp(at: SocketAddr) -> Told<()> {
        bind_udp(at).map(drop)
    }

    async fn resolve(name: &str) -> Told {
        let stream = told(resolve_addresses(&instance_network(), name))?;
        stream.subscribe().block();
        told(stream.resolve_next_address()).map(|found| format!("{found:?}"))
    }

    async fn get(
        authority: &str,
        path: &str,
        header: Option<(&str, &str)>,
    ) -> Told<IncomingResponse> {
        let fields = Fields::new();
        if let Some((name, value)) = header {
            told(fields.append(name, value.as_bytes()))?;
        }
        let request = OutgoingRequest::new(fields);
        let set = request
            .set_scheme(Some(&Scheme::Http))
            .and_then(|()| request.set_authority(Some(authority)))
            .and_then(|()| request.set_path_with_query(Some(path)));
        set.map_err(|()| "no authority".to_owned())?;
        let body = request.body().expect("the body is taken once");
        let pending = told(outgoing_handler::handle(request, None))?;
        told(OutgoingBody::finish(body, None))?;
        pending.subscribe().block();
        let response = pending.get().expect("it is ready");
        told(response.expect("it is taken once"))
    }

    fn location(response: &IncomingResponse) -> Option<Vec<u8>> {
        response.headers().get("location").pop()
    }

    fn status(response: &IncomingResponse) -> u16 {
        response.status()
    }

    async fn body(response: IncomingResponse) -> Told<Vec<u8>> {
        let body = response.consume().expect("the body is taken once");
        let mut stream = body.stream().expect("the stream is taken once");
        let mut bytes = Vec::new();
        told(stream.read_to_end(&mut bytes)).map(|_| bytes)
    }
}

fn address(address: SocketAddr) -> (IpSocketAddress, IpAddressFamily) {
    match address {
        SocketAddr::V4(v4) => {
            let [a, b, c, d] = v4.ip().octets();
            let (port, address) = (v4.port(), (a, b, c, d));
            let address = Ipv4SocketAddress { port, address };
            (IpSocketAddress::Ipv4(address), IpAddressFamily::Ipv4)
        }
        SocketAddr::V6(v6) => {
            let [a, b, c, d, e, f, g, h] = v6.ip().segments();
            let address = Ipv6SocketAddress {
                port: v6.port(),
                flow_info: 0,
                address: (a, b, c, d, e, f, g, h),
                scope_id: 0,
            };
            (IpSocketAddress::Ipv6(address), IpAddressFamily::Ipv6)
        }
    }
}

fn bind_udp(at: SocketAddr) -> Told<UdpSocket> {
    let (address, family) = address(at);
    let socket = told(create_udp_socket(family))?;
    told(socket.start_bind(&instance_network(), address))?;
    told(socket.finish_bind()).map(|()| socket)
}
