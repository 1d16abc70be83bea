//! The recent events, bounded in bytes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::Expired;
use super::object::{Key, Stored};

/// Bookkeeping of one event that isn't in its bytes.
const OVERHEAD: usize = 256;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EventKind {
    Added,
    Modified,
    Deleted,
}

/// One published change.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) kind: EventKind,
    /// The new state; for a deletion the last one, with the deletion's revision.
    pub(crate) object: Arc<Stored>,
    pub(crate) previous: Option<Arc<Stored>>,
}

impl Event {
    pub(crate) fn revision(&self) -> u64 {
        self.object.revision
    }

    fn size(&self) -> usize {
        OVERHEAD + self.object.bytes.len() + self.previous.as_ref().map_or(0, |p| p.bytes.len())
    }
}

pub(super) struct Window {
    events: VecDeque<Arc<Event>>,
    bytes: usize,
    limit: usize,
    /// The events after this revision are all here.
    floor: u64,
}

/// The state of changed keys at an earlier revision.
pub(super) type Past = BTreeMap<(Arc<str>, Arc<str>), Option<Arc<Stored>>>;

impl Window {
    pub(super) fn new(limit: usize) -> Window {
        Window {
            events: VecDeque::new(),
            bytes: 0,
            limit,
            floor: 0,
        }
    }

    pub(super) fn floor(&self) -> u64 {
        self.floor
    }

    /// Says that nothing before this revision is known.
    pub(super) fn set_floor(&mut self, floor: u64) {
        self.floor = floor;
    }

    /// Adds an event; returns those that no longer fit.
    pub(super) fn push(&mut self, event: Arc<Event>) -> Vec<Arc<Event>> {
        self.bytes += event.size();
        self.events.push_back(event);
        let mut gone = Vec::new();
        while self.bytes > self.limit && self.events.len() > 1 {
            let Some(oldest) = self.events.pop_front() else {
                break;
            };
            self.bytes -= oldest.size();
            self.floor = oldest.revision();
            gone.push(oldest);
        }
        gone
    }

    pub(super) fn after(
        &self,
        resource: Option<&str>,
        after: u64,
        limit: usize,
        newest: u64,
    ) -> Result<(Vec<Arc<Event>>, u64), Expired> {
        let start = self.position(after)?;
        let mut found = Vec::new();
        for event in self.events.range(start..) {
            if resource.is_some_and(|resource| *event.object.key.resource != *resource) {
                continue;
            }
            if found.len() == limit {
                let complete = found
                    .last()
                    .map_or(after, |last: &Arc<Event>| last.revision());
                return Ok((found, complete));
            }
            found.push(event.clone());
        }
        Ok((found, newest.max(after)))
    }

    /// What the keys of a resource that changed since `at` were at that revision.
    pub(super) fn undo(&self, resource: &str, at: u64) -> Result<Past, Expired> {
        let start = self.position(at)?;
        let mut past = Past::new();
        for event in self.events.range(start..).rev() {
            let Key {
                resource: of,
                namespace,
                name,
            } = &event.object.key;
            if **of == *resource {
                past.insert((namespace.clone(), name.clone()), event.previous.clone());
            }
        }
        Ok(past)
    }

    fn position(&self, after: u64) -> Result<usize, Expired> {
        if after < self.floor {
            return Err(Expired { oldest: self.floor });
        }
        Ok(self
            .events
            .partition_point(|event| event.revision() <= after))
    }
}
