//! Whether applying an object has changed it.

use serde_json::Value;

/// Whether an object was the same before and after it was applied. What controllers write meanwhile, its
/// status and what follows from that, is no change.
pub fn is_same(before: Value, after: Value) -> bool {
    content(before) == content(after)
}

fn content(mut object: Value) -> Value {
    if let Some(object) = object.as_object_mut() {
        object.remove("status");
    }
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("resourceVersion");
        if let Some(Value::Array(fields)) = metadata.get_mut("managedFields") {
            fields.retain(|entry| entry["subresource"].is_null());
        }
    }
    object
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_controllers_write_is_no_change_of_an_object() {
        let object = |version: &str, replicas: u32, ready: u32, writer: &str| {
            json!({
                "metadata": {"name": "a", "resourceVersion": version, "managedFields": [
                    {"manager": writer, "operation": "Apply"},
                    {"manager": "operator", "subresource": "status", "time": version},
                ]},
                "spec": {"replicas": replicas},
                "status": {"ready": ready},
            })
        };
        let before = || object("1", 1, 0, "me");
        assert!(is_same(before(), object("2", 1, 1, "me")));
        assert!(!is_same(before(), object("2", 2, 0, "me")));
        assert!(!is_same(before(), object("2", 1, 0, "you")));
    }
}
