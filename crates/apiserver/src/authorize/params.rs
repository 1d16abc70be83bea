//! Nobody reads through a policy's parameters what they may not read themselves.

use serde_json::Value;
use waft_apimachinery::admission;
use waft_apimachinery::request::Info;
use waft_apimachinery::status::{FieldError, Status};

use crate::admission::POLICIES;
use crate::identity::User;
use crate::open::ApiServer;
use crate::store::Key;
use crate::write::Change;

impl ApiServer {
    /// Refuses policies whose parameters their writer may not get, and bindings that name some.
    pub(crate) fn check_params(
        &self,
        change: &Change<'_>,
        new: &Value,
        old: Option<&Value>,
        user: &User,
    ) -> Result<(), Status> {
        let resource = change.resource;
        if user.is_master() || resource.group != admission::GROUP {
            return Ok(());
        }
        let kept = |field: &str| old.is_some_and(|old| old["spec"][field] == new["spec"][field]);
        let refusal = match &*resource.plural {
            "validatingadmissionpolicies" if !kept("paramKind") => {
                let kind = &new["spec"]["paramKind"];
                self.refused_kind(kind, user)
                    .map(|why| ("spec.paramKind", why))
            }
            "validatingadmissionpolicybindings" if !kept("paramRef") || !kept("policyName") => self
                .refused_reference(&new["spec"], user)
                .map(|why| ("spec.paramRef", why)),
            _ => None,
        };
        let Some((field, why)) = refusal else {
            return Ok(());
        };
        let name = new["metadata"]["name"].as_str().unwrap_or_default();
        let error = FieldError::forbidden(field, why);
        Err(Status::invalid(
            &resource.group,
            &resource.kind,
            name,
            vec![error],
        ))
    }

    fn refused_kind(&self, kind: &Value, user: &User) -> Option<String> {
        if !kind.is_object() {
            return None;
        }
        let mut asked = self.about(kind);
        (asked.verb, asked.name, asked.namespace) = ("get".into(), "*".into(), "*".into());
        let text = |field: &str| kind[field].as_str().unwrap_or_default().to_owned();
        (!self.decide(user, &asked).allowed).then(|| {
            format!(
                "user {} must have \"get\" permission on all objects of the referenced paramKind (kind={}, apiVersion={})",
                shown(user),
                text("kind"),
                text("apiVersion")
            )
        })
    }

    fn refused_reference(&self, spec: &Value, user: &User) -> Option<String> {
        let reference = &spec["paramRef"];
        if !reference.is_object() {
            return None;
        }
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let policy = text(&spec["policyName"]);
        let stored = self.store.get(&Key::new(&POLICIES.into(), "", &policy));
        let known = stored.is_some();
        let kind = stored.map(|stored| stored.value()["spec"]["paramKind"].take());
        let mut asked = self.about(&kind.unwrap_or_default());
        asked.name = text(&reference["name"]);
        asked.namespace = text(&reference["namespace"]);
        let verb = if asked.name.is_empty() { "list" } else { "get" };
        asked.verb = verb.into();
        if self.decide(user, &asked).allowed {
            return None;
        }
        let user = shown(user);
        Some(match known {
            true => format!(
                "user {user} does not have \"{verb}\" permission on the object referenced by paramRef"
            ),
            false => format!(
                "unable to get policy {policy} to determine minimum required permissions and user {user} \
                 does not have \"{verb}\" permission for all groups, versions and resources"
            ),
        })
    }

    /// A question about a kind of parameters; about everything where it is not known.
    fn about(&self, kind: &Value) -> Info {
        let text = |field: &str| kind[field].as_str().unwrap_or_default();
        let found = self
            .registry()
            .of_kind(text("apiVersion"), text("kind"))
            .cloned();
        let any = || "*".to_owned();
        Info {
            resource_request: true,
            group: found.as_ref().map_or_else(any, |found| found.group.clone()),
            version: found
                .as_ref()
                .map_or_else(any, |found| found.version.clone()),
            resource: found
                .as_ref()
                .map_or_else(any, |found| found.plural.clone()),
            ..Info::default()
        }
    }
}

/// A user as the real server's messages print it.
fn shown(user: &User) -> String {
    let extra: Vec<String> = user
        .extra
        .iter()
        .map(|(key, values)| format!("{key}:[{}]", values.join(" ")))
        .collect();
    format!(
        "&{{{} {} [{}] map[{}]}}",
        user.name,
        user.uid,
        user.groups.join(" "),
        extra.join(" ")
    )
}
