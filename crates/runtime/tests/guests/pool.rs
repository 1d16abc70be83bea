//! Instances that serve more than one request.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Context, Wake, Waker},
    time::Duration,
};

use bytes::Bytes;
use futures::FutureExt;
use http::Method;
use http_body_util::Channel;
use parking_lot::Mutex;
use waft_ir::LogSource;
use waft_runtime::{
    BodyError, CallError, CallInfo, EngineBuilder, EngineConfig, Guest, Handling, LogSink,
    TrapReason, request_body,
};

use crate::support::{full, get, guest, info, request, spec, text, wait_until};

#[tokio::test]
async fn warm_instances_are_reused_and_replaced() {
    for name in ["hello-p2", "hello-p3"] {
        let (guest, _) = guest(name, |spec| {
            spec.pool.size = 1;
            spec.pool.max_invocations = 2;
        })
        .await;
        let stats = guest.stats();
        assert_eq!((stats.instances_created, stats.warm), (1, 1), "{name}");
        for expected in ["1", "2", "1", "2", "1"] {
            let count = get(&guest, "/count").await.unwrap();
            assert_eq!(count.trim(), expected, "{name}");
        }
        wait_until("the last call ends", || guest.stats().in_flight == 0).await;
        assert_eq!(guest.stats().instances_created, 3, "{name}");
    }
}

#[tokio::test]
async fn the_pools_size_bounds_its_instances() {
    let (guest, _) = guest("hello-p2", |spec| spec.pool.size = 2).await;
    let calls = (0..6).map(|_| {
        let guest = guest.clone();
        tokio::spawn(async move { get(&guest, "/sleep?20").await })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap().unwrap();
    }
    wait_until("all calls end", || guest.stats().in_flight == 0).await;
    let stats = guest.stats();
    assert_eq!((stats.instances_created, stats.warm), (2, 2));
}

#[tokio::test]
async fn an_instance_that_trapped_is_not_reused() {
    let (guest, _) = guest("trap-p2", |spec| spec.pool.size = 1).await;
    let reason = TrapReason::Unreachable;
    assert_eq!(
        get(&guest, "/").await.unwrap_err(),
        CallError::Trap { reason }
    );
    assert_eq!(guest.stats().warm, 0);
    assert_eq!(get(&guest, "/ok").await.unwrap(), "ok\n");
    assert_eq!(guest.stats().instances_created, 2);
}

#[tokio::test]
async fn one_instance_of_0_3_serves_several_at_a_time() {
    let (guest, _) = guest("hello-p3", |spec| {
        spec.pool.size = 1;
        spec.pool.max_concurrency = 4;
    })
    .await;
    let calls = (0..8).map(|_| {
        let guest = guest.clone();
        tokio::spawn(async move { get(&guest, "/sleep?200").await })
    });
    let calls: Vec<_> = calls.collect();
    wait_until("four run, four wait", || {
        let stats = guest.stats();
        (stats.in_flight, stats.queued) == (4, 4)
    })
    .await;
    for call in calls {
        call.await.unwrap().unwrap();
    }
    wait_until("all calls end", || guest.stats().in_flight == 0).await;
    assert_eq!(guest.stats().instances_created, 1);
    assert_eq!(get(&guest, "/count").await.unwrap().trim(), "9");
}

#[tokio::test]
async fn a_shared_instance_is_replaced_after_its_last_call() {
    let (guest, _) = guest("hello-p3", |spec| {
        spec.pool.size = 1;
        spec.pool.max_concurrency = 2;
        spec.pool.max_invocations = 2;
    })
    .await;
    for expected in ["1", "2", "1"] {
        assert_eq!(get(&guest, "/count").await.unwrap().trim(), expected);
    }
    assert_eq!(guest.stats().instances_created, 2);
}

#[tokio::test]
async fn a_large_body_that_nobody_gets_costs_no_instance() {
    for (name, concurrency) in [("trap-p2", 1), ("hostile-p3", 1), ("hostile-p3", 2)] {
        let (guest, _) = guest(name, |spec| {
            spec.pool.size = 1;
            spec.pool.max_concurrency = concurrency;
        })
        .await;
        let mut head = request("/large", full(""));
        *head.method_mut() = Method::HEAD;
        drop(guest.handle(head, info("r1")).await.unwrap());
        wait_until("the call ends", || guest.stats().in_flight == 0).await;
        wait_until("it is kept", || guest.stats().warm == 1).await;
        let stats = guest.stats();
        assert_eq!((stats.instances_created, stats.clients_gone), (1, 0));
    }
}

/// Calls its guest while the rest of a line is passed on: its instance has no call then, and is not put
/// aside yet.
#[derive(Default)]
struct CallsAtTheEnd {
    guest: OnceLock<Guest>,
    call: Mutex<Option<Handling>>,
}

impl LogSink for CallsAtTheEnd {
    fn line(&self, _: LogSource, _: Option<&str>, _: &str) {
        let guest = self.guest.get().unwrap();
        let mut call = guest.handle(request("/", full("")), info("r2"));
        let mut nobody = Context::from_waker(Waker::noop());
        assert!(call.poll_unpin(&mut nobody).is_pending());
        *self.call.lock() = Some(call);
    }
}

#[tokio::test]
async fn a_shared_instance_serves_the_last_call_however_late_it_comes() {
    let log = Arc::<CallsAtTheEnd>::default();
    let (guest, _) = guest("hostile-p3", |spec| {
        spec.pool.size = 1;
        spec.pool.max_concurrency = 2;
        spec.pool.max_invocations = 2;
        spec.log = log.clone();
    })
    .await;
    log.guest.set(guest.clone()).ok().unwrap();
    get(&guest, "/unended").await.unwrap();
    wait_until("the call ends", || log.call.lock().is_some()).await;
    let last = log.call.lock().take().unwrap();
    assert_eq!(text(last.await.unwrap()).await.unwrap(), "ok\n");
    assert_eq!(guest.stats().instances_created, 1);
}

/// Whether there is something new for who waits.
#[derive(Default)]
struct News(AtomicBool);

impl Wake for News {
    fn wake(self: Arc<Self>) {
        self.0.store(true, SeqCst);
    }
}

#[tokio::test]
async fn a_client_that_leaves_when_its_call_has_ended_ends_nothing() {
    let (guest, _) = guest("hostile-p3", |spec| {
        spec.pool.size = 1;
        spec.pool.max_concurrency = 2;
    })
    .await;
    let other = guest.clone();
    let other = tokio::spawn(async move { get(&other, "/sleep?300").await });
    wait_until("it runs", || guest.stats().in_flight == 1).await;
    let news = Arc::<News>::default();
    let waker = Waker::from(news.clone());
    let mut call = guest.handle(request("/error", full("")), info("r2"));
    let polled = call.poll_unpin(&mut Context::from_waker(&waker));
    assert!(polled.is_pending());
    wait_until("it has ended", || news.0.load(SeqCst)).await;
    drop(call);
    assert_eq!(other.await.unwrap().unwrap(), "ok\n");
    assert_eq!(guest.stats().instances_created, 1);
}

#[tokio::test]
async fn a_deadline_ends_a_shared_instance_and_its_other_calls() {
    let (guest, _) = guest("hello-p3", |spec| {
        spec.pool.size = 1;
        spec.pool.max_concurrency = 2;
    })
    .await;
    let other = guest.clone();
    let other = tokio::spawn(async move { get(&other, "/sleep?60000").await });
    wait_until("it runs", || guest.stats().in_flight == 1).await;
    let hurried = CallInfo {
        timeout: Some(Some(Duration::from_millis(50))),
        ..info("r2")
    };
    let late = guest.handle(request("/sleep?60000", full("")), hurried);
    assert_eq!(late.await.err(), Some(CallError::Deadline));
    assert_eq!(other.await.unwrap(), Err(CallError::InstanceLost));
    assert_eq!(get(&guest, "/count").await.unwrap().trim(), "1");
    let stats = guest.stats();
    assert_eq!((stats.deadlines, stats.instances_lost), (1, 1));
    assert_eq!(stats.instances_created, 2);
}

#[tokio::test]
async fn a_client_that_leaves_a_shared_instance_frees_its_place() {
    for leaves_first in [false, true] {
        let (guest, _) = guest("hello-p3", |spec| {
            spec.pool.size = 1;
            spec.pool.max_concurrency = 2;
        })
        .await;
        let start = |path: &'static str| {
            let guest = guest.clone();
            tokio::spawn(async move { get(&guest, path).await })
        };
        let mut calls = Vec::new();
        for leaves in [leaves_first, !leaves_first] {
            let path = if leaves { "/sleep?60000" } else { "/sleep?300" };
            calls.push((leaves, start(path)));
            let running = calls.len() as u64;
            wait_until("it runs", || guest.stats().in_flight == running).await;
        }
        for (leaves, call) in &calls {
            if *leaves {
                call.abort();
            }
        }
        for (leaves, call) in calls {
            match call.await {
                Ok(answer) => assert!(!leaves && answer.is_ok(), "{answer:?}"),
                Err(error) => assert!(leaves && error.is_cancelled()),
            }
        }
        assert_eq!(get(&guest, "/count").await.unwrap().trim(), "1");
        assert_eq!(guest.stats().clients_gone, 1);
    }
}

/// The call that an instance began with runs it, until another depends on it too.
#[tokio::test]
async fn a_client_that_does_not_read_holds_up_no_other_call_of_its_instance() {
    let (guest, _) = guest("echo-p3", |spec| {
        spec.pool.size = 1;
        spec.pool.max_concurrency = 2;
    })
    .await;
    let (mut sender, body) = Channel::<Bytes, BodyError>::new(1);
    let answer = guest.handle(request("/", request_body(body)), info("r1"));
    let unread = answer.await.unwrap();
    for _ in 0..3 {
        let other = tokio::time::timeout(Duration::from_secs(60), get(&guest, "/"));
        assert_eq!(other.await.unwrap().unwrap(), "");
    }
    sender.send_data(Bytes::from("late")).await.unwrap();
    drop(sender);
    assert_eq!(text(unread).await.unwrap(), "late");
    wait_until("all calls end", || guest.stats().in_flight == 0).await;
    let stats = guest.stats();
    assert_eq!((stats.instances_created, stats.instances_lost), (1, 0));
    wait_until("it is kept", || guest.stats().warm == 1).await;
}

#[tokio::test]
async fn idle_instances_make_room_and_running_ones_do_not() {
    let config = EngineConfig {
        max_instances: 2,
        ..EngineConfig::default()
    };
    let engine = EngineBuilder::new(config).build().unwrap();
    let wasm = waft_guests::bytes("hello-p2");
    let compiled = engine.load(wasm.into(), "hello-p2").await.unwrap();
    let (mut pooled, _) = spec();
    pooled.pool.size = 2;
    let pooled = engine.link(&compiled, pooled).await.unwrap();
    let fresh = engine.link(&compiled, spec().0).await.unwrap();
    let (mut patient, _) = spec();
    patient.limits.queue_timeout = Duration::from_secs(60);
    let patient = engine.link(&compiled, patient).await.unwrap();
    let (one, two) = tokio::join!(get(&pooled, "/sleep?20"), get(&pooled, "/sleep?20"));
    one.unwrap();
    two.unwrap();
    wait_until("both are idle", || pooled.stats().warm == 2).await;

    get(&fresh, "/").await.unwrap();
    wait_until("one made room", || pooled.stats().warm == 1).await;

    let busy = [(); 2].map(|()| {
        let pooled = pooled.clone();
        tokio::spawn(async move { get(&pooled, "/sleep?60000").await })
    });
    wait_until("both run", || pooled.stats().instances_created == 3).await;
    assert_eq!(get(&fresh, "/").await, Err(CallError::HostAtCapacity));
    assert_eq!(fresh.stats().at_capacity, 1);
    for call in busy {
        call.abort();
        assert!(call.await.unwrap_err().is_cancelled());
    }
    get(&patient, "/").await.unwrap();
}
