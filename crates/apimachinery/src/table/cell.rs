//! How one cell is made: a path into the object, or a named function of paths.

use serde_json::Value;

use super::age::{human_duration, timestamp};
use super::function::Function;
use crate::jsonpath::JsonPath;

/// The recipe of a cell.
#[derive(Debug, Clone)]
pub enum Cell {
    /// The first value at a path, as text if it is text.
    Text(JsonPath),
    /// The value at a path, which must be of the column's type.
    Typed {
        /// Where it is.
        path: JsonPath,
        /// The column's type.
        kind: ColumnType,
    },
    /// The age of the first time found at one of the paths.
    Age(Vec<JsonPath>),
    /// Computed.
    Function(Function, Vec<JsonPath>, String),
    /// A recipe that could not be read: always empty.
    Empty,
}

/// The type that a CRD's column declares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the API's own")]
pub enum ColumnType {
    Boolean,
    Date,
    Integer,
    Number,
    String,
}

impl Cell {
    /// Reads a recipe: `.path` or `function(.path,.path)`.
    pub fn parse(text: &str) -> Cell {
        if text.starts_with('.') {
            return JsonPath::parse(text).map_or(Cell::Empty, Cell::Text);
        }
        let Some((name, arguments)) = text.strip_suffix(')').and_then(|text| text.split_once('('))
        else {
            return Cell::Empty;
        };
        let paths = arguments
            .split(',')
            .filter(|argument| argument.starts_with('.'))
            .filter_map(JsonPath::parse);
        let paths: Vec<_> = paths.collect();
        match name {
            "age" => Cell::Age(paths),
            _ => match Function::named(name) {
                Some(function) => Cell::Function(function, paths, arguments.to_owned()),
                None => Cell::Empty,
            },
        }
    }

    /// The cell of a CRD's printer column.
    pub fn typed(path: &str, kind: &str) -> Cell {
        let Some(path) = JsonPath::parse(path) else {
            return Cell::Empty;
        };
        let kind = match kind {
            "boolean" => ColumnType::Boolean,
            "date" => ColumnType::Date,
            "integer" => ColumnType::Integer,
            "number" => ColumnType::Number,
            _ => ColumnType::String,
        };
        Cell::Typed { path, kind }
    }

    /// The cell's value; `now` in seconds since 1970.
    pub fn evaluate(&self, object: &Value, now: i64) -> Value {
        match self {
            Cell::Text(path) => match path.first(object) {
                None | Some(Value::Null) => "".into(),
                Some(value) => value.clone(),
            },
            Cell::Typed { path, kind } => path
                .first(object)
                .map_or(Value::Null, |value| typed(value, *kind, now)),
            Cell::Age(paths) => paths
                .iter()
                .filter_map(|path| path.first(object)?.as_str())
                .find_map(|text| Some(human_duration(now - timestamp(text)?)))
                .unwrap_or_else(|| "<unknown>".into())
                .into(),
            Cell::Function(function, paths, argument) => {
                function.apply(object, paths, argument, now)
            }
            Cell::Empty => Value::Null,
        }
    }
}

fn typed(value: &Value, kind: ColumnType, now: i64) -> Value {
    match (kind, value) {
        (_, Value::Null) => Value::Null,
        (ColumnType::Boolean, Value::Bool(_)) | (ColumnType::Number, Value::Number(_)) => {
            value.clone()
        }
        (ColumnType::Integer, Value::Number(number)) => match number.as_i64() {
            Some(number) => number.into(),
            None => number
                .as_f64()
                .map_or(Value::Null, |number| (number as i64).into()),
        },
        (ColumnType::Date, Value::String(text)) => timestamp(text)
            .map_or_else(|| "<invalid>".into(), |at| human_duration(now - at))
            .into(),
        (ColumnType::String, Value::String(text)) => text.clone().into(),
        (ColumnType::String, other) => other.to_string().into(),
        _ => Value::Null,
    }
}
