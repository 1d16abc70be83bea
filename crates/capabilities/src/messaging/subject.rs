//! Subjects: words with dots between them. A subscription may have `*` for one word and `>` for all
//! that follow.

use super::{BrokerError, Reason};

/// Longest subject.
const LONGEST: usize = 255;
/// Where answers to requests go.
pub(crate) const INBOX: &str = "_INBOX";

/// A subject of a subscription.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct Pattern(String);

impl Pattern {
    /// Checks what a manifest says.
    pub(crate) fn parse(text: &str) -> Result<Self, BrokerError> {
        let words: Vec<_> = text.split('.').collect();
        let last = words.len() - 1;
        for (at, word) in words.iter().enumerate() {
            let is_wildcard = *word == "*" || (*word == ">" && at == last);
            if !is_wildcard && !is_word(word) {
                return Err(invalid(text));
            }
        }
        // A wildcard in the first place would take in what is reserved; it does not, see `matches`.
        check_reserved(text)?;
        if text.len() > LONGEST || words[0] == INBOX {
            return Err(invalid(text));
        }
        Ok(Self(text.into()))
    }

    /// As the manifest has it.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it takes in a subject. Wildcards take in no inboxes and nothing that is reserved.
    pub(crate) fn matches(&self, subject: &str) -> bool {
        if subject.split('.').next() == Some(INBOX) || is_reserved(subject) {
            return false;
        }
        let mut words = subject.split('.');
        for wanted in self.0.split('.') {
            match (wanted, words.next()) {
                (_, None) => return false,
                (">", Some(_)) => return true,
                ("*", Some(_)) => {}
                (wanted, Some(word)) if wanted == word => {}
                _ => return false,
            }
        }
        words.next().is_none()
    }
}

/// Checks where a guest publishes.
pub(crate) fn check(subject: &str) -> Result<(), BrokerError> {
    if subject.len() > LONGEST || !subject.split('.').all(is_word) {
        return Err(invalid(subject));
    }
    check_reserved(subject)
}

fn is_word(word: &str) -> bool {
    let is_fine = |c: char| !c.is_whitespace() && !c.is_control() && c != '*' && c != '>';
    !word.is_empty() && word.chars().all(is_fine)
}

/// A broker's own subjects, and those over which hosts are controlled, are not for guests.
fn is_reserved(subject: &str) -> bool {
    let is_control = ["runtime.host", "runtime.operator"].iter().any(|reserved| {
        let rest = subject.strip_prefix(reserved);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    });
    subject.starts_with('$') || is_control
}

fn check_reserved(subject: &str) -> Result<(), BrokerError> {
    if is_reserved(subject) {
        let text = format!("`{}` is a reserved subject", printable(subject));
        return Err(BrokerError::new(Reason::AccessDenied, text));
    }
    Ok(())
}

fn invalid(subject: &str) -> BrokerError {
    let text = format!("`{}` is not a subject", printable(subject));
    BrokerError::new(Reason::SubjectInvalid, text)
}

/// What a message may hold of a guest's text.
fn printable(subject: &str) -> String {
    let start = subject.chars().take(LONGEST);
    start.filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_stand_for_words() {
        let cases = [
            ("a.b", "a.b", true),
            ("a.b", "a.b.c", false),
            ("a.*", "a.b", true),
            ("a.*", "a", false),
            ("a.*.c", "a.b.c", true),
            ("a.>", "a.b.c", true),
            ("a.>", "a", false),
            (">", "a", true),
            (">", "_INBOX.x", false),
            ("*.x", "_INBOX.x", false),
            (">", "$KV.bucket.key", false),
            ("*.bucket.*", "$KV.bucket.key", false),
            ("*.host.>", "runtime.host.x.workload.start", false),
            ("*.hosts", "runtime.hosts", true),
        ];
        for (pattern, subject, expected) in cases {
            let pattern = Pattern::parse(pattern).unwrap();
            assert_eq!(pattern.matches(subject), expected, "{pattern:?} {subject}");
        }
    }

    #[test]
    fn what_is_no_subject_is_refused() {
        for text in [
            "",
            ".",
            "a.",
            "a b",
            "a\r\nPUB x",
            "a..b",
            "a.*",
            "a.>",
            "a.b*",
        ] {
            assert_eq!(
                check(text).unwrap_err().reason,
                Reason::SubjectInvalid,
                "{text:?}"
            );
        }
        for text in ["", "a.>.b", "a*", "_INBOX.>", "a\nb"] {
            assert!(Pattern::parse(text).is_err(), "{text:?}");
        }
        check("_INBOX.x").unwrap();
        check("tasks.läuft").unwrap();
    }

    #[test]
    fn reserved_subjects_are_not_for_guests() {
        for text in [
            "$JS.API.INFO",
            "$KV.a.b",
            "runtime.host.x.workload.start",
            "runtime.operator",
        ] {
            assert_eq!(
                check(text).unwrap_err().reason,
                Reason::AccessDenied,
                "{text}"
            );
            assert!(Pattern::parse(text).is_err(), "{text}");
        }
        check("runtime.hosts").unwrap();
    }
}
