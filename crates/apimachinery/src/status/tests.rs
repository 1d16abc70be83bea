use serde_json::json;

use super::*;

#[test]
fn messages_are_the_real_servers() {
    let cases = [
        (
            Status::not_found("", "configmaps", "a"),
            404,
            "configmaps \"a\" not found",
        ),
        (
            Status::not_found("apps", "deployments", "a"),
            404,
            "deployments.apps \"a\" not found",
        ),
        (
            Status::already_exists("", "pods", "a"),
            409,
            "pods \"a\" already exists",
        ),
        (
            Status::modified("", "pods", "a"),
            409,
            "Operation cannot be fulfilled on pods \"a\": the object has been modified; please \
             apply your changes to the latest version and try again",
        ),
        (Status::unauthorized(), 401, "Unauthorized"),
        (
            Status::forbidden("", "pods", "", "no"),
            403,
            "pods is forbidden: no",
        ),
        (Status::internal("x"), 500, "Internal error occurred: x"),
        (
            Status::resource_version_too_large(9, 3),
            504,
            "Timeout: Too large resource version: 9, current: 3",
        ),
        (
            Status::too_large("limit is 3"),
            413,
            "Request entity too large: limit is 3",
        ),
    ];
    for (status, code, message) in cases {
        assert_eq!((status.code, status.message.as_str()), (code, message));
    }
}

#[test]
fn not_found_names_the_plural_in_details() {
    assert_eq!(
        Status::not_found("apps", "deployments", "web").to_json(),
        json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": "deployments.apps \"web\" not found", "reason": "NotFound",
            "details": {"name": "web", "group": "apps", "kind": "deployments"}, "code": 404,
        })
    );
    assert_eq!(Status::method_not_allowed().to_json()["details"], json!({}));
}

#[test]
fn invalid_lists_every_field_once_in_the_message() {
    let errors = vec![
        FieldError::required("spec.a", ""),
        FieldError::required("spec.a", ""),
        FieldError::invalid("spec.b", &json!("x\n"), "no"),
        FieldError::invalid("", &Value::Null, "rules"),
    ];
    let status = Status::invalid("g.io", "Thing", "t", errors);
    assert_eq!(
        status.message,
        "Thing.g.io \"t\" is invalid: [spec.a: Required value, spec.b: Invalid value: \"x\\n\": \
         no, <nil>: Invalid value: null: rules]"
    );
    assert_eq!(
        status.to_json()["details"]["causes"][2],
        json!({"reason": "FieldValueInvalid", "message": "Invalid value: \"x\\n\": no",
               "field": "spec.b"})
    );
}

#[test]
fn field_errors_read_as_go_writes_them() {
    let allowed = ["a".to_owned(), "b".to_owned()];
    let cases = [
        (
            FieldError::not_supported("s", &json!("c"), &allowed),
            "s: Unsupported value: \"c\": supported values: \"a\", \"b\"",
        ),
        (
            FieldError::too_long("s", 3),
            "s: Too long: may not be more than 3 bytes",
        ),
        (
            FieldError::too_many("s", 4, 3),
            "s: Too many: 4: must have at most 3 items",
        ),
        (
            FieldError::duplicate("s", &json!({"k": 1})),
            "s: Duplicate value: {\"k\":1}",
        ),
        (FieldError::forbidden("s", "why"), "s: Forbidden: why"),
    ];
    for (error, text) in cases {
        assert_eq!(error.to_string(), text);
    }
}
