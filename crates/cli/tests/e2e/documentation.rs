//! `docs/reasons.md` and `docs/interfaces.md` list what the code declares: written from it, and
//! compared with it.

use std::{collections::HashSet, fmt::Write as _, fs, path::Path};

use waft_ir::catalog::{Described, NOT_YET, PACKAGES};

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

/// `docs/interfaces.md`, as the code has it.
fn interfaces() -> String {
    let mut page = String::from(
        "\
# Host interfaces

What a manifest may name in `hostInterfaces`. An entry grants the interfaces that it lists, and the `types` of their package, to all components of its workload, for what it names: a bucket or container is used, a secret revealed and a statement run by an interface only where the entry for it lists that interface, or another entry that grants the same. A key of `config` that is not listed here is refused. This page is written from the code by a test: `WAFT_UPDATE_GOLDEN=1 cargo test -p waft-cli --test e2e documentation`.

A workload that asks for what no host offers is not placed: `HostSelection=False`, with the interface in the message. A version fits when it is semver-compatible; a draft fits only itself.

| package | versions and interfaces | an entry is needed | for |
|---|---|---|---|
",
    );
    for package in PACKAGES {
        let versions = package.versions.iter().map(|version| {
            let names: Vec<_> = version
                .interfaces
                .iter()
                .map(|n| format!("`{n}`"))
                .collect();
            format!("{}: {}", version.version, names.join(", "))
        });
        let needed = if package.always { "no" } else { "yes" };
        let _ = writeln!(
            page,
            "| `{}:{}` | {} | {needed} | {} |",
            package.namespace,
            package.name,
            versions.collect::<Vec<_>>().join("<br>"),
            package.purpose
        );
    }
    let list = |page: &mut String, title: &str, none: &str, listed: &[Described]| {
        if listed.is_empty() {
            return;
        }
        let _ = writeln!(page, "\n| {title} | meaning |\n|---|---|");
        for each in listed {
            let name = match each.name {
                "" => none.to_owned(),
                name => format!("`{name}`"),
            };
            let _ = writeln!(page, "| {name} | {} |", each.meaning);
        }
    };
    for package in PACKAGES {
        let keys = package.keys.unwrap_or_default();
        if !keys.is_empty() || !package.backends.is_empty() {
            let _ = writeln!(page, "\n## `{}:{}`", package.namespace, package.name);
            list(&mut page, "`config.backend`", "unset", package.backends);
            list(&mut page, "key of `config`", "", keys);
        }
    }
    page += "\n## Imports under names of their own\n\nA component may import an interface under a name that it chooses, more than once too: \
             `import cache: wasi:keyvalue/store@0.2.0-draft;` in its WIT, \
             `(import \"cache\" (implements \"wasi:keyvalue/store@0.2.0-draft\") …)` in the component. The \
             entry with that `name` serves it, with its own `backend` and keys; without one the \
             component is refused, by that name. `open` then takes the name itself, which is \
             `config.bucket` or a bucket of that name, and any other bucket of the backend, or of \
             `config.bucket` and `config.buckets` where they are set. \
             All packages above that need an entry take names, except `wasi:tls`; a component and those \
             linked to it have 24 such imports at most. It takes a linker that knows them: \
             `wasm-component-ld` of Rust 1.95 does not, `wit-component` 0.259 does.\n";
    page += "\n## Not served yet\n\nA workload that names one of these is `Ready=False`, reason `NotSupportedYet`:\n";
    let names: Vec<_> = NOT_YET
        .iter()
        .map(|(namespace, name)| format!("`{namespace}:{name}`"))
        .collect();
    let _ = writeln!(page, "{}.", names.join(", "));
    page
}

/// Compares a page with the code, or writes it anew.
fn check(name: &str, page: &str) {
    let path = waft_guests::workspace().join("docs").join(name);
    if std::env::var_os("WAFT_UPDATE_GOLDEN").is_some() {
        fs::write(&path, page).unwrap();
    }
    let have = fs::read_to_string(&path).unwrap_or_default();
    assert!(have == page, "docs/{name} differs from the code");
}

#[test]
fn reasons_are_listed() {
    check("reasons.md", &reasons());
}

#[test]
fn interfaces_are_listed() {
    check("interfaces.md", &interfaces());
}

/// The text of all source files below a folder, but for those of tests.
fn code(folder: &Path, text: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            code(&path, text);
        } else if path.extension().is_some_and(|ext| ext == "rs")
            && !path.ends_with("tests.rs")
            && !path.ends_with("api/src/reason.rs")
        {
            *text += &fs::read_to_string(&path).unwrap();
        }
    }
}

#[test]
fn each_reason_is_given_somewhere() {
    let mut text = String::new();
    for crate_ in fs::read_dir(waft_guests::workspace().join("crates")).unwrap() {
        code(&crate_.unwrap().path().join("src"), &mut text);
    }
    let words: HashSet<&str> = text.split(|c: char| !c.is_ascii_alphanumeric()).collect();
    let all = waft_api::Reason::ALL.iter();
    let unused: Vec<_> = all
        .filter(|reason| !words.contains(reason.as_str()))
        .collect();
    assert!(unused.is_empty(), "{unused:?}");
}
