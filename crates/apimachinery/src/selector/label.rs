//! Label selectors: `app=web,tier in (a, b),!old`, and `{matchLabels, matchExpressions}`.

mod parse;

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
        let requirements = parse::requirements(text)?;
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

/// Labels that must be there as people read them, e.g. `app=web,tier=a`.
pub fn labels_text(labels: &Value) -> String {
    terms(labels).join(",")
}

/// `{matchLabels, matchExpressions}` as people read it, e.g. `app=web,tier in (a,b),!old`. Whether it
/// makes sense is not asked.
pub fn selector_text(selector: &Value) -> String {
    let mut terms = terms(&selector["matchLabels"]);
    for expression in list(&selector["matchExpressions"]) {
        let text = |field: &str| expression[field].as_str().unwrap_or_default();
        let values: Vec<_> = list(&expression["values"])
            .filter_map(Value::as_str)
            .collect();
        let (key, values) = (text("key"), values.join(","));
        terms.push(match text("operator") {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "Exists" => key.to_owned(),
            _ => format!("!{key}"),
        });
    }
    terms.join(",")
}

fn terms(labels: &Value) -> Vec<String> {
    let labels = labels.as_object().into_iter().flatten();
    let mut terms: Vec<_> = labels
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    terms.sort();
    terms
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
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
