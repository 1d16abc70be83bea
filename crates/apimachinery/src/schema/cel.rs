//! Running CEL rules over a value: conversion by schema, correlation of old and new, messages.

mod rewrite;

use std::cell::LazyCell;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use base64::Engine as _;
use kube_cel::KubeCelExt as _;
use kube_cel::cel::objects::{Key, Map};
use kube_cel::cel::parser::{Expression, ExpressionReferences, ParseErrors, Parser};
use kube_cel::cel::{Context, ExecutionError, ResolveResult, Value as Cel};
use serde_json::Value;

use super::rules::Rule;
use super::validation::{correlate, join_index, join_name, type_of};
use super::{At, ListType, Type};
use crate::status::{FieldError, FieldErrorKind};

thread_local! {
    /// The functions, which are the same for every rule. A context can't cross threads.
    static FUNCTIONS: LazyCell<Context<'static>> = LazyCell::new(functions);
    static TIMESTAMP: LazyCell<Option<Program>> =
        LazyCell::new(|| Program::compile("timestamp(text)").ok());
    static DURATION: LazyCell<Option<Program>> =
        LazyCell::new(|| Program::compile("duration(text)").ok());
}

/// A compiled expression. Optional fields (`a.?b`) are understood, as on the real server.
#[derive(Debug)]
pub(crate) struct Program {
    written: Expression,
    /// In the evaluator's words.
    run: Expression,
}

impl Program {
    /// For values that a schema describes.
    pub(crate) fn compile(source: &str) -> Result<Program, ParseErrors> {
        Program::parse(source, false)
    }

    /// For values of which nothing is known.
    pub(crate) fn dynamic(source: &str) -> Result<Program, ParseErrors> {
        Program::parse(source, true)
    }

    fn parse(source: &str, dynamic: bool) -> Result<Program, ParseErrors> {
        let parser = Parser::default().enable_optional_syntax(true);
        let written = parser.parse(source)?;
        let mut run = written.clone();
        rewrite::rewrite(&mut run, dynamic);
        Ok(Program { written, run })
    }

    /// Runs it. The evaluator's own faults, such as a negation that overflows, are errors of the
    /// expression: it comes from outside.
    pub(crate) fn execute(&self, context: &Context<'_>) -> ResolveResult {
        let run = AssertUnwindSafe(|| Cel::resolve(&self.run, context));
        catch_unwind(run).unwrap_or_else(|_| {
            let why = "the evaluator failed";
            Err(ExecutionError::function_error("expression", why))
        })
    }

    /// As it was written.
    pub(crate) fn expression(&self) -> &Expression {
        &self.written
    }

    pub(crate) fn references(&self) -> ExpressionReferences<'_> {
        self.written.references()
    }
}

/// The names of types.
pub(crate) const TYPES: [&str; 9] = [
    "list",
    "map",
    "int",
    "uint",
    "double",
    "string",
    "bytes",
    "bool",
    "null_type",
];

/// Names that stand before the functions of a library.
pub(crate) const LIBRARIES: [&str; 9] = [
    "optional",
    "sets",
    "math",
    "base64",
    "format",
    "ip",
    "cidr",
    "jsonpatch",
    "strings",
];

/// Names that CEL keeps for itself, so that a field of that name is written `__name__`.
const RESERVED: [&str; 21] = [
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// CEL's and Kubernetes' functions, and `type()` with the names of types, which the library lacks.
pub(crate) fn functions() -> Context<'static> {
    let mut context = Context::default().with_all();
    for name in TYPES {
        context.add_variable_from_value(name, type_value(name));
    }
    context.add_function("type", |value: Cel| -> ResolveResult {
        Ok(type_value(type_name(&value)))
    });
    context
}

/// Types are told apart by a text that no value of a field is likely to be.
fn type_value(name: &str) -> Cel {
    Cel::String(Arc::new(format!("\u{0}type:{name}")))
}

fn type_name(value: &Cel) -> &'static str {
    match value {
        Cel::List(_) => "list",
        Cel::Map(_) => "map",
        Cel::Int(_) => "int",
        Cel::UInt(_) => "uint",
        Cel::Float(_) => "double",
        Cel::String(_) => "string",
        Cel::Bytes(_) => "bytes",
        Cel::Bool(_) => "bool",
        Cel::Null => "null_type",
        _ => "dyn",
    }
}

/// Runs every rule that the value's nodes carry.
pub(super) fn check(
    at: At<'_>,
    new: &Value,
    old: Option<&Value>,
    path: &str,
    errors: &mut Vec<FieldError>,
) {
    if !at.node.rules_within {
        return;
    }
    if !at.node.rules.is_empty() {
        run_rules(at, new, old, path, errors);
    }
    match new {
        Value::Object(map) => {
            for (name, child) in map {
                if let Some(field) = at.field(name) {
                    let old = old.and_then(|old| old.get(name));
                    check(field, child, old, &join_name(path, name), errors);
                }
            }
        }
        Value::Array(list) => {
            let Some(items) = at.items() else { return };
            for (index, child) in list.iter().enumerate() {
                let old = correlate(at, child, old);
                check(items, child, old, &join_index(path, index), errors);
            }
        }
        _ => {}
    }
}

fn run_rules(
    at: At<'_>,
    new: &Value,
    old: Option<&Value>,
    path: &str,
    errors: &mut Vec<FieldError>,
) {
    if new.is_null() {
        return;
    }
    let unchanged = old == Some(new);
    let due = |rule: &&Rule| {
        if rule.transition {
            old.is_some() || rule.optional_old_self
        } else {
            !unchanged
        }
    };
    let mut rules = at.node.rules.iter().filter(due).peekable();
    if rules.peek().is_none() {
        return;
    }
    FUNCTIONS.with(|functions| {
        let mut context = functions.new_inner_scope();
        context.add_variable_from_value("self", convert(at, new));
        let converted_old = old.map(|old| convert(at, old));
        for rule in rules {
            let mut context = context.new_inner_scope();
            if rule.transition {
                let value = match (&converted_old, rule.optional_old_self) {
                    (Some(old), false) => old.clone(),
                    (Some(old), true) => optional(Some(old.clone())),
                    (None, _) => optional(None),
                };
                context.add_variable_from_value("oldSelf", value);
            }
            if let Some(error) = run(rule, &context, new, path) {
                errors.push(error);
            }
        }
    });
}

fn optional(value: Option<Cel>) -> Cel {
    use kube_cel::cel::objects::OptionalValue;
    Cel::Opaque(Arc::new(
        value.map_or_else(OptionalValue::none, OptionalValue::of),
    ))
}

fn run(rule: &Rule, context: &Context<'_>, value: &Value, path: &str) -> Option<FieldError> {
    let field = effective_path(path, &rule.field_path);
    // Values that say something in one word are shown, others would only hide the message.
    let shown = (!value.is_object() && !value.is_array()).then(|| value.clone());
    let refuse = |kind, message| {
        let (value, message) = match kind {
            FieldErrorKind::Invalid => (shown, message),
            FieldErrorKind::Duplicate => (shown, String::new()),
            _ => (None, message),
        };
        FieldError {
            field: field.clone(),
            kind,
            value,
            message,
        }
    };
    let fail = |message| FieldError::invalid(field.as_str(), &Value::from(type_of(value)), message);
    match rule.program.execute(context) {
        Ok(Cel::Bool(true)) => None,
        Ok(Cel::Bool(false)) => Some(refuse(rule.reason, message(rule, context))),
        Ok(_) => Some(fail(format!(
            "rule must evaluate to a boolean: {}",
            rule.text
        ))),
        Err(failure) => {
            let subject = rule.message.as_deref().unwrap_or(&rule.text);
            Some(fail(format!(
                "{} evaluating rule: {subject}",
                why(&failure)
            )))
        }
    }
}

/// An error in the words of the real server, where they are known.
pub(crate) fn why(failure: &ExecutionError) -> String {
    match failure {
        ExecutionError::NoSuchKey(key) => format!("no such key: {key}"),
        ExecutionError::NoSuchOverload => "no such overload".to_owned(),
        ExecutionError::FunctionError { function, .. }
            if matches!(&**function, "int" | "uint" | "double") =>
        {
            format!("type conversion error from 'string' to '{function}'")
        }
        other => other.to_string(),
    }
}

fn message(rule: &Rule, context: &Context<'_>) -> String {
    if let Some(program) = &rule.message_program
        && let Ok(Cel::String(text)) = program.execute(context)
    {
        let text = text.trim();
        if !text.is_empty() && !text.contains('\n') {
            return text.to_owned();
        }
    }
    rule.message
        .clone()
        .unwrap_or_else(|| format!("failed rule: {}", rule.text))
}

fn effective_path(path: &str, relative: &str) -> String {
    let joined = match (path, relative) {
        ("", relative) => relative.trim_start_matches('.').to_owned(),
        (path, relative) => format!("{path}{relative}"),
    };
    if joined.is_empty() {
        "<nil>".to_owned()
    } else {
        joined
    }
}

/// A value as rules see it.
fn convert(at: At<'_>, value: &Value) -> Cel {
    match value {
        Value::Null => Cel::Null,
        Value::Bool(flag) => Cel::Bool(*flag),
        Value::Number(number) => {
            if at.node.kind == Type::Number {
                return Cel::Float(number.as_f64().unwrap_or(f64::NAN));
            }
            match (number.as_i64(), number.as_u64()) {
                (Some(integer), _) => Cel::Int(integer),
                (None, Some(integer)) => Cel::UInt(integer),
                (None, None) => Cel::Float(number.as_f64().unwrap_or(f64::NAN)),
            }
        }
        Value::String(text) => convert_text(at, text),
        Value::Array(list) => {
            let items = at.items();
            let convert_item = |item| match items {
                Some(items) => convert(items, item),
                None => convert_untyped(item),
            };
            Cel::List(Arc::new(list.iter().map(convert_item).collect()))
        }
        Value::Object(map) => {
            // Declared fields are named in rules, so they are escaped; map keys are data.
            let entries = map.iter().map(|(name, child)| {
                let declared = at.node.properties.contains_key(name);
                let key = if declared { escape(name) } else { name.clone() };
                let child = match at.field(name) {
                    Some(field) => convert(field, child),
                    None => convert_untyped(child),
                };
                (Key::String(Arc::new(key)), child)
            });
            Cel::Map(Map {
                map: Arc::new(entries.collect::<HashMap<_, _>>()),
            })
        }
    }
}

/// A value that no schema describes.
pub(crate) fn convert_untyped(value: &Value) -> Cel {
    match value {
        Value::Null => Cel::Null,
        Value::Bool(flag) => Cel::Bool(*flag),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(integer), _) => Cel::Int(integer),
            (None, Some(integer)) => Cel::UInt(integer),
            (None, None) => Cel::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => Cel::String(Arc::new(text.clone())),
        Value::Array(list) => Cel::List(Arc::new(list.iter().map(convert_untyped).collect())),
        Value::Object(map) => {
            let entries = map
                .iter()
                .map(|(name, child)| (Key::String(Arc::new(name.clone())), convert_untyped(child)));
            Cel::Map(Map {
                map: Arc::new(entries.collect::<HashMap<_, _>>()),
            })
        }
    }
}

/// Texts with a format that CEL has a type for take that type; malformed ones stay texts.
fn convert_text(at: At<'_>, text: &str) -> Cel {
    let plain = || Cel::String(Arc::new(text.to_owned()));
    match at.node.bounds.format.as_deref() {
        Some("date-time") => TIMESTAMP.with(|program| call(program.as_ref(), text)),
        Some("date") => {
            let midnight = format!("{text}T00:00:00Z");
            TIMESTAMP.with(|program| call(program.as_ref(), &midnight))
        }
        Some("duration") => DURATION.with(|program| call(program.as_ref(), text)),
        Some("byte") => base64::engine::general_purpose::STANDARD
            .decode(text)
            .ok()
            .map(|bytes| Cel::Bytes(Arc::new(bytes))),
        _ => None,
    }
    .unwrap_or_else(plain)
}

fn call(program: Option<&Program>, text: &str) -> Option<Cel> {
    FUNCTIONS.with(|functions| {
        let mut context = functions.new_inner_scope();
        context.add_variable_from_value("text", text.to_owned());
        program?.execute(&context).ok()
    })
}

/// A field's name as rules write it.
fn escape(name: &str) -> String {
    if RESERVED.contains(&name) {
        return format!("__{name}__");
    }
    if !name.contains(['.', '-', '/']) && !name.contains("__") {
        return name.to_owned();
    }
    name.replace("__", "__underscores__")
        .replace('.', "__dot__")
        .replace('-', "__dash__")
        .replace('/', "__slash__")
}

/// Whether two list items are one and the same, seen over time.
pub(super) fn same_item(at: At<'_>, left: &Value, right: &Value) -> bool {
    match at.list_type() {
        ListType::Map(keys) => keys
            .iter()
            .all(|key| key_of(at, left, key) == key_of(at, right, key)),
        ListType::Set | ListType::Atomic => false,
    }
}

/// A key's value, or the default that stands for it.
fn key_of<'a>(at: At<'a>, item: &'a Value, key: &str) -> Option<&'a Value> {
    item.get(key)
        .or_else(|| at.items()?.field(key)?.node.default.as_ref())
}
