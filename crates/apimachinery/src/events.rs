//! Events have two served forms and one stored: `events.k8s.io/v1` is `v1` with other names.

use serde_json::{Map, Value};

/// (in core, in `events.k8s.io`)
const RENAMED: [(&str, &str); 7] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("reportingComponent", "reportingController"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
];

/// The stored form of an `events.k8s.io/v1` event.
pub fn to_core(event: &Value) -> Value {
    rename(event, "v1", |name| {
        RENAMED
            .iter()
            .find(|(_, new)| *new == name)
            .map(|(old, _)| *old)
    })
}

/// The `events.k8s.io/v1` form of a stored event.
pub fn from_core(event: &Value) -> Value {
    let mut event = rename(event, "events.k8s.io/v1", |name| {
        RENAMED
            .iter()
            .find(|(old, _)| *old == name)
            .map(|(_, new)| *new)
    });
    // Core events have these where nobody set them.
    if let Some(event) = event.as_object_mut() {
        for field in ["reportingController", "reportingInstance"] {
            if event.get(field).is_some_and(|value| value == "") {
                event.shift_remove(field);
            }
        }
    }
    event
}

fn rename(event: &Value, api_version: &str, name: impl Fn(&str) -> Option<&'static str>) -> Value {
    let mut out = Map::new();
    for (key, value) in event.as_object().into_iter().flatten() {
        let value = if key == "apiVersion" {
            api_version.into()
        } else {
            value.clone()
        };
        out.insert(name(key).map_or_else(|| key.clone(), str::to_owned), value);
    }
    Value::Object(out)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn both_forms_say_the_same() {
        let new = json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e"},
            "regarding": {"name": "p"}, "note": "n", "reportingController": "c", "reportingInstance": "i",
            "deprecatedCount": 2, "series": {"count": 1}});
        let core = to_core(&new);
        assert_eq!(core["apiVersion"], "v1");
        assert_eq!(core["involvedObject"]["name"], "p");
        assert_eq!((&core["message"], &core["count"]), (&json!("n"), &json!(2)));
        assert_eq!(core["reportingInstance"], "i");
        assert_eq!(from_core(&core), new);
    }
}
