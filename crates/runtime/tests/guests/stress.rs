//! Many calls at a time, on several threads, of which many are given up at any point.

use std::time::Duration;

use http_body_util::BodyExt;
use waft_ir::Pool;
use waft_runtime::{CallInfo, Guest};

use crate::support::{full, get, guest, info, request, wait_until};

const CALLS: u64 = 400;

/// One call that its client gives up after some time, perhaps in the middle of its body.
async fn impatient(guest: Guest, number: u64) {
    let path = match number % 4 {
        0 => "/",
        1 => "/count",
        2 => "/sleep?3",
        _ => "/log?words",
    };
    let patience = Duration::from_micros(number * 7919 % 8000);
    let info = CallInfo {
        timeout: Some(Some(Duration::from_millis(number % 5 + 1))),
        ..info("r1")
    };
    let call = async {
        if let Ok(response) = guest.handle(request(path, full("words")), info).await {
            let _ = response.into_body().collect().await;
        }
    };
    let _ = tokio::time::timeout(patience, call).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn calls_given_up_at_any_point_leave_nothing_behind() {
    let pools = [
        Pool::default(),
        Pool {
            size: 3,
            max_invocations: 20,
            ..Pool::default()
        },
        Pool {
            size: 3,
            max_invocations: 20,
            max_concurrency: 5,
            ..Pool::default()
        },
    ];
    for name in ["hello-p2", "hello-p3", "echo-p2", "echo-p3"] {
        for pool in pools {
            let (guest, _) = guest(name, |spec| {
                spec.pool = pool;
                spec.limits.max_in_flight = 20;
                spec.limits.queue = 1000;
            })
            .await;
            let calls = (0..CALLS).map(|at| tokio::spawn(impatient(guest.clone(), at)));
            for call in calls.collect::<Vec<_>>() {
                call.await.unwrap();
            }
            wait_until("all calls end", || guest.stats().in_flight == 0).await;
            guest.drained().await;
            let stats = guest.stats();
            assert_eq!(stats.requests, CALLS, "{name} {pool:?}");
            assert_eq!(stats.queued, 0, "{name} {pool:?}");
            assert_eq!(stats.traps, [0; 6], "{name} {pool:?}");
            assert!(stats.warm <= pool.size.into(), "{name} {pool:?}");
            get(&guest, "/").await.unwrap();
        }
    }
}
