//! Components that other languages' toolchains made.

use waft_guests::Language;

use crate::support::waft::Up;

fn serves(language: Language, greeting: &str) {
    let Some(component) = waft_guests::foreign(language) else {
        return;
    };
    let name = component
        .file_stem()
        .unwrap()
        .to_string_lossy()
        .into_owned();
    let host = format!("{name}.localhost");
    let waft = Up::default().arg(&component).start();
    assert_eq!(waft.get_ok(&host, "/a?b=c"), format!("{greeting} /a?b=c\n"));
    assert_eq!(waft.get(&host, "/").text(), format!("{greeting} /\n"));
}

#[test]
fn javascript() {
    serves(Language::JavaScript, "Hello from JavaScript!");
}

#[test]
fn python() {
    serves(Language::Python, "Hello from Python!");
}
