//! `matchConditions`: expressions that must all hold for a webhook or a policy to have a say.

use serde_json::Value;

use super::FailurePolicy;
use super::expression::{Expression, Facts, Scope};
use kube_cel::cel::Value as Cel;

/// The conditions of one webhook or policy.
#[derive(Debug)]
pub struct Conditions {
    expressions: Vec<Result<Expression, String>>,
    failure: FailurePolicy,
}

impl Conditions {
    /// Reads the field.
    pub fn read(conditions: &Value, failure: FailurePolicy) -> Conditions {
        let conditions = conditions.as_array().into_iter().flatten();
        Conditions {
            expressions: conditions
                .map(|condition| {
                    Expression::stored(condition["expression"].as_str().unwrap_or_default().trim())
                })
                .collect(),
            failure,
        }
    }

    /// Whether there is nothing to be judged.
    pub fn is_empty(&self) -> bool {
        self.expressions.is_empty()
    }

    /// Whether all hold. One that is false decides; else one that fails is dealt with as the
    /// failure policy says.
    pub fn hold(&self, facts: &Facts) -> Result<bool, String> {
        facts.enter(None, |scope| self.hold_within(scope))
    }

    pub(super) fn hold_within(&self, scope: &Scope<'_>) -> Result<bool, String> {
        let mut errors = Vec::new();
        for expression in &self.expressions {
            match expression {
                Err(error) => errors.push(error.clone()),
                Ok(expression) => match expression.run(scope) {
                    Ok(Cel::Bool(true)) => {}
                    Ok(_) => return Ok(false),
                    Err(error) => errors.push(error),
                },
            }
        }
        match (&errors[..], self.failure) {
            ([], _) => Ok(true),
            (_, FailurePolicy::Ignore) => Ok(false),
            ([error], FailurePolicy::Fail) => Err(error.clone()),
            (errors, FailurePolicy::Fail) => Err(format!("[{}]", errors.join(", "))),
        }
    }
}
