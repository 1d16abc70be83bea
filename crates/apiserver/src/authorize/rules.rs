//! Single rules of roles: what they allow, and whether some cover another.

use serde_json::{Value, json};
use waft_apimachinery::request::Info;

fn texts<'a>(rule: &'a Value, field: &str) -> impl Iterator<Item = &'a str> {
    rule[field]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
}

fn any(rule: &Value, field: &str, wanted: &str) -> bool {
    texts(rule, field).any(|given| given == "*" || given == wanted)
}

/// Whether a rule allows a request.
pub(crate) fn allows(rule: &Value, info: &Info) -> bool {
    if !any(rule, "verbs", &info.verb) {
        return false;
    }
    if !info.resource_request {
        return texts(rule, "nonResourceURLs").any(|url| covers_path(url, &info.path));
    }
    any(rule, "apiGroups", &info.group)
        && covers_resource(rule, &info.resource, &info.subresource)
        && covers_name(rule, &info.name)
}

fn covers_path(given: &str, path: &str) -> bool {
    given == "*"
        || given == path
        || given
            .strip_suffix('*')
            .is_some_and(|start| path.starts_with(start))
}

fn covers_resource(rule: &Value, resource: &str, subresource: &str) -> bool {
    texts(rule, "resources").any(|given| match given.split_once('/') {
        None => given == "*" || (subresource.is_empty() && given == resource),
        Some((of, part)) => {
            !subresource.is_empty() && part == subresource && (of == "*" || of == resource)
        }
    })
}

fn covers_name(rule: &Value, name: &str) -> bool {
    let mut names = texts(rule, "resourceNames").peekable();
    names.peek().is_none() || names.any(|given| given == name)
}

/// One verb on one resource, name or path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Single {
    verb: String,
    group: String,
    resource: String,
    name: Option<String>,
    /// Instead of group, resource and name.
    path: Option<String>,
}

/// The single permissions of a rule.
pub(crate) fn singles(rule: &Value) -> Vec<Single> {
    let owned = |field: &str| texts(rule, field).map(str::to_owned).collect::<Vec<_>>();
    let names: Vec<Option<String>> = match owned("resourceNames") {
        names if names.is_empty() => vec![None],
        names => names.into_iter().map(Some).collect(),
    };
    let mut all = Vec::new();
    for group in owned("apiGroups") {
        for resource in owned("resources") {
            for name in &names {
                for verb in owned("verbs") {
                    all.push(Single {
                        verb,
                        group: group.clone(),
                        resource: resource.clone(),
                        name: name.clone(),
                        path: None,
                    });
                }
            }
        }
    }
    for path in owned("nonResourceURLs") {
        for verb in owned("verbs") {
            all.push(Single {
                verb,
                group: String::new(),
                resource: String::new(),
                name: None,
                path: Some(path.clone()),
            });
        }
    }
    all
}

impl Single {
    /// Whether a rule grants all of it.
    pub(crate) fn covered_by(&self, rule: &Value) -> bool {
        if !any(rule, "verbs", &self.verb) {
            return false;
        }
        if let Some(path) = &self.path {
            return texts(rule, "nonResourceURLs").any(|given| covers_path(given, path));
        }
        let resource = texts(rule, "resources").any(|given| {
            let part = self.resource.split_once('/').map(|(_, part)| part);
            given == "*"
                || given == self.resource
                || part.is_some_and(|part| given.strip_prefix("*/") == Some(part))
        });
        let mut names = texts(rule, "resourceNames").peekable();
        let name = names.peek().is_none()
            || (self.name.as_deref()).is_some_and(|name| names.any(|given| given == name));
        any(rule, "apiGroups", &self.group) && resource && name
    }

    fn compact(&self, verbs: &[String]) -> String {
        let quoted = |list: &[String]| {
            let quoted: Vec<String> = list.iter().map(|text| format!("{text:?}")).collect();
            quoted.join(" ")
        };
        if let Some(path) = &self.path {
            return format!("{{NonResourceURLs:[{path:?}], Verbs:[{}]}}", quoted(verbs));
        }
        let name = self.name.as_ref();
        let name = name.map_or_else(String::new, |name| format!("ResourceNames:[{name:?}], "));
        format!(
            "{{APIGroups:[{:?}], Resources:[{:?}], {name}Verbs:[{}]}}",
            self.group,
            self.resource,
            quoted(verbs)
        )
    }
}

/// What a list of permissions is in words: one line a resource, in order.
pub(crate) fn lines(missing: &[Single]) -> Vec<String> {
    let mut groups: Vec<(Single, Vec<String>)> = Vec::new();
    for single in missing {
        let same = |other: &Single| {
            (&other.group, &other.resource, &other.name, &other.path)
                == (&single.group, &single.resource, &single.name, &single.path)
        };
        match groups.iter_mut().find(|(first, _)| same(first)) {
            Some((_, verbs)) => verbs.push(single.verb.clone()),
            None => groups.push((single.clone(), vec![single.verb.clone()])),
        }
    }
    let mut lines: Vec<String> = groups
        .iter()
        .map(|(single, verbs)| single.compact(verbs))
        .collect();
    lines.sort();
    lines
}

/// The rule in the form of `SelfSubjectRulesReview`; `None` for the other half of its answer.
pub(crate) fn reviewed(rule: &Value, resources: bool) -> Option<Value> {
    let fields: &[&str] = match resources {
        true => &["verbs", "apiGroups", "resources", "resourceNames"],
        false => &["verbs", "nonResourceURLs"],
    };
    let kind = if resources {
        "resources"
    } else {
        "nonResourceURLs"
    };
    texts(rule, kind).next()?;
    let mut out = json!({});
    for field in fields {
        if rule[*field].as_array().is_some_and(|list| !list.is_empty()) {
            out[*field] = rule[*field].clone();
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(verbs: &[&str], groups: &[&str], resources: &[&str], names: &[&str]) -> Value {
        json!({"verbs": verbs, "apiGroups": groups, "resources": resources, "resourceNames": names})
    }

    fn asks(rule: &Value, method: &str, path: &str) -> bool {
        allows(rule, &Info::read(method, path, ""))
    }

    #[test]
    fn rules_allow_what_they_name() {
        let pods = rule(&["get", "list"], &[""], &["pods"], &[]);
        assert!(asks(&pods, "GET", "/api/v1/namespaces/a/pods/b"));
        assert!(asks(&pods, "GET", "/api/v1/pods"));
        assert!(!asks(&pods, "GET", "/api/v1/namespaces/a/pods/b/log"));
        assert!(!asks(&pods, "DELETE", "/api/v1/namespaces/a/pods/b"));
        assert!(!asks(&pods, "GET", "/apis/apps/v1/namespaces/a/pods/b"));
        let named = rule(&["get", "list"], &[""], &["pods"], &["b"]);
        assert!(asks(&named, "GET", "/api/v1/namespaces/a/pods/b"));
        assert!(!asks(&named, "GET", "/api/v1/namespaces/a/pods/c"));
        assert!(!asks(&named, "GET", "/api/v1/namespaces/a/pods"));
        let parts = rule(&["*"], &["*"], &["*/scale"], &[]);
        assert!(asks(&parts, "PATCH", "/apis/a/v1/namespaces/a/x/y/scale"));
        assert!(!asks(&parts, "PATCH", "/apis/a/v1/namespaces/a/x/y"));
        let everything = rule(&["*"], &["*"], &["*"], &[]);
        assert!(asks(
            &everything,
            "PUT",
            "/api/v1/namespaces/a/pods/b/status"
        ));
        assert!(!asks(&everything, "GET", "/metrics"));
        let paths = json!({"verbs": ["get"], "nonResourceURLs": ["/healthz", "/apis/*"]});
        assert!(asks(&paths, "GET", "/healthz"));
        assert!(asks(&paths, "GET", "/apis/apps"));
        assert!(!asks(&paths, "GET", "/healthz/x"));
        assert!(!asks(&paths, "POST", "/healthz"));
    }

    #[test]
    fn what_is_missing_is_told_by_resource() {
        let held = rule(&["get", "list"], &[""], &["pods"], &[]);
        let wanted = rule(&["get", "delete"], &[""], &["pods", "secrets"], &[]);
        let missing: Vec<Single> = singles(&wanted)
            .into_iter()
            .filter(|single| !single.covered_by(&held))
            .collect();
        assert_eq!(
            lines(&missing),
            [
                r#"{APIGroups:[""], Resources:["pods"], Verbs:["delete"]}"#,
                r#"{APIGroups:[""], Resources:["secrets"], Verbs:["get" "delete"]}"#,
            ]
        );
        // A name does not cover all of them, all of them cover a name.
        let named = rule(&["get"], &[""], &["pods"], &["a"]);
        assert!(!singles(&held)[0].covered_by(&named));
        assert!(singles(&named)[0].covered_by(&held));
    }
}
