//! Who may do what: the RBAC objects in the store, asked for every request of everyone who isn't in
//! `system:masters`.

pub(crate) mod escalation;
pub(crate) mod rules;

use std::sync::Arc;

use serde_json::Value;
use waft_apimachinery::request::Info;
use waft_apimachinery::selector::LabelSelector;
use waft_apimachinery::status::{Details, Reason, Status};

use crate::identity::{User, account};
use crate::open::ApiServer;
use crate::store::{Key, Query};

/// The group of roles and bindings.
pub(crate) const GROUP: &str = "rbac.authorization.k8s.io";

/// What a question about access came to.
pub(crate) struct Decision {
    pub(crate) allowed: bool,
    /// By which binding; or what stood in the way of judging.
    pub(crate) reason: String,
}

/// A binding that concerns a user, and what it grants.
pub(crate) struct Grant {
    /// In words, for reviews.
    pub(crate) by: String,
    pub(crate) rules: Vec<Value>,
}

impl ApiServer {
    /// Refuses what a user may not do, in the real server's words.
    pub(crate) fn authorize(&self, user: &User, info: &Info) -> Result<(), Status> {
        if user.is_master() {
            return Ok(());
        }
        match self.decide(user, info) {
            Decision { allowed: true, .. } => Ok(()),
            Decision { reason, .. } => Err(forbidden(user, info, &reason)),
        }
    }

    /// Judges, with the reason.
    pub(crate) fn decide(&self, user: &User, info: &Info) -> Decision {
        if user.is_master() {
            return Decision {
                allowed: true,
                reason: String::new(),
            };
        }
        let (grants, errors) = self.grants(user, &info.namespace);
        let grant = grants
            .iter()
            .find(|grant| grant.rules.iter().any(|rule| rules::allows(rule, info)));
        match grant {
            Some(grant) => Decision {
                allowed: true,
                reason: format!("RBAC: allowed by {}", grant.by),
            },
            None => Decision {
                allowed: false,
                reason: match &errors[..] {
                    [] => String::new(),
                    [error] => format!("RBAC: {error}"),
                    errors => format!("RBAC: [{}]", errors.join(", ")),
                },
            },
        }
    }

    /// Everything that is granted to a user: in the cluster, and in a namespace unless it is empty.
    pub(crate) fn grants(&self, user: &User, namespace: &str) -> (Vec<Grant>, Vec<String>) {
        let (mut grants, mut errors) = (Vec::new(), Vec::new());
        let mut bindings = self.rbac_objects("clusterrolebindings", "");
        if !namespace.is_empty() {
            bindings.extend(self.rbac_objects("rolebindings", namespace));
        }
        for binding in &bindings {
            let within = binding["metadata"]["namespace"]
                .as_str()
                .unwrap_or_default();
            let subjects = binding["subjects"].as_array().into_iter().flatten();
            let Some(subject) = subjects
                .into_iter()
                .find(|subject| is_subject(subject, user, within))
            else {
                continue;
            };
            let role = &binding["roleRef"];
            match self.role_rules(role, within) {
                Ok(rules) => grants.push(Grant {
                    by: described(binding, subject, within),
                    rules,
                }),
                Err(status) => errors.push(status.message),
            }
        }
        (grants, errors)
    }

    /// The rules of a role, together with those that it aggregates.
    pub(crate) fn role_rules(&self, role: &Value, namespace: &str) -> Result<Vec<Value>, Status> {
        let name = role["name"].as_str().unwrap_or_default();
        let (plural, namespace) = match role["kind"] == "Role" {
            true => ("roles", namespace),
            false => ("clusterroles", ""),
        };
        let key = Key::new(&storage(plural), namespace, name);
        let stored = self.store.get(&key);
        let role = stored
            .ok_or_else(|| Status::not_found(GROUP, plural.trim_end_matches('s'), name))?
            .value();
        let mut rules = list(&role["rules"]);
        let selectors = list(&role["aggregationRule"]["clusterRoleSelectors"]);
        let selectors: Vec<_> = selectors
            .iter()
            .filter_map(|selector| LabelSelector::from_json(selector).ok())
            .collect();
        if !selectors.is_empty() {
            for other in self.rbac_objects("clusterroles", "") {
                if selectors
                    .iter()
                    .any(|selector| selector.matches_object(&other))
                {
                    rules.extend(list(&other["rules"]));
                }
            }
        }
        Ok(rules)
    }

    fn rbac_objects(&self, plural: &str, namespace: &str) -> Vec<Value> {
        let storage = storage(plural);
        let query = Query {
            resource: &storage,
            namespace: Some(namespace),
            after: None,
            limit: None,
            at: None,
        };
        let page = self.store.list(&query).map(|page| page.objects);
        page.unwrap_or_default()
            .iter()
            .map(|stored| stored.value())
            .collect()
    }
}

fn storage(plural: &str) -> Arc<str> {
    format!("{GROUP}/{plural}").into()
}

fn list(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

fn is_subject(subject: &Value, user: &User, binding_namespace: &str) -> bool {
    let name = subject["name"].as_str().unwrap_or_default();
    match subject["kind"].as_str().unwrap_or_default() {
        "User" => user.name == name,
        "Group" => user.groups.iter().any(|group| group == name),
        "ServiceAccount" => {
            let namespace = subject["namespace"].as_str();
            let namespace = namespace.filter(|given| !given.is_empty());
            account(&user.name) == Some((namespace.unwrap_or(binding_namespace), name))
        }
        _ => false,
    }
}

/// Such as `RoleBinding "b/ns" of Role "r" to User "u"`.
fn described(binding: &Value, subject: &Value, within: &str) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut name = text(&binding["metadata"]["name"]);
    let kind = match within {
        "" => "ClusterRoleBinding",
        within => {
            name = format!("{name}/{within}");
            "RoleBinding"
        }
    };
    let mut to = text(&subject["name"]);
    if subject["kind"] == "ServiceAccount" {
        to = format!("{to}/{}", text(&subject["namespace"]));
    }
    format!(
        "{kind} {name:?} of {} {:?} to {} {to:?}",
        text(&binding["roleRef"]["kind"]),
        text(&binding["roleRef"]["name"]),
        text(&subject["kind"])
    )
}

/// The real server's sentence.
pub(crate) fn forbidden(user: &User, info: &Info, reason: &str) -> Status {
    let mut why = format!("User {:?} cannot {} ", user.name, info.verb);
    if !info.resource_request {
        why += &format!("path {:?}", info.path);
    } else {
        let mut resource = info.resource.clone();
        if !info.subresource.is_empty() {
            resource = format!("{resource}/{}", info.subresource);
        }
        why += &format!("resource {resource:?} in API group {:?}", info.group);
        match &*info.namespace {
            "" => why += " at the cluster scope",
            namespace => why += &format!(" in the namespace {namespace:?}"),
        }
    }
    if !reason.is_empty() {
        why += &format!(": {reason}");
    }
    if info.resource_request {
        return Status::forbidden(&info.group, &info.resource, &info.name, &why);
    }
    let mut status = Status::new(403, Some(Reason::Forbidden), format!("forbidden: {why}"));
    status.details = Some(Box::new(Details::default()));
    status
}
