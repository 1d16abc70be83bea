//! Routes: which workloads answer a request, by host name and path.

use std::{cmp::Reverse, collections::HashMap, fmt, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::{HostId, WorkloadId};

/// The newest table of routes.
pub type Routes = watch::Receiver<Arc<RouteTable>>;

/// What a route answers to: unique in a table.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct RouteKey {
    /// The host names.
    pub host: HostPattern,
    /// The paths.
    pub path: PathMatch,
}

/// The host names of a route.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub enum HostPattern {
    /// One name, normalised (see [`normalize_host`]).
    Exact(String),
    /// `*.suffix`: any name that ends in `.suffix`; holds `suffix`.
    Suffix(String),
    /// `*`: any name.
    Any,
}

/// The paths of a route.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub enum PathMatch {
    /// Just this path.
    Exact(String),
    /// This path and those below it, by path element: `/foo` holds `/foo/bar`, not `/foobar`.
    Prefix(String),
}

/// A route and the workloads that serve it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Route {
    /// What it answers to.
    pub key: RouteKey,
    /// Kind, namespace and name of the object it comes from, for messages and metrics.
    pub source: String,
    /// Longest wait for response headers. `None`: no bound.
    pub timeout: Option<Duration>,
    /// Replicas that are ready. None: 503.
    pub backends: Vec<Backend>,
}

/// One ready replica.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Backend {
    /// The host it is on.
    pub host: HostId,
    /// The replica.
    pub workload: WorkloadId,
}

/// All routes, indexed for look-up. Whole tables replace each other; one table never changes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RouteTable {
    exact: HashMap<String, Vec<Route>>,
    /// Longest suffix first.
    suffixes: Vec<(String, Vec<Route>)>,
    any: Vec<Route>,
}

/// A host name as routes hold it: lower case, without port and last dot. `None` if nothing is left
/// or the text is no host.
pub fn normalize_host(host: &str) -> Option<String> {
    let name = if let Some(rest) = host.strip_prefix('[') {
        // An IPv6 literal keeps its brackets.
        let end = rest.find(']')?;
        &host[..end + 2]
    } else {
        host.split_once(':').map_or(host, |(name, _)| name)
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    (!name.is_empty()).then(|| name.to_ascii_lowercase())
}

impl HostPattern {
    /// Reads `*`, `*.suffix` or a name. `None` if it is none of them.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::Any);
        }
        if let Some(suffix) = text.strip_prefix("*.") {
            return normalize_host(suffix).map(Self::Suffix);
        }
        if text.contains('*') {
            return None;
        }
        normalize_host(text).map(Self::Exact)
    }
}

impl PathMatch {
    /// A prefix, its trailing slashes dropped (`/foo/` is `/foo`).
    pub fn prefix(path: &str) -> Self {
        let trimmed = path.trim_end_matches('/');
        Self::Prefix(if trimmed.is_empty() {
            "/".into()
        } else {
            trimmed.into()
        })
    }

    /// Whether a request path (without its query) is one of these.
    pub fn matches(&self, path: &str) -> bool {
        match self {
            Self::Exact(exact) => path == exact,
            Self::Prefix(prefix) if prefix == "/" => true,
            Self::Prefix(prefix) => path
                .strip_prefix(prefix.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
        }
    }

    /// Order of trial: exact before prefix, longer before shorter.
    fn rank(&self) -> (u8, Reverse<usize>) {
        match self {
            Self::Exact(path) => (0, Reverse(path.len())),
            Self::Prefix(path) => (1, Reverse(path.len())),
        }
    }
}

impl RouteTable {
    /// Indexes routes. Their keys should be unique; of two with the same key the first wins.
    pub fn new(routes: impl IntoIterator<Item = Route>) -> Self {
        let mut table = Self::default();
        let mut suffixes = HashMap::<String, Vec<Route>>::new();
        for route in routes {
            match &route.key.host {
                HostPattern::Exact(name) => {
                    table.exact.entry(name.clone()).or_default().push(route)
                }
                HostPattern::Suffix(name) => suffixes.entry(name.clone()).or_default().push(route),
                HostPattern::Any => table.any.push(route),
            }
        }
        table.suffixes = suffixes.into_iter().collect();
        table
            .suffixes
            .sort_by(|a, b| (Reverse(a.0.len()), &a.0).cmp(&(Reverse(b.0.len()), &b.0)));
        let lists = table
            .exact
            .values_mut()
            .chain(table.suffixes.iter_mut().map(|(_, r)| r));
        for routes in lists.chain([&mut table.any]) {
            routes.sort_by_key(|r| r.key.path.rank());
        }
        table
    }

    /// The route of a request, given its normalised host name and its path without the query.
    /// The most specific host that is known decides; a path that it has no route for falls through
    /// to the next.
    pub fn find(&self, host: &str, path: &str) -> Option<&Route> {
        let by_path = |routes: &'_ [Route]| routes.iter().position(|r| r.key.path.matches(path));
        if let Some(routes) = self.exact.get(host)
            && let Some(at) = by_path(routes)
        {
            return Some(&routes[at]);
        }
        for (suffix, routes) in &self.suffixes {
            let below = host
                .strip_suffix(suffix.as_str())
                .is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'));
            if below && let Some(at) = by_path(routes) {
                return Some(&routes[at]);
            }
        }
        by_path(&self.any).map(|at| &self.any[at])
    }

    /// All routes, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &Route> {
        let suffixes = self.suffixes.iter().flat_map(|(_, routes)| routes);
        self.exact
            .values()
            .flatten()
            .chain(suffixes)
            .chain(&self.any)
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Suffix(name) => write!(f, "*.{name}"),
            Self::Any => f.write_str("*"),
        }
    }
}

impl fmt::Display for PathMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(path) => write!(f, "{path} (Exact)"),
            Self::Prefix(path) => f.write_str(path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(host: &str, path: PathMatch, source: &str) -> Route {
        let host = HostPattern::parse(host).unwrap();
        Route {
            key: RouteKey { host, path },
            source: source.into(),
            timeout: None,
            backends: vec![],
        }
    }

    #[test]
    fn hosts_are_normalised() {
        assert_eq!(
            normalize_host("Hello.LOCALHOST.:8000").as_deref(),
            Some("hello.localhost")
        );
        assert_eq!(normalize_host("[::1]:80").as_deref(), Some("[::1]"));
        assert_eq!(normalize_host(":80"), None);
        assert_eq!(normalize_host("."), None);
        assert_eq!(HostPattern::parse("a.*.b"), None);
    }

    #[test]
    fn most_specific_wins() {
        let table = RouteTable::new([
            route("*", PathMatch::prefix("/"), "any"),
            route("*.example.com", PathMatch::prefix("/"), "short"),
            route("*.a.example.com", PathMatch::prefix("/"), "long"),
            route("x.a.example.com", PathMatch::prefix("/foo/"), "prefix"),
            route("x.a.example.com", PathMatch::prefix("/foo/bar"), "longer"),
            route(
                "x.a.example.com",
                PathMatch::Exact("/foo/bar".into()),
                "exact",
            ),
        ]);
        let find = |host, path| table.find(host, path).map(|r| r.source.as_str());
        assert_eq!(find("x.a.example.com", "/foo/bar"), Some("exact"));
        assert_eq!(find("x.a.example.com", "/foo/bar/"), Some("longer"));
        assert_eq!(find("x.a.example.com", "/foo"), Some("prefix"));
        assert_eq!(find("x.a.example.com", "/foobar"), Some("long"));
        assert_eq!(find("y.a.example.com", "/"), Some("long"));
        assert_eq!(find("b.example.com", "/"), Some("short"));
        assert_eq!(find("example.com", "/"), Some("any"));
        assert_eq!(table.iter().count(), 6);
    }
}
