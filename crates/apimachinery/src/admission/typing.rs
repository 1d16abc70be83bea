//! Types of expressions, as far as they are known before a request comes: enough to refuse what
//! could never be judged, in the words of the real server.

mod functions;

use std::collections::BTreeMap;
use std::fmt;

use kube_cel::cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue, SelectExpr,
};

use crate::schema::cel::TYPES;

/// What an expression evaluates to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Type {
    /// Nothing is known here that the real server might know.
    Unknown,
    /// Anything.
    Dyn,
    Null,
    Bool,
    Int,
    Uint,
    Double,
    Text,
    Bytes,
    Timestamp,
    Duration,
    List(Box<Type>),
    Map(Box<Type>, Box<Type>),
    Optional(Box<Type>),
    /// An object with known fields.
    Record(Record),
    /// A type of a library, by name.
    Named(&'static str),
}

/// Objects with known fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Record {
    Request,
    Kind,
    Resource,
    User,
    Namespace,
    NamespaceMetadata,
    NamespaceSpec,
    NamespaceStatus,
    Variables,
}

/// What an expression may name.
#[derive(Debug, Clone, Default)]
pub(super) struct Variables {
    /// `params` is there.
    pub(super) params: bool,
    /// `authorizer` is there.
    pub(super) authorizer: bool,
    /// The policy's own variables, with their types.
    pub(super) own: Option<BTreeMap<String, Type>>,
}

/// What is wrong, and next to which text.
#[derive(Debug)]
pub(super) struct Fault {
    message: String,
    /// The text to look for, and how far behind its beginning the fault is.
    at: (String, usize),
}

struct Walk<'a> {
    variables: &'a Variables,
    /// Names that macros declare.
    scope: Vec<(&'a str, Type)>,
}

/// The type of an expression, or why it has none.
pub(super) fn infer(expression: &IdedExpr, variables: &Variables) -> Result<Type, Fault> {
    let mut walk = Walk {
        variables,
        scope: Vec::new(),
    };
    walk.infer(expression)
}

impl fmt::Display for Type {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Type::Unknown | Type::Dyn => formatter.write_str("dyn"),
            Type::Null => formatter.write_str("null"),
            Type::Bool => formatter.write_str("bool"),
            Type::Int => formatter.write_str("int"),
            Type::Uint => formatter.write_str("uint"),
            Type::Double => formatter.write_str("double"),
            Type::Text => formatter.write_str("string"),
            Type::Bytes => formatter.write_str("bytes"),
            Type::Timestamp => formatter.write_str("timestamp"),
            Type::Duration => formatter.write_str("duration"),
            Type::List(items) => write!(formatter, "list({items})"),
            Type::Map(keys, values) => write!(formatter, "map({keys}, {values})"),
            Type::Optional(value) => write!(formatter, "optional_type({value})"),
            Type::Record(record) => formatter.write_str(record.name()),
            Type::Named(name) => formatter.write_str(name),
        }
    }
}

impl Record {
    fn name(self) -> &'static str {
        match self {
            Record::Request => "kubernetes.AdmissionRequest",
            Record::Kind => "kubernetes.GroupVersionKind",
            Record::Resource => "kubernetes.GroupVersionResource",
            Record::User => "kubernetes.UserInfo",
            Record::Namespace => "kubernetes.Namespace",
            Record::NamespaceMetadata => "kubernetes.NamespaceMetadata",
            Record::NamespaceSpec => "kubernetes.NamespaceSpec",
            Record::NamespaceStatus => "kubernetes.NamespaceStatus",
            Record::Variables => "kubernetes.variables",
        }
    }

    fn field(self, name: &str, variables: &Variables) -> Option<Type> {
        let texts = || Type::List(Box::new(Type::Text));
        let map = |of| Type::Map(Box::new(Type::Text), Box::new(of));
        Some(match (self, name) {
            (Record::Request, "kind" | "requestKind") => Type::Record(Record::Kind),
            (Record::Request, "resource" | "requestResource") => Type::Record(Record::Resource),
            (Record::Request, "userInfo") => Type::Record(Record::User),
            (Record::Request, "dryRun") => Type::Bool,
            (Record::Request, "options") => Type::Dyn,
            (
                Record::Request,
                "subResource" | "requestSubResource" | "name" | "namespace" | "operation",
            )
            | (Record::Kind, "group" | "version" | "kind")
            | (Record::Resource, "group" | "version" | "resource")
            | (Record::User, "username" | "uid") => Type::Text,
            (Record::User, "groups") => texts(),
            (Record::User, "extra") => map(texts()),
            (Record::Namespace, "metadata") => Type::Record(Record::NamespaceMetadata),
            (Record::Namespace, "spec") => Type::Record(Record::NamespaceSpec),
            (Record::Namespace, "status") => Type::Record(Record::NamespaceStatus),
            (Record::NamespaceMetadata, "labels" | "annotations") => map(Type::Text),
            (Record::NamespaceMetadata | Record::NamespaceSpec, "finalizers") => texts(),
            (Record::NamespaceMetadata, "generation" | "deletionGracePeriodSeconds") => Type::Int,
            (Record::NamespaceMetadata, "creationTimestamp" | "deletionTimestamp") => {
                Type::Timestamp
            }
            (
                Record::NamespaceMetadata,
                "name" | "generateName" | "namespace" | "UID" | "resourceVersion",
            )
            | (Record::NamespaceStatus, "phase") => Type::Text,
            (Record::NamespaceStatus, "conditions") => Type::List(Box::new(Type::Unknown)),
            (Record::Variables, name) => return variables.own.as_ref()?.get(name).cloned(),
            _ => return None,
        })
    }
}

impl Type {
    /// Whether it may turn out to be anything.
    fn is_open(&self) -> bool {
        matches!(self, Type::Unknown | Type::Dyn)
    }

    /// Whether two types can be those of one value.
    fn fits(&self, other: &Type) -> bool {
        match (self, other) {
            (one, _) | (_, one) if one.is_open() => true,
            (Type::Null, other) | (other, Type::Null) => !matches!(
                other,
                Type::Bool | Type::Int | Type::Uint | Type::Double | Type::Text | Type::Bytes
            ),
            (Type::List(left), Type::List(right))
            | (Type::Optional(left), Type::Optional(right)) => left.fits(right),
            (Type::Map(key, value), Type::Map(other_key, other_value)) => {
                key.fits(other_key) && value.fits(other_value)
            }
            // An object with known fields may be compared with a map.
            (Type::Record(_), Type::Map(..)) | (Type::Map(..), Type::Record(_)) => true,
            (left, right) => left == right,
        }
    }

    /// What is known of both.
    fn joined(self, other: Type) -> Type {
        match (self, other) {
            (left, right) if left == right => left,
            (Type::Unknown, _) | (_, Type::Unknown) => Type::Unknown,
            (Type::List(left), Type::List(right)) => Type::List(Box::new(left.joined(*right))),
            (Type::Null, other) | (other, Type::Null) => other,
            _ => Type::Dyn,
        }
    }
}

impl<'a> Walk<'a> {
    fn infer(&mut self, expression: &'a IdedExpr) -> Result<Type, Fault> {
        match &expression.expr {
            Expr::Ident(name) => self.variable(name),
            Expr::Select(select) => self.select(select),
            Expr::Call(call) => self.call(call),
            Expr::Comprehension(comprehension) => self.comprehension(comprehension),
            Expr::List(list) => {
                let mut items = None;
                for element in &list.elements {
                    let found = self.infer(element)?;
                    items = Some(match items {
                        None => found,
                        Some(items) => Type::joined(items, found),
                    });
                }
                Ok(Type::List(Box::new(items.unwrap_or(Type::Unknown))))
            }
            Expr::Map(map) => {
                let mut found = None;
                for entry in &map.entries {
                    if let EntryExpr::MapEntry(entry) = &entry.expr {
                        let (key, value) = (self.infer(&entry.key)?, self.infer(&entry.value)?);
                        found = Some(match found {
                            None => (key, value),
                            Some((keys, values)) => {
                                (Type::joined(keys, key), Type::joined(values, value))
                            }
                        });
                    }
                }
                let (keys, values) = found.unwrap_or((Type::Unknown, Type::Unknown));
                Ok(Type::Map(Box::new(keys), Box::new(values)))
            }
            Expr::Struct(_) | Expr::Unspecified => Ok(Type::Unknown),
            Expr::Literal(literal) => Ok(match literal {
                LiteralValue::Boolean(_) => Type::Bool,
                LiteralValue::Bytes(_) => Type::Bytes,
                LiteralValue::Double(_) => Type::Double,
                LiteralValue::Int(_) => Type::Int,
                LiteralValue::Null => Type::Null,
                LiteralValue::String(_) => Type::Text,
                LiteralValue::UInt(_) => Type::Uint,
            }),
        }
    }

    fn variable(&self, name: &str) -> Result<Type, Fault> {
        if let Some((_, found)) = self.scope.iter().rev().find(|(known, _)| *known == name) {
            return Ok(found.clone());
        }
        match name {
            "object" | "oldObject" => Ok(Type::Dyn),
            "request" => Ok(Type::Record(Record::Request)),
            "namespaceObject" => Ok(Type::Record(Record::Namespace)),
            "params" if self.variables.params => Ok(Type::Dyn),
            "authorizer" if self.variables.authorizer => Ok(Type::Named(functions::AUTHORIZER)),
            "variables" if self.variables.own.is_some() => Ok(Type::Record(Record::Variables)),
            "type" => Ok(Type::Named("type")),
            _ if TYPES.contains(&name) => Ok(Type::Named("type")),
            _ => Err(undeclared(name, 0)),
        }
    }

    fn select(&mut self, select: &'a SelectExpr) -> Result<Type, Fault> {
        let operand = self.infer(&select.operand)?;
        let found = match &operand {
            Type::Record(record) => {
                record
                    .field(&select.field, self.variables)
                    .ok_or_else(|| Fault {
                        message: format!("undefined field '{}'", select.field),
                        at: (format!(".{}", select.field), 0),
                    })?
            }
            Type::Map(_, values) => (**values).clone(),
            Type::Dyn => Type::Dyn,
            Type::Named(functions::AUTHORIZER) if select.field == "requestResource" => {
                Type::Named(functions::RESOURCE)
            }
            Type::Optional(inner) if matches!(**inner, Type::Dyn) => {
                Type::Optional(Box::new(Type::Dyn))
            }
            Type::Unknown | Type::Optional(_) | Type::Named(_) => Type::Unknown,
            other => {
                return Err(Fault {
                    message: format!("type '{other}' does not support field selection"),
                    at: (format!(".{}", select.field), 0),
                });
            }
        };
        Ok(if select.test { Type::Bool } else { found })
    }

    fn call(&mut self, call: &'a CallExpr) -> Result<Type, Fault> {
        let name = call.func_name.as_str();
        if let Some(library) = call
            .target
            .as_deref()
            .and_then(|target| match &target.expr {
                Expr::Ident(library) if functions::is_library(library) => Some(library),
                _ => None,
            })
        {
            for argument in &call.args {
                self.infer(argument)?;
            }
            return functions::of_library(library, name).ok_or_else(|| undeclared_call(name));
        }
        let target = match call.target.as_deref() {
            Some(target) => Some(self.infer(target)?),
            None => None,
        };
        if functions::is_unserved_macro(name, call.args.len(), target.is_some()) {
            return Err(Fault {
                message: format!(
                    "macro '{name}' with {} arguments is not supported by this server",
                    call.args.len()
                ),
                at: (format!("{name}("), name.len()),
            });
        }
        if functions::declares_names(name) && target.is_some() {
            return Ok(Type::Unknown);
        }
        let mut arguments = Vec::with_capacity(call.args.len());
        for argument in &call.args {
            arguments.push(self.infer(argument)?);
        }
        functions::result(name, target.as_ref(), &arguments)
    }

    fn comprehension(&mut self, of: &'a ComprehensionExpr) -> Result<Type, Fault> {
        let range = self.infer(&of.iter_range)?;
        let (first, second) = match range {
            Type::List(items) => (*items, Type::Unknown),
            Type::Map(keys, values) => (*keys, *values),
            Type::Dyn => (Type::Dyn, Type::Dyn),
            _ => (Type::Unknown, Type::Unknown),
        };
        let start = self.infer(&of.accu_init)?;
        let depth = self.scope.len();
        self.scope.push((&of.accu_var, Type::Unknown));
        self.scope.push((&of.iter_var, first));
        if let Some(name) = &of.iter_var2 {
            self.scope.push((name, second));
        }
        let step = self
            .infer(&of.loop_cond)
            .and_then(|_| self.infer(&of.loop_step));
        let result = step.and_then(|step| {
            let accumulated = match start {
                Type::List(_) => step,
                start => start,
            };
            self.scope[depth].1 = accumulated;
            self.infer(&of.result)
        });
        self.scope.truncate(depth);
        result
    }
}

fn undeclared(name: &str, behind: usize) -> Fault {
    Fault {
        message: format!("undeclared reference to '{name}' (in container '')"),
        at: (name.to_owned(), behind),
    }
}

fn undeclared_call(name: &str) -> Fault {
    let mut fault = undeclared(name, name.len());
    fault.at.0.push('(');
    fault
}

impl Fault {
    /// No function or operator takes these types.
    fn overload(name: &str, target: Option<&Type>, arguments: &[Type]) -> Fault {
        let list: Vec<String> = arguments.iter().map(Type::to_string).collect();
        let list = list.join(", ");
        let applied = match target {
            Some(target) => format!("{target}.({list})"),
            None => format!("({list})"),
        };
        let at = match name {
            "_?_:_" => ("?".to_owned(), 0),
            "@in" => (" in ".to_owned(), 1),
            operator if operator.contains('_') && !operator.starts_with(char::is_alphabetic) => {
                (operator.replace('_', ""), 0)
            }
            function => (format!("{function}("), function.len()),
        };
        Fault {
            message: format!("found no matching overload for '{name}' applied to '{applied}'"),
            at,
        }
    }

    /// The message, with the line and a mark below the place.
    pub(super) fn shown(&self, source: &str) -> String {
        let (text, behind) = &self.at;
        let place = source.lines().enumerate().find_map(|(number, line)| {
            let column = line.find(text.as_str())?;
            Some((number, line, line[..column].chars().count() + behind))
        });
        let message = &self.message;
        match place {
            Some((number, line, column)) => format!(
                "ERROR: <input>:{}:{}: {message}\n | {line}\n | {}^",
                number + 1,
                column + 1,
                ".".repeat(column)
            ),
            None => format!("ERROR: {message}"),
        }
    }
}
