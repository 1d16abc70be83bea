//! Each limit against a guest that goes past it: the client is told, the counter of the limit rises
//! by exactly as much as was tried, and a neighbour notices nothing.
//!
//! The limit on outgoing connections is tested with the runtime, which can be given a network, and
//! so are tables, which no guest of ours can make grow.

use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::Duration,
};

use waft_ir::{Component, Volume, VolumeMount, VolumeSource};

use crate::{
    client::Client,
    connections::wait_until,
    harness::{Rig, workload},
    lifecycle::in_flight,
};

/// How often each limit is met.
const TIMES: u64 = 5;
const LABELS: &str = r#"namespace="default",workload="w",component="main""#;

/// A way past a limit, for a guest of each generation.
struct Case {
    name: &'static str,
    /// Guest and path.
    tries: &'static [(&'static str, &'static str)],
    limit: fn(&mut Component),
    /// The request beyond its path: the rest of the head, and the body.
    rest: fn() -> String,
    status: u16,
    reason: Option<&'static str>,
    /// The counter, by name and the labels beside those of the component.
    counter: (&'static str, &'static str),
    /// How much one try adds to it.
    each: u64,
}

impl Case {
    /// A case of which the guest is told, and not the client.
    const QUIET: Self = Self {
        name: "",
        tries: &[],
        limit: |_| {},
        rest: || "\r\n".into(),
        status: 200,
        reason: None,
        counter: ("", ""),
        each: 1,
    };

    /// A case that ends in a trap.
    const fn trap(reason: &'static str, kind: &'static str) -> Self {
        Self {
            status: 500,
            reason: Some(reason),
            counter: ("waft_guest_traps_total", kind),
            ..Self::QUIET
        }
    }

    /// A case in which the host answers.
    const fn refusal(status: u16, reason: &'static str, label: &'static str) -> Self {
        Self {
            status,
            reason: Some(reason),
            counter: ("waft_http_refusals_total", label),
            ..Self::QUIET
        }
    }

    fn cases() -> [Self; 12] {
        [
            Self {
                name: "memoryLimitMb, and a trap",
                tries: &[("grow-p2", "/"), ("hostile-p3", "/grow")],
                limit: |c| c.limits.memory_bytes = 32 << 20,
                ..Self::trap("MemoryLimit", r#",kind="MemoryLimit""#)
            },
            Self {
                name: "memoryLimitMb, and no trap",
                tries: &[("grow-p2", "/refused")],
                limit: |c| c.limits.memory_bytes = 32 << 20,
                counter: (
                    "waft_guest_growth_refused_total",
                    r#",limit="memoryLimitMb""#,
                ),
                ..Self::QUIET
            },
            Self {
                name: "requestTimeout",
                tries: &[
                    ("spin-p2", "/?60000"),
                    ("probe-p2", "/sleep?60000"),
                    ("hostile-p3", "/spin"),
                    ("hostile-p3", "/sleep?60000"),
                ],
                limit: |c| c.limits.request_timeout = Some(Duration::from_millis(50)),
                ..Self::refusal(504, "Deadline", r#",reason="Deadline""#)
            },
            Self {
                name: "cpuTime",
                tries: &[("spin-p2", "/"), ("hostile-p3", "/spin")],
                limit: |c| c.limits.cpu_time = Duration::from_millis(20),
                ..Self::trap("CpuTime", r#",kind="CpuTime""#)
            },
            Self {
                name: "headerBytes",
                tries: &[("hello-p2", "/"), ("hello-p3", "/")],
                limit: |c| c.limits.header_bytes = 1000,
                rest: || format!("x-long: {}\r\n\r\n", "x".repeat(1000)),
                ..Self::refusal(431, "HeadersTooLarge", r#",reason="HeadersTooLarge""#)
            },
            Self {
                name: "bodyBytes",
                tries: &[("echo-p2", "/"), ("echo-p3", "/")],
                limit: |c| c.limits.body_bytes = Some(100),
                rest: || format!("content-length: 101\r\n\r\n{}", "x".repeat(101)),
                ..Self::refusal(413, "BodyTooLarge", r#",reason="BodyTooLarge""#)
            },
            Self {
                name: "logBytesPerSecond",
                tries: &[("probe-p2", "/log?3"), ("hostile-p3", "/log?3")],
                limit: |c| c.limits.log_bytes_per_second = 0,
                counter: ("waft_guest_log_lines_dropped_total", ""),
                each: 3,
                ..Self::QUIET
            },
            Self {
                name: "sizeLimit",
                tries: &[
                    ("files-p2", "/write?/v/file&100000"),
                    ("tries-p3", "/write?file&100000"),
                ],
                counter: ("waft_guest_growth_refused_total", r#",limit="sizeLimit""#),
                ..Self::QUIET
            },
            Self {
                name: "bytes passed to the host in one call",
                tries: &[
                    ("probe-p2", "/pass?17000000"),
                    ("hostile-p3", "/pass?17000000"),
                ],
                ..Self::trap("HostResourceLimit", r#",kind="HostResourceLimit""#)
            },
            Self {
                name: "resources and handles",
                tries: &[
                    ("probe-p2", "/handles?20000"),
                    ("hostile-p3", "/handles?20000"),
                ],
                ..Self::trap("HostResourceLimit", r#",kind="HostResourceLimit""#)
            },
            Self {
                name: "more to a file than was permitted",
                tries: &[("probe-p2", "/unasked?2000000")],
                ..Self::trap("Trap", r#",kind="Other""#)
            },
            Self {
                name: "random bytes, and header maps",
                tries: &[
                    ("probe-p2", "/random?2000000"),
                    ("probe-p2", "/headers?10000"),
                ],
                ..Self::trap("HostResourceLimit", r#",kind="HostResourceLimit""#)
            },
        ]
    }

    fn run(&self, guest: &str, path: &str) {
        let rig = beside_a_neighbour(guest, self.limit);
        let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\n{}", (self.rest)());
        let answered = with_neighbour(&rig, || {
            for _ in 0..TIMES {
                let answer = rig.connect().request(&request);
                let told = (answer.status, answer.header("x-waft-reason"));
                assert_eq!(told, (self.status, self.reason), "{}: {guest}", self.name);
            }
            let (name, labels) = self.counter;
            expect(&rig, name, labels, TIMES * self.each);
        });
        println!(
            "{}, {guest}: {answered} answers of the neighbour",
            self.name
        );
    }
}

/// The guest at the host name `test`, with a small volume at `/v`, and another workload at
/// `neighbour`.
fn beside_a_neighbour(guest: &str, limit: fn(&mut Component)) -> Rig {
    let rig = Rig::new();
    let mut hostile = workload("w", &[("main", guest)]);
    hostile.volumes.push(Volume {
        name: "v".into(),
        source: VolumeSource::Ephemeral {
            size_limit: 20 << 10,
        },
    });
    hostile.components[0].resources.mounts.push(VolumeMount {
        volume: "v".into(),
        path: "/v".into(),
        read_only: false,
    });
    // What takes long on a loaded machine is none of the limit's doing.
    hostile.components[0].limits.request_timeout = None;
    limit(&mut hostile.components[0]);
    let timeout = hostile.components[0].limits.request_timeout;
    let hostile = rig.run(hostile);
    let neighbour = rig.run(workload("neighbour", &[("main", "hello-p2")]));
    rig.routes([("neighbour", &neighbour, None), ("test", &hostile, timeout)]);
    rig
}

/// Does something while a neighbour is asked on one connection again and again, and is never
/// answered wrongly; says how often it was.
fn with_neighbour(rig: &Rig, action: impl FnOnce()) -> u64 {
    let over = AtomicBool::new(false);
    let ask = |client: &mut Client| {
        let answer = client.request("GET / HTTP/1.1\r\nhost: neighbour\r\n\r\n");
        assert_eq!((answer.status, answer.text()), (200, "Hello from Waft!\n"));
    };
    let answered = thread::scope(|scope| {
        let neighbour = scope.spawn(|| {
            let mut client = rig.connect();
            let mut answered = 1;
            ask(&mut client);
            while !over.load(Relaxed) {
                ask(&mut client);
                answered += 1;
            }
            answered
        });
        // A failed assertion must not leave the neighbour asking for ever.
        let result = catch_unwind(AssertUnwindSafe(action));
        over.store(true, Relaxed);
        let answered = neighbour.join().unwrap();
        result.unwrap_or_else(|panic| resume_unwind(panic));
        answered
    });
    let labels = r#"namespace="default",workload="neighbour",component="main""#;
    wait_until(|| {
        let all = format!("waft_http_requests_total{{{labels},status=\"200\"}} {answered}\n");
        rig.host.metrics().contains(&all)
    });
    let metrics = rig.host.metrics();
    let others = metrics.lines().filter(|line| {
        let counts = ["refusals_total{", "refused_total{", "traps_total{"];
        line.contains(labels) && counts.iter().any(|count| line.contains(count))
    });
    assert_eq!(others.count(), 0, "{metrics}");
    answered
}

/// Waits until a counter of the hostile guest is there, and has this value. A request is counted
/// when its answer is over, just after the client has it.
fn expect(rig: &Rig, name: &str, labels: &str, value: u64) {
    let series = format!("{name}{{{LABELS}{labels}}} ");
    let read = || {
        let metrics = rig.host.metrics();
        let value = metrics.lines().find_map(|line| line.strip_prefix(&series));
        value.map_or(0, |value| value.parse().unwrap())
    };
    wait_until(|| read() >= value);
    assert_eq!(read(), value, "{series}");
}

#[test]
fn each_is_counted_and_stays_with_who_went_past_it() {
    for case in Case::cases() {
        for (guest, path) in case.tries {
            case.run(guest, path);
        }
    }
}

#[test]
fn calls_past_the_queue_are_counted_too() {
    for (guest, path) in [
        ("probe-p2", "/sleep?600000"),
        ("hostile-p3", "/sleep?600000"),
    ] {
        for (limit, reason) in [
            (
                (|c| (c.limits.max_in_flight, c.limits.queue) = (1, 0)) as fn(&mut Component),
                "QueueFull",
            ),
            (
                |c| {
                    c.limits.max_in_flight = 1;
                    c.limits.queue_timeout = Duration::from_millis(20);
                },
                "QueueTimeout",
            ),
        ] {
            let rig = beside_a_neighbour(guest, limit);
            let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n");
            let mut occupant = rig.connect();
            occupant.send(&request);
            wait_until(|| in_flight(&rig));
            with_neighbour(&rig, || {
                for _ in 0..TIMES {
                    let answer = rig.connect().request(&request);
                    answer.is_refusal(503, reason);
                    assert!(answer.header("retry-after").is_some());
                }
                let label = format!(",reason=\"{reason}\"");
                expect(&rig, "waft_http_refusals_total", &label, TIMES);
            });
        }
    }
}

#[test]
fn a_component_of_0_3_writes_a_temporary_volume_and_no_more_than_it_may() {
    // 20 KiB, of which each file and folder takes one.
    let rig = beside_a_neighbour("tries-p3", |_| {});
    let ask = |path: &str| rig.get(path).text().to_owned();
    let full = |path: &str| {
        let told = ask(path);
        assert!(told.ends_with("InsufficientSpace"), "{path}: {told}");
    };
    assert_eq!(ask("/write?a&3"), "done");
    assert_eq!(ask("/write?a&2"), "done");
    assert_eq!(ask("/open?r&a"), "xxxxx");
    assert_eq!(ask("/write?b&12000"), "done");
    full("/write?b&9000");
    full("/size?a&30000");
    assert_eq!(ask("/size?a&10"), "done");
    assert_eq!(ask("/open?r&a"), "xxxxx\0\0\0\0\0");
    assert_eq!(ask("/unlink?b"), "done");
    assert_eq!(ask("/write?c&12000"), "done");
    let mut made = 0;
    while ask(&format!("/mkdir?folder-{made}")) == "done" {
        made += 1;
    }
    assert!((1..20).contains(&made), "{made}");
    full("/symlink?a&d");
    expect(
        &rig,
        "waft_guest_growth_refused_total",
        r#",limit="sizeLimit""#,
        4,
    );
}

#[test]
fn a_file_of_a_full_volume_is_opened_as_before() {
    for guest in ["tries-p2", "tries-p3"] {
        let rig = beside_a_neighbour(guest, |_| {});
        let ask = |path: &str| rig.get(path).text().to_owned();
        // All of 20 KiB, with the one that each file takes.
        assert_eq!(ask("/write?a&19456"), "done", "{guest}");
        let full = ask("/open?c&b").to_lowercase();
        assert!(full.contains("insufficient"), "{guest}: {full}");
        assert_eq!(ask("/open?c&a"), "done", "{guest}");
        // What is there already is told, and not that there is no room.
        for path in ["/open?n&a", "/mkdir?a", "/symlink?a&a"] {
            let exists = ask(path).to_lowercase();
            assert!(exists.contains("exist"), "{guest}: {path}: {exists}");
        }
        let full = ask("/open?n&b").to_lowercase();
        assert!(full.contains("insufficient"), "{guest}: {full}");
        assert_eq!(ask("/size?a&100"), "done", "{guest}");
        assert_eq!(ask("/open?c&b"), "done", "{guest}");
        assert_eq!(ask("/open?n&c"), "done", "{guest}");
    }
}
