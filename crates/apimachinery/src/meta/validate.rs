//! The rules that hold for the metadata of every kind.

use serde_json::Value;

use super::text;
use crate::names;
use crate::registry::{Names, Resource};
use crate::status::{FieldError, go};

const ANNOTATIONS_LIMIT: u64 = 256 * 1024;

/// Problems of an object's metadata; names are checked for new objects only.
pub fn validate_metadata(
    object: &Value,
    resource: &Resource,
    old: Option<&Value>,
) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if old.is_none() {
        name(object, resource, &mut errors);
    }
    labels(object, &mut errors);
    annotations(object, &mut errors);
    owners(object, &mut errors);
    finalizers(object, resource, &mut errors);
    errors
}

/// Problems of maps whose keys are names of files, and changes of objects that are not to change.
pub fn validate_entries(
    object: &Value,
    resource: &Resource,
    old: Option<&Value>,
) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let maps = || {
        resource
            .rules
            .keys
            .iter()
            .map(|field| (field, object[field.as_str()].as_object()))
    };
    for (field, map) in maps() {
        for key in map.into_iter().flat_map(|map| map.keys()) {
            let path = format!("{field}[{key}]");
            for problem in names::config_key(key) {
                errors.push(FieldError::invalid(
                    &path,
                    &Value::from(key.as_str()),
                    problem,
                ));
            }
            let other = maps().find(|(other, map)| {
                field == "data" && *other != field && map.is_some_and(|map| map.contains_key(key))
            });
            if let Some((other, _)) = other {
                let problem = format!("duplicate of key present in {other}");
                errors.push(FieldError::invalid(
                    &path,
                    &Value::from(key.as_str()),
                    problem,
                ));
            }
        }
    }
    if let Some(old) =
        old.filter(|old| !resource.rules.immutable.is_empty() && old["immutable"] == true)
    {
        let problem = "field is immutable when `immutable` is set";
        if object["immutable"] != true {
            errors.push(FieldError::forbidden("immutable", problem));
        }
        let changed = resource
            .rules
            .immutable
            .iter()
            .filter(|field| old[field.as_str()] != object[field.as_str()]);
        errors.extend(changed.map(|field| FieldError::forbidden(field, problem)));
    }
    errors
}

/// Problems of the numbers that the scale subresource of a custom resource finds.
pub fn validate_scale(object: &Value, resource: &Resource) -> Vec<FieldError> {
    let Some(scale) = resource.scale.as_ref().filter(|_| !resource.builtin) else {
        return Vec::new();
    };
    let paths = [&scale.spec, &scale.status];
    let errors = paths.into_iter().filter_map(|path| {
        let (value, problem) = match number_at(object, path) {
            Err(problem) => (0, problem),
            Ok(number) if number < 0 => (number, "should be a non-negative integer".to_owned()),
            Ok(number) if number > i64::from(i32::MAX) => (
                number,
                format!("should be less than or equal to {}", i32::MAX),
            ),
            Ok(_) => return None,
        };
        Some(FieldError::invalid(path, &value.into(), problem))
    });
    errors.collect()
}

/// The whole number at a path of plain fields; none where one of them is absent.
fn number_at(object: &Value, path: &str) -> Result<i64, String> {
    let wrong = |at: &Value, wanted: &str| {
        let kind = match at {
            Value::Null => "<nil>",
            Value::Bool(_) => "bool",
            Value::Number(number) if number.is_f64() => "float64",
            Value::Number(_) => "int64",
            Value::String(_) => "string",
            Value::Array(_) => "[]interface {}",
            Value::Object(_) => "map[string]interface {}",
        };
        let shown = go::format(at);
        format!("{path} accessor error: {shown} is of the type {kind}, expected {wanted}")
    };
    let mut at = object;
    for field in path.trim_start_matches('.').split('.') {
        let Value::Object(map) = at else {
            return Err(wrong(at, "map[string]interface{}"));
        };
        match map.get(field) {
            Some(next) => at = next,
            None => return Ok(0),
        }
    }
    at.as_i64().ok_or_else(|| wrong(at, "int64"))
}

fn name(object: &Value, resource: &Resource, errors: &mut Vec<FieldError>) {
    let name = text(object, "name");
    if name.is_empty() {
        errors.push(FieldError::required(
            "metadata.name",
            "name or generateName is required",
        ));
        return;
    }
    let problems = |name: &str| match resource.names {
        Names::Subdomain => names::dns_subdomain(name),
        Names::Label => names::dns_label(name),
        Names::Service => names::dns1035_label(name),
        Names::Path => names::path_segment(name),
    };
    let prefix = text(object, "generateName");
    if !prefix.is_empty() {
        // A dash at the end is made good by what follows it.
        let stem = match prefix.strip_suffix('-') {
            Some(stem) if !stem.is_empty() => format!("{stem}a"),
            _ => prefix.to_owned(),
        };
        errors.extend(problems(&stem).into_iter().map(|problem| {
            FieldError::invalid("metadata.generateName", &Value::from(prefix), problem)
        }));
    }
    let problems = problems(name);
    errors.extend(
        problems
            .into_iter()
            .map(|problem| FieldError::invalid("metadata.name", &Value::from(name), problem)),
    );
}

fn pairs<'a>(object: &'a Value, field: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    object["metadata"][field].as_object().into_iter().flatten()
}

fn labels(object: &Value, errors: &mut Vec<FieldError>) {
    for (key, value) in pairs(object, "labels") {
        let value = value.as_str().unwrap_or_default();
        let of_key = names::qualified_name(key)
            .into_iter()
            .map(|problem| (key.as_str(), problem));
        let of_value = names::label_value(value)
            .into_iter()
            .map(|problem| (value, problem));
        for (bad, problem) in of_key.chain(of_value) {
            errors.push(FieldError::invalid(
                "metadata.labels",
                &Value::from(bad),
                problem,
            ));
        }
    }
}

fn annotations(object: &Value, errors: &mut Vec<FieldError>) {
    let mut size = 0;
    for (key, value) in pairs(object, "annotations") {
        for problem in names::qualified_name(&key.to_lowercase()) {
            errors.push(FieldError::invalid(
                "metadata.annotations",
                &Value::from(key.as_str()),
                problem,
            ));
        }
        size += (key.len() + value.as_str().map_or(0, str::len)) as u64;
    }
    if size > ANNOTATIONS_LIMIT {
        errors.push(FieldError::too_long(
            "metadata.annotations",
            ANNOTATIONS_LIMIT,
        ));
    }
}

fn finalizers(object: &Value, resource: &Resource, errors: &mut Vec<FieldError>) {
    let given = || {
        object["metadata"]["finalizers"]
            .as_array()
            .into_iter()
            .flatten()
    };
    let path = "metadata.finalizers";
    for finalizer in given() {
        for problem in names::qualified_name(finalizer.as_str().unwrap_or_default()) {
            errors.push(FieldError::invalid(path, finalizer, problem));
        }
    }
    let has = |name: &str| given().any(|finalizer| finalizer == name);
    if has("orphan") && has("foregroundDeletion") {
        let problem = "finalizer orphan and foregroundDeletion cannot be both set";
        let shown = go::format(&object["metadata"]["finalizers"]);
        errors.push(FieldError::invalid(path, &shown.into(), problem));
    }
    if !resource.builtin {
        return;
    }
    for (index, finalizer) in given().enumerate() {
        if unqualified(finalizer) {
            let problem = "name is neither a standard finalizer name nor is it fully qualified";
            errors.push(FieldError::invalid(
                format!("{path}[{index}]"),
                finalizer,
                problem,
            ));
        }
    }
}

fn unqualified(finalizer: &Value) -> bool {
    let given = finalizer.as_str().unwrap_or_default();
    !["orphan", "foregroundDeletion", "kubernetes"].contains(&given) && !given.contains('/')
}

fn owners(object: &Value, errors: &mut Vec<FieldError>) {
    let mut first_controller: Option<String> = None;
    for owner in object["metadata"]["ownerReferences"]
        .as_array()
        .into_iter()
        .flatten()
    {
        for field in ["apiVersion", "kind", "name", "uid"] {
            if owner[field].as_str().is_none_or(str::is_empty) {
                let problem = if field == "apiVersion" {
                    "version must not be empty"
                } else {
                    "must not be empty"
                };
                let path = format!("metadata.ownerReferences.{field}");
                errors.push(FieldError::invalid(path, &Value::from(""), problem));
            }
        }
        let (group, version) = match owner["apiVersion"].as_str().unwrap_or_default() {
            text if text.matches('/').count() > 1 => ("", ""),
            text => text.split_once('/').unwrap_or(("", text)),
        };
        let given = owner["apiVersion"]
            .as_str()
            .is_some_and(|text| !text.is_empty());
        if given && version.is_empty() {
            let problem = "version must not be empty";
            let path = "metadata.ownerReferences.apiVersion";
            errors.push(FieldError::invalid(path, &owner["apiVersion"], problem));
        }
        if group.is_empty() && version == "v1" && owner["kind"] == "Event" {
            let problem = "/v1, Kind=Event is disallowed from being an owner";
            errors.push(FieldError::invalid(
                "metadata.ownerReferences",
                owner,
                problem,
            ));
        }
        if owner["controller"] != true {
            continue;
        }
        let text = |field: &str| owner[field].as_str().unwrap_or_default();
        let this = format!("{}/{}", text("kind"), text("name"));
        match &first_controller {
            None => first_controller = Some(this),
            Some(first) => {
                let given = &object["metadata"]["ownerReferences"];
                let problem = format!(
                    "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {this}"
                );
                errors.push(FieldError::invalid(
                    "metadata.ownerReferences",
                    given,
                    problem,
                ));
            }
        }
    }
}
