//! YAML bodies as JSON values.

use serde_json::Value;

/// Parses one YAML document.
pub fn parse(text: &str) -> Result<Value, String> {
    serde_saphyr::from_str(text).map_err(|error| error.to_string())
}
