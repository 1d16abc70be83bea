//! Whether a value fits the types of a built-in kind, in the words of the real server's readers.
//!
//! Bounds, formats of texts and required fields are no types: they are the validation's business.

use serde_json::Value;

use crate::quantity;
use crate::schema::{Additional, At, Schema, Type};

/// Which of the real server's readers speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// That of JSON, for bodies and for what most patches make.
    Json,
    /// That of maps, for what a strategic merge patch makes.
    Map,
}

struct Place<'a> {
    /// The innermost type that has fields.
    holder: &'a str,
    fields: Vec<&'a str>,
}

/// What in a value is of another type than its schema says; `kind` is the root's own name.
pub fn type_error(schema: &Schema, kind: &str, value: &Value, reader: Reader) -> Option<String> {
    let mut place = Place {
        holder: kind,
        fields: Vec::new(),
    };
    check(schema.root(), value, reader, &mut place)
}

fn check<'a>(
    at: At<'a>,
    value: &'a Value,
    reader: Reader,
    place: &mut Place<'a>,
) -> Option<String> {
    if at.node.quantity {
        return quantity_error(value);
    }
    if at.node.int_or_string {
        return int_or_string_error(value);
    }
    match (at.node.kind, value) {
        (_, Value::Null) | (Type::Any, _) => None,
        (Type::Object, Value::Object(map)) => {
            let holder = place.holder;
            if let Some(name) = own_name(at) {
                place.holder = name;
            }
            let is_map = at.node.properties.is_empty();
            let wrong = map.iter().find_map(|(name, child)| {
                let field = at.field(name)?;
                if is_map {
                    return check(field, child, reader, place);
                }
                place.fields.push(name);
                let wrong = check(field, child, reader, place);
                place.fields.pop();
                wrong
            });
            place.holder = holder;
            wrong
        }
        (Type::Array, Value::Array(list)) => {
            let items = at.items()?;
            list.iter()
                .find_map(|item| check(items, item, reader, place))
        }
        (Type::String, Value::String(text)) => match at.node.bounds.format.as_deref() {
            Some("byte") => base64_error(text).map(|why| match reader {
                Reader::Json => why,
                Reader::Map => format!("error decoding from json: {why}"),
            }),
            Some("date-time") => {
                time_error(text, at.node.go_name.as_deref() == Some("v1.MicroTime"))
            }
            _ => None,
        },
        (Type::String, other) if at.node.bounds.format.as_deref() == Some("date-time") => {
            Some(format!(
                "json: cannot unmarshal {} into Go value of type string",
                value_name(other)
            ))
        }
        (Type::Integer, Value::Number(number)) => {
            let small = at.node.bounds.format.as_deref() == Some("int32");
            let whole = number
                .as_i64()
                .or_else(|| {
                    number
                        .as_f64()
                        .filter(|n| n.fract() == 0.0)
                        .map(|n| n as i64)
                })
                .filter(|number| !small || i32::try_from(*number).is_ok());
            match whole {
                Some(_) => None,
                None => Some(mismatch(at, &format!("number {number}"), reader, place)),
            }
        }
        (Type::Number, Value::Number(_)) | (Type::Boolean, Value::Bool(_)) => None,
        (_, other) => Some(mismatch(at, value_name(other), reader, place)),
    }
}

fn mismatch(at: At<'_>, given: &str, reader: Reader, place: &Place<'_>) -> String {
    match (reader, at.node.kind) {
        (Reader::Map, Type::Array) => format!("cannot restore slice from {}", go_kind(given)),
        (Reader::Map, Type::Object) if at.node.properties.is_empty() => {
            format!("cannot restore map from {}", go_kind(given))
        }
        (Reader::Map, Type::Object) => format!("cannot restore struct from: {}", go_kind(given)),
        (Reader::Map, Type::String) if given.starts_with("number") => {
            "cannot convert int64 to string".to_owned()
        }
        (Reader::Map, _) => format!("unrecognized type: {}", type_name(at)),
        (Reader::Json, _) if place.fields.is_empty() => {
            format!(
                "json: cannot unmarshal {given} into Go value of type {}",
                type_name(at)
            )
        }
        (Reader::Json, _) => format!(
            "json: cannot unmarshal {given} into Go struct field {}.{} of type {}",
            place.holder,
            place.fields.join("."),
            type_name(at)
        ),
    }
}

/// What Go's JSON calls a value.
pub(crate) fn value_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// What Go's reflection calls a value that came out of JSON.
fn go_kind(name: &str) -> &str {
    match name {
        "array" => "slice",
        "object" => "map",
        name if name.starts_with("number") => "int64",
        name => name,
    }
}

/// The name of a type with fields, without its package.
fn own_name<'a>(at: At<'a>) -> Option<&'a str> {
    let name = at.node.go_name.as_deref()?;
    Some(name.rsplit('.').next().unwrap_or(name))
}

fn type_name(at: At<'_>) -> String {
    if let Some(name) = at.node.go_name.as_deref() {
        return name.to_owned();
    }
    let format = at.node.bounds.format.as_deref();
    match at.node.kind {
        Type::String if format == Some("byte") => "[]uint8".into(),
        Type::String => "string".into(),
        Type::Integer if format == Some("int32") => "int32".into(),
        Type::Integer => "int64".into(),
        Type::Number => "float64".into(),
        Type::Boolean => "bool".into(),
        Type::Array => format!(
            "[]{}",
            at.items().map_or_else(|| "interface {}".into(), type_name)
        ),
        Type::Object => match at.node.additional {
            Additional::Of(id) => format!("map[string]{}", type_name(at.to(id))),
            Additional::Any | Additional::None => "map[string]interface {}".into(),
        },
        Type::Any => "interface {}".into(),
    }
}

fn quantity_error(value: &Value) -> Option<String> {
    let text = match value {
        Value::Null => return None,
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        other => {
            // The real server reads these as the text that they are.
            other.to_string()
        }
    };
    quantity::parse_error(&text)
}

fn int_or_string_error(value: &Value) -> Option<String> {
    let given = match value {
        Value::Null | Value::String(_) => return None,
        Value::Number(number) if number.as_i64().is_some_and(|n| i32::try_from(n).is_ok()) => {
            return None;
        }
        Value::Number(number) => format!("number {number}"),
        other => value_name(other).to_owned(),
    };
    Some(format!(
        "json: cannot unmarshal {given} into Go value of type int32"
    ))
}

/// Where base64 breaks off, as Go says it.
fn base64_error(text: &str) -> Option<String> {
    use base64::Engine;
    let plain: String = text
        .chars()
        .filter(|letter| !matches!(letter, '\n' | '\r'))
        .collect();
    if base64::engine::general_purpose::STANDARD
        .decode(&plain)
        .is_ok()
    {
        return None;
    }
    let mut filled = 0;
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            b'\n' | b'\r' => {}
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' => filled += 1,
            b'=' if filled % 4 >= 2 => {
                let rest = text[index + 1..].trim_end_matches(['\n', '\r']);
                let missing = filled % 4 == 2 && !rest.starts_with('=');
                let at = match missing {
                    true => index + 1,
                    false => index + 1 + usize::from(filled % 4 == 2),
                };
                return Some(format!("illegal base64 data at input byte {at}"));
            }
            _ => return Some(format!("illegal base64 data at input byte {index}")),
        }
    }
    Some(format!(
        "illegal base64 data at input byte {}",
        text.len() - filled % 4
    ))
}

/// What is wrong with a text as a time.
fn time_error(text: &str, micro: bool) -> Option<String> {
    let layout = match micro {
        true => "2006-01-02T15:04:05.000000Z07:00",
        false => "2006-01-02T15:04:05Z07:00",
    };
    // Micros are six digits, no more and no fewer.
    let digits = text.split_once('.').map_or("", |(_, rest)| rest);
    let digits = digits.bytes().take_while(u8::is_ascii_digit).count();
    if text.parse::<jiff::Timestamp>().is_ok() && (!micro || digits == 6) {
        return None;
    }
    // The parts of the layout in turn: the first that is not there is the one to name.
    let parts: [(&str, usize); 11] = [
        ("2006", 4),
        ("-", 1),
        ("01", 2),
        ("-", 1),
        ("02", 2),
        ("T", 1),
        ("15", 2),
        (":", 1),
        ("04", 2),
        (":", 1),
        ("05", 2),
    ];
    let mut rest = text;
    for (part, length) in parts {
        let digits = part.len() > 1;
        let fits = rest.get(..length).is_some_and(|head| match digits {
            true => head.bytes().all(|byte| byte.is_ascii_digit()),
            false => head == part,
        });
        if !fits {
            return Some(format!(
                "parsing time {text:?} as {layout:?}: cannot parse {rest:?} as {part:?}"
            ));
        }
        rest = &rest[length..];
    }
    let part = if micro && digits != 6 {
        ".000000"
    } else {
        "Z07:00"
    };
    Some(format!(
        "parsing time {text:?} as {layout:?}: cannot parse {rest:?} as {part:?}"
    ))
}
