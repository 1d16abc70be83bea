//! Watches: a cursor into the store's window of events, pulled as fast as the client reads.
//!
//! Nothing is queued for a slow client; when its cursor falls out of the window it is told that its
//! version expired, and lists again.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use http::Response;
use http::header::{CONTENT_TYPE, HeaderValue};
use serde_json::{Value, json};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use waft_apimachinery::registry::Resource;
use waft_apimachinery::request::{ListOptions, Output};
use waft_apimachinery::status::Status;
use waft_apimachinery::table;

use crate::answer;
use crate::list::{check_fields, selects, too_old};
use crate::open::ApiServer;
use crate::read::{served, served_bytes};
use crate::service::Body;
use crate::store::{Event, EventKind, Query, Stored};

/// How often a quiet watch tells how far it is.
const BOOKMARKS: Duration = Duration::from_secs(60);

/// About how much of the state a watch begins with is put together at a time, in bytes.
const PIECE: usize = 64 << 10;

/// How many events are taken from the window at a time.
const BATCH: usize = 128;

struct Watcher {
    server: Arc<ApiServer>,
    resource: Arc<Resource>,
    namespace: Option<String>,
    options: ListOptions,
    output: Output,
    cursor: u64,
    revision: tokio::sync::watch::Receiver<u64>,
    /// What was there when the watch began, as far as it isn't sent yet.
    state: std::vec::IntoIter<Arc<Stored>>,
    /// A bookmark follows the state.
    marked: bool,
    /// Frames to be sent.
    ready: Vec<u8>,
    deadline: Instant,
    bookmark: Instant,
    closing: CancellationToken,
    defined: bool,
    ended: bool,
    _place: Option<OwnedSemaphorePermit>,
}

impl ApiServer {
    /// One of the places for watches from outside, for as long as it is held.
    pub(crate) fn watch_place(&self, remote: bool) -> Result<Option<OwnedSemaphorePermit>, Status> {
        if !remote {
            return Ok(None);
        }
        let place = self.watches.clone().try_acquire_owned();
        place.map(Some).map_err(|_| {
            Status::too_many_requests("too many watches are open, please try again later", 5)
        })
    }

    pub(crate) async fn watch(
        self: &Arc<Self>,
        resource: &Arc<Resource>,
        namespace: Option<&str>,
        options: ListOptions,
        output: Output,
        place: Option<OwnedSemaphorePermit>,
    ) -> Result<Response<Body>, Status> {
        check_fields(&options, resource)?;
        let version = options.resource_version.unwrap_or(0);
        self.wait_for(version).await?;
        // Spread, so that clients that started together don't come back together.
        let seconds = options
            .timeout_seconds
            .unwrap_or(1800 + u64::from(rand_byte()) * 7);
        let mut watcher = Watcher {
            server: self.clone(),
            resource: resource.clone(),
            namespace: namespace.map(str::to_owned),
            cursor: version,
            revision: self.store.subscribe(),
            state: Vec::new().into_iter(),
            marked: false,
            ready: Vec::new(),
            deadline: Instant::now() + Duration::from_secs(seconds),
            bookmark: Instant::now() + BOOKMARKS,
            closing: self.closing.clone(),
            defined: false,
            ended: false,
            _place: place,
            options,
            output,
        };
        match watcher.options.initial_events {
            Some(true) => watcher.begin_with_state(true),
            Some(false) if version == 0 => watcher.cursor = self.store.revision(),
            None if version == 0 => watcher.begin_with_state(false),
            _ => {}
        }
        let frames = stream::unfold(watcher, |mut watcher| async move {
            let frame = watcher.next().await?;
            Some((Ok::<_, std::convert::Infallible>(frame), watcher))
        });
        let mut response = Response::new(Body::from_stream(frames));
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok(response)
    }
}

impl Watcher {
    /// What is sent next: all frames that are ready, as one piece.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(piece) = self.take_ready() {
                return Some(piece);
            }
            if self.ended || self.closing.is_cancelled() {
                return None;
            }
            self.revision.borrow_and_update();
            match self
                .server
                .store
                .events(&self.resource.storage, self.cursor, BATCH)
            {
                Err(expired) => {
                    self.push_error(&too_old(self.cursor, expired.oldest));
                    self.ended = true;
                    continue;
                }
                Ok((events, complete)) => {
                    for event in &events {
                        self.push_event(event);
                    }
                    self.cursor = complete;
                    if !self.ready.is_empty() {
                        continue;
                    }
                }
            }
            tokio::select! {
                changed = self.revision.changed() => self.ended = changed.is_err(),
                () = tokio::time::sleep_until(self.deadline) => {
                    self.push_bookmark(false);
                    self.ended = true;
                }
                () = tokio::time::sleep_until(self.bookmark), if self.options.bookmarks => {
                    self.bookmark = Instant::now() + BOOKMARKS;
                    self.push_bookmark(false);
                }
                () = self.closing.cancelled() => {}
            }
        }
    }

    /// All frames that are ready; the state that the watch began with comes in pieces.
    fn take_ready(&mut self) -> Option<Bytes> {
        while self.ready.len() < PIECE {
            let Some(stored) = self.state.next() else {
                if std::mem::take(&mut self.marked) {
                    self.push_bookmark(true);
                }
                break;
            };
            if selects(&self.options, &stored, &self.resource) {
                self.push("ADDED", &stored);
            }
        }
        (!self.ready.is_empty()).then(|| std::mem::take(&mut self.ready).into())
    }

    /// Begins with the present state, as ADDED events.
    fn begin_with_state(&mut self, marked: bool) {
        let query = Query {
            resource: &self.resource.storage,
            namespace: self.namespace.as_deref(),
            after: None,
            limit: None,
            at: None,
        };
        // Only a state of the past can have expired.
        if let Ok(page) = self.server.store.list(&query) {
            self.cursor = page.revision;
            self.state = page.objects.into_iter();
            self.marked = marked && self.options.bookmarks;
        }
    }

    fn push_event(&mut self, event: &Event) {
        let inside = |stored: &Stored| {
            self.namespace
                .as_deref()
                .is_none_or(|namespace| *stored.key.namespace == *namespace)
        };
        if !inside(&event.object) {
            return;
        }
        let now = selects(&self.options, &event.object, &self.resource);
        let before = event
            .previous
            .as_deref()
            .is_some_and(|old| selects(&self.options, old, &self.resource));
        match (event.kind, before, now) {
            (EventKind::Deleted, _, true) | (EventKind::Deleted, true, _) => {
                self.push("DELETED", &event.object)
            }
            (EventKind::Deleted, ..) => {}
            (_, false, true) => self.push("ADDED", &event.object),
            (_, true, true) => self.push("MODIFIED", &event.object),
            (_, true, false) => {
                // What left the selection is shown as it was, at the version at which it left.
                let Some(previous) = &event.previous else {
                    return;
                };
                let mut value = served(previous, &self.resource);
                value["metadata"]["resourceVersion"] = event.revision().to_string().into();
                self.push_value("DELETED", &value);
            }
            (_, false, false) => {}
        }
    }

    fn push(&mut self, kind: &str, stored: &Stored) {
        match self.output {
            Output::Json => {
                let object = served_bytes(stored, &self.resource);
                self.push_frame(kind, &object);
            }
            _ => {
                let value = served(stored, &self.resource);
                self.push_value(kind, &value);
            }
        }
    }

    fn push_value(&mut self, kind: &str, value: &Value) {
        let mut shown = answer::render(&self.resource, value, &self.output);
        if matches!(self.output, Output::Table(..)) && std::mem::replace(&mut self.defined, true) {
            shown.to_mut()["columnDefinitions"] = Value::Null;
        }
        self.push_frame(kind, &answer::encode(&shown));
    }

    fn push_frame(&mut self, kind: &str, object: &[u8]) {
        self.ready.reserve(object.len() + 40);
        self.ready.extend_from_slice(b"{\"type\":\"");
        self.ready.extend_from_slice(kind.as_bytes());
        self.ready.extend_from_slice(b"\",\"object\":");
        self.ready.extend_from_slice(object);
        self.ready.extend_from_slice(b"}\n");
    }

    fn push_bookmark(&mut self, initial: bool) {
        if !self.options.bookmarks {
            return;
        }
        let mut metadata = json!({"resourceVersion": self.cursor.to_string()});
        if initial {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let object = json!({
            "kind": self.resource.kind,
            "apiVersion": self.resource.api_version(),
            "metadata": metadata,
        });
        let shown = match &self.output {
            Output::Json => object,
            Output::Partial(version) => table::partial(&object, version),
            Output::Table(version, _) => {
                let cells: Vec<&str> = self.resource.columns.iter().map(|_| "").collect();
                let metadata = json!({"resourceVersion": self.cursor.to_string()});
                let row = json!({"cells": cells, "object": table::partial(&object, version)});
                let columns = (!self.defined).then_some(&self.resource.columns[..]);
                table::table(columns, vec![row], metadata, version)
            }
        };
        self.push_frame("BOOKMARK", &answer::encode(&shown));
    }

    fn push_error(&mut self, status: &Status) {
        self.push_frame("ERROR", &answer::encode(&status.to_json()));
    }
}

fn rand_byte() -> u8 {
    uuid::Uuid::new_v4().as_bytes()[0]
}
