//! The API's one error form: `Status`, with the messages a real server writes.
//!
//! Everything that refuses a request ends here. Which HTTP answer carries it is the server's
//! business; the code, the reason and the JSON body are decided in this module.

mod field_error;
pub(crate) mod go;

pub(crate) use field_error::quote;
pub use field_error::{FieldError, FieldErrorKind};

use serde_json::{Map, Value, json};

/// Why a request failed, as a machine reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(
    missing_docs,
    reason = "the names are the API's own and say all there is"
)]
pub enum Reason {
    AlreadyExists,
    BadRequest,
    Conflict,
    Expired,
    Forbidden,
    Gone,
    InternalError,
    Invalid,
    MethodNotAllowed,
    NotAcceptable,
    NotFound,
    RequestEntityTooLarge,
    ServiceUnavailable,
    Timeout,
    TooManyRequests,
    Unauthorized,
    UnsupportedMediaType,
}

/// One cause among several, named by field where it has one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cause {
    /// CamelCase, e.g. `FieldValueInvalid`.
    pub reason: String,
    /// What is wrong, without the field's name.
    pub message: String,
    /// Dotted path; empty where no field is to blame.
    pub field: String,
}

/// What the failed request was about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Details {
    /// The object's name.
    pub name: Option<String>,
    /// The resource's group; empty for the core group.
    pub group: String,
    /// The plural for most errors, the kind for `Invalid`.
    pub kind: String,
    /// The object's uid, where it is the reason.
    pub uid: Option<String>,
    /// The single causes.
    pub causes: Vec<Cause>,
    /// Seconds after which trying again makes sense.
    pub retry_after_seconds: Option<u32>,
}

/// A failed request, as Kubernetes reports it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Status {
    /// The HTTP status code.
    pub code: u16,
    /// Absent where the real server gives none.
    pub reason: Option<Reason>,
    /// A reason that a webhook gave, which may be any text; then there is no other.
    pub given_reason: Option<Box<str>>,
    /// One sentence for people.
    pub message: String,
    /// What it was about; boxed, so that results that carry a status stay small.
    pub details: Option<Box<Details>>,
}

impl Reason {
    /// The name as it stands in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AlreadyExists => "AlreadyExists",
            Self::BadRequest => "BadRequest",
            Self::Conflict => "Conflict",
            Self::Expired => "Expired",
            Self::Forbidden => "Forbidden",
            Self::Gone => "Gone",
            Self::InternalError => "InternalError",
            Self::Invalid => "Invalid",
            Self::MethodNotAllowed => "MethodNotAllowed",
            Self::NotAcceptable => "NotAcceptable",
            Self::NotFound => "NotFound",
            Self::RequestEntityTooLarge => "RequestEntityTooLarge",
            Self::ServiceUnavailable => "ServiceUnavailable",
            Self::Timeout => "Timeout",
            Self::TooManyRequests => "TooManyRequests",
            Self::Unauthorized => "Unauthorized",
            Self::UnsupportedMediaType => "UnsupportedMediaType",
        }
    }
}

impl Details {
    fn object(group: &str, kind: &str, name: &str) -> Self {
        Self {
            name: (!name.is_empty()).then(|| name.to_owned()),
            group: group.to_owned(),
            kind: kind.to_owned(),
            ..Self::default()
        }
    }

    fn to_json(&self) -> Value {
        let mut details = Map::new();
        if let Some(name) = &self.name {
            details.insert("name".into(), json!(name));
        }
        if !self.group.is_empty() {
            details.insert("group".into(), json!(self.group));
        }
        if !self.kind.is_empty() {
            details.insert("kind".into(), json!(self.kind));
        }
        if let Some(uid) = &self.uid {
            details.insert("uid".into(), json!(uid));
        }
        if !self.causes.is_empty() {
            let causes = self.causes.iter().map(Cause::to_json).collect();
            details.insert("causes".into(), Value::Array(causes));
        }
        if let Some(seconds) = self.retry_after_seconds {
            details.insert("retryAfterSeconds".into(), json!(seconds));
        }
        Value::Object(details)
    }
}

impl Cause {
    fn to_json(&self) -> Value {
        let mut cause = Map::new();
        for (key, text) in [
            ("reason", &self.reason),
            ("message", &self.message),
            ("field", &self.field),
        ] {
            if !text.is_empty() {
                cause.insert(key.into(), json!(text));
            }
        }
        Value::Object(cause)
    }
}

/// `plural.group`, or the plural alone in the core group.
fn qualified(group: &str, name: &str) -> String {
    if group.is_empty() {
        name.to_owned()
    } else {
        format!("{name}.{group}")
    }
}

impl Status {
    /// A status with nothing but a code, a reason and a message.
    pub fn new(code: u16, reason: Option<Reason>, message: impl Into<String>) -> Self {
        Self {
            code,
            reason,
            given_reason: None,
            message: message.into(),
            details: None,
        }
    }

    /// What a webhook said, with its own code, reason and details.
    pub(crate) fn of_webhook(
        code: u16,
        reason: Option<&str>,
        message: String,
        details: &Value,
    ) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut status = Self::new(code, None, message);
        status.given_reason = reason.map(Box::from);
        if details.is_object() {
            let causes = details["causes"].as_array().into_iter().flatten();
            let causes = causes.map(|cause| Cause {
                reason: text(&cause["reason"]),
                message: text(&cause["message"]),
                field: text(&cause["field"]),
            });
            status.details = Some(Box::new(Details {
                name: details["name"].as_str().map(str::to_owned),
                group: text(&details["group"]),
                kind: text(&details["kind"]),
                uid: details["uid"].as_str().map(str::to_owned),
                causes: causes.collect(),
                retry_after_seconds: details["retryAfterSeconds"]
                    .as_u64()
                    .and_then(|seconds| u32::try_from(seconds).ok()),
            }));
        }
        status
    }

    fn about(mut self, details: Details) -> Self {
        self.details = Some(Box::new(details));
        self
    }

    /// No object of that name.
    pub fn not_found(group: &str, plural: &str, name: &str) -> Self {
        let message = format!("{} {} not found", qualified(group, plural), quote(name));
        Self::new(404, Some(Reason::NotFound), message).about(Details::object(group, plural, name))
    }

    /// No such path or resource at all.
    pub fn unknown_resource() -> Self {
        let message = "the server could not find the requested resource";
        Self::new(404, Some(Reason::NotFound), message).about(Details::default())
    }

    /// An object of that name is there.
    pub fn already_exists(group: &str, plural: &str, name: &str) -> Self {
        let message = format!(
            "{} {} already exists",
            qualified(group, plural),
            quote(name)
        );
        Self::new(409, Some(Reason::AlreadyExists), message)
            .about(Details::object(group, plural, name))
    }

    /// An object of that name is there and on its way out.
    pub fn object_is_being_deleted(group: &str, plural: &str, name: &str) -> Self {
        let mut status = Self::already_exists(group, plural, name);
        status.message.insert_str(0, "object is being deleted: ");
        status
    }

    /// The write and the stored object contradict each other.
    pub fn conflict(group: &str, plural: &str, name: &str, why: &str) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on {} {}: {why}",
            qualified(group, plural),
            quote(name)
        );
        Self::new(409, Some(Reason::Conflict), message).about(Details::object(group, plural, name))
    }

    /// The write was made against an older version than the stored one.
    pub fn modified(group: &str, plural: &str, name: &str) -> Self {
        let why = "the object has been modified; please apply your changes to the latest version \
                   and try again";
        Self::conflict(group, plural, name, why)
    }

    /// The object breaks rules, each with its field.
    pub fn invalid(group: &str, kind: &str, name: &str, errors: Vec<FieldError>) -> Self {
        let mut lines: Vec<String> = Vec::new();
        for error in &errors {
            let line = error.to_string();
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
        let text = match lines.as_slice() {
            [] => "<nil>".to_owned(),
            [line] => line.clone(),
            _ => format!("[{}]", lines.join(", ")),
        };
        let message = format!(
            "{} {} is invalid: {text}",
            qualified(group, kind),
            quote(name)
        );
        let mut details = Details::object(group, kind, name);
        details.causes = errors
            .iter()
            .map(|error| Cause {
                reason: error.kind.reason().to_owned(),
                message: error.body(),
                field: error.field.clone(),
            })
            .collect();
        Self::new(422, Some(Reason::Invalid), message).about(details)
    }

    /// The request can't be understood.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, Some(Reason::BadRequest), message)
    }

    /// Nobody the server knows.
    pub fn unauthorized() -> Self {
        Self::new(401, Some(Reason::Unauthorized), "Unauthorized")
    }

    /// Known, but not allowed; `name` may be empty.
    pub fn forbidden(group: &str, plural: &str, name: &str, why: &str) -> Self {
        let resource = qualified(group, plural);
        let message = if name.is_empty() {
            format!("{resource} is forbidden: {why}")
        } else {
            format!("{resource} {} is forbidden: {why}", quote(name))
        };
        Self::new(403, Some(Reason::Forbidden), message).about(Details::object(group, plural, name))
    }

    /// The resource has no such verb.
    pub fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self::new(405, Some(Reason::MethodNotAllowed), message).about(Details::default())
    }

    /// The form of a patch is unknown; the real server says no more than this.
    pub fn unsupported_patch() -> Self {
        let reason = Some(Reason::UnsupportedMediaType);
        Self::new(415, reason, "415: Unsupported Media Type").about(Details::default())
    }

    /// A body of a type the resource doesn't read.
    pub fn unsupported_media_type(accepted: &[&str]) -> Self {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {}",
            accepted.join(", ")
        );
        Self::new(415, Some(Reason::UnsupportedMediaType), message)
    }

    /// No type the client takes can be written.
    pub fn not_acceptable(accepted: &[&str]) -> Self {
        let message = format!(
            "only the following media types are accepted: {}",
            accepted.join(", ")
        );
        Self::new(406, Some(Reason::NotAcceptable), message)
    }

    /// None of the types the client takes is known here.
    pub fn no_such_representation(known: &[&str], watchable: bool) -> Self {
        let mut all = known.join(", ");
        if watchable {
            // There are no pieces of YAML.
            for media in known.iter().filter(|media| !media.ends_with("/yaml")) {
                all += &format!(", {media};stream=watch");
            }
        }
        let message = format!("406: Not Acceptable\n\nAvailable representations: {all}");
        Self::new(406, Some(Reason::NotAcceptable), message).about(Details::default())
    }

    /// A verb that a custom resource, or a part of it, does not have.
    pub fn verb_not_supported(group: &str, plural: &str, verb: &str) -> Self {
        let message = format!(
            "{verb} is not supported on resources of kind {}",
            quote(&qualified(group, plural))
        );
        Self::new(405, Some(Reason::MethodNotAllowed), message)
            .about(Details::object(group, plural, ""))
    }

    /// The asked-for version is no longer kept.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(410, Some(Reason::Expired), message)
    }

    /// The thing asked for won't come back.
    pub fn gone(message: impl Into<String>) -> Self {
        Self::new(410, Some(Reason::Gone), message)
    }

    /// The body, or what it asks for, is too large.
    pub fn too_large(message: impl std::fmt::Display) -> Self {
        let message = format!("Request entity too large: {message}");
        Self::new(413, Some(Reason::RequestEntityTooLarge), message)
    }

    /// The server's own failure.
    pub fn internal(message: impl std::fmt::Display) -> Self {
        let cause = Cause {
            message: message.to_string(),
            ..Cause::default()
        };
        let message = format!("Internal error occurred: {message}");
        Self::new(500, Some(Reason::InternalError), message).about(Details {
            causes: vec![cause],
            ..Details::default()
        })
    }

    /// Not done in time; trying again may help.
    pub fn timeout(message: impl std::fmt::Display, retry_after_seconds: Option<u32>) -> Self {
        let message = format!("Timeout: {message}");
        Self::new(504, Some(Reason::Timeout), message).about(Details {
            retry_after_seconds,
            ..Details::default()
        })
    }

    /// A read asked for a version that the server hasn't reached.
    pub fn resource_version_too_large(asked: u64, current: u64) -> Self {
        let text = format!("Too large resource version: {asked}, current: {current}");
        let mut status = Self::timeout(text, Some(1));
        if let Some(details) = &mut status.details {
            details.causes.push(Cause {
                reason: "ResourceVersionTooLarge".into(),
                message: "Too large resource version".into(),
                field: String::new(),
            });
        }
        status
    }

    /// Too much at once.
    pub fn too_many_requests(message: impl Into<String>, retry_after_seconds: u32) -> Self {
        Self::new(429, Some(Reason::TooManyRequests), message).about(Details {
            retry_after_seconds: Some(retry_after_seconds),
            ..Details::default()
        })
    }

    /// Not serving at the moment.
    pub fn service_unavailable(message: impl Into<String>) -> Self {
        Self::new(503, Some(Reason::ServiceUnavailable), message)
    }

    /// The body of the answer.
    pub fn to_json(&self) -> Value {
        let mut status = Map::new();
        status.insert("kind".into(), json!("Status"));
        status.insert("apiVersion".into(), json!("v1"));
        status.insert("metadata".into(), json!({}));
        status.insert("status".into(), json!("Failure"));
        status.insert("message".into(), json!(self.message));
        let reason = self.reason.map(Reason::as_str);
        if let Some(reason) = self.given_reason.as_deref().or(reason) {
            status.insert("reason".into(), json!(reason));
        }
        if let Some(details) = &self.details {
            status.insert("details".into(), details.to_json());
        }
        status.insert("code".into(), json!(self.code));
        Value::Object(status)
    }
}

#[cfg(test)]
mod tests;
