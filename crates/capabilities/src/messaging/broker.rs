//! What a broker is, whichever it is: the wall between the interface and its backends.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use async_trait::async_trait;
use waft_runtime::Message;

use super::subject::Pattern;

/// Bytes of the largest message, as NATS has it unless told otherwise.
pub(crate) const LARGEST: usize = 1 << 20;
/// Queue group of whoever names none, with what is behind it.
const DEFAULT_GROUP: &str = "wasmcloud";
/// The group of those that get each message.
const BROADCAST: &str = "broadcast";

/// Carries messages from publishers to subscribers, namespace by namespace.
#[async_trait]
pub(crate) trait Broker: Send + Sync {
    /// Hands a message over. `Ok`: the broker has it.
    async fn publish(&self, namespace: &str, message: Message) -> Result<(), BrokerError>;

    /// The same, and waits for one answer.
    async fn request(
        &self,
        namespace: &str,
        message: Message,
        timeout: Duration,
    ) -> Result<Message, BrokerError>;

    /// Begins to take messages.
    async fn subscribe(
        &self,
        namespace: &str,
        wish: Subscribe,
    ) -> Result<Box<dyn Subscription>, BrokerError>;
}

/// Messages as they come. Dropping it leaves at once.
#[async_trait]
pub trait Subscription: Send {
    /// The next message; `None` once it was drained and all is handed out. Dropping the future
    /// loses none.
    async fn next(&mut self) -> Option<Message>;

    /// One that need not be waited for.
    fn try_next(&mut self) -> Option<Message>;

    /// Takes in what comes while there is nobody to hand it to. Never ends; dropping the future loses
    /// nothing.
    async fn gather(&mut self) {
        std::future::pending().await
    }

    /// Lets no more come.
    async fn drain(&mut self);
}

/// Which messages a subscriber takes.
#[derive(Clone, Debug)]
pub(crate) struct Subscribe {
    /// Sorted, without doubles.
    pub(crate) patterns: Vec<Pattern>,
    /// Members of a group share the messages; `None` gets each.
    pub(crate) group: Option<String>,
    /// Messages that may wait.
    pub(crate) queue: usize,
    /// Counts those that were lost, because so many waited already and their sender can't be told.
    pub(crate) lost: Arc<AtomicU64>,
}

/// Why a broker did not do what a guest wanted.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{text}")]
pub(crate) struct BrokerError {
    pub(crate) reason: Reason,
    text: String,
}

/// The kinds, which the interface tells apart from 0.3 on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Reason {
    SubjectInvalid,
    AccessDenied,
    Timeout,
    TooLarge,
    QuotaExceeded,
    Unavailable,
    Other,
}

/// What a manifest says of one subscriber, checked.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) wish: Subscribe,
    /// Most messages handled at a time.
    pub(crate) max_in_flight: Option<u32>,
    /// How long a message is tried while there is no room for it.
    pub(crate) admission_wait: Option<Duration>,
}

impl BrokerError {
    pub(crate) fn new(reason: Reason, text: impl Into<String>) -> Self {
        Self {
            reason,
            text: text.into(),
        }
    }

    pub(crate) fn timeout(subject: &str, after: Duration) -> Self {
        let text = format!("no answer on `{subject}` within {} ms", after.as_millis());
        Self::new(Reason::Timeout, text)
    }

    pub(crate) fn nobody(subject: &str) -> Self {
        Self::new(
            Reason::Other,
            format!("nobody takes messages of `{subject}`"),
        )
    }

    pub(crate) fn too_large(bytes: usize, most: usize) -> Self {
        let text = format!("the message has {bytes} bytes; the broker takes {most}");
        Self::new(Reason::TooLarge, text)
    }
}

impl Settings {
    /// Reads `subscriptions`, `consumer_group`, `max_in_flight` and `admission_wait`: the component's own
    /// value, else the entry's. `None` without subscriptions. `owner` tells apart the groups of those who name
    /// none.
    pub(crate) fn read(
        component: &BTreeMap<String, String>,
        entry: &BTreeMap<String, String>,
        owner: &str,
        queue: u32,
        lost: &Arc<AtomicU64>,
    ) -> Result<Option<Self>, String> {
        let value = |key: &str| component.get(key).or_else(|| entry.get(key));
        let texts = value("subscriptions").map_or("", String::as_str).split(',');
        let texts = texts.map(str::trim).filter(|text| !text.is_empty());
        let parsed = texts
            .map(|text| Pattern::parse(text).map_err(|error| format!("`subscriptions`: {error}")));
        let mut patterns = parsed.collect::<Result<Vec<_>, _>>()?;
        patterns.sort();
        patterns.dedup();
        if patterns.is_empty() {
            return Ok(None);
        }
        let group = match value("consumer_group").map_or("", |group| group.trim()) {
            BROADCAST => None,
            "" => Some(format!("{DEFAULT_GROUP}/{owner}")),
            name if name.chars().any(|c| c.is_whitespace() || c.is_control()) => {
                return Err(format!(
                    "`consumer_group` is `{name}`; use a word without spaces"
                ));
            }
            name => Some(name.to_owned()),
        };
        let max_in_flight = match value("max_in_flight") {
            None => None,
            Some(text) => match text.trim().parse() {
                Ok(0) | Err(_) => {
                    return Err(format!(
                        "`max_in_flight` is `{text}`; use a number from 1 on"
                    ));
                }
                Ok(number) => Some(number),
            },
        };
        let admission_wait = match value("admission_wait") {
            None => None,
            Some(text) => {
                let wait = text.trim().parse::<jiff::SignedDuration>().ok();
                let wait = wait.and_then(|wait| Duration::try_from(wait).ok());
                let wait = wait.ok_or_else(|| {
                    format!("`admission_wait` is `{text}`; use a duration, such as 30s")
                })?;
                Some(wait)
            }
        };
        Ok(Some(Self {
            wish: Subscribe {
                patterns,
                group,
                queue: queue.max(1) as usize,
                lost: lost.clone(),
            },
            max_in_flight,
            admission_wait,
        }))
    }
}
