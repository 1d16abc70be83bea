use std::{convert::Infallible, sync::Arc, time::Duration};

use http_body::Body as _;
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

fn checked(head: &str) -> Result<Framing, Reason> {
    assert_eq!(find_end(head.as_bytes(), 0), Some(head.len()), "{head:?}");
    check(head.as_bytes())
}

#[test]
fn plain_heads_pass() {
    let cases = [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", Framing::Length(0)),
        ("\r\n\r\nGET /a?b=%20 HTTP/1.0\r\n\r\n", Framing::Length(0)),
        (
            "POST / HTTP/1.1\r\nContent-Length:  12 \r\n\r\n",
            Framing::Length(12),
        ),
        (
            "POST / HTTP/1.1\r\ntransfer-encoding: Chunked\r\n\r\n",
            Framing::Chunked,
        ),
        (
            "GET http://a.b:80/x HTTP/1.1\r\nHost: a.b\r\n\r\n",
            Framing::Length(0),
        ),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", Framing::Length(0)),
    ];
    for (head, framing) in cases {
        assert_eq!(checked(head), Ok(framing), "{head:?}");
    }
}

#[test]
fn doubtful_heads_are_refused() {
    let cases = [
        (
            "Content-Length: 3\r\nContent-Length: 4",
            Reason::InvalidContentLength,
        ),
        (
            "Content-Length: 3\r\nContent-Length: 3",
            Reason::InvalidContentLength,
        ),
        ("Content-Length: 3, 3", Reason::InvalidContentLength),
        ("Content-Length: +3", Reason::InvalidContentLength),
        ("Content-Length:", Reason::InvalidContentLength),
        (
            "Content-Length: 99999999999999999999",
            Reason::InvalidContentLength,
        ),
        (
            "Content-Length: 3\r\nTransfer-Encoding: chunked",
            Reason::InvalidTransferEncoding,
        ),
        (
            "Transfer-Encoding: chunked\r\nContent-Length: 3",
            Reason::InvalidTransferEncoding,
        ),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            Reason::InvalidTransferEncoding,
        ),
        (
            "Transfer-Encoding: gzip, chunked",
            Reason::InvalidTransferEncoding,
        ),
        (
            "Transfer-Encoding: xchunked",
            Reason::InvalidTransferEncoding,
        ),
        ("a: b\rc: d", Reason::BareCarriageReturn),
        ("a: b\nc: d", Reason::BareLineFeed),
        ("a: b\r\n c", Reason::ObsoleteFold),
        ("a: b\r\n\tc", Reason::ObsoleteFold),
        ("a : b", Reason::MalformedRequest),
        ("a", Reason::MalformedRequest),
        (": b", Reason::MalformedRequest),
        ("a: b\0", Reason::MalformedRequest),
        ("Host: b", Reason::InvalidHost),
    ];
    for (lines, reason) in cases {
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n");
        assert_eq!(checked(&head), Err(reason), "{lines:?}");
    }
}

#[test]
fn request_lines_are_strict() {
    for line in [
        "GET  / HTTP/1.1",
        "GET / HTTP/1.1 ",
        "GET /",
        "G@T / HTTP/1.1",
        "GET / HTTP/1.2",
        "GET / http/1.1",
        "GET /\u{1} HTTP/1.1",
        "GET no-slash/x HTTP/1.1",
        "GET other HTTP/1.1",
        "GET other:80 HTTP/1.1",
    ] {
        let head = format!("{line}\r\nHost: a\r\n\r\n");
        assert_eq!(checked(&head), Err(Reason::MalformedRequest), "{line:?}");
    }
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(TARGET_BYTES));
    assert_eq!(checked(&long), Err(Reason::UriTooLong));
    let old = "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(checked(old), Err(Reason::InvalidTransferEncoding));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(101));
    assert_eq!(checked(&many), Err(Reason::HeadersTooLarge));
    let name = "a".repeat(NAME_BYTES + 1);
    let long = format!("GET / HTTP/1.1\r\n{name}: b\r\n\r\n");
    assert_eq!(checked(&long), Err(Reason::HeadersTooLarge));
    let tunnel = "CONNECT other:80 HTTP/1.1\r\nHost: other\r\n\r\n";
    assert_eq!(checked(tunnel), Ok(Framing::Length(0)));
}

#[test]
fn the_end_is_found_wherever_the_reads_split() {
    let head = b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n";
    for split in 0..head.len() {
        assert_eq!(find_end(&head[..split], 0), None);
        assert_eq!(
            find_end(head, split.saturating_sub(3)),
            Some(head.len()),
            "{split}"
        );
    }
}

/// How hyper frames the body behind a head; `None` if it refuses the head.
async fn framing_of_hyper(head: &[u8]) -> Option<Framing> {
    let (mut client, server) = tokio::io::duplex(64 << 10);
    let seen = Arc::new(Mutex::new(None));
    let note = seen.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let body = request.body();
        let framing = match body.size_hint().exact() {
            Some(length) => Framing::Length(length),
            None => Framing::Chunked,
        };
        note.lock().get_or_insert(framing);
        async { Ok::<_, Infallible>(Response::new(String::new())) }
    });
    let connection = http1::Builder::new().serve_connection(TokioIo::new(server), service);
    client.write_all(head).await.unwrap();
    let mut answer = [0; 64];
    let answered = async {
        // hyper answers before it closes, whatever it makes of the head.
        let _ = client.read(&mut answer).await;
    };
    tokio::time::timeout(Duration::from_secs(60), async {
        tokio::select! {
            _ = connection => {}
            () = answered => {}
        }
    })
    .await
    .expect("hyper waits for more: it sees no end where the check saw one");
    seen.lock().take()
}

/// Heads made of pieces that are each suspicious somewhere. Whatever the check lets pass, hyper
/// must frame as the check did: else the next head would be looked for in the wrong place.
#[tokio::test]
async fn what_passes_is_framed_alike_by_hyper() {
    const PIECES: [&str; 24] = [
        "content-length: 5",
        "Content-Length:0",
        "content-length: 05",
        "content-length: ",
        "transfer-encoding: chunked",
        "Transfer-Encoding: CHUNKED ",
        "transfer-encoding:\tchunked",
        "transfer-encoding: identity",
        "content_length: 7",
        "x-content-length: 7",
        "host: a",
        "a: b",
        "a:",
        ": b",
        "a : b",
        "a: \u{80}\u{ff}",
        "\r\n",
        "\r\n",
        "\r\n",
        "\r\n",
        "\n",
        "\r",
        " ",
        "connection: close, transfer-encoding",
    ];
    // A fixed sequence that is far from regular.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let mut passed = [0; 2];
    for _ in 0..4000 {
        let version = ["HTTP/1.1", "HTTP/1.1", "HTTP/1.0"][next(3)];
        let mut head = format!("POST /x {version}\r\n");
        for _ in 0..next(4) {
            head.push_str(PIECES[next(PIECES.len())]);
            head.push_str(["\r\n", "\r\n", "\r\n", ""][next(4)]);
        }
        head.push_str("\r\n\r\n");
        let Some(end) = find_end(head.as_bytes(), 0) else {
            continue;
        };
        let head = &head.as_bytes()[..end];
        let Ok(framing) = check(head) else {
            continue;
        };
        if let Some(of_hyper) = framing_of_hyper(head).await {
            passed[usize::from(framing == Framing::Chunked)] += 1;
            assert_eq!(of_hyper, framing, "{:?}", String::from_utf8_lossy(head));
        }
    }
    assert!(passed[0] > 500 && passed[1] > 100, "{passed:?}");
}
