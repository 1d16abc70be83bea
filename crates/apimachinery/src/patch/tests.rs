//! Golden cases for the three patches.

mod strategic;

use serde_json::{Value, json};

use super::{MAX_OPERATIONS, json_patch, merge_patch};

fn operation(name: &str, path: &str, rest: Value) -> Value {
    let mut operation = json!({"op": name, "path": path});
    for (key, value) in rest.as_object().unwrap() {
        operation[key] = value.clone();
    }
    operation
}

#[test]
fn json_patches_apply() {
    let document = json!({"a": {"b": 1}, "list": ["x", "y"], "s/l~": 0});
    let cases = [
        (
            operation("add", "/a/c", json!({"value": 2})),
            json!({"a": {"b": 1, "c": 2}}),
        ),
        (
            operation("add", "/list/1", json!({"value": "n"})),
            json!({"list": ["x", "n", "y"]}),
        ),
        (
            operation("add", "/list/-", json!({"value": "n"})),
            json!({"list": ["x", "y", "n"]}),
        ),
        (
            operation("add", "/list/2", json!({"value": "n"})),
            json!({"list": ["x", "y", "n"]}),
        ),
        (
            operation("replace", "/a/b", json!({"value": null})),
            json!({"a": {"b": null}}),
        ),
        (
            operation("replace", "/a/new", json!({"value": 1})),
            json!({"a": {"b": 1, "new": 1}}),
        ),
        (
            operation("replace", "/list/-1", json!({"value": "n"})),
            json!({"list": ["x", "n"]}),
        ),
        (
            operation("remove", "/list/0", json!({})),
            json!({"list": ["y"]}),
        ),
        (operation("remove", "/a/b", json!({})), json!({"a": {}})),
        (
            operation("move", "/a/c", json!({"from": "/a/b"})),
            json!({"a": {"c": 1}}),
        ),
        (
            operation("copy", "/list/-", json!({"from": "/a/b"})),
            json!({"list": ["x", "y", 1]}),
        ),
        (
            operation("copy", "/a/c", json!({"from": "/a/none"})),
            json!({"a": {"b": 1, "c": null}}),
        ),
        (operation("test", "/a/b", json!({"value": 1.0})), json!({})),
        (
            operation("test", "/a/none", json!({"value": null})),
            json!({}),
        ),
        (
            operation("test", "/none/deep", json!({"value": null})),
            json!({}),
        ),
        (operation("test", "/s~1l~0", json!({"value": 0})), json!({})),
        (
            operation("add", "/s~1l~0", json!({"value": 1})),
            json!({"s/l~": 1}),
        ),
    ];
    for (operation, change) in cases {
        let mut expected = document.clone();
        for (name, value) in change.as_object().unwrap() {
            expected[name] = value.clone();
        }
        let patch = json!([operation]);
        assert_eq!(json_patch(&document, &patch), Ok(expected), "{patch}");
    }
}

#[test]
fn failing_operations_are_one_plain_422() {
    let document = json!({"a": {"b": 1}, "list": ["x"]});
    let cases = [
        operation("test", "/a/b", json!({"value": 2})),
        operation("test", "/a/none", json!({"value": 2})),
        operation("remove", "/a/none", json!({})),
        operation("remove", "/list/1", json!({})),
        operation("add", "/none/x", json!({"value": 1})),
        operation("add", "/list/5", json!({"value": 1})),
        operation("add", "/a/b/c", json!({"value": 1})),
        operation("move", "/a/c", json!({"from": "/a/none"})),
        operation("copy", "/a/c", json!({})),
        operation("shake", "/a", json!({})),
    ];
    for operation in cases {
        let status = json_patch(&document, &json!([operation])).unwrap_err();
        assert_eq!(status.code, 422, "{operation}");
        assert_eq!(status.to_json()["details"], json!({}));
        assert_eq!(
            status.message,
            "the server rejected our request due to an error in our request"
        );
    }
}

#[test]
fn a_failing_operation_undoes_the_others() {
    let document = json!({"a": 1});
    let patch = json!([
        {"op": "add", "path": "/b", "value": 2},
        {"op": "test", "path": "/a", "value": 9},
    ]);
    assert!(json_patch(&document, &patch).is_err());
    assert_eq!(document, json!({"a": 1}));
}

#[test]
fn malformed_json_patches_are_400_and_long_ones_413() {
    for patch in [json!({}), json!([1]), json!([{"op": 1, "path": "/a"}])] {
        assert_eq!(
            json_patch(&json!({}), &patch).unwrap_err().code,
            400,
            "{patch}"
        );
    }
    let one = operation("test", "/a", json!({"value": null}));
    let at_limit = Value::Array(vec![one.clone(); MAX_OPERATIONS]);
    assert!(json_patch(&json!({}), &at_limit).is_ok());
    let beyond = Value::Array(vec![one; MAX_OPERATIONS + 1]);
    let status = json_patch(&json!({}), &beyond).unwrap_err();
    assert_eq!(status.code, 413);
    assert_eq!(
        status.message,
        "Request entity too large: The allowed maximum operations in a JSON patch is 10000, got \
         10001"
    );
}

#[test]
fn merge_patches_follow_the_rfc() {
    let cases = [
        (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
        (
            json!({"a": "b"}),
            json!({"b": "c"}),
            json!({"a": "b", "b": "c"}),
        ),
        (
            json!({"a": "b", "b": 1}),
            json!({"a": null}),
            json!({"b": 1}),
        ),
        (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
        (
            json!({"a": {"b": "c"}}),
            json!({"a": {"b": "d", "c": null}}),
            json!({"a": {"b": "d"}}),
        ),
        (
            json!({"a": [{"b": "c"}]}),
            json!({"a": [1]}),
            json!({"a": [1]}),
        ),
        (
            json!({"e": null}),
            json!({"a": 1}),
            json!({"e": null, "a": 1}),
        ),
        (
            json!({"a": 1}),
            json!({"a": {"b": {"c": null}}}),
            json!({"a": {"b": {}}}),
        ),
        (
            json!({}),
            json!({"a": {"bb": {"ccc": null}}}),
            json!({"a": {"bb": {}}}),
        ),
    ];
    for (document, patch, expected) in cases {
        let merged = merge_patch(&document, &patch).expect("a merge patch");
        assert_eq!(merged, expected, "{patch}");
    }
    let order = merge_patch(
        &json!({"a": 1, "b": 2, "c": 3}),
        &json!({"b": null, "d": 4}),
    );
    let order = order.expect("a merge patch");
    assert_eq!(order.to_string(), r#"{"a":1,"c":3,"d":4}"#);
    for patch in [json!(null), json!([]), json!(5)] {
        let refused = merge_patch(&json!({"a": 1}), &patch).expect_err("refused");
        assert_eq!(refused.code, 400, "{patch}");
    }
}
