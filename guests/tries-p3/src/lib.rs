//! What `tries-p2` tries, by WASI 0.3. The crate `tries` says what there is to try.

use std::net::SocketAddr;

use tries::{Open, Told, Wasi, told};
use wasip3::{
    filesystem::{
        preopens::get_directories,
        types::{Descriptor, DescriptorFlags, DirectoryEntry, OpenFlags, PathFlags},
    },
    http::{
        client,
        types::{ErrorCode, Fields, Request, Response, Scheme},
    },
    sockets::{
        ip_name_lookup::resolve_addresses,
        types::{
            IpAddressFamily, IpSocketAddress, Ipv4SocketAddress, Ipv6SocketAddress, TcpSocket,
            UdpSocket,
        },
    },
    wit_bindgen::{StreamReader, StreamWriter},
    wit_future, wit_stream,
};

wasip3::http::service::export!(Tries);

struct Tries;

impl wasip3::exports::http::handler::Guest for Tries {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let (path, query) = http_answer_async::path_and_query(&request);
        let told = tries::answer::<Self>(&path, &query).await;
        Ok(http_answer_async::text(told))
    }
}

impl Wasi for Tries {
    type File = Descriptor;
    type Listing = StreamReader<DirectoryEntry>;
    type Appending = StreamWriter<u8>;
    type Connection = TcpSocket;
    type Response = Response;

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
        let follow = PathFlags::SYMLINK_FOLLOW;
        told(folder.open_at(follow, path.into(), open, access).await)
    }

    async fn read(file: &Descriptor) -> Told<Vec<u8>> {
        let (content, end) = file.read_via_stream(0);
        let content = content.collect().await;
        told(end.await).map(|()| content)
    }

    async fn write(file: &Descriptor, bytes: Vec<u8>, at_end: bool) -> Told<()> {
        let (mut data, reader) = wit_stream::new();
        let written = match at_end {
            true => file.append_via_stream(reader),
            false => file.write_via_stream(reader, 0),
        };
        let _ = data.write_all(bytes).await;
        drop(data);
        told(written.await)
    }

    async fn list(folder: &Descriptor) -> Told<StreamReader<DirectoryEntry>> {
        let (mut listing, end) = folder.read_directory();
        match listing.next().await {
            Some(_) => Ok(listing),
            None => told(end.await).map(|()| listing),
        }
    }

    async fn append(file: &Descriptor) -> Told<StreamWriter<u8>> {
        let (mut data, reader) = wit_stream::new();
        let end = file.append_via_stream(reader);
        match data.write_one(b'x').await {
            None => Ok(data),
            Some(_) => told(end.await).map(|()| data),
        }
    }

    async fn set_size(file: &Descriptor, size: u64) -> Told<()> {
        told(file.set_size(size).await)
    }

    async fn stat(folder: &Descriptor, path: &str) -> Told<()> {
        let follow = PathFlags::SYMLINK_FOLLOW;
        told(folder.stat_at(follow, path.into()).await).map(drop)
    }

    async fn unlink(folder: &Descriptor, path: &str) -> Told<()> {
        told(folder.unlink_file_at(path.into()).await)
    }

    async fn mkdir(folder: &Descriptor, path: &str) -> Told<()> {
        told(folder.create_directory_at(path.into()).await)
    }

    async fn link(folder: &Descriptor, old: &str, new: &str) -> Told<()> {
        let none = PathFlags::empty();
        told(folder.link_at(none, old.into(), folder, new.into()).await)
    }

    async fn rename(folder: &Descriptor, old: &str, new: &str) -> Told<()> {
        told(folder.rename_at(old.into(), folder, new.into()).await)
    }

    async fn symlink(folder: &Descriptor, old: &str, new: &str) -> Told<()> {
        told(folder.symlink_at(old.into(), new.into()).await)
    }

    async fn connect(to: SocketAddr) -> Told<TcpSocket> {
        let (address, family) = address(to);
        let socket = told(TcpSocket::create(family))?;
        told(socket.connect(address).await).map(|()| socket)
    }

    async fn send(to: SocketAddr, data: Vec<u8>) -> Told<()> {
        let (address, family) = address(to);
        let socket = told(UdpSocket::create(family))?;
        told(socket.send(data, Some(address)).await)
    }

    async fn listen(at: SocketAddr) -> Told<()> {
        let (address, family) = address(at);
        let socket = told(TcpSocket::create(family))?;
        told(socket.bind(address))?;
        told(socket.listen()).map(drop)
    }

    async fn bind_udp(at: SocketAddr) -> Told<()> {
        let (address, family) = address(at);
        let socket = told(UdpSocket::create(family))?;
        told(socket.bind(address))
    }

    async fn resolve(name: &str) -> Told {
        let found = resolve_addresses(name.into()).await;
        told(found).map(|found| format!("{found:?}"))
    }

    async fn get(authority: &str, path: &str, header: Option<(&str, &str)>) -> Told<Response> {
        let fields = Fields::new();
        if let Some((name, value)) = header {
            told(fields.append(name, value.as_bytes()))?;
        }
        let (trailers, trailers_reader) = wit_future::new(|| Ok(None));
        let (request, _sent) = Request::new(fields, None, trailers_reader, None);
        drop(trailers);
        let set = request
            .set_scheme(Some(&Scheme::Http))
            .and_then(|()| request.set_authority(Some(authority)))
            .and_then(|()| request.set_path_with_query(Some(path)));
        set.map_err(|()| "no authority".to_owned())?;
        told(client::send(request).await)
    }

    fn location(response: &Response) -> Option<Vec<u8>> {
        response.get_headers().get("location").pop()
    }

    fn status(response: &Response) -> u16 {
        response.get_status_code()
    }

    async fn body(response: Response) -> Told<Vec<u8>> {
        let (done, done_reader) = wit_future::new(|| Ok(()));
        let (contents, _trailers) = Response::consume_body(response, done_reader);
        drop(done);
        Ok(contents.collect().await)
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
