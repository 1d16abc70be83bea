//! What functions and operators return, and what they don't take.

use super::{Fault, Type, undeclared_call};
use crate::schema::cel::LIBRARIES;

/// The type of `authorizer`.
pub(super) const AUTHORIZER: &str = "kubernetes.authorization.Authorizer";

/// The type of a question about a resource.
pub(super) const RESOURCE: &str = "kubernetes.authorization.ResourceCheck";

const GROUP: &str = "kubernetes.authorization.GroupCheck";
const PATH: &str = "kubernetes.authorization.PathCheck";
const DECISION: &str = "kubernetes.authorization.Decision";

/// Whether functions of a library stand behind this name. `lists` is known to policies alone: rules of
/// a schema that name it are refused, since nothing here runs what is behind it.
pub(super) fn is_library(name: &str) -> bool {
    name == "lists" || LIBRARIES.contains(&name)
}

/// Macros whose first arguments declare names, which the evaluator doesn't expand.
pub(super) fn declares_names(name: &str) -> bool {
    matches!(
        name,
        "all" | "exists" | "existsOne" | "exists_one" | "map" | "filter" | "optMap" | "optFlatMap"
    )
}

/// Macros of the real server that nothing here evaluates.
pub(super) fn is_unserved_macro(name: &str, arguments: usize, is_method: bool) -> bool {
    match name {
        "all" | "exists" | "existsOne" | "exists_one" => is_method && arguments == 3,
        "transformList" | "transformMap" | "transformMapEntry" | "sortBy" => is_method,
        "optMap" | "optFlatMap" => is_method,
        _ => false,
    }
}

/// What a function of a library returns; `None`: there is none of that name.
pub(super) fn of_library(library: &str, name: &str) -> Option<Type> {
    Some(match (library, name) {
        ("optional", "none") => Type::Optional(Box::new(Type::Dyn)),
        ("optional", "of" | "ofNonZeroValue") => Type::Unknown,
        ("sets", "contains" | "equivalent" | "intersects") => Type::Bool,
        ("math", "isInf" | "isNaN" | "isFinite") => Type::Bool,
        ("math", "ceil" | "floor" | "round" | "trunc" | "sqrt") => Type::Double,
        (
            "math",
            "abs" | "sign" | "bitAnd" | "bitOr" | "bitXor" | "bitNot" | "bitShiftLeft"
            | "bitShiftRight" | "greatest" | "least",
        ) => Type::Unknown,
        ("base64", "encode") | ("jsonpatch", "escapeKey") | ("strings", "quote") => Type::Text,
        ("base64", "decode") => Type::Bytes,
        ("format", _) => Type::Unknown,
        ("lists", "range") => Type::List(Box::new(Type::Int)),
        ("ip", "isCanonical") => Type::Bool,
        _ => return None,
    })
}

/// What a call returns.
pub(super) fn result(name: &str, target: Option<&Type>, arguments: &[Type]) -> Result<Type, Fault> {
    if let Some(result) = operator(name, arguments) {
        return result;
    }
    let texts = || Type::List(Box::new(Type::Text));
    let mismatch = || Fault::overload(name, target, arguments);
    let authorization = |from: &[&'static str], to: &'static str| match target {
        Some(Type::Named(given)) if from.contains(given) => Ok(Type::Named(to)),
        Some(open) if open.is_open() => Ok(Type::Unknown),
        _ => Err(mismatch()),
    };
    Ok(match name {
        "startsWith" | "endsWith" | "contains" | "matches" => {
            let all = target.into_iter().chain(arguments);
            match all.into_iter().all(|given| {
                given.is_open() || *given == Type::Text || matches!(given, Type::Named(_))
            }) {
                true => Type::Bool,
                false => return Err(mismatch()),
            }
        }
        "size" => match target.or(arguments.first()) {
            Some(
                Type::Bool | Type::Int | Type::Uint | Type::Double | Type::Null | Type::Record(_),
            ) => return Err(mismatch()),
            _ => Type::Int,
        },
        "isSorted"
        | "isURL"
        | "isIP"
        | "isCIDR"
        | "isQuantity"
        | "isSemver"
        | "isInteger"
        | "isLessThan"
        | "isGreaterThan"
        | "containsIP"
        | "containsCIDR"
        | "isUnspecified"
        | "isLoopback"
        | "isLinkLocalMulticast"
        | "isLinkLocalUnicast"
        | "isGlobalUnicast"
        | "isIPv4"
        | "isIPv6"
        | "isCIDRv4"
        | "isCIDRv6"
        | "hasValue"
        | "bool" => Type::Bool,
        "allowed" | "denied" | "errored" => match target {
            Some(Type::Named(DECISION)) => Type::Bool,
            Some(open) if open.is_open() => Type::Bool,
            _ => return Err(mismatch()),
        },
        "reason" | "error" => Type::Text,
        "path" => authorization(&[AUTHORIZER], PATH)?,
        "group" => authorization(&[AUTHORIZER], GROUP)?,
        "serviceAccount" => authorization(&[AUTHORIZER], AUTHORIZER)?,
        "resource" => authorization(&[GROUP], RESOURCE)?,
        "subresource" | "namespace" | "name" | "fieldSelector" | "labelSelector" => {
            authorization(&[RESOURCE], RESOURCE)?
        }
        "check" => authorization(&[RESOURCE, PATH], DECISION)?,
        "int" | "indexOf" | "lastIndexOf" | "compareTo" | "asInteger" | "family" | "major"
        | "minor" | "patch" | "prefixLength" | "getFullYear" | "getMonth" | "getDayOfYear"
        | "getDayOfMonth" | "getDate" | "getDayOfWeek" | "getHours" | "getMinutes"
        | "getSeconds" | "getMilliseconds" | "sign" => Type::Int,
        "uint" => Type::Uint,
        "double" | "asApproximateFloat" => Type::Double,
        "string" | "lowerAscii" | "upperAscii" | "trim" | "replace" | "substring" | "charAt"
        | "join" | "format" | "find" | "getScheme" | "getHost" | "getHostname" | "getPort"
        | "getEscapedPath" => Type::Text,
        "split" | "findAll" => texts(),
        "getQuery" => Type::Map(Box::new(Type::Text), Box::new(texts())),
        "bytes" => Type::Bytes,
        "timestamp" => Type::Timestamp,
        "duration" => Type::Duration,
        "dyn" => Type::Dyn,
        "type" => Type::Named("type"),
        "quantity" => Type::Named("kubernetes.Quantity"),
        "url" => Type::Named("kubernetes.URL"),
        "ip" => Type::Named("net.IP"),
        "cidr" => Type::Named("net.CIDR"),
        "semver" => Type::Named("kubernetes.Semver"),
        "value" => match target {
            Some(Type::Optional(inner)) => (**inner).clone(),
            _ => Type::Unknown,
        },
        "orValue" => match (target, arguments) {
            (Some(Type::Optional(inner)), [other]) if inner.is_open() => other.clone(),
            (Some(Type::Optional(inner)), [_]) => (**inner).clone(),
            _ => Type::Unknown,
        },
        "reverse"
        | "min"
        | "max"
        | "sum"
        | "slice"
        | "sort"
        | "flatten"
        | "distinct"
        | "first"
        | "last"
        | "masked"
        | "add"
        | "sub"
        | "or"
        | "validate"
        | "has"
        | "@not_strictly_false"
        | "@mapInsert" => Type::Unknown,
        _ if name.starts_with('@') || name.contains('_') => Type::Unknown,
        _ => return Err(undeclared_call(name)),
    })
}

fn operator(name: &str, arguments: &[Type]) -> Option<Result<Type, Fault>> {
    let mismatch = || Some(Err(Fault::overload(name, None, arguments)));
    let numeric = |given: &Type| matches!(given, Type::Int | Type::Uint | Type::Double);
    let found = match (name, arguments) {
        ("_&&_" | "_||_", [left, right]) => {
            match [left, right]
                .iter()
                .all(|given| given.is_open() || **given == Type::Bool)
            {
                true => Type::Bool,
                false => return mismatch(),
            }
        }
        ("!_", [given]) => match given.is_open() || *given == Type::Bool {
            true => Type::Bool,
            false => return mismatch(),
        },
        ("_==_" | "_!=_", [left, right]) => match left.fits(right) {
            true => Type::Bool,
            false => return mismatch(),
        },
        ("_<_" | "_<=_" | "_>_" | "_>=_", [left, right]) => {
            let comparable = |given: &Type| {
                numeric(given)
                    || matches!(
                        given,
                        Type::Bool | Type::Text | Type::Bytes | Type::Timestamp | Type::Duration
                    )
            };
            match (left, right) {
                (open, _) | (_, open) if open.is_open() => Type::Bool,
                (left, right) if numeric(left) && numeric(right) => Type::Bool,
                (left, right) if left == right && comparable(left) => Type::Bool,
                _ => return mismatch(),
            }
        }
        ("@in", [item, within]) => match within {
            Type::List(items) if item.fits(items) => Type::Bool,
            Type::Map(keys, _) if item.fits(keys) => Type::Bool,
            open if open.is_open() => Type::Bool,
            Type::Record(_) | Type::Named(_) | Type::Optional(_) => Type::Bool,
            _ => return mismatch(),
        },
        ("_?_:_", [condition, left, right]) => {
            match (condition.is_open() || *condition == Type::Bool) && left.fits(right) {
                true => left.clone().joined(right.clone()),
                false => return mismatch(),
            }
        }
        ("_+_" | "_-_" | "_*_" | "_/_" | "_%_", [left, right]) => {
            match arithmetic(name, left, right) {
                Some(found) => found,
                None => return mismatch(),
            }
        }
        ("-_", [given]) => match given {
            Type::Int | Type::Double => given.clone(),
            open if open.is_open() => open.clone(),
            _ => return mismatch(),
        },
        ("_[_]", [of, _]) => match of {
            Type::List(items) => (**items).clone(),
            Type::Map(_, values) => (**values).clone(),
            Type::Dyn => Type::Dyn,
            _ => Type::Unknown,
        },
        ("_?._" | "_[?_]", [of, _]) => match of {
            Type::Dyn => Type::Optional(Box::new(Type::Dyn)),
            Type::Optional(inner) if **inner == Type::Dyn => of.clone(),
            _ => Type::Optional(Box::new(Type::Unknown)),
        },
        _ => return None,
    };
    Some(Ok(found))
}

fn arithmetic(name: &str, left: &Type, right: &Type) -> Option<Type> {
    Some(match (name, left, right) {
        (_, Type::List(_), other) | (_, other, Type::List(_)) if other.is_open() => {
            match left.is_open() {
                true => right.clone(),
                false => left.clone(),
            }
        }
        (_, Type::Unknown, _) | (_, _, Type::Unknown) => Type::Unknown,
        (_, Type::Dyn, Type::Dyn) => Type::Dyn,
        (_, Type::Dyn, other) | (_, other, Type::Dyn) => other.clone(),
        ("_%_", Type::Double, _) => return None,
        (_, Type::Int | Type::Uint | Type::Double, same) if same == left => left.clone(),
        ("_+_", Type::Text | Type::Bytes, same) if same == left => left.clone(),
        ("_+_", Type::List(items), Type::List(others)) if items.fits(others) => {
            left.clone().joined(right.clone())
        }
        ("_+_" | "_-_", Type::Timestamp, Type::Duration)
        | ("_+_", Type::Duration, Type::Timestamp) => Type::Timestamp,
        ("_-_", Type::Timestamp, Type::Timestamp)
        | ("_+_" | "_-_", Type::Duration, Type::Duration) => Type::Duration,
        _ => return None,
    })
}
