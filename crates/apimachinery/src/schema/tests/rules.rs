//! CEL rules.

use serde_json::{Value, json};

use super::{custom, errors, object};
use crate::schema::Schema;

const DUPLICATES: &str = "self.all(x, self.exists_one(y, y.__namespace__ == x.__namespace__ && \
y.__package__ == x.__package__ && (has(y.name) ? y.name : '') == (has(x.name) ? x.name : '') && \
(has(y.version) ? y.version : '') == (has(x.version) ? x.version : '')))";
const ONE_UNNAMED: &str = "self.all(x, (has(x.name) && x.name != '') || self.filter(y, \
y.__namespace__ == x.__namespace__ && y.__package__ == x.__package__ && !(has(y.name) && y.name != \
'')).size() == 1)";

/// A rule on one field of the given schema.
fn with_rule(mut schema: Value, rule: Value) -> Schema {
    schema["x-kubernetes-validations"] = json!([rule]);
    custom(json!({"type": "object", "properties": {"v": schema}}))
}

#[test]
fn host_interfaces_are_unique_and_unnamed_once() {
    let text = json!({"type": "string"});
    let schema = custom(json!({"type": "object", "properties": {"hostInterfaces": {
        "type": "array",
        "maxItems": 64,
        "items": {
            "type": "object",
            "required": ["namespace", "package", "interfaces"],
            "properties": {
                "name": text, "namespace": text, "package": text, "version": text,
                "interfaces": {"type": "array", "minItems": 1, "items": {"type": "string"}},
            },
        },
        "x-kubernetes-validations": [
            {"rule": DUPLICATES, "message": "no duplicates"},
            {"rule": ONE_UNNAMED, "message": "one unnamed"},
        ],
    }}}));
    let entry = |extra: Value| {
        let mut entry = json!({"namespace": "wasi", "package": "http", "interfaces": ["handler"]});
        for (name, value) in extra.as_object().unwrap() {
            entry[name] = value.clone();
        }
        entry
    };
    const DUPLICATE: &str = "spec.hostInterfaces: Invalid value: no duplicates";
    const UNNAMED: &str = "spec.hostInterfaces: Invalid value: one unnamed";
    let cases: [(Vec<Value>, &[&str]); 6] = [
        (vec![], &[]),
        (
            vec![entry(json!({})), entry(json!({"package": "config"}))],
            &[],
        ),
        (
            vec![
                entry(json!({"name": "a"})),
                entry(json!({"name": "b"})),
                entry(json!({})),
            ],
            &[],
        ),
        (
            vec![entry(json!({})), entry(json!({}))],
            &[DUPLICATE, UNNAMED],
        ),
        (
            vec![entry(json!({"name": "a"})), entry(json!({"name": "a"}))],
            &[DUPLICATE],
        ),
        (
            vec![
                entry(json!({"version": "1"})),
                entry(json!({"version": "2"})),
            ],
            &[UNNAMED],
        ),
    ];
    for (list, expected) in cases {
        assert_eq!(
            errors(&schema, json!({"hostInterfaces": list})),
            expected,
            "{list:?}"
        );
    }
}

#[test]
fn field_names_are_escaped_and_map_keys_are_not() {
    let text = json!({"type": "string"});
    let schema = with_rule(
        json!({"type": "object",
               "properties": {"namespace": text, "a-b": text, "x.y": text, "p/q": text,
                              "one_two": text, "a__b": text},
               "required": ["namespace"]}),
        json!({"rule": "self.__namespace__ == 'n' && self.a__dash__b == 'd' && self.x__dot__y == 'o' \
                        && self.p__slash__q == 's' && self.one_two == 'u' && \
                        self.a__underscores__b == 'uu'"}),
    );
    let value = json!({"namespace": "n", "a-b": "d", "x.y": "o", "p/q": "s", "one_two": "u",
                       "a__b": "uu"});
    assert_eq!(errors(&schema, json!({ "v": value })), Vec::<String>::new());

    let schema = with_rule(
        json!({"type": "object", "additionalProperties": {"type": "string"}}),
        json!({"rule": "self['a-b'] == 'x' && !('c' in self)"}),
    );
    assert_eq!(
        errors(&schema, json!({"v": {"a-b": "x"}})),
        Vec::<String>::new()
    );
    assert_eq!(errors(&schema, json!({"v": {"a-b": "y"}})).len(), 1);
}

#[test]
fn values_take_the_type_of_their_schema() {
    let cases = [
        (json!({"type": "number"}), json!(2), "self > 1.5"),
        (json!({"type": "integer"}), json!(2), "self > 1"),
        (
            json!({"type": "string", "format": "date-time"}),
            json!("2026-01-02T03:04:05Z"),
            "self > timestamp('2025-01-01T00:00:00Z')",
        ),
        (
            json!({"type": "string", "format": "duration"}),
            json!("90s"),
            "self > duration('1m')",
        ),
        (
            json!({"type": "string", "format": "byte"}),
            json!("aGk="),
            "size(self) == 2",
        ),
        (
            json!({"type": "string"}),
            json!("abc"),
            "self.matches('^a') && self.size() == 3",
        ),
        (
            json!({"x-kubernetes-int-or-string": true}),
            json!("50%"),
            "type(self) == string",
        ),
        (
            json!({"type": "array", "items": {"type": "integer"}}),
            json!([1, 2, 3]),
            "self.sum() == 6 && self.exists(x, x == 2)",
        ),
        (
            json!({"type": "string"}),
            json!("1.5Gi"),
            "isQuantity(self)",
        ),
        (
            json!({"type": "string"}),
            json!("https://a.example/x"),
            "url(self).getScheme() == 'https'",
        ),
    ];
    for (schema, value, rule) in cases {
        let compiled = with_rule(schema, json!({ "rule": rule }));
        assert_eq!(
            errors(&compiled, json!({ "v": value })),
            Vec::<String>::new(),
            "{rule}"
        );
    }
}

#[test]
fn messages_reasons_and_paths_come_from_the_rule() {
    let integer = || json!({"type": "integer"});
    let cases = [
        (
            json!({"rule": "self > 0"}),
            "spec.v: Invalid value: -1: failed rule: self > 0",
        ),
        (
            json!({"rule": "self > 0", "message": "be positive"}),
            "spec.v: Invalid value: -1: be positive",
        ),
        (
            json!({"rule": "self > 0", "message": "unused", "messageExpression": "'got ' + string(self)"}),
            "spec.v: Invalid value: -1: got -1",
        ),
        (
            json!({"rule": "self > 0", "message": "used", "messageExpression": "'' + ' '"}),
            "spec.v: Invalid value: -1: used",
        ),
        (
            json!({"rule": "self > 0", "message": "no", "reason": "FieldValueForbidden"}),
            "spec.v: Forbidden: no",
        ),
    ];
    for (rule, message) in cases {
        let schema = with_rule(integer(), rule);
        assert_eq!(errors(&schema, json!({"v": -1})), [message]);
    }
    let schema = with_rule(
        json!({"type": "object", "properties": {"a": integer(), "b": integer()}}),
        json!({"rule": "self.a < self.b", "message": "order", "fieldPath": ".a"}),
    );
    assert_eq!(
        errors(&schema, json!({"v": {"a": 2, "b": 1}})),
        ["spec.v.a: Invalid value: order"]
    );
    assert_eq!(
        errors(&schema, json!({"v": {"a": 2}})),
        ["spec.v.a: Invalid value: \"object\": no such key: b evaluating rule: order"]
    );
}

#[test]
fn rules_wait_until_the_shape_is_right() {
    let schema = with_rule(json!({"type": "integer"}), json!({"rule": "self > 0"}));
    assert_eq!(
        errors(&schema, json!({"v": "x"})),
        [
            "spec.v: Invalid value: \"string\": spec.v in body must be of type integer: \"string\"",
            "<nil>: Invalid value: null: some validation rules were not checked because the object \
             was invalid; correct the existing errors to complete validation",
        ]
    );
}

#[test]
fn transition_rules_see_the_old_value() {
    let schema = custom(json!({
        "type": "object",
        "properties": {
            "fixed": {"type": "string", "x-kubernetes-validations": [
                {"rule": "self == oldSelf", "message": "fixed"}]},
            "once": {"type": "string", "x-kubernetes-validations": [
                {"rule": "!oldSelf.hasValue() || self == oldSelf.value()", "message": "once",
                 "optionalOldSelf": true}]},
            "positive": {"type": "integer", "x-kubernetes-validations": [
                {"rule": "self > 0", "message": "positive"}]},
            "keyed": {"type": "array", "x-kubernetes-list-type": "map",
                      "x-kubernetes-list-map-keys": ["n"],
                      "items": {"type": "object", "required": ["n"], "properties": {
                          "n": {"type": "string"},
                          "v": {"type": "integer", "x-kubernetes-validations": [
                              {"rule": "self >= oldSelf", "message": "grow"}]}}}},
            "plain": {"type": "array", "items": {"type": "integer", "x-kubernetes-validations": [
                {"rule": "self >= oldSelf", "message": "never checked"}]}},
        },
    }));
    let old = json!({"fixed": "a", "once": "a", "positive": -1, "plain": [5],
                     "keyed": [{"n": "a", "v": 1}, {"n": "b", "v": 5}]});
    let cases: [(Value, &[&str]); 6] = [
        (
            json!({"fixed": "b"}),
            &["spec.fixed: Invalid value: \"b\": fixed"],
        ),
        (
            json!({"once": "b"}),
            &["spec.once: Invalid value: \"b\": once"],
        ),
        // Bad before, unchanged: let through. Changed: not.
        (json!({}), &[]),
        (
            json!({"positive": -2}),
            &["spec.positive: Invalid value: -2: positive"],
        ),
        (
            json!({"keyed": [{"n": "b", "v": 4}, {"n": "a", "v": 2}, {"n": "c", "v": 0}]}),
            &["spec.keyed[0].v: Invalid value: 4: grow"],
        ),
        (json!({"plain": [1]}), &[]),
    ];
    for (change, expected) in cases {
        let mut new = old.clone();
        for (name, value) in change.as_object().unwrap() {
            new[name] = value.clone();
        }
        let errors: Vec<String> = schema
            .validate(&object(new), Some(&object(old.clone())))
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(errors, expected, "{change}");
    }
    let created = errors(&schema, json!({"fixed": "a", "once": "a", "positive": 1}));
    assert_eq!(created, Vec::<String>::new());
}

#[test]
fn rules_at_the_root_see_metadata_and_embedded_quotes() {
    let schema = Schema::compile_custom(&json!({
        "type": "object",
        "properties": {"spec": {"type": "object", "properties": {"a": {"type": "string"}}}},
        "x-kubernetes-validations": [
            {"rule": "self.metadata.name.startsWith('x')", "message": "name starts with x"}],
    }))
    .unwrap();
    let errors: Vec<String> = schema
        .validate(&object(json!({})), None)
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(errors, ["<nil>: Invalid value: name starts with x"]);
}
