//! Requests that another server could read differently, byte by byte.

use crate::harness::Rig;

const SECOND: &str = "GET /second HTTP/1.1\r\nhost: test\r\n\r\n";

#[test]
fn doubtful_requests_are_refused_and_end_the_connection() {
    let rig = Rig::serving("hello-p2");
    for (lines, reason) in [
        (
            "content-length: 0\r\ncontent-length: 5",
            "InvalidContentLength",
        ),
        (
            "content-length: 5\r\ncontent-length: 5",
            "InvalidContentLength",
        ),
        ("content-length: 5, 5", "InvalidContentLength"),
        ("content-length: +5", "InvalidContentLength"),
        ("content-length: 0x5", "InvalidContentLength"),
        (
            "content-length: 5\r\ntransfer-encoding: chunked",
            "InvalidTransferEncoding",
        ),
        (
            "transfer-encoding: chunked\r\ncontent-length: 5",
            "InvalidTransferEncoding",
        ),
        (
            "transfer-encoding: chunked, identity",
            "InvalidTransferEncoding",
        ),
        ("transfer-encoding: \x0bchunked", "MalformedRequest"),
        ("transfer-encoding : chunked", "MalformedRequest"),
        ("a: b\rcontent-length: 5", "BareCarriageReturn"),
        ("a: b\r\rc: d", "BareCarriageReturn"),
        ("a: b\ncontent-length: 5", "BareLineFeed"),
        ("a: b\r\n content-length: 5", "ObsoleteFold"),
        ("a: b\r\n\tc", "ObsoleteFold"),
        ("content-length: 5\0", "MalformedRequest"),
        (" content-length: 5", "ObsoleteFold"),
    ] {
        println!("{lines:?}");
        let mut client = rig.connect();
        client.send(format!(
            "POST / HTTP/1.1\r\nhost: test\r\n{lines}\r\n\r\n{SECOND}"
        ));
        let answer = client.read();
        answer.is_refusal(400, reason);
        assert_eq!(answer.header("connection"), Some("close"));
        assert!(client.is_closed(), "the second request was answered");
    }
}

#[test]
fn malformed_request_lines_are_refused() {
    let rig = Rig::serving("hello-p2");
    for line in [
        "GET / HTTP/1.1 x",
        "GET  / HTTP/1.1",
        "GET / HTTP/3.0",
        "GET /",
        "GET",
        "\u{16}\u{3}\u{1}",
        "GET /\u{7f} HTTP/1.1",
    ] {
        println!("{line:?}");
        let mut client = rig.connect();
        let answer = client.request(format!("{line}\r\nhost: test\r\n\r\n"));
        answer.is_refusal(400, "MalformedRequest");
        assert!(client.is_closed());
    }
}

#[test]
fn a_refusal_keeps_its_place_behind_earlier_answers() {
    let rig = Rig::serving("hello-p2");
    let mut client = rig.connect();
    client.send(format!(
        "GET /sleep?200 HTTP/1.1\r\nhost: test\r\n\r\n{SECOND}\
         POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n{SECOND}"
    ));
    assert_eq!(client.read().text(), "awake\n");
    assert_eq!(client.read().text(), "Hello from Waft!\n");
    client.read().is_refusal(400, "InvalidContentLength");
    assert!(client.is_closed());
}

#[test]
fn a_head_hidden_in_a_body_stays_a_body() {
    let rig = Rig::serving("echo-p2");
    let mut client = rig.connect();
    let hidden = "GET / HTTP/1.1\r\nhost: test\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n";
    let length = hidden.len();
    client.send(format!(
        "POST / HTTP/1.1\r\nhost: test\r\ncontent-length: {length}\r\n\r\n{hidden}\
         POST / HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n\
         {length:x};x=y\r\n{hidden}\r\n0\r\n\r\n{SECOND}"
    ));
    assert_eq!(client.read().text(), hidden);
    assert_eq!(client.read().text(), hidden);
    assert_eq!(client.read().text(), "");
}

#[test]
fn malformed_chunks_never_reach_the_next_request() {
    let rig = Rig::serving("echo-p2");
    for chunks in [
        "5\nhello\n0\n\n",
        "zz\r\n",
        "-1\r\n",
        "5\r\nhelloX\r\n0\r\n\r\n",
    ] {
        println!("{chunks:?}");
        let mut client = rig.connect();
        client.send(format!(
            "POST / HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n{chunks}{SECOND}"
        ));
        let mut all = Vec::new();
        let _ = std::io::Read::read_to_end(&mut client.reader, &mut all);
        let all = String::from_utf8(all).unwrap();
        assert!(all.matches("HTTP/1.1").count() <= 1, "{all:?}");
        assert!(!all.ends_with("\r\n0\r\n\r\n"), "{all:?} looks complete");
    }
}

#[test]
fn a_refusal_is_read_even_when_the_client_keeps_sending() {
    let rig = Rig::serving("hello-p2");
    let mut client = rig.connect();
    client.send("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 5, 5\r\n\r\n");
    client.send(vec![b'x'; 512 << 10]);
    client.read().is_refusal(400, "InvalidContentLength");
}

#[test]
fn a_tls_handshake_is_refused_at_once() {
    let rig = Rig::serving("hello-p2");
    let mut client = rig.connect();
    client.send([0x16, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3]);
    client.read().is_refusal(400, "MalformedRequest");
    assert!(client.is_closed());
}
