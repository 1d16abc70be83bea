//! Fields that an apply would take from another manager.

use super::Operation;
use super::entries::Entry;
use super::field_set::FieldSet;
use crate::status::{Cause, Details, Reason, Status};

/// Conflicts by owner.
#[derive(Clone, Debug, Default)]
pub(super) struct Conflicts(Vec<(String, FieldSet)>);

impl Conflicts {
    pub(super) fn push(&mut self, owner: &Entry, fields: FieldSet) {
        let mut name = crate::status::quote(&owner.manager);
        if let Some(subresource) = &owner.subresource {
            name.push_str(&format!(
                " with subresource {}",
                crate::status::quote(subresource)
            ));
        }
        if owner.operation == Operation::Update {
            name.push_str(&format!(" using {}", owner.api_version));
        }
        self.0.push((name, fields));
        self.0.sort_by(|left, right| left.0.cmp(&right.0));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Without the fields that may be taken.
    pub(super) fn without(&self, allowed: &FieldSet) -> Self {
        let rest = self
            .0
            .iter()
            .map(|(owner, fields)| (owner.clone(), fields.difference(allowed)));
        Self(rest.filter(|(_, fields)| !fields.is_empty()).collect())
    }

    pub(super) fn into_status(self) -> Status {
        let mut causes = Vec::new();
        let mut lines = Vec::new();
        for (owner, fields) in &self.0 {
            lines.push(format!("conflicts with {owner}:"));
            for path in fields.paths() {
                lines.push(format!("- {path}"));
                causes.push(Cause {
                    reason: "FieldManagerConflict".to_owned(),
                    message: format!("conflict with {owner}"),
                    field: path,
                });
            }
        }
        let message = match causes.as_slice() {
            [only] => format!(
                "Apply failed with 1 conflict: {}: {}",
                only.message, only.field
            ),
            _ => format!(
                "Apply failed with {} conflicts: {}",
                causes.len(),
                lines.join("\n")
            ),
        };
        let mut status = Status::new(409, Some(Reason::Conflict), message);
        status.details = Some(Box::new(Details {
            causes,
            ..Details::default()
        }));
        status
    }
}
