//! How deeply values may be nested. What is stored must be readable again, and the reader of JSON
//! stops at some depth; so does every walk of a value that calls itself.

use serde_json::Value;

/// The levels of maps and lists that the reader of JSON takes.
pub const LEVELS: usize = 127;

/// Whether a value has at most so many levels of maps and lists.
pub fn fits(value: &Value, levels: usize) -> bool {
    match value {
        Value::Object(map) => levels > 0 && map.values().all(|inner| fits(inner, levels - 1)),
        Value::Array(items) => levels > 0 && items.iter().all(|inner| fits(inner, levels - 1)),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reader_of_json_takes_as_many_levels() {
        let nested = |levels| "[".repeat(levels) + &"]".repeat(levels);
        let read = |levels| serde_json::from_str::<Value>(&nested(levels));
        assert!(fits(&read(LEVELS).expect("read"), LEVELS));
        assert!(!fits(&read(LEVELS).expect("read"), LEVELS - 1));
        assert!(read(LEVELS + 1).is_err());
    }
}
