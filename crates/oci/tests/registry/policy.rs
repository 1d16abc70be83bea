//! When the registry is asked, and when the cache answers.

use std::fs;

use futures::future::join_all;
use waft_ir::{Artifacts, FailureReason, PullPolicy};

use crate::{
    failure, hello, image,
    server::{Server, digest},
    store, visible,
};

#[tokio::test]
async fn a_cached_image_needs_no_registry() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start().await;
    let name = server.image("v1", b"one");
    let reference = server.reference("v1");
    let wanted = image(&reference, PullPolicy::IfNotPresent);
    let first = store(dir.path()).fetch(&wanted).await.unwrap();
    assert_eq!(first.bytes, "one");
    assert_eq!(first.digest, name);
    assert_eq!(first.content_digest.to_string(), digest(b"one"));
    assert_eq!(first.pinned, format!("{}/app@{name}", server.host));
    assert_eq!(server.requests(), ["GET manifests/v1", "GET blobs/sha256"]);
    server.image("v1", b"two");
    for policy in [PullPolicy::IfNotPresent, PullPolicy::Never] {
        let wanted = image(&reference, policy);
        let again = store(dir.path()).fetch(&wanted).await.unwrap();
        assert_eq!(again.bytes, "one");
    }
    let pinned = image(&first.pinned, PullPolicy::Always);
    let again = store(dir.path()).fetch(&pinned).await.unwrap();
    assert_eq!(again.bytes, "one");
    assert_eq!(server.requests(), Vec::<String>::new());
}

#[tokio::test]
async fn always_asks_for_the_tag_and_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start().await;
    let store = store(dir.path());
    server.image("v1", b"one");
    let wanted = image(server.reference("v1"), PullPolicy::Always);
    store.fetch(&wanted).await.unwrap();
    server.requests();
    assert_eq!(store.fetch(&wanted).await.unwrap().bytes, "one");
    assert_eq!(server.requests(), ["HEAD manifests/v1"]);
    server.image("v1", b"two");
    assert_eq!(store.fetch(&wanted).await.unwrap().bytes, "two");
    // What Always has found is what IfNotPresent goes on with.
    let lazy = image(server.reference("v1"), PullPolicy::IfNotPresent);
    assert_eq!(store.fetch(&lazy).await.unwrap().bytes, "two");
}

#[tokio::test]
async fn never_does_not_ask() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start().await;
    server.image("v1", b"one");
    let wanted = image(server.reference("v1"), PullPolicy::Never);
    let failure = failure(store(dir.path()).fetch(&wanted).await);
    assert_eq!(failure.reason, FailureReason::ImageNotCached);
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn a_damaged_cache_heals() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start().await;
    let name = server.image("v1", b"one");
    let wanted = image(server.reference("v1"), PullPolicy::IfNotPresent);
    let store = store(dir.path());
    store.fetch(&wanted).await.unwrap();
    server.requests();
    let blobs = dir.path().join("cache/blobs");
    let path = |digest: &str| blobs.join(digest.replace(':', "/"));
    // The tag has moved meanwhile; healing brings back the same image all the same.
    server.image("v1", b"two");
    fs::write(path(&digest(b"one")), "evil").unwrap();
    assert_eq!(store.fetch(&wanted).await.unwrap().bytes, "one");
    fs::write(path(&name), "evil").unwrap();
    assert_eq!(store.fetch(&wanted).await.unwrap().bytes, "one");
    assert_eq!(
        server.requests(),
        ["GET blobs/sha256", "GET manifests/sha256"]
    );
    assert_eq!(visible(dir.path()), 2);
}

#[tokio::test]
async fn calls_at_the_same_time_share_one_download() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start().await;
    server.image("v1", b"one");
    let wanted = image(server.reference("v1"), PullPolicy::Always);
    let store = store(dir.path());
    let all = join_all((0..8).map(|_| store.fetch(&wanted))).await;
    assert!(all.into_iter().all(|f| f.unwrap().bytes == "one"));
    let requests = server.requests();
    assert_eq!(requests.len(), 3, "{requests:?}");
}

#[tokio::test]
async fn resolving_tells_imports_and_exports() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start().await;
    let name = server.image("v1", &hello());
    server.image("bad", b"hello");
    let store = store(dir.path());
    let wanted = image(server.reference("v1"), PullPolicy::IfNotPresent);
    let artifact = store.resolve(&wanted).await.unwrap();
    assert_eq!(artifact.digest, name);
    assert_eq!(artifact.pinned, format!("{}/app@{name}", server.host));
    let http = |list: &[waft_ir::InterfaceName]| list.iter().any(|name| name.package == "http");
    assert!(http(&artifact.imports) && http(&artifact.exports));
    let bad = image(server.reference("bad"), PullPolicy::IfNotPresent);
    let failure = store.resolve(&bad).await.unwrap_err();
    assert_eq!(failure.reason, FailureReason::NotWasm);
    assert!(failure.message.contains(&bad.reference));
}

#[tokio::test]
async fn files_are_read_anew_each_time() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let wanted = image("file:a.wasm", PullPolicy::Never);
    let absent = failure(store.fetch(&wanted).await);
    assert_eq!(absent.reason, FailureReason::FileNotFound);
    for bytes in ["one", "two"] {
        fs::write(dir.path().join("a.wasm"), bytes).unwrap();
        let fetched = store.fetch(&wanted).await.unwrap();
        assert_eq!(fetched.bytes, bytes);
        assert_eq!(fetched.digest, digest(bytes.as_bytes()));
        assert_eq!(fetched.pinned, "file:a.wasm");
    }
}
