//! The same limits for guests of `wasi:http@0.3`, alone in their instance and sharing one.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use waft_ir::LogSource;
use waft_runtime::{BodyError, CallError, CallInfo, Guest, GuestSpec, LogSink, TrapReason};

use crate::support::{full, get, guest, info, request, send, text, wait_until};

/// Counts the lines of stdout.
#[derive(Default)]
struct Count(AtomicUsize);

impl LogSink for Count {
    fn line(&self, source: LogSource, _: Option<&str>, _: &str) {
        self.0
            .fetch_add(usize::from(source == LogSource::Stdout), Relaxed);
    }
}

/// The hostile guest: a fresh instance for each call, and one instance for all.
async fn both(change: impl Fn(&mut GuestSpec)) -> [(&'static str, Guest); 2] {
    let (fresh, _) = guest("hostile-p3", &change).await;
    let (shared, _) = guest("hostile-p3", |spec| {
        spec.pool.size = 1;
        spec.pool.max_concurrency = 8;
        change(spec);
    })
    .await;
    [("fresh", fresh), ("shared", shared)]
}

#[tokio::test]
async fn traps_end_the_instance_and_no_other() {
    let reason = TrapReason::Unreachable;
    for (kind, guest) in both(|_| {}).await {
        for count in 1..=2 {
            let error = get(&guest, "/trap").await.unwrap_err();
            assert_eq!(error, CallError::Trap { reason }, "{kind}");
            assert_eq!(guest.stats().traps_of(reason), count, "{kind}");
            assert_eq!(get(&guest, "/").await.unwrap(), "ok\n", "{kind}");
        }
    }
}

#[tokio::test]
async fn a_trap_within_the_body_breaks_it_off() {
    // With much memory it traps in another thread, and takes a while to be gone.
    for path in ["/after-headers", "/after-headers?64"] {
        for (kind, guest) in both(|_| {}).await {
            let response = send(&guest, path).await.unwrap();
            assert_eq!(response.status(), 200, "{kind}");
            assert_eq!(text(response).await, Err(BodyError::Aborted), "{kind}");
            wait_until("the call ends", || guest.stats().in_flight == 0).await;
            let traps = guest.stats().traps_of(TrapReason::Unreachable);
            assert_eq!(traps, 1, "{kind}");
        }
    }
}

#[tokio::test]
async fn a_trap_breaks_off_the_bodies_of_the_other_calls() {
    let [_, (_, guest)] = both(|_| {}).await;
    let open = tokio::spawn(text(send(&guest, "/open").await.unwrap()));
    get(&guest, "/trap?64").await.unwrap_err();
    assert_eq!(open.await.unwrap(), Err(BodyError::Aborted));
}

#[tokio::test]
async fn calls_that_an_instance_had_not_begun_go_to_another() {
    let budget = Duration::from_millis(300);
    let [_, (_, guest)] = both(|spec| spec.limits.cpu_time = budget).await;
    let spinning = guest.clone();
    let spin = tokio::spawn(async move { get(&spinning, "/spin").await });
    wait_until("it runs", || guest.stats().in_flight == 1).await;
    assert_eq!(get(&guest, "/").await.unwrap(), "ok\n");
    let reason = TrapReason::CpuTime;
    assert_eq!(spin.await.unwrap(), Err(CallError::Trap { reason }));
    let stats = guest.stats();
    assert_eq!((stats.instances_created, stats.instances_lost), (2, 0));
}

#[tokio::test]
async fn a_spinning_guest_is_stopped_and_timers_go_on() {
    let budget = Duration::from_millis(300);
    let reason = TrapReason::CpuTime;
    for (kind, guest) in both(|spec| spec.limits.cpu_time = budget).await {
        let spinning = guest.clone();
        let began = Instant::now();
        let spin = tokio::spawn(async move { get(&spinning, "/spin").await });
        let mut timer = tokio::time::interval(Duration::from_millis(10));
        let mut fired = 0;
        while !spin.is_finished() {
            timer.tick().await;
            fired += 1;
        }
        let error = spin.await.unwrap().unwrap_err();
        assert_eq!(error, CallError::Trap { reason }, "{kind}");
        assert!(began.elapsed() >= budget, "{kind}");
        assert!(fired >= 10, "{kind}: the timer fired {fired} times");
        assert_eq!(guest.stats().traps_of(reason), 1, "{kind}");
        assert_eq!(get(&guest, "/").await.unwrap(), "ok\n", "{kind}");
    }
}

/// How many lines a guest printed until its time was over.
async fn printed(path: &str, body: Vec<u8>, is_shared: bool) -> usize {
    let reason = TrapReason::CpuTime;
    let count = Arc::new(Count::default());
    let (guest, _) = guest("hostile-p3", |spec| {
        spec.limits.cpu_time = Duration::from_millis(300);
        spec.log = count.clone();
        spec.pool.size = u32::from(is_shared);
        spec.pool.max_concurrency = 8;
    })
    .await;
    let error = guest
        .handle(request(path, full(body)), info("r1"))
        .await
        .err();
    let what = format!("{path}, shared: {is_shared}");
    assert_eq!(error, Some(CallError::Trap { reason }), "{what}");
    assert_eq!(guest.stats().traps_of(reason), 1, "{what}");
    count.0.load(Relaxed)
}

/// What a guest has the host do costs its own time, whether it gives way between or has the host go on
/// by itself.
#[tokio::test]
async fn lines_of_output_cost_the_time_of_their_guest() {
    const MIB: usize = 16;
    let body = vec![b'\n'; MIB << 20];
    for (path, body) in [
        (format!("/lines?{MIB}"), Vec::new()),
        ("/print".into(), body),
    ] {
        for is_shared in [false, true] {
            // On a busy machine its time may be over before the first line, but not each time.
            let mut tries = 0;
            let mut lines = 0;
            while lines == 0 {
                assert!(tries < 20, "{path}, shared: {is_shared}");
                tries += 1;
                lines = printed(&path, body.clone(), is_shared).await;
            }
            assert!(lines < MIB << 20, "{path}, shared: {is_shared}");
        }
    }
}

#[tokio::test]
async fn memory_is_bounded() {
    let reason = TrapReason::MemoryLimit;
    for (kind, guest) in both(|spec| spec.limits.memory_bytes = 16 << 20).await {
        let error = get(&guest, "/grow").await.unwrap_err();
        assert_eq!(error, CallError::Trap { reason }, "{kind}");
        assert_eq!(guest.stats().traps_of(reason), 1, "{kind}");
    }
}

#[tokio::test]
async fn tables_are_bounded() {
    // Less than the table of its functions has from the start.
    let (guest, _) = guest("hostile-p3", |spec| spec.limits.table_elements = 1).await;
    for count in 1..=2 {
        get(&guest, "/").await.unwrap_err();
        assert_eq!(guest.stats().table_refused, count);
    }
    let [(_, fine), _] = both(|spec| spec.limits.table_elements = 10_000).await;
    assert_eq!(get(&fine, "/").await.unwrap(), "ok\n");
    assert_eq!(fine.stats().table_refused, 0);
}

#[tokio::test]
async fn a_spinning_guest_meets_its_deadline() {
    let limit = Some(Duration::from_millis(100));
    for (kind, guest) in both(|spec| spec.limits.request_timeout = limit).await {
        let error = get(&guest, "/spin").await.unwrap_err();
        assert_eq!(error, CallError::Deadline, "{kind}");
        // The instance is gone: it no longer uses the processor. The next one may take its time.
        let patient = CallInfo {
            timeout: Some(None),
            ..info("r2")
        };
        let next = guest.handle(request("/", full("")), patient).await;
        assert_eq!(text(next.unwrap()).await.unwrap(), "ok\n", "{kind}");
        assert_eq!(guest.stats().deadlines, 1, "{kind}");
    }
}

#[tokio::test]
async fn an_error_code_is_not_a_trap() {
    for (kind, guest) in both(|_| {}).await {
        // As much text as a call may pass.
        let error = get(&guest, "/error?16").await.unwrap_err();
        let code = "ErrorCode::InternalError".to_owned();
        assert_eq!(error, CallError::GuestErrorCode(code), "{kind}");
        assert_eq!(guest.stats().traps, [0; 6], "{kind}");
    }
}

#[tokio::test]
async fn calls_of_an_instance_that_trapped_are_lost() {
    let [_, (_, guest)] = both(|_| {}).await;
    let other = guest.clone();
    let other = tokio::spawn(async move { get(&other, "/sleep?60000").await });
    wait_until("it runs", || guest.stats().in_flight == 1).await;
    get(&guest, "/trap").await.unwrap_err();
    assert_eq!(other.await.unwrap(), Err(CallError::InstanceLost));
    assert_eq!(guest.stats().traps_of(TrapReason::Unreachable), 1);
    assert_eq!(get(&guest, "/").await.unwrap(), "ok\n");
}

#[tokio::test]
async fn a_guest_that_lingers_after_its_response_is_ended() {
    let [(_, guest), _] = both(|_| {}).await;
    assert_eq!(get(&guest, "/linger").await.unwrap(), "ok\n");
    // Not before: time that passes by itself would end a call that computes in another thread.
    tokio::time::pause();
    guest.drained().await;
    assert_eq!(guest.stats().in_flight, 0);
    assert_eq!(guest.stats().clients_gone, 0);
}

/// Time that passes by itself, and then as it does, is less than it would take to its end.
#[tokio::test]
async fn a_guest_that_lingers_can_be_ended_at_once() {
    for (kind, guest) in both(|_| {}).await {
        assert_eq!(get(&guest, "/linger").await.unwrap(), "ok\n");
        let soon = Duration::from_secs(5);
        tokio::time::pause();
        let lingers = tokio::time::timeout(soon, guest.drained()).await;
        assert!(lingers.is_err(), "{kind}");
        // What it leaves may be in another thread.
        tokio::time::resume();
        guest.end();
        let ended = tokio::time::timeout(soon, guest.drained()).await;
        assert!(ended.is_ok(), "{kind}");
        let stats = guest.stats();
        assert_eq!((stats.in_flight, stats.clients_gone), (0, 0), "{kind}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_a_spinning_guest_ends_it() {
    for (kind, guest) in both(|_| {}).await {
        let spinning = guest.clone();
        let client = tokio::spawn(async move { get(&spinning, "/spin").await });
        let turned = || guest.stats().in_flight == 1;
        wait_until("it runs", turned).await;
        client.abort();
        assert!(client.await.unwrap_err().is_cancelled());
        assert_eq!(get(&guest, "/").await.unwrap(), "ok\n", "{kind}");
        let stats = guest.stats();
        assert_eq!((stats.clients_gone, stats.traps), (1, [0; 6]), "{kind}");
    }
}
