//! Label selectors: `app=web,tier in (a, b),!old`, and `{matchLabels, matchExpressions}`.

use serde_json::Value;

use super::SelectorError;

/// What one label must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LabelOperator {
    /// One of these values.
    In(Vec<String>),
    /// None of these values; an absent label passes.
    NotIn(Vec<String>),
    /// There, whatever its value.
    Exists,
    /// Not there.
    DoesNotExist,
    /// An integer greater than this.
    GreaterThan(i64),
    /// An integer less than this.
    LessThan(i64),
}

/// One term of a label selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelRequirement {
    /// The label's key.
    pub key: String,
    /// The condition on its value.
    pub operator: LabelOperator,
}

/// All terms must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector {
    requirements: Vec<LabelRequirement>,
}

impl LabelRequirement {
    fn matches(&self, value: Option<&str>) -> bool {
        match (&self.operator, value) {
            (LabelOperator::In(values), Some(value)) => values.iter().any(|other| other == value),
            (LabelOperator::NotIn(values), Some(value)) => {
                values.iter().all(|other| other != value)
            }
            (LabelOperator::NotIn(_) | LabelOperator::DoesNotExist, None) => true,
            (LabelOperator::Exists, value) => value.is_some(),
            (LabelOperator::GreaterThan(bound), Some(value)) => {
                value.parse::<i64>().is_ok_and(|value| value > *bound)
            }
            (LabelOperator::LessThan(bound), Some(value)) => {
                value.parse::<i64>().is_ok_and(|value| value < *bound)
            }
            _ => false,
        }
    }
}

impl LabelSelector {
    /// Matches every object.
    pub fn everything() -> Self {
        Self::default()
    }

    /// Reads the query-string form, e.g. `app=web,tier in (a, b),!old`.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut requirements = Vec::new();
        for term in split_terms(text) {
            let term = term.trim();
            if term.is_empty() {
                if text.trim().is_empty() {
                    continue;
                }
                return Err(unparsable("found ',', expected: identifier after ','"));
            }
            requirements.push(parse_label_term(term)?);
        }
        Ok(Self { requirements })
    }

    /// Reads `{matchLabels, matchExpressions}`. An empty object matches everything.
    pub fn from_json(selector: &Value) -> Result<Self, SelectorError> {
        let mut requirements = Vec::new();
        if let Some(labels) = selector.get("matchLabels").and_then(Value::as_object) {
            for (key, value) in labels {
                let value = value
                    .as_str()
                    .ok_or_else(|| SelectorError(format!("matchLabels.{key} must be a string")))?;
                check_key(key)?;
                check_value(value)?;
                let operator = LabelOperator::In(vec![value.to_owned()]);
                requirements.push(LabelRequirement {
                    key: key.clone(),
                    operator,
                });
            }
        }
        let expressions = selector.get("matchExpressions").and_then(Value::as_array);
        for expression in expressions.into_iter().flatten() {
            requirements.push(parse_expression(expression)?);
        }
        Ok(Self { requirements })
    }

    /// The terms.
    pub fn requirements(&self) -> &[LabelRequirement] {
        &self.requirements
    }

    /// Whether every object matches.
    pub fn is_everything(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Whether a `metadata.labels` value satisfies every term.
    pub fn matches(&self, labels: Option<&Value>) -> bool {
        self.requirements.iter().all(|requirement| {
            let value = labels.and_then(|labels| labels.get(&requirement.key));
            requirement.matches(value.and_then(Value::as_str))
        })
    }

    /// Whether the object's labels satisfy every term.
    pub fn matches_object(&self, object: &Value) -> bool {
        self.is_everything() || self.matches(object.pointer("/metadata/labels"))
    }
}

fn unparsable(why: &str) -> SelectorError {
    SelectorError(format!("unable to parse requirement: {why}"))
}

/// Splits at commas that stand outside parentheses.
fn split_terms(text: &str) -> Vec<&str> {
    let (mut terms, mut start, mut depth) = (Vec::new(), 0, 0_usize);
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            b',' if depth == 0 => {
                terms.push(&text[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    terms.push(&text[start..]);
    terms
}

fn parse_label_term(term: &str) -> Result<LabelRequirement, SelectorError> {
    let requirement = |key: &str, operator| {
        check_key(key)?;
        Ok(LabelRequirement {
            key: key.to_owned(),
            operator,
        })
    };
    if let Some(key) = term.strip_prefix('!') {
        return requirement(key.trim(), LabelOperator::DoesNotExist);
    }
    let key_end = term
        .find(|c: char| c.is_whitespace() || matches!(c, '=' | '!' | '<' | '>' | '('))
        .unwrap_or(term.len());
    let (key, rest) = (&term[..key_end], term[key_end..].trim());
    if rest.is_empty() {
        return requirement(key, LabelOperator::Exists);
    }
    for (sign, equals) in [("==", true), ("!=", false), ("=", true)] {
        if let Some(value) = rest.strip_prefix(sign) {
            let value = value.trim();
            check_value(value)?;
            let values = vec![value.to_owned()];
            let operator = if equals {
                LabelOperator::In(values)
            } else {
                LabelOperator::NotIn(values)
            };
            return requirement(key, operator);
        }
    }
    if let Some(bound) = rest.strip_prefix('>') {
        return requirement(key, LabelOperator::GreaterThan(parse_bound(bound)?));
    }
    if let Some(bound) = rest.strip_prefix('<') {
        return requirement(key, LabelOperator::LessThan(parse_bound(bound)?));
    }
    for (word, positive) in [("notin", false), ("in", true)] {
        let Some(list) = rest.strip_prefix(word) else {
            continue;
        };
        let list = list.trim();
        let inner = list
            .strip_prefix('(')
            .and_then(|list| list.strip_suffix(')'))
            .ok_or_else(|| unparsable(&format!("found {list:?}, expected: '('")))?;
        let mut values = Vec::new();
        for value in inner.split(',') {
            check_value(value.trim())?;
            values.push(value.trim().to_owned());
        }
        let operator = if positive {
            LabelOperator::In(values)
        } else {
            LabelOperator::NotIn(values)
        };
        return requirement(key, operator);
    }
    Err(unparsable(&format!(
        "found {rest:?}, expected: in, notin, =, ==, !=, gt, lt, or end of string"
    )))
}

fn parse_bound(text: &str) -> Result<i64, SelectorError> {
    text.trim().parse().map_err(|_| {
        SelectorError(format!(
            "values: Invalid value: {:?}: for 'Gt', 'Lt' operators, the value must be an integer",
            text.trim()
        ))
    })
}

fn parse_expression(expression: &Value) -> Result<LabelRequirement, SelectorError> {
    let text = |name: &str| {
        expression
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let key = text("key");
    check_key(key)?;
    let mut values = Vec::new();
    for value in expression
        .get("values")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let value = value
            .as_str()
            .ok_or_else(|| SelectorError(format!("values of {key} must be strings")))?;
        check_value(value)?;
        values.push(value.to_owned());
    }
    let operator = match text("operator") {
        "In" | "NotIn" if values.is_empty() => {
            return Err(SelectorError(
                "values: Invalid value: []: for 'in', 'notin' operators, values set can't be empty"
                    .to_owned(),
            ));
        }
        "In" => LabelOperator::In(values),
        "NotIn" => LabelOperator::NotIn(values),
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            return Err(SelectorError(
                "values: Invalid value: values set must be empty for exists and does not exist"
                    .to_owned(),
            ));
        }
        "Exists" => LabelOperator::Exists,
        "DoesNotExist" => LabelOperator::DoesNotExist,
        other => {
            return Err(SelectorError(format!(
                "{other:?} is not a valid label selector operator"
            )));
        }
    };
    Ok(LabelRequirement {
        key: key.to_owned(),
        operator,
    })
}

/// A label key: an optional DNS prefix and a name.
fn check_key(key: &str) -> Result<(), SelectorError> {
    match crate::names::qualified_name(key).as_slice() {
        [] => Ok(()),
        problems => {
            let quoted = crate::status::quote(key);
            Err(SelectorError(format!(
                "key: Invalid value: {quoted}: {}",
                problems.join("; ")
            )))
        }
    }
}

fn check_value(value: &str) -> Result<(), SelectorError> {
    match crate::names::label_value(value).as_slice() {
        [] => Ok(()),
        problems => {
            let quoted = crate::status::quote(value);
            Err(SelectorError(format!(
                "values: Invalid value: {quoted}: {}",
                problems.join("; ")
            )))
        }
    }
}
