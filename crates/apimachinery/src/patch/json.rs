//! JSON patch (RFC 6902) with the real server's latitude.
//!
//! `replace` of an absent map key adds it, `copy` from an absent key writes null, `test` for null
//! passes where nothing is, and an index may count from the end.

use serde_json::{Map, Value};

use crate::decode::value_name;
use crate::nesting::{LEVELS, fits};
use crate::status::{Reason, Status};

/// More operations than this in one patch are refused.
pub const MAX_OPERATIONS: usize = 10_000;

/// All that `copy` operations of one patch may copy, in bytes of JSON: as much as the real server
/// allows. A few dozen copies could fill any memory otherwise.
const MAX_COPIED: usize = 3 << 20;

/// An operation that doesn't apply. The real server doesn't tell the client which, so neither do we.
struct DoesNotApply;

type Outcome<T> = Result<T, DoesNotApply>;

struct Operation {
    name: String,
    path: Vec<String>,
    from: Option<Vec<String>>,
    value: Option<Value>,
}

/// Applies every operation in turn, or none.
pub fn json_patch(document: &Value, patch: &Value) -> Result<Value, Status> {
    let Some(list) = patch.as_array() else {
        return Err(Status::bad_request(format!(
            "error decoding patch: json: cannot unmarshal {} into Go value of type []handlers.jsonPatchOp",
            value_name(patch)
        )));
    };
    if list.len() > MAX_OPERATIONS {
        return Err(Status::too_large(format_args!(
            "The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {}",
            list.len()
        )));
    }
    let mut operations = Vec::with_capacity(list.len());
    for operation in list {
        operations.push(decode(operation)?);
    }
    let mut document = document.clone();
    let mut copied = 0;
    for operation in operations {
        if apply(&mut document, operation, &mut copied).is_err() {
            let message = "the server rejected our request due to an error in our request";
            let mut status = Status::new(422, Some(Reason::Invalid), message);
            status.details = Some(Box::default());
            return Err(status);
        }
    }
    Ok(document)
}

fn decode(operation: &Value) -> Result<Operation, Status> {
    let bad = |what: &str| Status::bad_request(format!("error decoding patch: {what}"));
    let Some(fields) = operation.as_object() else {
        return Err(bad("an operation is not an object"));
    };
    let text = |name: &str| match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(bad(&format!("{name} is not a string"))),
    };
    Ok(Operation {
        name: text("op")?.unwrap_or_default(),
        path: segments(&text("path")?.unwrap_or_default()),
        from: text("from")?.map(|from| segments(&from)),
        value: fields.get("value").cloned(),
    })
}

/// The decoded segments; none for a path that doesn't point below the root.
fn segments(path: &str) -> Vec<String> {
    path.split('/')
        .skip(1)
        .map(|part| part.replace("~1", "/").replace("~0", "~"))
        .collect()
}

fn apply(document: &mut Value, operation: Operation, copied: &mut usize) -> Outcome<()> {
    let Operation {
        name,
        path,
        from,
        value,
    } = operation;
    match name.as_str() {
        "add" => add(document, &path, value.unwrap_or(Value::Null)),
        "remove" => remove(document, &path).map(|_| ()),
        "replace" => replace(document, &path, value.unwrap_or(Value::Null)),
        "move" => {
            let value = remove(document, &from.ok_or(DoesNotApply)?)?;
            add(document, &path, value)
        }
        "copy" => {
            let from = from.ok_or(DoesNotApply)?;
            let value = get(document, &from)?.cloned().unwrap_or(Value::Null);
            *copied += value.to_string().len();
            if *copied > MAX_COPIED {
                return Err(DoesNotApply);
            }
            add(document, &path, value)
        }
        "test" => test(document, &path, &value.unwrap_or(Value::Null)),
        _ => Err(DoesNotApply),
    }
}

/// The container that the path's last segment is in.
fn parent<'a>(document: &'a mut Value, path: &[String]) -> Outcome<&'a mut Value> {
    let mut value = document;
    for segment in path {
        value = match value {
            Value::Object(map) => map.get_mut(segment).ok_or(DoesNotApply)?,
            Value::Array(list) => {
                let index = existing_index(list.len(), segment)?;
                &mut list[index]
            }
            _ => return Err(DoesNotApply),
        };
    }
    Ok(value)
}

fn split(path: &[String]) -> Outcome<(&String, &[String])> {
    path.split_last().ok_or(DoesNotApply)
}

/// An index that names an item; a negative one counts from the end.
fn existing_index(length: usize, segment: &str) -> Outcome<usize> {
    let index: i64 = segment.parse().map_err(|_| DoesNotApply)?;
    let index = if index < 0 {
        index + length as i64
    } else {
        index
    };
    usize::try_from(index)
        .ok()
        .filter(|index| *index < length)
        .ok_or(DoesNotApply)
}

fn get<'a>(document: &'a mut Value, path: &[String]) -> Outcome<Option<&'a Value>> {
    let (last, rest) = split(path)?;
    match parent(document, rest)? {
        Value::Object(map) => Ok(map.get(last)),
        Value::Array(list) => {
            let index = existing_index(list.len(), last)?;
            Ok(list.get(index))
        }
        _ => Err(DoesNotApply),
    }
}

/// Whether a value may stand at a path without being nested too deeply.
fn check_levels(path: &[String], value: &Value) -> Outcome<()> {
    match LEVELS.checked_sub(path.len()) {
        Some(levels) if fits(value, levels) => Ok(()),
        _ => Err(DoesNotApply),
    }
}

fn add(document: &mut Value, path: &[String], value: Value) -> Outcome<()> {
    check_levels(path, &value)?;
    let (last, rest) = split(path)?;
    match parent(document, rest)? {
        Value::Object(map) => {
            map.insert(last.clone(), value);
        }
        Value::Array(list) if last == "-" => list.push(value),
        Value::Array(list) => {
            let length = list.len() as i64;
            let index: i64 = last.parse().map_err(|_| DoesNotApply)?;
            let index = if index < 0 { index + length + 1 } else { index };
            if !(0..=length).contains(&index) {
                return Err(DoesNotApply);
            }
            list.insert(usize::try_from(index).map_err(|_| DoesNotApply)?, value);
        }
        _ => return Err(DoesNotApply),
    }
    Ok(())
}

fn remove(document: &mut Value, path: &[String]) -> Outcome<Value> {
    let (last, rest) = split(path)?;
    match parent(document, rest)? {
        Value::Object(map) => map.shift_remove(last).ok_or(DoesNotApply),
        Value::Array(list) => {
            let index = existing_index(list.len(), last)?;
            Ok(list.remove(index))
        }
        _ => Err(DoesNotApply),
    }
}

fn replace(document: &mut Value, path: &[String], value: Value) -> Outcome<()> {
    check_levels(path, &value)?;
    let (last, rest) = split(path)?;
    match parent(document, rest)? {
        Value::Object(map) => {
            map.insert(last.clone(), value);
        }
        Value::Array(list) => {
            let index = existing_index(list.len(), last)?;
            list[index] = value;
        }
        _ => return Err(DoesNotApply),
    }
    Ok(())
}

fn test(document: &mut Value, path: &[String], expected: &Value) -> Outcome<()> {
    if path.is_empty() {
        return if document == expected {
            Ok(())
        } else {
            Err(DoesNotApply)
        };
    }
    let found = match get(document, path) {
        Ok(found) => found.unwrap_or(&Value::Null),
        Err(DoesNotApply) if expected.is_null() => return Ok(()),
        Err(failure) => return Err(failure),
    };
    if same(found, expected) {
        Ok(())
    } else {
        Err(DoesNotApply)
    }
}

/// Equality that takes `1` and `1.0` for one number.
fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => {
            left == right || left.as_f64() == right.as_f64()
        }
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len()
                && left
                    .iter()
                    .zip(right)
                    .all(|(left, right)| same(left, right))
        }
        (Value::Object(left), Value::Object(right)) => same_maps(left, right),
        _ => left == right,
    }
}

fn same_maps(left: &Map<String, Value>, right: &Map<String, Value>) -> bool {
    left.len() == right.len()
        && left
            .iter()
            .all(|(name, value)| right.get(name).is_some_and(|other| same(value, other)))
}
