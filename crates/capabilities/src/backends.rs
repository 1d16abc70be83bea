//! Which backend an entry of a manifest gets: the one it names, as far as this machine has it.

use std::path::PathBuf;

use waft_ir::CapabilityGrant;

use crate::{S3Server, Telemetry};

/// The servers and folders behind the interfaces of a host. It has no `Debug`, because URLs hold
/// passwords.
#[derive(Clone, Default)]
pub struct Backends {
    /// Folder of what is to outlive the process. `None`: nothing does.
    pub data_dir: Option<PathBuf>,
    /// URL of a NATS server.
    pub nats: Option<String>,
    /// URL of a Redis server.
    pub redis: Option<String>,
    /// A server that speaks S3.
    pub s3: Option<S3Server>,
    /// URL of a PostgreSQL server, with the credentials that all workloads use.
    pub postgres: Option<String>,
    /// Files in PEM with certificate authorities to trust beside the system's.
    pub extra_ca: Vec<PathBuf>,
    /// Where guests' spans, logs and metrics go. `None`: nowhere.
    pub telemetry: Option<Telemetry>,
}

/// Where an entry's data goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Backend {
    Memory,
    /// What this machine has of its own: a file, or memory where there is no folder.
    Embedded,
    Nats,
    Redis,
    S3,
}

/// What a user must know of the backend of an entry.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Warning {
    /// The machine itself stands in for a server that it was not given, or for a folder.
    Embedded(String),
    /// The entry names another server than the machine was given.
    OtherServer(String),
}

impl Warning {
    /// The entry names a `url` that is not that of the flag.
    pub(crate) fn other_server(grant: &CapabilityGrant, flag: &str) -> Self {
        Self::OtherServer(format!(
            "`hostInterfaces[{}]` names a `url`; the server of {flag} is used instead, as for all \
             workloads",
            grant.package
        ))
    }

    /// The reason of the condition that says so, and its message.
    pub(crate) fn told(self) -> (String, String) {
        let (reason, text) = match self {
            Self::Embedded(text) => ("EmbeddedBackend", text),
            Self::OtherServer(text) => ("OtherServer", text),
        };
        (reason.to_owned(), text)
    }
}

impl Backends {
    /// The backend of an entry.
    pub(crate) fn choose(&self, grant: &CapabilityGrant) -> Backend {
        match grant.config.get("backend").map(String::as_str) {
            Some("in-memory") => Backend::Memory,
            Some("nats") if self.nats.is_some() => Backend::Nats,
            Some("redis") if self.redis.is_some() => Backend::Redis,
            Some("s3") if self.s3.is_some() => Backend::S3,
            _ => Backend::Embedded,
        }
    }

    /// What a user must know of the choice, if it is not what the entry says.
    pub(crate) fn warning(&self, grant: &CapabilityGrant) -> Option<Warning> {
        let of = format!("`hostInterfaces[{}]`", grant.package);
        let backend = grant.config.get("backend").map_or("", String::as_str);
        let url = grant.config.get("url");
        let (flag, server) = match backend {
            "redis" => ("--redis", self.redis.as_deref()),
            "nats" => ("--nats", self.nats.as_deref()),
            "s3" => ("--s3", self.s3.as_ref().map(S3Server::url)),
            _ if url.is_some() => {
                return Some(Warning::Embedded(format!(
                    "{of} names a `url`, and no `backend` that has a server; this machine serves \
                     it itself instead"
                )));
            }
            _ => {
                // Elsewhere a `root` keeps apart what is below it. Here it does not, from other workloads
                // of the namespace either: so even the only entry is not as its author may rely on.
                return grant.config.get("root").map(|_| {
                    Warning::Embedded(format!(
                        "{of} names a `root`, which has no effect: this machine serves it itself, from \
                         one place for every `root`; tell entries apart by `bucket`"
                    ))
                });
            }
        };
        let Some(server) = server else {
            return Some(Warning::Embedded(format!(
                "{of} asks for the backend `{backend}`, and `waft up` was given no {flag}; this \
                 machine serves it itself instead"
            )));
        };
        let url = url?;
        (url.trim_end_matches('/') != server.trim_end_matches('/'))
            .then(|| Warning::other_server(grant, flag))
    }
}

/// A list of a manifest, with commas between its parts.
pub(crate) fn list(text: Option<&String>) -> Vec<String> {
    let parts = text.map_or("", String::as_str).split(',').map(str::trim);
    let parts = parts.filter(|part| !part.is_empty());
    parts.map(Into::into).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(config: &[(&str, &str)]) -> CapabilityGrant {
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        CapabilityGrant {
            name: None,
            package: waft_ir::InterfaceName::new("wasi", "keyvalue", None),
            interfaces: Vec::new(),
            config: config.iter().map(owned).collect(),
        }
    }

    #[test]
    fn what_is_not_there_is_served_by_the_machine_itself_and_said() {
        let none = Backends::default();
        let redis = Backends {
            redis: Some("redis://localhost:6379".into()),
            ..Backends::default()
        };
        let nats = Backends {
            nats: Some("nats://localhost".into()),
            ..Backends::default()
        };
        let cases = [
            (&nats, &[("backend", "nats")][..], Backend::Nats, None),
            (
                &redis,
                &[("backend", "nats")],
                Backend::Embedded,
                Some("no --nats"),
            ),
            (&none, &[][..], Backend::Embedded, None),
            (&none, &[("backend", "in-memory")], Backend::Memory, None),
            (
                &none,
                &[("backend", "redis")],
                Backend::Embedded,
                Some("no --redis"),
            ),
            (&redis, &[], Backend::Embedded, None),
            (&redis, &[("backend", "redis")], Backend::Redis, None),
            (
                &redis,
                &[("backend", "redis"), ("url", "redis://localhost:6379/")],
                Backend::Redis,
                None,
            ),
            (
                &redis,
                &[("backend", "redis"), ("url", "redis://cache:6379")],
                Backend::Redis,
                Some("the server of --redis"),
            ),
            (
                &redis,
                &[("url", "redis://cache:6379")],
                Backend::Embedded,
                Some("no `backend` that has a server"),
            ),
            (
                &redis,
                &[("backend", "filesystem"), ("root", "/a")],
                Backend::Embedded,
                Some("one place for every `root`"),
            ),
            (
                &none,
                &[("root", "/a")],
                Backend::Embedded,
                Some("one place for every `root`"),
            ),
            (
                &redis,
                &[("backend", "redis"), ("root", "/a")],
                Backend::Redis,
                None,
            ),
            (
                &redis,
                &[("backend", "in-memory"), ("url", "redis://cache:6379")],
                Backend::Memory,
                Some("no `backend` that has a server"),
            ),
        ];
        for (backends, config, backend, words) in cases {
            let grant = grant(config);
            assert_eq!(backends.choose(&grant), backend, "{config:?}");
            let warning = backends.warning(&grant);
            assert_eq!(warning.is_some(), words.is_some(), "{warning:?}");
            if let (Some(warning), Some(words)) = (warning, words) {
                let (reason, text) = warning.told();
                assert!(text.contains(words), "{text}");
                let is_other = backend == Backend::Redis;
                assert_eq!(reason == "OtherServer", is_other, "{reason}");
            }
        }
    }
}
