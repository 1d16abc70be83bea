//! Talks over the network within its workload, with nothing but Rust's standard library.
//!
//! | path | does |
//! |---|---|
//! | `/tcp/ADDRESS?TEXT` | sends a line, answers the line that comes back |
//! | `/large/ADDRESS?N` | sends N bytes of lines and reads as many at a time |
//! | `/pieces/ADDRESS?N` | sends N bytes, each by itself; answers how many it was |
//! | `/upload/ADDRESS` | sends, without ever waiting, all that is taken; answers how many bytes it was |
//! | `/udp/ADDRESS?TEXT` | sends a datagram, answers the one that comes back |
//! | `/listen/ADDRESS`, `/bind/ADDRESS` | listens (TCP), binds (UDP) |
//! | `/look-up/NAME` | answers the addresses of a name |

use std::{
    io::{self, BufRead, BufReader, Write},
    net::{Shutdown, TcpListener, TcpStream, ToSocketAddrs, UdpSocket},
};

use wasip2::http::types::{IncomingRequest, ResponseOutparam};

wasip2::http::proxy::export!(Client);

struct Client;

impl wasip2::exports::http::incoming_handler::Guest for Client {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let (path, query) = http_answer::path_and_query(&request);
        let mut parts = path.trim_start_matches('/').splitn(2, '/');
        let (what, address) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
        let answer = match what {
            "tcp" => tcp(address, &query),
            "large" => large(address, query.parse().unwrap_or(0)),
            "pieces" => pieces(address, query.parse().unwrap_or(0)),
            "upload" => upload(address),
            "udp" => udp(address, &query),
            "listen" => TcpListener::bind(address).map(|_| "listening".into()),
            "bind" => UdpSocket::bind(address).map(|_| "bound".into()),
            "look-up" => look_up(address),
            _ => Ok("ok".into()),
        };
        let answer = answer.unwrap_or_else(|error| format!("{:?}", error.kind()));
        http_answer::text(out, 200, &answer);
    }
}

fn tcp(address: &str, text: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(format!("{text}\n").as_bytes())?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    Ok(line.trim_end().to_owned())
}

fn large(address: &str, bytes: usize) -> io::Result<String> {
    let mut stream = BufReader::new(TcpStream::connect(address)?);
    let line = [b"x".repeat(999), b"\n".to_vec()].concat();
    let mut came = 0;
    let mut back = Vec::new();
    for _ in 0..bytes / line.len() {
        stream.get_mut().write_all(&line)?;
        back.clear();
        came += stream.read_until(b'\n', &mut back)?;
    }
    Ok(came.to_string())
}

fn pieces(address: &str, bytes: usize) -> io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    for _ in 0..bytes {
        stream.write_all(b"x")?;
    }
    Ok(bytes.to_string())
}

fn upload(address: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nonblocking(true)?;
    let piece = vec![b'x'; 64 << 10];
    let mut sent = 0;
    let end = loop {
        match stream.write(&piece) {
            Ok(length) => sent += length,
            Err(error) => break error,
        }
    };
    if end.kind() != io::ErrorKind::WouldBlock {
        return Err(end);
    }
    stream.shutdown(Shutdown::Write)?;
    Ok(sent.to_string())
}

fn udp(address: &str, text: &str) -> io::Result<String> {
    let socket = UdpSocket::bind(if address.starts_with('[') {
        "[::1]:0"
    } else {
        "127.0.0.1:0"
    })?;
    socket.send_to(text.as_bytes(), address)?;
    let mut datagram = [0; 2048];
    let (length, from) = socket.recv_from(&mut datagram)?;
    let text = String::from_utf8_lossy(&datagram[..length]);
    Ok(format!("{text} from {from}"))
}

fn look_up(name: &str) -> io::Result<String> {
    let addresses = (name, 0).to_socket_addrs()?;
    let addresses: Vec<_> = addresses.map(|address| address.ip().to_string()).collect();
    Ok(addresses.join(" "))
}
