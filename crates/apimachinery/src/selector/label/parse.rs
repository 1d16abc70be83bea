//! The query-string form of label selectors, refused in the real server's sentences.

use super::{LabelOperator, LabelRequirement};
use crate::names;
use crate::selector::SelectorError;
use crate::status::quote;

const OPERATORS: [&str; 7] = ["in", "notin", "=", "==", "!=", "gt", "lt"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token<'a> {
    Word(&'a str),
    /// One of `= == != > < ! ( ) ,`.
    Sign(&'a str),
    End,
}

struct Reader<'a> {
    tokens: Vec<Token<'a>>,
    at: usize,
}

impl<'a> Token<'a> {
    fn text(self) -> &'a str {
        match self {
            Token::Word(text) | Token::Sign(text) => text,
            Token::End => "",
        }
    }
}

pub(super) fn requirements(text: &str) -> Result<Vec<LabelRequirement>, SelectorError> {
    let mut reader = Reader {
        tokens: tokens(text),
        at: 0,
    };
    reader.all().map_err(SelectorError)
}

fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = match rest.get(..2) {
            Some("==" | "!=") => 2,
            _ if is_sign(first) => 1,
            _ => rest
                .find(|c: char| c.is_whitespace() || is_sign(c))
                .unwrap_or(rest.len()),
        };
        let (token, after) = rest.split_at(length);
        found.push(match is_sign(first) {
            true => Token::Sign(token),
            false => Token::Word(token),
        });
        rest = after.trim_start();
    }
    found.push(Token::End);
    found
}

fn is_sign(c: char) -> bool {
    matches!(c, '=' | '!' | '(' | ')' | ',' | '<' | '>')
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Token<'a> {
        self.tokens.get(self.at).copied().unwrap_or(Token::End)
    }

    fn next(&mut self) -> Token<'a> {
        let token = self.peek();
        self.at += 1;
        token
    }

    fn all(&mut self) -> Result<Vec<LabelRequirement>, String> {
        let mut requirements = Vec::new();
        loop {
            match self.peek() {
                Token::Word(_) | Token::Sign("!") => {
                    let one = self.requirement();
                    requirements
                        .push(one.map_err(|why| format!("unable to parse requirement: {why}"))?);
                    match self.next() {
                        Token::End => return Ok(requirements),
                        Token::Sign(",") => match self.peek() {
                            Token::Word(_) | Token::Sign("!") => {}
                            other => {
                                return Err(format!(
                                    "found '{}', expected: identifier after ','",
                                    other.text()
                                ));
                            }
                        },
                        other => {
                            return Err(format!(
                                "found '{}', expected: ',' or 'end of string'",
                                other.text()
                            ));
                        }
                    }
                }
                Token::End => return Ok(requirements),
                other => {
                    return Err(format!(
                        "found '{}', expected: !, identifier, or 'end of string'",
                        other.text()
                    ));
                }
            }
        }
    }

    fn requirement(&mut self) -> Result<LabelRequirement, String> {
        let absent = self.peek() == Token::Sign("!");
        if absent {
            self.next();
        }
        let key = match self.next() {
            Token::Word(key) => key,
            other => return Err(format!("found '{}', expected: identifier", other.text())),
        };
        let problems = names::qualified_name(key);
        if !problems.is_empty() {
            let problems = problems.join("; ");
            return Err(format!("<nil>: Invalid value: {}: {problems}", quote(key)));
        }
        let operator = match (absent, self.peek()) {
            (true, _) => LabelOperator::DoesNotExist,
            (false, Token::End | Token::Sign(",")) => LabelOperator::Exists,
            (false, _) => self.operator(key)?,
        };
        Ok(LabelRequirement {
            key: key.to_owned(),
            operator,
        })
    }

    fn operator(&mut self, key: &str) -> Result<LabelOperator, String> {
        let bound = |text: &str| {
            text.parse::<i64>().map_err(|_| {
                format!(
                    "values[0]: Invalid value: {}: for 'Gt', 'Lt' operators, the value must be an integer",
                    quote(text)
                )
            })
        };
        match self.next() {
            Token::Word("in") => Ok(LabelOperator::In(self.values(key)?)),
            Token::Word("notin") => Ok(LabelOperator::NotIn(self.values(key)?)),
            Token::Sign("=" | "==") => Ok(LabelOperator::In(vec![self.value(key)?])),
            Token::Sign("!=") => Ok(LabelOperator::NotIn(vec![self.value(key)?])),
            Token::Sign(">") => Ok(LabelOperator::GreaterThan(bound(&self.value(key)?)?)),
            Token::Sign("<") => Ok(LabelOperator::LessThan(bound(&self.value(key)?)?)),
            other => Err(format!(
                "found '{}', expected: {}",
                other.text(),
                OPERATORS.join(", ")
            )),
        }
    }

    /// The one value after a sign; none is the empty one.
    fn value(&mut self, key: &str) -> Result<String, String> {
        match self.peek() {
            Token::End | Token::Sign(",") => Ok(String::new()),
            Token::Word(text) => {
                self.next();
                checked(key, 0, text)
            }
            other => Err(format!("found '{}', expected: identifier", other.text())),
        }
    }

    /// The values in parentheses.
    fn values(&mut self, key: &str) -> Result<Vec<String>, String> {
        match self.next() {
            Token::Sign("(") => {}
            other => return Err(format!("found '{}' expected: '('", other.text())),
        }
        match self.peek() {
            Token::Word(_) | Token::Sign(",") => {}
            Token::Sign(")") => {
                self.next();
                return Ok(vec![String::new()]);
            }
            other => {
                return Err(format!(
                    "found '{}', expected: ',', ')' or identifier",
                    other.text()
                ));
            }
        }
        let mut values: Vec<&str> = Vec::new();
        loop {
            match self.next() {
                Token::Word(value) => {
                    values.push(value);
                    match self.next() {
                        Token::Sign(",") => match self.peek() {
                            Token::Word(_) => {}
                            Token::Sign(")" | ",") => values.push(""),
                            other => {
                                return Err(format!(
                                    "found '{}', expected: ',', or identifier",
                                    other.text()
                                ));
                            }
                        },
                        Token::Sign(")") => break,
                        other => {
                            return Err(format!("found '{}', expected: ',' or ')'", other.text()));
                        }
                    }
                }
                Token::Sign(",") => values.push(""),
                Token::Sign(")") => break,
                other => {
                    return Err(format!(
                        "found '{}', expected: ',', or identifier",
                        other.text()
                    ));
                }
            }
        }
        values.sort_unstable();
        values.dedup();
        let values = values.into_iter().enumerate();
        values
            .map(|(index, value)| checked(key, index, value))
            .collect()
    }
}

fn checked(key: &str, index: usize, value: &str) -> Result<String, String> {
    match names::label_value(value).as_slice() {
        [] => Ok(value.to_owned()),
        problems => Err(format!(
            "values[{index}][{key}]: Invalid value: {}: {}",
            quote(value),
            problems.join("; ")
        )),
    }
}
