//! Routes: which workloads answer a request, by host name and path.

use std::{cmp::Reverse, fmt, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::{HostId, PartMap, WorkloadId};

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
    /// Longest wait for response headers, where the component that serves has no limit of its own:
    /// that one holds instead, be it shorter or longer. `None`: no bound.
    pub timeout: Option<Duration>,
    /// Replicas that are ready; if none is, those that serve while their service is started again.
    /// None: 503.
    pub backends: Vec<Backend>,
}

/// One of the replicas that serve.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Backend {
    /// The host it is on.
    pub host: HostId,
    /// The replica.
    pub workload: WorkloadId,
}

/// All routes, indexed for look-up. Whole tables replace each other, and share what is the same in
/// both: a copy costs little, and a change what it touches.
#[derive(Clone, Debug, Default)]
pub struct RouteTable {
    exact: PartMap<String, HostRoutes>,
    /// Longest suffix first.
    suffixes: Arc<Vec<(String, HostRoutes)>>,
    any: HostRoutes,
}

/// The routes of one host pattern, in the order of trial. A route stays where it is in memory for as
/// long as it is the same.
pub type HostRoutes = Arc<[Arc<Route>]>;

/// The name or address of a host, and what stands behind its `:`, if there is one: digits of a port,
/// or, as HTTP has it, nothing. `None` if it is anything else.
pub fn split_port(host: &str) -> Option<(&str, Option<&str>)> {
    let end = match host.strip_prefix('[') {
        // An IPv6 literal keeps its brackets.
        Some(rest) => rest.find(']')? + 2,
        None => host.find(':').unwrap_or(host.len()),
    };
    let (name, rest) = host.split_at(end);
    if rest.is_empty() {
        return Some((name, None));
    }
    let port = rest.strip_prefix(':')?;
    let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
    let fits = port.is_empty() || (is_number && port.parse::<u16>().is_ok());
    fits.then_some((name, Some(port)))
}

/// A host name as routes hold it: lower case, without port and last dot. `None` if nothing is left
/// or the text is no host.
pub fn normalize_host(host: &str) -> Option<String> {
    let (name, _) = split_port(host)?;
    let name = name.strip_suffix('.').unwrap_or(name);
    (!name.is_empty()).then(|| name.to_ascii_lowercase())
}

impl HostPattern {
    /// Reads `*`, `*.suffix` or a name; a port behind it, which no route looks at, must be one that
    /// there can be. `None` if it is none of them.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::Any);
        }
        let (_, port) = split_port(text)?;
        if port.is_some_and(|port| !port.parse::<u16>().is_ok_and(|port| port > 0)) {
            return None;
        }
        if let Some(suffix) = text.strip_prefix("*.") {
            return normalize_host(suffix).map(Self::Suffix);
        }
        if text.contains('*') {
            return None;
        }
        normalize_host(text).map(Self::Exact)
    }

    /// Whether every name of another pattern is one of this pattern too.
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Suffix(suffix), Self::Exact(name) | Self::Suffix(name)) => {
                self == other || is_below(name, suffix)
            }
            _ => *self == Self::Any || self == other,
        }
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

    /// Order of trial: exact before prefix, longer before shorter. Of two of one length no path is
    /// both, and their order is only that it is always the same.
    fn rank(&self) -> (u8, Reverse<usize>, &str) {
        match self {
            Self::Exact(path) => (0, Reverse(path.len()), path),
            Self::Prefix(path) => (1, Reverse(path.len()), path),
        }
    }
}

impl RouteTable {
    /// Indexes routes. Their keys should be unique; of two with the same key the first wins.
    pub fn new(routes: impl IntoIterator<Item = Route>) -> Self {
        let mut table = Self::default();
        for route in routes {
            if !table.of(&route.key.host).iter().any(|r| r.key == route.key) {
                table.set(&route.key.clone(), Some(route));
            }
        }
        table
    }

    /// Replaces the route of a key, or takes it out. Says whether it was another one.
    pub fn set(&mut self, key: &RouteKey, route: Option<Route>) -> bool {
        let before = self.of(&key.host);
        let old = before.iter().find(|known| known.key == *key);
        if old.map(AsRef::as_ref) == route.as_ref() {
            return false;
        }
        let others = before.iter().filter(|known| known.key != *key).cloned();
        let mut routes: Vec<_> = others.chain(route.map(Arc::new)).collect();
        routes.sort_by(|a, b| a.key.path.rank().cmp(&b.key.path.rank()));
        self.replace(&key.host, routes.into());
        true
    }

    /// The host patterns whose routes are others than in an older table, with the routes there and
    /// here. Of names it costs what has changed, not what there is.
    pub fn changed(&self, older: &Self) -> Vec<(HostRoutes, HostRoutes)> {
        let names = self.exact.changed(&older.exact);
        let mut changed: Vec<_> = names
            .map(|name| (list(older.exact.get(name)), list(self.exact.get(name))))
            .collect();
        if !Arc::ptr_eq(&self.suffixes, &older.suffixes) {
            let both = |suffix: &str| (list(older.suffix(suffix)), list(self.suffix(suffix)));
            let gone = older.suffixes.iter().map(|(suffix, _)| suffix);
            let gone = gone.filter(|suffix| self.suffix(suffix).is_none());
            let all = self.suffixes.iter().map(|(suffix, _)| suffix).chain(gone);
            let pairs = all.map(|suffix| both(suffix));
            changed.extend(pairs.filter(|(old, new)| old != new));
        }
        if self.any != older.any {
            changed.push((older.any.clone(), self.any.clone()));
        }
        changed
    }

    fn of(&self, host: &HostPattern) -> HostRoutes {
        let known = match host {
            HostPattern::Exact(name) => self.exact.get(name),
            HostPattern::Suffix(suffix) => self.suffix(suffix),
            HostPattern::Any => Some(&self.any),
        };
        list(known)
    }

    fn suffix(&self, suffix: &str) -> Option<&HostRoutes> {
        let mut all = self.suffixes.iter();
        all.find(|(known, _)| known == suffix).map(|(_, r)| r)
    }

    fn replace(&mut self, host: &HostPattern, routes: HostRoutes) {
        match host {
            HostPattern::Exact(name) if routes.is_empty() => drop(self.exact.remove(name)),
            HostPattern::Exact(name) => drop(self.exact.insert(name.clone(), routes)),
            HostPattern::Suffix(suffix) => {
                let suffixes = Arc::make_mut(&mut self.suffixes);
                suffixes.retain(|(known, _)| known != suffix);
                if !routes.is_empty() {
                    let rank = |suffix: &str| (Reverse(suffix.len()), suffix.to_owned());
                    let at = suffixes.partition_point(|(known, _)| rank(known) < rank(suffix));
                    suffixes.insert(at, (suffix.clone(), routes));
                }
            }
            HostPattern::Any => self.any = routes,
        }
    }

    /// The route of a request, given its normalised host name and its path without the query.
    /// The most specific host that is known decides; a path that it has no route for falls through
    /// to the next.
    pub fn find(&self, host: &str, path: &str) -> Option<&Route> {
        let by_path = |routes: &[Arc<Route>]| routes.iter().position(|r| r.key.path.matches(path));
        if let Some(routes) = self.exact.get(host)
            && let Some(at) = by_path(routes)
        {
            return Some(&routes[at]);
        }
        for (suffix, routes) in self.suffixes.iter() {
            if is_below(host, suffix)
                && let Some(at) = by_path(routes)
            {
                return Some(&routes[at]);
            }
        }
        by_path(&self.any).map(|at| self.any[at].as_ref())
    }

    /// Whether a route names this very host, and has the path: `*.suffix` and `*` name no host.
    pub fn names(&self, host: &str, path: &str) -> bool {
        let routes = self.exact.get(host);
        routes.is_some_and(|routes| routes.iter().any(|route| route.key.path.matches(path)))
    }

    /// All routes, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &Route> {
        let suffixes = self.suffixes.iter().map(|(_, routes)| routes);
        let lists = self.exact.values().chain(suffixes).chain([&self.any]);
        lists.flat_map(|routes| routes.iter().map(AsRef::as_ref))
    }
}

/// Whether a name ends in `.suffix`.
fn is_below(name: &str, suffix: &str) -> bool {
    let labels = name.strip_suffix(suffix);
    labels.is_some_and(|labels| labels.len() > 1 && labels.ends_with('.'))
}

fn list(routes: Option<&HostRoutes>) -> HostRoutes {
    routes.cloned().unwrap_or_default()
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
        assert_eq!(normalize_host("a.test:").as_deref(), Some("a.test"));
        assert_eq!(HostPattern::parse("a.*.b"), None);
        let named = HostPattern::Exact("a.test".into());
        assert_eq!(HostPattern::parse("a.test:65535"), Some(named));
    }

    #[test]
    fn what_follows_a_host_is_a_port_or_nothing() {
        for host in [
            "http://a.test",
            "a.test:http",
            "a.test:65536",
            "a.test:+80",
            "a.test:80:80",
            "[::1]80",
            "[::1",
            "::1",
        ] {
            assert_eq!(split_port(host), None, "{host}");
            assert_eq!(normalize_host(host), None, "{host}");
            assert_eq!(HostPattern::parse(host), None, "{host}");
        }
        for host in ["a.test:", "a.test:0", "*.a.test:0", "*.http://a.test"] {
            assert_eq!(HostPattern::parse(host), None, "{host}");
        }
    }

    #[test]
    fn a_pattern_covers_the_names_that_it_serves() {
        for (pattern, other, covers) in [
            ("*", "a.test", true),
            ("*", "*.test", true),
            ("a.test", "A.test:80", true),
            ("a.test", "b.test", false),
            ("a.test", "*", false),
            ("*.test", "a.test", true),
            ("*.test", "b.a.test", true),
            ("*.test", "*.a.test", true),
            ("*.test", "*.test", true),
            ("*.test", "test", false),
            ("*.test", "latest", false),
            ("*.test", "*", false),
            ("*.a.test", "*.test", false),
        ] {
            let of = |text| HostPattern::parse(text).unwrap();
            assert_eq!(of(pattern).covers(&of(other)), covers, "{pattern}, {other}");
        }
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
        assert!(table.names("x.a.example.com", "/foo"));
        for (host, path) in [("x.a.example.com", "/"), ("y.a.example.com", "/foo")] {
            assert!(!table.names(host, path), "{host}{path}");
        }
        assert_eq!(table.iter().count(), 6);
    }

    #[test]
    fn a_changed_copy_tells_the_hosts_whose_routes_are_others() {
        let all = ["*", "*.a.test", "*.b.test", "x.test", "y.test"];
        let older = RouteTable::new(all.map(|host| route(host, PathMatch::prefix("/"), "old")));
        for host in all {
            let mut table = older.clone();
            let new = route(host, PathMatch::prefix("/"), "new");
            let key = new.key.clone();
            assert!(table.set(&key, Some(new.clone())), "{host}");
            assert!(!table.set(&key, Some(new)), "{host}");
            let sources = |routes: &[Arc<Route>]| -> Vec<_> {
                routes.iter().map(|r| r.source.clone()).collect()
            };
            let told = |table: &RouteTable| -> Vec<_> {
                let changed = table.changed(&older);
                let pairs = changed
                    .iter()
                    .map(|(old, new)| (sources(old), sources(new)));
                pairs.collect()
            };
            let old = || vec!["old".to_owned()];
            assert_eq!(told(&table), [(old(), vec!["new".to_owned()])], "{host}");
            assert!(table.set(&key, None), "{host}");
            assert_eq!(told(&table), [(old(), vec![])], "{host}");
            assert_eq!(table.iter().count(), all.len() - 1);
            assert!(table.set(&key, Some(route(host, PathMatch::prefix("/"), "old"))));
            assert!(told(&table).is_empty(), "{host}");
        }
    }
}
