//! The host interfaces that a manifest may name: versions, backends and configuration keys.
//!
//! One list: manifests are checked by it, hosts take the names of what they offer from it, and
//! `docs/interfaces.md` is written from it.

use crate::InterfaceName;

/// A package of interfaces.
#[derive(Clone, Copy, Debug)]
pub struct Package {
    /// For example `wasi`.
    pub namespace: &'static str,
    /// For example `keyvalue`.
    pub name: &'static str,
    /// The versions that hosts offer; a semver-compatible one fits, a draft only itself.
    pub versions: &'static [Version],
    /// Whether every guest may import it without an entry in its manifest.
    pub always: bool,
    /// What it is for.
    pub purpose: &'static str,
    /// What `config.backend` may be.
    pub backends: &'static [Described],
    /// Keys of `config`. `None`: any key, the entry's config is data for the guest.
    pub keys: Option<&'static [Described]>,
}

/// One version of a package.
#[derive(Clone, Copy, Debug)]
pub struct Version {
    /// For example `0.2.0-draft`.
    pub version: &'static str,
    /// The interfaces in it.
    pub interfaces: &'static [&'static str],
}

/// A name and what it means.
#[derive(Clone, Copy, Debug)]
pub struct Described {
    /// As it stands in a manifest.
    pub name: &'static str,
    /// For the docs.
    pub meaning: &'static str,
}

const fn means(name: &'static str, meaning: &'static str) -> Described {
    Described { name, meaning }
}

const fn always(
    name: &'static str,
    purpose: &'static str,
    versions: &'static [Version],
) -> Package {
    Package {
        namespace: "wasi",
        name,
        versions,
        always: true,
        purpose,
        backends: &[],
        keys: Some(&[]),
    }
}

const fn of(version: &'static str, interfaces: &'static [&'static str]) -> Version {
    Version {
        version,
        interfaces,
    }
}

const P2: &str = "0.2.12";
const P3: &str = "0.3.0";

const CLI: &[&str] = &[
    "environment",
    "exit",
    "stdin",
    "stdout",
    "stderr",
    "terminal-input",
    "terminal-output",
    "terminal-stdin",
    "terminal-stdout",
    "terminal-stderr",
];
const CLI_P3: &[&str] = &[
    "types",
    "environment",
    "exit",
    "stdin",
    "stdout",
    "stderr",
    "terminal-input",
    "terminal-output",
    "terminal-stdin",
    "terminal-stdout",
    "terminal-stderr",
];
const RANDOM: &[&str] = &["random", "insecure", "insecure-seed"];
const FILESYSTEM: &[&str] = &["types", "preopens"];

/// All of them. Those of which every guest may import what it wants come first.
pub const PACKAGES: &[Package] = &[
    always(
        "io",
        "streams and polling",
        &[of(P2, &["error", "poll", "streams"])],
    ),
    always(
        "clocks",
        "time",
        &[
            of(P2, &["monotonic-clock", "wall-clock"]),
            of(P3, &["types", "monotonic-clock", "system-clock"]),
        ],
    ),
    always(
        "random",
        "random numbers",
        &[of(P2, RANDOM), of(P3, RANDOM)],
    ),
    always(
        "cli",
        "environment, standard output, exit",
        &[of(P2, CLI), of(P3, CLI_P3)],
    ),
    always(
        "filesystem",
        "the folders of `volumeMounts`",
        &[of(P2, FILESYSTEM), of(P3, FILESYSTEM)],
    ),
    always(
        "sockets",
        "the network within the workload, and what `allowedHosts` grants",
        &[
            of(
                P2,
                &[
                    "network",
                    "instance-network",
                    "tcp",
                    "tcp-create-socket",
                    "udp",
                    "udp-create-socket",
                    "ip-name-lookup",
                ],
            ),
            of(P3, &["types", "ip-name-lookup"]),
        ],
    ),
    Package {
        namespace: "wasi",
        name: "http",
        versions: &[
            of(P2, &["types", "outgoing-handler", "incoming-handler"]),
            of(P3, &["types", "client", "handler"]),
        ],
        always: true,
        purpose: "requests in, and out as `allowedHosts` grants",
        backends: &[],
        keys: Some(&[
            means("host", "the host name that the workload is reached at"),
            means("host-aliases", "more of them, with commas"),
            means("address", "accepted, not listened on; an Event says so"),
        ]),
    },
    Package {
        namespace: "wasi",
        name: "config",
        versions: &[of("0.2.0-rc.1", &["store"])],
        always: false,
        purpose: "configuration values: those of the entry, then `localResources.config`, then \
                  `environment`; later wins",
        backends: &[],
        keys: None,
    },
    Package {
        namespace: "wasi",
        name: "logging",
        versions: &[of("0.1.0-draft", &["logging"])],
        always: false,
        purpose: "lines of the component's log",
        backends: &[],
        keys: Some(&[]),
    },
    Package {
        namespace: "wasi",
        name: "keyvalue",
        versions: &[of("0.2.0-draft", &["store", "atomics", "batch", "watcher"])],
        always: false,
        purpose: "buckets of keys and values, with counters",
        backends: &[
            means(
                "",
                "a file of the host, on the disk once acknowledged; 1 GiB a namespace",
            ),
            means("filesystem", "the same"),
            means("in-memory", "gone with the process; 64 MiB a namespace"),
            means("redis", "the server of `--redis`; without one, the file"),
            means(
                "nats",
                "JetStream of the server of `--nats`; without one, the file",
            ),
        ],
        keys: Some(&[
            means("backend", "see above"),
            means(
                "bucket",
                "with `name`: the bucket behind it; without: the only one granted",
            ),
            means(
                "buckets",
                "the buckets granted under their own names, with commas; without it and `name`: any",
            ),
            means("prefix", "stands before the names of buckets"),
            means(
                "root",
                "has no effect, and the workload says so: the host keeps its file in its data folder",
            ),
            means("url", "accepted: the server is that of the flag"),
        ]),
    },
    Package {
        namespace: "wasi",
        name: "blobstore",
        versions: &[of("0.2.0-draft", &["blobstore", "container", "types"])],
        always: false,
        purpose: "containers of objects, written and read as streams",
        backends: &[
            means(
                "",
                "a folder of the host, on the disk once acknowledged; 10 GiB a namespace",
            ),
            means("filesystem", "the same"),
            means("in-memory", "gone with the process; 64 MiB a namespace"),
            means(
                "nats",
                "object stores of JetStream, the server of `--nats`; without one, the folder",
            ),
            means(
                "s3",
                "buckets of the server of `--s3`; without one, the folder",
            ),
        ],
        keys: Some(&[
            means("backend", "see above"),
            means(
                "bucket",
                "with `name`: the container behind it; without: the only one granted",
            ),
            means(
                "buckets",
                "the containers granted under their own names, with commas; without it and `name`: any",
            ),
            means("read_only", "`true`: nothing is written or deleted"),
            means(
                "root",
                "has no effect, and the workload says so: the host keeps its files in its data folder",
            ),
            means("url", "accepted: the server is that of the flag"),
        ]),
    },
    Package {
        namespace: "wasi",
        name: "otel",
        versions: &[of("0.2.0-rc.2", &["types", "tracing", "metrics", "logs"])],
        always: false,
        purpose: "spans, metrics and logs for the collector that the `OTEL_` variables name",
        backends: &[],
        keys: Some(&[]),
    },
    Package {
        namespace: "wasi",
        name: "tls",
        versions: &[of("0.3.0-draft", &["types", "client"])],
        always: false,
        purpose: "TLS over streams of the component's own, such as a socket's",
        backends: &[],
        keys: Some(&[]),
    },
    Package {
        namespace: "wasmcloud",
        name: "messaging",
        versions: &[
            of("0.2.0", &["types", "consumer", "handler"]),
            of("0.3.0", &["types", "consumer", "handler"]),
        ],
        always: false,
        purpose: "messages by subject, in groups, with request and reply",
        backends: &[
            means("", "within the host"),
            means("in-memory", "the same"),
            means(
                "nats",
                "core NATS, the server of `--nats`; without one, within the host",
            ),
        ],
        keys: Some(&[
            means("backend", "see above"),
            means(
                "subscriptions",
                "subjects to take, with commas; `*` is a word, a last `>` the rest",
            ),
            means(
                "consumer_group",
                "who shares the messages; `broadcast`: each replica gets each",
            ),
            means("max_in_flight", "messages handled at a time"),
            means(
                "admission_wait",
                "how long a message is tried while there is no room for it, `30s` for example",
            ),
            means("url", "accepted: the server is that of the flag"),
        ]),
    },
    Package {
        namespace: "wasmcloud",
        name: "postgres",
        versions: &[
            of("0.1.1-draft", &["types", "query", "prepared"]),
            of("0.2.0", &["types", "query", "prepared"]),
        ],
        always: false,
        purpose: "statements in a PostgreSQL database of the server of `--postgres`",
        backends: &[],
        keys: Some(&[
            means("database", "the database that the workload uses; needed"),
            means(
                "url",
                "accepted: the server is that of the flag, its path the `database` if there is none",
            ),
        ]),
    },
    Package {
        namespace: "wasmcloud",
        name: "secrets",
        versions: &[of("2.1.0", &["store", "reveal", "secret"])],
        always: false,
        purpose: "secrets by name: those of the entry's `config`, `configFrom` and `secretFrom`; \
                  later wins; `secret` is imported \
                  under the name of a secret, which its entry has as well",
        backends: &[],
        keys: None,
    },
];

/// Packages that are known and not served yet.
pub const NOT_YET: &[(&str, &str)] = &[
    ("wasi", "webgpu"),
    ("wasi", "graphics-context"),
    ("wasi", "surface"),
    ("wasi", "frame-buffer"),
    ("wasi", "nn"),
    ("wasi", "sql"),
    ("wasmcloud", "blobstore"),
    ("wasmcloud", "keyvalue"),
    ("wasmcloud", "nats"),
    ("cosmonic", "kafka"),
];

impl Package {
    /// The full names of its interfaces, in all versions.
    pub fn interfaces(&self) -> impl Iterator<Item = InterfaceName> {
        self.versions.iter().flat_map(|version| {
            let names = version.interfaces.iter();
            names.filter_map(|interface| {
                let name = format!(
                    "{}:{}/{interface}@{}",
                    self.namespace, self.name, version.version
                );
                name.parse().ok()
            })
        })
    }
}

/// A package by its name.
pub fn package(namespace: &str, name: &str) -> Option<&'static Package> {
    PACKAGES
        .iter()
        .find(|package| package.namespace == namespace && package.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_versions_are_well_formed_and_stand_once() {
        for package in PACKAGES {
            let listed: usize = package.versions.iter().map(|v| v.interfaces.len()).sum();
            assert_eq!(package.interfaces().count(), listed, "{package:?}");
            let name = (package.namespace, package.name);
            assert!(!NOT_YET.contains(&name), "{name:?}");
            let same = |other: &&Package| (other.namespace, other.name) == name;
            assert_eq!(PACKAGES.iter().filter(same).count(), 1, "{name:?}");
        }
    }
}
