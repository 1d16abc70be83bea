//! The parameters of each verb.

use serde_json::Value;

use super::{PatchKind, Query};
use crate::selector::{FieldSelector, LabelSelector};
use crate::status::{FieldError, Status};

/// How strictly a body's fields are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs, reason = "the names are the API's own")]
pub enum FieldValidation {
    Ignore,
    #[default]
    Warn,
    Strict,
}

/// What happens to dependents of a deleted object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the API's own")]
pub enum Propagation {
    Background,
    Foreground,
    Orphan,
}

/// How a list's resourceVersion is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the API's own")]
pub enum VersionMatch {
    Exact,
    NotOlderThan,
}

/// Parameters of lists and watches.
#[derive(Debug, Clone)]
pub struct ListOptions {
    /// Only objects with such labels.
    pub labels: LabelSelector,
    /// Only objects with such fields.
    pub fields: FieldSelector,
    /// At most so many objects.
    pub limit: Option<usize>,
    /// Where the page before ended.
    pub continue_token: Option<String>,
    /// The state to list, or to watch from. `Some(0)`: any.
    pub resource_version: Option<u64>,
    /// How `resource_version` is meant.
    pub version_match: Option<VersionMatch>,
    /// The server ends the watch after so many seconds.
    pub timeout_seconds: Option<u64>,
    /// Bookmarks are welcome.
    pub bookmarks: bool,
    /// The watch begins with the state.
    pub initial_events: Option<bool>,
}

/// Parameters of writes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WriteOptions {
    /// Everything but the write.
    pub dry_run: bool,
    /// Who owns the written fields.
    pub field_manager: Option<String>,
    /// What happens to unknown fields.
    pub field_validation: FieldValidation,
    /// An apply takes fields from others.
    pub force: Option<bool>,
}

/// Conditions of a deletion.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Preconditions {
    /// The object's uid.
    pub uid: Option<String>,
    /// The object's version.
    pub resource_version: Option<String>,
}

/// Parameters of deletions, from the query and then from the body.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeleteOptions {
    /// Everything but the deletion.
    pub dry_run: bool,
    /// Seconds for the object to end.
    pub grace_period_seconds: Option<i64>,
    /// What happens to dependents.
    pub propagation: Option<Propagation>,
    /// Conditions.
    pub preconditions: Preconditions,
}

/// Parameters of `pods/log`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// Which container; needed when there are several.
    pub container: Option<String>,
    /// Go on as lines are written.
    pub follow: bool,
    /// Only the last so many lines.
    pub tail_lines: Option<u64>,
    /// Only lines of the last so many seconds.
    pub since_seconds: Option<u64>,
    /// Only lines since this RFC 3339 time.
    pub since_time: Option<String>,
    /// Each line starts with its time.
    pub timestamps: bool,
    /// At most so many bytes.
    pub limit_bytes: Option<u64>,
    /// The instance before the present one.
    pub previous: bool,
}

impl ListOptions {
    pub(super) fn parse(query: &Query, watch: bool) -> Result<ListOptions, Status> {
        let labels = LabelSelector::parse(query.get("labelSelector").unwrap_or_default())
            .map_err(|error| Status::bad_request(error.to_string()))?;
        let fields = FieldSelector::parse(query.get("fieldSelector").unwrap_or_default())
            .map_err(|error| Status::bad_request(error.to_string()))?;
        let version = query
            .get("resourceVersion")
            .filter(|version| !version.is_empty());
        let resource_version = match version.map(|text| (text, text.parse::<u64>())) {
            None => None,
            Some((_, Ok(version))) => Some(version),
            Some((text, Err(_))) if watch => {
                return Err(Status::new(
                    500,
                    None,
                    format!(
                        "resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: invalid syntax"
                    ),
                ));
            }
            Some((text, Err(_))) => {
                return Err(Status::bad_request(format!(
                    "invalid resource version: resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: invalid syntax"
                )));
            }
        };
        let version_match = match query.get("resourceVersionMatch") {
            None | Some("") => None,
            Some("Exact") => Some(VersionMatch::Exact),
            Some("NotOlderThan") => Some(VersionMatch::NotOlderThan),
            Some(other) => {
                return Err(invalid_options(unsupported_match(
                    other,
                    &["Exact", "NotOlderThan", ""],
                )));
            }
        };
        let options = ListOptions {
            labels,
            fields,
            // Negative ones are none, as on the real server.
            limit: query
                .number::<i64>("limit")?
                .and_then(|limit| usize::try_from(limit).ok())
                .filter(|limit| *limit > 0),
            continue_token: query
                .get("continue")
                .filter(|token| !token.is_empty())
                .map(str::to_owned),
            resource_version,
            version_match,
            timeout_seconds: query
                .number::<u64>("timeoutSeconds")?
                .filter(|seconds| *seconds > 0),
            bookmarks: query.flag("allowWatchBookmarks"),
            initial_events: query
                .get("sendInitialEvents")
                .map(|_| query.flag("sendInitialEvents")),
        };
        options.check(watch)?;
        Ok(options)
    }

    fn check(&self, watch: bool) -> Result<(), Status> {
        let forbidden =
            |field: &str, why: &str| Err(invalid_options(FieldError::forbidden(field, why)));
        if watch {
            let exact = || unsupported_match("Exact", &["NotOlderThan"]);
            return match (self.initial_events, self.version_match) {
                (None, Some(VersionMatch::Exact)) => Err(all_invalid(vec![
                    FieldError::forbidden(
                        "resourceVersionMatch",
                        "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
                    ),
                    exact(),
                ])),
                (None, Some(_)) => forbidden(
                    "resourceVersionMatch",
                    "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
                ),
                (Some(_), None) => forbidden(
                    "resourceVersionMatch",
                    "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
                ),
                (Some(_), Some(VersionMatch::Exact)) => Err(all_invalid(vec![
                    FieldError::forbidden(
                        "resourceVersionMatch",
                        "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
                    ),
                    exact(),
                ])),
                _ => Ok(()),
            };
        }
        if self.initial_events.is_some() {
            let mut errors = Vec::new();
            if self.version_match.is_some() && self.resource_version.is_none() {
                errors.push(FieldError::forbidden(
                    "resourceVersionMatch",
                    "resourceVersionMatch is forbidden unless resourceVersion is provided",
                ));
            }
            errors.push(FieldError::forbidden(
                "sendInitialEvents",
                "sendInitialEvents is forbidden for list",
            ));
            return Err(all_invalid(errors));
        }
        match self.version_match {
            Some(_) if self.continue_token.is_some() => forbidden(
                "resourceVersionMatch",
                "resourceVersionMatch is forbidden when continue is provided",
            ),
            Some(_) if self.resource_version.is_none() => forbidden(
                "resourceVersionMatch",
                "resourceVersionMatch is forbidden unless resourceVersion is provided",
            ),
            Some(VersionMatch::Exact) if self.resource_version == Some(0) => forbidden(
                "resourceVersionMatch",
                "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
            ),
            None if self.continue_token.is_some()
                && self.resource_version.is_some_and(|version| version > 0) =>
            {
                Err(Status::bad_request(
                    "specifying resource version is not allowed when using continue",
                ))
            }
            _ => Ok(()),
        }
    }

    /// Whether every object is wanted.
    pub fn selects_all(&self) -> bool {
        self.labels.is_everything() && self.fields.is_everything()
    }
}

impl WriteOptions {
    pub(super) fn parse(query: &Query, kind: &str) -> Result<WriteOptions, Status> {
        let dry_run = dry_run(query.all("dryRun"), kind)?;
        let field_validation = match query.get("fieldValidation") {
            None | Some("" | "Warn") => FieldValidation::Warn,
            Some("Ignore") => FieldValidation::Ignore,
            Some("Strict") => FieldValidation::Strict,
            Some(other) => {
                let error = FieldError::not_supported(
                    "fieldValidation",
                    &Value::from(other),
                    &[
                        String::new(),
                        "Ignore".into(),
                        "Strict".into(),
                        "Warn".into(),
                    ],
                );
                return Err(Status::invalid("meta.k8s.io", kind, "", vec![error]));
            }
        };
        let field_manager = query
            .get("fieldManager")
            .filter(|name| !name.is_empty())
            .map(str::to_owned);
        if field_manager.as_ref().is_some_and(|name| name.len() > 128) {
            return Err(Status::invalid(
                "meta.k8s.io",
                kind,
                "",
                vec![FieldError::too_long("fieldManager", 128)],
            ));
        }
        let control = field_manager.as_deref().and_then(|name| {
            let mut letters = name.char_indices();
            letters.find(|(_, letter)| letter.is_control())
        });
        if let (Some(name), Some((position, letter))) = (&field_manager, control) {
            let problem = format!(
                "invalid character U+{:04X} (at position {position})",
                u32::from(letter)
            );
            let error = FieldError::invalid("fieldManager", &Value::from(name.as_str()), problem);
            return Err(Status::invalid("meta.k8s.io", kind, "", vec![error]));
        }
        let force = query.get("force").map(|_| query.flag("force"));
        Ok(WriteOptions {
            dry_run,
            field_manager,
            field_validation,
            force,
        })
    }

    pub(super) fn check_patch(&self, kind: PatchKind) -> Result<(), Status> {
        let error = match kind {
            PatchKind::Apply if self.field_manager.is_none() => {
                FieldError::required("fieldManager", "is required for apply patch")
            }
            PatchKind::Apply => return Ok(()),
            _ if self.force.is_some() => {
                FieldError::forbidden("force", "may not be specified for non-apply patch")
            }
            _ => return Ok(()),
        };
        Err(Status::invalid(
            "meta.k8s.io",
            "PatchOptions",
            "",
            vec![error],
        ))
    }
}

impl DeleteOptions {
    pub(super) fn parse(query: &Query) -> Result<DeleteOptions, Status> {
        let mut options = DeleteOptions {
            dry_run: dry_run(query.all("dryRun"), "DeleteOptions")?,
            grace_period_seconds: query.number("gracePeriodSeconds")?,
            ..DeleteOptions::default()
        };
        if query.get("orphanDependents").is_some() {
            options.propagation = Some(orphan(query.flag("orphanDependents")));
        }
        if let Some(policy) = query
            .get("propagationPolicy")
            .filter(|policy| !policy.is_empty())
        {
            options.propagation = Some(propagation(policy)?);
        }
        Ok(options)
    }

    /// What the body says wins over the query.
    pub fn merge_body(&mut self, body: &Value) -> Result<(), Status> {
        if let Some(seconds) = body["gracePeriodSeconds"].as_i64() {
            self.grace_period_seconds = Some(seconds);
        }
        if !matches!(body["preconditions"], Value::Null | Value::Object(_)) {
            let kind = match &body["preconditions"] {
                Value::Bool(_) => "bool",
                Value::Number(_) => "number",
                Value::String(_) => "string",
                _ => "array",
            };
            return Err(Status::bad_request(format!(
                "json: cannot unmarshal {kind} into Go struct field DeleteOptions.preconditions of type v1.Preconditions"
            )));
        }
        let policy = body["propagationPolicy"]
            .as_str()
            .filter(|policy| !policy.is_empty());
        if let (Some(_), Some(policy)) = (body["orphanDependents"].as_bool(), policy) {
            let error = FieldError::invalid(
                "propagationPolicy",
                &Value::from(policy),
                "orphanDependents and deletionPropagation cannot be both set",
            );
            return Err(Status::invalid(
                "meta.k8s.io",
                "DeleteOptions",
                "",
                vec![error],
            ));
        }
        if let Some(flag) = body["orphanDependents"].as_bool() {
            self.propagation = Some(orphan(flag));
        }
        if let Some(policy) = body["propagationPolicy"]
            .as_str()
            .filter(|policy| !policy.is_empty())
        {
            self.propagation = Some(propagation(policy)?);
        }
        if let Some(list) = body["dryRun"].as_array() {
            self.dry_run |= dry_run(list.iter().filter_map(Value::as_str), "DeleteOptions")?;
        }
        let text = |key: &str| body["preconditions"][key].as_str().map(str::to_owned);
        self.preconditions = Preconditions {
            uid: text("uid"),
            resource_version: text("resourceVersion"),
        };
        Ok(())
    }
}

impl LogOptions {
    pub(super) fn parse(query: &Query) -> Result<LogOptions, Status> {
        Ok(LogOptions {
            container: query
                .get("container")
                .filter(|name| !name.is_empty())
                .map(str::to_owned),
            follow: query.flag("follow"),
            tail_lines: query.number("tailLines")?,
            since_seconds: query.number("sinceSeconds")?,
            since_time: query
                .get("sinceTime")
                .filter(|time| !time.is_empty())
                .map(str::to_owned),
            timestamps: query.flag("timestamps"),
            limit_bytes: query.number("limitBytes")?,
            previous: query.flag("previous"),
        })
    }
}

fn unsupported_match(given: &str, supported: &[&str]) -> FieldError {
    let supported: Vec<String> = supported.iter().map(|text| (*text).to_owned()).collect();
    FieldError::not_supported("resourceVersionMatch", &Value::from(given), &supported)
}

fn all_invalid(errors: Vec<FieldError>) -> Status {
    Status::invalid("meta.k8s.io", "ListOptions", "", errors)
}

fn orphan(flag: bool) -> Propagation {
    if flag {
        Propagation::Orphan
    } else {
        Propagation::Background
    }
}

fn propagation(text: &str) -> Result<Propagation, Status> {
    match text {
        "Background" => Ok(Propagation::Background),
        "Foreground" => Ok(Propagation::Foreground),
        "Orphan" => Ok(Propagation::Orphan),
        other => {
            let error = FieldError::not_supported(
                "propagationPolicy",
                &Value::from(other),
                &[
                    "Foreground".into(),
                    "Background".into(),
                    "Orphan".into(),
                    "nil".into(),
                ],
            );
            Err(Status::invalid(
                "meta.k8s.io",
                "DeleteOptions",
                "",
                vec![error],
            ))
        }
    }
}

fn dry_run<'a>(values: impl Iterator<Item = &'a str>, kind: &str) -> Result<bool, Status> {
    let mut found = false;
    for value in values {
        if value != "All" {
            let error =
                FieldError::not_supported("dryRun", &Value::from(vec![value]), &["All".into()]);
            return Err(Status::invalid("meta.k8s.io", kind, "", vec![error]));
        }
        found = true;
    }
    Ok(found)
}

fn invalid_options(error: FieldError) -> Status {
    Status::invalid("meta.k8s.io", "ListOptions", "", vec![error])
}
