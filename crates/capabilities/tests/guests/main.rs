//! Capabilities as guests see them.
#![allow(clippy::unwrap_used, reason = "in tests, helpers included")]

mod exact;
mod labels;

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use parking_lot::Mutex;
use waft_capabilities::{Backends, Capabilities};
use waft_ir::{CapabilityGrant, FailureReason, InterfaceName, Limits, LogSource, Pool};
use waft_runtime::{
    CallError, CallInfo, Compiled, Engine, EngineBuilder, EngineConfig, Guest, GuestSpec, LogSink,
    Refusal, request_body,
};

#[derive(Default)]
struct Lines(
    Mutex<Vec<(LogSource, Option<String>, String)>>,
    /// What was too long to become lines.
    Mutex<String>,
);

impl LogSink for Lines {
    fn line(&self, source: LogSource, request: Option<&str>, text: &str) {
        let line = (source, request.map(Into::into), text.to_owned());
        self.0.lock().push(line);
    }

    fn drop_rest(&self, rest: &str) {
        self.1.lock().push_str(rest);
    }
}

fn engine() -> Engine {
    engine_with(Backends::default())
}

fn engine_with(backends: Backends) -> Engine {
    let mut builder = EngineBuilder::new(EngineConfig {
        max_instances: 10,
        ..EngineConfig::default()
    });
    capabilities(backends).register(&mut builder);
    builder.build().unwrap()
}

fn capabilities(backends: Backends) -> Capabilities {
    Capabilities::new(backends).unwrap()
}

fn pairs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    pairs.iter().map(owned).collect()
}

fn grant(package: &str, interface: &str, config: &[(&str, &str)]) -> CapabilityGrant {
    CapabilityGrant {
        name: None,
        package: InterfaceName::new("wasi", package, None),
        interfaces: vec![interface.into()],
        config: pairs(config),
    }
}

/// An entry: name if there is one, package, interfaces, config.
type Entry<'a> = (&'a str, &'a str, &'a [&'a str], &'a [(&'a str, &'a str)]);

fn grants(entries: &[Entry<'_>]) -> Vec<CapabilityGrant> {
    let grant = |(name, package, interfaces, config): &Entry<'_>| CapabilityGrant {
        name: (!name.is_empty()).then(|| (*name).to_owned()),
        package: package.parse::<InterfaceName>().unwrap(),
        interfaces: interfaces.iter().map(|name| (*name).to_owned()).collect(),
        config: pairs(config),
    };
    entries.iter().map(grant).collect()
}

/// How often a guest was refused something for this reason.
fn refused(guest: &Guest, reason: Refusal) -> u64 {
    let at = Refusal::ALL.iter().position(|known| *known == reason);
    guest.stats().refused[at.unwrap()]
}

fn spec(grants: Vec<CapabilityGrant>, log: Arc<Lines>) -> GuestSpec {
    GuestSpec {
        workload: "default/test".into(),
        app: "test".into(),
        component: "main".into(),
        pool: Pool::default(),
        limits: Limits::default(),
        environment: pairs(&[("shared", "environment")]),
        config: pairs(&[("shared", "component"), ("own", "component")]),
        grants,
        egress: Arc::default(),
        loopback: waft_runtime::Loopback::default(),
        mounts: Vec::new(),
        log,
    }
}

async fn load(engine: &Engine, name: &str) -> Compiled {
    let wasm = waft_guests::bytes(name);
    engine.load(wasm.into(), name).await.unwrap()
}

/// A guest with these entries in its manifest.
async fn guest(engine: &Engine, name: &str, entries: Vec<CapabilityGrant>) -> Guest {
    guest_with(engine, name, entries, Arc::default()).await
}

async fn guest_with(
    engine: &Engine,
    name: &str,
    entries: Vec<CapabilityGrant>,
    lines: Arc<Lines>,
) -> Guest {
    let compiled = load(engine, name).await;
    engine.link(&compiled, spec(entries, lines)).await.unwrap()
}

/// Why a guest can't be linked with these entries alone: an import that needs another one.
async fn missing_entry(engine: &Engine, name: &str, entries: Vec<CapabilityGrant>) -> String {
    let compiled = load(engine, name).await;
    let refused = engine.link(&compiled, spec(entries, Arc::default())).await;
    let refused = refused.err().unwrap();
    assert_eq!(refused.reason, FailureReason::UnsupportedImport, "{name}");
    refused.message
}

async fn get(guest: &Guest, path: &str) -> (u16, String) {
    let (status, body) = send(guest, "GET", path, &[]).await;
    (status, String::from_utf8(body.to_vec()).unwrap())
}

async fn send(guest: &Guest, method: &str, path: &str, body: &[u8]) -> (u16, Bytes) {
    try_send(guest, method, path, body).await.unwrap()
}

async fn try_send(
    guest: &Guest,
    method: &str,
    path: &str,
    body: &[u8],
) -> Result<(u16, Bytes), CallError> {
    let request = http::Request::builder()
        .method(method)
        .uri(path)
        .header("host", "test.localhost")
        .body(request_body(Full::new(Bytes::copy_from_slice(body))))
        .unwrap();
    let info = CallInfo {
        origin: std::sync::Arc::<str>::from("r1").into(),
        timeout: None,
    };
    let response = guest.handle(request, info).await?;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    Ok((status, body))
}

#[tokio::test]
async fn configuration_is_merged_and_read() {
    let engine = engine();
    let entry = grant(
        "config",
        "store",
        &[("shared", "entry"), ("own", "entry"), ("entry", "entry")],
    );
    let guest = guest(&engine, "config-p2", vec![entry]).await;
    let (status, all) = get(&guest, "/").await;
    assert_eq!(status, 200);
    assert_eq!(all, "entry=entry\nown=component\nshared=environment\n");
    assert_eq!(get(&guest, "/?own").await.1.trim(), "component");
    assert_eq!(get(&guest, "/?missing").await.0, 404);
}

#[tokio::test]
async fn messages_become_lines_with_their_level() {
    let engine = engine();
    let lines = Arc::new(Lines::default());
    let entries = vec![grant("logging", "logging", &[])];
    let guest = guest_with(&engine, "logger-p2", entries, lines.clone()).await;
    get(&guest, "/?words").await;
    let lines = lines.0.lock();
    let logged = |source| {
        let of = lines.iter().filter(move |(from, ..)| *from == source);
        of.map(|(_, request, text)| {
            assert_eq!(request.as_deref(), Some("r1"));
            text.as_str()
        })
        .collect::<Vec<_>>()
    };
    let levels = logged(LogSource::Logging);
    let expected = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "CRITICAL"];
    assert_eq!(levels.len(), expected.len(), "{levels:?}");
    for (line, level) in levels.iter().zip(expected) {
        assert!(line.starts_with(level) && line.ends_with("words"), "{line}");
    }
    assert_eq!(logged(LogSource::Stdout).len(), 1);
    assert_eq!(logged(LogSource::Stderr).len(), 1);
}

#[tokio::test]
async fn an_empty_message_is_an_empty_line() {
    let engine = engine();
    let lines = Arc::new(Lines::default());
    let entries = vec![grant("logging", "logging", &[])];
    let guest = guest_with(&engine, "logger-p2", entries, lines.clone()).await;
    get(&guest, "/").await;
    let lines = lines.0.lock();
    let logged = lines.iter().filter(|(of, ..)| *of == LogSource::Logging);
    let logged: Vec<_> = logged.map(|(.., text)| text.as_str()).collect();
    assert_eq!(logged.len(), 6);
    assert_eq!(logged[2], "INFO [logger] ");
}

#[tokio::test]
async fn a_message_becomes_as_many_lines_as_a_log_takes_at_once() {
    let engine = engine();
    let lines = Arc::new(Lines::default());
    let entries = vec![grant("logging", "logging", &[])];
    let guest = guest_with(&engine, "logger-p2", entries.clone(), lines.clone()).await;
    let neighbour = guest_with(&engine, "logger-p2", entries, Arc::default()).await;
    let (flood, beside) = tokio::join!(get(&guest, "/flood"), get(&neighbour, "/?words"));
    assert_eq!(
        (flood.1.as_str(), beside.1.as_str()),
        ("logged\n", "logged\n")
    );
    let (lines, rest) = (lines.0.lock(), lines.1.lock());
    let context = "c".repeat(1 << 10);
    let expected = format!("INFO [{context}] ");
    assert!(lines.iter().all(|(.., text)| *text == expected));
    assert!((1..=64 << 10).contains(&lines.len()), "{}", lines.len());
    assert!(*rest == "\n".repeat((8 << 20) - lines.len()));
}

#[tokio::test]
async fn what_the_manifest_does_not_grant_is_refused_with_the_entry_to_add() {
    let engine = engine();
    for (guest, entry) in [
        (
            "config-p2",
            "{namespace: wasi, package: config, interfaces: [store]",
        ),
        (
            "logger-p2",
            "{namespace: wasi, package: logging, interfaces: [logging]",
        ),
    ] {
        let told = missing_entry(&engine, guest, Vec::new()).await;
        assert!(told.contains(entry), "{told}");
    }
}

#[tokio::test]
async fn buckets_keep_values_counters_and_batches() {
    let engine = engine();
    let compiled = load(&engine, "keyvalue-p2").await;
    let interfaces = ["store", "atomics", "batch"];
    let entries = |name: Option<&str>| {
        let mut entry = grant("keyvalue", "store", &[]);
        entry.interfaces = interfaces.map(Into::into).to_vec();
        entry.name = name.map(Into::into);
        vec![entry]
    };
    let any = spec(entries(None), Arc::default());
    let guest = engine.link(&compiled, any.clone()).await.unwrap();
    for (path, wanted) in [
        ("/get?b&k", "none, exists: false"),
        ("/set?b&k&value", "set"),
        ("/get?b&k", "value"),
        ("/get?other&k", "none, exists: false"),
        ("/add?b&c", "1"),
        ("/add?b&c", "2"),
        ("/keys?b", "c k"),
        ("/delete?b&k", "deleted"),
        ("/get?b&k", "none, exists: false"),
        ("/batch?batch", "x y found, 0 left"),
    ] {
        assert_eq!(get(&guest, path).await.1, wanted, "{path}");
    }

    // Another workload of the namespace shares its buckets, another namespace has none of them.
    let mut neighbour = any.clone();
    neighbour.workload = "default/neighbour".into();
    let neighbour = engine.link(&compiled, neighbour).await.unwrap();
    assert_eq!(get(&neighbour, "/add?b&c").await.1, "3");
    let mut stranger = any;
    stranger.workload = "elsewhere/test".into();
    let stranger = engine.link(&compiled, stranger).await.unwrap();
    assert_eq!(get(&stranger, "/add?b&c").await.1, "1");

    // A name grants the bucket of that name.
    let named = spec(entries(Some("b")), Arc::default());
    let named = engine.link(&compiled, named).await.unwrap();
    assert_eq!(get(&named, "/add?b&c").await.1, "4");
    assert_eq!(get(&named, "/add?other&c").await.1, "Error::NoSuchStore");
}

#[tokio::test]
async fn one_call_of_a_batch_names_as_many_keys_as_it_may() {
    let engine = engine();
    let entries = grants(&[("", "wasi:keyvalue", &["store", "atomics", "batch"], &[])]);
    let guest = guest(&engine, "keyvalue-p2", entries).await;
    for what in ["set", "get", "delete"] {
        let told = async |count: u32| get(&guest, &format!("/many?b&{count}&{what}")).await.1;
        assert_eq!(told(10_000).await, "done");
        let refused = told(10_001).await;
        assert!(
            refused.contains("more than 10000 keys"),
            "{what}: {refused}"
        );
    }
}

/// Name and config.
type Named<'a> = (Option<&'a str>, &'a [(&'a str, &'a str)]);

/// Entries of wasi:blobstore.
fn containers(entries: &[Named<'_>]) -> Vec<CapabilityGrant> {
    let entry = |(name, config): &Named<'_>| {
        let mut entry = grant("blobstore", "container", config);
        entry.interfaces = ["blobstore", "container", "types"].map(Into::into).to_vec();
        entry.name = name.map(Into::into);
        entry
    };
    entries.iter().map(entry).collect()
}

#[tokio::test]
async fn objects_are_streamed_in_and_out() {
    let engine = engine();
    let compiled = load(&engine, "blobstore-p2").await;
    let lines = Arc::new(Lines::default());
    let any = spec(containers(&[(None, &[])]), lines.clone());
    let guest = engine.link(&compiled, any.clone()).await.unwrap();
    let said = async |method: &str, path: &str, body: &[u8], wanted: &str| {
        let (_, answer) = send(&guest, method, path, body).await;
        assert_eq!(String::from_utf8_lossy(&answer), wanted, "{method} {path}");
    };
    let body = b"0123456789";
    let no_container = "there is no container `c`";
    let no_object = "there is no object `o`";
    for (method, path, wanted) in [
        ("GET", "/c", no_container),
        ("GET", "/c/o", no_container),
        ("POST", "/c/o", "10 bytes"),
        ("GET", "/c/o", "0123456789"),
        ("GET", "/c/o?2-4", "234"),
        ("GET", "/c/o?8-100", "89"),
        ("GET", "/c/o?10-10", ""),
        ("GET", "/c/o?4-2", "the range ends before it begins: 4 to 2"),
        ("GET", "/c/o?info", "c/o: 10 bytes, made after: true"),
        ("POST", "/c/late?late", "10 bytes"),
        ("GET", "/c/late", "0123456789"),
        ("GET", "/c", "late o"),
        ("POST", "/c/o?copy=d/x", "there is no container `d`"),
        ("POST", "/d/../x", "10 bytes"),
        ("POST", "/c/o?copy=d/x", "done"),
        ("POST", "/c/late?move=d/late", "done"),
        // Moved to where it is, it stays.
        ("POST", "/c/o?move=c/o", "done"),
        ("GET", "/c", "o"),
        ("GET", "/d", "../x late x"),
        ("GET", "/d/x", "0123456789"),
        ("DELETE", "/c/o", "was there: true"),
        ("DELETE", "/c/o", "was there: false"),
        ("GET", "/c/o", no_object),
        ("GET", "/c/o?info", no_object),
        ("POST", "/d?clear", "done"),
        ("GET", "/d", ""),
        ("DELETE", "/c", "done"),
        ("GET", "/c", no_container),
    ] {
        said(method, path, body, wanted).await;
    }

    // A value that is not finished is not stored, and the log says so; its stream is closed with it.
    said("POST", "/c/lost?orphan", body, "closed: true").await;
    said("POST", "/c/lost?lost", body, "lost").await;
    said("GET", "/c", &[], "").await;
    let told = lines.0.lock().iter().any(|(source, _, text)| {
        *source == LogSource::Host && text.contains("`lost`") && text.contains("`finish`")
    });
    assert!(told);

    let large: Vec<u8> = (0..5_000_000u32).map(|n| (n % 251) as u8).collect();
    said("POST", "/c/large", &large, "5000000 bytes").await;
    assert!(send(&guest, "GET", "/c/large", &[]).await.1 == large);

    // Another workload of the namespace shares its containers, another namespace has none of them.
    let mut neighbour = any.clone();
    neighbour.workload = "default/neighbour".into();
    let neighbour = engine.link(&compiled, neighbour).await.unwrap();
    assert_eq!(get(&neighbour, "/c").await.1, "large");
    let mut stranger = any;
    stranger.workload = "elsewhere/test".into();
    let stranger = engine.link(&compiled, stranger).await.unwrap();
    assert_eq!(get(&stranger, "/c").await, (400, no_container.into()));
}

#[tokio::test]
async fn containers_are_those_of_the_manifest_and_only_read_where_it_says_so() {
    let engine = engine();
    let compiled = load(&engine, "blobstore-p2").await;
    let linked = async |entries: &[Named<'_>]| {
        let spec = spec(containers(entries), Arc::default());
        engine.link(&compiled, spec).await
    };
    let writer = linked(&[(None, &[("buckets", "site, other")])])
        .await
        .unwrap();
    let reader = linked(&[
        (Some("pages"), &[("bucket", "site"), ("read_only", "true")]),
        (None, &[("bucket", "own"), ("read_only", "false")]),
    ])
    .await
    .unwrap();
    let said = async |guest: &Guest, method: &str, path: &str| {
        let (_, answer) = send(guest, method, path, b"x").await;
        String::from_utf8(answer.to_vec()).unwrap()
    };
    assert_eq!(said(&writer, "POST", "/site/a").await, "1 bytes");
    for (method, path) in [("POST", "/else/a"), ("GET", "/own"), ("DELETE", "/own")] {
        let told = said(&writer, method, path).await;
        assert!(told.contains("is not granted"), "{path}: {told}");
    }
    assert_eq!(refused(&writer, Refusal::Bucket), 3);

    // Under the name of the entry, and under no other.
    assert_eq!(said(&reader, "GET", "/pages/a").await, "x");
    assert_eq!(said(&reader, "POST", "/own/b").await, "1 bytes");
    assert!(said(&reader, "GET", "/site/a").await.contains("granted"));
    for (method, path) in [
        ("POST", "/pages/b"),
        ("POST", "/pages?clear"),
        ("POST", "/own/b?copy=pages/b"),
        ("POST", "/pages/a?move=own/a"),
        ("DELETE", "/pages/a"),
        ("DELETE", "/pages"),
    ] {
        let told = said(&reader, method, path).await;
        assert!(told.contains("`config.read_only`"), "{path}: {told}");
    }
    assert_eq!(refused(&reader, Refusal::ReadOnlyBucket), 6);
    assert_eq!(said(&reader, "POST", "/pages/a?copy=own/a").await, "done");
    assert_eq!(said(&reader, "GET", "/own").await, "a b");
    assert_eq!(said(&writer, "GET", "/site").await, "a");

    // Values and lists are bounded, and come back when their owner has gone.
    for path in ["/pages/a?held", "/pages?held", "/pages/a?held"] {
        assert_eq!(said(&reader, "GET", path).await, "256");
    }
    assert_eq!(refused(&reader, Refusal::OpenFiles), 3);

    // Past what a namespace may keep in memory; what is deleted gives its room back.
    let large = vec![0; 40 << 20];
    let (_, stored) = send(&writer, "POST", "/site/large", &large).await;
    assert_eq!(stored, format!("{} bytes", large.len()).as_bytes());
    let (_, told) = send(&writer, "POST", "/site/more", &large).await;
    let told = String::from_utf8_lossy(&told).into_owned();
    assert!(told.contains("hold as much as they may"), "{told}");
    assert_eq!(refused(&writer, Refusal::StoreFull), 1);
    assert_eq!(
        said(&writer, "DELETE", "/site/large").await,
        "was there: true"
    );
    let (status, _) = send(&writer, "POST", "/site/more", &large).await;
    assert_eq!((status, refused(&writer, Refusal::StoreFull)), (200, 1));

    let refused = linked(&[(None, &[("read_only", "yes")])]).await;
    let refused = refused.err().unwrap();
    assert!(refused.message.contains("`yes`"), "{}", refused.message);
}

#[tokio::test]
async fn a_guest_speaks_tls_to_whom_it_may_connect() {
    let Some(ip) = waft_servers::outward_address() else {
        return;
    };
    let (certificate, config) = waft_servers::self_signed("secure.test");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, certificate).unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind((ip, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _};
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(stream) = acceptor.accept(stream).await else {
                continue;
            };
            let mut stream = tokio::io::BufReader::new(stream);
            let mut line = String::new();
            stream.read_line(&mut line).await.unwrap();
            let answer = line.trim().to_uppercase().repeat(10_000);
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
        }
    });
    let engine = |extra_ca: Vec<std::path::PathBuf>| {
        let mut builder = EngineBuilder::new(EngineConfig {
            extra_ca,
            ..EngineConfig::default()
        });
        capabilities(Backends::default()).register(&mut builder);
        builder.build().unwrap()
    };
    let trusting = engine(vec![file]);
    let cases = [
        (&trusting, "secure.test", true, "HELLO"),
        (
            &trusting,
            "other.test",
            true,
            "no TLS: invalid peer certificate",
        ),
        (&trusting, "not..a.name", true, "no TLS: this is no name"),
        (
            &trusting,
            "secure.test",
            false,
            "not connected: ErrorCode::AccessDenied",
        ),
        (
            &engine(Vec::new()),
            "secure.test",
            true,
            "no TLS: invalid peer certificate",
        ),
    ];
    for (engine, name, granted, expected) in cases {
        let compiled = load(engine, "tls-p3").await;
        let mut spec = spec(vec![grant("tls", "client", &[])], Arc::default());
        spec.grants[0].interfaces.push("types".into());
        let resources = waft_ir::LocalResources {
            allowed_hosts: granted
                .then(|| format!("{ip}:{port}"))
                .into_iter()
                .collect(),
            ..waft_ir::LocalResources::default()
        };
        spec.egress = Arc::new(waft_runtime::EgressPolicy::new(&resources, false).unwrap());
        let guest = engine.link(&compiled, spec).await.unwrap();
        let (_, answer) = get(&guest, &format!("/{name}/{ip}/{port}?hello")).await;
        assert!(
            answer.starts_with(expected),
            "{name}: {}",
            &answer[..answer.len().min(100)]
        );
        if expected == "HELLO" {
            assert_eq!(answer.len(), 50_000);
        }
    }
}
