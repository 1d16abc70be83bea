//! `docs/reasons.md` lists what the code declares: written from it, and compared with it.

use std::{fmt::Write as _, fs};

/// `docs/reasons.md`, as the code has it.
fn reasons() -> String {
    let mut page = String::from(
        "\
# Reasons of conditions and Events

A closed list; names never change their meaning. Those of HTTP answers are in [http-answers.md](http-answers.md). This page is written from the code by a test: `WAFT_UPDATE_GOLDEN=1 cargo test -p waft-cli --test e2e documentation`.

| reason | meaning |
|---|---|
",
    );
    for reason in waft_api::Reason::ALL {
        let text = reason.description().trim();
        let _ = writeln!(page, "| `{}` | {text} |", reason.as_str());
    }
    page
}

#[test]
fn reasons_are_listed() {
    let path = waft_guests::workspace().join("docs/reasons.md");
    let page = reasons();
    if std::env::var_os("WAFT_UPDATE_GOLDEN").is_some() {
        fs::write(&path, &page).unwrap();
    }
    let have = fs::read_to_string(&path).unwrap_or_default();
    assert!(have == page, "docs/reasons.md differs from the code");
}
