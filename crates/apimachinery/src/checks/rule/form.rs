//! Forms of texts that built-in kinds ask for.

use std::net::IpAddr;

use serde::Deserialize;
use serde_json::Value;

use super::sorted;
use crate::names;
use crate::selector::LabelSelector;
use crate::status::FieldError;

/// The form of a name.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Name {
    /// A DNS label.
    Label,
    /// A DNS subdomain.
    Subdomain,
    /// The name of a port.
    Port,
    /// A label's key.
    Qualified,
}

impl Name {
    pub(super) fn problems(self, text: &str) -> Vec<String> {
        match self {
            Name::Label => names::dns_label(text),
            Name::Subdomain => names::dns_subdomain(text),
            Name::Port => port_name(text),
            Name::Qualified => names::qualified_name(text),
        }
    }
}

fn port_name(text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let mut add = |broken: bool, problem: &str| {
        if broken {
            problems.push(problem.to_owned());
        }
    };
    add(text.len() > 15, "must be no more than 15 characters");
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    add(
        !text.chars().all(plain),
        "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",
    );
    add(
        !text.chars().any(|c| c.is_ascii_lowercase()),
        "must contain at least one letter (a-z)",
    );
    add(text.contains("--"), "must not contain consecutive hyphens");
    add(
        text.starts_with('-') || text.ends_with('-'),
        "must not begin or end with a hyphen",
    );
    problems
}

pub(super) fn port(path: &str, value: &Value) -> Vec<FieldError> {
    match value {
        Value::Number(number) if !number.as_i64().is_some_and(|n| (1..=65535).contains(&n)) => {
            let why = "must be between 1 and 65535, inclusive";
            vec![FieldError::invalid(path, value, why)]
        }
        Value::String(text) => {
            let problems = port_name(text).into_iter();
            problems
                .map(|problem| FieldError::invalid(path, value, problem))
                .collect()
        }
        _ => Vec::new(),
    }
}

pub(super) fn label_map(path: &str, value: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (key, label) in value.as_object().into_iter().flatten() {
        let text = label.as_str().unwrap_or_default();
        let of_key = names::qualified_name(key).into_iter();
        let of_key = of_key.map(|problem| (key.as_str(), problem));
        let of_value = names::label_value(text).into_iter();
        let of_value = of_value.map(|problem| (text, problem));
        for (bad, problem) in of_key.chain(of_value) {
            errors.push(FieldError::invalid(path, &bad.into(), problem));
        }
    }
    errors
}

pub(super) fn percent(path: &str, value: &Value) -> Vec<FieldError> {
    let wrong = value.as_str().is_some_and(|text| {
        text.strip_suffix('%').is_none_or(|digits| {
            digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit())
        })
    });
    let why = "a valid percent string must be a numeric string followed by an ending '%' \
               (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')";
    match wrong {
        true => vec![FieldError::invalid(path, value, why)],
        false => Vec::new(),
    }
}

/// A selector that selects by something, and can be read.
pub(super) fn selector(path: &str, value: &Value) -> Vec<FieldError> {
    let Some(map) = value.as_object() else {
        return Vec::new();
    };
    if map.is_empty() {
        let why = "empty selector is invalid for deployment";
        return vec![FieldError::invalid(path, value, why)];
    }
    let mut errors = Vec::new();
    let expressions = value["matchExpressions"].as_array().into_iter().flatten();
    for (index, expression) in expressions.enumerate() {
        let operator = &expression["operator"];
        let known = ["In", "NotIn", "Exists", "DoesNotExist"];
        if !known.iter().any(|known| operator == known) {
            let path = format!("{path}.matchExpressions[{index}].operator");
            let why = "not a valid selector operator";
            errors.push(FieldError::invalid(path, operator, why));
        }
    }
    if LabelSelector::from_json(value).is_err() {
        errors.push(FieldError::invalid(
            path,
            &sorted(value),
            "invalid label selector",
        ));
    }
    errors
}

pub(super) fn is_cidr(text: &str) -> bool {
    text.split_once('/').is_some_and(|(address, length)| {
        let longest = match address.parse::<IpAddr>() {
            Ok(IpAddr::V4(_)) => 32,
            Ok(IpAddr::V6(_)) => 128,
            Err(_) => return false,
        };
        length.parse::<u8>().is_ok_and(|length| length <= longest)
    })
}

/// The host of an ingress.
pub(super) fn host(path: &str, value: &Value) -> Vec<FieldError> {
    let text = value.as_str().unwrap_or_default();
    if text.is_empty() {
        return Vec::new();
    }
    if text.parse::<IpAddr>().is_ok() {
        let why = "must be a DNS name, not an IP address";
        return vec![FieldError::invalid(path, value, why)];
    }
    let rest = text.strip_prefix("*.").unwrap_or(text);
    let problems = names::dns_subdomain(rest).into_iter();
    problems
        .map(|problem| FieldError::invalid(path, value, problem))
        .collect()
}

/// Whether an entry of a map of encoded values is JSON; what it holds is not shown.
pub(super) fn json_entry(path: &str, map: &Value, key: &str) -> Vec<FieldError> {
    use base64::Engine;
    let Some(text) = map[key].as_str().filter(|text| !text.is_empty()) else {
        return Vec::new();
    };
    let engine = base64::engine::general_purpose::STANDARD;
    let bytes = engine.decode(text).unwrap_or_default();
    match crate::decode::syntax_error(&bytes) {
        None => Vec::new(),
        Some(why) => {
            let shown = "<secret contents redacted>".into();
            let path = format!("{path}[{key}]");
            vec![FieldError::invalid(path, &shown, why)]
        }
    }
}

/// How many fields a schedule has; what they mean is for who keeps it.
pub(super) fn schedule(path: &str, value: &Value) -> Vec<FieldError> {
    let text = value.as_str().unwrap_or_default();
    let fields: Vec<&str> = text.split_whitespace().collect();
    if text.is_empty() || text.starts_with('@') || fields.len() == 5 {
        return Vec::new();
    }
    let why = format!(
        "expected exactly 5 fields, found {}: [{}]",
        fields.len(),
        fields.join(" ")
    );
    vec![FieldError::invalid(path, value, why)]
}
