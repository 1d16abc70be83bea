//! Tables: the server's, and ours. Pure.

use serde::Deserialize;
use serde_json::Value;

/// A table as a Kubernetes API answers it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ServerTable {
    pub(crate) column_definitions: Vec<Column>,
    #[serde(default)]
    pub(crate) rows: Vec<Row>,
}

/// One of its columns.
#[derive(Debug, Deserialize)]
pub(crate) struct Column {
    pub(crate) name: String,
    /// Above 0: shown only in wide tables.
    #[serde(default)]
    pub(crate) priority: i32,
}

/// One of its rows.
#[derive(Debug, Deserialize)]
pub(crate) struct Row {
    pub(crate) cells: Vec<Value>,
    #[serde(default)]
    pub(crate) object: Value,
}

/// What is shown of a server's table.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct View<'a> {
    /// All columns, not only the important ones.
    pub(crate) wide: bool,
    /// A first column with the namespace.
    pub(crate) namespace: bool,
    /// What to put before names, with a slash.
    pub(crate) prefix: Option<&'a str>,
}

impl ServerTable {
    /// Renders the table.
    pub(crate) fn render(&self, view: View<'_>) -> String {
        let shown = |at: &usize| {
            let column = self.column_definitions.get(*at);
            column.is_some_and(|column| view.wide || column.priority == 0)
        };
        let columns: Vec<usize> = (0..self.column_definitions.len()).filter(shown).collect();
        let mut header = Vec::new();
        if view.namespace {
            header.push("NAMESPACE".into());
        }
        let definitions = &self.column_definitions;
        header.extend(
            columns
                .iter()
                .map(|at| definitions[*at].name.to_uppercase()),
        );
        let mut lines = vec![header];
        for row in &self.rows {
            let mut line = Vec::new();
            if view.namespace {
                line.push(cell(&row.object["metadata"]["namespace"]));
            }
            for (position, at) in columns.iter().enumerate() {
                let text = row.cells.get(*at).map(cell).unwrap_or_default();
                line.push(match view.prefix {
                    Some(prefix) if position == 0 => format!("{prefix}/{text}"),
                    _ => text,
                });
            }
            lines.push(line);
        }
        align(&lines)
    }
}

/// Lays out rows of cells: columns as wide as their widest cell, three spaces between, nothing
/// after the last.
pub(crate) fn align(lines: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = Vec::new();
    for line in lines {
        for (at, cell) in line.iter().enumerate() {
            let width = cell.chars().count();
            match widths.get_mut(at) {
                Some(widest) => *widest = (*widest).max(width),
                None => widths.push(width),
            }
        }
    }
    let mut text = String::new();
    for line in lines {
        let mut row = String::new();
        for (cell, width) in line.iter().zip(&widths) {
            row.push_str(&format!("{cell:<width$}   "));
        }
        text.push_str(row.trim_end());
        text.push('\n');
    }
    text
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        // A cell is one line; the server may put a whole message into it.
        Value::String(text) => text.replace('\n', " "),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn table() -> ServerTable {
        let table = json!({
            "columnDefinitions": [
                {"name": "Name", "type": "string"},
                {"name": "Ready", "type": "integer", "priority": 0},
                {"name": "Image", "type": "string", "priority": 1},
            ],
            "rows": [
                {"cells": ["hello", 1, "a"], "object": {"metadata": {"namespace": "default"}}},
                {"cells": ["a-longer-name", null, "b"], "object": null},
            ],
        });
        serde_json::from_value(table).unwrap()
    }

    #[test]
    fn columns_line_up() {
        let plain = table().render(View::default());
        assert_eq!(
            plain,
            "NAME            READY\nhello           1\na-longer-name\n"
        );
    }

    #[test]
    fn wide_tables_have_all_columns() {
        let view = View {
            wide: true,
            namespace: true,
            prefix: Some("ww"),
        };
        let first = "NAMESPACE   NAME               READY   IMAGE";
        let lines = table().render(view);
        assert_eq!(lines.lines().next(), Some(first));
        assert!(
            lines.contains("default     ww/hello           1       a"),
            "{lines}"
        );
    }
}
