//! Small pure helpers for text that people read.

/// A text with its control characters replaced, except tabs: a guest's line must not move the
/// cursor or set the window's title.
pub(crate) fn visible(text: &str) -> String {
    let harmless = |c: char| {
        if c.is_control() && c != '\t' {
            '\u{fffd}'
        } else {
            c
        }
    };
    text.chars().map(harmless).collect()
}

/// Names in a sentence: `a`, `b`.
pub(crate) fn quoted<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let all: Vec<_> = names.into_iter().map(|name| format!("`{name}`")).collect();
    all.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_shown_as_such() {
        assert_eq!(visible("a\x1b[2J\tb\u{9b}"), "a\u{fffd}[2J\tb\u{fffd}");
    }
}
