//! Golden pairs for pure translators: `testdata/GROUP/CASE/in.yaml` → `out.yaml`.
//!
//! `UPDATE_GOLDEN=1 cargo test -p waft-operator` writes the outputs; review them as code.

use std::{fs, path::Path};

use serde::de::DeserializeOwned;
use serde_json::Value;

/// Runs every case of a group through a translation and compares what comes out.
pub(crate) fn check<I: DeserializeOwned>(group: &str, translate: impl Fn(I) -> Value) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("testdata")
        .join(group);
    let mut cases: Vec<_> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    cases.sort();
    assert!(!cases.is_empty(), "no cases in {}", folder.display());
    for case in cases {
        let text = fs::read_to_string(case.join("in.yaml")).unwrap();
        let input = serde_saphyr::from_str(&text)
            .unwrap_or_else(|error| panic!("{}: {error}", case.display()));
        let got = translate(input);
        let expected = case.join("out.yaml");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&expected, serde_saphyr::to_string(&got).unwrap()).unwrap();
        }
        let text = fs::read_to_string(&expected)
            .unwrap_or_else(|error| panic!("{}: {error}", expected.display()));
        let wanted: Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(
            serde_json::to_string_pretty(&got).unwrap(),
            serde_json::to_string_pretty(&wanted).unwrap(),
            "{}",
            case.display()
        );
    }
}
