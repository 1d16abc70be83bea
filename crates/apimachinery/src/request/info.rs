//! What a request would do, for whoever decides whether it may: known from its path alone, for
//! resources that are not served too.

use super::query::{self, Query};

/// The attributes that access rules are about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Info {
    /// Such as `get`, `list` or `deletecollection`; for other paths the method in lower case.
    pub verb: String,
    /// Whether the path names a resource.
    pub resource_request: bool,
    /// Empty for core, and for other paths.
    pub group: String,
    /// The version in the path.
    pub version: String,
    /// The plural in the path.
    pub resource: String,
    /// Such as `status`; empty for the whole object.
    pub subresource: String,
    /// Empty for cluster-scoped resources and lists over all namespaces.
    pub namespace: String,
    /// Empty for collections.
    pub name: String,
    /// The whole path.
    pub path: String,
}

impl Info {
    /// Reads method, path and query as a real server's access layer does.
    pub fn read(method: &str, path: &str, raw_query: &str) -> Info {
        let mut info = Info {
            verb: method.to_lowercase(),
            path: path.to_owned(),
            ..Info::default()
        };
        let Some(segments) = query::decode_path(path) else {
            return info;
        };
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let segments: Vec<&str> = segments.into_iter().filter(|s| !s.is_empty()).collect();
        let (group, version, rest) = match segments[..] {
            ["api", version, ref rest @ ..] if !rest.is_empty() => ("", version, rest),
            ["apis", group, version, ref rest @ ..] if !rest.is_empty() => (group, version, rest),
            _ => return info,
        };
        let query = Query::parse(raw_query);
        let (old_watch, rest) = match rest {
            ["watch", rest @ ..] if !rest.is_empty() => (true, rest),
            rest => (false, rest),
        };
        let (namespace, rest) = match rest {
            // A namespace is in itself.
            ["namespaces", name] | ["namespaces", name, "status" | "finalize", ..] => (*name, rest),
            ["namespaces", namespace, inner @ ..] => (*namespace, inner),
            rest => ("", rest),
        };
        let at = |index: usize| rest.get(index).copied().unwrap_or_default().to_owned();
        info.resource_request = true;
        info.group = group.to_owned();
        info.version = version.to_owned();
        info.namespace = namespace.to_owned();
        (info.resource, info.name, info.subresource) = (at(0), at(1), at(2));
        info.verb = match method {
            "POST" => "create",
            "GET" | "HEAD" => "get",
            "PUT" => "update",
            "PATCH" => "patch",
            "DELETE" => "delete",
            _ => "",
        }
        .to_owned();
        if info.verb == "get" && (old_watch || query.flag("watch")) {
            info.verb = "watch".into();
        }
        if info.name.is_empty() {
            match &*info.verb {
                "get" => info.verb = "list".into(),
                "delete" => info.verb = "deletecollection".into(),
                _ => {}
            }
            if matches!(&*info.verb, "list" | "watch" | "deletecollection") {
                info.name = only_name(query.get("fieldSelector").unwrap_or_default());
            }
        }
        info
    }
}

/// The one name that a field selector leaves. With escapes in it nothing is taken for granted.
fn only_name(selector: &str) -> String {
    if selector.contains('\\') {
        return String::new();
    }
    selector
        .split(',')
        .find_map(|part| part.strip_prefix("metadata.name="))
        .map(|name| name.trim_start_matches('='))
        .unwrap_or_default()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::Info;

    fn read(method: &str, uri: &str) -> [String; 6] {
        let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
        let info = Info::read(method, path, query);
        [
            info.verb,
            info.group,
            info.resource,
            info.subresource,
            info.namespace,
            info.name,
        ]
    }

    #[test]
    fn paths_say_what_would_be_done() {
        let cases = [
            ("GET", "/version", ["get", "", "", "", "", ""]),
            ("GET", "/apis/apps/v1", ["get", "", "", "", "", ""]),
            ("GET", "/api/v1/pods", ["list", "", "pods", "", "", ""]),
            (
                "GET",
                "/api/v1/namespaces/a/pods?watch=1",
                ["watch", "", "pods", "", "a", ""],
            ),
            (
                "GET",
                "/api/v1/watch/namespaces/a/pods/b",
                ["watch", "", "pods", "", "a", "b"],
            ),
            (
                "GET",
                "/api/v1/namespaces/a/pods?fieldSelector=metadata.name%3Db",
                ["list", "", "pods", "", "a", "b"],
            ),
            (
                "POST",
                "/api/v1/namespaces/a/pods/b/eviction",
                ["create", "", "pods", "eviction", "a", "b"],
            ),
            (
                "DELETE",
                "/apis/apps/v1/namespaces/a/deployments",
                ["deletecollection", "apps", "deployments", "", "a", ""],
            ),
            (
                "PUT",
                "/api/v1/namespaces/a/finalize",
                ["update", "", "namespaces", "finalize", "a", "a"],
            ),
            (
                "PATCH",
                "/api/v1/namespaces/a",
                ["patch", "", "namespaces", "", "a", "a"],
            ),
            (
                "GET",
                "/apis/x.io/v1/things/a/status",
                ["get", "x.io", "things", "status", "", "a"],
            ),
        ];
        for (method, uri, expected) in cases {
            assert_eq!(read(method, uri), expected.map(str::to_owned), "{uri}");
        }
    }
}
