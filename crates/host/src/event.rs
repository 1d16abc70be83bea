//! What a person who watches the host sees: lines of guests, and one line a request. Whoever
//! listens too slowly misses some; nobody waits for a listener.

use std::{sync::Arc, time::Duration};

use tokio::sync::broadcast;
use waft_ir::LogLine;

use crate::reason::Reason;

/// Events kept for a slow listener.
const KEPT: usize = 1024;

/// Something worth a line on a terminal.
#[derive(Clone, Debug)]
pub enum Event {
    /// A guest, or the host about it, wrote a line.
    Line {
        /// `namespace/name` of the workload.
        workload: Arc<str>,
        /// The line; it names its component.
        line: Arc<LogLine>,
    },
    /// A request was answered, or given up.
    Access(Arc<Access>),
}

/// One request and what became of it.
#[derive(Clone, Debug)]
pub struct Access {
    /// Id of the request, as in the log lines of its guest.
    pub request_id: Arc<str>,
    /// Who served it: `namespace/name` of the workload and the component.
    pub backend: Option<(Arc<str>, Arc<str>)>,
    /// Request method.
    pub method: String,
    /// Host name, normalised.
    pub host: String,
    /// Path, without the query, in which there may be secrets.
    pub path: String,
    /// Status of the answer; `None` if the client left before.
    pub status: Option<u16>,
    /// Why, if the host answered itself.
    pub reason: Option<Reason>,
    /// Bytes of the answer's body.
    pub bytes: u64,
    /// From the request's head to the answer's end.
    pub duration: Duration,
}

/// The place where events are handed out.
pub(crate) struct Events {
    sender: broadcast::Sender<Event>,
}

impl Events {
    pub(crate) fn new() -> Self {
        Self {
            sender: broadcast::Sender::new(KEPT),
        }
    }

    /// Whether it is worth making an event.
    pub(crate) fn wanted(&self) -> bool {
        self.sender.receiver_count() > 0
    }

    pub(crate) fn send(&self, event: Event) {
        // The last listener may have left just now.
        let _ = self.sender.send(event);
    }

    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.sender.subscribe()
    }
}
