//! Webhooks: reading their configurations, what they are sent, and what their answers mean.

use std::time::Duration;

use base64::Engine as _;
use serde_json::{Value, json};

use super::{Attributes, Conditions, Criteria, FailurePolicy};
use crate::patch;
use crate::registry::Resource;
use crate::status::Status;

/// One webhook of a configuration.
#[derive(Debug)]
pub struct Webhook {
    /// The configuration that it stands in.
    pub configuration: String,
    /// Its own name, in messages.
    pub name: String,
    /// Whether it may change what is written.
    pub mutating: bool,
    /// Which requests it is asked about.
    pub criteria: Criteria,
    /// What else must hold for that.
    pub conditions: Conditions,
    /// What happens when it can't be asked.
    pub failure: FailurePolicy,
    /// How long it may take.
    pub timeout: Duration,
    /// Where it is.
    pub client: Client,
    /// Asked again when another has changed the object after it.
    pub reinvoked: bool,
    has_side_effects: bool,
    versions: Vec<String>,
}

/// Where a webhook is, and whom to trust there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// How it is reached.
    pub target: Target,
    /// PEM certificates; empty: those of the system.
    pub authorities: Vec<u8>,
}

/// How a webhook is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// At this URL.
    Url(String),
    /// Behind a Service of the cluster.
    Service {
        /// The Service's namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// The path, with a slash in front.
        path: String,
        /// The port of the Service.
        port: u16,
    },
}

/// What a webhook is sent.
#[derive(Debug)]
pub struct Review {
    /// The body.
    pub body: Value,
    uid: String,
    version: String,
}

/// What a webhook wants.
#[derive(Debug, Default, PartialEq)]
pub struct Verdict {
    /// For the client's eyes.
    pub warnings: Vec<String>,
    /// The refusal; none if the request may go on.
    pub refusal: Option<Status>,
    /// JSON patch operations; null without any.
    pub patch: Value,
}

impl Webhook {
    /// The webhooks of a configuration, in their order.
    pub fn read_all(configuration: &Value, mutating: bool) -> Vec<Webhook> {
        let name = configuration["metadata"]["name"]
            .as_str()
            .unwrap_or_default();
        let webhooks = configuration["webhooks"].as_array().into_iter().flatten();
        webhooks
            .map(|webhook| Webhook::read(name, webhook, mutating))
            .collect()
    }

    fn read(configuration: &str, webhook: &Value, mutating: bool) -> Webhook {
        let failure = FailurePolicy::read(&webhook["failurePolicy"]);
        let versions = webhook["admissionReviewVersions"].as_array();
        Webhook {
            configuration: configuration.to_owned(),
            name: webhook["name"].as_str().unwrap_or_default().to_owned(),
            mutating,
            criteria: Criteria::of_webhook(webhook),
            conditions: Conditions::read(&webhook["matchConditions"], failure),
            failure,
            timeout: Duration::from_secs(webhook["timeoutSeconds"].as_u64().unwrap_or(10)),
            client: Client::read(&webhook["clientConfig"]),
            reinvoked: webhook["reinvocationPolicy"] == "IfNeeded",
            has_side_effects: !matches!(
                webhook["sideEffects"].as_str(),
                Some("None" | "NoneOnDryRun")
            ),
            versions: versions
                .into_iter()
                .flatten()
                .filter_map(|version| version.as_str().map(str::to_owned))
                .collect(),
        }
    }

    /// The review to send, with the request's objects in the version in which the webhook wants
    /// them; refused where nothing may be done for a dry run.
    pub fn review(
        &self,
        request: &Attributes,
        seen_as: &Resource,
        uid: &str,
    ) -> Result<Result<Review, String>, Status> {
        if request.dry_run && self.has_side_effects {
            return Err(Status::bad_request(format!(
                "admission webhook {:?} does not support dry run",
                self.name
            )));
        }
        let known = |version: &&String| matches!(&***version, "v1" | "v1beta1");
        let Some(version) = self.versions.iter().find(known) else {
            return Ok(Err(
                "could not create admission objects: webhook does not accept known AdmissionReview \
                 versions (v1, v1beta1)"
                    .to_owned(),
            ));
        };
        let mut body = serde_json::Map::new();
        body.insert("uid".into(), uid.into());
        body.extend(request.request(seen_as));
        body.insert("object".into(), request.object.clone());
        body.insert("oldObject".into(), request.old_object.clone());
        Ok(Ok(Review {
            body: json!({
                "kind": "AdmissionReview",
                "apiVersion": format!("admission.k8s.io/{version}"),
                "request": body,
            }),
            uid: uid.to_owned(),
            version: version.clone(),
        }))
    }

    /// What the answer to a review says; or why it says nothing.
    pub fn verdict(&self, review: &Review, answer: &Value) -> Result<Verdict, String> {
        let response = &answer["response"];
        if !response.is_object() {
            return Err("webhook response was absent".to_owned());
        }
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let patch = text(&response["patch"]);
        let kind = response["patchType"].as_str();
        if review.version == "v1" {
            self.check_form(review, answer, &patch, kind)?;
        }
        let warnings = response["warnings"].as_array().into_iter().flatten();
        let mut verdict = Verdict {
            warnings: warnings.map(text).collect(),
            ..Verdict::default()
        };
        if response["allowed"] != true {
            verdict.refusal = Some(self.refusal(&response["status"]));
            return Ok(verdict);
        }
        if patch.is_empty() || !self.mutating {
            return Ok(verdict);
        }
        if let Some(kind) = kind.filter(|kind| *kind != "JSONPatch") {
            return Err(format!("unsupported patch type {kind:?}"));
        }
        let decoded = base64::engine::general_purpose::STANDARD.decode(patch);
        let operations: Value = decoded
            .map_err(|error| error.to_string())
            .and_then(|bytes| serde_json::from_slice(&bytes).map_err(|error| error.to_string()))
            .map_err(|error| format!("received undecodable patch in webhook response: {error}"))?;
        if !operations.is_array() {
            return Err(
                "received undecodable patch in webhook response: it is not a list".to_owned(),
            );
        }
        verdict.patch = operations;
        Ok(verdict)
    }

    fn check_form(
        &self,
        review: &Review,
        answer: &Value,
        patch: &str,
        kind: Option<&str>,
    ) -> Result<(), String> {
        let invalid = |why: String| Err(format!("received invalid webhook response: {why}"));
        let uid = answer["response"]["uid"].as_str().unwrap_or_default();
        if uid != review.uid {
            return invalid(format!(
                "expected response.uid={:?}, got {uid:?}",
                review.uid
            ));
        }
        let wanted = ["admission.k8s.io/v1", "AdmissionReview"];
        let given = ["apiVersion", "kind"].map(|key| answer[key].as_str().unwrap_or_default());
        if given != wanted {
            let said = |[version, kind]: [&str; 2]| format!("{version}, Kind={kind}");
            return invalid(format!(
                "expected webhook response of {}, got {}",
                said(wanted),
                said(given)
            ));
        }
        let why = match (self.mutating, patch.is_empty(), kind) {
            (true, false, None) => "webhook returned response.patch but not response.patchType",
            (true, true, Some(_)) => "webhook returned response.patchType but not response.patch",
            (true, false, Some("")) => "webhook returned invalid response.patchType of \"\"",
            (false, false, _) => "validating webhook may not return response.patch",
            (false, true, Some(_)) => "validating webhook may not return response.patchType",
            _ => return Ok(()),
        };
        invalid(why.to_owned())
    }

    /// The refusal that a webhook gave, with its own code and reason.
    fn refusal(&self, status: &Value) -> Status {
        let by = format!("admission webhook {:?} denied the request", self.name);
        let text = |field: &str| status[field].as_str().filter(|text| !text.is_empty());
        let message = match text("message").or(text("reason")) {
            Some(why) => format!("{by}: {why}"),
            None => format!("{by} without explanation"),
        };
        let code = status["code"]
            .as_u64()
            .and_then(|code| u16::try_from(code).ok());
        let code = code.filter(|code| (400..600).contains(code)).unwrap_or(400);
        Status::of_webhook(code, text("reason"), message, &status["details"])
    }

    /// The object as the webhook's patch leaves it.
    pub fn patched(&self, object: &Value, operations: &Value) -> Result<Value, Status> {
        if !object.is_object() {
            return Err(Status::internal(format!(
                "admission webhook {:?} attempted to modify the object, which is not supported for this operation",
                self.name
            )));
        }
        let patched = patch::json_patch(object, operations)
            .map_err(|status| Status::internal(status.message))?;
        let same = ["apiVersion", "kind"]
            .into_iter()
            .all(|field| patched[field] == object[field]);
        match patched.is_object() && same && patched["metadata"].is_object() {
            true => Ok(patched),
            false => Err(Status::internal(format!(
                "admission webhook {:?} made of the object something that is no {}",
                self.name, object["kind"]
            ))),
        }
    }
}

impl Client {
    fn read(value: &Value) -> Client {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let service = &value["service"];
        let target = match service.is_object() {
            true => {
                let path = text(&service["path"]);
                Target::Service {
                    namespace: text(&service["namespace"]),
                    name: text(&service["name"]),
                    path: match path.starts_with('/') {
                        true => path,
                        false => format!("/{path}"),
                    },
                    port: service["port"]
                        .as_u64()
                        .and_then(|port| u16::try_from(port).ok())
                        .unwrap_or(443),
                }
            }
            false => Target::Url(text(&value["url"])),
        };
        let bundle = value["caBundle"].as_str().unwrap_or_default();
        let engine = base64::engine::general_purpose::STANDARD;
        Client {
            target,
            // What isn't base64 was refused when it was stored.
            authorities: engine.decode(bundle).unwrap_or_default(),
        }
    }
}

/// What is written when a webhook could not be asked.
pub fn uncallable(webhook: &Webhook, why: &str) -> Status {
    Status::internal(format!("failed calling webhook {:?}: {why}", webhook.name))
}
