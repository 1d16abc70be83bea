//! Tries what its path and query say, with the interfaces themselves rather than a library above
//! them, and answers what it was told. Parts of a query are parted by `&`; `%XX` is a byte.
//!
//! | path | tries |
//! |---|---|
//! | `/open?FLAGS&PATH` | to open below the first folder: `r` reads the content, `c` creates |
//! | `/hold?N&PATH` | to open a file N times and close none |
//! | `/stat?PATH`, `/unlink?PATH`, `/mkdir?PATH` | what they are called |
//! | `/link?A&B`, `/rename?A&B`, `/symlink?A&B` | what they are called |
//! | `/connect?IP:PORT`, `/connect-many?N&IP:PORT` | TCP |
//! | `/send?IP:PORT` | a datagram |
//! | `/listen?IP:PORT`, `/bind-udp?IP:PORT` | a port |
//! | `/resolve?NAME` | a look-up |
//! | `/header?NAME&VALUE&URL` | a GET with a header |
//! | `/follow?URL` | a GET that goes where it is redirected to |

use std::{fmt::Debug, io::Read as _, net::SocketAddr};

use wasip2::{
    filesystem::{
        preopens::get_directories,
        types::{Descriptor, DescriptorFlags, ErrorCode as FileError, OpenFlags, PathFlags},
    },
    http::{
        outgoing_handler,
        types::{
            Fields, IncomingRequest, IncomingResponse, OutgoingBody, OutgoingRequest,
            ResponseOutparam, Scheme,
        },
    },
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
        let told = act(path.trim_start_matches('/'), &query).unwrap_or_else(|told| told);
        http_answer::text(out, 200, &told);
    }
}

type Told = Result<String, String>;

/// What an interface answers, in its own words.
fn told<T>(result: Result<T, impl Debug>) -> Result<T, String> {
    result.map_err(|error| format!("{error:?}"))
}

fn act(what: &str, query: &str) -> Told {
    let mut parts = query.splitn(if what == "header" { 3 } else { 2 }, '&');
    let mut part = || decoded(parts.next().unwrap_or_default());
    let first = part();
    let folder = || {
        get_directories()
            .into_iter()
            .next()
            .map(|(folder, _)| folder)
    };
    let folder = || folder().ok_or("no folder".to_owned());
    match what {
        "open" => open(&folder()?, &first, &part()),
        "hold" => hold(&folder()?, number(&first), &part()),
        "stat" => told(folder()?.stat_at(PathFlags::SYMLINK_FOLLOW, &first)).map(|_| done()),
        "unlink" => told(folder()?.unlink_file_at(&first)).map(|()| done()),
        "mkdir" => told(folder()?.create_directory_at(&first)).map(|()| done()),
        "link" => {
            let folder = folder()?;
            told(folder.link_at(PathFlags::empty(), &first, &folder, &part())).map(|()| done())
        }
        "rename" => {
            let folder = folder()?;
            told(folder.rename_at(&first, &folder, &part())).map(|()| done())
        }
        "symlink" => told(folder()?.symlink_at(&first, &part())).map(|()| done()),
        "connect" => connect(&first).map(|_| done()),
        "connect-many" => {
            let address = part();
            let mut held = Vec::new();
            for at in 0..number(&first) {
                held.push(connect(&address).map_err(|error| format!("{at}, then {error}"))?);
            }
            Ok(held.len().to_string())
        }
        "send" => send(&first),
        "listen" => {
            let (address, family) = address(&first);
            let socket = told(create_tcp_socket(family))?;
            told(socket.start_bind(&instance_network(), address))?;
            told(socket.finish_bind())?;
            told(socket.start_listen())?;
            told(socket.finish_listen()).map(|()| done())
        }
        "bind-udp" => bind_udp(&first).map(|_| done()),
        "resolve" => resolve(&first),
        "header" => {
            let (value, url) = (part(), part());
            let fields = Fields::new();
            told(fields.append(&first, value.as_bytes()))?;
            text(get(&url, fields)?)
        }
        "follow" => follow(first),
        _ => Ok("ok".into()),
    }
}

fn done() -> String {
    "done".into()
}

fn number(text: &str) -> usize {
    text.parse().expect("a number")
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

fn open_at(folder: &Descriptor, flags: &str, path: &str) -> Result<Descriptor, FileError> {
    let (open, access) = match flags {
        "c" => (OpenFlags::CREATE, DescriptorFlags::WRITE),
        _ => (OpenFlags::empty(), DescriptorFlags::READ),
    };
    folder.open_at(PathFlags::SYMLINK_FOLLOW, path, open, access)
}

fn open(folder: &Descriptor, flags: &str, path: &str) -> Told {
    let file = told(open_at(folder, flags, path))?;
    if flags == "c" {
        return Ok(done());
    }
    let (content, _) = told(file.read(1000, 0))?;
    Ok(String::from_utf8_lossy(&content).into_owned())
}

fn hold(folder: &Descriptor, count: usize, path: &str) -> Told {
    let mut held = Vec::new();
    for at in 0..count {
        held.push(told(open_at(folder, "r", path)).map_err(|error| format!("{at}, then {error}"))?);
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

fn connect(to: &str) -> Result<impl Sized, String> {
    let (address, family) = address(to);
    let socket: TcpSocket = told(create_tcp_socket(family))?;
    told(socket.start_connect(&instance_network(), address))?;
    socket.subscribe().block();
    // Its streams go before it does.
    told(socket.finish_connect()).map(|streams| (streams, socket))
}

fn bind_udp(to: &str) -> Result<UdpSocket, String> {
    let (address, family) = address(to);
    let socket = told(create_udp_socket(family))?;
    told(socket.start_bind(&instance_network(), address))?;
    told(socket.finish_bind()).map(|()| socket)
}

fn send(to: &str) -> Told {
    let (to, family) = address(to);
    let own = match family {
        IpAddressFamily::Ipv4 => "127.0.0.1:0",
        IpAddressFamily::Ipv6 => "[::1]:0",
    };
    let socket = bind_udp(own)?;
    let (_incoming, outgoing) = told(socket.stream(None))?;
    told(outgoing.check_send())?;
    let datagram = OutgoingDatagram {
        data: b"hello".to_vec(),
        remote_address: Some(to),
    };
    told(outgoing.send(&[datagram])).map(|_| done())
}

fn resolve(name: &str) -> Told {
    let stream = told(resolve_addresses(&instance_network(), name))?;
    stream.subscribe().block();
    told(stream.resolve_next_address()).map(|found| format!("{found:?}"))
}

fn get(url: &str, fields: Fields) -> Result<IncomingResponse, String> {
    let rest = url.strip_prefix("http://").ok_or("no URL")?;
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let request = OutgoingRequest::new(fields);
    let set = request
        .set_scheme(Some(&Scheme::Http))
        .and_then(|()| request.set_authority(Some(authority)))
        .and_then(|()| request.set_path_with_query(Some(if path.is_empty() { "/" } else { path })));
    set.map_err(|()| "no authority".to_owned())?;
    let body = request.body().expect("the body is taken once");
    let pending = told(outgoing_handler::handle(request, None))?;
    told(OutgoingBody::finish(body, None))?;
    pending.subscribe().block();
    told(
        pending
            .get()
            .expect("it is ready")
            .expect("it is taken once"),
    )
}

fn text(response: IncomingResponse) -> Told {
    let status = response.status();
    let body = response.consume().expect("the body is taken once");
    let mut text = String::new();
    let mut stream = body.stream().expect("the stream is taken once");
    told(stream.read_to_string(&mut text))?;
    Ok(format!("{status} {text}"))
}

fn follow(url: String) -> Told {
    let mut url = url;
    loop {
        let response = get(&url, Fields::new())?;
        match response.headers().get("location").pop() {
            Some(next) => url = String::from_utf8_lossy(&next).into_owned(),
            None => return text(response),
        }
    }
}
