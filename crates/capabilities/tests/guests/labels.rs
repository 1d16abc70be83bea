//! Imports under names of a component's own: behind each is the entry of that name.

use std::sync::Arc;

use waft_capabilities::{Backends, Signal, Telemetry};
use waft_ir::LogSource;
use waft_servers::Server;

use crate::{Entry, Lines, engine_with, get, grants, guest, guest_with, missing_entry};

const MEMORY: &[(&str, &str)] = &[("backend", "in-memory")];

/// What `labels-p2` needs. An entry without name is for what it imports under the interfaces' own names.
const ENTRIES: &[Entry<'_>] = &[
    (
        "photos",
        "wasi:blobstore",
        &["blobstore", "container", "types"],
        MEMORY,
    ),
    (
        "archive",
        "wasi:blobstore",
        &["blobstore", "container", "types"],
        &[],
    ),
    ("fast", "wasi:keyvalue", &["store", "atomics"], MEMORY),
    ("lasting", "wasi:keyvalue", &["store", "atomics"], &[]),
    ("some", "wasi:keyvalue", &["store", "batch"], MEMORY),
    ("more", "wasi:keyvalue", &["store", "batch"], &[]),
    ("audit", "wasi:logging", &["logging"], &[]),
    ("chatter", "wasi:logging", &["logging"], &[]),
    ("traced", "wasi:otel", &["tracing"], &[]),
    ("told", "wasi:otel", &["logs"], &[]),
    ("metered", "wasi:otel", &["metrics"], &[]),
];

#[tokio::test]
async fn each_interface_is_that_of_the_entry_with_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let (telemetry, mut receiver) = Telemetry::new(Vec::new());
    let engine = engine_with(Backends {
        data_dir: Some(folder.path().to_owned()),
        telemetry: Some(telemetry),
        ..Backends::default()
    });
    let lines = Arc::new(Lines::default());
    let guest = guest_with(&engine, "labels-p2", grants(ENTRIES), lines.clone()).await;
    for (path, wanted) in [
        // The same container and object by two names are two places.
        ("/put?photos&trips&sea&wide", "stored"),
        ("/put?archive&trips&sea&deep", "stored"),
        ("/read?photos&trips&sea", "wide"),
        ("/read?archive&trips&sea", "deep"),
        ("/read?photos&other&sea", "there is no container `other`"),
        // So are the buckets of the entries.
        ("/add?fast&fast&n", "1"),
        ("/add?fast&fast&n", "2"),
        ("/add?lasting&lasting&n", "1"),
        ("/get?fast&n", "2"),
        ("/get?lasting&n", "1"),
        ("/many?some&some&k", "1 found"),
        ("/get?more&k", "none"),
        ("/many?more&more&k", "1 found"),
        ("/get?more&k", "set"),
        ("/get?other&k", "Error::NoSuchStore"),
        ("/log?words", "logged"),
        ("/tell?words", "told"),
    ] {
        assert_eq!(get(&guest, path).await.1, wanted, "{path}");
    }
    let logged = lines.0.lock();
    let logged = logged.iter();
    let logged = logged.filter(|(source, ..)| *source == LogSource::Logging);
    let logged: Vec<_> = logged.map(|(.., text)| text.as_str()).collect();
    assert_eq!(logged, ["WARN [audit] words", "DEBUG [chatter] words"]);
    let mut all = Vec::new();
    receiver.rest(&mut all, 10);
    let signals: Vec<_> = all.iter().map(|told| told.signal).collect();
    assert_eq!(signals, [Signal::Spans, Signal::Logs, Signal::Metrics]);
}

#[tokio::test]
async fn each_name_needs_its_entry() {
    let engine = engine_with(Backends::default());
    for (at, (name, package, ..)) in ENTRIES.iter().enumerate() {
        let mut entries = grants(ENTRIES);
        entries.remove(at);
        let told = missing_entry(&engine, "labels-p2", entries).await;
        let package = package.strip_prefix("wasi:").unwrap();
        let entry = format!(
            "Add to spec.hostInterfaces: {{name: {name}, namespace: wasi, package: {package}, \
             interfaces: ["
        );
        assert!(told.contains(&entry), "{told}");
    }
}

#[tokio::test]
async fn each_database_is_that_of_the_entry_with_its_name() {
    let Some(server) = Server::postgres() else {
        return;
    };
    let engine = engine_with(Backends {
        postgres: Some(server.url()),
        ..Backends::default()
    });
    const FIRST: &[(&str, &str)] = &[("database", "postgres")];
    const SECOND: &[(&str, &str)] = &[("database", "template1")];
    let entries = grants(&[
        ("one", "wasmcloud:postgres@0.2.0", &["query"], FIRST),
        ("two", "wasmcloud:postgres@0.2.0", &["query"], SECOND),
        ("first", "wasmcloud:postgres@0.2.0", &["prepared"], FIRST),
        ("second", "wasmcloud:postgres@0.2.0", &["prepared"], SECOND),
        (
            "old-one",
            "wasmcloud:postgres@0.1.1-draft",
            &["query"],
            FIRST,
        ),
        (
            "old-two",
            "wasmcloud:postgres@0.1.1-draft",
            &["query"],
            SECOND,
        ),
    ]);
    let guest = guest(&engine, "labels-p3", entries).await;
    let admin = get(&guest, "/make").await.1;
    assert_eq!(admin, "made");
    for (path, wanted) in [
        ("/one", "[[PgValue::Text(\"postgres\")]]"),
        ("/two", "[[PgValue::Text(\"template1\")]]"),
        ("/old-one", "PgValue::Text(\"postgres\")"),
        ("/old-two", "PgValue::Text(\"template1\")"),
        ("/first", "1"),
        ("/second", "2"),
    ] {
        assert_eq!(get(&guest, path).await.1, wanted, "{path}");
    }
}
