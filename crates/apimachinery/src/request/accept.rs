//! What may be sent and what is wanted back.

use crate::status::Status;
use crate::table::IncludeObject;

/// The form of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// The objects.
    Json,
    /// A Table in a version of `meta.k8s.io`.
    Table(String, IncludeObject),
    /// Only metadata, in a version of `meta.k8s.io`.
    Partial(String),
}

/// The form of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum BodyFormat {
    Json,
    Yaml,
    Protobuf,
}

/// The kinds of patches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum PatchKind {
    Json,
    Merge,
    Strategic,
    Apply,
}

const ANSWERS: [&str; 3] = [
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
];

struct Range<'a> {
    media: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
}

impl Range<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.parameters
            .iter()
            .find(|(name, _)| *name == key)
            .map(|(_, value)| *value)
    }
}

fn ranges(header: &str) -> impl Iterator<Item = Range<'_>> {
    header.split(',').map(|range| {
        let mut parts = range.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default();
        Range {
            media,
            parameters: parts.filter_map(|part| part.split_once('=')).collect(),
        }
    })
}

pub(super) fn wants_aggregated(header: Option<&str>) -> bool {
    let first = header.and_then(|header| {
        ranges(header).find(|range| matches!(range.media, "application/json" | "*/*"))
    });
    first.is_some_and(|range| {
        range.get("as") == Some("APIGroupDiscoveryList")
            && range.get("g") == Some("apidiscovery.k8s.io")
            && range.get("v") == Some("v2")
    })
}

/// The first acceptable form. Protobuf isn't written, so it is passed over.
/// `watchable`: what is asked for could be watched.
pub(super) fn output(
    header: Option<&str>,
    include: Option<&str>,
    watchable: bool,
) -> Result<Output, Status> {
    let included = || match include {
        None | Some("" | "Metadata") => Ok(IncludeObject::Metadata),
        Some("None") => Ok(IncludeObject::None),
        Some("Object") => Ok(IncludeObject::Object),
        Some(other) => Err(Status::bad_request(format!(
            "Unable to convert to Table as requested: includeObject: Invalid value: {other:?}: must be 'Metadata', 'Object', 'None', or empty"
        ))),
    };
    let Some(header) = header.filter(|header| !header.trim().is_empty()) else {
        return Ok(Output::Json);
    };
    let mut known = false;
    for range in ranges(header) {
        known |= ANSWERS.contains(&range.media);
        if !matches!(range.media, "application/json" | "*/*") {
            continue;
        }
        let version = range
            .get("v")
            .filter(|version| matches!(*version, "v1" | "v1beta1"));
        match (range.get("as"), range.get("g"), version) {
            (None, ..) => return Ok(Output::Json),
            (Some("Table"), Some("meta.k8s.io"), Some(version)) => {
                return Ok(Output::Table(version.to_owned(), included()?));
            }
            (
                Some("PartialObjectMetadata" | "PartialObjectMetadataList"),
                Some("meta.k8s.io"),
                Some(version),
            ) => {
                return Ok(Output::Partial(version.to_owned()));
            }
            _ => {}
        }
    }
    // Types that nobody knows are refused before what is wanted of the known ones is looked at.
    Err(match known {
        true => Status::not_acceptable(&ANSWERS),
        false => Status::no_such_representation(&ANSWERS, watchable),
    })
}

fn media_type(header: Option<&str>) -> &str {
    header
        .and_then(|header| header.split(';').next())
        .unwrap_or_default()
        .trim()
}

pub(super) fn body(header: Option<&str>) -> Result<BodyFormat, Status> {
    match media_type(header) {
        "" | "application/json" => Ok(BodyFormat::Json),
        "application/yaml" => Ok(BodyFormat::Yaml),
        "application/vnd.kubernetes.protobuf" => Ok(BodyFormat::Protobuf),
        _ => Err(Status::unsupported_media_type(&ANSWERS)),
    }
}

pub(super) fn patch(header: Option<&str>, builtin: bool) -> Result<PatchKind, Status> {
    match media_type(header) {
        "application/json-patch+json" => Ok(PatchKind::Json),
        "application/merge-patch+json" => Ok(PatchKind::Merge),
        "application/strategic-merge-patch+json" if builtin => Ok(PatchKind::Strategic),
        "application/apply-patch+yaml" => Ok(PatchKind::Apply),
        _ if builtin => Err(Status::unsupported_patch()),
        _ => Err(Status::unsupported_media_type(&[
            "application/json-patch+json",
            "application/merge-patch+json",
            "application/apply-patch+yaml",
        ])),
    }
}
