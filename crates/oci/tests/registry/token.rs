//! Who asks: token services, refresh tokens, and where credentials must not go.

use parking_lot::Mutex;
use std::sync::Arc;

use serde_json::json;
use waft_ir::{FailureReason, Image, PullPolicy};

use crate::{
    configured, failure, login, secret,
    server::{Seen, Server, status},
    store,
};

/// A registry whose token service gives `T` to whom `accept` likes.
async fn guarded(accept: impl Fn(&Seen) -> bool + Send + Sync + 'static) -> Server {
    let host = Arc::new(Mutex::new(String::new()));
    let own = host.clone();
    let server = Server::with(move |seen| {
        if seen.target.starts_with("/token") {
            return match accept(seen) {
                true => status(200, &[], r#"{"access_token":"T","expires_in":300}"#),
                false => status(401, &[], ""),
            };
        }
        if seen.authorization() == Some("Bearer T") {
            return None;
        }
        let realm = format!("Bearer realm=\"http://{}/token\",service=\"s\"", own.lock());
        status(401, &[("www-authenticate", &realm)], "")
    })
    .await;
    *host.lock() = server.host.clone();
    server.image("v1", b"one");
    server
}

fn with(server: &Server, entry: Option<serde_json::Value>) -> Image {
    Image {
        reference: server.reference("v1"),
        policy: PullPolicy::IfNotPresent,
        credentials: entry.map(|entry| secret(&server.host, entry)),
    }
}

#[tokio::test]
async fn tokens_are_fetched_once_per_repository() {
    let dir = tempfile::tempdir().unwrap();
    let server = guarded(|seen| {
        // `me:pw`, and the scope that the challenge left open.
        seen.authorization() == Some("Basic bWU6cHc=")
            && seen.target.contains("scope=repository%3Aapp%3Apull")
            && seen.target.contains("service=s")
    })
    .await;
    let wanted = with(&server, Some(json!({"username": "me", "password": "pw"})));
    let store = store(dir.path());
    assert_eq!(store.fetch(&wanted).await.unwrap().bytes, "one");
    let all = [
        "GET manifests/v1",
        "GET /token",
        "GET manifests/v1",
        "GET blobs/sha256",
    ];
    assert_eq!(server.requests(), all);
    let wrong = with(&server, Some(json!({"username": "me", "password": "no"})));
    let fresh = tempfile::tempdir().unwrap();
    let failure = failure(crate::store(fresh.path()).fetch(&wrong).await);
    assert_eq!(failure.reason, FailureReason::ImagePullUnauthorized);
    assert!(
        failure
            .message
            .contains("the credentials are the pull secret's")
    );
}

#[tokio::test]
async fn identity_tokens_are_exchanged() {
    let dir = tempfile::tempdir().unwrap();
    let server = guarded(|seen| {
        let form = [
            "grant_type=refresh_token",
            "refresh_token=R%2B",
            "service=s",
        ];
        seen.method == "POST" && form.iter().all(|part| seen.body.contains(part))
    })
    .await;
    let wanted = with(&server, Some(json!({"identitytoken": "R+"})));
    let fetched = store(dir.path()).fetch(&wanted).await.unwrap();
    assert_eq!(fetched.bytes, "one");
}

#[tokio::test]
async fn registry_tokens_are_sent_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let server = guarded(|_| false).await;
    let wanted = with(&server, Some(json!({"registrytoken": "T"})));
    store(dir.path()).fetch(&wanted).await.unwrap();
    assert_eq!(server.requests().len(), 2);
    let stale = with(&server, Some(json!({"registrytoken": "old"})));
    let fresh = tempfile::tempdir().unwrap();
    let failure = failure(store(fresh.path()).fetch(&stale).await);
    assert_eq!(failure.reason, FailureReason::ImagePullUnauthorized);
}

#[tokio::test]
async fn anonymous_is_told_how_to_log_in() {
    let dir = tempfile::tempdir().unwrap();
    let server = guarded(|_| false).await;
    let refused = failure(store(dir.path()).fetch(&with(&server, None)).await);
    assert_eq!(refused.reason, FailureReason::ImagePullUnauthorized);
    assert!(
        refused.message.contains("docker login"),
        "{}",
        refused.message
    );
    let mut other = with(&server, None);
    other.credentials = Some(login("elsewhere.io", "me", "pw"));
    let refused = failure(store(dir.path()).fetch(&other).await);
    let words = format!("the pull secret has no entry for `{}`", server.host);
    assert!(refused.message.contains(&words), "{}", refused.message);
}

#[tokio::test]
async fn credentials_go_to_no_one_else() {
    let dir = tempfile::tempdir().unwrap();
    // A registry that sends its blobs elsewhere, as those with cloud storage do.
    let storage = Server::start().await;
    storage.image("v1", b"one");
    let elsewhere = storage.host.clone();
    let server = Server::with(move |seen| {
        if seen.is_blob() {
            let location = format!("http://{elsewhere}{}", seen.target);
            return status(307, &[("location", &location)], "");
        }
        let known = seen.authorization() == Some("Basic bWU6cHc=");
        let ask = [("www-authenticate", "Basic realm=\"r\"")];
        if known { None } else { status(401, &ask, "") }
    })
    .await;
    server.image("v1", b"one");
    let wanted = with(&server, Some(json!({"auth": "bWU6cHc="})));
    let fetched = store(dir.path()).fetch(&wanted).await.unwrap();
    assert_eq!(fetched.bytes, "one");
    let seen = storage.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].authorization(), None);

    // A mirror is not shown the credentials of the registry that it stands in for.
    let mirror = format!("registry.example=http://{}", storage.host);
    let fresh = tempfile::tempdir().unwrap();
    let store = configured(fresh.path(), |config| {
        config.mirrors.push(mirror.parse().unwrap());
    });
    let mirrored = Image {
        reference: "registry.example/app:v1".into(),
        policy: PullPolicy::Always,
        credentials: Some(login("registry.example", "me", "pw")),
    };
    let fetched = store.fetch(&mirrored).await.unwrap();
    assert!(fetched.pinned.starts_with("registry.example/app@sha256:"));
    assert!(storage.seen().iter().all(|s| s.authorization().is_none()));
}
