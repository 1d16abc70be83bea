//! YAML bodies as JSON values.

use serde_json::Value;

use crate::nesting::LEVELS;

/// Parses one YAML document, nested no deeper than JSON may be.
pub fn parse(text: &str) -> Result<Value, String> {
    // Its own limit lets a body of a few kilobytes fill the stack of a thread.
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_depth: LEVELS },
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| error.to_string())
}
