//! The addresses under which routes answer.

use std::{collections::BTreeMap, net::SocketAddr};

use waft_ir::{HostPattern, PathMatch, Route, RouteTable};

/// Address → source of every one of some routes of a table that has a ready workload, without the
/// names that only other workloads use.
pub(super) fn served<'a>(
    routes: impl IntoIterator<Item = &'a Route>,
    table: &RouteTable,
    http: SocketAddr,
) -> BTreeMap<String, String> {
    routes
        .into_iter()
        .filter(|route| !route.backends.is_empty() && !is_internal(&route.key.host, table))
        .map(|route| (url(route, http), route.source.clone()))
        .collect()
}

/// Whether a name is one of those that a Service has inside a cluster: `NAME.NAMESPACE` is one
/// where it stands beside `NAME.NAMESPACE.svc`.
fn is_internal(host: &HostPattern, table: &RouteTable) -> bool {
    let HostPattern::Exact(name) = host else {
        return false;
    };
    if name.ends_with(".svc") || name.ends_with(".svc.cluster.local") {
        return true;
    }
    let long = format!("{name}.svc");
    let found = table.find(&long, "/");
    found.is_some_and(|route| route.key.host == HostPattern::Exact(long))
}

fn url(route: &Route, http: SocketAddr) -> String {
    let host = match &route.key.host {
        HostPattern::Exact(name) => name.clone(),
        HostPattern::Suffix(suffix) => format!("*.{suffix}"),
        HostPattern::Any => "localhost".into(),
    };
    let (PathMatch::Exact(path) | PathMatch::Prefix(path)) = &route.key.path;
    match http.port() {
        80 => format!("http://{host}{path}"),
        port => format!("http://{host}:{port}{path}"),
    }
}

#[cfg(test)]
mod tests {
    use waft_ir::{Backend, HostId, RouteKey, WorkloadId};

    use super::*;

    #[test]
    fn only_what_answers_is_shown() {
        let route = |host: &str, ready: bool| {
            let backend = Backend {
                host: HostId("h".into()),
                workload: WorkloadId("w".into()),
            };
            Route {
                key: RouteKey {
                    host: HostPattern::parse(host).unwrap(),
                    path: PathMatch::prefix("/"),
                },
                source: host.into(),
                timeout: None,
                backends: if ready { vec![backend] } else { vec![] },
            }
        };
        let table = RouteTable::new([
            route("hello.localhost", true),
            route("not.localhost", false),
            route("a.default", true),
            route("a.default.svc", true),
            route("*", true),
        ]);
        let urls = |port| {
            let http = SocketAddr::from(([127, 0, 0, 1], port));
            served(table.iter(), &table, http)
                .into_keys()
                .collect::<Vec<_>>()
        };
        assert_eq!(
            urls(8000),
            ["http://hello.localhost:8000/", "http://localhost:8000/"]
        );
        assert_eq!(urls(80), ["http://hello.localhost/", "http://localhost/"]);
    }
}
