//! `WWW-Authenticate`, as registries write it. Pure.

use std::collections::BTreeMap;

/// One way in which a registry wants to be told who asks.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Challenge {
    /// In lower case.
    pub(super) scheme: String,
    /// Names in lower case.
    pub(super) parameters: BTreeMap<String, String>,
}

/// Reads a header's value, which may hold several challenges. What can't be read is passed over.
pub(super) fn parse(value: &str) -> Vec<Challenge> {
    let mut challenges: Vec<Challenge> = Vec::new();
    let mut rest = value;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let end = rest.find(['=', ' ', '\t', ',']).unwrap_or(rest.len());
        let (token, after) = rest.split_at(end);
        if token.is_empty() {
            // A stray `=`; anything else was skipped above.
            match after.strip_prefix('=') {
                Some(after) => rest = after,
                None => return challenges,
            }
            continue;
        }
        let token = token.to_ascii_lowercase();
        match (after.strip_prefix('='), challenges.last_mut()) {
            (Some(after), Some(challenge)) => {
                let (value, after) = parameter(after);
                challenge.parameters.insert(token, value);
                rest = after;
            }
            (Some(after), None) => rest = after,
            (None, _) => {
                challenges.push(Challenge {
                    scheme: token,
                    ..Challenge::default()
                });
                rest = after;
            }
        }
    }
}

/// A parameter's value, quoted or not, and what follows.
fn parameter(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([' ', '\t', ',']).unwrap_or(text.len());
        return (text[..end].into(), &text[end..]);
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read() {
        let value = r#"Bearer realm="https://a/token?x=1",service="r.io",scope="repository:a/b:pull,push", Basic realm=plain"#;
        let [bearer, basic] = &parse(value)[..] else {
            panic!("two challenges");
        };
        assert_eq!(bearer.scheme, "bearer");
        assert_eq!(bearer.parameters["realm"], "https://a/token?x=1");
        assert_eq!(bearer.parameters["scope"], "repository:a/b:pull,push");
        assert_eq!(basic.scheme, "basic");
        assert_eq!(basic.parameters["realm"], "plain");
    }

    #[test]
    fn odd_values_do_no_harm() {
        for value in [
            "",
            "=",
            "==,= ",
            "a=b",
            "Basic realm=\"open",
            "Negotiate abc==",
        ] {
            parse(value);
        }
        let escaped = parse(r#"Basic realm="a\"b""#);
        assert_eq!(escaped[0].parameters["realm"], "a\"b");
    }
}
