//! Bytes that are no HTTP, or nearly HTTP. Nothing panics, and the next client is served.
//! `waft_fuzz` says how long.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    time::Duration,
};

use waft_fuzz::{Random, rounds};

use crate::harness::Rig;

static PANICS: AtomicUsize = AtomicUsize::new(0);

/// A request of pieces that fit and pieces that don't.
fn nearly_http(random: &mut Random) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(random.of::<[u8]>(&[
        b"GET", b"POST", b"HEAD", b"PUT", b"\0", b"", b"PRI", b"CONNECT",
    ]));
    bytes.extend(random.of::<[u8]>(&[b" ", b"  ", b"\t", b""]));
    bytes.extend(random.of::<[u8]>(&[
        b"/",
        b"*",
        b"http://test/",
        b"/\xff",
        b"test:1",
        b"",
        b"/?a b",
    ]));
    bytes.extend(random.of::<[u8]>(&[b" ", b""]));
    bytes.extend(random.of::<[u8]>(&[
        b"HTTP/1.1",
        b"HTTP/1.0",
        b"HTTP/2.0",
        b"HTTP/9.9",
        b"http/1.1",
        b"",
    ]));
    bytes.extend(random.of::<[u8]>(&[b"\r\n", b"\r\n", b"\n", b"\r"]));
    for _ in 0..random.below(8) {
        bytes.extend(random.of::<[u8]>(&[
            b"host: test",
            b"host: test",
            b"content-length: 3",
            b"content-length: 5, 5",
            b"content-length: -1",
            b"transfer-encoding: chunked",
            b"transfer-encoding: gzip",
            b"connection: close",
            b"expect: 100-continue",
            b"upgrade: websocket",
            b": x",
            b"a",
            b" folded",
            b"te: trailers",
            b"x-\x80: \xff",
            b"traceparent: 00-0-0-0",
        ]));
        bytes.extend(random.of::<[u8]>(&[b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b"\0\r\n"]));
    }
    bytes.extend(random.of::<[u8]>(&[b"\r\n", b"\r\n", b"\n", b""]));
    for _ in 0..random.below(4) {
        bytes.extend(random.of::<[u8]>(&[
            b"abc",
            b"3\r\nabc\r\n",
            b"0\r\n\r\n",
            b"fffffffffffffffff\r\n",
            b"3;x=y\r\nab",
            b"0\r\na: b\r\n\r\n",
            b"\xff\xfe",
        ]));
    }
    bytes
}

#[test]
fn nothing_that_a_client_sends_breaks_the_host() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        // Other tests of this process fail on threads that bear their names.
        let thread = std::thread::current();
        if !thread.name().is_some_and(|name| name.contains("::")) {
            PANICS.fetch_add(1, SeqCst);
        }
        before(info);
    }));
    let rig = Rig::serving("echo-p2");
    let mut random = Random::new();
    let mut sent = 0;
    for _ in rounds(2000) {
        let bytes = match random.below(4) {
            0 => {
                let length = random.below(600);
                random.bytes(length)
            }
            1 => {
                let mut preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
                let length = random.below(200);
                preface.extend(random.bytes(length));
                preface
            }
            _ => [nearly_http(&mut random), nearly_http(&mut random)].concat(),
        };
        let mut stream = TcpStream::connect(rig.address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        // It may refuse, and close, before it has read everything.
        let _ = stream.write_all(&bytes);
        let _ = stream.shutdown(Shutdown::Write);
        let mut answer = Vec::new();
        let ended = stream.read_to_end(&mut answer);
        let waited_in_vain = ended.is_err_and(|e| e.kind() == std::io::ErrorKind::WouldBlock);
        assert!(
            !waited_in_vain,
            "no end after {:?}",
            bytes.escape_ascii().to_string()
        );
        sent += 1;
    }
    println!("{sent} connections");
    assert_eq!(rig.get("/").status, 200);
    assert_eq!(PANICS.load(SeqCst), 0);
}
