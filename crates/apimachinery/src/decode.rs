//! Bodies: from bytes to a value, refused in the sentences that the real server's decoder has.
//!
//! Reading is serde's; what stands here finds fields that are there twice, and words what is wrong
//! with a body that can't be read or doesn't fit its kind, because clients show these sentences.

mod object;
mod syntax;
mod twice;
mod typed;

#[cfg(test)]
mod tests;

pub use object::{Target, Unfit};
pub use syntax::syntax_error;
pub(crate) use typed::value_name;
pub use typed::{Reader, type_error};

use serde_json::Value;

use crate::status::{Reason, Status};

/// A body that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Body {
    /// What stands in it; of fields that are there twice, the last.
    pub value: Value,
    /// Fields that are there twice, as `duplicate field "metadata.name"`.
    pub duplicates: Vec<String>,
}

impl Body {
    /// A body that cannot have fields twice.
    pub fn plain(value: Value) -> Body {
        Body {
            value,
            duplicates: Vec::new(),
        }
    }
}

/// Reads JSON; the error is the real server's sentence.
pub fn json(bytes: &[u8]) -> Result<Body, String> {
    twice::read(bytes).map_err(|error| syntax_error(bytes).unwrap_or_else(|| error.to_string()))
}

/// Reads YAML, which includes JSON.
pub fn yaml(bytes: &[u8]) -> Result<Value, Status> {
    if let Ok(value) = serde_json::from_slice(bytes) {
        return Ok(value);
    }
    let text =
        std::str::from_utf8(bytes).map_err(|_| Status::bad_request("the body is not UTF-8"))?;
    crate::yaml::parse(text)
        .map_err(|error| Status::bad_request(format!("error converting YAML to JSON: {error}")))
}

/// The refusal of a body that is no object of a kind at all: what is wrong, and how it begins.
pub fn unrecognized(kind: &str, why: &str, bytes: &[u8]) -> Status {
    Status::bad_request(format!(
        "the object provided is unrecognized (must be of type {kind}): {why} ({})",
        summary(bytes)
    ))
}

/// The refusal of a body that says what it is and can't be read as what is wanted.
pub fn unfit(kind: &str, version: &str, wanted: &str, why: &str) -> Status {
    Status::new(
        400,
        Some(Reason::BadRequest),
        format!("{kind} in version {version:?} cannot be handled as a {wanted}: {why}"),
    )
}

/// A value as the real server prints maps, such as `map[spec:map[replicas:x]]`.
pub fn shown(value: &Value) -> String {
    crate::status::go::format(value)
}

/// The beginning of a body, as text if it looks like JSON, as hexadecimal digits otherwise.
fn summary(bytes: &[u8]) -> String {
    const SHOWN: usize = 30;
    let (head, more) = match bytes.get(..SHOWN) {
        Some(head) if bytes.len() > SHOWN => (head, " ..."),
        _ => (bytes, ""),
    };
    match bytes.first() {
        None => "<empty>".to_owned(),
        Some(b'{') => format!("{}{more}", String::from_utf8_lossy(head)),
        Some(_) => {
            let digits: String = head.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{digits}{more}")
        }
    }
}
