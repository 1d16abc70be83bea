//! Names that a rule uses without anything declaring them.

use crate::schema::cel::{LIBRARIES, Program, TYPES};
use kube_cel::cel::common::ast::{EntryExpr, Expr, IdedExpr};

/// What a rule may name beside CEL's types and the libraries of functions.
const DECLARED: [&str; 6] = ["self", "oldSelf", "type", "timestamp", "duration", "google"];

/// Macros that the evaluator doesn't expand; what their arguments declare can't be judged here.
const UNEXPANDED: [&str; 8] = [
    "all",
    "exists",
    "existsOne",
    "exists_one",
    "transformList",
    "transformMap",
    "transformMapEntry",
    "sortBy",
];

/// The first name that nothing declares.
pub(super) fn undeclared(program: &Program) -> Option<String> {
    walk(program.expression(), &mut Vec::new())
}

fn walk<'a>(expression: &'a IdedExpr, scope: &mut Vec<&'a str>) -> Option<String> {
    match &expression.expr {
        Expr::Ident(name) => {
            let name = name.as_str();
            let declared = [&DECLARED[..], &TYPES, &LIBRARIES, scope];
            let known = declared.iter().any(|names| names.contains(&name));
            (!known).then(|| name.to_owned())
        }
        Expr::Select(select) => walk(&select.operand, scope),
        Expr::Call(call) => {
            let target = call
                .target
                .as_deref()
                .and_then(|target| walk(target, scope));
            if target.is_some() || UNEXPANDED.contains(&call.func_name.as_str()) {
                return target;
            }
            call.args.iter().find_map(|argument| walk(argument, scope))
        }
        Expr::List(list) => list
            .elements
            .iter()
            .find_map(|element| walk(element, scope)),
        Expr::Map(map) => map
            .entries
            .iter()
            .find_map(|entry| walk_entry(&entry.expr, scope)),
        Expr::Struct(value) => value
            .entries
            .iter()
            .find_map(|entry| walk_entry(&entry.expr, scope)),
        Expr::Comprehension(comprehension) => {
            let outside = walk(&comprehension.iter_range, scope)
                .or_else(|| walk(&comprehension.accu_init, scope));
            if outside.is_some() {
                return outside;
            }
            let depth = scope.len();
            scope.push(&comprehension.accu_var);
            scope.push(&comprehension.iter_var);
            scope.extend(comprehension.iter_var2.as_deref());
            let inside = walk(&comprehension.loop_cond, scope)
                .or_else(|| walk(&comprehension.loop_step, scope))
                .or_else(|| walk(&comprehension.result, scope));
            scope.truncate(depth);
            inside
        }
        Expr::Literal(_) | Expr::Unspecified => None,
    }
}

fn walk_entry<'a>(entry: &'a EntryExpr, scope: &mut Vec<&'a str>) -> Option<String> {
    match entry {
        EntryExpr::StructField(field) => walk(&field.value, scope),
        EntryExpr::MapEntry(entry) => walk(&entry.key, scope).or_else(|| walk(&entry.value, scope)),
    }
}
