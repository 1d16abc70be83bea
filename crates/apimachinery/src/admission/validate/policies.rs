//! ValidatingAdmissionPolicies and their bindings.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{choice, conditions, expression, known_conditions, list, rule, selector, text};
use crate::admission::typing::{Type, Variables};
use crate::names;
use crate::status::FieldError;

/// The largest number of `auditAnnotations`; as on the real server.
const MOST_ANNOTATIONS: usize = 20;

pub(super) fn check_policy(new: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let spec = &new["spec"];
    let failures = ["Fail", "Ignore"];
    choice(
        &spec["failurePolicy"],
        &failures,
        "spec.failurePolicy".into(),
        errors,
    );
    let params = spec["paramKind"].is_object();
    if params {
        param_kind(&spec["paramKind"], errors);
    }
    match spec["matchConstraints"].is_object() {
        false => errors.push(FieldError::required("spec.matchConstraints", "")),
        true => {
            resources(&spec["matchConstraints"], "spec.matchConstraints", errors);
            let rules = spec["matchConstraints"]["resourceRules"].as_array();
            if rules.is_none_or(Vec::is_empty) {
                let path = "spec.matchConstraints.resourceRules";
                errors.push(FieldError::required(path, ""));
            }
        }
    }
    let known = old.map(|old| known_conditions(&old["spec"]));
    conditions(spec, &known.unwrap_or_default(), params, "spec.", errors);
    let mut variables = Variables {
        params,
        authorizer: true,
        own: None,
    };
    for (index, variable) in list(spec, "variables") {
        let path = format!("spec.variables[{index}]");
        let own = variables.own.get_or_insert_with(BTreeMap::new).clone();
        let found = check_variable(variable, &variables, &path, errors);
        let mut own = own;
        own.insert(
            text(&variable["name"]).to_owned(),
            found.unwrap_or(Type::Unknown),
        );
        variables.own = Some(own);
    }
    let empty = |field: &str| spec[field].as_array().is_none_or(Vec::is_empty);
    if empty("validations") && empty("auditAnnotations") {
        let why = "validations or auditAnnotations must contain at least one item";
        for field in ["spec.validations", "spec.auditAnnotations"] {
            errors.push(FieldError::required(field, why));
        }
        return;
    }
    let is_old = |field: &str, source: &str| {
        old.is_some_and(|old| {
            list(&old["spec"], "validations").any(|(_, validation)| validation[field] == source)
        })
    };
    for (index, validation) in list(spec, "validations") {
        let path = format!("spec.validations[{index}]");
        check_validation(validation, &variables, &is_old, &path, errors);
    }
    annotations(spec, &variables, errors);
}

fn param_kind(kind: &Value, errors: &mut Vec<FieldError>) {
    let version = text(&kind["apiVersion"]);
    let path = "spec.paramKind.apiVersion";
    if version.is_empty() {
        errors.push(FieldError::required(path, ""));
    } else {
        let (group, bare) = version.rsplit_once('/').unwrap_or(("", version));
        let of_group = match group {
            "" => Vec::new(),
            group => names::dns_subdomain(group),
        };
        for problem in of_group.into_iter().chain(names::dns1035_label(bare)) {
            errors.push(FieldError::invalid(path, &kind["apiVersion"], problem));
        }
    }
    let name = text(&kind["kind"]);
    if name.is_empty() {
        errors.push(FieldError::required("spec.paramKind.kind", ""));
    } else {
        let problems = names::dns1035_label(&name.to_lowercase());
        if !problems.is_empty() {
            let why = format!(
                "may have mixed case, but should otherwise match: {}",
                problems.join(",")
            );
            errors.push(FieldError::invalid(
                "spec.paramKind.kind",
                &kind["kind"],
                why,
            ));
        }
    }
}

fn resources(of: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let policies = ["Equivalent", "Exact"];
    choice(
        &of["matchPolicy"],
        &policies,
        format!("{path}.matchPolicy"),
        errors,
    );
    for field in ["namespaceSelector", "objectSelector"] {
        selector(&of[field], format!("{path}.{field}"), errors);
    }
    for field in ["resourceRules", "excludeResourceRules"] {
        for (index, each) in list(of, field) {
            let path = format!("{path}.{field}[{index}]");
            let mut seen: Vec<&Value> = Vec::new();
            for (index, name) in list(each, "resourceNames") {
                let place = format!("{path}.resourceNames[{index}]");
                for problem in names::path_segment(text(name)) {
                    errors.push(FieldError::invalid(&place, name, problem));
                }
                match seen.contains(&name) {
                    true => errors.push(FieldError::duplicate(place, name)),
                    false => seen.push(name),
                }
            }
            rule(each, &path, errors);
        }
    }
}

fn check_variable(
    variable: &Value,
    variables: &Variables,
    path: &str,
    errors: &mut Vec<FieldError>,
) -> Option<Type> {
    let name = text(&variable["name"]);
    if name.trim().is_empty() {
        let why = "name is not specified";
        errors.push(FieldError::required(format!("{path}.name"), why));
    } else if !is_identifier(name) {
        errors.push(FieldError::invalid(
            format!("{path}.name"),
            &variable["name"],
            "must be a valid CEL identifier",
        ));
    }
    let path = format!("{path}.expression");
    match text(&variable["expression"]) {
        source if source.trim().is_empty() => {
            errors.push(FieldError::required(path, "expression is not specified"));
            None
        }
        source => expression(source, variables, &[], path, errors),
    }
}

fn is_identifier(name: &str) -> bool {
    !name.starts_with(|first: char| first.is_ascii_digit())
        && name.chars().all(|c| c == '_' || c.is_ascii_alphanumeric())
        && !matches!(name, "true" | "false" | "null" | "in")
}

fn check_validation(
    validation: &Value,
    variables: &Variables,
    is_old: &dyn Fn(&str, &str) -> bool,
    path: &str,
    errors: &mut Vec<FieldError>,
) {
    let source = text(&validation["expression"]);
    let place = format!("{path}.expression");
    if source.trim().is_empty() {
        errors.push(FieldError::required(place, "expression is not specified"));
    } else if !is_old("expression", source) {
        expression(source, variables, &[Type::Bool], place, errors);
    }
    let source = text(&validation["messageExpression"]);
    let place = format!("{path}.messageExpression");
    if !source.is_empty() && source.trim().is_empty() {
        let why = "must be non-empty if specified";
        errors.push(FieldError::invalid(
            place,
            &validation["messageExpression"],
            why,
        ));
    } else if !source.is_empty() && !is_old("messageExpression", source) {
        let variables = Variables {
            authorizer: false,
            ..variables.clone()
        };
        expression(source, &variables, &[Type::Text], place, errors);
    }
    let message = text(&validation["message"]);
    let why = match message.trim() {
        "" if !message.is_empty() => Some("must be non-empty if specified"),
        trimmed if trimmed.contains(['\n', '\r']) => Some("must not contain line breaks"),
        _ => None,
    };
    if let Some(why) = why {
        let place = format!("{path}.message");
        errors.push(FieldError::invalid(place, &validation["message"], why));
    }
    choice(
        &validation["reason"],
        &["Forbidden", "Invalid", "RequestEntityTooLarge"],
        format!("{path}.reason"),
        errors,
    );
}

fn annotations(spec: &Value, variables: &Variables, errors: &mut Vec<FieldError>) {
    let all = &spec["auditAnnotations"];
    if all
        .as_array()
        .is_some_and(|all| all.len() > MOST_ANNOTATIONS)
    {
        let why = format!("must not have more than {MOST_ANNOTATIONS} auditAnnotations");
        errors.push(FieldError::invalid("spec.auditAnnotations", all, why));
    }
    let mut seen: Vec<&str> = Vec::new();
    for (index, annotation) in list(spec, "auditAnnotations") {
        let path = format!("spec.auditAnnotations[{index}]");
        let key = text(&annotation["key"]);
        if key.is_empty() {
            errors.push(FieldError::required(format!("{path}.key"), ""));
        }
        match text(&annotation["valueExpression"]) {
            source if source.trim().is_empty() => errors.push(FieldError::required(
                format!("{path}.valueExpression"),
                "valueExpression is not specified",
            )),
            source => {
                let wanted = [Type::Text, Type::Null];
                let path = format!("{path}.valueExpression");
                expression(source, variables, &wanted, path, errors);
            }
        }
        match seen.contains(&key) {
            true => errors.push(FieldError::duplicate(
                format!("{path}.key"),
                &annotation["key"],
            )),
            false => seen.push(key),
        }
    }
}

const ACTIONS: [&str; 3] = ["Audit", "Deny", "Warn"];

pub(super) fn check_binding(new: &Value, errors: &mut Vec<FieldError>) {
    let spec = &new["spec"];
    let policy = text(&spec["policyName"]);
    if policy.is_empty() {
        errors.push(FieldError::required("spec.policyName", ""));
    }
    for problem in names::dns_subdomain(policy)
        .into_iter()
        .filter(|_| !policy.is_empty())
    {
        errors.push(FieldError::invalid(
            "spec.policyName",
            &spec["policyName"],
            problem,
        ));
    }
    param_ref(&spec["paramRef"], errors);
    if spec["matchResources"].is_object() {
        resources(&spec["matchResources"], "spec.matchResources", errors);
    }
    let path = "spec.validationActions";
    let actions = &spec["validationActions"];
    let mut seen: Vec<&str> = Vec::new();
    for (index, action) in list(spec, "validationActions") {
        let place = format!("{path}[{index}]");
        choice(action, &ACTIONS, place.clone(), errors);
        if seen.contains(&text(action)) {
            errors.push(FieldError::duplicate(place, action));
        }
        seen.push(text(action));
    }
    if seen.contains(&"Deny") && seen.contains(&"Warn") {
        let why = "must not contain both Deny and Warn (repeating the same validation failure \
                   information in the API response and headers serves no purpose)";
        errors.push(FieldError::invalid(path, actions, why));
    }
    if seen.is_empty() {
        let why = "at least one validation action is required";
        errors.push(FieldError::required(path, why));
    }
}

fn param_ref(reference: &Value, errors: &mut Vec<FieldError>) {
    if !reference.is_object() {
        return;
    }
    let (name, labels) = (text(&reference["name"]), &reference["selector"]);
    if !name.is_empty() && !labels.is_null() {
        for field in ["name", "selector"] {
            let why = "name and selector are mutually exclusive";
            errors.push(FieldError::forbidden(format!("spec.paramRef.{field}"), why));
        }
    } else if name.is_empty() && labels.is_null() {
        let why = "one of name or selector must be specified";
        errors.push(FieldError::required("spec.paramRef", why));
    }
    for problem in names::path_segment(name) {
        errors.push(FieldError::invalid(
            "spec.paramRef.name",
            &reference["name"],
            problem,
        ));
    }
    selector(labels, "spec.paramRef.selector".into(), errors);
    let action = &reference["parameterNotFoundAction"];
    let path = "spec.paramRef.parameterNotFoundAction";
    if text(action).is_empty() {
        errors.push(FieldError::required(path, ""));
    } else {
        choice(action, &["Allow", "Deny"], path.into(), errors);
    }
}
