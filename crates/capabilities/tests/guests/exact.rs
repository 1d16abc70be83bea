//! An entry grants the interfaces that it lists, and no others: to import, and to use what it names.

use std::sync::Arc;

use waft_capabilities::Backends;
use waft_runtime::Refusal;
use waft_servers::Server;

use crate::{
    Entry, Lines, engine, engine_with, get, grants, guest, guest_with, missing_entry, refused,
    send, try_send,
};

const SECRETS: &str = "wasmcloud:secrets@2.1.0";

#[tokio::test]
async fn an_import_that_no_entry_lists_is_refused_with_what_to_add() {
    let engine = engine();
    let cases: [(&str, &str, &[&str], &str); 7] = [
        (
            "keyvalue-p2",
            "wasi:keyvalue",
            &["store", "batch"],
            "`atomics`",
        ),
        (
            "keyvalue-p2",
            "wasi:keyvalue",
            &["store", "atomics"],
            "`batch`",
        ),
        (
            "keyvalue-p2",
            "wasi:keyvalue",
            &["atomics", "batch"],
            "`store`",
        ),
        (
            "blobstore-p2",
            "wasi:blobstore",
            &["blobstore", "types"],
            "`container`",
        ),
        // Types come with them.
        (
            "blobstore-p2",
            "wasi:blobstore",
            &["blobstore"],
            "`container`",
        ),
        (
            "asker-p2",
            "wasmcloud:messaging",
            &["handler"],
            "`consumer`",
        ),
        ("secrets-p3", SECRETS, &["store", "secret"], "`reveal`"),
    ];
    for (name, package, interfaces, missing) in cases {
        let entries = grants(&[("", package, interfaces, &[])]);
        let told = missing_entry(&engine, name, entries).await;
        let package = package.split('@').next().unwrap();
        let remedy = format!(
            "In its entry of {package} in spec.hostInterfaces, add {missing} to the `interfaces`"
        );
        assert!(told.ends_with(&remedy), "{told}");
    }
}

#[tokio::test]
async fn a_bucket_is_used_by_the_interfaces_of_its_entry() {
    let all: &[&str] = &["store", "atomics", "batch"];
    let package = "wasi:keyvalue";
    let memory: &[(&str, &str)] = &[("backend", "in-memory")];
    let folder = tempfile::tempdir().unwrap();
    let engine = engine_with(Backends {
        data_dir: Some(folder.path().to_owned()),
        ..Backends::default()
    });
    let entries = [
        ("full", package, all, memory),
        ("thin", package, &["store"], memory),
        // For a bucket that another entry opens: the same one, and one that only has its name.
        ("first", package, &["store"], &[("bucket", "shared")]),
        ("second", package, &["atomics"], &[("bucket", "shared")]),
        (
            "other",
            package,
            &["store"],
            &[("backend", "in-memory"), ("bucket", "shared")],
        ),
    ];
    let guest = guest(&engine, "keyvalue-p2", grants(&entries)).await;
    for (path, wanted) in [
        ("/set?full&k&v", "set"),
        ("/add?full&n", "1"),
        ("/batch?full", "x y found, 2 left"),
        ("/set?thin&k&v", "set"),
        ("/keys?thin", "k"),
        ("/add?thin&n", "Error::AccessDenied"),
        ("/batch?thin", "Error::AccessDenied"),
        ("/get?thin&n", "none, exists: false"),
        ("/add?first&n", "1"),
        ("/batch?first", "Error::AccessDenied"),
        ("/add?other&n", "Error::AccessDenied"),
        // It lists no `store`, so it opens nothing.
        ("/get?second&n", "Error::NoSuchStore"),
    ] {
        assert_eq!(get(&guest, path).await.1, wanted, "{path}");
    }
    assert_eq!(refused(&guest, Refusal::Bucket), 5);
}

#[tokio::test]
async fn an_entry_with_a_name_grants_the_buckets_that_it_lists_too() {
    let store: &[&str] = &["store", "atomics", "batch"];
    let package = "wasi:keyvalue";
    let entries = [
        ("a", package, store, &[("buckets", "p, q")][..]),
        ("b", package, &["store"], &[("bucket", "q")]),
    ];
    let guest = guest(&engine(), "keyvalue-p2", grants(&entries)).await;
    for (path, wanted) in [
        ("/set?a&k&own", "set"),
        ("/set?p&k&one", "set"),
        ("/set?q&k&two", "set"),
        ("/get?a&k", "own"),
        ("/get?p&k", "one"),
        ("/get?b&k", "two"),
        ("/get?other&k", "Error::NoSuchStore"),
    ] {
        assert_eq!(get(&guest, path).await.1, wanted, "{path}");
    }
}

#[tokio::test]
async fn a_prefix_stands_before_the_names_of_buckets_in_every_backend() {
    let (Some(redis), Some(nats)) = (Server::redis(), Server::nats()) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let engine = engine_with(Backends {
        data_dir: Some(folder.path().to_owned()),
        redis: Some(redis.url()),
        nats: Some(nats.url()),
        ..Backends::default()
    });
    let store: &[&str] = &["store", "atomics", "batch"];
    for backend in ["filesystem", "in-memory", "redis", "nats"] {
        let config = |prefix| [("backend", backend), ("bucket", "x"), ("prefix", prefix)];
        let (one, two) = (config("a-"), config("b-"));
        let entries = [
            ("one", "wasi:keyvalue", store, &one[..]),
            ("two", "wasi:keyvalue", store, &two),
            (
                "whole",
                "wasi:keyvalue",
                store,
                &[("backend", backend), ("bucket", "a-x")],
            ),
        ];
        let guest = guest(&engine, "keyvalue-p2", grants(&entries)).await;
        for (path, wanted) in [
            ("/set?one&k&v", "set"),
            ("/get?two&k", "none, exists: false"),
            ("/get?one&k", "v"),
            ("/get?whole&k", "v"),
        ] {
            assert_eq!(get(&guest, path).await.1, wanted, "{backend} {path}");
        }
    }
}

#[tokio::test]
async fn a_container_is_used_by_the_interfaces_of_its_entry() {
    let package = "wasi:blobstore";
    let entries: [Entry<'_>; 3] = [
        ("full", package, &["blobstore", "container", "types"], &[]),
        ("thin", package, &["blobstore"], &[]),
        ("more", package, &["container"], &[("bucket", "late")]),
    ];
    let mut late: Vec<Entry<'_>> = entries.to_vec();
    late.push(("late", package, &["blobstore"], &[]));
    let guest = guest(&engine(), "blobstore-p2", grants(&late)).await;
    let said = async |method: &str, path: &str| {
        let (_, answer) = send(&guest, method, path, b"x").await;
        String::from_utf8(answer.to_vec()).unwrap()
    };
    assert_eq!(said("POST", "/full/o").await, "1 bytes");
    assert_eq!(said("GET", "/full").await, "o");
    // It is made, and nothing is put into it.
    for (method, path) in [("POST", "/thin/o"), ("GET", "/thin"), ("GET", "/thin/o")] {
        let refused = said(method, path).await;
        assert!(
            refused.contains("granted without `container`"),
            "{path}: {refused}"
        );
    }
    assert_eq!(refused(&guest, Refusal::Bucket), 3);
    assert_eq!(said("DELETE", "/thin").await, "done");
    // Another entry grants the interface for the same container.
    assert_eq!(said("POST", "/late/o").await, "1 bytes");
    let refused = said("GET", "/more").await;
    assert!(refused.contains("`more` is not granted"), "{refused}");
}

#[tokio::test]
async fn a_secret_is_found_and_revealed_as_its_entry_lists() {
    let entries = [
        ("", SECRETS, &["store"][..], &[("quiet", "one")][..]),
        ("loud", SECRETS, &["store", "reveal"], &[("word", "two")]),
        ("own", SECRETS, &["secret", "reveal"], &[("own", "three")]),
    ];
    let lines = Arc::new(Lines::default());
    let guest = guest_with(&engine(), "secrets-p3", grants(&entries), lines.clone()).await;
    assert_eq!(get(&guest, "/reveal?word").await.1, "two");
    // An entry that lists only `secret` gives it to the import of its name.
    assert_eq!(get(&guest, "/reveal?own").await.1, "SecretsError::NotFound");
    assert!(try_send(&guest, "GET", "/reveal?quiet", b"").await.is_err());
    let told = |text: &str| lines.0.lock().iter().any(|(.., line)| line.contains(text));
    assert!(told("the secret `quiet` is not granted to be revealed"));
    assert!(!told("one"));

    // One that names no secret lists it for all.
    let entries = [entries[0], ("all", SECRETS, &["reveal"], &[])];
    let guest = crate::guest(&engine(), "secrets-p3", grants(&entries)).await;
    assert_eq!(get(&guest, "/reveal?quiet").await.1, "one");
}

#[tokio::test]
async fn messages_go_to_the_broker_of_the_entry_that_lists_the_consumer() {
    // Nobody is there, which is told when a message is sent to it.
    let engine = engine_with(Backends {
        nats: Some("nats://127.0.0.1:9".into()),
        ..Backends::default()
    });
    let package = "wasmcloud:messaging@0.2.0";
    let nats: &[(&str, &str)] = &[("backend", "nats"), ("subscriptions", "x")];
    let entries = [
        ("", package, &["handler"][..], nats),
        ("out", package, &["consumer"], &[]),
        ("newer", "wasmcloud:messaging@0.3.0", &["consumer"], nats),
    ];
    let guest = guest(&engine, "asker-p2", grants(&entries)).await;
    assert_eq!(get(&guest, "/publish?subject&x").await.1, "published");
}

#[tokio::test]
async fn statements_go_to_the_database_of_the_entry_that_lists_the_interface() {
    let Some(server) = Server::postgres() else {
        return;
    };
    let engine = engine_with(Backends {
        postgres: Some(server.url()),
        ..Backends::default()
    });
    let package = "wasmcloud:postgres@0.2.0";
    let entries = [
        ("", package, &["query"][..], &[("database", "postgres")][..]),
        ("run", package, &["prepared"], &[("database", "template1")]),
        ("kinds", package, &["types"], &[]),
    ];
    let guest = guest(&engine, "postgres-p3", grants(&entries)).await;
    let made = get(&guest, "/batch?CREATE+TABLE+here+(n+int)").await.1;
    assert_eq!(made, "done");
    let (_, found) = get(&guest, "/query?SELECT+current_database()::text").await;
    assert!(found.contains("postgres"), "{found}");
    let (_, missing) = get(&guest, "/twice?DELETE+FROM+here").await;
    assert!(missing.contains("42P01"), "{missing}");
}
