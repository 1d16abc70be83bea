//! Webhook configurations.

use base64::Engine as _;
use serde_json::Value;

use super::{choice, conditions, known_conditions, list, rule, selector, text};
use crate::names;
use crate::status::FieldError;

/// Seconds; as on the real server.
const TIMEOUTS: std::ops::RangeInclusive<i64> = 1..=30;

pub(super) fn check(new: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let known: Vec<&str> = old
        .into_iter()
        .flat_map(|old| list(old, "webhooks"))
        .flat_map(|(_, webhook)| known_conditions(webhook))
        .collect();
    let mut names: Vec<&str> = Vec::new();
    for (index, webhook) in list(new, "webhooks") {
        let path = format!("webhooks[{index}].");
        check_one(webhook, &known, &path, errors);
        versions(&webhook["admissionReviewVersions"], &path, errors);
        let name = text(&webhook["name"]);
        if name.is_empty() {
            continue;
        }
        match names.contains(&name) {
            true => errors.push(FieldError::duplicate(
                format!("{path}name"),
                &webhook["name"],
            )),
            false => names.push(name),
        }
    }
}

fn check_one(webhook: &Value, known: &[&str], path: &str, errors: &mut Vec<FieldError>) {
    qualified(&webhook["name"], format!("{path}name"), errors);
    for (index, each) in list(webhook, "rules") {
        rule(each, &format!("{path}rules[{index}]"), errors);
    }
    for (field, allowed) in [
        ("failurePolicy", ["Fail", "Ignore"]),
        ("matchPolicy", ["Equivalent", "Exact"]),
        ("sideEffects", ["None", "NoneOnDryRun"]),
    ] {
        choice(&webhook[field], &allowed, format!("{path}{field}"), errors);
    }
    if webhook["sideEffects"].is_null() {
        errors.push(FieldError::required(
            format!("{path}sideEffects"),
            "must specify one of None, NoneOnDryRun",
        ));
    }
    if webhook["timeoutSeconds"]
        .as_i64()
        .is_some_and(|seconds| !TIMEOUTS.contains(&seconds))
    {
        errors.push(FieldError::invalid(
            format!("{path}timeoutSeconds"),
            &webhook["timeoutSeconds"],
            "the timeout value must be between 1 and 30 seconds",
        ));
    }
    for field in ["namespaceSelector", "objectSelector"] {
        selector(&webhook[field], format!("{path}{field}"), errors);
    }
    choice(
        &webhook["reinvocationPolicy"],
        &["IfNeeded", "Never"],
        format!("{path}reinvocationPolicy"),
        errors,
    );
    client(
        &webhook["clientConfig"],
        &format!("{path}clientConfig"),
        errors,
    );
    conditions(webhook, known, false, path, errors);
}

fn qualified(name: &Value, path: String, errors: &mut Vec<FieldError>) {
    let given = text(name);
    if given.is_empty() {
        errors.push(FieldError::required(path, ""));
        return;
    }
    let problems = names::dns_subdomain(given);
    if problems.is_empty() && given.split('.').count() < 3 {
        let why = "should be a domain with at least three segments separated by dots";
        errors.push(FieldError::invalid(path, name, why));
        return;
    }
    for problem in problems {
        errors.push(FieldError::invalid(&path, name, problem));
    }
}

fn versions(versions: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let path = format!("{path}admissionReviewVersions");
    let all: Vec<&str> = versions
        .as_array()
        .into_iter()
        .flatten()
        .map(text)
        .collect();
    if all.is_empty() {
        errors.push(FieldError::required(
            path,
            "must specify one of v1, v1beta1",
        ));
        return;
    }
    for (index, version) in all.iter().enumerate() {
        if all[..index].contains(version) {
            let place = format!("{path}[{index}]");
            errors.push(FieldError::invalid(
                place,
                &(*version).into(),
                "duplicate version",
            ));
            continue;
        }
        for problem in names::dns1035_label(version) {
            let place = format!("{path}[{index}]");
            errors.push(FieldError::invalid(place, &(*version).into(), problem));
        }
    }
    if !all
        .iter()
        .any(|version| matches!(*version, "v1" | "v1beta1"))
    {
        let why = "must include at least one of v1, v1beta1";
        errors.push(FieldError::invalid(path, versions, why));
    }
}

fn client(client: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let (url, service) = (&client["url"], &client["service"]);
    if url.is_null() == service.is_null() {
        let why = "exactly one of url or service is required";
        errors.push(FieldError::required(path, why));
    } else if !url.is_null() {
        check_url(text(url), format!("{path}.url"), errors);
    } else {
        for field in ["name", "namespace"] {
            if text(&service[field]).is_empty() {
                let why = format!("service {field} is required");
                errors.push(FieldError::required(format!("{path}.service.{field}"), why));
            }
        }
        let port = service["port"].as_i64().unwrap_or(443);
        if !(1..=65535).contains(&port) {
            let why = "port is not valid: must be between 1 and 65535, inclusive";
            errors.push(FieldError::invalid(
                format!("{path}.service.port"),
                &service["port"],
                why,
            ));
        }
        let route = &service["path"];
        if route.as_str().is_some_and(|route| !route.starts_with('/')) {
            let why = "must start with a '/'";
            errors.push(FieldError::invalid(
                format!("{path}.service.path"),
                route,
                why,
            ));
        }
    }
    let bundle = text(&client["caBundle"]);
    let decoded = base64::engine::general_purpose::STANDARD.decode(bundle);
    if decoded.is_err() {
        let why = "must be base64 of PEM certificates";
        errors.push(FieldError::invalid_omitted(format!("{path}.caBundle"), why));
    }
}

fn check_url(url: &str, path: String, errors: &mut Vec<FieldError>) {
    const FORM: &str = "; desired format: https://host[/path]";
    let mut refuse = |value: &str, why: &str| {
        let why = format!("{why}{FORM}");
        errors.push(FieldError::invalid(&path, &Value::from(value), why));
    };
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    if scheme != "https" {
        refuse(scheme, "'https' is the only allowed URL scheme");
    }
    let (before, fragment) = rest.split_once('#').unwrap_or((rest, ""));
    let (before, query) = before.split_once('?').unwrap_or((before, ""));
    let host = before.split('/').next().unwrap_or_default();
    if host.is_empty() {
        refuse("", "host must be specified");
    }
    if let Some((user, _)) = host.rsplit_once('@') {
        refuse(user, "user information is not permitted in the URL");
    }
    if !fragment.is_empty() {
        refuse(fragment, "fragments are not permitted in the URL");
    }
    if !query.is_empty() {
        refuse(query, "query parameters not permitted in the URL");
    }
}
