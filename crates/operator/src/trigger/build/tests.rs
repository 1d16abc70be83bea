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
    serde_json::to_value(deployment(&trigger(case.spec), &case.handler)).unwrap()
}

#[test]
fn triggers() {
    golden::check("trigger", translate);
}

#[test]
fn the_handler_is_remembered_until_the_template_changes() {
    let yaml = "template: {spec: {components: [{name: a, image: i}]}}";
    let mut trigger = trigger(serde_saphyr::from_str(yaml).unwrap());
    let owned = deployment(&trigger, HANDLER);
    assert_eq!(handler_of(&trigger, &owned).as_deref(), Some(HANDLER));
    trigger.spec.replicas = Some(4);
    assert_eq!(handler_of(&trigger, &owned).as_deref(), Some(HANDLER));
    trigger.spec.template.spec.components[0].image = "j".into();
    assert_eq!(handler_of(&trigger, &owned), None);
}
