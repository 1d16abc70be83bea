//! The single rules, and the sentences of those who break them.

mod form;

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::Place;
use crate::quantity;
use crate::selector::LabelSelector;
use crate::status::FieldError;

/// What must hold of a field, or of an object where no field is named.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Must {
    /// Is there, and isn't empty.
    Present,
    /// Is there, and isn't zero.
    Set,
    /// Isn't there.
    Absent,
    /// Isn't there, worded as a wrong value of no type.
    Empty,
    /// Isn't there, worded as a wrong value.
    Never,
    /// Is never right, worded as if it were missing.
    Fail,
    /// Is as it was.
    Same,
    /// All fields but these are as they were.
    SameBesides(Vec<String>),
    /// A number at least this.
    Least(i64),
    /// A number above this.
    Above(i64),
    /// A number from and to these.
    Range(i64, i64),
    /// A number at least that of the field beside it.
    Reach(String),
    /// A number above that of the field beside it.
    Exceed(String),
    /// One of these texts.
    OneOf(Vec<String>),
    /// A list of such texts.
    EachOf(Vec<String>),
    /// A text of this form.
    Name(form::Name),
    /// A map with such keys and values as labels have.
    LabelMap,
    /// A list whose items differ in this field.
    Unique(String),
    /// A list whose items' names differ from each other's and from those of the list beside it.
    UniqueWith(String),
    /// A map with all these entries.
    Entries(Vec<String>),
    /// A map with one of these entries.
    AnyEntry(Vec<String>),
    /// One of these fields is there.
    SomeOf(Vec<String>),
    /// At most one field besides these is there.
    OnlyOneBesides(Vec<String>),
    /// A map of quantities that aren't negative.
    Quantities,
    /// A map of quantities, each at most that of `limits` beside it.
    WithinLimits,
    /// The name of an item of this list, somewhere around.
    Refer(String),
    /// A port by number or name.
    Port,
    /// A backend that names its service's port, if it has a service.
    PortGiven,
    /// A number or a percentage.
    Percent,
    /// No more than all of them.
    AtMostAll,
    /// A label selector.
    Selector,
    /// The operator of a label selector.
    Operator,
    /// The labels of the template are among those that `selector` selects.
    SelectTemplate,
    /// An address.
    Ip,
    /// A range of addresses.
    Cidr,
    /// A host's name, perhaps with a wildcard.
    Host,
    /// An absolute path.
    Absolute,
    /// The fields of a schedule.
    Schedule,
    /// The first is `None`, and may not be.
    Headless,
    /// The namespace of the whole.
    InNamespace,
    /// Not both the first and the third of these fields; all are shown.
    NotBoth(Vec<String>),
    /// Something with one of these types.
    TypeOf(Vec<String>),
    /// The address of a Service.
    ClusterIp,
    /// Ports that differ in number or protocol.
    UniquePorts,
    /// JSON in an entry of a map of encoded values.
    Json(String),
    /// Maps that are small together; `says` names the place.
    Size(Vec<String>),
    /// A claim that asks for storage.
    Storage,
}

/// What all entries of a ConfigMap or Secret may have together, bytes; as on the real server.
const MOST_BYTES: u64 = 1 << 20;

/// A value with the names that its fields have in Go.
pub(super) fn internal(value: &Value) -> Value {
    let Some(map) = value.as_object() else {
        return value.clone();
    };
    let fields = map.iter().map(|(field, value)| {
        let name = match field.strip_prefix("api") {
            Some(rest) => format!("API{rest}"),
            None => {
                let (first, rest) = field.split_at(field.len().min(1));
                format!("{}{rest}", first.to_uppercase())
            }
        };
        (name, value.clone())
    });
    Value::Object(fields.collect())
}

/// What a rule is about.
pub(super) struct Subject<'a> {
    pub(super) path: &'a str,
    pub(super) value: &'a Value,
    pub(super) old: Option<&'a Value>,
    pub(super) updates: bool,
    pub(super) place: &'a Place<'a>,
    pub(super) root: &'a Value,
}

/// Absent, or as good as.
pub(super) fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        _ => false,
    }
}

/// A value with its keys in order, as Go prints maps.
fn sorted(value: &Value) -> Value {
    let mut value = value.clone();
    value.sort_all_objects();
    value
}

impl Must {
    /// Whether the rule looks at nothing but its field.
    pub(super) fn looks_at_one_value(&self) -> bool {
        !matches!(
            self,
            Must::Reach(_)
                | Must::Exceed(_)
                | Must::Refer(_)
                | Must::UniqueWith(_)
                | Must::WithinLimits
                | Must::Entries(_)
                | Must::AnyEntry(_)
        )
    }

    /// How the rule is broken.
    pub(super) fn broken(&self, of: &Subject<'_>, says: Option<&str>) -> Vec<FieldError> {
        let (path, value) = (of.path, of.value);
        let says = says.unwrap_or_default();
        let invalid = |why: &str| vec![FieldError::invalid(path, &sorted(value), why)];
        let when = |broken: bool, error: Vec<FieldError>| if broken { error } else { Vec::new() };
        let required = || vec![FieldError::required(path, says)];
        let number = value.as_i64();
        match self {
            Must::Present => when(is_empty(value), required()),
            Must::Set => when(number.unwrap_or(0) == 0, required()),
            Must::Absent => when(!is_empty(value), vec![FieldError::forbidden(path, says)]),
            Must::Empty => when(
                !is_empty(value),
                vec![FieldError::invalid(path, &"".into(), says)],
            ),
            Must::Never if value.is_null() && says.starts_with("apiVersion") => {
                vec![FieldError::invalid(path, &"".into(), says)]
            }
            Must::Never => when(!is_empty(value), invalid(says)),
            Must::Fail => required(),
            Must::Same => {
                let why = if says.is_empty() {
                    "field is immutable"
                } else {
                    says
                };
                when(
                    of.updates && of.old.unwrap_or(&Value::Null) != value,
                    invalid(why),
                )
            }
            Must::SameBesides(free) => {
                let rest = |value: &Value| {
                    let mut rest = value.as_object().cloned().unwrap_or_default();
                    rest.retain(|field, _| !free.contains(field));
                    rest
                };
                let changed = of.old.is_some_and(|old| rest(old) != rest(value));
                when(changed, vec![FieldError::forbidden(path, says)])
            }
            Must::Least(least) => when(
                number.is_some_and(|number| number < *least),
                invalid(&format!("must be greater than or equal to {least}")),
            ),
            Must::Above(bound) => when(
                number.is_some_and(|number| number <= *bound),
                invalid(&format!("must be greater than {bound}")),
            ),
            Must::Range(from, to) => when(
                number.is_some_and(|number| !(*from..=*to).contains(&number)),
                invalid(&format!("must be between {from} and {to}, inclusive")),
            ),
            Must::Reach(other) | Must::Exceed(other) => {
                let number = number.unwrap_or(0);
                let other = of.place.value[other].as_i64().unwrap_or(0);
                let broken = match self {
                    Must::Reach(_) => number < other,
                    _ => !value.is_null() && number <= other,
                };
                when(
                    broken,
                    vec![FieldError::invalid(path, &number.into(), says)],
                )
            }
            Must::OneOf(allowed) => when(
                value
                    .as_str()
                    .is_some_and(|text| !text.is_empty() && !allowed.iter().any(|a| a == text)),
                vec![FieldError::not_supported(path, value, allowed)],
            ),
            Must::EachOf(allowed) => {
                let texts = value.as_array().into_iter().flatten();
                let wrong =
                    texts.filter(|text| !allowed.iter().any(|allowed| *text == allowed.as_str()));
                wrong
                    .map(|text| FieldError::not_supported(path, text, allowed))
                    .collect()
            }
            Must::Name(form) => {
                value
                    .as_str()
                    .filter(|text| !text.is_empty())
                    .map_or_else(Vec::new, |text| {
                        let problems = form.problems(text).into_iter();
                        problems
                            .map(|problem| FieldError::invalid(path, value, problem))
                            .collect()
                    })
            }
            Must::LabelMap => form::label_map(path, value),
            Must::Unique(field) => duplicates(path, value, field, says),
            Must::UniqueWith(other) => self.unique_with(of, other),
            Must::Entries(wanted) => {
                let missing = wanted.iter().filter(|key| is_empty(&value[key.as_str()]));
                missing
                    .map(|key| FieldError::required(format!("{path}[{key}]"), says))
                    .collect()
            }
            Must::AnyEntry(wanted) => {
                let none = wanted.iter().all(|key| value[key.as_str()].is_null());
                let all = wanted
                    .iter()
                    .map(|key| FieldError::required(format!("{path}[{key}]"), says));
                when(none, all.collect())
            }
            Must::SomeOf(fields) => {
                let none = fields.iter().all(|field| is_empty(&value[field.as_str()]));
                when(none, required())
            }
            Must::OnlyOneBesides(fields) => {
                let given = value.as_object().into_iter().flatten();
                let given =
                    given.filter(|(field, inner)| !fields.contains(field) && !inner.is_null());
                given
                    .skip(1)
                    .map(|(field, _)| FieldError::forbidden(super::join(path, field), says))
                    .collect()
            }
            Must::Quantities => {
                let entries = value.as_object().into_iter().flatten();
                let negative = entries.filter(|(_, amount)| {
                    amount.as_str().is_some_and(|text| text.starts_with('-'))
                });
                negative
                    .map(|(key, amount)| {
                        let why = "must be greater than or equal to 0";
                        FieldError::invalid(format!("{path}[{key}]"), amount, why)
                    })
                    .collect()
            }
            Must::WithinLimits => {
                let limits = &of.place.value["limits"];
                let entries = value.as_object().into_iter().flatten();
                let above = entries.filter_map(|(key, amount)| {
                    let limit = limits[key.as_str()].as_str()?;
                    let above = quantity::compare(amount.as_str()?, limit)?.is_gt();
                    above.then(|| {
                        let why = format!("must be less than or equal to {key} limit of {limit}");
                        FieldError::invalid(path, amount, why)
                    })
                });
                above.collect()
            }
            Must::Refer(list) => self.refer(of, list),
            Must::Port => form::port(path, value),
            Must::PortGiven => {
                let port = &value["service"]["port"];
                let given = !is_empty(&port["name"]) || port["number"].as_i64().unwrap_or(0) != 0;
                when(value["service"].is_object() && !given, required())
            }
            Must::Percent => form::percent(path, value),
            Must::AtMostAll => {
                let percent = value.as_str().and_then(|text| text.strip_suffix('%'));
                let percent = percent.and_then(|text| text.parse::<u32>().ok());
                when(
                    percent.is_some_and(|percent| percent > 100),
                    invalid("must not be greater than 100%"),
                )
            }
            Must::Selector => form::selector(path, value),
            Must::Operator => when(
                !["In", "NotIn", "Exists", "DoesNotExist"]
                    .iter()
                    .any(|known| value == known),
                invalid("not a valid selector operator"),
            ),
            Must::SelectTemplate => self.select_template(of),
            Must::Ip => when(
                value
                    .as_str()
                    .is_some_and(|text| text.parse::<std::net::IpAddr>().is_err()),
                invalid("must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"),
            ),
            Must::Cidr => when(
                value.as_str().is_some_and(|text| !form::is_cidr(text)),
                invalid("must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"),
            ),
            Must::Host => form::host(path, value),
            Must::Absolute => when(
                !value.as_str().unwrap_or_default().starts_with('/'),
                invalid(says),
            ),
            Must::Schedule => form::schedule(path, value),
            Must::Headless => {
                let kind = of.place.value["type"].as_str().unwrap_or_default();
                let why = format!("may not be set to 'None' for {kind} services");
                vec![FieldError::invalid(
                    format!("{path}[0]"),
                    &"None".into(),
                    why,
                )]
            }
            Must::NotBoth(fields) => {
                let of = |field: &String| value[field].clone();
                let both = [fields.first(), fields.get(2)]
                    .into_iter()
                    .flatten()
                    .all(|field| !value[field].is_null());
                let shown = fields.iter().map(|field| (field.clone(), of(field)));
                let shown = internal(&Value::Object(shown.collect()));
                when(both, vec![FieldError::invalid(path, &shown, says)])
            }
            Must::TypeOf(allowed) => {
                let kind = value["type"].as_str().unwrap_or_default();
                let known = kind.is_empty() || allowed.iter().any(|allowed| allowed == kind);
                let shown = serde_json::json!({"Type": kind, "RollingUpdate": null});
                let error = match says.is_empty() {
                    true => FieldError::not_supported(path, &shown, allowed),
                    false => FieldError::invalid(path, &shown, says),
                };
                when(!known, vec![error])
            }
            Must::ClusterIp => {
                let text = value.as_str().unwrap_or_default();
                let broken = !text.is_empty() && text.parse::<std::net::IpAddr>().is_err();
                let why = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
                let place = format!("{path}s[0]");
                when(broken, vec![FieldError::invalid(place, value, why)])
            }
            Must::UniquePorts => unique_ports(path, value),
            Must::Json(key) => form::json_entry(path, value, key),
            Must::Size(fields) => {
                let entries = fields.iter().filter_map(|field| value[field].as_object());
                let size: usize = entries
                    .flat_map(|map| map.values())
                    .filter_map(|value| value.as_str().map(str::len))
                    .sum();
                let broken = size as u64 > MOST_BYTES;
                when(broken, vec![FieldError::too_long(says, MOST_BYTES)])
            }
            Must::Storage => {
                let asked = value["resources"]["requests"]["storage"].as_str();
                let place = super::join(path, "resources[storage]");
                let Some(asked) = asked else {
                    return vec![FieldError::required(place, "")];
                };
                let none = quantity::compare(asked, "0").is_some_and(std::cmp::Ordering::is_le);
                let why = "must be greater than zero";
                when(none, vec![FieldError::invalid(place, &asked.into(), why)])
            }
            Must::InNamespace => {
                let given = value.as_str().unwrap_or_default();
                let own = of.root["metadata"]["namespace"]
                    .as_str()
                    .unwrap_or_default();
                let fits = given == own || (given.is_empty() && own == "default");
                let given = Value::from(given);
                when(!fits, vec![FieldError::invalid(path, &given, says)])
            }
        }
    }

    fn unique_with(&self, of: &Subject<'_>, other: &str) -> Vec<FieldError> {
        let around = of
            .place
            .around
            .as_deref()
            .map_or(&Value::Null, |at| at.value);
        let taken = around[other].as_array().into_iter().flatten();
        let taken: Vec<&Value> = taken.map(|item| &item["name"]).collect();
        let items = of.value.as_array().into_iter().flatten().enumerate();
        let doubles = items.filter(|(_, item)| taken.contains(&&item["name"]));
        let mut errors: Vec<FieldError> = doubles
            .map(|(index, item)| {
                FieldError::duplicate(format!("{}[{index}].name", of.path), &item["name"])
            })
            .collect();
        errors.extend(duplicates(of.path, of.value, "name", ""));
        errors
    }

    fn refer(&self, of: &Subject<'_>, list: &str) -> Vec<FieldError> {
        let mut around = of.place.around.as_deref();
        while let Some(place) = around {
            if place.value.get("containers").is_some() {
                let items = place.value[list].as_array().into_iter().flatten();
                let known = items.map(|item| &item["name"]).any(|name| name == of.value);
                return match known || is_empty(of.value) {
                    true => Vec::new(),
                    false => vec![FieldError::not_found(of.path, of.value)],
                };
            }
            around = place.around.as_deref();
        }
        Vec::new()
    }

    fn select_template(&self, of: &Subject<'_>) -> Vec<FieldError> {
        let labels = &of.value["template"]["metadata"]["labels"];
        // An absent selector selects nothing; one that can't be read is another rule's business.
        let fits = match &of.value["selector"] {
            Value::Null => false,
            selector => LabelSelector::from_json(selector)
                .map_or(true, |selector| selector.matches(Some(labels))),
        };
        if fits {
            return Vec::new();
        }
        let path = super::join(of.path, "template.metadata.labels");
        let why = "`selector` does not match template `labels`";
        vec![FieldError::invalid(path, &sorted(labels), why)]
    }
}

/// Ports that have number and protocol of one before them.
fn unique_ports(path: &str, ports: &Value) -> Vec<FieldError> {
    let ports = ports.as_array().map_or(&[][..], Vec::as_slice);
    let same = |a: &Value, b: &Value| a["port"] == b["port"] && a["protocol"] == b["protocol"];
    let doubles = ports.iter().enumerate().filter(|(index, port)| {
        let before = ports.get(..*index).unwrap_or_default();
        before.iter().any(|other| same(other, port))
    });
    doubles
        .map(|(index, port)| {
            let shown = serde_json::json!({
                "Name": "", "Protocol": port["protocol"], "AppProtocol": null,
                "Port": port["port"], "TargetPort": 0, "NodePort": 0,
            });
            FieldError::duplicate(format!("{path}[{index}]"), &shown)
        })
        .collect()
}

/// Items that have a field's value that one before them has.
fn duplicates(path: &str, list: &Value, field: &str, says: &str) -> Vec<FieldError> {
    let mut seen: BTreeMap<String, ()> = BTreeMap::new();
    let mut errors = Vec::new();
    for (index, item) in list.as_array().into_iter().flatten().enumerate() {
        let value = &item[field];
        if is_empty(value) || seen.insert(value.to_string(), ()).is_none() {
            continue;
        }
        let path = format!("{path}[{index}].{field}");
        errors.push(match says.is_empty() {
            true => FieldError::duplicate(path, value),
            false => FieldError::invalid(path, value, says),
        });
    }
    errors
}
