//! Requests and answers, the environment, and log lines.

use http_body_util::BodyExt as _;
use waft_ir::LogSource;
use waft_runtime::{CallError, TrapReason};

use crate::support::{get, guest, send, text, wait_until};

#[tokio::test]
async fn both_generations_answer() {
    for name in ["hello-p2", "hello-p3"] {
        let (guest, _) = guest(name, |_| {}).await;
        let response = send(&guest, "/").await.unwrap();
        assert_eq!(response.status(), 200, "{name}");
        let answer = text(response).await.unwrap();
        assert!(answer.starts_with("Hello from Waft"), "{name}: {answer}");
        wait_until("the call ends", || guest.stats().in_flight == 0).await;
        let stats = guest.stats();
        assert_eq!((stats.requests, stats.instances_created), (1, 1), "{name}");
        assert_eq!(stats.clients_gone, 0, "{name}");
        assert!(stats.cpu_nanos > 0, "{name}");
    }
}

#[tokio::test]
async fn the_request_reaches_the_guest() {
    let (guest, _) = guest("hello-p2", |_| {}).await;
    let seen = get(&guest, "/request?a=b").await.unwrap();
    assert!(seen.starts_with("GET\n") || seen.contains("GET"), "{seen}");
    assert!(seen.contains("hello.localhost"), "{seen}");
    assert!(seen.contains("/request?a=b"), "{seen}");
}

#[tokio::test]
async fn the_environment_is_the_manifests_and_nothing_else() {
    for name in ["hello-p2", "hello-p3"] {
        let (guest, _) = guest(name, |_| {}).await;
        assert_eq!(get(&guest, "/env").await.unwrap(), "COLOUR=green\n");
    }
}

#[tokio::test]
async fn lines_carry_the_request() {
    for name in ["hello-p2", "hello-p3"] {
        let (guest, lines) = guest(name, |_| {}).await;
        get(&guest, "/log?words").await.unwrap();
        wait_until("lines", || !lines.of(LogSource::Stderr).is_empty()).await;
        let id = || Some("r1".to_owned());
        let (out, err) = (lines.of(LogSource::Stdout), lines.of(LogSource::Stderr));
        assert_eq!(out, [(id(), "words".into())], "{name}");
        assert_eq!(err, [(id(), "error: words".into())], "{name}");
    }
}

#[tokio::test]
async fn a_fresh_instance_serves_each_request() {
    for name in ["hello-p2", "hello-p3"] {
        let (guest, _) = guest(name, |_| {}).await;
        for _ in 0..3 {
            assert_eq!(get(&guest, "/count").await.unwrap().trim(), "1");
        }
        assert_eq!(guest.stats().instances_created, 3);
    }
}

#[tokio::test]
async fn a_trap_is_an_error_and_its_text_is_only_in_the_log() {
    let (guest, lines) = guest("trap-p2", |_| {}).await;
    let reason = TrapReason::Unreachable;
    for path in ["/", "/panic"] {
        let error = get(&guest, path).await.unwrap_err();
        assert_eq!(error, CallError::Trap { reason });
        assert!(!error.to_string().contains("panic"));
    }
    assert_eq!(guest.stats().traps_of(reason), 2);
    assert_eq!(get(&guest, "/ok").await.unwrap(), "ok\n");
    let host = lines.of(LogSource::Host);
    assert!(host.iter().any(|(_, text)| text.contains("unreachable")));
    assert!(host.iter().all(|(request, _)| request.is_some()));
    let stderr = lines.of(LogSource::Stderr);
    assert!(stderr.iter().any(|(_, text)| text.contains("for the log")));
}

#[tokio::test]
async fn a_head_request_needs_no_body_to_be_read() {
    for name in ["hello-p2", "hello-p3"] {
        let (guest, _) = guest(name, |spec| spec.pool.size = 1).await;
        let mut request = crate::support::request("/", crate::support::full(""));
        *request.method_mut() = http::Method::HEAD;
        let response = guest.handle(request, crate::support::info("r1")).await;
        let body = response.unwrap().into_body().collect().await.unwrap();
        assert_eq!(body.to_bytes().len(), 0, "{name}");
        wait_until("the call ends", || guest.stats().in_flight == 0).await;
        let stats = guest.stats();
        assert_eq!((stats.clients_gone, stats.warm), (0, 1), "{name}");
    }
}
