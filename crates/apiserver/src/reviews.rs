//! Questions about access. Whoever is let in is cluster-admin, so the answer is yes.

use serde_json::{Value, json};
use waft_apimachinery::registry::Resource;
use waft_apimachinery::status::Status;

/// The user that every admitted request is.
pub(crate) const USER: &str = "waft-admin";

/// Answers a review.
pub(crate) fn answer(resource: &Resource, mut body: Value) -> Result<Value, Status> {
    waft_apimachinery::meta::check_type(&mut body, resource)?;
    let metadata = waft_apimachinery::meta::metadata_mut(&mut body);
    metadata.entry("creationTimestamp").or_insert(Value::Null);
    body["status"] = match resource.plural.as_str() {
        "selfsubjectrulesreviews" => json!({
            "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
            "incomplete": false,
        }),
        "selfsubjectreviews" => json!({
            "userInfo": {"username": USER, "groups": ["system:masters", "system:authenticated"]},
        }),
        _ => json!({"allowed": true, "reason": "the caller is cluster-admin"}),
    };
    Ok(body)
}
