//! Errors that say what to do next.

use waft_local::{ManifestError, UpError};

use crate::connection::Refused;

/// An error with advice, shown on a line of its own that begins with `hint:`.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Advice {
    message: String,
    hint: String,
}

impl Advice {
    /// An error of some words, and what to do about it.
    pub(crate) fn error(message: impl Into<String>, hint: impl Into<String>) -> anyhow::Error {
        let (message, hint) = (message.into(), hint.into());
        Self { message, hint }.into()
    }
}

/// The advice in an error, from the outermost of its causes that has some.
pub(crate) fn hint(error: &anyhow::Error) -> Option<String> {
    error.chain().find_map(|cause| {
        if let Some(advice) = cause.downcast_ref::<Advice>() {
            return Some(advice.hint.clone());
        }
        if let Some(error) = cause.downcast_ref::<UpError>() {
            return error.hint();
        }
        if let Some(error) = cause.downcast_ref::<Refused>() {
            return error.hint().map(Into::into);
        }
        cause.downcast_ref::<ManifestError>()?.hint()
    })
}

/// An error in one line: each cause that says something new, after a colon.
pub(crate) fn message(error: &anyhow::Error) -> String {
    let mut message = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if message.contains(&cause) {
            continue;
        }
        if !message.is_empty() {
            message.push_str(": ");
        }
        message.push_str(cause.trim_end_matches('.'));
    }
    message
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn advice_is_found_below_context() {
        let error = Advice::error("no port.", "choose another");
        let error = Err::<(), _>(error).context("up").unwrap_err();
        assert_eq!(message(&error), "up: no port");
        assert_eq!(hint(&error).as_deref(), Some("choose another"));
        let plain = anyhow::anyhow!("inner").context("outer: inner");
        assert_eq!(message(&plain), "outer: inner");
        assert_eq!(hint(&plain), None);
    }
}
