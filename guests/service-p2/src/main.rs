//! A long-lived service that uses nothing but Rust's standard library. What it does, `MODE` says:
//!
//! | mode | does |
//! |---|---|
//! | `end` | says a line and ends well |
//! | `fail`, `panic`, `exit` | says a line and ends badly: an error, a trap, a status |
//! | `sleep` | says a line and sleeps for ever |
//! | `spin` | says a line and computes for ever |
//! | `tell` | computes for ever, and says a line every 10 ms |
//! | `turns` | computes for 50 ms, says a line, waits for 10 ms, says a line, and so on |
//! | `tcp` | upper-cases lines of TCP connections to `ADDRESS`; the line `exit` ends it badly |
//! | `http` | answers HTTP requests to `ADDRESS` with their first line |
//! | `udp` | answers datagrams to `ADDRESS`, upper-cased |

use std::{
    env,
    hint::black_box,
    io::{self, BufRead, BufReader, Write},
    net::{TcpListener, TcpStream, UdpSocket},
    process, thread,
    time::Duration,
};

use compute::compute;

fn main() -> io::Result<()> {
    let mode = env::var("MODE").unwrap_or_default();
    println!(
        "service begins: {mode} {}",
        env::var("WORD").unwrap_or_default()
    );
    match mode.as_str() {
        "end" => Ok(()),
        "fail" => Err(io::Error::other("this is what went wrong")),
        "panic" => panic!("this is for the log"),
        "exit" => process::exit(3),
        "sleep" => loop {
            thread::sleep(Duration::from_secs(3600));
        },
        "spin" => loop {
            black_box(0);
        },
        "tell" => loop {
            compute(Duration::from_millis(10));
            println!("computes");
        },
        "turns" => loop {
            compute(Duration::from_millis(50));
            println!("computes");
            thread::sleep(Duration::from_millis(10));
            println!("waited");
        },
        "tcp" => tcp(&address()),
        "http" => http(&address()),
        "udp" => udp(&address()),
        other => Err(io::Error::other(format!("no such mode: {other}"))),
    }
}

fn address() -> String {
    env::var("ADDRESS").unwrap_or_else(|_| "127.0.0.1:7000".into())
}

fn tcp(address: &str) -> io::Result<()> {
    let listener = TcpListener::bind(address)?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (stream, peer) = listener.accept()?;
        match answer(stream) {
            Ok(lines) => println!("{lines} lines of {}", peer.ip()),
            Err(error) => println!("{}: {error}", peer.ip()),
        }
    }
}

/// One connection at a time: a guest has one thread.
fn answer(stream: TcpStream) -> io::Result<u64> {
    let mut count = 0;
    let mut line = String::new();
    let mut reader = BufReader::new(stream);
    while reader.read_line(&mut line)? > 0 {
        count += 1;
        if line.trim_end() == "exit" {
            process::exit(3);
        }
        let upper = line.to_uppercase();
        reader.get_mut().write_all(upper.as_bytes())?;
        line.clear();
    }
    Ok(count)
}

fn http(address: &str) -> io::Result<()> {
    let listener = TcpListener::bind(address)?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept()?;
        let mut reader = BufReader::new(stream);
        let mut first = String::new();
        reader.read_line(&mut first)?;
        let mut line = String::new();
        while reader.read_line(&mut line)? > 2 {
            line.clear();
        }
        let head = format!(
            "content-length: {}\r\nconnection: close\r\n\r\n",
            first.len()
        );
        let answer = format!("HTTP/1.1 200 OK\r\n{head}{first}");
        reader.get_mut().write_all(answer.as_bytes())?;
    }
}

fn udp(address: &str) -> io::Result<()> {
    let socket = UdpSocket::bind(address)?;
    println!("listening on {}", socket.local_addr()?);
    let mut datagram = [0; 2048];
    loop {
        let (length, peer) = socket.recv_from(&mut datagram)?;
        let upper = datagram[..length].to_ascii_uppercase();
        socket.send_to(&upper, peer)?;
    }
}
