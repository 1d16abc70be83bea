//! Field selectors: `metadata.name=a,status.phase!=Failed`.

use serde_json::Value;

use super::SelectorError;

/// One term of a field selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldRequirement {
    /// Dotted path, e.g. `metadata.name`.
    pub field: String,
    /// Whether the field must equal the value, or differ from it.
    pub equals: bool,
    /// The value.
    pub value: String,
}

/// All terms must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector {
    requirements: Vec<FieldRequirement>,
}

impl FieldSelector {
    /// Matches every object.
    pub fn everything() -> Self {
        Self::default()
    }

    /// Reads `field=value,other!=value`, with `\` before a literal `,`, `=` or `\`.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut requirements = Vec::new();
        for term in split_escaped(text) {
            if term.is_empty() {
                continue;
            }
            requirements.push(parse_field_term(term)?);
        }
        Ok(Self { requirements })
    }

    /// The terms.
    pub fn requirements(&self) -> &[FieldRequirement] {
        &self.requirements
    }

    /// Whether every object matches.
    pub fn is_everything(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Whether the object satisfies every term; an absent field is the empty text.
    pub fn matches(&self, object: &Value) -> bool {
        self.requirements.iter().all(|requirement| {
            let found = field_text(object, &requirement.field);
            (found == requirement.value) == requirement.equals
        })
    }
}

/// A field's value as a selector compares it.
pub fn field_text(object: &Value, path: &str) -> String {
    let mut value = object;
    for segment in path.split('.') {
        match value.get(segment) {
            Some(next) => value = next,
            None => return String::new(),
        }
    }
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// Splits at commas that no backslash precedes.
fn split_escaped(text: &str) -> Vec<&str> {
    let (mut terms, mut start, mut escaped) = (Vec::new(), 0, false);
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b',' => {
                terms.push(&text[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    terms.push(&text[start..]);
    terms
}

fn parse_field_term(term: &str) -> Result<FieldRequirement, SelectorError> {
    let bytes = term.as_bytes();
    let mut index = 0;
    while index < bytes.len() {
        let (length, equals) = match &bytes[index..] {
            [b'\\', ..] => {
                index += 2;
                continue;
            }
            [b'!', b'=', ..] => (2, false),
            [b'=', b'=', ..] => (2, true),
            [b'=', ..] => (1, true),
            _ => {
                index += 1;
                continue;
            }
        };
        return Ok(FieldRequirement {
            field: term[..index].to_owned(),
            equals,
            value: unescape(&term[index + length..])?,
        });
    }
    Err(SelectorError(format!(
        "invalid selector: '{term}'; can't understand '{term}'"
    )))
}

fn unescape(text: &str) -> Result<String, SelectorError> {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next() {
                Some(next @ ('\\' | ',' | '=')) => plain.push(next),
                _ => {
                    return Err(SelectorError(format!(
                        "invalid field selector: invalid escape sequence in {text:?}"
                    )));
                }
            },
            ',' | '=' => {
                return Err(SelectorError(format!(
                    "invalid field selector: unescaped character in value: {character}"
                )));
            }
            other => plain.push(other),
        }
    }
    Ok(plain)
}
