use serde::Deserialize;
use serde_json::Value;
use waft_api::HttpTriggerSpec;

use super::*;
use crate::golden;

/// A trigger and what its component exports.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Case {
    handler: String,
    spec: HttpTriggerSpec,
}

fn trigger(spec: HttpTriggerSpec) -> HttpTrigger {
    let mut trigger = HttpTrigger::new("hello", spec);
    trigger.metadata.namespace = Some("default".into());
    trigger.metadata.uid = Some("u-1".into());
    trigger
}

fn translate(case: Case) -> Value {
    serde_json::to_value(deployment(&trigger(case.spec), Some(&case.handler))).unwrap()
}

#[test]
fn triggers() {
    golden::check("trigger", translate);
}

#[test]
fn the_handler_is_remembered_until_the_template_changes() {
    let yaml = "template: {spec: {components: [{name: a, image: i}]}}";
    let mut trigger = trigger(serde_saphyr::from_str(yaml).unwrap());
    let owned = deployment(&trigger, Some(HANDLER));
    assert_eq!(handler_of(&trigger, &owned).as_deref(), Some(HANDLER));
    trigger.spec.replicas = Some(4);
    assert_eq!(handler_of(&trigger, &owned).as_deref(), Some(HANDLER));
    let guess = deployment(&trigger, None);
    assert!(is_guess(&trigger, &guess) && !is_guess(&trigger, &owned));
    assert_eq!(handler_of(&trigger, &guess), None);
    trigger.spec.template.spec.components[0].image = "j".into();
    assert_eq!(handler_of(&trigger, &owned), None);
    assert!(!is_guess(&trigger, &guess));
}

#[test]
fn the_version_of_the_entry_declares_the_handler() {
    let declared = |entry: &str| {
        let yaml = format!(
            "template: {{spec: {{components: [{{name: a, image: i}}], hostInterfaces: \
             [{{namespace: wasi, package: http, {entry}}}]}}}}"
        );
        let trigger = trigger(serde_saphyr::from_str(&yaml).unwrap());
        declared_handler(&trigger)
    };
    for (entry, wanted) in [
        ("interfaces: [client], version: 0.3.0", Some(HANDLER)),
        ("interfaces: [client], version: 0.3.0-rc-1", Some(HANDLER)),
        (
            "interfaces: [types], version: 0.2.6",
            Some(INCOMING_HANDLER),
        ),
        ("interfaces: [handler], version: 0.2.6", Some(HANDLER)),
        ("interfaces: [types]", None),
        ("interfaces: [types], version: ''", None),
        ("interfaces: [types], version: 0.4.0", None),
        ("name: other, interfaces: [types], version: 0.3.0", None),
    ] {
        assert_eq!(declared(entry).as_deref(), wanted, "{entry}");
    }
}
