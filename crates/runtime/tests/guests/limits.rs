//! Hostile guests, and what stops them.

use std::time::{Duration, Instant};

use waft_ir::LogSource;
use waft_runtime::{CallError, CallInfo, TrapReason};

use crate::support::{ENGINE, full, get, guest, info, request, send, spec, text, wait_until};

#[tokio::test]
async fn a_spinning_guest_is_stopped_and_timers_go_on() {
    let budget = Duration::from_millis(300);
    let reason = TrapReason::CpuTime;
    let mut used = Vec::new();
    let in_time = budget..budget * 2;
    // It is stopped because of its budget and not later, by something else: at one time of many, and a
    // multiple, because on a busy machine the thread itself has to wait, which counts.
    while !used.iter().any(|used| in_time.contains(used)) {
        assert!(used.len() < 20, "{used:?}");
        let (guest, _) = guest("spin-p2", |spec| spec.limits.cpu_time = budget).await;
        let spinning = guest.clone();
        let began = Instant::now();
        // One thread serves both: the guest has to give way for the timer to fire.
        let spin = tokio::spawn(async move { get(&spinning, "/").await });
        let mut fired = 0;
        let mut timer = tokio::time::interval(Duration::from_millis(10));
        while !spin.is_finished() {
            timer.tick().await;
            fired += 1;
        }
        let error = spin.await.unwrap().unwrap_err();
        assert_eq!(error, CallError::Trap { reason });
        let took = began.elapsed();
        assert!(took >= budget, "{took:?}");
        assert!(fired >= 10, "the timer fired {fired} times in {took:?}");
        // It is told before all of it is gone.
        guest.drained().await;
        let stats = guest.stats();
        assert_eq!(stats.traps_of(reason), 1);
        used.push(Duration::from_nanos(stats.cpu_nanos));
        assert_eq!(get(&guest, "/ok").await.unwrap(), "ok\n");
    }
}

#[tokio::test]
async fn waiting_is_not_computing() {
    // On a busy machine what it computes takes its time as well.
    let budget = Duration::from_secs(1);
    for name in ["hello-p2", "hello-p3"] {
        let (guest, _) = guest(name, |spec| spec.limits.cpu_time = budget).await;
        get(&guest, "/sleep?2000").await.unwrap();
        assert_eq!(guest.stats().traps_of(TrapReason::CpuTime), 0);
    }
}

#[tokio::test]
async fn memory_is_bounded() {
    let (guest, lines) = guest("grow-p2", |spec| spec.limits.memory_bytes = 32 << 20).await;
    let error = get(&guest, "/").await.unwrap_err();
    let reason = TrapReason::MemoryLimit;
    assert_eq!(error, CallError::Trap { reason });
    assert_eq!(guest.stats().traps_of(reason), 1);
    let got: u64 = get(&guest, "/refused")
        .await
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    assert!((20..32).contains(&got), "{got} MiB");
    assert_eq!(get(&guest, "/?8").await.unwrap(), "taken\n");
    assert_eq!(guest.stats().traps_of(reason), 1);
    assert!(!lines.of(LogSource::Host).is_empty());
}

/// Time that passes by itself is longer than any that the memory may take.
#[tokio::test(start_paused = true)]
async fn the_limit_is_named_before_the_memory_is_given_back() {
    let (guest, _) = guest("grow-p2", |spec| {
        spec.limits.memory_bytes = 128 << 20;
        spec.limits.request_timeout = None;
    })
    .await;
    let error = get(&guest, "/full?100").await.unwrap_err();
    let reason = TrapReason::MemoryLimit;
    assert_eq!(error, CallError::Trap { reason });
    // Until then the place is taken.
    tokio::time::resume();
    guest.drained().await;
    let stats = guest.stats();
    assert_eq!((stats.memory_bytes, stats.clients_gone), (0, 0));
}

#[tokio::test]
async fn a_guest_that_needs_more_than_its_limit_at_the_start_is_named() {
    let (guest, _) = guest("hello-p2", |spec| spec.limits.memory_bytes = 64 << 10).await;
    let error = get(&guest, "/").await.unwrap_err();
    let reason = TrapReason::MemoryLimit;
    assert_eq!(error, CallError::Trap { reason });
}

#[tokio::test]
async fn the_deadline_ends_the_call() {
    for name in ["hello-p2", "hello-p3"] {
        let (guest, _) = guest(name, |spec| {
            spec.limits.request_timeout = Some(Duration::from_millis(50));
        })
        .await;
        assert_eq!(
            get(&guest, "/sleep?60000").await.unwrap_err(),
            CallError::Deadline
        );
        let stats = guest.stats();
        assert_eq!((stats.deadlines, stats.in_flight), (1, 0), "{name}");
        assert_eq!(stats.clients_gone, 0, "{name}");
        // The route's timeout comes before the component's.
        let patient = CallInfo {
            timeout: Some(None),
            ..info("r2")
        };
        let slow = guest.handle(request("/sleep?100", full("")), patient);
        text(slow.await.unwrap()).await.unwrap();
    }
}

#[tokio::test]
async fn a_spinning_guest_meets_its_deadline_too() {
    let longest = Duration::from_secs(3600);
    let (guest, _) = guest("spin-p2", |spec| {
        spec.limits.request_timeout = Some(Duration::from_millis(100));
        // Nothing else would end it.
        spec.limits.cpu_time = longest;
    })
    .await;
    let ended = tokio::time::timeout(longest / 60, get(&guest, "/"));
    assert_eq!(ended.await.unwrap().unwrap_err(), CallError::Deadline);
}

#[tokio::test]
async fn calls_past_the_queue_are_refused() {
    let (guest, _) = guest("hello-p2", |spec| {
        spec.limits.max_in_flight = 1;
        spec.limits.queue = 1;
        spec.limits.queue_timeout = Duration::from_secs(1);
    })
    .await;
    let busy = guest.clone();
    let first = tokio::spawn(async move { get(&busy, "/sleep?60000").await });
    wait_until("the first runs", || guest.stats().in_flight == 1).await;
    let waiting = guest.clone();
    let second = tokio::spawn(async move { get(&waiting, "/").await });
    wait_until("the second waits", || guest.stats().queued == 1).await;
    assert_eq!(get(&guest, "/").await.unwrap_err(), CallError::QueueFull);
    assert_eq!(second.await.unwrap().unwrap_err(), CallError::QueueTimeout);
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    let stats = guest.stats();
    assert_eq!((stats.queue_full, stats.queue_timeouts), (1, 1));
    assert_eq!((stats.queued, stats.in_flight), (0, 0));
}

#[tokio::test]
async fn a_client_that_leaves_frees_its_instance() {
    let (guest, _) = guest("hello-p2", |spec| spec.limits.max_in_flight = 1).await;
    let leaving = guest.clone();
    let client = tokio::spawn(async move { get(&leaving, "/sleep?60000").await });
    wait_until("the call runs", || guest.stats().in_flight == 1).await;
    client.abort();
    assert!(client.await.unwrap_err().is_cancelled());
    assert_eq!(guest.stats().in_flight, 0);
    assert_eq!(guest.stats().clients_gone, 1);
    guest.drained().await;
    send(&guest, "/").await.unwrap();
}

#[tokio::test]
async fn nothing_is_reachable_that_was_not_granted() {
    let (guest, _) = guest("probe-p2", |_| {}).await;
    for (path, answer) in [
        // Its own loopback network, on which nobody listens.
        ("/http", "ErrorCode::ConnectionRefused"),
        ("/tcp", "connection-refused"),
        ("/dns", "(127, 0, 0, 1)"),
        ("/files", "0"),
    ] {
        let told = get(&guest, path).await.unwrap();
        assert!(told.contains(answer), "{path}: {told}");
    }
}

#[tokio::test]
async fn what_a_guest_makes_the_host_hold_is_bounded() {
    let (guest, lines) = guest("probe-p2", |_| {}).await;
    let reason = TrapReason::HostResourceLimit;
    for path in [
        "/random?1048577",
        "/pass?16777217",
        "/handles?10001",
        "/headers?100000",
    ] {
        let before = guest.stats().traps_of(reason);
        let error = get(&guest, path).await.err();
        let log = lines.of(LogSource::Host);
        assert_eq!(error, Some(CallError::Trap { reason }), "{path} {log:?}");
        assert_eq!(guest.stats().traps_of(reason), before + 1, "{path}");
    }
    for path in ["/random?65536", "/handles?1000", "/headers?100"] {
        get(&guest, path).await.unwrap();
    }
}

#[tokio::test]
async fn one_write_takes_no_more_than_was_permitted() {
    let (guest, lines) = guest("probe-p2", |_| {}).await;
    let reason = TrapReason::Other;
    let error = get(&guest, "/lines?65537").await.err();
    assert_eq!(error, Some(CallError::Trap { reason }));
    assert_eq!(lines.of(waft_ir::LogSource::Stdout).len(), 0);
    assert_eq!(get(&guest, "/lines?65536").await.unwrap(), "Ok(())");
    assert_eq!(lines.of(waft_ir::LogSource::Stdout).len(), 65_536);
}

/// What computes for long goes on in threads that stand behind those of all others.
#[tokio::test]
async fn a_guest_that_computes_for_long_stands_behind_all_others() {
    let (guest, _) = guest("spin-p2", |_| {}).await;
    let spinning = guest.clone();
    let spin = tokio::spawn(async move { get(&spinning, "/").await });
    wait_until("it is there", || {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        tasks.flatten().any(|task| {
            // A thread may end meanwhile.
            let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            let Some((name, fields)) = stat.split_once(") ") else {
                return false;
            };
            let fields: Vec<&str> = fields.split(' ').collect();
            // proc(5): the state is the third field, the nice value the 19th.
            name.contains("(waft-slow") && fields[0] == "R" && fields[16] == "10"
        })
    })
    .await;
    spin.abort();
    assert!(spin.await.unwrap_err().is_cancelled());
    wait_until("it has ended", || guest.stats().in_flight == 0).await;
}

/// The lines of a trap in a function of this name.
async fn lines_of_a_trap_in(name: &str) -> Vec<String> {
    let named = format!("(func $handle (@name \"{name}\")");
    let text = include_str!("tables.wat").replace("(func $handle (export", &(named + " (export"));
    let compiled = ENGINE.load(wat::parse_str(text).unwrap().into(), "names");
    let (mut spec, lines) = spec();
    // It traps when it is called again.
    spec.pool.size = 1;
    let guest = ENGINE.link(&compiled.await.unwrap(), spec).await.unwrap();
    assert_eq!(get(&guest, "/").await, Err(CallError::NoResponse));
    let reason = TrapReason::Unreachable;
    assert_eq!(get(&guest, "/").await, Err(CallError::Trap { reason }));
    assert_eq!(guest.stats().traps_of(reason), 1);
    let lines = lines.of(LogSource::Host).into_iter();
    lines.map(|(_, text)| text).collect()
}

#[tokio::test]
async fn a_trap_names_its_functions_within_bounds() {
    // Each type of its parameters names the one before ten times: ten million names in the end.
    let mut name = "_Z1f1A".to_owned();
    for before in ["S_", "S0_", "S1_", "S2_", "S3_", "S4_", "S5_"] {
        name += &format!("S_I{}E", before.repeat(10));
    }
    let lines = lines_of_a_trap_in(&name).await;
    assert!(lines.concat().len() < 4 << 10, "{lines:.100?}");
    assert!(lines[2].ends_with(&name), "{lines:?}");

    let lines = lines_of_a_trap_in("_ZN4core9panicking5panic17h0123456789abcdefE").await;
    let (trap, function) = (&lines[0], &lines[2]);
    assert!(trap.starts_with("trap (Trap), "), "{lines:?}");
    assert!(function.starts_with("    0: "), "{lines:?}");
    let rust = "!core::panicking::panic::h0123456789abcdef";
    assert!(function.ends_with(rust), "{lines:?}");
    let rest = [
        "",
        "Caused by:",
        "    wasm trap: wasm `unreachable` instruction executed",
    ];
    assert_eq!(lines[3..], rest);

    let lines = lines_of_a_trap_in(&"x".repeat(100_000)).await;
    assert!(lines.concat().len() < 4 << 10, "{lines:.100?}");
    assert!(lines[2].ends_with("x…"), "{lines:?}");
}
