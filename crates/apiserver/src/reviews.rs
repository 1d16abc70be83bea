//! Questions about access and identity. They are answered and never stored.

use serde_json::{Value, json};
use waft_apimachinery::managed::{self, Manager, Operation};
use waft_apimachinery::meta;
use waft_apimachinery::registry::{Resource, builtin_kind, builtin_schema};
use waft_apimachinery::request::{Info, WriteOptions};
use waft_apimachinery::status::{FieldError, Status};

use crate::authorize::{Decision, rules};
use crate::identity::User;
use crate::open::ApiServer;
use crate::service::Text;
use crate::tokens::ISSUER;

impl ApiServer {
    /// Answers a review.
    pub(crate) fn review(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        mut body: Value,
        options: &WriteOptions,
        text: &Text,
    ) -> Result<Value, Status> {
        let user = &*text.user;
        resource.schema().prune(&mut body);
        self.track_question(&mut body, options, text, None);
        let spec = body["spec"].clone();
        let status = match resource.plural.as_str() {
            "selfsubjectreviews" => {
                let created = crate::write::now();
                meta::metadata_mut(&mut body).insert("creationTimestamp".into(), created.into());
                json!({"userInfo": user.to_json()})
            }
            "selfsubjectrulesreviews" => {
                // The real server leaves the question out of this answer.
                body["spec"] = json!({});
                body["metadata"] = json!({});
                self.rules_of(user, &spec)?
            }
            "selfsubjectaccessreviews" => self.judged(resource, &spec, user)?,
            "tokenreviews" => self.token_status(&spec)?,
            _ => {
                if let Some(namespace) = namespace
                    && spec["resourceAttributes"]["namespace"] != namespace
                {
                    let error = FieldError::invalid(
                        "spec.resourceAttributes.namespace",
                        &spec["resourceAttributes"]["namespace"],
                        format!("must match metadata.namespace: {namespace}"),
                    );
                    return Err(refused(resource, error));
                }
                self.judged(resource, &spec, &subject(resource, &spec)?)?
            }
        };
        meta::metadata_mut(&mut body);
        body["status"] = status;
        Ok(body)
    }

    /// Notes in an object that is only a question who asked it, as in one that is kept.
    pub(crate) fn track_question(
        &self,
        body: &mut Value,
        options: &WriteOptions,
        text: &Text,
        subresource: Option<&str>,
    ) {
        let api_version = body["apiVersion"].as_str().unwrap_or_default().to_owned();
        let kind = body["kind"].as_str().unwrap_or_default();
        let (group, version) = api_version.rsplit_once('/').unwrap_or(("", &api_version));
        let Some(component) = builtin_kind(group, version, kind) else {
            return;
        };
        let manager = Manager {
            name: options
                .field_manager
                .clone()
                .unwrap_or_else(|| text.agent.clone()),
            operation: Operation::Update,
            api_version: api_version.clone(),
            subresource: subresource.map(str::to_owned),
            time: crate::write::now(),
        };
        meta::metadata_mut(body).shift_remove("managedFields");
        managed::track_update(None, body, &builtin_schema(component), &manager);
    }

    fn judged(&self, resource: &Resource, spec: &Value, user: &User) -> Result<Value, Status> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (of_resource, of_path) = (&spec["resourceAttributes"], &spec["nonResourceAttributes"]);
        let info = match (of_resource.is_object(), of_path.is_object()) {
            (true, false) => Info {
                verb: text(&of_resource["verb"]),
                resource_request: true,
                group: text(&of_resource["group"]),
                version: text(&of_resource["version"]),
                resource: text(&of_resource["resource"]),
                subresource: text(&of_resource["subresource"]),
                namespace: text(&of_resource["namespace"]),
                name: text(&of_resource["name"]),
                path: String::new(),
            },
            (false, true) => Info {
                verb: text(&of_path["verb"]),
                path: text(&of_path["path"]),
                ..Info::default()
            },
            (both, _) => {
                let (field, which) = match both {
                    true => (
                        "spec.nonResourceAttributes",
                        "cannot be specified in combination with resourceAttributes",
                    ),
                    false => (
                        "spec.resourceAttributes",
                        "exactly one of nonResourceAttributes or resourceAttributes must be specified",
                    ),
                };
                let value = if both { of_path } else { &Value::Null };
                return Err(refused(resource, FieldError::invalid(field, value, which)));
            }
        };
        let Decision { allowed, reason } = self.decide(user, &info);
        let mut status = json!({"allowed": allowed});
        if !reason.is_empty() {
            status["reason"] = reason.into();
        }
        Ok(status)
    }

    fn rules_of(&self, user: &User, spec: &Value) -> Result<Value, Status> {
        let namespace = spec["namespace"].as_str().unwrap_or_default();
        if namespace.is_empty() {
            return Err(Status::bad_request("no namespace on request"));
        }
        let (grants, errors) = self.granted().to(user, namespace);
        let granted = |resources| -> Vec<Value> {
            let rules = grants.iter().flat_map(|grant| grant.rules.iter());
            let rules = rules.filter_map(|rule| rules::reviewed(rule, resources));
            rules.collect()
        };
        let mut status = json!({
            "resourceRules": granted(true),
            "nonResourceRules": granted(false),
            "incomplete": !errors.is_empty(),
        });
        if !errors.is_empty() {
            status["evaluationError"] = errors.join(", ").into();
        }
        Ok(status)
    }

    fn token_status(&self, spec: &Value) -> Result<Value, Status> {
        let token = spec["token"].as_str().unwrap_or_default();
        if token.is_empty() {
            return Err(Status::bad_request(
                "token is required for TokenReview in authentication",
            ));
        }
        let audiences = audiences(spec);
        let Some(user) = self.user_of_token(token, &audiences) else {
            return Ok(json!({"user": {}, "error": "invalid bearer token"}));
        };
        Ok(json!({"authenticated": true, "user": user.to_json(), "audiences": audiences}))
    }
}

/// The audiences that a request names, or the server's own.
pub(crate) fn audiences(spec: &Value) -> Vec<String> {
    let given = spec["audiences"].as_array().into_iter().flatten();
    let given: Vec<String> = given
        .filter_map(|audience| audience.as_str().map(str::to_owned))
        .collect();
    match given.is_empty() {
        true => vec![ISSUER.to_owned()],
        false => given,
    }
}

/// Whom a `SubjectAccessReview` is about.
fn subject(resource: &Resource, spec: &Value) -> Result<User, Status> {
    let texts = |value: &Value| -> Vec<String> {
        let items = value.as_array().into_iter().flatten();
        items
            .filter_map(|item| item.as_str().map(str::to_owned))
            .collect()
    };
    let user = User {
        name: spec["user"].as_str().unwrap_or_default().to_owned(),
        uid: spec["uid"].as_str().unwrap_or_default().to_owned(),
        groups: texts(&spec["groups"]),
        ..User::default()
    };
    if user.name.is_empty() && user.groups.is_empty() {
        let why = "at least one of user or group must be specified";
        return Err(refused(
            resource,
            FieldError::invalid("spec.user", &spec["user"], why),
        ));
    }
    Ok(user)
}

fn refused(resource: &Resource, error: FieldError) -> Status {
    Status::invalid(&resource.group, &resource.kind, "", vec![error])
}
