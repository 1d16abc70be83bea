//! Pages of `docs/` that list what the code declares: written from it, and compared with it.

use std::{fmt::Write as _, fs};

/// `docs/reasons.md`, as the code has it.
fn reasons() -> String {
    let mut page = String::from(
        "\
# Reasons

A closed list; names never change their meaning. This page is written from the code by a test: `WAFT_UPDATE_GOLDEN=1 cargo test -p waft-cli --test e2e documentation`.

## Conditions and Events

| reason | meaning |
|---|---|
",
    );
    for reason in waft_api::Reason::ALL {
        let text = reason.description().trim();
        let _ = writeln!(page, "| `{}` | {text} |", reason.as_str());
    }
    page += "
## HTTP answers

What Waft answers itself carries one of these in `x-waft-reason`; a guest's own answer has none.

| status | reason | body |
|---|---|---|
";
    for reason in waft_host::Reason::ALL {
        let (status, text) = (reason.status().as_u16(), reason.text().trim());
        let _ = writeln!(page, "| {status} | `{}` | {text} |", reason.as_str());
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
