use serde_json::json;

use super::*;

#[test]
fn label_selectors_match_as_documented() {
    let labels = json!({"app": "web", "tier": "front", "a.io/b": "", "n": "5"});
    let cases = [
        ("", true),
        ("app=web", true),
        ("app==web", true),
        ("app = web", true),
        ("app=db", false),
        ("app!=db", true),
        ("app!=web", false),
        ("missing!=x", true),
        ("missing=x", false),
        ("app", true),
        ("!app", false),
        ("!missing", true),
        ("a.io/b", true),
        ("a.io/b=", true),
        ("app in (web, db)", true),
        ("app in (db)", false),
        ("app notin (db),tier=front", true),
        ("app notin (web)", false),
        ("missing notin (x)", true),
        ("app in(web),n>4", true),
        ("n<5", false),
        ("app=web,tier=back", false),
        ("index=1", false),
    ];
    for (selector, expected) in cases {
        let parsed = LabelSelector::parse(selector).expect(selector);
        assert_eq!(parsed.matches(Some(&labels)), expected, "{selector}");
    }
    assert!(LabelSelector::everything().matches(None));
    assert!(
        LabelSelector::parse("!a")
            .unwrap()
            .matches_object(&json!({"metadata": {}}))
    );
}

#[test]
fn broken_label_selectors_are_refused() {
    for selector in [
        "app in web",
        "app in (web",
        "=web",
        "app=web,,b=c",
        "app=web,",
        "a b",
        "-a=b",
        "a=b c",
        "a/b/c=d",
        "app in",
        "n>x",
    ] {
        assert!(LabelSelector::parse(selector).is_err(), "{selector}");
    }
}

#[test]
fn object_selectors_combine_labels_and_expressions() {
    let selector = LabelSelector::from_json(&json!({
        "matchLabels": {"app": "web"},
        "matchExpressions": [
            {"key": "tier", "operator": "NotIn", "values": ["back"]},
            {"key": "x", "operator": "DoesNotExist"},
        ],
    }))
    .unwrap();
    assert!(selector.matches(Some(&json!({"app": "web"}))));
    assert!(!selector.matches(Some(&json!({"app": "web", "tier": "back"}))));
    assert!(!selector.matches(Some(&json!({"app": "web", "x": ""}))));
    for bad in [
        json!({"matchExpressions": [{"key": "a", "operator": "In"}]}),
        json!({"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]}),
        json!({"matchExpressions": [{"key": "a", "operator": "Like", "values": ["b"]}]}),
        json!({"matchLabels": {"a": 1}}),
    ] {
        assert!(LabelSelector::from_json(&bad).is_err(), "{bad}");
    }
}

#[test]
fn field_selectors_compare_texts() {
    let object = json!({
        "metadata": {"name": "a,b=c", "namespace": "n"}, "status": {"phase": "Running"},
        "spec": {"replicas": 3, "unschedulable": true},
    });
    let cases = [
        ("metadata.namespace=n", true),
        ("metadata.namespace==n,status.phase!=Failed", true),
        ("metadata.name=a\\,b\\=c", true),
        ("spec.replicas=3", true),
        ("spec.unschedulable=true", true),
        ("spec.nodeName=", true),
        ("spec.nodeName!=", false),
        ("status.phase=Pending", false),
    ];
    for (selector, expected) in cases {
        let parsed = FieldSelector::parse(selector).expect(selector);
        assert_eq!(parsed.matches(&object), expected, "{selector}");
    }
    assert!(FieldSelector::parse("metadata.name").is_err());
    assert!(FieldSelector::parse("a=b\\x").is_err());
    assert_eq!(
        FieldSelector::parse("a!=b").unwrap().requirements()[0].field,
        "a"
    );
}

#[test]
fn selectors_are_read_as_they_are_written_in_a_query() {
    let selector = json!({
        "matchLabels": {"b": "2", "a": "1"},
        "matchExpressions": [
            {"key": "tier", "operator": "In", "values": ["x", "y"]},
            {"key": "zone", "operator": "NotIn", "values": ["z"]},
            {"key": "kept", "operator": "Exists"},
            {"key": "old", "operator": "DoesNotExist"},
        ],
    });
    let text = selector_text(&selector);
    assert_eq!(text, "a=1,b=2,tier in (x,y),zone notin (z),kept,!old");
    let read = LabelSelector::from_json(&selector);
    assert_eq!(
        LabelSelector::parse(&text).unwrap().requirements().len(),
        read.unwrap().requirements().len()
    );
    assert_eq!(selector_text(&json!({})), "");
}
