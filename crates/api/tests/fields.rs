//! The printed definitions against `data/fields.tsv` and `data/kinds.tsv`, in both directions.

#![allow(clippy::unwrap_used, reason = "a test that stops says enough")]

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// Kind, path, type, required, default, pattern, bounds, CEL rules: one row without its origin.
type Row = [String; 8];

fn lines(text: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    text.lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| line.split('\t').collect())
}

/// The rows of the data file, shared types written out.
fn wanted() -> BTreeSet<Row> {
    let mut by_kind = BTreeMap::<&str, Vec<Vec<&str>>>::new();
    for line in lines(include_str!("../data/fields.tsv")) {
        assert_eq!(line.len(), 9, "nine columns in {line:?}");
        by_kind.entry(line[0]).or_default().push(line);
    }
    let kinds = lines(include_str!("../data/kinds.tsv")).map(|line| line[0]);
    let mut rows = BTreeSet::new();
    for kind in kinds {
        expand(&by_kind, kind, kind, "", &mut rows);
    }
    rows
}

fn expand(
    by_kind: &BTreeMap<&str, Vec<Vec<&str>>>,
    shared: &str,
    kind: &str,
    prefix: &str,
    rows: &mut BTreeSet<Row>,
) {
    for line in &by_kind[shared] {
        let path = match (prefix, line[1]) {
            ("", path) => path.to_owned(),
            (prefix, path) => format!("{prefix}.{path}"),
        };
        let mut row = std::array::from_fn(|at| line[at].to_owned());
        row[0] = kind.into();
        if let Some(name) = line[2].strip_prefix('@') {
            row[2] = "object".into();
            expand(by_kind, name, kind, &path, rows);
        }
        row[1] = path;
        assert!(rows.insert(row.clone()), "twice: {row:?}");
    }
}

/// The rows of the printed definitions.
fn printed() -> BTreeSet<Row> {
    let mut rows = BTreeSet::new();
    for crd in documents() {
        let kind = text(&crd["spec"]["names"]["kind"]);
        let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        for standard in ["apiVersion", "kind", "metadata"] {
            assert!(
                schema["properties"][standard].is_object(),
                "{kind} has {standard}"
            );
        }
        if schema.get("x-kubernetes-validations").is_some() {
            rows.insert(row(&kind, "", schema, None));
        }
        walk(&kind, "", schema, &mut rows);
    }
    rows
}

fn documents() -> Vec<Value> {
    waft_api::crds_yaml()
        .split("---\n")
        .filter(|document| !document.is_empty())
        .map(|document| serde_saphyr::from_str(document).unwrap())
        .collect()
}

fn walk(kind: &str, prefix: &str, schema: &Value, rows: &mut BTreeSet<Row>) {
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    let properties = schema["properties"]
        .as_object()
        .cloned()
        .unwrap_or_default();
    for (name, property) in &properties {
        if prefix.is_empty() && ["apiVersion", "kind", "metadata"].contains(&name.as_str()) {
            continue;
        }
        let path = match prefix {
            "" => name.clone(),
            prefix => format!("{prefix}.{name}"),
        };
        let is_required = required.iter().any(|r| r == name);
        rows.insert(row(kind, &path, property, Some(is_required)));
        walk(kind, &path, property, rows);
    }
    for name in &required {
        assert!(
            properties.contains_key(name.as_str().unwrap()),
            "{kind} {prefix}: {name}"
        );
    }
    if let Some(items) = schema.get("items") {
        let path = format!("{prefix}[]");
        rows.insert(row(kind, &path, items, None));
        walk(kind, &path, items, rows);
    }
}

fn row(kind: &str, path: &str, schema: &Value, required: Option<bool>) -> Row {
    let known = [
        "additionalProperties",
        "anyOf",
        "default",
        "description",
        "enum",
        "format",
        "items",
        "maxItems",
        "maxLength",
        "minItems",
        "minimum",
        "pattern",
        "properties",
        "required",
        "type",
        "x-kubernetes-int-or-string",
        "x-kubernetes-validations",
    ];
    for member in schema.as_object().unwrap().keys() {
        assert!(known.contains(&member.as_str()), "{kind} {path}: {member}");
    }
    assert!(
        path.is_empty() || path.ends_with("[]") || schema["description"].is_string(),
        "{kind} {path} has no description"
    );
    let type_ = if schema["x-kubernetes-int-or-string"] == true {
        "int-or-string".to_owned()
    } else if let Some(values) = schema.get("additionalProperties") {
        format!("map<{}>", text(&values["type"]))
    } else if let Some(format) = schema.get("format") {
        format!("{}/{}", text(&schema["type"]), text(format))
    } else {
        text(&schema["type"])
    };
    let bounds = ["maxItems", "maxLength", "minItems", "minimum", "enum"]
        .iter()
        .filter_map(|&name| Some((name, schema.get(name)?)))
        .map(|(name, value)| match value {
            Value::Array(values) => {
                let values = values.iter().map(text).collect::<Vec<_>>();
                format!("{name}={}", values.join("|"))
            }
            value => format!("{name}={value}"),
        })
        .collect::<Vec<_>>();
    let rules = schema["x-kubernetes-validations"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    for rule in &rules {
        assert!(
            rule["message"].is_string(),
            "{kind} {path}: a rule without a message"
        );
    }
    let rules = rules.iter().map(|r| text(&r["rule"])).collect::<Vec<_>>();
    let or_none = |text: String| if text.is_empty() { "-".into() } else { text };
    [
        kind.into(),
        path.into(),
        type_,
        match required {
            None => "-".into(),
            Some(true) => "yes".into(),
            Some(false) => "no".into(),
        },
        schema.get("default").map_or("-".into(), Value::to_string),
        schema.get("pattern").map_or("-".into(), text),
        or_none(bounds.join(",")),
        or_none(rules.join(" ;; ")),
    ]
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("{value} is no text"))
        .to_owned()
}

#[test]
fn every_field_of_the_data_file_is_printed_and_no_other() {
    let (wanted, printed) = (wanted(), printed());
    let missing = wanted.difference(&printed).collect::<Vec<_>>();
    let unknown = printed.difference(&wanted).collect::<Vec<_>>();
    assert!(
        missing.is_empty() && unknown.is_empty(),
        "in the data file only: {missing:#?}\nprinted only: {unknown:#?}"
    );
    assert!(printed.len() > 300, "{} rows", printed.len());
}

#[test]
fn every_kind_is_as_in_the_data_file() {
    let mut printed = documents();
    for line in lines(include_str!("../data/kinds.tsv")) {
        let at = printed
            .iter()
            .position(|crd| crd["spec"]["names"]["kind"] == line[0])
            .unwrap_or_else(|| panic!("{} is not printed", line[0]));
        let crd = printed.remove(at);
        let (spec, version) = (&crd["spec"], &crd["spec"]["versions"][0]);
        assert_eq!(crd["metadata"]["name"], format!("{}.{}", line[2], line[1]));
        assert_eq!(spec["group"], line[1]);
        assert_eq!(spec["scope"], "Namespaced");
        assert_eq!(spec["versions"].as_array().unwrap().len(), 1);
        assert_eq!(version["name"], "v1alpha1");
        assert_eq!(
            (&version["served"], &version["storage"]),
            (&true.into(), &true.into())
        );
        let names = &spec["names"];
        assert_eq!(names["plural"], line[2]);
        assert_eq!(names["singular"], line[0].to_lowercase());
        assert_eq!(names["listKind"], format!("{}List", line[0]));
        let short = names["shortNames"].as_array().cloned().unwrap_or_default();
        let short = short.iter().map(text).collect::<Vec<_>>().join(", ");
        assert_eq!(short, line[3].replace('-', ""));
        let subresources = &version["subresources"];
        assert!(subresources["status"].is_object());
        let mut shown = "status".to_owned();
        if let Some(scale) = subresources.get("scale") {
            for name in [
                "specReplicasPath",
                "statusReplicasPath",
                "labelSelectorPath",
            ] {
                shown += if name.starts_with("spec") {
                    ", scale "
                } else {
                    " "
                };
                shown += &text(&scale[name]);
            }
        }
        assert_eq!(shown, line[4], "{}", line[0]);
        let columns = version["additionalPrinterColumns"].as_array().cloned();
        let columns = columns
            .unwrap_or_default()
            .iter()
            .map(|c| {
                ["name", "type", "jsonPath"]
                    .map(|part| text(&c[part]))
                    .join(" ")
            })
            .collect::<Vec<_>>();
        assert_eq!(columns.join(", "), line[5].trim_matches('-'), "{}", line[0]);
    }
    assert!(
        printed.is_empty(),
        "kinds not in the data file: {printed:?}"
    );
}
