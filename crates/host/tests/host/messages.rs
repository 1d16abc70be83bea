//! Components that take messages.

use std::{
    collections::{BTreeMap, BTreeSet},
    thread,
    time::Duration,
};

use futures::StreamExt as _;
use waft_ir::{CapabilityGrant, FailureReason, HostLink as _, LogQuery, Phase, Workload};

use crate::{
    connections::wait_until,
    harness::{PATIENCE, RUNTIME, Rig, workload},
};

fn grant(version: &str, subjects: &str) -> CapabilityGrant {
    CapabilityGrant {
        name: None,
        package: format!("wasmcloud:messaging@{version}").parse().unwrap(),
        interfaces: vec!["consumer".into(), "handler".into()],
        config: BTreeMap::from([("subscriptions".into(), subjects.into())]),
    }
}

/// A workload of one component that takes messages of one subject.
fn worker(name: &str, guest: &str, subject: &str) -> Workload {
    let mut worker = workload(name, &[("main", guest)]);
    let version = if guest.ends_with("-p3") {
        "0.3.0"
    } else {
        "0.2.0"
    };
    worker.grants.push(grant(version, subject));
    worker
}

/// A rig with the asker behind `test`. Subjects are shared by all tests: each has its own.
fn asking() -> Rig {
    let rig = Rig::new();
    let id = rig.run(worker("asker", "asker-p2", ""));
    rig.route("test", &[&id]);
    rig
}

impl Rig {
    fn ask(&self, subject: &str, text: &str) -> String {
        self.get(&format!("/ask?{subject}&{text}")).text().into()
    }

    fn publish(&self, subject: &str, text: &str) -> String {
        self.get(&format!("/publish?{subject}&{text}"))
            .text()
            .into()
    }

    /// Messages of a worker with a result.
    fn count(&self, worker: &str, result: &str) -> u64 {
        self.count_of(worker, "main", result)
    }

    /// Those of one component.
    fn count_of(&self, worker: &str, component: &str, result: &str) -> u64 {
        let series = format!(
            "waft_messages_total{{namespace=\"default\",workload=\"{worker}\",\
             component=\"{component}\",result=\"{result}\"}} "
        );
        let metrics = self.host.metrics();
        let line = metrics.lines().find_map(|line| line.strip_prefix(&series));
        line.map_or(0, |value| value.parse().unwrap())
    }
}

#[test]
fn one_component_takes_messages_and_answers_requests() {
    let rig = asking();
    let mut both = worker("both", "both-p2", "both.news");
    // One instance, so that what a message left is there for a request.
    both.components[0].pool.size = 1;
    let both = rig.run(both);
    assert_eq!(rig.publish("both.news", "rain"), "published");
    wait_until(|| rig.count("both", "Handled") == 1);
    rig.route("test", &[&both]);
    assert_eq!(rig.get("/").text(), "rain");
}

#[test]
fn a_worker_without_http_answers_within_its_namespace() {
    let rig = asking();
    rig.run(worker("w", "worker", "plain.*"));
    let series = "workload=\"w\"";
    assert!(!rig.host.metrics().contains(series), "before any message");
    assert_eq!(rig.ask("plain.a", "hello"), "HELLO");
    assert_eq!(rig.publish("plain.a", "x"), "published");
    wait_until(|| rig.count("w", "Handled") == 2);
    assert!(rig.host.metrics().contains(series));
    assert_eq!(
        rig.ask("plain", "hello"),
        "nobody takes messages of `plain`"
    );
    assert_eq!(rig.publish("$SYS.x", "x"), "`$SYS.x` is a reserved subject");
    assert_eq!(rig.get("/large?plain.a&1048577").status, 502);

    let mut elsewhere = worker("asker-2", "asker-p2", "");
    elsewhere.namespace = "other".into();
    let elsewhere = rig.run(elsewhere);
    rig.route("test", &[&elsewhere]);
    assert_eq!(
        rig.ask("plain.a", "hello"),
        "nobody takes messages of `plain.a`"
    );
}

#[test]
fn an_entry_of_a_version_is_for_handlers_of_that_version() {
    let rig = asking();
    let mut two = workload("two", &[("old", "worker"), ("new", "worker-p3")]);
    two.grants = vec![
        grant("0.2.0", "versions.old"),
        grant("0.3.0", "versions.new"),
    ];
    for (grant, name) in two.grants.iter_mut().zip(["old", "new"]) {
        grant.name = Some(name.into());
    }
    rig.run(two);
    for (subject, old, new) in [("versions.old", 1, 0), ("versions.new", 1, 1)] {
        let answer = rig.ask(subject, "hello");
        assert!(answer.starts_with("HELLO"), "{answer}");
        let handled = |component| rig.count_of("two", component, "Handled");
        wait_until(|| handled("old") + handled("new") >= old + new);
        assert_eq!((handled("old"), handled("new")), (old, new));
    }
}

#[test]
fn an_entry_whose_messages_nobody_takes_is_told() {
    let rig = Rig::new();
    let mut consumer = grant("0.2.0", "nobody.a");
    consumer.interfaces = vec!["consumer".into()];
    let watcher = CapabilityGrant {
        name: None,
        package: "wasi:keyvalue@0.2.0-draft".parse().unwrap(),
        interfaces: vec!["watcher".into()],
        config: BTreeMap::new(),
    };
    for (entry, guest, said) in [
        (
            grant("0.2.0", "nobody.b"),
            "hello-p2",
            "no component exports a handler",
        ),
        (
            grant("0.3.0", "nobody.c"),
            "both-p2",
            "no component exports a handler",
        ),
        (consumer, "both-p2", "does not list the interface `handler`"),
        (watcher, "both-p2", "lists `watcher`"),
    ] {
        let mut told = worker("told", guest, "nobody.d");
        told.grants.retain(|_| guest == "both-p2");
        told.grants.push(entry);
        let id = rig.run(told);
        let warnings = rig.settled(&id).warnings;
        let [(reason, text)] = &warnings[..] else {
            panic!("{said}: {warnings:?}");
        };
        assert_eq!(reason, "EntryUnused");
        assert!(text.contains(said), "{text}");
        rig.stop(&id);
        rig.wait_for(&id, |state| state.is_none());
    }
}

#[test]
fn a_message_that_fails_is_counted_told_and_harms_no_other() {
    let rig = asking();
    let mut worker = worker("w", "worker", "fails");
    // A loaded machine may interrupt the other messages for a while.
    worker.components[0].limits.cpu_time = Duration::from_secs(2);
    let id = rig.run(worker);
    // The first error is told, and another one not before some seconds have passed.
    assert_eq!(rig.publish("fails", "panic"), "published");
    let said = rig.wait_for(&id, |state| {
        state.is_some_and(|state| state.components[0].last_error.is_some())
    });
    let error = said.unwrap().components[0].last_error.clone().unwrap();
    assert_eq!(error, "Trap: the component failed");
    wait_until(|| rig.count("w", "Trap") == 1);
    assert_eq!(rig.ask("fails", "still-there"), "STILL-THERE");
    for (text, result) in [("spin", "CpuTime"), ("refuse", "Refused")] {
        assert_eq!(rig.publish("fails", text), "published");
        wait_until(|| rig.count("w", result) == 1);
        assert_eq!(rig.ask("fails", "still-there"), "STILL-THERE");
    }
    assert!(rig.host.metrics().contains("kind=\"CpuTime\"} 1"));
}

/// A worker whose instances are kept, as few as one.
fn kept(name: &str, subject: &str) -> Workload {
    let mut worker = worker(name, "worker", subject);
    worker.components[0].pool.size = 64;
    worker.components[0].limits.queue = 10_000;
    worker.components[0].limits.cpu_time = Duration::from_secs(2);
    worker
}

#[test]
fn of_many_that_come_at_once_each_has_its_own_end() {
    let rig = asking();
    let mut worker = kept("w", "at-once");
    worker.components[0].pool.max_invocations = 50;
    rig.run(worker);
    let many = |count: u32, texts: &str| {
        let said = rig.get(&format!("/many?at-once&{count}&{texts}"));
        assert_eq!(said.text(), count.to_string());
    };
    many(800, "quiet,quiet,refuse,quiet,wait,quiet,panic,quiet");
    wait_until(|| rig.count("w", "Handled") == 600);
    wait_until(|| rig.count("w", "Refused") == 100);
    wait_until(|| rig.count("w", "Trap") == 100);
    // One that does not end keeps none of those that came with it.
    many(64, &format!("spin{}", ",quiet".repeat(63)));
    wait_until(|| rig.count("w", "Handled") == 663);
    wait_until(|| rig.count("w", "CpuTime") == 1);
    assert_eq!(rig.ask("at-once", "still-there"), "STILL-THERE");
    let metrics = rig.host.metrics();
    let requests =
        "waft_guest_calls_total{namespace=\"default\",workload=\"w\",component=\"main\"} 865";
    assert!(metrics.contains(requests), "{metrics}");
}

#[test]
fn lines_about_messages_of_one_call_are_told_apart() {
    let rig = asking();
    let id = rig.run(kept("w", "marked"));
    assert_eq!(rig.get("/many?marked&40&say").text(), "40");
    wait_until(|| rig.count("w", "Handled") == 40);
    let lines = RUNTIME.block_on(async {
        let lines = rig.host.logs(&id, LogQuery::default()).await;
        lines.collect::<Vec<_>>().await
    });
    let said = lines.iter().filter(|line| line.text == "marked: 3 bytes");
    let requests: BTreeSet<_> = said.map(|line| line.request.clone()).collect();
    assert_eq!(requests.len(), 40, "{lines:?}");
}

#[test]
fn an_instance_of_0_3_handles_several_at_a_time() {
    let rig = asking();
    let mut worker = worker("w", "worker-p3", "several");
    worker.components[0].pool.size = 1;
    worker.components[0].pool.max_concurrency = 8;
    rig.run(worker);
    let answers = thread::scope(|scope| {
        let asked: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| rig.ask("several", "300")))
            .collect();
        let mut answers: Vec<_> = asked.into_iter().map(|a| a.join().unwrap()).collect();
        answers.sort();
        answers
    });
    // Each was begun before the first was answered, or the instance would not be the same.
    assert_eq!(answers, ["awake 1", "awake 2", "awake 3", "awake 4"]);
    // It asks itself, which one that does one thing at a time could not.
    assert_eq!(rig.ask("several", "ask:several:me"), "ME 6 5");
}

#[test]
fn what_waits_is_bounded_and_the_publisher_learns_of_it() {
    let rig = asking();
    let mut worker = worker("w", "worker-p3", "bounded");
    worker.components[0].limits.queue = 2;
    worker.grants[0]
        .config
        .insert("max_in_flight".into(), "1".into());
    rig.run(worker);
    // For longer than anything here takes.
    let busy = "600000";
    let mut refused = false;
    for _ in 0..4 {
        let said = rig.publish("bounded", busy);
        refused |= said.contains("2 messages wait already");
    }
    assert!(refused);
}

#[test]
fn changes_of_a_bucket_past_the_queue_are_lost_and_counted() {
    let rig = Rig::new();
    let entry = |name: &str, interfaces: &[&str]| CapabilityGrant {
        name: Some(name.into()),
        package: "wasi:keyvalue".parse().unwrap(),
        interfaces: interfaces.iter().map(|name| (*name).to_owned()).collect(),
        config: BTreeMap::new(),
    };
    let mut keeper = workload("keeper", &[("main", "keyvalue-p2")]);
    keeper.grants = vec![
        entry("lost", &["store", "atomics", "batch"]),
        entry("seen", &["store"]),
    ];
    let id = rig.run(keeper);
    rig.route("test", &[&id]);
    let mut seer = workload("seer", &[("main", "seer-p2")]);
    seer.grants = vec![
        entry("lost", &["store", "watcher"]),
        entry("seen", &["store"]),
    ];
    seer.components[0].limits.max_in_flight = 1;
    seer.components[0].limits.queue = 2;
    rig.run(seer);
    let get = |target: &str| rig.get(target).text().to_owned();
    // It has the first one and no place for another, so that two of the five wait.
    assert_eq!(get("/set?lost&hold&on"), "set");
    wait_until(|| get("/get?seen&hold") == "on");
    for key in ["a", "b", "c", "d", "e"] {
        assert_eq!(get(&format!("/set?lost&{key}&x")), "set");
    }
    assert_eq!(rig.count("seer", "QueueFull"), 3);
    assert_eq!(get("/set?seen&go&on"), "set");
    wait_until(|| rig.count("seer", "Handled") == 3);
    assert_eq!(get("/get?seen&b"), "x");
    assert_eq!(get("/get?seen&c"), "none, exists: false");
    assert_eq!(get("/set?lost&f&x"), "set");
    wait_until(|| rig.count("seer", "Handled") == 4);
    assert_eq!(rig.count("seer", "QueueFull"), 3);
}

#[test]
fn what_was_accepted_is_handled_before_the_workload_goes() {
    let rig = asking();
    rig.run(worker("counts", "worker", "drain.counts"));
    let mut busy = worker("w", "worker-p3", "drain.in");
    busy.grants[0]
        .config
        .insert("max_in_flight".into(), "1".into());
    let id = rig.run(busy);
    rig.publish("drain.in", "100");
    for _ in 0..5 {
        rig.publish("drain.in", "ask:drain.counts:x");
    }
    rig.stop(&id);
    rig.wait_for(&id, |state| state.is_none());
    wait_until(|| rig.count("counts", "Handled") == 5);
}

#[test]
fn a_drained_host_handles_the_messages_that_it_has_accepted() {
    let (rig, other) = (asking(), asking());
    other.run(worker("counts", "worker", "host.drain.counts"));
    let mut busy = worker("w", "worker-p3", "host.drain.in");
    busy.grants[0]
        .config
        .insert("max_in_flight".into(), "1".into());
    rig.run(busy);
    rig.publish("host.drain.in", "100");
    for _ in 0..5 {
        rig.publish("host.drain.in", "ask:host.drain.counts:x");
    }
    RUNTIME.block_on(rig.host.drain(PATIENCE));
    assert_eq!(rig.count("w", "Handled"), 6);
    let said = other.ask("host.drain.in", "x");
    assert_eq!(said, "nobody takes messages of `host.drain.in`");
}

#[test]
fn a_worker_without_subscriptions_says_what_to_add() {
    let rig = Rig::new();
    for (subjects, word) in [("", "`config.subscriptions`"), ("$SYS.>", "reserved")] {
        let id = rig.start(worker("w", "worker", subjects));
        let Phase::Failed(failure) = rig.settled(&id).phase else {
            panic!("it runs");
        };
        assert_eq!(failure.reason, FailureReason::StartFailed);
        assert!(failure.message.contains(word), "{}", failure.message);
        rig.stop(&id);
        rig.wait_for(&id, |state| state.is_none());
    }
}
