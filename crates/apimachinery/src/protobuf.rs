//! Protobuf request bodies of built-in kinds, decoded to the JSON that the client meant.
//!
//! Typed clients send `k8s\0` and an envelope that names the kind. How its fields are numbered, and
//! which zero values JSON would leave out, stands in a table that `tests/env/kube/dump-protobuf`
//! takes from the API's own types. Answers are JSON always.

mod wire;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::LazyLock;

use base64::Engine;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};

use wire::{Payload, Reader};

const MAGIC: &[u8] = b"k8s\0";

/// Messages deeper than this are no objects of ours.
const DEPTH: usize = 64;

#[derive(Deserialize)]
struct Table {
    kinds: HashMap<String, String>,
    messages: HashMap<String, HashMap<String, Field>>,
}

#[derive(Deserialize)]
struct Field {
    #[serde(default)]
    name: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    list: bool,
    #[serde(default)]
    map: bool,
    /// Written although it is zero.
    #[serde(default)]
    keep: bool,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../data/dump/protobuf.json"))
        .expect("the committed table is JSON")
});

/// Why a body can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum DecodeError {
    #[error(
        "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]"
    )]
    Magic,
    #[error("unexpected EOF")]
    Malformed,
    #[error("no kind {0:?} is known in protobuf form")]
    Kind(String),
    #[error("field {0:?} is not of its type")]
    Type(String),
    #[error("it is nested too deeply")]
    Depth,
}

/// Decodes a body into an object with its `apiVersion` and `kind`; the error is a sentence.
pub fn decode(body: &[u8]) -> Result<Value, String> {
    read_envelope(body).map_err(|error| error.to_string())
}

fn read_envelope(body: &[u8]) -> Result<Value, DecodeError> {
    let envelope = body.strip_prefix(MAGIC).ok_or(DecodeError::Magic)?;
    let (mut version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
    let mut reader = Reader::new(envelope);
    while let Some((number, payload)) = reader.next()? {
        match (number, payload) {
            (1, Payload::Bytes(meta)) => {
                let mut meta = Reader::new(meta);
                while let Some((number, payload)) = meta.next()? {
                    match number {
                        1 => version = payload.text().ok_or(DecodeError::Malformed)?,
                        2 => kind = payload.text().ok_or(DecodeError::Malformed)?,
                        _ => {}
                    }
                }
            }
            (2, Payload::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    let name = format!("{version} {kind}");
    let options = kind == "DeleteOptions";
    let message = TABLE
        .kinds
        .get(if options {
            "v1 DeleteOptions"
        } else {
            name.as_str()
        })
        .ok_or(DecodeError::Kind(name))?;
    let mut object = Map::new();
    object.insert("apiVersion".into(), version.into());
    object.insert("kind".into(), kind.into());
    message_fields(message, raw, &mut object, 0)?;
    Ok(Value::Object(object))
}

fn message_fields(
    name: &str,
    bytes: &[u8],
    out: &mut Map<String, Value>,
    depth: usize,
) -> Result<(), DecodeError> {
    if depth > DEPTH {
        return Err(DecodeError::Depth);
    }
    let Some(fields) = TABLE.messages.get(name) else {
        return Ok(());
    };
    let mut reader = Reader::new(bytes);
    while let Some((number, payload)) = reader.next()? {
        // Fields that are newer than the table are left out, as the real server does.
        let Some(field) = fields.get(number.to_string().as_str()) else {
            continue;
        };
        add(field, payload, out, depth)?;
    }
    Ok(())
}

fn add(
    field: &Field,
    payload: Payload<'_>,
    out: &mut Map<String, Value>,
    depth: usize,
) -> Result<(), DecodeError> {
    if field.name.is_empty() {
        let (Some(inner), Payload::Bytes(bytes)) = (field.kind.strip_prefix('#'), payload) else {
            return Err(DecodeError::Malformed);
        };
        return message_fields(inner, bytes, out, depth + 1);
    }
    if field.map {
        let Payload::Bytes(bytes) = payload else {
            return Err(DecodeError::Type(field.name.clone()));
        };
        let (key, value) = map_entry(field, bytes, depth)?;
        let map = out
            .entry(field.name.clone())
            .or_insert_with(|| Value::Object(Map::new()));
        if let Some(map) = map.as_object_mut() {
            map.insert(key, value);
        }
        return Ok(());
    }
    let value = one(field, payload, depth)?;
    if field.list {
        let list = out
            .entry(field.name.clone())
            .or_insert_with(|| Value::Array(Vec::new()));
        if let Some(list) = list.as_array_mut() {
            list.push(value);
        }
    } else if !value.is_null() && (field.keep || !is_zero(&value)) {
        out.insert(field.name.clone(), value);
    }
    Ok(())
}

fn map_entry(field: &Field, bytes: &[u8], depth: usize) -> Result<(String, Value), DecodeError> {
    let mut key = String::new();
    let mut value = None;
    let mut reader = Reader::new(bytes);
    while let Some((number, payload)) = reader.next()? {
        match number {
            1 => {
                key = payload
                    .text()
                    .ok_or_else(|| DecodeError::Type(field.name.clone()))?
            }
            2 => value = Some(one(field, payload, depth)?),
            _ => {}
        }
    }
    Ok((key, value.unwrap_or_else(|| Value::String(String::new()))))
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::String(text) => text.is_empty(),
        Value::Number(number) => number.as_i64() == Some(0),
        Value::Bool(flag) => !flag,
        _ => false,
    }
}

/// One value of a field; null for the zero time.
fn one(field: &Field, payload: Payload<'_>, depth: usize) -> Result<Value, DecodeError> {
    let wrong = || DecodeError::Type(field.name.clone());
    match (field.kind.as_str(), payload) {
        ("string", payload) => payload.text().map(Value::String).ok_or_else(wrong),
        ("bool", Payload::Number(number)) => Ok((number != 0).into()),
        ("int" | "duration", Payload::Number(number)) => Ok(number.cast_signed().into()),
        ("bytes", Payload::Bytes(bytes)) => Ok(base64::engine::general_purpose::STANDARD
            .encode(bytes)
            .into()),
        (kind @ ("time" | "microtime"), Payload::Bytes(bytes)) => {
            time(bytes, kind == "microtime").ok_or_else(wrong)
        }
        ("quantity", Payload::Bytes(bytes)) => {
            let mut text = String::new();
            let mut reader = Reader::new(bytes);
            while let Some((number, payload)) = reader.next()? {
                if number == 1 {
                    text = payload.text().ok_or_else(wrong)?;
                }
            }
            Ok(if text.is_empty() {
                "0".into()
            } else {
                text.into()
            })
        }
        ("intorstring", Payload::Bytes(bytes)) => int_or_string(bytes).ok_or_else(wrong),
        ("raw", Payload::Bytes(bytes)) => {
            let mut value = Value::Null;
            let mut reader = Reader::new(bytes);
            while let Some((number, payload)) = reader.next()? {
                if let (1, Payload::Bytes(json)) = (number, payload) {
                    value = serde_json::from_slice(json).map_err(|_| wrong())?;
                }
            }
            Ok(value)
        }
        (kind, Payload::Bytes(bytes)) => {
            let name = kind.strip_prefix('#').ok_or_else(wrong)?;
            let mut inner = Map::new();
            message_fields(name, bytes, &mut inner, depth + 1)?;
            let around_list = TABLE
                .messages
                .get(name)
                .is_some_and(|fields| fields.values().any(|f| f.name == "*"));
            Ok(match around_list {
                true => inner
                    .shift_remove("*")
                    .unwrap_or_else(|| Value::Array(Vec::new())),
                false => Value::Object(inner),
            })
        }
        _ => Err(wrong()),
    }
}

fn time(bytes: &[u8], micro: bool) -> Option<Value> {
    let (mut seconds, mut nanos) = (None, 0);
    let mut reader = Reader::new(bytes);
    while let Some((number, payload)) = reader.next().ok()? {
        match (number, payload) {
            (1, Payload::Number(number)) => seconds = Some(number.cast_signed()),
            (2, Payload::Number(number)) => nanos = i32::try_from(number.cast_signed()).ok()?,
            _ => {}
        }
    }
    let Some(seconds) = seconds else {
        return Some(Value::Null);
    };
    let at = Timestamp::new(seconds, nanos).ok()?;
    Some(Value::String(match micro {
        true => format!("{at:.6}"),
        false => format!("{at:.0}"),
    }))
}

fn int_or_string(bytes: &[u8]) -> Option<Value> {
    let (mut is_text, mut number_value, mut text) = (false, 0, String::new());
    let mut reader = Reader::new(bytes);
    while let Some((number, payload)) = reader.next().ok()? {
        match (number, payload) {
            (1, Payload::Number(kind)) => is_text = kind == 1,
            (2, Payload::Number(value)) => number_value = value.cast_signed(),
            (3, payload) => text = payload.text()?,
            _ => {}
        }
    }
    Some(if is_text {
        text.into()
    } else {
        number_value.into()
    })
}
