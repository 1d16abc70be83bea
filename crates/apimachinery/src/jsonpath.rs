//! The JSONPath of printer columns, selectable fields and scale subresources.
//!
//! Supported: `.a.b`, `['a.b']`, `.a\.b`, `[0]`, `[*]`, `[?(@.type=="Ready")]`. That is what the API
//! accepts in definitions, less ranges and unions.

use serde_json::Value;

/// A parsed path.
#[derive(Debug, Clone, PartialEq)]
pub struct JsonPath {
    steps: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq)]
enum Step {
    Field(String),
    Index(i64),
    All,
    Filter {
        path: JsonPath,
        equal: bool,
        to: Value,
    },
}

impl JsonPath {
    /// Parses a path; with or without the surrounding braces.
    pub fn parse(text: &str) -> Option<JsonPath> {
        let text = text.trim();
        let text = text
            .strip_prefix('{')
            .and_then(|t| t.strip_suffix('}'))
            .unwrap_or(text);
        let mut rest = text.strip_prefix('$').unwrap_or(text);
        let mut steps = Vec::new();
        while !rest.is_empty() {
            let (step, after) = match rest.strip_prefix('[') {
                Some(inside) => bracket(inside)?,
                None => field(rest.strip_prefix('.').unwrap_or(rest))?,
            };
            if let Some(step) = step {
                steps.push(step);
            }
            rest = after;
        }
        Some(JsonPath { steps })
    }

    /// Every value that the path reaches.
    pub fn all<'a>(&self, root: &'a Value) -> Vec<&'a Value> {
        let mut found = vec![root];
        for step in &self.steps {
            found = found
                .into_iter()
                .flat_map(|value| step.apply(value))
                .collect();
        }
        found
    }

    /// The first value that the path reaches.
    pub fn first<'a>(&self, root: &'a Value) -> Option<&'a Value> {
        self.all(root).into_iter().next()
    }

    /// Puts a value where a path of plain fields leads, making the objects on its way.
    /// Returns whether the path could be walked.
    pub fn set(&self, root: &mut Value, value: Value) -> bool {
        let mut at = root;
        for step in &self.steps {
            let Step::Field(name) = step else {
                return false;
            };
            if at.is_null() {
                *at = Value::Object(serde_json::Map::new());
            }
            let Some(object) = at.as_object_mut() else {
                return false;
            };
            at = object.entry(name.clone()).or_insert(Value::Null);
        }
        *at = value;
        true
    }

    /// Whether [`JsonPath::set`] could walk the path.
    pub fn can_set(&self, root: &Value) -> bool {
        let mut at = Some(root);
        self.steps.iter().all(|step| {
            let before = at.filter(|value| !value.is_null());
            match (step, before) {
                (Step::Field(_), None) => true,
                (Step::Field(name), Some(Value::Object(object))) => {
                    at = object.get(name);
                    true
                }
                _ => false,
            }
        })
    }

    /// The path's last field and what comes before it.
    pub fn split_last(&self) -> Option<(JsonPath, &str)> {
        let (Step::Field(name), before) = self.steps.split_last()? else {
            return None;
        };
        Some((
            JsonPath {
                steps: before.to_vec(),
            },
            name,
        ))
    }

    /// Calls `change` with every value that the path reaches.
    pub fn each_mut(&self, root: &mut Value, change: &mut dyn FnMut(&mut Value)) {
        walk(&self.steps, root, change);
    }
}

fn walk(steps: &[Step], at: &mut Value, change: &mut dyn FnMut(&mut Value)) {
    let Some((step, rest)) = steps.split_first() else {
        return change(at);
    };
    match (step, at) {
        (Step::Field(name), Value::Object(object)) => {
            if let Some(inner) = object.get_mut(name) {
                walk(rest, inner, change);
            }
        }
        (Step::All, Value::Array(items)) => {
            items.iter_mut().for_each(|item| walk(rest, item, change))
        }
        (Step::Filter { path, equal, to }, Value::Array(items)) => items
            .iter_mut()
            .filter(|item| {
                path.first(item)
                    .is_some_and(|found| (found == to) == *equal)
            })
            .for_each(|item| walk(rest, item, change)),
        _ => {}
    }
}

impl Step {
    fn apply<'a>(&self, value: &'a Value) -> Vec<&'a Value> {
        match (self, value) {
            (Step::Field(name), Value::Object(object)) => object.get(name).into_iter().collect(),
            (Step::Index(at), Value::Array(items)) => {
                let length = items.len() as i64;
                let at = if *at < 0 { length + at } else { *at };
                usize::try_from(at)
                    .ok()
                    .and_then(|at| items.get(at))
                    .into_iter()
                    .collect()
            }
            (Step::All, Value::Array(items)) => items.iter().collect(),
            (Step::All, Value::Object(object)) => object.values().collect(),
            (Step::Filter { path, equal, to }, Value::Array(items)) => {
                let matches = |item: &&Value| {
                    path.first(item)
                        .is_some_and(|found| (found == to) == *equal)
                };
                items.iter().filter(matches).collect()
            }
            _ => Vec::new(),
        }
    }
}

fn field(text: &str) -> Option<(Option<Step>, &str)> {
    let mut name = String::new();
    let mut characters = text.char_indices();
    let mut end = text.len();
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => name.push(characters.next()?.1),
            '.' | '[' => {
                end = at;
                break;
            }
            other => name.push(other),
        }
    }
    let step = match name.as_str() {
        "" => None,
        "*" => Some(Step::All),
        _ => Some(Step::Field(name)),
    };
    // A lone dot is the root; two in a row would be recursion, which isn't offered.
    if step.is_none() && !text.is_empty() && end == 0 && text.starts_with('.') {
        return None;
    }
    Some((step, &text[end..]))
}

fn bracket(text: &str) -> Option<(Option<Step>, &str)> {
    if let Some(filter) = text.strip_prefix("?(") {
        let end = filter.find(")]")?;
        return Some((Some(condition(&filter[..end])?), &filter[end + 2..]));
    }
    if let Some(quote) = text.chars().next().filter(|c| matches!(c, '\'' | '"')) {
        let inside = &text[1..];
        let end = inside.find(quote)?;
        let after = inside[end + 1..].strip_prefix(']')?;
        return Some((Some(Step::Field(inside[..end].to_owned())), after));
    }
    let end = text.find(']')?;
    let step = match text[..end].trim() {
        "*" => Step::All,
        number => Step::Index(number.parse().ok()?),
    };
    Some((Some(step), &text[end + 1..]))
}

fn condition(text: &str) -> Option<Step> {
    let (path, equal, to) = match (text.split_once("=="), text.split_once("!=")) {
        (Some((path, to)), _) => (path, true, to),
        (None, Some((path, to))) => (path, false, to),
        (None, None) => return None,
    };
    let to = to.trim();
    let to = match to.strip_prefix('\'').and_then(|to| to.strip_suffix('\'')) {
        Some(text) => Value::String(text.to_owned()),
        None => serde_json::from_str(to).ok()?,
    };
    Some(Step::Filter {
        path: JsonPath::parse(path.trim().strip_prefix('@')?)?,
        equal,
        to,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn first(path: &str, value: &Value) -> Option<Value> {
        JsonPath::parse(path).expect("a path").first(value).cloned()
    }

    #[test]
    fn reaches_what_columns_ask_for() {
        let value = json!({"status": {"conditions": [
            {"type": "Synced", "status": "False"}, {"type": "Ready", "status": "True"}]},
            "metadata": {"annotations": {"a.b/c": "x"}}, "n": [1, 2, 3]});
        assert_eq!(
            first(".status.conditions[?(@.type==\"Ready\")].status", &value),
            Some(json!("True"))
        );
        assert_eq!(
            first(".status.conditions[?(@.type=='Ready')].status", &value),
            Some(json!("True"))
        );
        assert_eq!(
            first(".metadata.annotations['a.b/c']", &value),
            Some(json!("x"))
        );
        assert_eq!(
            first(r".metadata.annotations.a\.b/c", &value),
            Some(json!("x"))
        );
        assert_eq!(first("{.n[-1]}", &value), Some(json!(3)));
        assert_eq!(first(".n[*]", &value), Some(json!(1)));
        assert_eq!(first(".absent.deep", &value), None);
    }

    #[test]
    fn refuses_what_it_cannot_walk() {
        for path in ["..a", ".a[", ".a[?(x)]", ".a[x]", ".a['b]"] {
            assert_eq!(JsonPath::parse(path), None, "{path}");
        }
    }

    #[test]
    fn sets_through_missing_objects() {
        let mut value = json!({});
        assert!(
            JsonPath::parse(".spec.replicas")
                .expect("a path")
                .set(&mut value, json!(3))
        );
        assert_eq!(value, json!({"spec": {"replicas": 3}}));
        assert!(
            !JsonPath::parse(".spec.replicas.x")
                .expect("a path")
                .set(&mut value, json!(3))
        );
        let value = json!({"spec": {"replicas": 3, "none": null, "items": [{}]}});
        for path in [
            ".spec.replicas",
            ".a.b",
            ".spec.none.x",
            ".spec.replicas.x",
            ".spec.items[*].x",
        ] {
            let path = JsonPath::parse(path).expect("a path");
            assert_eq!(
                path.can_set(&value),
                path.set(&mut value.clone(), json!(1)),
                "{path:?}"
            );
        }
    }
}
