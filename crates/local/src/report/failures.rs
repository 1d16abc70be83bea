//! Which conditions are worth a line: those that say an object can't become ready, once each.

use std::collections::{BTreeMap, BTreeSet};

use kube::{ResourceExt as _, api::DynamicObject};
use serde::Deserialize as _;
use waft_api::{Condition, Reason, conditions, names::ANNOTATION_CONTENT_DIGEST};

use crate::event::UpEvent;

/// Reasons that only say how far something is.
const QUIET: [Reason; 13] = [
    Reason::Available,
    Reason::Reconciling,
    Reason::Waiting,
    Reason::Pulling,
    Reason::Compiling,
    Reason::Starting,
    Reason::Stopping,
    Reason::Completed,
    Reason::ScalingUp,
    Reason::ScalingDown,
    Reason::ReplicasUnavailable,
    Reason::RollingOut,
    Reason::ScaledToZero,
];

/// Reason and message.
type Said = (String, String);

/// What was told of each object, by kind, namespace and name.
#[derive(Default)]
pub(super) struct Failures {
    told: BTreeMap<(String, String, String), Told>,
}

/// What was told of an object.
#[derive(Default)]
struct Told {
    /// The object as its user has changed it last: its generation, and the mark of its local files.
    of: (Option<i64>, Option<String>),
    /// It was changed since it was said to crash: if it does so with other words, that is news.
    is_changed: bool,
    said: BTreeSet<Said>,
}

impl Told {
    /// Takes note of a failure. Returns whether it is to be told.
    fn is_news(&mut self, said: &Said) -> bool {
        let (reason, message) = said;
        let is_crash = reason == Reason::CrashLoopBackOff.as_str();
        let goes_on = |before: &Said| match is_crash && self.is_changed {
            true => before == said,
            false => Reason::goes_on(reason, message, (&before.0, &before.1)),
        };
        let is_news = !self.said.iter().any(goes_on);
        if is_crash {
            // The last words of what crashes are kept.
            self.said.retain(|before| before.0 != *reason);
            self.is_changed &= !is_news;
        }
        self.said.insert(said.clone());
        is_news
    }
}

impl Failures {
    /// What is to be told of an object now.
    pub(super) fn changed(&mut self, kind: &str, object: &DynamicObject) -> Vec<UpEvent> {
        // What an owner makes of it is told of the owner.
        if object
            .owner_references()
            .iter()
            .any(|o| o.controller == Some(true))
        {
            return Vec::new();
        }
        let known = &object.data["status"]["conditions"];
        let known = Vec::<Condition>::deserialize(known).unwrap_or_default();
        let ready = known
            .iter()
            .any(|c| c.type_ == conditions::READY && c.is_true());
        let wrong = wrong(&known);
        let key = key(kind, object);
        if wrong.is_empty() && !self.told.contains_key(&key) {
            return Vec::new();
        }
        let told = self.told.entry(key).or_default();
        let mark = object.annotations().get(ANNOTATION_CONTENT_DIGEST);
        let now = (object.metadata.generation, mark.cloned());
        told.is_changed |= told.of != now;
        told.of = now;
        if ready {
            // If it fails again later, that is news.
            told.said.retain(|said| wrong.contains(said));
        }
        let mut events = Vec::new();
        for said in wrong {
            if told.is_news(&said) {
                let (reason, message) = said;
                events.push(UpEvent::Failed {
                    object: shown(kind, object),
                    reason,
                    message,
                });
            }
        }
        events
    }

    /// Forgets an object.
    pub(super) fn gone(&mut self, kind: &str, object: &DynamicObject) {
        self.told.remove(&key(kind, object));
    }
}

fn key(kind: &str, object: &DynamicObject) -> (String, String, String) {
    let namespace = object.namespace().unwrap_or_default();
    (kind.into(), namespace, object.name_any())
}

fn shown(kind: &str, object: &DynamicObject) -> String {
    let name = object.name_any();
    match object.namespace().as_deref() {
        None | Some("default") => format!("{kind}/{name}"),
        Some(namespace) => format!("{kind}/{name} in namespace {namespace}"),
    }
}

/// Reason and message of every condition that tells of a failure; several that say the same count
/// once.
fn wrong(all: &[Condition]) -> Vec<Said> {
    let mut found: Vec<Said> = Vec::new();
    for condition in all {
        let bad = if condition.type_ == conditions::DEGRADED {
            "True"
        } else {
            "False"
        };
        let reason = condition.reason.clone().unwrap_or_default();
        let quiet = QUIET.iter().any(|quiet| quiet.as_str() == reason);
        let known = found.iter().any(|(known, _)| *known == reason);
        if condition.status == bad && !quiet && !known {
            found.push((reason, condition.message.clone().unwrap_or_default()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn object(conditions: Value) -> DynamicObject {
        serde_json::from_value(json!({
            "metadata": {"name": "a", "namespace": "default"},
            "status": {"conditions": conditions},
        }))
        .unwrap()
    }

    #[test]
    fn a_failure_is_told_once_and_again_after_it_worked() {
        let failed = object(json!([
            {"type": "Sync", "status": "False", "reason": "NotWasm", "message": "m"},
            {"type": "Scale", "status": "False", "reason": "Waiting"},
            {"type": "Ready", "status": "False", "reason": "NotWasm", "message": "m"},
        ]));
        let ready = object(json!([{"type": "Ready", "status": "True", "reason": "Available"}]));
        let mut failures = Failures::default();
        assert_eq!(failures.changed("Workload", &failed).len(), 1);
        assert!(failures.changed("Workload", &failed).is_empty());
        assert!(failures.changed("Workload", &ready).is_empty());
        assert_eq!(failures.changed("Workload", &failed).len(), 1);
    }

    #[test]
    fn a_service_that_fails_again_and_again_is_told_once_until_it_worked() {
        let restart = |count: u32| {
            let text = format!("restart {count} of 9");
            object(json!([
                {"type": "Sync", "status": "False", "reason": "CrashLoopBackOff", "message": text},
            ]))
        };
        let ready = object(json!([{"type": "Ready", "status": "True", "reason": "Available"}]));
        let mut failures = Failures::default();
        assert_eq!(failures.changed("Workload", &restart(1)).len(), 1);
        assert!(failures.changed("Workload", &restart(2)).is_empty());
        assert!(failures.changed("Workload", &ready).is_empty());
        assert_eq!(failures.changed("Workload", &restart(3)).len(), 1);
    }

    #[test]
    fn a_service_that_fails_after_it_was_changed_is_told_again() {
        let crash = |generation: i64, error: &str| {
            let text = format!("restart 1 of 9: {error}");
            let mut crash = object(json!([
                {"type": "Sync", "status": "False", "reason": "CrashLoopBackOff", "message": text},
            ]));
            crash.metadata.generation = Some(generation);
            crash
        };
        let mut failures = Failures::default();
        assert_eq!(failures.changed("Workload", &crash(1, "one")).len(), 1);
        assert!(failures.changed("Workload", &crash(1, "two")).is_empty());
        // Changed, but its status is still the old one's.
        assert!(failures.changed("Workload", &crash(2, "two")).is_empty());
        assert_eq!(failures.changed("Workload", &crash(2, "one")).len(), 1);
        assert!(failures.changed("Workload", &crash(2, "two")).is_empty());
        // The same object, another component.
        let mut rebuilt = crash(2, "three");
        let mark = (ANNOTATION_CONTENT_DIGEST.to_owned(), "new".to_owned());
        rebuilt.annotations_mut().extend([mark]);
        assert_eq!(failures.changed("Workload", &rebuilt).len(), 1);
        assert!(failures.changed("Workload", &rebuilt).is_empty());
    }

    #[test]
    fn degraded_is_told_though_it_is_ready_and_only_once() {
        let degraded = object(json!([
            {"type": "Ready", "status": "True", "reason": "Available"},
            {"type": "Degraded", "status": "True", "reason": "EmbeddedBackend", "message": "m"},
        ]));
        let mut failures = Failures::default();
        assert_eq!(failures.changed("Workload", &degraded).len(), 1);
        assert!(failures.changed("Workload", &degraded).is_empty());
    }

    #[test]
    fn what_has_an_owner_is_silent() {
        let mut owned = object(json!([{"type": "Ready", "status": "False", "reason": "NotWasm"}]));
        owned.metadata.owner_references = Some(
            serde_json::from_value(json!([{"apiVersion": "a/v1", "kind": "K", "name": "n",
                "uid": "1", "controller": true}]))
            .unwrap(),
        );
        assert!(Failures::default().changed("Workload", &owned).is_empty());
    }
}
