//! Building answers.

use std::borrow::Cow;
use std::env::consts::{ARCH, OS};

use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt};
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{HeaderName, Response, StatusCode};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use waft_apimachinery::platform;
use waft_apimachinery::registry::{Registry, Resource};
use waft_apimachinery::request::Output;
use waft_apimachinery::status::Status;
use waft_apimachinery::table;

use crate::service::Body;

/// The Kubernetes release whose API is served.
pub(crate) const KUBERNETES: (&str, &str, &str) = ("1", "36", "v1.36.3");

pub(crate) fn bytes(code: u16, media: &'static str, bytes: Bytes) -> Response<Body> {
    body(code, media, Body::from(bytes))
}

pub(crate) fn body(code: u16, media: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() =
        StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(media));
    response
}

pub(crate) fn json(code: u16, value: &Value) -> Response<Body> {
    bytes(code, "application/json", encode(value))
}

pub(crate) fn typed(media: &'static str, value: &Value) -> Response<Body> {
    bytes(200, media, encode(value))
}

pub(crate) fn plain(code: u16, text: &'static str) -> Response<Body> {
    bytes(
        code,
        "text/plain; charset=utf-8",
        Bytes::from_static(text.as_bytes()),
    )
}

pub(crate) fn encode(value: &Value) -> Bytes {
    serde_json::to_vec(value)
        .expect("JSON values always encode into memory")
        .into()
}

/// A refusal.
pub(crate) fn status(status: &Status) -> Response<Body> {
    let mut response = json(status.code, &status.to_json());
    let retry = status
        .details
        .as_ref()
        .and_then(|details| details.retry_after_seconds);
    if let Some(seconds) = retry {
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    response
}

/// The length of all warnings, and what is left of one when that is reached, characters; as on the
/// real server.
const WARNINGS_LENGTH: usize = 4096;
const WARNING_LENGTH: usize = 256;

/// Adds `Warning` headers.
pub(crate) fn warn(response: &mut Response<Body>, warnings: &[String]) {
    let name = HeaderName::from_static("warning");
    let mut given: Vec<&String> = Vec::new();
    let mut length = 0;
    for warning in warnings {
        if given.contains(&warning) {
            continue;
        }
        given.push(warning);
        let mut shown = warning.chars().count();
        if length + shown > WARNINGS_LENGTH {
            shown = shown.min(WARNING_LENGTH);
        }
        length += shown;
        if length > WARNINGS_LENGTH {
            break;
        }
        let quoted: String = warning
            .chars()
            .take(shown)
            .flat_map(|c| match c {
                '"' | '\\' => vec!['\\', c],
                c if c.is_control() => vec![' '],
                c => vec![c],
            })
            .collect();
        if let Ok(value) = HeaderValue::from_bytes(format!("299 - \"{quoted}\"").as_bytes()) {
            response.headers_mut().append(name.clone(), value);
        }
    }
}

/// One object in the form that was asked for.
pub(crate) fn object(
    resource: &Resource,
    value: &Value,
    output: &Output,
    code: u16,
) -> Result<Response<Body>, Status> {
    Ok(json(code, &render(resource, value, output)))
}

/// One object as a value in the form that was asked for.
pub(crate) fn render<'a>(resource: &Resource, value: &'a Value, output: &Output) -> Cow<'a, Value> {
    Cow::Owned(match output {
        Output::Json => return Cow::Borrowed(value),
        Output::Partial(version) => table::partial(value, version),
        Output::Table(version, include) => {
            let row = table::row(resource, value, *include, version, now());
            let metadata = json!({"resourceVersion": value["metadata"]["resourceVersion"]});
            table::table(Some(&resource.columns), vec![row], metadata, version)
        }
    })
}

/// The answer to a deletion that is done.
pub(crate) fn deleted(resource: &Resource, value: &Value) -> Value {
    let mut details = json!({
        "name": value["metadata"]["name"],
        "group": resource.group,
        "kind": resource.plural,
        "uid": value["metadata"]["uid"],
    });
    if resource.group.is_empty() {
        details
            .as_object_mut()
            .map(|details| details.shift_remove("group"));
    }
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
}

/// A body that comes in pieces, and ends when the server does.
pub(crate) fn stream(
    pieces: BoxStream<'static, Bytes>,
    closing: CancellationToken,
) -> Response<Body> {
    let pieces = pieces
        .take_until(closing.cancelled_owned())
        .map(Ok::<_, std::convert::Infallible>);
    let mut response = Response::new(Body::from_stream(pieces));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

/// Seconds since 1970.
pub(crate) fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// The answer of `/version`.
pub(crate) fn version() -> Value {
    let (major, minor, git) = KUBERNETES;
    json!({
        "major": major,
        "minor": minor,
        "gitVersion": format!("{git}+waft-{}", env!("CARGO_PKG_VERSION")),
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "rustc",
        "platform": format!("{}/{}", platform::os(OS), platform::arch(ARCH)),
    })
}

/// The answer of `/`.
pub(crate) fn paths(registry: &Registry) -> Value {
    let mut paths = vec!["/api".to_owned(), "/apis".to_owned()];
    paths.extend(
        registry
            .groups()
            .iter()
            .map(|(group, _)| format!("/apis/{group}")),
    );
    paths.extend(
        registry
            .group_versions()
            .map(|(of, _)| format!("/{}", of.path())),
    );
    paths.extend(["/healthz", "/livez", "/openapi/v3", "/readyz", "/version"].map(str::to_owned));
    paths.sort();
    json!({"paths": paths})
}
