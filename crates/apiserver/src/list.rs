//! Lists: consistent at one revision, in pages.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use bytes::Bytes;
use futures::stream;
use http::Response;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use waft_apimachinery::decode::syntax_error;
use waft_apimachinery::registry::Resource;
use waft_apimachinery::request::{ListOptions, Output, VersionMatch};
use waft_apimachinery::selector::field_text;
use waft_apimachinery::status::Status;
use waft_apimachinery::table;

use crate::answer;
use crate::open::ApiServer;
use crate::read::{served, served_bytes};
use crate::service::Body;
use crate::store::{Query, Stored};

/// Where a page ended.
#[derive(Serialize, Deserialize)]
struct Token {
    #[serde(rename = "rv")]
    revision: u64,
    #[serde(rename = "start")]
    after: (String, String),
    /// How many objects come after that page.
    #[serde(default)]
    left: usize,
}

/// One page of selected objects.
pub(crate) struct Selected {
    pub(crate) objects: Vec<Arc<Stored>>,
    pub(crate) revision: u64,
    next: Option<String>,
    remaining: Option<usize>,
}

/// About how much of a list is put together at a time, in bytes.
const PIECE: usize = 64 << 10;

/// How long a list waits for a revision that doesn't exist yet.
const FUTURE: Duration = Duration::from_secs(3);

impl ApiServer {
    pub(crate) async fn list(
        &self,
        resource: &Arc<Resource>,
        namespace: Option<&str>,
        options: &ListOptions,
        output: &Output,
    ) -> Result<Response<Body>, Status> {
        let bytes = |page: &Selected| -> usize {
            page.objects.iter().map(|stored| stored.bytes.len()).sum()
        };
        // Any state will do: then the real server answers from its memory, which knows no pages.
        let mut whole = options.clone();
        whole.limit = options
            .limit
            .filter(|_| options.resource_version != Some(0));
        let mut page = self.select(resource, namespace, &whole).await?;
        if options.limit.is_some() && bytes(&page) > self.list_bytes {
            page = self.select(resource, namespace, options).await?;
        }
        let size = bytes(&page);
        if size > self.list_bytes {
            return Err(Status::too_large(format!(
                "the list has {size} bytes, the limit is {}: ask for it in pages, with limit and continue",
                self.list_bytes
            )));
        }
        let mut metadata = Map::new();
        metadata.insert("resourceVersion".into(), page.revision.to_string().into());
        if let Some(next) = &page.next {
            metadata.insert("continue".into(), next.clone().into());
        }
        // Lists of custom resources say that there is no next page.
        if !resource.builtin && page.next.is_none() && *output == Output::Json {
            metadata.insert("continue".into(), "".into());
        }
        if let Some(remaining) = page.remaining {
            metadata.insert("remainingItemCount".into(), remaining.into());
        }
        let metadata = Value::Object(metadata);
        let values = page.objects.iter().map(|stored| served(stored, resource));
        let body = match output {
            Output::Json => {
                let pieces = Pieces::new(resource, &metadata, page.objects);
                let body = match size < PIECE {
                    true => Body::from(pieces.collect::<Vec<_>>().concat()),
                    false => Body::from_stream(stream::iter(pieces.map(Ok::<_, Infallible>))),
                };
                return Ok(answer::body(200, "application/json", body));
            }
            Output::Partial(version) => answer::encode(&json!({
                "kind": "PartialObjectMetadataList",
                "apiVersion": format!("meta.k8s.io/{version}"),
                "metadata": metadata,
                "items": values.map(|value| table::partial(&value, version)).collect::<Vec<_>>(),
            })),
            Output::Table(version, include) => {
                let now = answer::now();
                let rows = values
                    .map(|value| table::row(resource, &value, *include, version, now))
                    .collect();
                answer::encode(&table::table(
                    Some(&resource.columns),
                    rows,
                    metadata,
                    version,
                ))
            }
        };
        Ok(answer::bytes(200, "application/json", body))
    }

    /// The objects that a list asks for.
    pub(crate) async fn select(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        options: &ListOptions,
    ) -> Result<Selected, Status> {
        check_fields(options, resource)?;
        let token = options
            .continue_token
            .as_deref()
            .map(read_token)
            .transpose()?;
        let at = match (
            &token,
            options.resource_version.filter(|version| *version > 0),
        ) {
            (Some(token), _) => Some(token.revision),
            (None, None) => None,
            (None, Some(version)) => {
                self.wait_for(version).await?;
                let exact = match options.version_match {
                    Some(how) => how == VersionMatch::Exact,
                    None => options.limit.is_some(),
                };
                exact.then_some(version)
            }
        };
        let all = options.selects_all();
        let query = Query {
            resource: &resource.storage,
            namespace,
            after: token
                .as_ref()
                .map(|token| (&*token.after.0, &*token.after.1)),
            limit: options.limit.filter(|_| all),
            at,
        };
        let page = self.store.list(&query).map_err(|expired| match token {
            Some(_) => Status::expired("The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter."),
            None => too_old(at.unwrap_or(0), expired.oldest),
        })?;
        let (mut objects, mut more) = (page.objects, page.more);
        let left = page.total.or(token.map(|token| token.left)).unwrap_or(0);
        let mut left = left.saturating_sub(objects.len());
        if !all {
            objects.retain(|stored| selects(options, stored, resource));
            more = options.limit.is_some_and(|limit| objects.len() > limit);
            objects.truncate(options.limit.unwrap_or(usize::MAX));
            left = 0;
        }
        let next = objects.last().filter(|_| more);
        let next = next.map(|last| write_token(page.revision, last, left));
        let remaining = Some(left).filter(|left| more && *left > 0);
        Ok(Selected {
            objects,
            revision: page.revision,
            next,
            remaining,
        })
    }

    /// Waits a little for a revision from the future.
    pub(crate) async fn wait_for(&self, version: u64) -> Result<(), Status> {
        let mut revision = self.store.subscribe();
        if *revision.borrow() >= version {
            return Ok(());
        }
        let reached =
            tokio::time::timeout(FUTURE, revision.wait_for(|revision| *revision >= version)).await;
        match reached {
            Ok(Ok(_)) => Ok(()),
            _ => Err(Status::resource_version_too_large(
                version,
                self.store.revision(),
            )),
        }
    }
}

/// The text of a list, put together piece by piece while it is sent.
struct Pieces {
    resource: Arc<Resource>,
    objects: std::vec::IntoIter<Arc<Stored>>,
    /// How the objects of built-in kinds begin: in lists they don't repeat their type.
    types: Vec<String>,
    /// What comes before the next object.
    before: Vec<u8>,
    ended: bool,
}

impl Pieces {
    fn new(resource: &Arc<Resource>, metadata: &Value, objects: Vec<Arc<Stored>>) -> Pieces {
        let (version, kind) = (resource.api_version(), &resource.kind);
        let head = json!({"kind": resource.list_kind, "apiVersion": version, "metadata": metadata});
        let mut before = answer::encode(&head).to_vec();
        before.pop();
        before.extend_from_slice(b",\"items\":[");
        let types = match resource.builtin {
            true => vec![
                format!("{{\"apiVersion\":\"{version}\",\"kind\":\"{kind}\","),
                format!("{{\"kind\":\"{kind}\",\"apiVersion\":\"{version}\","),
            ],
            false => Vec::new(),
        };
        Pieces {
            resource: resource.clone(),
            objects: objects.into_iter(),
            types,
            before,
            ended: false,
        }
    }

    fn push(&self, out: &mut Vec<u8>, stored: &Stored) {
        let bytes = served_bytes(stored, &self.resource);
        let mut types = self.types.iter();
        match types.find_map(|head| bytes.strip_prefix(head.as_bytes())) {
            Some(rest) => {
                out.push(b'{');
                out.extend_from_slice(rest);
            }
            None => out.extend_from_slice(&bytes),
        }
    }
}

impl Iterator for Pieces {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if self.ended {
            return None;
        }
        let mut out = Vec::with_capacity(PIECE + PIECE / 4);
        while out.len() < PIECE {
            out.append(&mut self.before);
            let Some(stored) = self.objects.next() else {
                out.extend_from_slice(b"]}");
                self.ended = true;
                break;
            };
            self.push(&mut out, &stored);
            if self.objects.len() > 0 {
                self.before.push(b',');
            }
        }
        Some(out.into())
    }
}

pub(crate) fn too_old(asked: u64, oldest: u64) -> Status {
    Status::expired(format!("too old resource version: {asked} ({oldest})"))
}

/// Refuses field selectors that the resource doesn't offer.
pub(crate) fn check_fields(options: &ListOptions, resource: &Resource) -> Result<(), Status> {
    for requirement in options.fields.requirements() {
        let field = requirement.field.as_str();
        let known = matches!(field, "metadata.name" | "metadata.namespace")
            || resource
                .selectable
                .iter()
                .any(|selectable| selectable.path == field);
        if !known {
            let plain = resource.builtin && resource.selectable.is_empty();
            return Err(Status::bad_request(match plain {
                true => format!(
                    "{field:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
                ),
                false => format!("field label not supported: {field}"),
            }));
        }
    }
    Ok(())
}

/// Whether the selectors of a list or watch let an object through.
pub(crate) fn selects(options: &ListOptions, stored: &Stored, resource: &Resource) -> bool {
    if !options.labels.is_everything() {
        let labels: Map<String, Value> = stored
            .meta
            .labels
            .iter()
            .map(|(key, value)| (key.to_string(), (&**value).into()))
            .collect();
        if !options.labels.matches(Some(&Value::Object(labels))) {
            return false;
        }
    }
    let mut parsed = None;
    options.fields.requirements().iter().all(|requirement| {
        let found = match requirement.field.as_str() {
            "metadata.name" => stored.key.name.to_string(),
            "metadata.namespace" => stored.key.namespace.to_string(),
            field => {
                let at = resource.selectable.iter().find(|known| known.path == field);
                let at = at.map_or(field, |known| known.at.as_str());
                let object = parsed.get_or_insert_with(|| served(stored, resource));
                let text = field_text(object, at);
                match text.is_empty() && resource.builtin {
                    // What is absent has its type's zero value.
                    true => resource.schema().zero_text(at).to_owned(),
                    false => text,
                }
            }
        };
        (found == requirement.value) == requirement.equals
    })
}

fn write_token(revision: u64, last: &Stored, left: usize) -> String {
    let after = (last.key.namespace.to_string(), last.key.name.to_string());
    let token = Token {
        revision,
        after,
        left,
    };
    let json = serde_json::to_vec(&token).unwrap_or_default();
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(json)
}

fn read_token(text: &str) -> Result<Token, Status> {
    let decoded = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(text)
        .unwrap_or_default();
    serde_json::from_slice(&decoded).map_err(|error| {
        let why = syntax_error(&decoded).unwrap_or_else(|| error.to_string());
        Status::bad_request(format!(
            "invalid continue token: continue key is not valid: {why}"
        ))
    })
}
