//! Tries by messages and keys: what belongs to another namespace is not there, and what goes too
//! far is refused and counted.

use std::collections::BTreeMap;

use waft_ir::{CapabilityGrant, Workload};

use super::{GUEST, refusals, series};
use crate::{
    connections::wait_until,
    harness::{Rig, workload},
};

fn grant(package: &str, interfaces: &[&str], config: &[(&str, &str)]) -> CapabilityGrant {
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    CapabilityGrant {
        name: None,
        package: package.parse().unwrap(),
        interfaces: interfaces.iter().map(|name| (*name).to_owned()).collect(),
        config: config.iter().map(owned).collect::<BTreeMap<_, _>>(),
    }
}

/// A workload of a namespace, behind the host name `test` from now on.
fn of(namespace: &str, name: &str, guest: &str, grant: CapabilityGrant) -> Workload {
    let mut workload = workload(name, &[("main", guest)]);
    workload.namespace = namespace.into();
    workload.id.0 = format!("uid-{namespace}-{name}");
    workload.grants.push(grant);
    workload
}

fn show(rig: &Rig, workload: Workload) {
    let id = rig.run(workload);
    rig.route("test", &[&id]);
}

/// What a component is told, and how often it was refused for this reason.
fn tell(rig: &Rig, name: &str, path: &str, reason: &str) -> (String, u64) {
    let told = rig.get(path).text().to_owned();
    let prefix = format!("{} ", series(name, GUEST, reason));
    let counted = refusals(rig, name);
    let mut values = counted.iter().filter_map(|line| line.strip_prefix(&prefix));
    (
        told,
        values.next().map_or(0, |value| value.parse().unwrap()),
    )
}

#[test]
fn subjects_that_are_not_the_guests_are_refused_and_counted() {
    let rig = Rig::new();
    let consumer = || grant("wasmcloud:messaging@0.2.0", &["consumer"], &[]);
    show(&rig, of("default", "denied", "asker-p2", consumer()));
    let tries = [
        "$SYS.REQ.SERVER.PING",
        "$KV.bucket.key",
        "runtime.host.x.workload.start",
        "tries.*",
        "a..b",
    ];
    for (at, subject) in tries.into_iter().enumerate() {
        let path = format!("/publish?{subject}&x");
        let (told, counted) = tell(&rig, "denied", &path, "SubjectNotPermitted");
        assert!(
            told.contains("reserved subject") || told.contains("is not a subject"),
            "{told}"
        );
        assert_eq!(counted, at as u64 + 1, "{subject}");
    }
    // CR and LF, by which a guest would speak to the server itself.
    let (told, counted) = tell(
        &rig,
        "denied",
        "/publish-lines?tries.x&PUB",
        "SubjectNotPermitted",
    );
    assert!(told.contains("is not a subject"), "{told}");
    assert_eq!(counted, 6);
    let (told, counted) = tell(
        &rig,
        "denied",
        "/reply-to?tries.x&$SYS.x",
        "SubjectNotPermitted",
    );
    assert!(told.contains("reserved subject"), "{told}");
    assert_eq!(counted, 7);
    let (told, counted) = tell(&rig, "denied", "/large?tries.x&1048577", "MessageTooLarge");
    assert!(told.contains("the broker takes"), "{told}");
    assert_eq!(counted, 1);
    let (told, _) = tell(&rig, "denied", "/large?tries.x&1048576", "MessageTooLarge");
    assert_eq!(told, "published");
    let (told, counted) = tell(&rig, "denied", "/publish?tries.x&x", "SubjectNotPermitted");
    assert_eq!((told.as_str(), counted), ("published", 7));
}

#[test]
fn another_namespaces_messages_are_not_heard() {
    let rig = Rig::new();
    let handler = |subjects| {
        let config = [("subscriptions", subjects), ("consumer_group", "broadcast")];
        grant(
            "wasmcloud:messaging@0.2.0",
            &["consumer", "handler"],
            &config,
        )
    };
    rig.run(of("victim", "own", "worker", handler("hearing.>")));
    rig.run(of("spy", "spy", "worker", handler("hearing.a")));
    rig.run(of("spy", "wild", "worker", handler(">")));
    let consumer = grant("wasmcloud:messaging@0.2.0", &["consumer"], &[]);
    show(&rig, of("victim", "asker", "asker-p2", consumer));
    for _ in 0..3 {
        assert_eq!(rig.get("/publish?hearing.a&x").text(), "published");
    }
    let handled = |namespace: &str, name: &str| {
        let labels = format!("namespace=\"{namespace}\",workload=\"{name}\",component=\"main\"");
        let line = format!("waft_messages_total{{{labels},result=\"Handled\"}} ");
        let metrics = rig.host.metrics();
        let found = metrics.lines().find_map(|l| l.strip_prefix(&line));
        found.map_or(0, |value| value.parse::<u64>().unwrap())
    };
    wait_until(|| handled("victim", "own") == 3);
    assert_eq!((handled("spy", "spy"), handled("spy", "wild")), (0, 0));
}

#[test]
fn buckets_that_are_not_granted_are_refused_and_those_of_others_are_not_seen() {
    let rig = Rig::new();
    let keys = |config: &[(&str, &str)]| {
        grant(
            "wasi:keyvalue@0.2.0-draft",
            &["store", "atomics", "batch"],
            config,
        )
    };
    let only = [("backend", "in-memory"), ("bucket", "tries-own")];
    show(&rig, of("default", "denied", "keyvalue-p2", keys(&only)));
    let (told, counted) = tell(&rig, "denied", "/set?tries-other&k&v", "BucketNotGranted");
    assert_eq!((told.as_str(), counted), ("Error::NoSuchStore", 1));
    let (told, counted) = tell(&rig, "denied", "/set?tries-own&k&v", "BucketNotGranted");
    assert_eq!((told.as_str(), counted), ("set", 1));
    // The same bucket, of another namespace: one of its own.
    let any = [("backend", "in-memory")];
    show(&rig, of("spy", "spy", "keyvalue-p2", keys(&any)));
    assert_eq!(rig.get("/get?tries-own&k").text(), "none, exists: false");
    assert_eq!(rig.get("/keys?tries-own").text(), "");
    // More than a namespace may keep. That of the other tests must not be full meanwhile.
    let mut greedy = of("full", "greedy", "keyvalue-p2", keys(&any));
    greedy.components[0].limits.memory_bytes = 64 << 20;
    show(&rig, greedy);
    let (told, counted) = tell(&rig, "full/greedy", "/fill?tries-full&70", "StoreFull");
    assert!(told.contains("hold as much as they may"), "{told}");
    assert_eq!(counted, 1);
    assert_eq!(rig.get("/delete?tries-full&0").text(), "deleted");
    let (told, counted) = tell(&rig, "full/greedy", "/set?tries-full&k&v", "StoreFull");
    assert_eq!((told.as_str(), counted), ("set", 1));
}
