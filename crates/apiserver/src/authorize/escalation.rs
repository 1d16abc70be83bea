//! Nobody grants what they don't have.

use serde_json::Value;
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
        let kept = |field: &str| old.is_some_and(|old| old[field] == new[field]);
        let namespace = change.namespace.unwrap_or_default();
        let role = &new["roleRef"];
        let (verb, subject, granted) = match &*resource.plural {
            "roles" | "clusterroles" if kept("rules") && kept("aggregationRule") => return Ok(()),
            "roles" | "clusterroles" => {
                let aggregates = !new["aggregationRule"].is_null();
                let name = new["metadata"]["name"].as_str().unwrap_or_default();
                let mut granted = new["rules"].as_array().cloned().unwrap_or_default();
                if aggregates {
                    // It may come to grant anything.
                    granted.push(
                        serde_json::json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}),
                    );
                }
                ("escalate", (&*resource.plural, name.to_owned()), granted)
            }
            "rolebindings" | "clusterrolebindings" if kept("roleRef") && kept("subjects") => {
                return Ok(());
            }
            "rolebindings" | "clusterrolebindings" => {
                let name = role["name"].as_str().unwrap_or_default();
                let plural = match role["kind"] == "Role" {
                    true => "roles",
                    false => "clusterroles",
                };
                let subject = (plural, name.to_owned());
                if self.may(user, "bind", namespace, &subject) {
                    return Ok(());
                }
                let granted = self
                    .granted()
                    .rules_of(role, namespace)
                    .map_err(|_| Status::not_found(GROUP, &resource.plural, name))?;
                ("bind", subject, granted.to_vec())
            }
            _ => return Ok(()),
        };
        if self.may(user, verb, namespace, &subject) {
            return Ok(());
        }
        let (held, errors) = self.granted().to(user, namespace);
        let missing: Vec<rules::Single> = granted
            .iter()
            .flat_map(rules::singles)
            .filter(|single| {
                let mut all = held.iter().flat_map(|grant| grant.rules.iter());
                !all.any(|rule| single.covered_by(rule))
            })
            .collect();
        if missing.is_empty() {
            return Ok(());
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
        let name = new["metadata"]["name"].as_str().unwrap_or_default();
        Err(Status::forbidden(
            &resource.group,
            &resource.plural,
            name,
            &why,
        ))
    }

    fn may(&self, user: &User, verb: &str, namespace: &str, subject: &(&str, String)) -> bool {
        let info = Info {
            verb: verb.to_owned(),
            resource_request: true,
            group: GROUP.to_owned(),
            version: "v1".to_owned(),
            resource: subject.0.to_owned(),
            name: subject.1.clone(),
            namespace: namespace.to_owned(),
            ..Info::default()
        };
        self.decide(user, &info).allowed
    }
}
