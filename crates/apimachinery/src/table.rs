//! Tables and partial objects: what `kubectl get` prints.

mod age;
mod cell;
mod function;
mod summary;

#[cfg(test)]
mod tests;

pub use age::{human_duration, timestamp};
pub use cell::Cell;

use serde_json::{Map, Value, json};

use crate::registry::{Column, Resource};

/// Which part of the object goes into a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IncludeObject {
    /// Nothing.
    None,
    /// Its metadata.
    #[default]
    Metadata,
    /// All of it.
    Object,
}

/// The column definitions of a resource.
pub fn definitions(columns: &[Column]) -> Value {
    Value::Array(
        columns
            .iter()
            .map(|column| column.definition.clone())
            .collect(),
    )
}

/// A row for one object; `now` in seconds since 1970.
pub fn row(
    resource: &Resource,
    object: &Value,
    include: IncludeObject,
    version: &str,
    now: i64,
) -> Value {
    row_of(&resource.columns, object, include, version, now)
}

/// A row with these columns; `now` in seconds since 1970.
pub fn row_of(
    columns: &[Column],
    object: &Value,
    include: IncludeObject,
    version: &str,
    now: i64,
) -> Value {
    let cells: Vec<Value> = columns
        .iter()
        .map(|column| column.cell.evaluate(object, now))
        .collect();
    let mut row = Map::new();
    row.insert("cells".into(), Value::Array(cells));
    match include {
        IncludeObject::None => {
            row.insert("object".into(), Value::Null);
        }
        IncludeObject::Metadata => {
            row.insert("object".into(), partial(object, version));
        }
        IncludeObject::Object => {
            row.insert("object".into(), object.clone());
        }
    }
    Value::Object(row)
}

/// A Table around rows; `metadata` as in a list.
pub fn table(
    columns: Option<&[Column]>,
    rows: Vec<Value>,
    metadata: Value,
    version: &str,
) -> Value {
    json!({
        "kind": "Table",
        "apiVersion": format!("meta.k8s.io/{version}"),
        "metadata": metadata,
        "columnDefinitions": columns.map_or_else(|| json!([]), definitions),
        "rows": rows,
    })
}

/// Only the metadata of an object.
pub fn partial(object: &Value, version: &str) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": format!("meta.k8s.io/{version}"),
        "metadata": object.get("metadata").cloned().unwrap_or_else(|| json!({})),
    })
}
