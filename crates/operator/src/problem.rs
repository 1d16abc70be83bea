//! Why an object can't be carried out as it stands.

use waft_api::Reason;

use crate::condition::Verdict;

/// A reason for a condition, and what to do about it.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Problem {
    /// For the condition.
    pub reason: Reason,
    /// For people: names the field or object concerned and says what to do.
    pub message: String,
}

impl Problem {
    /// A problem of a given reason.
    pub(crate) fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
        }
    }

    /// A field holds a value that is refused.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(Reason::InvalidSpec, message)
    }

    /// As the verdict on the aspect that it spoils.
    pub(crate) fn verdict(&self) -> Verdict {
        Verdict::no(self.reason, self.message.clone())
    }
}
