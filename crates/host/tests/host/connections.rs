//! Connections over their life: keep-alive, pipelining, HEAD, 100-continue, HTTP/2, clients that
//! are slow, close half, or leave.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpStream},
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use http_body::Frame;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use waft_ir::{HostLink, WorkloadId};

use crate::{
    client::Client,
    harness::{PATIENCE, RUNTIME, Rig, SOON},
};

const HELLO: &str = "Hello from Waft!\n";
const GET: &str = "GET / HTTP/1.1\r\nhost: test\r\n\r\n";

#[test]
fn one_connection_serves_many_requests() {
    let rig = Rig::serving("hello-p2");
    let mut client = rig.connect();
    for _ in 0..20 {
        assert_eq!(client.request(GET).text(), HELLO);
    }
    // In one piece, and in pieces of a byte.
    client.send(GET.repeat(5));
    for _ in 0..5 {
        assert_eq!(client.read().text(), HELLO);
    }
    for byte in GET.bytes() {
        client.send([byte]);
    }
    assert_eq!(client.read().text(), HELLO);
    let last = client.request("GET / HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
    assert_eq!(last.header("connection"), Some("close"));
    assert!(client.is_closed());
    let mut old = rig.connect();
    old.request("GET / HTTP/1.0\r\nhost: test\r\n\r\n");
    assert!(old.is_closed());
}

#[test]
fn head_has_headers_and_no_body() {
    let rig = Rig::serving("hello-p2");
    let mut client = rig.connect();
    for _ in 0..2 {
        let answer = client.request("HEAD / HTTP/1.1\r\nhost: test\r\n\r\n");
        assert_eq!((answer.status, answer.body.len()), (200, 0));
    }
    let refused = client.request("HEAD / HTTP/1.1\r\nhost: other\r\n\r\n");
    assert_eq!(refused.status, 404);
    assert_eq!(refused.header("x-waft-reason"), Some("NoRoute"));
    assert_eq!(client.request(GET).text(), HELLO);
}

#[test]
fn an_answer_without_a_body_costs_no_instance() {
    let rig = Rig::serving_with("trap-p2", |c| c.pool.size = 1);
    let mut client = rig.connect();
    for request in [
        "HEAD /checked",
        "GET /checked?204",
        "GET /checked?304",
        "HEAD /checked?404",
    ] {
        let answer = client.request(format!("{request} HTTP/1.1\r\nhost: test\r\n\r\n"));
        assert!(answer.body.is_empty(), "{request}: {answer:?}");
        if request.starts_with("HEAD") {
            assert_eq!(answer.header("content-length"), Some("65536"), "{request}");
        }
        // The guest ends what it does, and its instance waits for the next request.
        let of_guest = "{namespace=\"default\",workload=\"w\",component=\"main\"}";
        wait_until(|| {
            let metrics = rig.host.metrics();
            metrics.contains(&format!("waft_guest_calls_in_flight{of_guest} 0\n"))
                && metrics.contains(&format!("waft_guest_instances_warm{of_guest} 1\n"))
        });
    }
    assert!(!rig.host.metrics().contains("waft_guest_traps_total{"));
}

/// A client that knows that the server speaks HTTP/2.
async fn http2_client<B>(rig: &Rig) -> http2::SendRequest<B>
where
    B: http_body::Body<Data: Send, Error: std::error::Error + Send + Sync> + Send + Unpin + 'static,
{
    let stream = tokio::net::TcpStream::connect(rig.address).await.unwrap();
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    sender
}

#[test]
fn http2_has_heads_without_bodies_and_limits_of_heads() {
    let rig = Rig::serving("trap-p2");
    RUNTIME.block_on(async {
        let mut sender = http2_client(&rig).await;
        for (method, url, status) in [
            (Method::HEAD, "http://test/checked", 200),
            (Method::HEAD, "http://other/", 404),
            (Method::GET, "http://test/checked?204", 204),
            (Method::GET, "http://test/checked?304", 304),
        ] {
            let request = hyper::Request::builder().method(&method).uri(url);
            let request = request.body(Empty::<bytes::Bytes>::new()).unwrap();
            let answer = sender.send_request(request).await.unwrap();
            assert_eq!(answer.status(), status, "{method} {url}");
            let length = answer.headers().get("content-length");
            let length = length.map(|value| value.to_str().unwrap().parse::<u32>().unwrap());
            match status {
                204 => assert_eq!(length, None),
                // What the host says itself.
                404 => assert!(length.is_some_and(|length| (5..500).contains(&length))),
                _ => assert_eq!(length, Some(65_536)),
            }
            let body = answer.into_body().collect().await;
            assert_eq!(body.unwrap().to_bytes().len(), 0, "{method} {url}");
        }
        let mut request = hyper::Request::get("http://test/ok");
        for at in 0..101 {
            request = request.header(format!("x-{at}"), "1");
        }
        let request = request.body(Empty::<bytes::Bytes>::new()).unwrap();
        let answer = sender.send_request(request).await.unwrap();
        assert_eq!(answer.headers()["x-waft-reason"], "HeadersTooLarge");
    });
}

#[test]
fn a_client_that_asks_is_told_to_continue() {
    let rig = Rig::serving("echo-p2");
    let mut client = rig.connect();
    client
        .send("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\n");
    // The echo answers before it reads: then the answer's head comes first, which is as good.
    let first = client.head();
    client.send("hello");
    let answer = if first.status == 100 {
        client.read()
    } else {
        first
    };
    assert_eq!(answer.status, 200);
}

#[test]
fn http2_is_served_on_the_same_port() {
    let rig = Rig::serving("echo-p2");
    RUNTIME.block_on(async {
        let mut sender = http2_client(&rig).await;
        let request = |host: &str, body: &'static str| {
            hyper::Request::post(format!("http://{host}/"))
                .body(Full::<bytes::Bytes>::from(body))
                .unwrap()
        };
        let (one, two) = (
            sender.send_request(request("test", "one")),
            sender.clone().send_request(request("test", "two")),
        );
        for (answer, text) in [(one.await, "one"), (two.await, "two")] {
            let answer = answer.unwrap();
            assert_eq!(answer.status(), 200);
            let body = answer.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(body, text);
        }
        // Trailers need no announcement here.
        let frames = futures::stream::iter([
            Ok::<_, std::convert::Infallible>(Frame::data(bytes::Bytes::from("hi"))),
            Ok(Frame::trailers(HeaderMap::from_iter([(
                HeaderName::from_static("x-sum"),
                HeaderValue::from_static("42"),
            )]))),
        ]);
        let request = hyper::Request::post("http://test/").body(StreamBody::new(frames));
        let (mut sender, connection) = {
            let stream = tokio::net::TcpStream::connect(rig.address).await.unwrap();
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                .await
                .unwrap()
        };
        tokio::spawn(connection);
        let answer = sender.send_request(request.unwrap()).await.unwrap();
        let body = answer.into_body().collect().await.unwrap();
        assert_eq!(body.trailers().unwrap()["x-sum"], "42");
        assert_eq!(body.to_bytes(), "hi");
    });
}

/// Does something with a client that closes its sending side, and notes just before when. Once it is
/// sent nothing for 50 ms it counts as gone, as when the machine does something else meanwhile: then it
/// is tried again.
fn closing_its_half(attempt: impl Fn(&OnceLock<Instant>)) {
    let began = Instant::now();
    loop {
        let closed = OnceLock::new();
        let Err(panic) = catch_unwind(AssertUnwindSafe(|| attempt(&closed))) else {
            return;
        };
        let may_be_gone = |at: &Instant| at.elapsed() >= Duration::from_millis(50);
        if !closed.get().is_some_and(may_be_gone) || began.elapsed() > PATIENCE {
            resume_unwind(panic);
        }
    }
}

#[test]
fn a_client_that_closes_its_half_gets_its_answers() {
    let rig = Rig::serving("echo-p2");
    closing_its_half(|closed| {
        let mut client = rig.connect();
        client.send("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 5\r\n\r\nhello");
        client.send("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 2\r\n\r\nyo");
        closed.set(Instant::now()).unwrap();
        client.half_close();
        assert_eq!(client.read().text(), "hello");
        assert_eq!(client.read().text(), "yo");
        assert!(client.is_closed());
    });
}

#[test]
fn a_client_that_closes_its_half_and_reads_slowly_gets_all_of_it() {
    let rig = Rig::serving("echo-p2");
    // More than the sockets hold.
    let body = vec![b'x'; 16 << 20];
    let length = body.len();
    let head = format!("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: {length}\r\n\r\n");
    let send_all = |mut writer: TcpStream, closed: &OnceLock<Instant>| -> io::Result<()> {
        writer.write_all(head.as_bytes())?;
        writer.write_all(&body)?;
        closed.set(Instant::now()).unwrap();
        writer.shutdown(Shutdown::Write)
    };
    closing_its_half(|closed| {
        let mut client = rig.connect();
        let writer = client.reader.get_ref().try_clone().unwrap();
        let (sent, read) = thread::scope(|scope| {
            let sending = scope.spawn(|| send_all(writer, closed));
            let read = read_slowly(&mut client);
            (sending.join().unwrap(), read)
        });
        sent.unwrap();
        let (count, tail) = read.unwrap();
        assert!(count >= 16 << 20, "{count}");
        assert_eq!(tail, b"0\r\n\r\n");
    });
}

/// How much comes, and the end of it.
fn read_slowly(client: &mut Client) -> io::Result<(usize, Vec<u8>)> {
    let mut read = 0;
    let mut piece = vec![0; 1 << 20];
    let mut tail = Vec::new();
    loop {
        let count = client.reader.read(&mut piece)?;
        if count == 0 {
            return Ok((read, tail));
        }
        read += count;
        tail.extend_from_slice(&piece[..count]);
        tail.drain(..tail.len().saturating_sub(5));
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_client_that_leaves_frees_its_instance() {
    let rig = Rig::serving_with("hello-p2", |c| {
        c.limits.max_in_flight = 1;
        c.limits.queue = 1;
        c.limits.queue_timeout = PATIENCE;
    });
    let counted = |name: &str, count: usize| {
        let of_guest = "namespace=\"default\",workload=\"w\",component=\"main\"";
        let metrics = rig.host.metrics();
        metrics.contains(&format!("{name}{{{of_guest}}} {count}\n"))
    };
    let post = "POST /sleep?20000 HTTP/1.1\r\nhost: test\r\n";
    let all = "x".repeat(40_000);
    // What the guest does not read stays with hyper or in the socket, and the end behind it.
    let cases = [
        "GET /sleep?20000 HTTP/1.1\r\nhost: test\r\n\r\n".to_owned(),
        format!("GET /sleep?20000 HTTP/1.1\r\nhost: test\r\n\r\n{GET}"),
        "GET /sleep?20000 HTTP/1.1\r\nhost: test\r\n\r\nGET / HT".to_owned(),
        format!("{post}content-length: 40000\r\n\r\n{all}"),
        format!("{post}content-length: 40001\r\n\r\n{all}"),
        format!("{post}transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
        format!("{post}transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n"),
        format!("{post}expect: 100-continue\r\ncontent-length: 5\r\n\r\n"),
    ];
    for (case, request) in cases.iter().enumerate() {
        println!("{:?}", &request[..request.len().min(200)]);
        let mut client = rig.connect();
        client.send(request);
        wait_until(|| counted("waft_guest_calls_in_flight", 1));
        let left = Instant::now();
        drop(client);
        // The one place is free again for this request.
        assert_eq!(rig.get("/").text(), HELLO);
        let took = left.elapsed();
        assert!(took < SOON, "{took:?}");
        wait_until(|| counted("waft_http_clients_gone_total", case + 1));
        wait_until(|| counted("waft_guest_calls_in_flight", 0));
    }
}

#[test]
fn a_client_that_leaves_is_noticed_though_its_guest_has_dropped_the_body() {
    let rig = Rig::serving("hostile-p3");
    let in_flight = |count: usize| {
        let of_guest = "namespace=\"default\",workload=\"w\",component=\"main\"";
        let line = format!("waft_guest_calls_in_flight{{{of_guest}}} {count}\n");
        rig.host.metrics().contains(&line)
    };
    for body in [
        "content-length: 5",
        "content-length: 5\r\nexpect: 100-continue",
        "transfer-encoding: chunked",
    ] {
        let mut client = rig.connect();
        client.send(format!(
            "POST /open HTTP/1.1\r\nhost: test\r\n{body}\r\n\r\n"
        ));
        // The guest has dropped the request by then.
        assert_eq!(client.head().status, 200);
        assert!(in_flight(1), "{body}");
        drop(client);
        wait_until(|| in_flight(0));
    }
}

#[test]
fn a_client_that_leaves_in_the_middle_of_its_body_frees_its_instance() {
    let rig = Rig::serving_with("echo-p2", |c| {
        c.limits.max_in_flight = 1;
        c.limits.queue_timeout = PATIENCE;
    });
    let mut client = rig.connect();
    client.send("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 100\r\n\r\nhello");
    assert_eq!(client.head().status, 200);
    let left = Instant::now();
    drop(client);
    let answer = rig
        .connect()
        .request("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 2\r\n\r\nhi");
    assert_eq!(answer.text(), "hi");
    let took = left.elapsed();
    assert!(took < SOON, "{took:?}");
}

#[test]
fn an_early_answer_is_read_while_the_body_is_still_sent() {
    let rig = Rig::serving("hello-p2");
    let mut client = rig.connect();
    client.send("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 8388608\r\n\r\n");
    client.send(vec![b'x'; 8 << 20]);
    assert_eq!(client.read().text(), HELLO);
}

#[test]
fn a_pipe_to_a_workload_speaks_http_whatever_the_host() {
    let rig = Rig::serving("hello-p2");
    let id = WorkloadId("uid-w".into());
    RUNTIME.block_on(async {
        let mut pipe = rig.host.connect(&id).await.unwrap();
        pipe.write_all(b"GET / HTTP/1.1\r\nhost: localhost:1234\r\nconnection: close\r\n\r\n")
            .await
            .unwrap();
        let mut answer = String::new();
        let reading = pipe.read_to_string(&mut answer);
        tokio::time::timeout(PATIENCE, reading)
            .await
            .unwrap()
            .unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains(HELLO), "{answer}");
        let unknown = rig.host.connect(&WorkloadId("none".into())).await;
        assert_eq!(
            unknown.err().map(|e| e.kind()),
            Some(std::io::ErrorKind::NotConnected)
        );
    });
}

#[test]
fn requests_have_ids_that_their_lines_carry() {
    let rig = Rig::serving("hello-p2");
    let mut events = rig.host.subscribe();
    rig.connect()
        .request("GET /log?x HTTP/1.1\r\nhost: test\r\nx-request-id: my-id\r\n\r\n");
    let (mut lines, mut access) = (0, None);
    RUNTIME.block_on(async {
        while lines < 2 || access.is_none() {
            let event = tokio::time::timeout(PATIENCE, events.recv()).await;
            match event.unwrap().unwrap() {
                waft_host::Event::Line { workload, line } => {
                    assert_eq!(&*workload, "default/w");
                    assert_eq!(line.request.as_deref(), Some("my-id"));
                    lines += 1;
                }
                // The rig's own requests may be told yet.
                waft_host::Event::Access(line) if line.host != "test" => {}
                waft_host::Event::Access(line) => access = Some(line),
            }
        }
    });
    let access = access.unwrap();
    assert_eq!(&*access.request_id, "my-id");
    assert_eq!((&*access.method, &*access.path), ("GET", "/log"));
    assert_eq!((access.status, access.bytes), (Some(200), 7));
}

pub(crate) fn wait_until(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "it hangs");
        thread::yield_now();
    }
}
