//! `x-kubernetes-validations`: rules compiled to CEL programs.

mod scope;

use std::sync::Arc;

use serde_json::Value;

use super::cel::Program;
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
    let program = program(rule, source, "c", &format!("{path}.rule"))?;
    check_texts(rule, path)?;
    let message_program = match text("messageExpression") {
        Some(source) => {
            let field = format!("{path}.messageExpression");
            Some(Arc::new(self::program(
                rule,
                source,
                "messageExpression c",
                &field,
            )?))
        }
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

/// Compiles one expression of a rule; `what` opens the message where it doesn't compile.
fn program(
    rule: &Value,
    source: &str,
    what: &str,
    field: &str,
) -> Result<Program, Box<FieldError>> {
    let refuse = |why: String| {
        let detail = format!("{what}ompilation failed: {why}");
        Box::new(FieldError::invalid(field, &as_shown(rule), detail))
    };
    let program = Program::compile(source)
        .map_err(|error| refuse(error.to_string().replace("\n| ", "\n | ")))?;
    if let Some(name) = scope::undeclared(&program) {
        return Err(refuse(undeclared(source, &name)));
    }
    Ok(program)
}

/// The sentence, with the line and a mark below the name.
fn undeclared(source: &str, name: &str) -> String {
    let why = format!("undeclared reference to '{name}' (in container '')");
    let place = source
        .lines()
        .enumerate()
        .find_map(|(line, text)| Some((line, text, text.find(name)?)));
    match place {
        Some((line, text, column)) => format!(
            "ERROR: <input>:{}:{}: {why}\n | {text}\n | {}^",
            line + 1,
            column + 1,
            ".".repeat(column)
        ),
        None => format!("ERROR: {why}"),
    }
}

/// A rule as the real server's messages show it.
fn as_shown(rule: &Value) -> Value {
    let text = |key: &str| rule.get(key).and_then(Value::as_str).unwrap_or_default();
    let or_null = |key: &str| rule.get(key).cloned().unwrap_or_default();
    serde_json::json!({
        "Rule": text("rule"),
        "Message": text("message"),
        "MessageExpression": text("messageExpression"),
        "Reason": or_null("reason"),
        "FieldPath": text("fieldPath"),
        "OptionalOldSelf": or_null("optionalOldSelf"),
    })
}

/// Line breaks would break every error that shows the message.
fn check_texts(rule: &Value, path: &str) -> Result<(), Box<FieldError>> {
    let text = |key: &str| rule.get(key).and_then(Value::as_str).unwrap_or_default();
    let message = text("message");
    if message.trim().contains('\n') {
        let detail = "must not contain line breaks";
        let field = format!("{path}.message");
        return Err(Box::new(FieldError::invalid(
            field,
            &Value::from(message),
            detail,
        )));
    }
    let field_path = text("fieldPath");
    if !field_path.is_empty() && !field_path.starts_with(['.', '[']) {
        let field = format!("{path}.fieldPath");
        let shown = Value::from(field_path);
        return Err(Box::new(FieldError::invalid(
            field,
            &shown,
            "must be a valid path",
        )));
    }
    Ok(())
}

/// `.a['b.c'].d` as errors print it: `.a[b.c].d`.
fn field_path(path: &str) -> String {
    path.trim().replace("['", "[").replace("']", "]")
}
