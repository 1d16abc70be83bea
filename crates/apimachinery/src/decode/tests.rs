//! The sentences of Go's decoder, as they were recorded.

use serde_json::json;

use super::{Reader, Target, json, syntax_error, type_error};
use crate::registry::{Registry, builtin_kind, builtin_schema};
use crate::request::BodyFormat;

#[test]
fn broken_json_is_described_as_go_does() {
    let cases = [
        ("", "unexpected end of JSON input"),
        ("{", "unexpected end of JSON input"),
        ("x", "invalid character 'x' looking for beginning of value"),
        (
            "nonsense",
            "invalid character 'o' in literal null (expecting 'u')",
        ),
        ("{\"a\" 1}", "invalid character '1' after object key"),
        (
            "{\"a\":1 2}",
            "invalid character '2' after object key:value pair",
        ),
        ("[1 2]", "invalid character '2' after array element"),
        (
            "{a:1}",
            "invalid character 'a' looking for beginning of object key string",
        ),
        (
            "{\"a\":1,}",
            "invalid character '}' looking for beginning of object key string",
        ),
        ("1 2", "invalid character '2' after top-level value"),
        ("-x", "invalid character 'x' in numeric literal"),
        (
            "1.x",
            "invalid character 'x' after decimal point in numeric literal",
        ),
        (
            "1ex",
            "invalid character 'x' in exponent of numeric literal",
        ),
        ("\"\\x\"", "invalid character 'x' in string escape code"),
        ("\"\n\"", "invalid character '\\n' in string literal"),
        (
            "'a'",
            "invalid character '\\'' looking for beginning of value",
        ),
    ];
    for (text, sentence) in cases {
        let error = json(text.as_bytes()).expect_err("refused");
        assert_eq!(error, sentence, "{text}");
    }
    for text in [
        "{}",
        "[]",
        " [1, {\"a\": [true, null, -0.5e+3]}, \"\\u00e9\"] ",
    ] {
        assert_eq!(syntax_error(text.as_bytes()), None, "{text}");
    }
    let byte = syntax_error(&[0x9e]).expect("refused");
    assert_eq!(
        byte,
        "invalid character '\\u009e' looking for beginning of value"
    );
}

#[test]
fn fields_that_are_there_twice_are_found_at_any_depth() {
    let body = json(
        br#"{"metadata":{"name":"d","name":"e"},"metadata":{"name":"f"},"l":[{"a":1,"a":2}]}"#,
    )
    .expect("JSON");
    assert_eq!(
        body.duplicates,
        [
            "duplicate field \"metadata.name\"",
            "duplicate field \"metadata\"",
            "duplicate field \"l[0].a\""
        ]
    );
    assert_eq!(body.value["metadata"], json!({"name": "f"}));
}

#[test]
fn values_of_other_types_are_named_with_their_go_types() {
    let error = |kind: &str, group: &str, value, reader| {
        let component = builtin_kind(group, "v1", kind).expect("a kind");
        type_error(&builtin_schema(component), kind, &value, reader)
    };
    let cases = [
        (
            "ConfigMap",
            "",
            json!({"data": {"k": 1}}),
            "json: cannot unmarshal number into Go struct field ConfigMap.data of type string",
        ),
        (
            "ConfigMap",
            "",
            json!({"data": [1]}),
            "json: cannot unmarshal array into Go struct field ConfigMap.data of type map[string]string",
        ),
        (
            "ConfigMap",
            "",
            json!({"binaryData": {"k": "!"}}),
            "illegal base64 data at input byte 0",
        ),
        (
            "ConfigMap",
            "",
            json!({"binaryData": {"k": "YW"}}),
            "illegal base64 data at input byte 0",
        ),
        (
            "ConfigMap",
            "",
            json!({"metadata": []}),
            "json: cannot unmarshal array into Go struct field ConfigMap.metadata of type v1.ObjectMeta",
        ),
        (
            "ConfigMap",
            "",
            json!({"metadata": {"name": true}}),
            "json: cannot unmarshal bool into Go struct field ObjectMeta.metadata.name of type string",
        ),
        (
            "Pod",
            "",
            json!({"spec": {"containers": [{"ports": [{"containerPort": "x"}]}]}}),
            "json: cannot unmarshal string into Go struct field ContainerPort.spec.containers.ports.containerPort of type int32",
        ),
        (
            "Pod",
            "",
            json!({"spec": {"containers": {}}}),
            "json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type []v1.Container",
        ),
        (
            "Pod",
            "",
            json!({"spec": {"containers": [{"resources": {"limits": {"cpu": "x"}}}]}}),
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
        (
            "Pod",
            "",
            json!({"metadata": {"creationTimestamp": "yesterday"}}),
            "parsing time \"yesterday\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"yesterday\" as \"2006\"",
        ),
        (
            "Deployment",
            "apps",
            json!({"spec": {"replicas": 1.5}}),
            "json: cannot unmarshal number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
    ];
    for (kind, group, value, sentence) in cases {
        assert_eq!(
            error(kind, group, value, Reader::Json).as_deref(),
            Some(sentence)
        );
    }
    let replicas = json!({"spec": {"replicas": "x"}});
    assert_eq!(
        error("Deployment", "apps", replicas, Reader::Map).as_deref(),
        Some("unrecognized type: int32")
    );
    let fits = json!({"spec": {"containers": [{"ports": null, "livenessProbe": {"httpGet": {"port": "http"}}, "resources": {"limits": {"cpu": 1}}}]}});
    assert_eq!(error("Pod", "", fits, Reader::Json), None);
}

#[test]
fn built_in_kinds_may_leave_their_type_out_and_must_not_be_others() {
    let registry = Registry::builtin();
    let maps = registry.get("", "v1", "configmaps").expect("a resource");
    let read = |text: &str| Target::of(maps).read(text.as_bytes(), BodyFormat::Json);
    let filled = read(r#"{"data": {}}"#).expect("a ConfigMap").value;
    assert_eq!(
        filled,
        json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {}})
    );
    for (wrong, sentence) in [
        (
            r#"{"kind":"Secret"}"#,
            "Secret in version \"v1\" cannot be handled as a ConfigMap: converting (v1.Secret) to (core.ConfigMap): unknown conversion",
        ),
        (
            r#"{"apiVersion":"v2"}"#,
            "ConfigMap in version \"v2\" cannot be handled as a ConfigMap: no kind \"ConfigMap\" is registered for version \"v2\" in scheme \"pkg/api/legacyscheme/scheme.go:30\"",
        ),
        (
            r#"{"kind":1}"#,
            "the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; json parse error: json: cannot unmarshal number into Go struct field .kind of type string ({\"kind\":1})",
        ),
        (
            "[]",
            "the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; json parse error: json: cannot unmarshal array into Go value of type struct { APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" } (5b5d)",
        ),
    ] {
        let refused = read(wrong).expect_err("refused");
        assert_eq!((refused.code, refused.message.as_str()), (400, sentence));
    }
}
