//! What `tries-p2` tries, by WASI 0.3: its paths, without `/connect-many`; and `/write?PATH&N`,
//! which writes N bytes to a new file or to the end of an old one, and `/size?PATH&N`.

use std::{fmt::Debug, net::SocketAddr};

use wasip3::{
    filesystem::{
        preopens::get_directories,
        types::{Descriptor, DescriptorFlags, ErrorCode as FileError, OpenFlags, PathFlags},
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
    wit_bindgen, wit_future, wit_stream,
};

wasip3::http::service::export!(Tries);

struct Tries;

impl wasip3::exports::http::handler::Guest for Tries {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let target = request.get_path_with_query().unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let told = act(path.trim_start_matches('/'), query).await;
        let text = told.unwrap_or_else(|told| told);
        let (mut body, reader) = wit_stream::new();
        let (trailers, trailers_reader) = wit_future::new(|| Ok(None));
        let (response, _sent) = Response::new(Fields::new(), Some(reader), trailers_reader);
        drop(trailers);
        wit_bindgen::spawn_local(async move {
            let _ = body.write_all(text.into_bytes()).await;
        });
        Ok(response)
    }
}

type Told = Result<String, String>;

/// What an interface answers, in its own words.
fn told<T>(result: Result<T, impl Debug>) -> Result<T, String> {
    result.map_err(|error| format!("{error:?}"))
}

async fn act(what: &str, query: &str) -> Told {
    let mut parts = query.splitn(if what == "header" { 3 } else { 2 }, '&');
    let mut part = || decoded(parts.next().unwrap_or_default());
    let (first, follow) = (part(), PathFlags::SYMLINK_FOLLOW);
    let folder = || {
        get_directories()
            .into_iter()
            .next()
            .map(|(folder, _)| folder)
    };
    let folder = || folder().ok_or("no folder".to_owned());
    match what {
        "open" => open(&folder()?, &first, part()).await,
        "hold" => hold(&folder()?, first.parse().expect("a number"), &part()).await,
        "stat" => told(folder()?.stat_at(follow, first).await).map(|_| done()),
        "unlink" => told(folder()?.unlink_file_at(first).await).map(|()| done()),
        "mkdir" => told(folder()?.create_directory_at(first).await).map(|()| done()),
        "link" => {
            let (folder, none) = (folder()?, PathFlags::empty());
            told(folder.link_at(none, first, &folder, part()).await).map(|()| done())
        }
        "rename" => {
            let folder = folder()?;
            told(folder.rename_at(first, &folder, part()).await).map(|()| done())
        }
        "size" => {
            let file = told(open_at(&folder()?, "c", first).await)?;
            let size = part().parse().expect("a number");
            told(file.set_size(size).await).map(|()| done())
        }
        "write" => write(&folder()?, first, part()).await,
        "symlink" => told(folder()?.symlink_at(first, part()).await).map(|()| done()),
        "connect" => {
            let (address, family) = address(&first);
            let socket = told(TcpSocket::create(family))?;
            told(socket.connect(address).await).map(|()| done())
        }
        "send" => {
            let (address, family) = address(&first);
            let socket = told(UdpSocket::create(family))?;
            told(socket.send(b"hello".to_vec(), Some(address)).await).map(|()| done())
        }
        "listen" => {
            let (address, family) = address(&first);
            let socket = told(TcpSocket::create(family))?;
            told(socket.bind(address))?;
            told(socket.listen()).map(|_| done())
        }
        "bind-udp" => {
            let (address, family) = address(&first);
            let socket = told(UdpSocket::create(family))?;
            told(socket.bind(address)).map(|()| done())
        }
        "resolve" => told(resolve_addresses(first).await).map(|found| format!("{found:?}")),
        "header" => {
            let (value, url) = (part(), part());
            let fields = Fields::new();
            told(fields.append(&first, value.as_bytes()))?;
            text(get(&url, fields).await?).await
        }
        "follow" => {
            let mut url = first;
            loop {
                let response = get(&url, Fields::new()).await?;
                let location = response.get_headers().get("location").pop();
                match location {
                    Some(next) => url = String::from_utf8_lossy(&next).into_owned(),
                    None => return text(response).await,
                }
            }
        }
        _ => Ok("ok".into()),
    }
}

fn done() -> String {
    "done".into()
}

fn decoded(text: &str) -> String {
    let mut parts = text.split('%');
    let mut all = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let byte = u8::from_str_radix(&part[..2], 16).expect("two digits");
        all.push(char::from(byte));
        all.push_str(&part[2..]);
    }
    all
}

async fn open_at(folder: &Descriptor, flags: &str, path: String) -> Result<Descriptor, FileError> {
    let (open, access) = match flags {
        "c" => (OpenFlags::CREATE, DescriptorFlags::WRITE),
        _ => (OpenFlags::empty(), DescriptorFlags::READ),
    };
    let follow = PathFlags::SYMLINK_FOLLOW;
    folder.open_at(follow, path, open, access).await
}

async fn open(folder: &Descriptor, flags: &str, path: String) -> Told {
    let file = told(open_at(folder, flags, path).await)?;
    if flags == "c" {
        return Ok(done());
    }
    let (content, end) = file.read_via_stream(0);
    let content = content.collect().await;
    told(end.await)?;
    Ok(String::from_utf8_lossy(&content).into_owned())
}

/// Writes so many bytes to a new file, or to the end of one that is there.
async fn write(folder: &Descriptor, path: String, count: String) -> Told {
    let count = count.parse().expect("a number");
    let is_there = folder
        .stat_at(PathFlags::SYMLINK_FOLLOW, path.clone())
        .await;
    let file = told(open_at(folder, "c", path).await)?;
    let (mut data, reader) = wit_stream::new();
    let written = match is_there {
        Ok(_) => file.append_via_stream(reader),
        Err(_) => file.write_via_stream(reader, 0),
    };
    let _ = data.write_all(vec![b'x'; count]).await;
    drop(data);
    told(written.await).map(|()| done())
}

async fn hold(folder: &Descriptor, count: usize, path: &str) -> Told {
    let mut held = Vec::new();
    for at in 0..count {
        let opened = told(open_at(folder, "r", path.to_owned()).await);
        held.push(opened.map_err(|error| format!("{at}, then {error}"))?);
    }
    Ok(held.len().to_string())
}

fn address(text: &str) -> (IpSocketAddress, IpAddressFamily) {
    match text.parse().expect("an address") {
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

async fn get(url: &str, fields: Fields) -> Result<Response, String> {
    let rest = url.strip_prefix("http://").ok_or("no URL")?;
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (trailers, trailers_reader) = wit_future::new(|| Ok(None));
    let (request, _sent) = Request::new(fields, None, trailers_reader, None);
    drop(trailers);
    let path = if path.is_empty() { "/" } else { path };
    let set = request
        .set_scheme(Some(&Scheme::Http))
        .and_then(|()| request.set_authority(Some(authority)))
        .and_then(|()| request.set_path_with_query(Some(path)));
    set.map_err(|()| "no authority".to_owned())?;
    told(client::send(request).await)
}

async fn text(response: Response) -> Told {
    let status = response.get_status_code();
    let (done, done_reader) = wit_future::new(|| Ok(()));
    let (contents, _trailers) = Response::consume_body(response, done_reader);
    drop(done);
    let bytes = contents.collect().await;
    Ok(format!("{status} {}", String::from_utf8_lossy(&bytes)))
}
