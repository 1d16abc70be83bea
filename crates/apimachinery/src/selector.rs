//! Label and field selectors: the query-string form and the object form.
//!
//! Which fields a kind may be selected by is the caller's decision; here a field is a dotted path.

mod field;
mod label;

pub use field::{FieldRequirement, FieldSelector, field_text};
pub use label::{LabelOperator, LabelRequirement, LabelSelector, labels_text, selector_text};

/// A selector that doesn't parse; the text says where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SelectorError(pub String);

#[cfg(test)]
mod tests;
