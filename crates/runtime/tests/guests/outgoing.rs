//! Outgoing HTTP: what is granted arrives, what is not is denied with the interface's own error.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use http::{Request, Response, Version, header::LOCATION};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::{
    body::{Frame, Incoming},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::Notify,
};
use tokio_rustls::TlsAcceptor;
use waft_ir::{LocalResources, LogSource};
use waft_runtime::{
    Body, BodyError, Denied, EgressPolicy, Engine, EngineBuilder, EngineConfig, Guest, GuestSpec,
    LocalRoutes, Resolve, request_body,
};

use crate::support::{self, Lines};

/// Names and what they resolve to, one answer after another; the last stays.
#[derive(Default)]
struct Names(Mutex<HashMap<String, Vec<IpAddr>>>);

#[async_trait]
impl Resolve for Names {
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let mut names = self.0.lock();
        let answers = names.get_mut(name).ok_or(io::ErrorKind::NotFound)?;
        let answer = answers[0];
        if answers.len() > 1 {
            answers.remove(0);
        }
        Ok(vec![answer])
    }
}

/// An engine whose names are the test's own.
struct Rig {
    engine: Engine,
    names: Arc<Names>,
}

/// A server on the machine's own address, which is no loopback address.
struct Origin {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    /// Tells all connections to end, as a server does that is stopped.
    end: Arc<Notify>,
}

/// Another workload, which never says all that it should.
struct Slow;

#[async_trait]
impl LocalRoutes for Slow {
    fn serves(&self, host: &str, _: &str) -> bool {
        host == "slow.test"
    }

    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        if request.uri().path() == "/silent" {
            std::future::pending::<()>().await;
        }
        let first = Ok::<_, BodyError>(Frame::data(Bytes::from_static(b"half")));
        let frames = futures::stream::iter([first]).chain(futures::stream::pending());
        Response::new(request_body(StreamBody::new(frames)))
    }
}

impl Rig {
    fn new() -> Self {
        Self::with(EngineConfig::default())
    }

    fn with(config: EngineConfig) -> Self {
        let names = Arc::new(Names::default());
        let mut builder = EngineBuilder::new(config);
        builder.resolver(names.clone());
        Self {
            engine: builder.build().unwrap(),
            names,
        }
    }

    fn name(&self, name: &str, answers: &[&str]) {
        let answers = answers.iter().map(|text| text.parse().unwrap()).collect();
        self.names.0.lock().insert(name.into(), answers);
    }

    async fn guest(&self, name: &str, hosts: &[&str]) -> (Guest, Arc<Lines>) {
        self.guest_with(name, hosts, |_| ()).await
    }

    async fn guest_with(
        &self,
        name: &str,
        hosts: &[&str],
        change: impl FnOnce(&mut GuestSpec),
    ) -> (Guest, Arc<Lines>) {
        let wasm = waft_guests::bytes(name);
        let compiled = self.engine.load(wasm.into(), name).await.unwrap();
        let (mut spec, lines) = support::spec();
        let resources = LocalResources {
            allowed_hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
            ..LocalResources::default()
        };
        spec.egress = Arc::new(EgressPolicy::new(&resources, false).unwrap());
        change(&mut spec);
        (self.engine.link(&compiled, spec).await.unwrap(), lines)
    }
}

impl Origin {
    /// `None`, said on stderr, on a machine without a network.
    async fn start(tls: Option<TlsAcceptor>) -> Option<Self> {
        let ip = waft_servers::outward_address()?;
        let listener = TcpListener::bind((ip, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = connections.clone();
        let end = Arc::new(Notify::new());
        let ended = end.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                counter.fetch_add(1, Relaxed);
                let (tls, ended) = (tls.clone(), ended.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, &ended).await,
                        // Clients that don't trust the certificate are part of the tests.
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, &ended).await;
                            }
                        }
                    }
                });
            }
        });
        Some(Self {
            address,
            connections,
            end,
        })
    }

    /// One that speaks HTTP/2 as `secure.test`, and the engine of guests that trust it, which reads
    /// the certificate when it first needs it.
    async fn start_http2() -> Option<(Self, Rig, TempDir)> {
        let (certificate, mut config) = waft_servers::self_signed("secure.test");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        std::fs::write(&file, certificate).unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let origin = Self::start(Some(TlsAcceptor::from(Arc::new(config)))).await?;
        let rig = Rig::with(EngineConfig {
            extra_ca: vec![file],
            ..EngineConfig::default()
        });
        rig.name("secure.test", &[&origin.address.ip().to_string()]);
        Some((origin, rig, folder))
    }

    fn port(&self) -> u16 {
        self.address.port()
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + 'static, ended: &Notify) {
    let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
    let connection = server.serve_connection(TokioIo::new(stream), service_fn(answer));
    let mut connection = pin!(connection);
    let _ = tokio::select! {
        result = &mut connection => result,
        () = ended.notified() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
}

async fn answer(request: Request<Incoming>) -> io::Result<Response<Full<Bytes>>> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let host = match parts.version {
        Version::HTTP_2 => parts.uri.authority().map(|a| a.as_str().to_owned()),
        _ => parts.headers["host"].to_str().map(Into::into).ok(),
    };
    let text = format!(
        "{:?} {} {} host={} body={}",
        parts.version,
        parts.method,
        parts.uri.path(),
        host.unwrap_or_default(),
        String::from_utf8_lossy(&body)
    );
    let response = Response::builder();
    let response = match parts.uri.path() {
        "/redirect" => response
            .status(302)
            .header(LOCATION, "http://169.254.169.254/latest/meta-data/"),
        _ => response,
    };
    Ok(response.body(Full::new(text.into())).unwrap())
}

async fn get(guest: &Guest, target: &str) -> String {
    let request = support::request(target, request_body(Full::new(Bytes::new())));
    let response = guest.handle(request, support::info("r1")).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

fn denied(guest: &Guest, reason: Denied) -> u64 {
    let at = Denied::ALL.iter().position(|known| *known == reason);
    guest.stats().egress.denied[at.unwrap()]
}

#[tokio::test]
async fn a_granted_host_is_reached_by_both_generations() {
    let Some(origin) = Origin::start(None).await else {
        return;
    };
    let rig = Rig::new();
    rig.name("origin.test", &[&origin.address.ip().to_string()]);
    let url = format!("http://origin.test:{}", origin.port());
    for name in ["fetch-p2", "fetch-p3"] {
        let (guest, _) = rig.guest(name, &["origin.test"]).await;
        assert_eq!(
            get(&guest, &format!("/?{url}/path")).await,
            format!(
                "200 HTTP/1.1 GET /path host=origin.test:{} body=",
                origin.port()
            ),
        );
        assert_eq!(
            get(&guest, &format!("/post?{url}")).await,
            format!(
                "200 HTTP/1.1 POST / host=origin.test:{} body=hello",
                origin.port()
            ),
        );
        assert_eq!(guest.stats().egress.requests, 2, "{name}");
        assert_eq!(
            guest.stats().egress.denied,
            [0; Denied::ALL.len()],
            "{name}"
        );
    }
}

#[tokio::test]
async fn what_is_not_granted_is_denied_counted_and_logged() {
    let rig = Rig::new();
    for (name, code) in [
        ("fetch-p2", "ErrorCode::HttpRequestDenied"),
        ("fetch-p3", "ErrorCode::HttpRequestDenied"),
    ] {
        let (guest, lines) = rig.guest(name, &["other.test"]).await;
        assert_eq!(get(&guest, "/?http://origin.test/").await, code, "{name}");
        assert_eq!(denied(&guest, Denied::NotGranted), 1);
        let host = lines.of(LogSource::Host);
        assert!(
            host[0].1.contains("http://origin.test:80 denied"),
            "{host:?}"
        );
    }
}

#[tokio::test]
async fn connections_are_used_again_and_belong_to_one_guest() {
    let Some(origin) = Origin::start(None).await else {
        return;
    };
    let rig = Rig::new();
    let target = format!("/many?10&http://{}/", origin.address);
    let host = origin.address.ip().to_string();
    for expected in 1..=2 {
        let (guest, _) = rig.guest("fetch-p2", &[&host]).await;
        assert_eq!(get(&guest, &target).await, "10");
        assert_eq!(get(&guest, &target).await, "10");
        assert_eq!(origin.connections.load(Relaxed), expected);
        assert_eq!(guest.stats().egress.connections, 1);
    }
}

#[tokio::test]
async fn requests_share_a_connection_of_http2_until_the_server_ends_it() {
    let Some((origin, rig, _folder)) = Origin::start_http2().await else {
        return;
    };
    let url = format!("https://secure.test:{}/", origin.port());
    let (guest, _) = rig.guest("fetch-p2", &["secure.test"]).await;
    let count = || origin.connections.load(Relaxed);
    assert_eq!(get(&guest, &format!("/many?10&{url}")).await, "10");
    assert_eq!((count(), guest.stats().egress.connections), (1, 1));
    // At the same time too: 16, which are so many that unread answers can't hold up others.
    assert_eq!(get(&guest, &format!("/hold?17&{url}")).await, "17");
    assert_eq!((count(), guest.stats().egress.connections), (2, 2));
    origin.end.notify_waiters();
    support::wait_until("the connections have gone", || {
        guest.stats().egress.connections == 0
    })
    .await;
    assert_eq!(get(&guest, &format!("/many?10&{url}")).await, "10");
    assert_eq!((count(), guest.stats().egress.connections), (3, 1));
}

#[tokio::test]
async fn shared_connections_make_room_when_nobody_uses_them() {
    let Some((origin, rig, _folder)) = Origin::start_http2().await else {
        return;
    };
    let address = origin.address.ip().to_string();
    let limit = |spec: &mut GuestSpec| spec.limits.outbound_connections = 1;
    let hosts = ["secure.test", address.as_str()];
    let (guest, _) = rig.guest_with("fetch-p2", &hosts, limit).await;
    let plain = Origin::start(None).await.unwrap();
    for _ in 0..2 {
        let url = format!("https://secure.test:{}/", origin.port());
        assert_eq!(get(&guest, &format!("/many?2&{url}")).await, "2");
        let url = format!("http://{}/", plain.address);
        assert_eq!(get(&guest, &format!("/many?2&{url}")).await, "2");
    }
    let counts = [&origin, &plain].map(|origin| origin.connections.load(Relaxed));
    assert_eq!((counts, guest.stats().egress.over_limit), ([2, 2], 0));
}

#[tokio::test]
async fn another_workload_is_waited_for_as_long_as_the_guest_wants() {
    let rig = Rig::new();
    let slow: Arc<dyn LocalRoutes> = Arc::new(Slow);
    rig.engine.set_local_routes(Arc::downgrade(&slow));
    let (guest, _) = rig.guest("fetch-p2", &["slow.test"]).await;
    let told = get(&guest, "/brief?http://slow.test/silent").await;
    assert_eq!(told, "ErrorCode::ConnectionReadTimeout");
    let told = get(&guest, "/brief?http://slow.test/").await;
    assert!(told.starts_with("200 and then "), "{told}");
}

#[tokio::test]
async fn a_private_address_needs_a_host_written_out() {
    let Some(origin) = Origin::start(None).await else {
        return;
    };
    let rig = Rig::new();
    rig.name("a.origin.test", &[&origin.address.ip().to_string()]);
    let by_name = format!("/?http://a.origin.test:{}/", origin.port());
    let by_address = format!("/?http://{}/", origin.address);
    let address = origin.address.ip().to_string();
    for (grant, target, reached) in [
        ("*", &by_name, false),
        ("*.origin.test", &by_name, false),
        ("a.origin.test", &by_name, true),
        ("*", &by_address, false),
        (address.as_str(), &by_address, true),
    ] {
        let (guest, _) = rig.guest("fetch-p2", &[grant]).await;
        let answer = get(&guest, target).await;
        let expected = if reached {
            "200 "
        } else {
            "ErrorCode::DestinationIpProhibited"
        };
        assert!(answer.starts_with(expected), "{grant}: {answer}");
        assert_eq!(
            denied(&guest, Denied::PrivateNeedsName),
            u64::from(!reached)
        );
    }
}

#[tokio::test]
async fn names_that_lead_to_the_machine_or_its_metadata_are_denied() {
    let rig = Rig::new();
    for address in [
        "127.0.0.1",
        "::1",
        "0.0.0.0",
        "::",
        "169.254.169.254",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::7f00:1",
        "fe80::1",
        "fd00:ec2::254",
        "255.255.255.255",
    ] {
        rig.name("evil.test", &[address]);
        // Written out, which is the widest grant there is.
        let (guest, _) = rig.guest("fetch-p2", &["evil.test"]).await;
        let answer = get(&guest, "/?http://evil.test:1/").await;
        assert_eq!(answer, "ErrorCode::DestinationIpProhibited", "{address}");
        assert_eq!(denied(&guest, Denied::Forbidden), 1, "{address}");
    }
    // In the notations that resolvers know, and as it stands.
    for host in [
        "127.1",
        "2130706433",
        "0x7f.0.0.1",
        "169.254.169.254",
        "[::ffff:a9fe:a9fe]",
    ] {
        rig.name(host, &["127.0.0.1"]);
        let (guest, _) = rig.guest("fetch-p2", &["*"]).await;
        let answer = get(&guest, &format!("/?http://{host}:1/")).await;
        assert_eq!(answer, "ErrorCode::DestinationIpProhibited", "{host}");
    }
}

#[tokio::test]
async fn a_name_that_changes_its_mind_is_checked_each_time() {
    let Some(origin) = Origin::start(None).await else {
        return;
    };
    let rig = Rig::new();
    let own = origin.address.ip().to_string();
    rig.name("rebind.test", &[&own, "127.0.0.1"]);
    let target = format!("/?http://rebind.test:{}/", origin.port());
    let (first, _) = rig.guest("fetch-p2", &["rebind.test"]).await;
    assert!(get(&first, &target).await.starts_with("200 "));
    let (second, _) = rig.guest("fetch-p2", &["rebind.test"]).await;
    assert_eq!(
        get(&second, &target).await,
        "ErrorCode::DestinationIpProhibited"
    );
}

#[tokio::test]
async fn a_redirect_is_handed_to_the_guest_and_followed_by_nobody() {
    let Some(origin) = Origin::start(None).await else {
        return;
    };
    let rig = Rig::new();
    let host = origin.address.ip().to_string();
    let (guest, _) = rig.guest("fetch-p2", &[&host, "*"]).await;
    let answer = get(&guest, &format!("/?http://{}/redirect", origin.address)).await;
    assert!(answer.starts_with("302 "), "{answer}");
    let answer = get(&guest, "/?http://169.254.169.254/latest/meta-data/").await;
    assert_eq!(answer, "ErrorCode::DestinationIpProhibited");
}

#[tokio::test]
async fn what_is_no_request_is_refused() {
    let Some(origin) = Origin::start(None).await else {
        return;
    };
    let rig = Rig::new();
    let host = origin.address.ip().to_string();
    let (guest, _) = rig.guest("fetch-p2", &[&host]).await;
    for (target, code) in [
        (
            "/connect?http://ADDRESS/",
            "ErrorCode::HttpRequestMethodInvalid",
        ),
        ("/?ftp://ADDRESS/", "ErrorCode::HttpProtocolError"),
        ("/?http://user@ADDRESS/", "ErrorCode::HttpRequestUriInvalid"),
        ("/?http://ADDRESS0000/", "ErrorCode::HttpRequestUriInvalid"),
        ("/?http://127.0.0.1:1/", "ErrorCode::ConnectionRefused"),
    ] {
        let target = target.replace("ADDRESS", &origin.address.to_string());
        assert_eq!(get(&guest, &target).await, code, "{target}");
    }
    let fine = format!("/?http://{}/", origin.address);
    assert!(get(&guest, &fine).await.starts_with("200 "));
}

#[tokio::test]
async fn what_is_no_port_is_refused() {
    let rig = Rig::new();
    let slow: Arc<dyn LocalRoutes> = Arc::new(Slow);
    rig.engine.set_local_routes(Arc::downgrade(&slow));
    for name in ["fetch-p2", "fetch-p3"] {
        let (guest, _) = rig.guest(name, &["granted.test", "slow.test"]).await;
        for port in ["0", "65536", "99999", "8o80", "+80", "-1"] {
            for url in [
                format!("http://granted.test:{port}/"),
                format!("https://granted.test:{port}/"),
                format!("http://slow.test:{port}/"),
            ] {
                let told = get(&guest, &format!("/?{url}")).await;
                assert_eq!(told, "ErrorCode::HttpRequestUriInvalid", "{name}: {url}");
            }
        }
    }
    // One that is written and empty is none; the name leads nowhere. In 0.3 it can't be set.
    let (guest, _) = rig.guest("fetch-p2", &["granted.test"]).await;
    let told = get(&guest, "/?http://granted.test:/").await;
    assert!(told.starts_with("ErrorCode::DnsError"), "{told}");
}

#[tokio::test]
async fn connections_are_limited() {
    let Some(origin) = Origin::start(None).await else {
        return;
    };
    let rig = Rig::new();
    let host = origin.address.ip().to_string();
    let limit = |spec: &mut GuestSpec| spec.limits.outbound_connections = 2;
    let (guest, _) = rig.guest_with("fetch-p2", &[&host], limit).await;
    let target = format!("/hold?3&http://{}/", origin.address);
    assert_eq!(get(&guest, &target).await, "2");
    assert_eq!(guest.stats().egress.over_limit, 1);
    // One after another they all find a place.
    let target = format!("/many?5&http://{}/", origin.address);
    assert_eq!(get(&guest, &target).await, "5");
}

#[tokio::test]
async fn tls_trusts_the_system_and_extra_authorities() {
    let (certificate, mut config) = waft_servers::self_signed("secure.test");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, certificate).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let Some(origin) = Origin::start(Some(TlsAcceptor::from(Arc::new(config)))).await else {
        return;
    };
    let own = origin.address.ip().to_string();
    for (extra_ca, name, expected) in [
        (
            vec![file.clone()],
            "secure.test",
            "200 HTTP/2.0 GET / host=secure.test",
        ),
        (vec![], "secure.test", "ErrorCode::TlsCertificateError"),
        (vec![file], "other.test", "ErrorCode::TlsCertificateError"),
    ] {
        let rig = Rig::with(EngineConfig {
            extra_ca,
            ..EngineConfig::default()
        });
        rig.name(name, &[&own]);
        let (guest, _) = rig.guest("fetch-p2", &[name]).await;
        let answer = get(&guest, &format!("/?https://{name}:{}/", origin.port())).await;
        assert!(answer.starts_with(expected), "{name}: {answer}");
    }
}
