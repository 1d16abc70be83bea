//! A large body passes through a guest without being held. On its own, because it measures the
//! memory of its process.
#![allow(clippy::unwrap_used, reason = "in tests, helpers included")]

use std::{fs, time::Duration};

use bytes::Bytes;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use waft_runtime::{BodyError, request_body};

use support::{guest, info, request};

#[allow(dead_code, reason = "other tests use the rest of it")]
#[path = "guests/support.rs"]
mod support;

/// Resident memory of this process in bytes.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = status.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

#[tokio::test]
async fn a_large_body_passes_through_without_being_held() {
    const PIECE: usize = 64 << 10;
    const PIECES: usize = 4 << 10;
    for name in ["echo-p2", "echo-p3"] {
        let (guest, _) = guest(name, |spec| {
            spec.limits.request_timeout = None;
            // How fast it is done is no matter here.
            spec.limits.cpu_time = Duration::from_secs(3600);
        })
        .await;
        let piece = Bytes::from(vec![7; PIECE]);
        let frames = (0..PIECES).map(move |_| Ok::<_, BodyError>(Frame::data(piece.clone())));
        let body = request_body(StreamBody::new(futures::stream::iter(frames)));
        let response = guest.handle(request("/", body), info("r1")).await.unwrap();
        let mut body = response.into_body();
        let mut bytes = 0;
        let (mut start, mut most) = (None, 0);
        while let Some(frame) = body.frame().await {
            bytes += frame.unwrap().data_ref().map_or(0, Bytes::len);
            let now = resident();
            start.get_or_insert(now);
            most = most.max(now);
        }
        assert_eq!(bytes, PIECE * PIECES, "{name}");
        let growth = most.saturating_sub(start.unwrap_or(most));
        assert!(growth < 32 << 20, "{name}: {growth} bytes more");
    }
}
