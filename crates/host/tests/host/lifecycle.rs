//! Workloads from start to gone.

use std::{
    collections::BTreeMap,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use waft_ir::{
    CapabilityGrant, FailureReason, HostLink, Phase, PullPolicy, Service, Workload, WorkloadId,
    WorkloadState,
};
use waft_runtime::EngineConfig;

use crate::{
    connections::wait_until,
    harness::{PATIENCE, RUNTIME, Rig, engine_of, workload},
};

/// A request to the echo that is in flight until its [`REST`] is sent.
pub(crate) const HALF: &str = "POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 5\r\n\r\n";
pub(crate) const REST: &str = "hello";

fn failure(state: &WorkloadState) -> (FailureReason, &str) {
    match &state.phase {
        Phase::Failed(failure) => (failure.reason, &failure.message),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_workload_comes_and_goes() {
    let rig = Rig::new();
    let first = workload("w", &[("main", "hello-p2")]);
    let id = rig.run(first.clone());
    let state = rig.settled(&id);
    assert_eq!(state.host, rig.id);
    assert_eq!(state.components[0].http.as_deref(), Some("0.2"));
    let digest = state.components[0].digest.clone().unwrap();
    assert!(digest.starts_with("sha256:"), "{digest}");
    wait_until(|| rig.host.hosts().borrow()[&rig.id].workloads == 1);
    // Again: nothing changes.
    rig.start(first);
    assert_eq!(rig.settled(&id), state);

    rig.stop(&id);
    rig.wait_for(&id, |state| state.is_none());
    wait_until(|| rig.host.hosts().borrow()[&rig.id].workloads == 0);
    rig.stop(&id);
}

#[test]
fn a_guest_of_0_3_serves_as_well() {
    let rig = Rig::serving("hello-p3");
    assert_eq!(rig.get("/").status, 200);
    let state = rig.settled(&waft_ir::WorkloadId("uid-w".into()));
    assert_eq!(state.components[0].http.as_deref(), Some("0.3"));
}

#[test]
fn failures_name_component_and_image_and_are_tried_again() {
    let rig = Rig::new();
    let mut bad = workload("w", &[("main", "hello-p2")]);
    let path = rig.folder.path().join("late.wasm");
    bad.components[0].image.reference = format!("file:{}", path.display());
    let id = rig.start(bad.clone());
    let state = rig.settled(&id);
    let (reason, message) = failure(&state);
    assert_eq!(reason, FailureReason::FileNotFound);
    assert!(
        message.contains("`main`") && message.contains("late.wasm"),
        "{message}"
    );

    std::fs::copy(waft_guests::path("hello-p2"), &path).unwrap();
    bad.components[0].image.policy = PullPolicy::Always;
    let id = rig.start(bad);
    rig.wait_for(&id, |s| s.is_some_and(|s| s.phase == Phase::Running));
    rig.stop(&id);
    rig.wait_for(&id, |state| state.is_none());
}

#[test]
fn what_has_failed_is_started_as_it_is_wanted_now() {
    let rig = Rig::new();
    let mut first = workload("w", &[("only", "hello-p2")]);
    first.components[0].image.reference = "file:/nowhere/at-all.wasm".into();
    let id = rig.start(first);
    assert_eq!(failure(&rig.settled(&id)).0, FailureReason::PathNotAllowed);

    // The same workload, with another list of components.
    let next = workload("w", &[("caller", "greeted-p2"), ("greeter", "greeter-p2")]);
    assert_eq!(rig.start(next), id);
    let state = rig.wait_for(&id, |s| s.is_some_and(|s| s.phase == Phase::Running));
    let names = state.unwrap().components;
    let names: Vec<_> = names.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(names, ["caller", "greeter"]);
}

#[test]
fn a_failed_workload_can_be_stopped() {
    let rig = Rig::new();
    let id = rig.start(workload("w", &[("main", "unsupported-import-p2")]));
    let state = rig.settled(&id);
    let (reason, message) = failure(&state);
    assert_eq!(reason, FailureReason::UnsupportedImport);
    assert!(message.contains("`main`"), "{message}");
    rig.stop(&id);
    rig.wait_for(&id, |state| state.is_none());
}

#[test]
fn one_component_must_serve_http_and_one_only() {
    let rig = Rig::new();
    let two = workload("two", &[("a", "hello-p2"), ("b", "hello-p3")]);
    let state = rig.settled(&rig.start(two));
    let (reason, message) = failure(&state);
    assert_eq!(reason, FailureReason::MultipleHttpHandlers);
    assert!(message.contains("`a`, `b`"), "{message}");

    let none = workload("none", &[("only", "greeter-p2")]);
    let state = rig.settled(&rig.start(none));
    let (reason, message) = failure(&state);
    assert_eq!(reason, FailureReason::MissingExport);
    assert!(message.contains("`only`"), "{message}");

    let mut service = workload("service", &[("main", "hello-p2")]);
    let main = service.components[0].clone();
    service.service = Some(Service {
        name: "sidecar".into(),
        image: main.image,
        max_restarts: 0,
        resources: main.resources,
        limits: main.limits,
    });
    let state = rig.settled(&rig.start(service));
    let (reason, message) = failure(&state);
    assert_eq!(reason, FailureReason::MultipleHttpHandlers);
    assert!(message.contains("`main`, `sidecar`"), "{message}");
}

#[test]
fn who_is_to_take_requests_must_export_a_handler_of_http() {
    let rig = Rig::new();
    let http = |interface: &str| CapabilityGrant {
        name: None,
        package: "wasi:http".parse().unwrap(),
        interfaces: vec!["outgoing-handler".into(), interface.into()],
        config: BTreeMap::new(),
    };
    let mut worker = workload("worker", &[("main", "worker")]);
    worker.grants.push(CapabilityGrant {
        package: "wasmcloud:messaging@0.2.0".parse().unwrap(),
        interfaces: vec!["consumer".into(), "handler".into()],
        config: BTreeMap::from([("subscriptions".into(), "takes.no.requests".into())]),
        ..http("")
    });
    let mut runs = workload("runs", &[("main", "hello-p2")]);
    runs.components.clear();
    give_service(&mut runs, "sleep", 0);
    for (mut without, name) in [(worker, "`main`"), (runs, "`service`")] {
        without.grants.push(http("incoming-handler"));
        let id = rig.start(without.clone());
        let state = rig.settled(&id);
        let (reason, message) = failure(&state);
        assert_eq!(reason, FailureReason::MissingExport);
        for part in ["`wasi:http/incoming-handler`", name, "HTTPTrigger"] {
            assert!(message.contains(part), "{message}");
        }
        rig.stop(&id);
        rig.wait_for(&id, |state| state.is_none());
        // An entry that only lets it send is none of the kind.
        without.grants.pop();
        without.grants.push(http("types"));
        rig.run(without);
    }
}

#[test]
fn stopping_while_it_starts_leaves_nothing() {
    let rig = Rig::new();
    for round in 0..10 {
        let id = rig.start(workload(&format!("w{round}"), &[("main", "hello-p2")]));
        rig.stop(&id);
        rig.wait_for(&id, |state| state.is_none());
    }
    // States are shown a little after they change: once this one is, so are those before it.
    let last = rig.run(workload("last", &[("main", "hello-p2")]));
    wait_until(|| rig.host.states().borrow().keys().eq([&last]));
    rig.stop(&last);
    wait_until(|| !rig.folder.path().join("logs/default").exists());
}

#[test]
fn requests_in_flight_are_finished_before_a_workload_goes() {
    let rig = Rig::with_grace(PATIENCE);
    let id = rig.run(workload("w", &[("main", "echo-p2")]));
    rig.route("test", &[&id]);
    let mut client = rig.connect();
    client.send(HALF);
    wait_until(|| in_flight(&rig));
    rig.stop(&id);
    rig.wait_for(&id, |s| s.is_none_or(|s| s.phase == Phase::Stopping));
    rig.get("/").is_refusal(503, "NoReadyBackend");
    assert!(rig.host.states().borrow().contains_key(&id), "it waits");
    client.send(REST);
    assert_eq!(client.read().text(), REST);
    rig.wait_for(&id, |state| state.is_none());
}

#[test]
fn requests_that_outlast_the_grace_period_are_cut_off() {
    let rig = Rig::with_grace(Duration::from_millis(100));
    let id = rig.run(workload("w", &[("main", "hello-p2")]));
    rig.route("test", &[&id]);
    let mut client = rig.connect();
    client.send("GET /sleep?30000 HTTP/1.1\r\nhost: test\r\n\r\n");
    wait_until(|| in_flight(&rig));
    rig.stop(&id);
    client.read().is_refusal(503, "InstanceLost");
    rig.wait_for(&id, |state| state.is_none());
}

#[test]
fn replicas_take_turns_and_one_that_goes_is_passed_over() {
    let rig = Rig::new();
    let replica = |name: &str| {
        let mut workload = workload(name, &[("main", "hello-p2")]);
        let environment = &mut workload.components[0].resources.environment;
        environment.insert("REPLICA".into(), name.into());
        workload
    };
    let (a, b) = (rig.run(replica("a")), rig.run(replica("b")));
    rig.route("test", &[&a, &b]);
    let count = |text: &str| {
        let answers = (0..10).map(|_| rig.get("/env"));
        answers.filter(|a| a.text().contains(text)).count()
    };
    assert_eq!(count("REPLICA=a\n"), 5);
    rig.stop(&a);
    rig.wait_for(&a, |state| state.is_none());
    assert_eq!(count("REPLICA=b\n"), 10);
}

#[test]
fn nothing_is_lost_while_replicas_are_replaced_under_load() {
    let rig = Arc::new(Rig::serving("hello-p2"));
    let load = {
        let rig = rig.clone();
        thread::spawn(move || {
            let mut client = rig.connect();
            for _ in 0..300 {
                let answer = client.request("GET / HTTP/1.1\r\nhost: test\r\n\r\n");
                assert_eq!(answer.status, 200, "{answer:?}");
            }
        })
    };
    let mut old = waft_ir::WorkloadId("uid-w".into());
    for round in 0..5 {
        let new = rig.run(workload(&format!("r{round}"), &[("main", "hello-p2")]));
        rig.route("test", &[&new]);
        rig.stop(&old);
        rig.wait_for(&old, |state| state.is_none());
        old = new;
    }
    load.join().unwrap();
}

#[test]
fn a_drained_host_finishes_its_requests_and_accepts_no_more() {
    let rig = Rig::serving("echo-p2");
    let mut idle = rig.connect();
    idle.request("GET / HTTP/1.1\r\nhost: test\r\n\r\n");
    let mut client = rig.connect();
    client.send(HALF);
    wait_until(|| in_flight(&rig));
    let host = rig.host.clone();
    let draining = RUNTIME.spawn(async move { host.drain(PATIENCE).await });
    // It has begun by then.
    assert!(idle.is_closed());
    client.send(REST);
    assert_eq!(client.read().text(), REST);
    assert!(client.is_closed());
    RUNTIME.block_on(draining).unwrap();
    // The listener goes in a task of its own.
    wait_until(|| std::net::TcpStream::connect(rig.address).is_err());
}

pub(crate) fn in_flight(rig: &Rig) -> bool {
    let line =
        "waft_guest_calls_in_flight{namespace=\"default\",workload=\"w\",component=\"main\"} 1\n";
    rig.host.metrics().contains(line)
}

#[test]
fn a_service_that_serves_http_is_one_instance_that_is_kept() {
    for guest in ["hello-p2", "hello-p3"] {
        let rig = Rig::new();
        let mut alone = workload("w", &[("main", guest)]);
        let main = alone.components.remove(0);
        alone.service = Some(Service {
            name: "service".into(),
            image: main.image,
            max_restarts: 0,
            resources: main.resources,
            limits: main.limits,
        });
        let id = rig.run(alone);
        rig.route("test", &[&id]);
        for count in 1..=3 {
            let answer = rig.get("/count");
            assert_eq!(
                (answer.status, answer.text()),
                (200, &*format!("{count}\n")),
                "{guest}"
            );
        }
        assert_eq!(rig.settled(&id).components[0].name, "service");
        rig.stop(&id);
        rig.wait_for(&id, |state| state.is_none());
    }
}

#[test]
fn a_component_that_nothing_calls_is_told() {
    let rig = Rig::new();
    let id = rig.run(workload(
        "w",
        &[("main", "hello-p2"), ("job", "service-p2")],
    ));
    let warnings = rig.settled(&id).warnings;
    let [(reason, text)] = &warnings[..] else {
        panic!("{warnings:?}");
    };
    assert_eq!(reason, "ComponentUnused");
    assert!(
        text.starts_with("component `job` is never called"),
        "{text}"
    );
    assert!(
        text.ends_with("is to be the workload's `service`"),
        "{text}"
    );
    // Alone it is refused, and told the same.
    let alone = rig.start(workload("alone", &[("job", "service-p2")]));
    let Phase::Failed(failure) = rig.settled(&alone).phase else {
        panic!("it runs");
    };
    assert_eq!(failure.reason, FailureReason::MissingExport);
    assert!(failure.message.contains("`service`"), "{failure}");
}

#[test]
fn a_member_computes_no_more_than_its_limit_in_another_ones_instance() {
    let rig = Rig::new();
    let mut linked = workload("w", &[("main", "measure-p2"), ("records", "records-p2")]);
    linked.components[1].limits.cpu_millis = Some(100);
    linked.grants.push(CapabilityGrant {
        name: None,
        package: "wasi:keyvalue@0.2.0-draft".parse().unwrap(),
        interfaces: Vec::new(),
        config: BTreeMap::new(),
    });
    let id = rig.run(linked);
    rig.route("test", &[&id]);
    // However fast the machine is, one after the other they compute for more than a tenth of the time.
    wait_until(|| {
        assert_eq!(rig.get("/linked?30000").status, 200);
        let metrics = rig.host.metrics();
        metrics.lines().any(|line| {
            line.starts_with("waft_guest_cpu_throttled_total{") && !line.ends_with(" 0")
        })
    });
}

/// A service of a workload: `service-p2` in one of its modes.
fn give_service(workload: &mut Workload, mode: &str, max_restarts: u32) {
    let like = self::workload("like", &[("service", "service-p2")])
        .components
        .remove(0);
    let mut resources = like.resources;
    resources.environment.insert("MODE".into(), mode.into());
    workload.service = Some(Service {
        name: like.name,
        image: like.image,
        max_restarts,
        resources,
        limits: like.limits,
    });
}

#[test]
fn a_workload_whose_service_fails_at_once_is_never_ready() {
    let rig = Rig::new();
    for (max_restarts, mode) in [(0, "fail"), (2, "panic")] {
        let mut failing = workload(&format!("w{max_restarts}"), &[("main", "hello-p2")]);
        give_service(&mut failing, mode, max_restarts);
        let began = Instant::now();
        let id = rig.start(failing);
        let mut pauses = std::collections::BTreeSet::new();
        let state = rig.wait_for(&id, |state| match state.map(|state| &state.phase) {
            // One that may listen is waited for for 2 seconds. A machine may take longer until it fails.
            Some(Phase::Running) => {
                let waited = began.elapsed() >= Duration::from_secs(2);
                assert!(waited, "{mode}: it is said to be ready");
                false
            }
            Some(Phase::Restarting(failure)) => {
                assert_eq!(failure.reason, FailureReason::CrashLoopBackOff);
                pauses.insert(failure.message.clone());
                false
            }
            Some(Phase::Failed(_)) => true,
            _ => false,
        });
        let state = state.unwrap();
        assert_eq!(failure(&state).0, FailureReason::RestartsExhausted);
        assert_eq!(state.components[1].restarts, max_restarts);
        assert_eq!(pauses.len(), max_restarts as usize, "{pauses:?}");
        for (count, pause) in pauses.iter().enumerate() {
            let restart = format!("restart {} of {max_restarts}", count + 1);
            assert!(
                pause.contains(&restart) && pause.contains("`service`"),
                "{pause}"
            );
        }
    }
}

#[test]
fn a_service_that_is_started_again_makes_its_workload_ready_again() {
    let rig = Rig::new();
    let mut with_service = workload("w", &[("main", "client-p2")]);
    give_service(&mut with_service, "tcp", 3);
    let id = rig.run(with_service);
    rig.route("test", &[&id]);
    let say = |word: &str| rig.get(&format!("/tcp/127.0.0.1:7000?{word}"));
    assert_eq!(say("hello").text(), "HELLO");
    for restarts in 1..=2 {
        assert_ne!(say("exit").text(), "EXIT");
        let state = rig.wait_for(&id, |state| {
            state.is_some_and(|state| matches!(state.phase, Phase::Restarting(_)))
        });
        assert_eq!(state.unwrap().components[1].restarts, restarts);
        // Its components answer all the same.
        assert_eq!(rig.get("/").status, 200);
        rig.wait_for(&id, |s| s.is_some_and(|s| s.phase == Phase::Running));
        assert_eq!(say("again").text(), "AGAIN");
    }
}

#[test]
fn a_service_that_ends_well_leaves_its_components_serving() {
    let rig = Rig::new();
    let mut ending = workload("w", &[("main", "hello-p2")]);
    give_service(&mut ending, "end", 0);
    let id = rig.run(ending);
    rig.route("test", &[&id]);
    let state = rig.wait_for(&id, |state| {
        state.is_some_and(|s| s.components[1].completed)
    });
    let state = state.unwrap();
    assert_eq!(state.phase, Phase::Running);
    assert!(!state.components[0].completed);
    assert_eq!(rig.get("/").status, 200);
}

#[test]
fn a_service_that_meets_a_full_host_has_not_failed_itself() {
    let small = EngineConfig {
        max_instances: 1,
        ..EngineConfig::default()
    };
    let rig = Rig::with(engine_of(small, None), |_| {});
    let sleeper = |name: &str| {
        let mut sleeper = workload(name, &[]);
        give_service(&mut sleeper, "sleep", 0);
        sleeper
    };
    let first = rig.run(sleeper("first"));
    // Up is also what has run for a while: a machine may take longer until it has its instance.
    let made = "waft_guest_cold_starts_total{namespace=\"default\",workload=\"first\",\
                component=\"service\"} 1\n";
    wait_until(|| rig.host.metrics().contains(made));
    let second = rig.start(sleeper("second"));
    let state = rig.wait_for(&second, |state| {
        state.is_some_and(|state| matches!(state.phase, Phase::Failed(_)))
    });
    let state = state.unwrap();
    let (reason, message) = failure(&state);
    assert_eq!(reason, FailureReason::HostAtCapacity, "{message}");
    assert!(
        reason.is_transient() && !message.contains("maxRestarts"),
        "{message}"
    );
    rig.stop(&first);
    rig.wait_for(&first, |state| state.is_none());
    rig.start(sleeper("second"));
    rig.wait_for(&second, |s| s.is_some_and(|s| s.phase == Phase::Running));
}

/// Runs `keyvalue-p2` with a bucket that all rigs share.
fn run_keeper(rig: &Rig, name: &str, bucket: &str) -> WorkloadId {
    let mut keeper = workload(name, &[("main", "keyvalue-p2")]);
    keeper.grants = vec![CapabilityGrant {
        name: Some(bucket.into()),
        package: "wasi:keyvalue".parse().unwrap(),
        interfaces: vec!["store".into(), "atomics".into(), "batch".into()],
        config: BTreeMap::new(),
    }];
    let id = rig.run(keeper);
    rig.route("test", &[&id]);
    id
}

#[test]
fn a_drained_host_has_guests_finish_what_they_do_after_their_answers() {
    let (rig, other) = (Rig::new(), Rig::new());
    run_keeper(&rig, "stays", "drained");
    run_keeper(&other, "reads", "drained");
    let count = || other.get("/get?drained&count").text().to_owned();
    assert_eq!(rig.get("/stay?drained&count&1000").text(), "stays");
    RUNTIME.block_on(rig.host.drain(PATIENCE));
    assert_eq!(count(), "1000");
}

#[test]
fn a_drained_host_ends_guests_that_go_on_after_their_answers_past_the_grace() {
    let (rig, other) = (Rig::new(), Rig::new());
    run_keeper(&rig, "stays", "ended");
    run_keeper(&other, "reads", "ended");
    let count = || other.get("/get?ended&count").text().parse::<u64>();
    assert_eq!(rig.get("/stay?ended&count").text(), "stays");
    wait_until(|| count().is_ok_and(|count| count > 1));
    RUNTIME.block_on(rig.host.drain(Duration::from_millis(50)));
    // It sets more keys meanwhile if it goes on; on a busy machine it may end a moment later.
    let stands_still = || {
        let last = count().unwrap();
        (0..100).all(|_| count().unwrap() == last)
    };
    assert!((0..5).any(|_| stands_still()), "it goes on");
}

#[test]
fn a_guest_that_goes_on_after_its_answer_ends_with_its_workload() {
    let rig = Rig::with_grace(Duration::from_millis(50));
    let keeper = |name| run_keeper(&rig, name, "after-answers");
    let (stays, reads) = (keeper("stays"), keeper("reads"));
    rig.route("test", &[&stays]);
    assert_eq!(rig.get("/stay?after-answers&count").text(), "stays");
    rig.route("test", &[&reads]);
    let count = || rig.get("/get?after-answers&count").text().parse::<u64>();
    wait_until(|| count().is_ok_and(|count| count > 1));
    rig.stop(&stays);
    rig.wait_for(&stays, |state| state.is_none());
    // It sets more keys meanwhile if it goes on; on a busy machine it may end a moment later.
    let stands_still = || {
        let last = count().unwrap();
        (0..100).all(|_| count().unwrap() == last)
    };
    assert!((0..5).any(|_| stands_still()), "it goes on");
}
