//! Asks the host for more than it was given, and answers what it was told.
//!
//! | path | asks for |
//! |---|---|
//! | `/http`, `/tcp`, `/udp`, `/dns` | the network; answers the interface's error |
//! | `/files` | files; answers how many folders it has |
//! | `/random?N` | N random bytes in one call |
//! | `/unread?N` | to write N MiB a hundred times to a connection with itself, which it doesn't read; it does not ask how much it may |
//! | `/unasked?N` | to write N bytes to a file; it does not ask how much it may |
//! | `/pass?N` | to pass N bytes to the host in one call |
//! | `/handles?N` | N resources at a time |
//! | `/headers?N` | one header map with N fields |
//! | `/log?N` | N lines of log |
//! | `/lines?N` | to write N bytes to stdout in one call, all of them ends of lines |
//! | `/sleep?MS` | so long a rest |
//! | `/read` | all of the request's body; answers how many bytes, or 400 if it can't be read |

use std::mem;

use wasip2::{
    cli::stdout::get_stdout,
    clocks::monotonic_clock::subscribe_duration,
    filesystem::{
        preopens::get_directories,
        types::{DescriptorFlags, OpenFlags, PathFlags},
    },
    http::{
        outgoing_handler,
        types::{Fields, IncomingRequest, OutgoingRequest, ResponseOutparam, Scheme},
    },
    io::streams::StreamError,
    random::random::get_random_bytes,
    sockets::{
        instance_network::instance_network,
        ip_name_lookup::resolve_addresses,
        network::{ErrorCode, IpAddressFamily, IpSocketAddress, Ipv4SocketAddress},
        tcp_create_socket::create_tcp_socket,
        udp_create_socket::create_udp_socket,
    },
};

wasip2::http::proxy::export!(Probe);

struct Probe;

impl wasip2::exports::http::incoming_handler::Guest for Probe {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let (path, query) = http_answer::path_and_query(&request);
        let number = query.parse().unwrap_or(0);
        let mut status = 200;
        let answer = match path.as_str() {
            "/http" => http(),
            "/tcp" => tcp(),
            "/udp" => udp(),
            "/dns" => dns(),
            "/files" => get_directories().len().to_string(),
            "/random" => get_random_bytes(number).len().to_string(),
            "/unread" => unread(number as usize).unwrap_or_else(|code| format!("{code:?}")),
            "/unasked" => unasked(number as usize),
            "/pass" => pass(number as usize),
            "/handles" => handles(number),
            "/headers" => headers(number),
            "/log" => log(number),
            "/lines" => lines(number as usize),
            "/sleep" => sleep(number),
            "/read" => read(&request).unwrap_or_else(|error| {
                status = 400;
                error
            }),
            _ => "ok".into(),
        };
        http_answer::text(out, status, &answer);
    }
}

fn http() -> String {
    let request = OutgoingRequest::new(Fields::new());
    let set = request
        .set_scheme(Some(&Scheme::Http))
        .and_then(|()| request.set_authority(Some("127.0.0.1:1")))
        .and_then(|()| request.set_path_with_query(Some("/")));
    set.expect("a valid address");
    match outgoing_handler::handle(request, None) {
        Err(code) => format!("{code:?}"),
        Ok(pending) => {
            pending.subscribe().block();
            match pending.get() {
                Some(Ok(Err(code))) => format!("{code:?}"),
                Some(Ok(Ok(response))) => format!("answered {}", response.status()),
                _ => "no answer".into(),
            }
        }
    }
}

fn local(port: u16) -> IpSocketAddress {
    IpSocketAddress::Ipv4(Ipv4SocketAddress {
        port,
        address: (127, 0, 0, 1),
    })
}

fn tcp() -> String {
    let socket = match create_tcp_socket(IpAddressFamily::Ipv4) {
        Ok(socket) => socket,
        Err(code) => return format!("{code:?}"),
    };
    let started = socket.start_connect(&instance_network(), local(1));
    socket.subscribe().block();
    match started.and_then(|()| socket.finish_connect()) {
        Ok(_) => "connected".into(),
        Err(code) => format!("{code:?}"),
    }
}

fn udp() -> String {
    let socket = match create_udp_socket(IpAddressFamily::Ipv4) {
        Ok(socket) => socket,
        Err(code) => return format!("{code:?}"),
    };
    let started = socket.start_bind(&instance_network(), local(0));
    match started.and_then(|()| socket.finish_bind()) {
        Ok(()) => "bound".into(),
        Err(code) => format!("{code:?}"),
    }
}

fn dns() -> String {
    let stream = match resolve_addresses(&instance_network(), "localhost") {
        Ok(stream) => stream,
        Err(code) => return format!("{code:?}"),
    };
    stream.subscribe().block();
    match stream.resolve_next_address() {
        Ok(found) => format!("{found:?}"),
        Err(code) => format!("{code:?}"),
    }
}

fn unread(mib: usize) -> Result<String, ErrorCode> {
    let network = instance_network();
    let listener = create_tcp_socket(IpAddressFamily::Ipv4)?;
    listener.start_bind(&network, local(0))?;
    listener.finish_bind()?;
    listener.start_listen()?;
    listener.finish_listen()?;
    let socket = create_tcp_socket(IpAddressFamily::Ipv4)?;
    socket.start_connect(&network, listener.local_address()?)?;
    socket.subscribe().block();
    let (_incoming, outgoing) = socket.finish_connect()?;
    let bytes = vec![b'x'; mib << 20];
    let written = (0..100).try_for_each(|_| outgoing.write(&bytes));
    Ok(format!("{written:?}"))
}

fn unasked(bytes: usize) -> String {
    let folders = get_directories();
    let (folder, _) = folders.first().expect("a folder");
    let (create, write) = (OpenFlags::CREATE, DescriptorFlags::WRITE);
    let file = folder.open_at(PathFlags::empty(), "unasked", create, write);
    let stream = file.and_then(|file| file.write_via_stream(0));
    let written = stream.map(|stream| stream.write(&vec![b'x'; bytes]));
    format!("{written:?}")
}

fn pass(bytes: usize) -> String {
    let passed = Fields::new().append("x-large", &vec![b'x'; bytes]);
    format!("{passed:?}")
}

fn handles(count: u64) -> String {
    for _ in 0..count {
        mem::forget(subscribe_duration(u64::MAX / 2));
    }
    count.to_string()
}

fn headers(count: u64) -> String {
    let fields = Fields::new();
    for at in 0..count {
        if let Err(error) = fields.append(&format!("x-{at}"), b"value") {
            return format!("{error:?} at {at}");
        }
    }
    count.to_string()
}

fn log(lines: u64) -> String {
    (0..lines).for_each(|at| println!("line {at}"));
    lines.to_string()
}

fn lines(bytes: usize) -> String {
    let written = get_stdout().write(&vec![b'\n'; bytes]);
    format!("{written:?}")
}

fn sleep(milliseconds: u64) -> String {
    subscribe_duration(milliseconds * 1_000_000).block();
    milliseconds.to_string()
}

fn read(request: &IncomingRequest) -> Result<String, String> {
    let body = request.consume().expect("the body is taken once");
    let stream = body.stream().expect("the stream is taken once");
    let mut read = 0;
    loop {
        match stream.blocking_read(64 * 1024) {
            Ok(bytes) => read += bytes.len(),
            Err(StreamError::Closed) => return Ok(read.to_string()),
            Err(StreamError::LastOperationFailed(error)) => return Err(error.to_debug_string()),
        }
    }
}
