//! A broker within this process. Messages of one namespace never reach another.
//!
//! A message goes to one member of each group that takes its subject, and to nobody when there is
//! none. It waits in the group's queue, which is bounded: a publisher learns that it is full, and
//! then no group got the message. What was taken is handed out as long as the group has a member;
//! the last one that leaves finishes the queue.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use waft_runtime::Message;

use super::{Broker, BrokerError, LARGEST, Reason, Subscribe, Subscription, subject};

/// Bytes of messages that may wait in a namespace.
const WAITING_BYTES: usize = 64 << 20;

/// The broker of a host that was given none.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    namespaces: Mutex<HashMap<String, Arc<Namespace>>>,
}

#[derive(Debug, Default)]
struct Namespace {
    state: Mutex<State>,
    waiting_bytes: AtomicUsize,
}

#[derive(Debug, Default)]
struct State {
    groups: Vec<Arc<Group>>,
    inboxes: HashMap<String, oneshot::Sender<Message>>,
    next: u64,
}

/// Members that share the messages of the same subjects.
#[derive(Debug)]
struct Group {
    wish: Subscribe,
    queue: Mutex<Queue>,
    /// One permit for each message, at least while somebody waits.
    came: Notify,
    namespace: Weak<Namespace>,
}

#[derive(Debug, Default)]
struct Queue {
    messages: VecDeque<Message>,
    members: usize,
}

/// One member of a group.
struct Member {
    group: Arc<Group>,
    namespace: Arc<Namespace>,
    has_left: bool,
}

/// Forgets an inbox when nobody waits for it any more.
struct Inbox<'a> {
    namespace: &'a Namespace,
    subject: String,
}

impl Memory {
    fn namespace(&self, name: &str) -> Arc<Namespace> {
        let mut namespaces = self.namespaces.lock();
        match namespaces.get(name) {
            Some(known) => known.clone(),
            None => namespaces.entry(name.to_owned()).or_default().clone(),
        }
    }
}

#[async_trait]
impl Broker for Memory {
    async fn publish(&self, namespace: &str, message: Message) -> Result<(), BrokerError> {
        self.namespace(namespace).publish(message).map(drop)
    }

    async fn request(
        &self,
        namespace: &str,
        mut message: Message,
        timeout: Duration,
    ) -> Result<Message, BrokerError> {
        let namespace = self.namespace(namespace);
        let (sender, answer) = oneshot::channel();
        let inbox = {
            let mut state = namespace.state.lock();
            state.next += 1;
            let subject = format!("{}.{}", subject::INBOX, state.next);
            state.inboxes.insert(subject.clone(), sender);
            Inbox {
                namespace: &namespace,
                subject,
            }
        };
        message.reply_to = Some(inbox.subject.clone());
        let to = message.subject.clone();
        if namespace.publish(message)? == 0 {
            return Err(BrokerError::nobody(&to));
        }
        match tokio::time::timeout(timeout, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            _ => Err(BrokerError::timeout(&to, timeout)),
        }
    }

    async fn subscribe(
        &self,
        namespace: &str,
        wish: Subscribe,
    ) -> Result<Box<dyn Subscription>, BrokerError> {
        let namespace = self.namespace(namespace);
        let group = namespace.clone().join(wish);
        Ok(Box::new(Member {
            group,
            namespace,
            has_left: false,
        }))
    }
}

impl Namespace {
    fn join(self: Arc<Self>, wish: Subscribe) -> Arc<Group> {
        let mut state = self.state.lock();
        let known = state.groups.iter().find(|group| {
            wish.group.is_some()
                && group.wish.group == wish.group
                && group.wish.patterns == wish.patterns
        });
        let group = known.cloned().unwrap_or_else(|| {
            let group = Arc::new(Group {
                wish,
                queue: Mutex::default(),
                came: Notify::new(),
                namespace: Arc::downgrade(&self),
            });
            state.groups.push(group.clone());
            group
        });
        group.queue.lock().members += 1;
        group
    }

    /// Hands a message to a queue of each group, or to none; says to how many.
    fn publish(&self, message: Message) -> Result<usize, BrokerError> {
        subject::check(&message.subject)?;
        if message.body.len() > LARGEST {
            return Err(BrokerError::too_large(message.body.len(), LARGEST));
        }
        let mut state = self.state.lock();
        if let Some(inbox) = state.inboxes.remove(&message.subject) {
            // Whoever waited may have given up just now.
            return Ok(usize::from(inbox.send(message).is_ok()));
        }
        let chosen = choose(&state.groups, &message.subject);
        let bytes = message.size() * chosen.len();
        let waiting = self.waiting_bytes.load(Relaxed);
        if waiting + bytes > WAITING_BYTES {
            let text = format!("messages of {waiting} bytes wait in this namespace");
            return Err(BrokerError::new(Reason::QuotaExceeded, text));
        }
        for group in &chosen {
            if group.queue.lock().messages.len() >= group.wish.queue {
                let text = format!(
                    "{} messages wait already for those that take `{}`",
                    group.wish.queue, message.subject
                );
                return Err(BrokerError::new(Reason::QuotaExceeded, text));
            }
        }
        self.waiting_bytes.fetch_add(bytes, Relaxed);
        let count = chosen.len();
        let mut message = Some(message);
        for (at, group) in chosen.iter().enumerate() {
            let copy = if at + 1 == count {
                message.take()
            } else {
                message.clone()
            };
            group.queue.lock().messages.extend(copy);
            group.came.notify_one();
        }
        Ok(count)
    }
}

/// The groups that take a subject; of those with one name, the one with the fewest waiting.
fn choose(groups: &[Arc<Group>], subject: &str) -> Vec<Arc<Group>> {
    let mut chosen = Vec::<Arc<Group>>::new();
    let takes = |group: &&Arc<Group>| group.wish.patterns.iter().any(|p| p.matches(subject));
    for group in groups.iter().filter(takes) {
        let same = |other: &&mut Arc<Group>| {
            group.wish.group.is_some() && other.wish.group == group.wish.group
        };
        match chosen.iter_mut().find(same) {
            Some(other) if group.waiting() < other.waiting() => *other = group.clone(),
            Some(_) => {}
            None => chosen.push(group.clone()),
        }
    }
    chosen
}

impl Group {
    fn waiting(&self) -> usize {
        self.queue.lock().messages.len()
    }

    fn take(&self) -> Option<Message> {
        let message = self.queue.lock().messages.pop_front()?;
        if let Some(namespace) = self.namespace.upgrade() {
            namespace.waiting_bytes.fetch_sub(message.size(), Relaxed);
        }
        Some(message)
    }
}

impl Member {
    fn leave(&mut self) {
        if self.has_left {
            return;
        }
        self.has_left = true;
        let mut state = self.namespace.state.lock();
        let mut queue = self.group.queue.lock();
        queue.members -= 1;
        if queue.members == 0 {
            state
                .groups
                .retain(|group| !Arc::ptr_eq(group, &self.group));
        } else if !queue.messages.is_empty() {
            // It may have been woken for one that it does not take any more.
            self.group.came.notify_one();
        }
    }

    /// Whether what waits is left to other members.
    fn leaves_it_to_others(&self) -> bool {
        self.has_left && self.group.queue.lock().members > 0
    }
}

#[async_trait]
impl Subscription for Member {
    async fn next(&mut self) -> Option<Message> {
        loop {
            if let Some(message) = self.try_next() {
                return Some(message);
            }
            if self.has_left {
                return None;
            }
            self.group.came.notified().await;
        }
    }

    fn try_next(&mut self) -> Option<Message> {
        if self.leaves_it_to_others() {
            return None;
        }
        self.group.take()
    }

    async fn drain(&mut self) {
        self.leave();
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.leave();
        if self.leaves_it_to_others() {
            return;
        }
        let mut lost = 0;
        while self.group.take().is_some() {
            lost += 1;
        }
        if lost > 0 {
            tracing::warn!(
                subjects = ?self.group.wish.patterns,
                "{lost} messages were not handled before the last subscriber had to end"
            );
        }
    }
}

impl Drop for Inbox<'_> {
    fn drop(&mut self) {
        self.namespace.state.lock().inboxes.remove(&self.subject);
    }
}
