//! Registries that fail, lie or break off.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use waft_ir::{FailureReason, PullPolicy};

use crate::{
    configured, failure, image,
    server::{Server, cut, digest, status},
    store, visible,
};

#[tokio::test]
async fn passing_trouble_is_waited_out() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::with(|seen| match (seen.is_blob(), seen.nth) {
        (false, 0) => status(429, &[("retry-after", "0")], ""),
        (false, 1) => status(503, &[], ""),
        (true, 0) => cut("o".into(), 3, false),
        _ => None,
    })
    .await;
    server.image("v1", b"one");
    let wanted = image(server.reference("v1"), PullPolicy::IfNotPresent);
    let fetched = store(dir.path()).fetch(&wanted).await.unwrap();
    assert_eq!(fetched.bytes, "one");
    assert_eq!(server.requests().len(), 5);
}

#[tokio::test]
async fn lasting_trouble_is_told_in_the_registrys_words() {
    let dir = tempfile::tempdir().unwrap();
    let words = r#"{"errors":[{"code":"DENIED","message":"out of\n quota"}]}"#;
    let server = Server::with(move |_| status(500, &[], words)).await;
    let wanted = image(server.reference("v1"), PullPolicy::IfNotPresent);
    let failure = failure(store(dir.path()).fetch(&wanted).await);
    assert_eq!(failure.reason, FailureReason::ImagePullFailed);
    for part in [
        &wanted.reference,
        &server.host,
        "500",
        "DENIED out of quota",
    ] {
        assert!(failure.message.contains(part), "{}", failure.message);
    }
    assert_eq!(server.requests().len(), 4);
}

#[tokio::test]
async fn nobody_there() {
    let dir = tempfile::tempdir().unwrap();
    let wanted = image("127.0.0.1:1/app:v1", PullPolicy::IfNotPresent);
    let failure = failure(store(dir.path()).fetch(&wanted).await);
    assert_eq!(failure.reason, FailureReason::ImagePullFailed);
    for part in ["127.0.0.1:1", "Connection refused", "--registry-mirror"] {
        assert!(failure.message.contains(part), "{}", failure.message);
    }
}

#[tokio::test]
async fn a_file_that_is_taken_for_an_image_is_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start().await;
    let mirror = format!("docker.io=http://{}", server.host);
    let store = configured(dir.path(), |config| {
        config.mirrors.push(mirror.parse().unwrap());
    });
    let said = async |reference: &str| {
        let wanted = image(reference, PullPolicy::IfNotPresent);
        failure(store.fetch(&wanted).await).message
    };
    let message = said("hello_p2.wasm").await;
    assert!(message.contains("`file:hello_p2.wasm`"), "{message}");
    let message = said("team/hello_p2.wasm").await;
    assert!(!message.contains("file:"), "{message}");
}

#[tokio::test]
async fn absence_is_final() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start().await;
    let wanted = image(server.reference("v1"), PullPolicy::IfNotPresent);
    let failure = failure(store(dir.path()).fetch(&wanted).await);
    assert_eq!(failure.reason, FailureReason::ImageNotFound);
    assert!(failure.message.contains(&wanted.reference));
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn bytes_that_lie_are_thrown_away() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start().await;
    let name = server.image("v1", b"one");
    let store = store(dir.path());
    let wanted = image(server.reference("v1"), PullPolicy::IfNotPresent);
    let reason = async || failure(store.fetch(&wanted).await).reason;
    for lie in ["two", "three", "o"] {
        server.put(&format!("blobs/{}", digest(b"one")), lie);
        assert_eq!(reason().await, FailureReason::DigestMismatch, "{lie}");
        assert_eq!(visible(dir.path()), 1);
    }
    // The manifest itself, asked for by digest.
    server.put(&format!("manifests/{name}"), r#"{"layers":[]}"#);
    let fresh = tempfile::tempdir().unwrap();
    let pinned = format!("{}/app@{name}", server.host);
    let pinned = image(pinned, PullPolicy::IfNotPresent);
    let failure = failure(crate::store(fresh.path()).fetch(&pinned).await);
    assert_eq!(failure.reason, FailureReason::DigestMismatch);
    assert_eq!(visible(fresh.path()), 0);
}

#[tokio::test]
async fn what_is_too_large_is_not_even_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start().await;
    server.image("v1", b"four");
    let store = configured(dir.path(), |config| config.max_layer_bytes = 3);
    let wanted = image(server.reference("v1"), PullPolicy::IfNotPresent);
    let failure = failure(store.fetch(&wanted).await);
    assert_eq!(failure.reason, FailureReason::ImagePullFailed);
    assert!(failure.message.contains("larger than"));
    assert_eq!(server.requests(), ["GET manifests/v1"]);
}

#[tokio::test]
async fn container_images_and_nonsense_say_so() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start().await;
    let tar = "application/vnd.oci.image.layer.v1.tar+gzip";
    let layer = format!(
        r#"{{"mediaType":"{tar}","digest":"{}","size":1}}"#,
        digest(b"a")
    );
    server.put("manifests/tar", format!(r#"{{"layers":[{layer}]}}"#));
    server.put("manifests/html", "<html>");
    let store = store(dir.path());
    for (tag, words) in [
        ("tar", "container images do not run"),
        ("html", "not a JSON"),
    ] {
        let wanted = image(server.reference(tag), PullPolicy::IfNotPresent);
        let failure = failure(store.fetch(&wanted).await);
        assert_eq!(failure.reason, FailureReason::NotWasm);
        assert!(failure.message.contains(words), "{}", failure.message);
    }
}

#[tokio::test]
async fn progress_shows_a_download_while_it_runs() {
    let dir = tempfile::tempdir().unwrap();
    let held = Arc::new(AtomicBool::new(true));
    let hold = held.clone();
    let server = Server::with(move |seen| {
        let hang = seen.is_blob() && hold.load(Ordering::SeqCst);
        if hang {
            cut(vec![0; 300 << 10].into(), 400 << 10, true)
        } else {
            None
        }
    })
    .await;
    let wasm = vec![0; 400 << 10];
    server.image("v1", &wasm);
    let wanted = image(server.reference("v1"), PullPolicy::IfNotPresent);
    let store = store(dir.path());
    let mut transfers = store.transfers();
    let fetch = tokio::spawn({
        let (store, wanted) = (store.clone(), wanted.clone());
        async move { store.fetch(&wanted).await }
    });
    let running = transfers.wait_for(|all| {
        let one = all.get(&wanted.reference);
        one.is_some_and(|one| one.received >= 256 << 10 && one.total == 400 << 10)
    });
    running.await.unwrap();
    // Nothing of it is visible.
    assert_eq!(visible(dir.path()), 1);
    fetch.abort();
}
