//! Every status that the host answers with on its own.

use std::{thread, time::Duration};

use waft_ir::Phase;

use crate::{
    connections::wait_until,
    harness::{PATIENCE, Rig, SOON, workload},
    lifecycle::{HALF, REST, in_flight},
};

const HELLO: &str = "Hello from Waft!\n";

#[test]
fn host_names_are_matched_whatever_their_spelling() {
    let rig = Rig::serving("hello-p2");
    for head in [
        "GET / HTTP/1.1\r\nhost: test\r\n\r\n",
        "GET /any/path?q HTTP/1.1\r\nHOST: TeSt.:8000\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: test:\r\n\r\n",
        "GET http://test/ HTTP/1.1\r\nhost: elsewhere\r\n\r\n",
        "GET / HTTP/1.0\r\nhost: test\r\n\r\n",
    ] {
        let answer = rig.connect().request(head);
        assert_eq!((answer.status, answer.text()), (200, HELLO), "{head:?}");
        assert_eq!(answer.header("x-waft-reason"), None);
    }
}

#[test]
fn the_target_decides_which_host_the_guest_sees() {
    let rig = Rig::serving("hello-p2");
    let answer = rig
        .connect()
        .request("GET http://test:81/request?a=b HTTP/1.1\r\nhost: elsewhere\r\n\r\n");
    assert!(answer.text().contains("test:81"), "{}", answer.text());
    assert!(answer.text().contains("/request?a=b"), "{}", answer.text());
    assert!(!answer.text().contains("elsewhere"), "{}", answer.text());
}

#[test]
fn a_request_must_name_one_host() {
    let rig = Rig::serving("hello-p2");
    for (head, reason) in [
        ("GET / HTTP/1.1\r\n\r\n", "MissingHost"),
        ("GET / HTTP/1.0\r\n\r\n", "MissingHost"),
        ("GET / HTTP/1.1\r\nhost:\r\n\r\n", "MissingHost"),
        ("GET http://test/ HTTP/1.1\r\n\r\n", "MissingHost"),
        (
            "GET / HTTP/1.1\r\nhost: test\r\nhost: test\r\n\r\n",
            "InvalidHost",
        ),
        ("GET / HTTP/1.1\r\nhost: a@test\r\n\r\n", "InvalidHost"),
        ("GET / HTTP/1.1\r\nhost: te st\r\n\r\n", "InvalidHost"),
        ("GET / HTTP/1.1\r\nhost: test/x\r\n\r\n", "InvalidHost"),
        ("GET / HTTP/1.1\r\nhost: .\r\n\r\n", "InvalidHost"),
        ("GET / HTTP/1.1\r\nhost: test:abc\r\n\r\n", "InvalidHost"),
        ("GET / HTTP/1.1\r\nhost: test:99999\r\n\r\n", "InvalidHost"),
        ("GET / HTTP/1.1\r\nhost: test:80:80\r\n\r\n", "InvalidHost"),
        (
            "GET http://test:abc/ HTTP/1.1\r\nhost: test\r\n\r\n",
            "InvalidHost",
        ),
    ] {
        let answer = rig.connect().request(head);
        println!("{head:?}");
        answer.is_refusal(400, reason);
    }
}

#[test]
fn unknown_names_have_no_route() {
    let rig = Rig::serving("hello-p2");
    let mut client = rig.connect();
    for _ in 0..2 {
        let answer = client.request("GET / HTTP/1.1\r\nhost: other\r\n\r\n");
        answer.is_refusal(404, "NoRoute");
    }
    let answer = client.request("GET / HTTP/1.1\r\nhost: test\r\n\r\n");
    assert_eq!(answer.status, 200, "the connection goes on");
}

#[test]
fn bodies_have_a_limit() {
    let rig = Rig::serving_with("echo-p2", |c| c.limits.body_bytes = Some(10));
    let head = "POST / HTTP/1.1\r\nhost: test\r\n";
    let answer = rig
        .connect()
        .request(format!("{head}content-length: 11\r\n\r\n01234567890"));
    answer.is_refusal(413, "BodyTooLarge");
    let answer = rig
        .connect()
        .request(format!("{head}content-length: 10\r\n\r\n0123456789"));
    assert_eq!((answer.status, answer.text()), (200, "0123456789"));
    // Asked first, a client never sends it.
    let asking = format!("{head}expect: 100-continue\r\ncontent-length: 11\r\n\r\n");
    rig.connect()
        .request(asking)
        .is_refusal(413, "BodyTooLarge");
}

#[test]
fn a_body_that_grows_past_its_limit_before_the_answer_is_refused() {
    let rig = Rig::serving_with("hello-p2", |c| c.limits.body_bytes = Some(10));
    let mut client = rig.connect();
    // The echo answers at once, so the limit shows as an answer that is cut off there; here the
    // guest does not read, and answers.
    client.send("POST / HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n");
    client.send("b\r\n01234567890\r\n0\r\n\r\n");
    assert_eq!(client.read().status, 200);

    // Whatever a guest makes of it that reads: it can't know why the body ended.
    let rig = Rig::serving_with("probe-p2", |c| {
        c.limits.body_bytes = Some(10);
        c.pool.size = 1;
    });
    let head = "POST /read HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n";
    let answer = rig
        .connect()
        .request(format!("{head}a\r\n0123456789\r\n0\r\n\r\n"));
    assert_eq!((answer.status, answer.text()), (200, "10"));
    let large = format!("{head}b\r\n01234567890\r\n0\r\n\r\n");
    let answer = rig.connect().request(large);
    answer.is_refusal(413, "BodyTooLarge");
    let of_guest = "namespace=\"default\",workload=\"w\",component=\"main\"";
    let refused = format!("waft_http_refusals_total{{{of_guest},reason=\"BodyTooLarge\"}} 1\n");
    let kept = format!("waft_guest_instances_warm{{{of_guest}}} 1\n");
    let traps = "waft_guest_traps_total{";
    wait_until(|| {
        let metrics = rig.host.metrics();
        metrics.contains(&refused) && metrics.contains(&kept) && !metrics.contains(traps)
    });

    let rig = Rig::serving_with("echo-p2", |c| c.limits.body_bytes = Some(10));
    let mut client = rig.connect();
    client.send("POST / HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n");
    assert_eq!(client.head().status, 200);
    client.send("b\r\n01234567890\r\n");
    let mut rest = Vec::new();
    let _ = std::io::Read::read_to_end(&mut client.reader, &mut rest);
    assert!(!rest.ends_with(b"0\r\n\r\n"), "{rest:?} looks complete");
}

#[test]
fn heads_have_limits() {
    let rig = Rig::serving_with("hello-p2", |c| c.limits.header_bytes = 1000);
    let with = |lines: &str| {
        let head = format!("GET / HTTP/1.1\r\nhost: test\r\n{lines}\r\n");
        rig.connect().request(head)
    };
    assert_eq!(with(&format!("a: {}\r\n", "x".repeat(900))).status, 200);
    let too_large = with(&format!("a: {}\r\n", "x".repeat(1000)));
    too_large.is_refusal(431, "HeadersTooLarge");
    with(&"a: b\r\n".repeat(101)).is_refusal(431, "HeadersTooLarge");
    with(&format!("{}: b\r\n", "x".repeat(70_000))).is_refusal(431, "HeadersTooLarge");
    with(&format!("a: {}\r\n", "x".repeat(300 << 10))).is_refusal(431, "HeadersTooLarge");
    let long = format!("GET /{} HTTP/1.1\r\nhost: test\r\n\r\n", "x".repeat(70_000));
    rig.connect().request(long).is_refusal(414, "UriTooLong");
}

#[test]
fn traps_are_told_apart_and_their_text_stays_inside() {
    let rig = Rig::serving("trap-p2");
    rig.get("/now").is_refusal(500, "Trap");
    let answer = rig.get("/panic");
    answer.is_refusal(500, "Trap");
    assert!(!format!("{answer:?}").contains("text of this panic"));
    assert_eq!(rig.get("/ok").text(), "ok\n");
    let id = waft_ir::WorkloadId("uid-w".into());
    let state = rig.wait_for(&id, |s| {
        s.is_some_and(|s| s.components[0].last_error.is_some())
    });
    let state = state.unwrap();
    assert_eq!(state.phase, Phase::Running);
    let error = state.components[0].last_error.clone().unwrap();
    assert!(error.starts_with("Trap: "), "{error}");

    let rig = Rig::serving_with("grow-p2", |c| c.limits.memory_bytes = 32 << 20);
    rig.get("/").is_refusal(500, "MemoryLimit");
    assert_eq!(rig.get("/ok").text(), "ok\n");

    // A loaded machine may interrupt the other request for a while.
    let limit = Duration::from_secs(2);
    let rig = Rig::serving_with("spin-p2", |c| c.limits.cpu_time = limit);
    rig.get("/").is_refusal(500, "CpuTime");
    assert_eq!(rig.get("/ok").text(), "ok\n");
}

#[test]
fn an_answer_that_ends_in_a_trap_looks_cut_off() {
    let rig = Rig::serving("trap-p2");
    let mut client = rig.connect();
    client.send("GET /after-headers HTTP/1.1\r\nhost: test\r\n\r\n");
    let head = client.head();
    if head.status == 500 {
        // It trapped before its headers were on their way.
        assert_eq!(head.header("x-waft-reason"), Some("Trap"));
        return;
    }
    assert_eq!(head.status, 200);
    let mut rest = Vec::new();
    let _ = std::io::Read::read_to_end(&mut client.reader, &mut rest);
    assert!(!rest.ends_with(b"0\r\n\r\n"), "{rest:?} looks complete");
}

#[test]
fn upgrades_and_tunnels_are_refused() {
    let rig = Rig::serving("hello-p2");
    for head in [
        "GET / HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\nupgrade: a, WebSocket\r\n\r\n",
        "CONNECT test:80 HTTP/1.1\r\nhost: test:80\r\n\r\n",
    ] {
        let mut client = rig.connect();
        client.request(head).is_refusal(501, "UpgradeNotSupported");
    }
    let h2c = "GET / HTTP/1.1\r\nhost: test\r\nconnection: upgrade, http2-settings\r\n\
               upgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n\r\n";
    assert_eq!(rig.connect().request(h2c).text(), HELLO);
}

#[test]
fn without_a_ready_replica_waiting_helps() {
    let rig = Rig::new();
    rig.route("test", &[]);
    rig.get("/").is_refusal(503, "NoReadyBackend");
    let id = rig.run(workload("w", &[("main", "hello-p2")]));
    rig.route("test", &[&id]);
    assert_eq!(rig.get("/").text(), HELLO);
    rig.stop(&id);
    rig.wait_for(&id, |state| state.is_none());
    rig.get("/").is_refusal(503, "NoReadyBackend");
}

#[test]
fn a_full_queue_refuses_at_once() {
    let rig = Rig::serving_with("echo-p2", |c| {
        c.limits.max_in_flight = 1;
        c.limits.queue = 0;
    });
    let mut busy = rig.connect();
    busy.send(HALF);
    wait_until(|| in_flight(&rig));
    rig.get("/").is_refusal(503, "QueueFull");
    busy.send(REST);
    assert_eq!(busy.read().text(), REST);
}

#[test]
fn a_guest_that_does_not_answer_in_time_is_given_up() {
    let rig = Rig::serving("hello-p2");
    let id = waft_ir::WorkloadId("uid-w".into());
    rig.route_within("test", &[&id], Some(Duration::from_millis(100)));
    rig.get("/sleep?30000").is_refusal(504, "Deadline");
    rig.route_within("test", &[&id], None);
    assert_eq!(rig.get("/sleep?200").text(), "awake\n");
}

#[test]
fn guests_that_spin_keep_nobody_from_answering() {
    let rig = Rig::serving("spin-p2");
    let spinning: Vec<_> = (0..8)
        .map(|_| {
            let mut client = rig.connect();
            client.send("GET /?60000 HTTP/1.1\r\nhost: test\r\n\r\n");
            client
        })
        .collect();
    wait_until(|| {
        rig.host.metrics().contains(
            "calls_in_flight{namespace=\"default\",workload=\"w\",component=\"main\"} 8\n",
        )
    });
    let hello = rig.run(workload("hello", &[("main", "hello-p2")]));
    rig.route("hello", &[&hello]);
    let mut client = rig.connect();
    let started = std::time::Instant::now();
    for _ in 0..10 {
        let answer = client.request("GET / HTTP/1.1\r\nhost: hello\r\n\r\n");
        assert_eq!(answer.text(), HELLO);
    }
    let took = started.elapsed();
    assert!(took < SOON, "{took:?}");
    println!("ten answers beside eight spinning guests: {took:?}");
    // Their clients leave, and they end.
    drop(spinning);
    wait_until(|| {
        rig.host.metrics().contains(
            "calls_in_flight{namespace=\"default\",workload=\"w\",component=\"main\"} 0\n",
        )
    });
}

#[test]
fn metrics_count_by_workload_and_reason() {
    let rig = Rig::serving("trap-p2");
    rig.get("/ok");
    rig.get("/now");
    rig.connect()
        .request("GET / HTTP/1.1\r\nhost: other\r\n\r\n");
    let of_guest = r#"namespace="default",workload="w",component="main""#;
    let nobody = r#"namespace="",workload="",component="""#;
    let wanted = [
        format!("waft_http_requests_total{{{of_guest},status=\"200\"}} 1\n"),
        format!("waft_http_refusals_total{{{of_guest},reason=\"Trap\"}} 1\n"),
        format!("waft_guest_traps_total{{{of_guest},kind=\"Unreachable\"}} 1\n"),
        "waft_workloads{phase=\"Running\"} 1\n".into(),
        format!("waft_http_requests_total{{{of_guest},status=\"500\"}} 1\n"),
        format!("waft_guest_calls_total{{{of_guest}}} 2\n"),
        format!("waft_guest_cold_starts_total{{{of_guest}}} 2\n"),
        format!("waft_guest_memory_bytes{{{of_guest}}} 0\n"),
        format!("waft_guest_log_lines_dropped_total{{{of_guest}}} 0\n"),
    ];
    // A request is counted when its answer is over, just after the client has it.
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        let text = rig.host.metrics();
        // The rig asks too, until the host has its table.
        let refusals = format!("waft_http_refusals_total{{{nobody},reason=\"");
        let refused = text.lines().filter_map(|line| line.strip_prefix(&refusals));
        let refused: u64 = refused
            .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
            .sum();
        let of_nobody = [
            format!("waft_http_request_duration_seconds_bucket{{{nobody},le=\"10\"}} {refused}\n"),
            format!("waft_http_request_duration_seconds_count{{{nobody}}} {refused}\n"),
        ];
        let wanted = wanted.iter().chain(&of_nobody);
        let missing: Vec<_> = wanted.filter(|w| !text.contains(*w)).collect();
        if missing.is_empty() {
            return;
        }
        assert!(
            std::time::Instant::now() < deadline,
            "{missing:?} in {text}"
        );
        thread::yield_now();
    }
}

#[test]
fn a_workload_has_series_from_its_first_request_on() {
    let rig = Rig::new();
    let id = rig.run(workload("quiet", &[("main", "hello-p2")]));
    assert!(!rig.host.metrics().contains("quiet"));
    rig.route("test", &[&id]);
    assert_eq!(rig.get("/").status, 200);
    assert!(rig.host.metrics().contains("workload=\"quiet\""));
}

#[test]
fn memory_that_instances_hold_is_a_metric() {
    let rig = Rig::serving_with("hello-p2", |c| c.pool.size = 1);
    assert_eq!(rig.get("/").status, 200);
    let name = "waft_guest_memory_bytes{namespace=\"default\",workload=\"w\",component=\"main\"} ";
    let metrics = rig.host.metrics();
    let line = metrics.lines().find_map(|line| line.strip_prefix(name));
    let bytes: u64 = line.unwrap().parse().unwrap();
    assert!((64 << 10..64 << 20).contains(&bytes), "{bytes}");
}
