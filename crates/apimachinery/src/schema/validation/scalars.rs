//! Bounds on texts and numbers.

use serde_json::{Number, Value};

use crate::schema::{At, Type, formats};
use crate::status::FieldError;

pub(super) fn check_text(at: At<'_>, text: &str, path: &str, errors: &mut Vec<FieldError>) {
    let bounds = &at.node.bounds;
    let value = || Value::from(text);
    let length = text.chars().count() as u64;
    // Of length and pattern only the first failure is reported.
    if let Some(max) = bounds.max_length.filter(|max| length > *max) {
        errors.push(FieldError::too_long(path, max));
    } else if let Some(min) = bounds.min_length.filter(|min| length < *min) {
        let detail = format!("{path} in body should be at least {min} chars long");
        errors.push(FieldError::invalid(path, &value(), detail));
    } else if let Some(pattern) = bounds
        .pattern
        .as_ref()
        .filter(|regex| !regex.is_match(text))
    {
        let detail = format!("{path} in body should match '{}'", pattern.as_str());
        errors.push(FieldError::invalid(path, &value(), detail));
    }
    if let Some(format) = bounds.format.as_deref()
        && at.node.kind == Type::String
        && !formats::matches(format, text)
    {
        let quoted = crate::status::quote(text);
        let detail = format!("{path} in body must be of type {format}: {quoted}");
        errors.push(FieldError::type_invalid(path, &value(), detail));
    }
}

pub(super) fn check_number(at: At<'_>, number: &Number, path: &str, errors: &mut Vec<FieldError>) {
    let bounds = &at.node.bounds;
    let value = Value::Number(number.clone());
    check_range(at, number, path, errors);
    let Some(float) = number.as_f64() else { return };
    let mut invalid = |detail: String| {
        errors.push(FieldError::invalid(
            path,
            &value,
            format!("{path} in body {detail}"),
        ));
    };
    if let Some(factor) = bounds.multiple_of
        && !is_multiple(float, factor)
    {
        invalid(format!("should be a multiple of {factor}"));
    }
    if let Some(max) = bounds.maximum {
        if bounds.exclusive_maximum && float >= max {
            invalid(format!("should be less than {max}"));
        } else if float > max {
            invalid(format!("should be less than or equal to {max}"));
        }
    }
    if let Some(min) = bounds.minimum {
        if bounds.exclusive_minimum && float <= min {
            invalid(format!("should be greater than {min}"));
        } else if float < min {
            invalid(format!("should be greater than or equal to {min}"));
        }
    }
}

/// Binary fractions make `0.3 / 0.1` not quite three.
fn is_multiple(number: f64, factor: f64) -> bool {
    let quotient = number / factor;
    factor == 0.0 || (quotient - quotient.round()).abs() <= 1e-9 * quotient.abs().max(1.0)
}

/// Whether an integer is one, and fits its format.
pub(super) fn check_range(at: At<'_>, number: &Number, path: &str, errors: &mut Vec<FieldError>) {
    if at.node.kind != Type::Integer {
        return;
    }
    let bounds = &at.node.bounds;
    // `2.0` is an integer too; pruning writes it as one.
    let float = number.as_f64().unwrap_or(f64::NAN);
    let exact = float.fract() == 0.0 && float.abs() < 9e15;
    let whole = number.as_i64().or_else(|| exact.then_some(float as i64));
    let (fits, format) = match bounds.format.as_deref() {
        Some("int32") => (
            whole.is_some_and(|integer| i32::try_from(integer).is_ok()),
            "with format int32",
        ),
        Some("int64") => (whole.is_some(), "with format int64"),
        _ => (whole.is_some(), "(default format)"),
    };
    if !fits {
        let detail = format!("Checked value must be of type integer {format} in {path}");
        errors.push(FieldError::invalid("", &Value::from(""), detail));
    }
}
