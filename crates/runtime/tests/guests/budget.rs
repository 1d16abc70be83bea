//! What all instances of a component share: processor time, and room on the host.

use std::time::{Duration, Instant};

use waft_runtime::{CallError, EngineBuilder, EngineConfig};

use crate::support::{get, guest, spec, wait_until};

/// Whether two calls that never end used a part of their second, beside others that went on.
async fn spins_within_its_share(name: &str, path: &'static str, pool: u32) -> bool {
    let (limited, _) = guest(name, |spec| {
        spec.limits.cpu_millis = Some(100);
        spec.limits.request_timeout = Some(Duration::from_secs(1));
        spec.pool.size = pool;
        spec.pool.max_concurrency = 8;
    })
    .await;
    let (neighbour, _) = guest("hello-p2", |_| {}).await;
    let began = Instant::now();
    let spinning = [(); 2].map(|()| {
        let limited = limited.clone();
        tokio::spawn(async move { get(&limited, path).await })
    });
    let mut answered = 0;
    while !spinning.iter().all(|call| call.is_finished()) {
        get(&neighbour, "/").await.unwrap();
        answered += 1;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for call in spinning {
        // The second of two in one instance is lost when the first one's time is over.
        let error = call.await.unwrap().unwrap_err();
        let ended = [CallError::Deadline, CallError::InstanceLost];
        assert!(ended.contains(&error), "{name}: {error:?}");
    }
    let took = began.elapsed();
    wait_until("both end", || limited.stats().in_flight == 0).await;
    let used = Duration::from_nanos(limited.stats().cpu_nanos);
    println!("{name} {pool}: used {used:?} of {took:?}, {answered} answers beside it");
    assert_eq!(neighbour.stats().throttled, 0);
    // A tenth was allowed. Guests that gave no way would let one or two through, before and after.
    used < took * 2 / 3 && limited.stats().throttled >= 1 && answered > 3
}

#[tokio::test]
async fn processor_time_past_the_limit_is_waited_for() {
    for (name, path, pool) in [
        ("spin-p2", "/", 0),
        ("hostile-p3", "/spin", 0),
        ("hostile-p3", "/spin", 1),
    ] {
        // On a busy machine the threads themselves have to wait, which counts, but not each time.
        let mut tries = 0;
        while !spins_within_its_share(name, path, pool).await {
            tries += 1;
            assert!(tries < 20, "{name} {pool}");
        }
    }
}

#[tokio::test]
async fn idle_instances_go_when_their_time_is_over() {
    for (name, concurrency, least) in [
        ("hello-p2", 1, 0),
        ("hello-p2", 1, 1),
        ("hello-p3", 4, 0),
        ("hello-p3", 4, 1),
    ] {
        let (guest, _) = guest(name, |spec| {
            spec.pool.size = 2;
            spec.pool.max_concurrency = concurrency;
            spec.pool.reclaim_window_seconds = 1;
            spec.pool.reclaim_min_instances = least;
        })
        .await;
        // As many calls at a time as make both instances.
        let calls = (0..2).map(|_| {
            let guest = guest.clone();
            tokio::spawn(async move { get(&guest, "/sleep?50").await })
        });
        for call in calls.collect::<Vec<_>>() {
            call.await.unwrap().unwrap();
        }
        assert_eq!(guest.stats().instances_created, 2, "{name}");
        assert!(guest.stats().memory_bytes > 0);
        let expected = u64::from(2 - least);
        let reclaimed = || guest.stats().instances_reclaimed == expected;
        wait_until("they are ended", reclaimed).await;
        if least == 0 {
            wait_until("memory is free", || guest.stats().memory_bytes == 0).await;
        }
        get(&guest, "/").await.unwrap();
        let created = guest.stats().instances_created;
        assert_eq!(created, u64::from(3 - least), "{name}");
    }
}

#[tokio::test]
async fn a_call_waits_for_room_on_the_host() {
    let config = EngineConfig {
        max_instances: 1,
        ..EngineConfig::default()
    };
    let engine = EngineBuilder::new(config).build().unwrap();
    let wasm = waft_guests::bytes("hello-p2");
    let compiled = engine.load(wasm.into(), "hello-p2").await.unwrap();
    let busy = engine.link(&compiled, spec().0).await.unwrap();
    let running = busy.clone();
    let (mut patient, _) = spec();
    patient.limits.queue_timeout = Duration::from_secs(60);
    let patient = engine.link(&compiled, patient).await.unwrap();
    let (mut hasty, _) = spec();
    hasty.limits.queue_timeout = Duration::from_millis(50);
    let hasty = engine.link(&compiled, hasty).await.unwrap();

    let first = tokio::spawn(async move { get(&busy, "/sleep?60000").await });
    wait_until("it runs", || running.stats().instances_created == 1).await;
    let waiting = patient.clone();
    let second = tokio::spawn(async move { get(&waiting, "/").await });
    wait_until("it waits", || patient.stats().queued == 1).await;
    assert_eq!(get(&hasty, "/").await, Err(CallError::HostAtCapacity));
    assert_eq!(hasty.stats().at_capacity, 1);
    assert_eq!(patient.stats().queued, 1);
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    second.await.unwrap().unwrap();
    assert_eq!(
        (patient.stats().queued, patient.stats().at_capacity),
        (0, 0)
    );
}

#[tokio::test]
async fn an_idle_shared_instance_makes_room() {
    let config = EngineConfig {
        max_instances: 1,
        ..EngineConfig::default()
    };
    let engine = EngineBuilder::new(config).build().unwrap();
    let wasm = waft_guests::bytes("hello-p3");
    let compiled = engine.load(wasm.into(), "hello-p3").await.unwrap();
    let (mut shared, _) = spec();
    shared.pool.size = 1;
    shared.pool.max_concurrency = 4;
    let (mut other, _) = spec();
    for spec in [&mut shared, &mut other] {
        // The one before may have something left to do.
        spec.limits.queue_timeout = Duration::from_secs(60);
    }
    let shared = engine.link(&compiled, shared).await.unwrap();
    let other = engine.link(&compiled, other).await.unwrap();
    for _ in 0..3 {
        get(&shared, "/").await.unwrap();
        get(&other, "/").await.unwrap();
    }
    assert_eq!(shared.stats().instances_reclaimed, 3);
}
