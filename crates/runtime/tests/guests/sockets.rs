//! The network within a workload: who reaches whom, by Rust's standard library and by WASI 0.3.

use std::{net::SocketAddr, sync::Arc};

use tokio::io::AsyncReadExt;
use waft_ir::{LocalResources, LogSource};
use waft_runtime::{CallError, Command, EgressPolicy, Guest, Loopback, TrapReason};

use crate::support::{ENGINE, Lines, get, guest, load, spec, wait_until};

/// A service that runs until it is dropped.
struct Running {
    lines: Arc<Lines>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Running {
    fn says(&self, text: &str) -> bool {
        let lines = self.lines.of(LogSource::Stdout);
        lines.iter().any(|(_, line)| line.contains(text))
    }
}

async fn service(network: &Loopback, mode: &str, address: &str) -> Running {
    let (mut spec, lines) = spec();
    spec.loopback = network.for_service();
    spec.environment = [("MODE", mode), ("ADDRESS", address)]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    let compiled = load("service-p2").await;
    let command: Command = ENGINE
        .link_command(&compiled, spec, Vec::new())
        .await
        .unwrap();
    let task = tokio::spawn(async move {
        let _ = command.run(std::future::pending()).await;
    });
    let running = Running { lines, task };
    wait_until("the service listens", || running.says("listening on")).await;
    running
}

async fn client(name: &str, network: &Loopback) -> Guest {
    let network = network.clone();
    guest(name, |spec| spec.loopback = network).await.0
}

async fn answer(guest: &Guest, path: &str) -> String {
    get(guest, path).await.unwrap()
}

#[tokio::test]
async fn a_component_talks_with_the_service_of_its_workload() {
    let network = Loopback::default();
    let service = service(&network, "tcp", "127.0.0.1:7000").await;
    let p2 = client("client-p2", &network).await;
    for name in [
        "127.0.0.1",
        "localhost",
        "service.wasmcloud.internal",
        "x.svc.wasmcloud.internal",
    ] {
        let path = format!("/tcp/{name}:7000?hello");
        assert_eq!(answer(&p2, &path).await, "HELLO", "{name}");
    }
    assert!(service.says("1 lines of 127.0.0.1"));
    let p3 = client("client-p3", &network).await;
    assert_eq!(answer(&p3, "/tcp/7000?world").await, "WORLD");
    assert_eq!(answer(&p2, "/large/127.0.0.1:7000?300000").await, "300000");
    // One workload at a time: the next is not reached by the first's clients, nor it by them.
    let stranger = client("client-p2", &Loopback::default()).await;
    assert_eq!(
        answer(&stranger, "/tcp/127.0.0.1:7000?x").await,
        "ConnectionRefused"
    );
    assert_eq!(
        answer(&p2, "/tcp/127.0.0.1:7001?x").await,
        "ConnectionRefused"
    );
    assert_eq!(
        answer(&p3, "/tcp/7001?x").await,
        "ErrorCode::ConnectionRefused"
    );
    // With its service the port goes.
    drop(service);
    wait_until("the port is free", || true).await;
    let mut told = String::new();
    for _ in 0..1000 {
        told = answer(&p2, "/tcp/127.0.0.1:7000?x").await;
        if told == "ConnectionRefused" {
            break;
        }
    }
    assert_eq!(told, "ConnectionRefused");
}

#[tokio::test]
async fn a_component_sends_http_to_the_service_of_its_workload() {
    let network = Loopback::default();
    let _service = service(&network, "http", "127.0.0.1:7000").await;
    let _six = service(&network, "http", "[::]:7002").await;
    for name in ["fetch-p2", "fetch-p3"] {
        let client = client(name, &network).await;
        let told = answer(&client, "/?http://service.wasmcloud.internal:7000/x").await;
        assert!(told.contains("GET /x HTTP/1.1"), "{name}: {told}");
        let told = answer(&client, "/?http://service.wasmcloud.internal:7002/x").await;
        assert!(told.contains("GET /x HTTP/1.1"), "{name}, IPv6: {told}");
        let told = answer(&client, "/?http://127.0.0.1:7001/").await;
        assert!(told.contains("ConnectionRefused"), "{name}: {told}");
    }
}

#[tokio::test]
async fn ipv6_and_any_address_are_loopback_too() {
    let network = Loopback::default();
    let _six = service(&network, "tcp", "[::]:7000").await;
    let _four = service(&network, "tcp", "0.0.0.0:7001").await;
    let client = client("client-p2", &network).await;
    assert_eq!(answer(&client, "/tcp/[::1]:7000?six").await, "SIX");
    let by_name = "/tcp/x.svc.wasmcloud.internal:7000?six";
    assert_eq!(answer(&client, by_name).await, "SIX");
    assert_eq!(answer(&client, "/tcp/127.0.0.1:7001?four").await, "FOUR");
    assert_eq!(
        answer(&client, "/tcp/127.0.0.1:7000?x").await,
        "ConnectionRefused"
    );
}

#[tokio::test]
async fn datagrams_reach_the_service_and_come_back() {
    let network = Loopback::default();
    let _service = service(&network, "udp", "127.0.0.1:5353").await;
    let p2 = client("client-p2", &network).await;
    let told = answer(&p2, "/udp/127.0.0.1:5353?ping").await;
    assert_eq!(told, "PING from 127.0.0.1:5353");
    let p3 = client("client-p3", &network).await;
    assert_eq!(answer(&p3, "/udp/5353?pong").await, "PONG");
}

#[tokio::test]
async fn what_is_no_address_is_an_invalid_argument_and_no_refusal() {
    for name in ["tries-p2", "tries-p3"] {
        let listens = Loopback::default().for_service();
        let (guest, _) = guest(name, |spec| spec.loopback = listens).await;
        for path in [
            "/listen?[::ffff:127.0.0.1]:8000",
            "/listen?224.0.0.1:8000",
            "/listen?255.255.255.255:8000",
            "/listen?[ff00::1]:8000",
            "/bind-udp?[::ffff:127.0.0.1]:8000",
        ] {
            let told = answer(&guest, path).await.to_lowercase();
            let told = told.replace('-', "");
            assert!(told.contains("invalidargument"), "{name}, {path}: {told}");
        }
        assert_eq!(guest.stats().egress.denied.iter().sum::<u64>(), 0, "{name}");
        let told = answer(&guest, "/listen?10.0.0.1:8000").await.to_lowercase();
        let told = told.replace('-', "");
        assert!(told.contains("addressnotbindable"), "{name}: {told}");
    }
}

#[tokio::test]
async fn who_writes_more_than_is_permitted_is_ended() {
    let listens = Loopback::default().for_service();
    let (guest, _) = guest("probe-p2", |spec| spec.loopback = listens).await;
    let reason = TrapReason::Other;
    // Otherwise the host would have all of it in memory.
    let told = get(&guest, "/unread?16").await;
    assert_eq!(told, Err(CallError::Trap { reason }));
    assert_eq!(guest.stats().traps_of(reason), 1);
}

/// A guest that may send to one address outside of the workload.
async fn sender(name: &str, to: SocketAddr) -> Guest {
    let resources = LocalResources {
        allowed_hosts: vec![to.to_string()],
        ..LocalResources::default()
    };
    let policy = EgressPolicy::new(&resources, false).unwrap();
    guest(name, |spec| spec.egress = Arc::new(policy)).await.0
}

#[tokio::test]
async fn who_receives_before_it_has_sent_hears_the_outside() {
    let Some(ip) = waft_servers::outward_address() else {
        return;
    };
    let server = tokio::net::UdpSocket::bind((ip, 0)).await.unwrap();
    let address = server.local_addr().unwrap();
    tokio::spawn(async move {
        let mut datagram = [0; 100];
        let (length, peer) = server.recv_from(&mut datagram).await.unwrap();
        let upper = datagram[..length].to_ascii_uppercase();
        server.send_to(&upper, peer).await.unwrap();
    });
    let p3 = sender("client-p3", address).await;
    assert_eq!(answer(&p3, &format!("/early/{address}?ping")).await, "PING");
}

#[tokio::test]
async fn many_small_writes_to_the_outside_are_all_permitted() {
    let Some(ip) = waft_servers::outward_address() else {
        return;
    };
    let server = tokio::net::TcpListener::bind((ip, 0)).await.unwrap();
    let address = server.local_addr().unwrap();
    let received = tokio::spawn(async move {
        let (mut stream, _) = server.accept().await.unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await.unwrap();
        all.len()
    });
    let p2 = sender("client-p2", address).await;
    // More than a task may ask of sockets before others have their turn.
    assert_eq!(
        answer(&p2, &format!("/pieces/{address}?1000")).await,
        "1000"
    );
    assert_eq!(received.await.unwrap(), 1000);
}

#[tokio::test]
async fn all_who_receive_at_one_socket_hear_the_outside() {
    let Some(ip) = waft_servers::outward_address() else {
        return;
    };
    let server = tokio::net::UdpSocket::bind((ip, 0)).await.unwrap();
    let address = server.local_addr().unwrap();
    tokio::spawn(async move {
        let mut datagram = [0; 100];
        server.recv_from(&mut datagram).await.unwrap();
        let (length, peer) = server.recv_from(&mut datagram).await.unwrap();
        for _ in 0..2 {
            server.send_to(&datagram[..length], peer).await.unwrap();
        }
    });
    let p3 = sender("client-p3", address).await;
    let told = answer(&p3, &format!("/both/{address}?ping")).await;
    assert_eq!(told, "pingping");
}

#[tokio::test]
async fn what_was_taken_from_a_guest_is_sent_before_the_end() {
    let Some(ip) = waft_servers::outward_address() else {
        return;
    };
    let listener = tokio::net::TcpListener::bind((ip, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let p2 = sender("client-p2", address).await;
    // Nobody reads until the guest has shut down its side.
    let sent = answer(&p2, &format!("/upload/{address}")).await;
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut came = Vec::new();
    stream.read_to_end(&mut came).await.unwrap();
    assert_eq!(came.len().to_string(), sent);
}

#[tokio::test]
async fn only_a_service_listens_and_nothing_leaves_the_process() {
    // A listener of the machine that no guest may reach.
    let outside = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = outside.local_addr().unwrap().port();
    let network = Loopback::default();
    let p2 = client("client-p2", &network).await;
    let p3 = client("client-p3", &network).await;
    assert_eq!(
        answer(&p2, &format!("/tcp/127.0.0.1:{port}?x")).await,
        "ConnectionRefused"
    );
    for path in ["/listen/127.0.0.1:8000", "/bind/127.0.0.1:8000"] {
        assert_eq!(answer(&p2, path).await, "PermissionDenied", "{path}");
    }
    assert_eq!(answer(&p3, "/listen").await, "ErrorCode::AccessDenied");
    for address in [
        "169.254.169.254:80",
        "10.0.0.1:80",
        "[::ffff:127.0.0.1]:80",
        "1.1.1.1:53",
    ] {
        let told = answer(&p2, &format!("/tcp/{address}?x")).await;
        assert!(
            ["PermissionDenied", "InvalidInput"].contains(&told.as_str()),
            "{address}: {told}"
        );
        let told = answer(&p2, &format!("/udp/{address}?x")).await;
        assert!(
            ["PermissionDenied", "InvalidInput"].contains(&told.as_str()),
            "{address}: {told}"
        );
    }
    let told = answer(&p2, "/look-up/service.wasmcloud.internal").await;
    assert_eq!(told, "127.0.0.1 ::1");
    let told = answer(&p3, "/look-up/example.com").await;
    assert_eq!(told, "ErrorCode::AccessDenied");
    outside.set_nonblocking(true).unwrap();
    assert!(outside.accept().is_err(), "a guest left the process");
}
