//! `x-kubernetes-validations`: rules compiled to CEL programs.

use std::sync::Arc;

use kube_cel::cel::Program;
use serde_json::Value;

use crate::status::{FieldError, FieldErrorKind};

/// One rule of one node.
#[derive(Clone)]
pub(crate) struct Rule {
    pub(super) program: Arc<Program>,
    pub(super) message_program: Option<Arc<Program>>,
    pub(super) text: String,
    pub(super) message: Option<String>,
    pub(super) reason: FieldErrorKind,
    /// Relative to the node, already in the form of an error's path; empty for the node itself.
    pub(super) field_path: String,
    pub(super) transition: bool,
    pub(super) optional_old_self: bool,
}

/// Compiles the rules of one schema node; `path` is the node's place in the CRD.
pub(super) fn compile(schema: &Value, path: &str) -> Result<Vec<Rule>, Vec<FieldError>> {
    let list = schema
        .get("x-kubernetes-validations")
        .and_then(Value::as_array);
    let (mut rules, mut errors) = (Vec::new(), Vec::new());
    for (index, rule) in list.into_iter().flatten().enumerate() {
        let dot = if path.is_empty() { "" } else { "." };
        let path = format!("{path}{dot}x-kubernetes-validations[{index}]");
        match compile_one(rule, &path) {
            Ok(rule) => rules.push(rule),
            Err(error) => errors.push(*error),
        }
    }
    if errors.is_empty() {
        Ok(rules)
    } else {
        Err(errors)
    }
}

fn compile_one(rule: &Value, path: &str) -> Result<Rule, Box<FieldError>> {
    let text = |key: &str| {
        rule.get(key)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
    };
    let Some(source) = text("rule").filter(|source| !source.trim().is_empty()) else {
        let field = format!("{path}.rule");
        return Err(Box::new(FieldError::required(
            field,
            "rule is not specified",
        )));
    };
    let program = program(source, &format!("{path}.rule"))?;
    let message_program = match text("messageExpression") {
        Some(source) => Some(Arc::new(self::program(
            source,
            &format!("{path}.messageExpression"),
        )?)),
        None => None,
    };
    let reason = match text("reason") {
        None | Some("FieldValueInvalid") => FieldErrorKind::Invalid,
        Some("FieldValueForbidden") => FieldErrorKind::Forbidden,
        Some("FieldValueRequired") => FieldErrorKind::Required,
        Some("FieldValueDuplicate") => FieldErrorKind::Duplicate,
        Some(other) => {
            let allowed = ["Duplicate", "Forbidden", "Invalid", "Required"]
                .map(|name| format!("FieldValue{name}"));
            let field = format!("{path}.reason");
            return Err(Box::new(FieldError::not_supported(
                field,
                &Value::from(other),
                &allowed,
            )));
        }
    };
    let transition = program.references().has_variable("oldSelf");
    Ok(Rule {
        program: Arc::new(program),
        message_program,
        text: source.trim().to_owned(),
        message: text("message").map(|message| message.trim().to_owned()),
        reason,
        field_path: field_path(text("fieldPath").unwrap_or_default()),
        transition,
        optional_old_self: rule
            .get("optionalOldSelf")
            .and_then(Value::as_bool)
            .unwrap_or(false),
    })
}

fn program(source: &str, field: &str) -> Result<Program, Box<FieldError>> {
    Program::compile(source).map_err(|error| {
        let detail = format!("compilation failed: {error}");
        Box::new(FieldError::invalid(field, &Value::from(source), detail))
    })
}

/// `.a['b.c'].d` as errors print it: `.a[b.c].d`.
fn field_path(path: &str) -> String {
    path.trim().replace("['", "[").replace("']", "]")
}
