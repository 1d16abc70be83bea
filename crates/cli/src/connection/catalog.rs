//! What a server serves, and how users name it. Pure.

use kube::core::discovery::v2::APIGroupDiscoveryList;

use crate::{advice::Advice, text};

/// All resources of a server that can be read, in its own order.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    resources: Vec<Resource>,
}

/// One resource.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Resource {
    /// Empty for the core group.
    pub(crate) group: String,
    pub(crate) version: String,
    /// The plural, as paths have it.
    pub(crate) name: String,
    pub(crate) singular: String,
    pub(crate) kind: String,
    pub(crate) namespaced: bool,
    short_names: Vec<String>,
}

impl Catalog {
    /// From the two documents of aggregated discovery.
    pub(crate) fn new(core: APIGroupDiscoveryList, groups: APIGroupDiscoveryList) -> Self {
        let mut resources = Vec::new();
        for group in core.items.into_iter().chain(groups.items) {
            let group_name = group.metadata.and_then(|m| m.name).unwrap_or_default();
            for version in group.versions {
                let version_name = version.version.unwrap_or_default();
                for resource in version.resources {
                    let kind = resource.response_kind.and_then(|kind| kind.kind);
                    let (Some(name), Some(kind)) = (resource.resource, kind) else {
                        continue;
                    };
                    resources.push(Resource {
                        group: group_name.clone(),
                        version: version_name.clone(),
                        singular: match resource.singular_resource {
                            Some(singular) if !singular.is_empty() => singular,
                            _ => kind.to_lowercase(),
                        },
                        name,
                        kind,
                        namespaced: resource.scope.as_deref() == Some("Namespaced"),
                        short_names: resource.short_names,
                    });
                }
            }
        }
        Self { resources }
    }

    /// The resource that a user means by a word: plural, singular, kind or short name, also with
    /// `.GROUP` or `.VERSION.GROUP`. Of several the first counts, as in kubectl.
    pub(crate) fn find(&self, word: &str) -> anyhow::Result<&Resource> {
        let wanted = word.to_lowercase();
        let found = self.resources.iter().find(|r| r.is_called(&wanted));
        found.ok_or_else(|| {
            let close: Vec<_> = self
                .resources
                .iter()
                .filter(|r| r.resembles(&wanted))
                .collect();
            let hint = match close.is_empty() {
                true => "kinds are, for example, `workloaddeployments`, `workloads`, \
                         `httptriggers`, `hosts`, `pods`"
                    .into(),
                false => {
                    let names = close.iter().map(|r| r.name.as_str());
                    format!("did you mean {}?", text::quoted(names))
                }
            };
            Advice::error(format!("the server has no kind `{word}`"), hint)
        })
    }

    /// The resource of an object's `apiVersion` and `kind`.
    pub(crate) fn of(&self, api_version: &str, kind: &str) -> Option<&Resource> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let same = |r: &&Resource| r.group == group && r.version == version && r.kind == kind;
        self.resources.iter().find(same)
    }
}

impl Resource {
    /// The kind as output names it: `workloaddeployment.runtime.wasmcloud.dev`.
    pub(crate) fn full_singular(&self) -> String {
        match self.group.as_str() {
            "" => self.singular.clone(),
            group => format!("{}.{group}", self.singular),
        }
    }

    /// Path of all its objects, or those of a namespace.
    pub(crate) fn collection(&self, namespace: Option<&str>) -> String {
        let base = match self.group.as_str() {
            "" => format!("/api/{}", self.version),
            group => format!("/apis/{group}/{}", self.version),
        };
        match namespace {
            Some(namespace) if self.namespaced => {
                format!("{base}/namespaces/{}/{}", escape(namespace), self.name)
            }
            _ => format!("{base}/{}", self.name),
        }
    }

    /// Path of one object.
    pub(crate) fn object(&self, namespace: &str, name: &str) -> String {
        format!("{}/{}", self.collection(Some(namespace)), escape(name))
    }

    fn is_called(&self, word: &str) -> bool {
        let (name, rest) = word.split_once('.').unwrap_or((word, ""));
        let full = format!("{}.{}", self.version, self.group);
        let group = rest.is_empty() || rest == self.group || rest == full;
        let named = name == self.name
            || name == self.singular
            || name == self.kind.to_lowercase()
            || self.short_names.iter().any(|short| short == name);
        group && named
    }

    fn resembles(&self, word: &str) -> bool {
        word.len() >= 3 && (self.name.starts_with(word) || word.starts_with(&self.singular))
    }
}

/// One element of a path. Names hold nothing else than letters, digits, `-`, `.` and `:`; whatever
/// else a user writes must not become another path.
fn escape(element: &str) -> String {
    url::form_urlencoded::byte_serialize(element.as_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalog() -> Catalog {
        let resource = |group: &str, name: &str, kind: &str, short: &[&str]| Resource {
            group: group.into(),
            version: "v1".into(),
            name: name.into(),
            singular: kind.to_lowercase(),
            kind: kind.into(),
            namespaced: kind != "Node",
            short_names: short.iter().map(|s| (*s).into()).collect(),
        };
        Catalog {
            resources: vec![
                resource("", "events", "Event", &["ev"]),
                resource("", "nodes", "Node", &["no"]),
                resource("events.k8s.io", "events", "Event", &["ev"]),
                resource("r.dev", "workloads", "Workload", &["ww"]),
            ],
        }
    }

    #[test]
    fn kinds_go_by_many_names() {
        let catalog = catalog();
        for word in [
            "workloads",
            "workload",
            "Workload",
            "ww",
            "WW",
            "workloads.r.dev",
        ] {
            assert_eq!(catalog.find(word).unwrap().name, "workloads", "{word}");
        }
        assert_eq!(catalog.find("events").unwrap().group, "");
        for word in ["events.events.k8s.io", "ev.v1.events.k8s.io"] {
            assert_eq!(catalog.find(word).unwrap().group, "events.k8s.io");
        }
        let unknown = catalog.find("work").unwrap_err();
        let hint = crate::advice::hint(&unknown).unwrap();
        assert_eq!(hint, "did you mean `workloads`?");
    }

    #[test]
    fn paths_follow_group_and_scope() {
        let catalog = catalog();
        let of = |word| catalog.find(word).unwrap();
        let workload = of("ww").object("default", "a");
        assert_eq!(workload, "/apis/r.dev/v1/namespaces/default/workloads/a");
        assert_eq!(of("nodes").object("default", "a"), "/api/v1/nodes/a");
        assert_eq!(of("ev").collection(None), "/api/v1/events");
        assert!(
            of("nodes")
                .object("", "../x?y")
                .ends_with("/nodes/..%2Fx%3Fy")
        );
        assert_eq!(catalog.of("r.dev/v1", "Workload"), Some(of("ww")));
        assert_eq!(catalog.of("r.dev/v2", "Workload"), None);
    }
}
