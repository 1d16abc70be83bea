//! Which webhook configurations, policies and bindings are refused when they are written.

mod policies;
mod webhooks;

use serde_json::Value;

use super::expression::Expression;
use super::typing::{Type, Variables};
use crate::names;
use crate::selector::LabelSelector;
use crate::status::FieldError;

/// The problems of an object of this group, by its plural. Expressions that `old` has already are
/// not judged again.
pub fn validate(plural: &str, new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    match plural {
        "validatingwebhookconfigurations" | "mutatingwebhookconfigurations" => {
            webhooks::check(new, old, &mut errors);
        }
        "validatingadmissionpolicies" => policies::check_policy(new, old, &mut errors),
        "validatingadmissionpolicybindings" => policies::check_binding(new, &mut errors),
        _ => {}
    }
    errors
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn list<'a>(value: &'a Value, field: &str) -> impl Iterator<Item = (usize, &'a Value)> {
    value[field].as_array().into_iter().flatten().enumerate()
}

/// One of these texts, if it is there.
fn choice(value: &Value, allowed: &[&str], path: String, errors: &mut Vec<FieldError>) {
    if value
        .as_str()
        .is_some_and(|given| !allowed.contains(&given))
    {
        let allowed: Vec<String> = allowed.iter().map(|text| (*text).to_owned()).collect();
        errors.push(FieldError::not_supported(path, value, &allowed));
    }
}

fn selector(value: &Value, path: String, errors: &mut Vec<FieldError>) {
    if let Err(error) = LabelSelector::from_json(value) {
        errors.push(FieldError::invalid(path, value, error.to_string()));
    }
}

const OPERATIONS: [&str; 5] = ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];

/// Operations, groups, versions and resources of one rule.
fn rule(rule: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let mut texts = |field: &str, what: &str| {
        let list = &rule[field];
        let count = list.as_array().map_or(0, Vec::len);
        if count == 0 {
            errors.push(FieldError::required(format!("{path}.{field}"), ""));
        }
        let any = list
            .as_array()
            .is_some_and(|list| list.contains(&"*".into()));
        if count > 1 && any && field != "resources" {
            let why = format!("if '*' is present, must not specify other {what}");
            errors.push(FieldError::invalid(format!("{path}.{field}"), list, why));
        }
        if field == "operations" {
            for (index, operation) in self::list(rule, field) {
                let path = format!("{path}.{field}[{index}]");
                choice(operation, &OPERATIONS, path, errors);
            }
        }
        if matches!(field, "apiVersions" | "resources") {
            for (index, _) in self::list(rule, field).filter(|(_, given)| **given == "") {
                errors.push(FieldError::required(format!("{path}.{field}[{index}]"), ""));
            }
        }
    };
    texts("operations", "operations");
    texts("apiGroups", "API groups");
    texts("apiVersions", "API versions");
    texts("resources", "resources");
    resources(&rule["resources"], &format!("{path}.resources"), errors);
    choice(
        &rule["scope"],
        &["*", "Cluster", "Namespaced"],
        format!("{path}.scope"),
        errors,
    );
}

/// Wildcards make other entries idle.
fn resources(given: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let all: Vec<&str> = given.as_array().into_iter().flatten().map(text).collect();
    for (index, entry) in all.iter().enumerate() {
        let Some((of, part)) = entry.split_once('/') else {
            continue;
        };
        for wider in [format!("{of}/*"), format!("*/{part}")] {
            if all[..index].contains(&&*wider) {
                let why = format!("if '{wider}' is present, must not specify {entry}");
                let value = Value::from(*entry);
                errors.push(FieldError::invalid(format!("{path}[{index}]"), &value, why));
            }
        }
    }
    if all.len() > 1 && all.contains(&"*/*") {
        let why = "if '*/*' is present, must not specify other resources";
        errors.push(FieldError::invalid(path, given, why));
    }
    if all.contains(&"*")
        && all
            .iter()
            .any(|entry| *entry != "*" && !entry.contains('/'))
    {
        let why = "if '*' is present, must not specify other resources without subresources";
        errors.push(FieldError::invalid(path, given, why));
    }
}

/// The largest number of `matchConditions`; as on the real server.
const MOST_CONDITIONS: u64 = 64;

fn conditions(of: &Value, old: &[&str], params: bool, path: &str, errors: &mut Vec<FieldError>) {
    let variables = Variables {
        params,
        authorizer: true,
        own: None,
    };
    let path = format!("{path}matchConditions");
    let count = of["matchConditions"].as_array().map_or(0, Vec::len) as u64;
    if count > MOST_CONDITIONS {
        errors.push(FieldError::too_many(&path, count, MOST_CONDITIONS));
    }
    let mut seen: Vec<&str> = Vec::new();
    for (index, condition) in list(of, "matchConditions") {
        let path = format!("{path}[{index}]");
        let source = text(&condition["expression"]).trim();
        let place = format!("{path}.expression");
        match source {
            "" => errors.push(FieldError::required(place, "")),
            source if old.contains(&source) => {}
            source => {
                expression(source, &variables, &[Type::Bool], place, errors);
            }
        }
        let name = text(&condition["name"]);
        let place = format!("{path}.name");
        if name.is_empty() {
            errors.push(FieldError::required(place, ""));
            continue;
        }
        for problem in names::qualified_name(name) {
            errors.push(FieldError::invalid(&place, &condition["name"], problem));
        }
        match seen.contains(&name) {
            true => errors.push(FieldError::duplicate(place, &condition["name"])),
            false => seen.push(name),
        }
    }
}

/// Expressions of conditions that stood there before.
fn known_conditions(of: &Value) -> Vec<&str> {
    list(of, "matchConditions")
        .map(|(_, condition)| text(&condition["expression"]).trim())
        .collect()
}

/// Compiles an expression; its type if it can be judged.
fn expression(
    source: &str,
    variables: &Variables,
    wanted: &[Type],
    path: String,
    errors: &mut Vec<FieldError>,
) -> Option<Type> {
    match Expression::check(source, variables, wanted) {
        Ok(found) => Some(found),
        Err(why) => {
            errors.push(FieldError::invalid(path, &Value::from(source), why));
            None
        }
    }
}
