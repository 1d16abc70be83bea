//! Routes that are wished for, and what becomes of them. Who holds which is kept in [`Claims`].

mod claims;

use std::{fmt, time::Duration};

use waft_ir::{Backend, HostPattern, PathMatch, RouteKey};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use waft_api::Reason;

#[cfg(test)]
pub(crate) use claims::decided;
pub(crate) use claims::{Changes, Claims};

use crate::{condition::Verdict, key::Kind};

/// Longest wait for response headers where neither a trigger nor the component says otherwise.
pub(crate) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(15);

/// The object that routes come from.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct SourceKey {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// An object and the routes it wishes for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Source {
    /// The object.
    pub key: SourceKey,
    /// Its creationTimestamp, in seconds.
    pub created: i64,
    /// The routes.
    pub wishes: Vec<Wish>,
    /// Longest wait for response headers, unless the component that serves has a limit of its own.
    pub timeout: Option<Duration>,
    /// Replicas that are ready.
    pub backends: Vec<Backend>,
    /// The Service that it names and that there is not.
    pub missing_service: Option<String>,
}

/// One route, as the manifest has it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Wish {
    /// Host name, `*.suffix` or `*`.
    pub host: String,
    /// `Prefix` or `Exact`.
    pub path_type: String,
    /// The path.
    pub path: String,
}

/// A route that is not served, and why.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Refusal {
    /// For the condition.
    pub reason: Reason,
    /// For people: names the route and, for a conflict, the holder.
    pub message: String,
}

/// What becomes of an object's routes.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Outcome {
    /// Routes that are served.
    pub accepted: Vec<RouteKey>,
    /// Routes that are not.
    pub refused: Vec<Refusal>,
    /// The Service that the object names and that there is not.
    pub missing_service: Option<String>,
}

impl SourceKey {
    /// The key of an object.
    pub(crate) fn of(kind: Kind, object: &impl Resource) -> Self {
        Self::of_meta(kind, object.meta())
    }

    /// The key of an object, by its metadata.
    pub(crate) fn of_meta(kind: Kind, meta: &ObjectMeta) -> Self {
        Self {
            kind,
            namespace: meta.namespace.clone().unwrap_or_default(),
            name: meta.name.clone().unwrap_or_default(),
        }
    }
}

impl Outcome {
    /// What keeps the object from being reached at all.
    pub(crate) fn blocked(&self) -> Option<Verdict> {
        let refusal = self.refused.first().filter(|_| self.accepted.is_empty())?;
        Some(Verdict::no(refusal.reason, refusal.message.clone()))
    }

    /// That the object is not reached by every way that it wishes for.
    pub(crate) fn degraded(&self) -> Option<Verdict> {
        let refusal = self.refused.first();
        let refusal = refusal.map(|refusal| Verdict::yes(refusal.reason, refusal.message.clone()));
        refusal.or_else(|| self.lacks_service())
    }

    /// That the Service is not there by which clients outside of the routes would reach it.
    pub(crate) fn lacks_service(&self) -> Option<Verdict> {
        let name = self.missing_service.as_ref()?;
        let message = format!(
            "Service `{name}` does not exist in the namespace of the workload; requests that name it are \
             answered all the same. Create it, or leave out `kubernetes.service`"
        );
        Some(Verdict::yes(Reason::ServiceNotFound, message))
    }
}

impl Wish {
    /// Every path below a host.
    pub(crate) fn all_of(host: impl Into<String>) -> Self {
        Self {
            host: host.into(),
            path_type: "Prefix".into(),
            path: "/".into(),
        }
    }

    fn key(&self) -> Result<RouteKey, Refusal> {
        let refuse = |reason, message: String| Err(Refusal { reason, message });
        let Some(host) = HostPattern::parse(&self.host).filter(is_host_name) else {
            let advice = match self.host.split_once("://") {
                Some((scheme, _)) => format!("give the name only, without `{scheme}://`"),
                None => "use a name of letters, digits, `-` and `.`, `*.suffix` or `*`; a port \
                         behind it is a number from 1 to 65535"
                    .into(),
            };
            return refuse(
                Reason::InvalidHost,
                format!("`{}` is no host name; {advice}", self.host),
            );
        };
        if !self.path.starts_with('/') {
            return refuse(
                Reason::InvalidPath,
                format!("path `{}` of host `{host}` must start with `/`", self.path),
            );
        }
        let path = match self.path_type.as_str() {
            "Prefix" => PathMatch::prefix(&self.path),
            "Exact" => PathMatch::Exact(self.path.clone()),
            other => {
                return refuse(
                    Reason::InvalidPath,
                    format!(
                        "pathType `{other}` of `{host}{}` is not served; use `Prefix` or `Exact`",
                        self.path
                    ),
                );
            }
        };
        Ok(RouteKey { host, path })
    }
}

/// Whether a client can send a name in its Host header: labels of letters, digits and inner
/// hyphens (and underscores, which some resolvers let pass), or an address.
fn is_host_name(pattern: &HostPattern) -> bool {
    let name = match pattern {
        HostPattern::Any => return true,
        HostPattern::Exact(name) | HostPattern::Suffix(name) => name,
    };
    if let Some(address) = name.strip_prefix('[') {
        let address = address.trim_end_matches(']');
        return address.parse::<std::net::Ipv6Addr>().is_ok();
    }
    let is_label = |label: &str| {
        let inner = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        (1..=63).contains(&label.len())
            && label.chars().all(inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

impl fmt::Display for SourceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind.as_str(), self.namespace, self.name)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn source(name: &str, created: i64, wishes: &[(&str, &str, &str)]) -> Source {
        Source {
            key: SourceKey {
                kind: Kind::Trigger,
                namespace: "default".into(),
                name: name.into(),
            },
            created,
            wishes: wishes
                .iter()
                .map(|(host, path_type, path)| Wish {
                    host: (*host).into(),
                    path_type: (*path_type).into(),
                    path: (*path).into(),
                })
                .collect(),
            timeout: Some(DEFAULT_TIMEOUT),
            backends: vec![],
            missing_service: None,
        }
    }

    fn outcome<'a>(outcomes: &'a BTreeMap<SourceKey, Outcome>, name: &str) -> &'a Outcome {
        let mut found = outcomes.iter().filter(|(key, _)| key.name == name);
        found.next().unwrap().1
    }

    #[test]
    fn the_older_object_holds_a_route_and_the_other_keeps_its_rest() {
        let (routes, outcomes) = decided(vec![
            source(
                "a",
                2,
                &[("x.test", "Prefix", "/foo"), ("x.test", "Prefix", "/a")],
            ),
            source("z", 1, &[("X.test:80", "Prefix", "/foo/")]),
        ]);
        assert!(outcome(&outcomes, "z").refused.is_empty());
        let loser = outcome(&outcomes, "a");
        assert_eq!(loser.accepted.len(), 1);
        assert_eq!(loser.refused[0].reason, Reason::RouteConflict);
        assert!(loser.refused[0].message.contains("HTTPTrigger default/z"));
        assert_eq!(routes.len(), 2);
    }

    #[test]
    fn the_name_decides_between_equal_ages() {
        let (_, outcomes) = decided(vec![
            source("b", 1, &[("x.test", "Exact", "/")]),
            source("a", 1, &[("x.test", "Exact", "/")]),
        ]);
        assert!(outcome(&outcomes, "a").refused.is_empty());
        assert_eq!(outcome(&outcomes, "b").refused.len(), 1);
    }

    #[test]
    fn exact_and_prefix_of_one_path_are_two_routes() {
        let wishes = [("x.test", "Exact", "/a"), ("x.test", "Prefix", "/a")];
        assert_eq!(decided(vec![source("a", 1, &wishes)]).0.len(), 2);
    }

    #[test]
    fn the_same_wish_twice_is_one_route_and_no_conflict() {
        let wishes = [("x.test", "Prefix", "/a"), ("x.test", "Prefix", "/a/")];
        let (routes, outcomes) = decided(vec![source("a", 1, &wishes)]);
        assert_eq!(routes.len(), 1);
        assert!(outcome(&outcomes, "a").refused.is_empty());
    }

    #[test]
    fn host_names_are_those_that_a_client_can_send() {
        let good = [
            "a",
            "A.b-c.test:80",
            "*",
            "*.x.test",
            "127.0.0.1",
            "[::1]:80",
            "a_b.test",
        ];
        let bad = [
            "bad host!",
            "a..b",
            "-a.test",
            "a/b",
            "*.*",
            "[x]",
            "*.",
            "é.test",
            "",
            "http://a.test",
            "a.test/path",
            "a.test:80/path",
            "a.test:http",
            "a.test:0",
            "a.test:65536",
        ];
        let refused = |host: &str| {
            !decided(vec![source("a", 1, &[(host, "Prefix", "/")])])
                .1
                .values()
                .all(|outcome| outcome.refused.is_empty())
        };
        for host in good {
            assert!(!refused(host), "{host}");
        }
        for host in bad {
            assert!(refused(host), "{host}");
        }
    }

    #[test]
    fn a_url_is_told_to_be_a_name() {
        let wishes = [("https://a.test", "Prefix", "/")];
        let (_, outcomes) = decided(vec![source("a", 1, &wishes)]);
        let refused = &outcome(&outcomes, "a").refused[0];
        assert_eq!(refused.reason, Reason::InvalidHost);
        let advice = "give the name only, without `https://`";
        assert!(refused.message.ends_with(advice), "{}", refused.message);
    }

    #[test]
    fn what_cannot_be_served_is_refused_with_its_reason() {
        let wishes = [
            ("x.test", "ImplementationSpecific", "/"),
            ("a.*.b", "Prefix", "/"),
            ("x.test", "Prefix", "foo"),
            ("y.test", "Prefix", "/"),
        ];
        let (routes, outcomes) = decided(vec![source("a", 1, &wishes)]);
        let refused = &outcome(&outcomes, "a").refused;
        let reasons: Vec<_> = refused.iter().map(|refusal| refusal.reason).collect();
        assert_eq!(
            reasons,
            [
                Reason::InvalidPath,
                Reason::InvalidHost,
                Reason::InvalidPath
            ]
        );
        assert_eq!(routes.len(), 1);
    }
}
