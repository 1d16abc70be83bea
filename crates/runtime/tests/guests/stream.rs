//! Bodies and trailers, both ways, as they come.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body::Frame;
use http_body_util::{BodyExt, Channel, StreamBody};
use waft_runtime::{Body, BodyError, Guest, ResponseBody, TrapReason, request_body};

use crate::support::{guest, info, request, send, text, wait_until};

const ECHOES: [&str; 2] = ["echo-p2", "echo-p3"];

/// A request whose body is sent piece by piece.
async fn open(
    guest: &Guest,
) -> (
    http_body_util::channel::Sender<Bytes, BodyError>,
    http::Response<ResponseBody>,
) {
    let (sender, body) = Channel::<Bytes, BodyError>::new(1);
    let body: Body = request_body(body);
    let answer = guest.handle(request("/", body), info("r1")).await;
    (sender, answer.unwrap())
}

#[tokio::test]
async fn pieces_come_back_before_the_next_is_sent() {
    for name in ECHOES {
        let (guest, _) = guest(name, |_| {}).await;
        let (mut sender, response) = open(&guest).await;
        let mut body = response.into_body();
        for piece in ["one", "two", "three"] {
            sender.send_data(Bytes::from(piece)).await.unwrap();
            let mut back = Vec::new();
            while back.len() < piece.len() {
                let frame = body.frame().await.unwrap().unwrap();
                back.extend_from_slice(&frame.into_data().unwrap());
            }
            assert_eq!(back, piece.as_bytes(), "{name}");
        }
        let trailers = HeaderMap::from_iter([(
            http::HeaderName::from_static("x-sum"),
            HeaderValue::from_static("11"),
        )]);
        sender.send_trailers(trailers.clone()).await.unwrap();
        drop(sender);
        let end = body.collect().await.unwrap();
        assert_eq!(end.trailers(), Some(&trailers), "{name}");
        wait_until("the call ends", || guest.stats().in_flight == 0).await;
        assert_eq!(guest.stats().clients_gone, 0, "{name}");
    }
}

#[tokio::test]
async fn a_client_that_stops_reading_frees_the_instance() {
    for name in ECHOES {
        let (guest, _) = guest(name, |_| {}).await;
        let (mut sender, response) = open(&guest).await;
        sender.send_data(Bytes::from("one")).await.unwrap();
        drop(response);
        assert_eq!(guest.stats().in_flight, 0, "{name}");
        assert_eq!(guest.stats().clients_gone, 1, "{name}");
        let next = tokio::time::timeout(Duration::from_secs(60), async {
            while sender.send_data(Bytes::from("more")).await.is_ok() {}
        });
        next.await.unwrap();
    }
}

#[tokio::test]
async fn a_request_that_breaks_off_does_not_look_whole() {
    for name in ECHOES {
        let (guest, _) = guest(name, |_| {}).await;
        let frames = [
            Ok(Frame::data(Bytes::from("half"))),
            Err(BodyError::ClientGone),
        ];
        let body = request_body(StreamBody::new(futures::stream::iter(frames)));
        let response = guest.handle(request("/", body), info("r1")).await;
        if let Ok(response) = response {
            assert!(response.into_body().collect().await.is_err(), "{name}");
        }
    }
}

#[tokio::test]
async fn a_trap_within_the_body_breaks_it_off() {
    let (guest, _) = guest("echo-p2", |spec| {
        // More than it takes to its answer on a busy machine.
        spec.limits.cpu_time = Duration::from_millis(300);
        spec.limits.request_timeout = None;
    })
    .await;
    let piece = Bytes::from(vec![7; 1 << 10]);
    let endless = std::iter::repeat_with(move || Ok::<_, BodyError>(Frame::data(piece.clone())));
    let body = request_body(StreamBody::new(futures::stream::iter(endless)));
    let response = guest.handle(request("/", body), info("r1")).await.unwrap();
    assert_eq!(response.status(), 200);
    let broken = response.into_body().collect().await.err();
    assert_eq!(broken, Some(BodyError::Aborted));
    wait_until("the call ends", || guest.stats().in_flight == 0).await;
    let stats = guest.stats();
    assert_eq!(stats.traps_of(TrapReason::CpuTime), 1);
    assert_eq!(stats.clients_gone, 0);
}

/// In the threads for those that take much memory, which is given back after the body has ended.
#[tokio::test]
async fn a_trap_elsewhere_breaks_the_body_off() {
    let (guest, _) = guest("trap-p2", |_| {}).await;
    let response = send(&guest, "/after-headers?64").await.unwrap();
    assert_eq!(text(response).await, Err(BodyError::Aborted));
    wait_until("the call ends", || guest.stats().in_flight == 0).await;
    let stats = guest.stats();
    assert_eq!(stats.traps_of(TrapReason::Unreachable), 1);
    assert_eq!(stats.clients_gone, 0);
}
