//! The roles and bindings of the store, read once and asked for every request.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;
use waft_apimachinery::request::Info;
use waft_apimachinery::selector::LabelSelector;
use waft_apimachinery::status::Status;

use super::{Decision, GROUP, rules};
use crate::identity::{User, user_of_account};
use crate::store::Store;

/// Where roles and bindings are stored.
pub(crate) const STORAGES: [&str; 4] = [CLUSTER_ROLES, ROLES, CLUSTER_BINDINGS, BINDINGS];

const CLUSTER_ROLES: &str = "rbac.authorization.k8s.io/clusterroles";
const ROLES: &str = "rbac.authorization.k8s.io/roles";
const CLUSTER_BINDINGS: &str = "rbac.authorization.k8s.io/clusterrolebindings";
const BINDINGS: &str = "rbac.authorization.k8s.io/rolebindings";

/// What is granted to whom, at one time.
#[derive(Default)]
pub(crate) struct Granted {
    /// By namespace (empty: in the cluster) and subject, in the order of the bindings.
    grants: HashMap<String, HashMap<Subject, Vec<Entry>>>,
    roles: HashMap<RoleName, Arc<[Value]>>,
}

#[derive(PartialEq, Eq, Hash)]
enum Subject {
    User(String),
    Group(String),
}

/// Namespace, empty for a ClusterRole, and name.
type RoleName = (String, String);

#[derive(Clone)]
struct Entry {
    /// Place of the binding, then of the subject in it.
    order: (usize, usize),
    granted: Result<Grant, String>,
}

/// A binding that concerns a user, and what it grants.
#[derive(Clone)]
pub(crate) struct Grant {
    /// In words, for reviews.
    pub(crate) by: Arc<str>,
    pub(crate) rules: Arc<[Value]>,
}

impl Granted {
    /// Reads them all.
    pub(super) fn read(store: &Store) -> Granted {
        let mut granted = Granted {
            roles: roles(store),
            ..Granted::default()
        };
        let bindings = [CLUSTER_BINDINGS, BINDINGS];
        let bindings = bindings
            .into_iter()
            .flat_map(|storage| store.values(storage));
        for (index, binding) in bindings.enumerate() {
            granted.add(index, &binding);
        }
        granted
    }

    fn add(&mut self, index: usize, binding: &Value) {
        let within = text(&binding["metadata"]["namespace"]);
        let role = &binding["roleRef"];
        let rules = self.rules_of(role, within).map_err(|status| status.message);
        let subjects = binding["subjects"].as_array().into_iter().flatten();
        for (place, subject) in subjects.enumerate() {
            let Some(key) = subject_of(subject, within) else {
                continue;
            };
            let granted = rules.clone().map(|rules| Grant {
                by: described(binding, subject, within).into(),
                rules,
            });
            let of_namespace = self.grants.entry(within.to_owned()).or_default();
            of_namespace.entry(key).or_default().push(Entry {
                order: (index, place),
                granted,
            });
        }
    }

    /// The rules of a role, together with those that it aggregates.
    pub(crate) fn rules_of(&self, role: &Value, namespace: &str) -> Result<Arc<[Value]>, Status> {
        let name = text(&role["name"]);
        let (singular, namespace) = match role["kind"] == "Role" {
            true => ("role", namespace),
            false => ("clusterrole", ""),
        };
        let found = self.roles.get(&(namespace.to_owned(), name.to_owned()));
        found
            .cloned()
            .ok_or_else(|| Status::not_found(GROUP, singular, name))
    }

    /// Everything that is granted to a user: in the cluster, and in a namespace unless it is empty.
    pub(crate) fn to(&self, user: &User, namespace: &str) -> (Vec<Grant>, Vec<String>) {
        let namespaces = [""]
            .into_iter()
            .chain((!namespace.is_empty()).then_some(namespace));
        let mut found: Vec<&Entry> = Vec::new();
        for within in namespaces.filter_map(|namespace| self.grants.get(namespace)) {
            found.extend(
                within
                    .get(&Subject::User(user.name.clone()))
                    .into_iter()
                    .flatten(),
            );
            for group in &user.groups {
                found.extend(
                    within
                        .get(&Subject::Group(group.clone()))
                        .into_iter()
                        .flatten(),
                );
            }
        }
        // A binding counts once, for the first of its subjects.
        found.sort_by_key(|entry| entry.order);
        found.dedup_by_key(|entry| entry.order.0);
        let (mut grants, mut errors) = (Vec::new(), Vec::new());
        for entry in found {
            match &entry.granted {
                Ok(grant) => grants.push(grant.clone()),
                Err(error) => errors.push(error.clone()),
            }
        }
        (grants, errors)
    }

    /// Judges, with the reason.
    pub(crate) fn decide(&self, user: &User, info: &Info) -> Decision {
        if user.is_master() {
            return Decision {
                allowed: true,
                reason: String::new(),
            };
        }
        let (grants, errors) = self.to(user, &info.namespace);
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
}

fn roles(store: &Store) -> HashMap<RoleName, Arc<[Value]>> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let cluster_roles = store.values(CLUSTER_ROLES);
    let aggregated = |role: &Value| -> Vec<Value> {
        let mut rules = list(&role["rules"]);
        let selectors = list(&role["aggregationRule"]["clusterRoleSelectors"]);
        let selectors: Vec<_> = selectors
            .iter()
            .filter_map(|selector| LabelSelector::from_json(selector).ok())
            .collect();
        if !selectors.is_empty() {
            let others = cluster_roles.iter().filter(|other| {
                selectors
                    .iter()
                    .any(|selector| selector.matches_object(other))
            });
            rules.extend(others.flat_map(|other| list(&other["rules"])));
        }
        rules
    };
    let namespaced = store.values(ROLES);
    let all = cluster_roles.iter().chain(&namespaced);
    all.map(|role| {
        let metadata = &role["metadata"];
        let name = (
            text(&metadata["namespace"]).to_owned(),
            text(&metadata["name"]).to_owned(),
        );
        (name, aggregated(role).into())
    })
    .collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn subject_of(subject: &Value, binding_namespace: &str) -> Option<Subject> {
    let name = text(&subject["name"]);
    match text(&subject["kind"]) {
        "User" => Some(Subject::User(name.to_owned())),
        "Group" => Some(Subject::Group(name.to_owned())),
        "ServiceAccount" => {
            let namespace = match text(&subject["namespace"]) {
                "" => binding_namespace,
                given => given,
            };
            (!namespace.is_empty() && !name.is_empty())
                .then(|| Subject::User(user_of_account(namespace, name)))
        }
        _ => None,
    }
}

/// Such as `RoleBinding "b/ns" of Role "r" to User "u"`.
fn described(binding: &Value, subject: &Value, within: &str) -> String {
    let mut name = text(&binding["metadata"]["name"]).to_owned();
    let kind = match within {
        "" => "ClusterRoleBinding",
        within => {
            name = format!("{name}/{within}");
            "RoleBinding"
        }
    };
    let mut to = text(&subject["name"]).to_owned();
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
