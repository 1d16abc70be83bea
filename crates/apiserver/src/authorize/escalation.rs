//! Nobody grants what they don't have.

use serde_json::{Value, json};
use waft_apimachinery::request::Info;
use waft_apimachinery::status::Status;

use super::{GROUP, rules};
use crate::identity::User;
use crate::open::ApiServer;
use crate::write::Change;

impl ApiServer {
    /// Refuses roles and bindings that grant more than their writer has, unless the writer may
    /// `escalate` or `bind`.
    pub(crate) fn check_grants(
        &self,
        change: &Change<'_>,
        new: &Value,
        old: Option<&Value>,
        user: &User,
    ) -> Result<(), Status> {
        let resource = change.resource;
        if user.is_master() || resource.group != GROUP {
            return Ok(());
        }
        if old.is_some_and(|old| changes_only_ownership(new, old)) {
            return Ok(());
        }
        let namespace = change.namespace.unwrap_or_default();
        let granted = match &*resource.plural {
            "roles" | "clusterroles" => {
                // Who creates names nothing yet.
                let subject = (&*resource.plural, change.name);
                if self.may(user, "escalate", namespace, subject) {
                    return Ok(());
                }
                new["rules"].as_array().cloned().unwrap_or_default()
            }
            "rolebindings" | "clusterrolebindings" => {
                let role = &new["roleRef"];
                let name = role["name"].as_str().unwrap_or_default();
                let plural = match role["kind"] == "Role" {
                    true => "roles",
                    false => "clusterroles",
                };
                if self.may(user, "bind", namespace, (plural, name)) {
                    return Ok(());
                }
                let granted = self.granted().rules_of(role, namespace);
                granted
                    .map_err(|_| Status::not_found(GROUP, &resource.plural, name))?
                    .to_vec()
            }
            _ => return Ok(()),
        };
        let name = new["metadata"]["name"].as_str().unwrap_or_default();
        let forbidden = |why: &str| Status::forbidden(GROUP, &resource.plural, name, why);
        let (missing, errors) = self.missing(user, namespace, &granted);
        if missing.is_empty() {
            let aggregates = |role: &Value| !role["aggregationRule"].is_null();
            // It may come to grant anything.
            let everything = [
                json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}),
                json!({"verbs": ["*"], "nonResourceURLs": ["*"]}),
            ];
            let unlimited = aggregates(new) || old.is_some_and(aggregates);
            return match unlimited && !self.missing(user, namespace, &everything).0.is_empty() {
                true => Err(forbidden(
                    "must have cluster-admin privileges to use the aggregationRule",
                )),
                false => Ok(()),
            };
        }
        let groups: Vec<String> = user
            .groups
            .iter()
            .map(|group| format!("{group:?}"))
            .collect();
        let mut why = format!(
            "user {:?} (groups=[{}]) is attempting to grant RBAC permissions not currently held:\n{}",
            user.name,
            groups.join(" "),
            rules::lines(&missing).join("\n")
        );
        if !errors.is_empty() {
            why += &format!("; resolution errors: [{}]", errors.join(", "));
        }
        Err(forbidden(&why))
    }

    /// What of some rules a user does not have, and what could not be judged.
    fn missing(
        &self,
        user: &User,
        namespace: &str,
        wanted: &[Value],
    ) -> (Vec<rules::Single>, Vec<String>) {
        let (held, errors) = self.granted().to(user, namespace);
        let singles = wanted.iter().flat_map(rules::singles);
        let missing = singles.filter(|single| {
            let mut all = held.iter().flat_map(|grant| grant.rules.iter());
            !all.any(|rule| single.covered_by(rule))
        });
        (missing.collect(), errors)
    }

    fn may(&self, user: &User, verb: &str, namespace: &str, subject: (&str, &str)) -> bool {
        let info = Info {
            verb: verb.to_owned(),
            resource_request: true,
            group: GROUP.to_owned(),
            version: "v1".to_owned(),
            resource: subject.0.to_owned(),
            name: subject.1.to_owned(),
            namespace: namespace.to_owned(),
            ..Info::default()
        };
        self.decide(user, &info).allowed
    }
}

/// Whether an update only does what the collector does: then it grants nothing. A label already
/// might, as it may make another role aggregate this one.
fn changes_only_ownership(new: &Value, old: &Value) -> bool {
    let without = |object: &Value| {
        let mut object = object.clone();
        let metadata = waft_apimachinery::meta::metadata_mut(&mut object);
        for field in [
            "ownerReferences",
            "finalizers",
            "managedFields",
            "resourceVersion",
        ] {
            metadata.shift_remove(field);
        }
        object
    };
    without(new) == without(old)
}
