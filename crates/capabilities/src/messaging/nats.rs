//! Messages over core NATS: subjects are those of the manifest, groups are queue groups.
//!
//! The server is shared by all namespaces, and by others. A message of a workload carries the name
//! of its namespace in the header [`NAMESPACE`], and a workload takes those of its own namespace
//! and those without the header, which come from outside. A group is a namespace's own.

#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    future::{Future as _, poll_fn},
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use async_nats::{
    Client, HeaderMap, Request, Subscriber,
    client::{PublishError, PublishErrorKind, RequestErrorKind},
};
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use tokio::task::unconstrained;
use waft_runtime::Message;

use super::{
    broker::{Broker, BrokerError, Reason, Subscribe, Subscription},
    subject::Pattern,
};
use crate::{
    nats::{Nats, NotConnected, WITHIN},
    source::Losses,
};

/// Bytes of messages of one subscriber that may wait. What comes then is lost, as with any subscriber
/// of core NATS that is too slow.
const WAITING_BYTES: usize = 64 << 20;

/// Messages of one pattern that are taken in at a time.
const IN_A_TURN: u32 = 4096;

/// Whose a message is.
const NAMESPACE: &str = "Waft-Namespace";

/// The server of a host as a broker.
pub(super) struct NatsBroker(pub(super) Arc<Nats>);

/// One subscriber.
struct Member {
    namespace: String,
    /// Whether it is in a group.
    shares: bool,
    /// With the pattern that each brings.
    subscribers: Vec<(Pattern, Subscriber)>,
    /// What has come and was not handed out.
    waiting: VecDeque<Message>,
    /// The size of it.
    bytes: usize,
    /// How many may wait.
    queue: usize,
    /// What came and found no room.
    losses: Losses,
}

#[async_trait]
impl Broker for NatsBroker {
    async fn publish(&self, namespace: &str, message: Message) -> Result<(), BrokerError> {
        let client = self.0.client().await?;
        check_size(client.max_payload(), &message)?;
        let (subject, body) = (message.subject, message.body.into());
        let headers = headers(namespace);
        match message.reply_to {
            None => client.publish_with_headers(subject, headers, body).await?,
            Some(reply) => {
                let published =
                    client.publish_with_reply_and_headers(subject, reply, headers, body);
                published.await?;
            }
        }
        // In the server's hands, or at least on the way.
        match tokio::time::timeout(WITHIN, client.flush()).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(NotConnected.into()),
        }
    }

    async fn request(
        &self,
        namespace: &str,
        message: Message,
        timeout: Duration,
    ) -> Result<Message, BrokerError> {
        let client = self.0.client().await?;
        check_size(client.max_payload(), &message)?;
        let request = Request::new()
            .payload(message.body.into())
            .headers(headers(namespace))
            .timeout(Some(timeout));
        let subject = message.subject;
        let answer = client.send_request(subject.clone(), request).await;
        answer
            .map(into_message)
            .map_err(|error| match error.kind() {
                RequestErrorKind::TimedOut => BrokerError::timeout(&subject, timeout),
                RequestErrorKind::NoResponders => BrokerError::nobody(&subject),
                _ => BrokerError::new(Reason::Other, format!("NATS: {error}")),
            })
    }

    async fn subscribe(
        &self,
        namespace: &str,
        wish: Subscribe,
    ) -> Result<Box<dyn Subscription>, BrokerError> {
        let client = self.0.client().await?;
        let group = wish.group.map(|group| format!("{namespace}/{group}"));
        let mut subscribers = Vec::new();
        for pattern in wish.patterns {
            let subject = pattern.as_str().to_owned();
            let subscriber = match &group {
                Some(group) => client.queue_subscribe(subject, group.clone()).await,
                None => client.subscribe(subject).await,
            };
            let failed = |error| BrokerError::new(Reason::Other, format!("NATS: {error}"));
            subscribers.push((pattern, subscriber.map_err(failed)?));
        }
        // Whoever publishes after this is heard.
        let _ = tokio::time::timeout(WITHIN, caught_up(client)).await;
        Ok(Box::new(Member {
            namespace: namespace.to_owned(),
            shares: group.is_some(),
            subscribers,
            waiting: VecDeque::new(),
            bytes: 0,
            queue: wish.queue,
            losses: Losses::new(wish.lost),
        }))
    }
}

/// Waits until the server has taken in what this connection sent. It answers in order; `flush` only
/// hands over to the socket.
async fn caught_up(client: &Client) -> Option<()> {
    let inbox = client.new_inbox();
    let mut answers = client.subscribe(inbox.clone()).await.ok()?;
    client.publish(inbox, Bytes::new()).await.ok()?;
    answers.next().await.map(drop)
}

impl Member {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        let is_open = self.take_in(cx);
        match self.waiting.pop_front() {
            Some(message) => {
                self.bytes -= message.size();
                Poll::Ready(Some(message))
            }
            None if is_open => Poll::Pending,
            None => Poll::Ready(None),
        }
    }

    /// Takes in what has come, as far as there is room. Returns whether more may come.
    fn take_in(&mut self, cx: &mut Context<'_>) -> bool {
        // More than tokio lets a task take in one turn: what waits for others' turns is lost past what
        // the client holds, and counted nowhere.
        let taking = unconstrained(poll_fn(|cx| Poll::Ready(self.take_some(cx))));
        pin!(taking).poll(cx) != Poll::Ready(false)
    }

    fn take_some(&mut self, cx: &mut Context<'_>) -> bool {
        let count = self.subscribers.len();
        let mut is_open = false;
        for at in 0..count {
            for taken in 0.. {
                if taken == IN_A_TURN {
                    cx.waker().wake_by_ref();
                    is_open = true;
                    break;
                }
                match self.subscribers[at].1.poll_next_unpin(cx) {
                    Poll::Ready(Some(message)) if self.takes(at, &message) => {
                        self.keep(into_message(message));
                    }
                    Poll::Ready(Some(_)) => {}
                    Poll::Ready(None) => break,
                    Poll::Pending => {
                        is_open = true;
                        break;
                    }
                }
            }
        }
        is_open
    }

    fn keep(&mut self, message: Message) {
        let bytes = self.bytes + message.size();
        let is_lost = self.waiting.len() >= self.queue || bytes > WAITING_BYTES;
        if self.losses.note(is_lost) {
            tracing::warn!(
                namespace = self.namespace,
                subject = message.subject,
                "a component is too slow for the messages that come: {} wait, and further ones are \
                 lost until it has taken some",
                self.waiting.len()
            );
        }
        if !is_lost {
            self.bytes = bytes;
            self.waiting.push_back(message);
        }
    }

    /// Whether a message is of this namespace, and not brought by an earlier pattern as well: to a group
    /// the server gives it by one of its patterns, else by each. The server's wildcards take in what
    /// is reserved, other tenants' keys and answers among it; ours don't.
    fn takes(&self, at: usize, message: &async_nats::Message) -> bool {
        let whose = message.headers.as_ref().and_then(|h| h.get(NAMESPACE));
        let is_own = whose.is_none_or(|whose| whose.as_str() == self.namespace);
        let is_meant = self.subscribers[at].0.matches(&message.subject);
        let mut earlier = self.subscribers[..at].iter();
        let comes_twice =
            !self.shares && earlier.any(|(pattern, _)| pattern.matches(&message.subject));
        is_own && is_meant && !comes_twice
    }
}

#[async_trait]
impl Subscription for Member {
    async fn next(&mut self) -> Option<Message> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    fn try_next(&mut self) -> Option<Message> {
        match self.poll_next(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(message) => message,
            Poll::Pending => None,
        }
    }

    async fn gather(&mut self) {
        poll_fn(|cx| {
            self.take_in(cx);
            Poll::Pending
        })
        .await
    }

    async fn drain(&mut self) {
        for (_, subscriber) in &mut self.subscribers {
            // It fails only when the connection has ended for good, and then no more come.
            let _ = subscriber.drain().await;
        }
    }
}

impl From<NotConnected> for BrokerError {
    fn from(error: NotConnected) -> Self {
        Self::new(Reason::Unavailable, error.to_string())
    }
}

impl From<PublishError> for BrokerError {
    fn from(error: PublishError) -> Self {
        let reason = match error.kind() {
            PublishErrorKind::MaxPayloadExceeded => Reason::TooLarge,
            PublishErrorKind::InvalidSubject => Reason::SubjectInvalid,
            PublishErrorKind::Send => Reason::Unavailable,
        };
        Self::new(reason, format!("NATS: {error}"))
    }
}

fn headers(namespace: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(NAMESPACE, namespace);
    headers
}

/// Refuses what the server would end the connection for.
fn check_size(most: usize, message: &Message) -> Result<(), BrokerError> {
    // Headers count as well; the name and value of ours are the manifest's namespace and short.
    const HEADERS: usize = 256;
    if message.body.len() + HEADERS > most {
        return Err(BrokerError::too_large(
            message.body.len(),
            most - HEADERS.min(most),
        ));
    }
    Ok(())
}

/// Copies it: as it came, it would keep all of the buffer in memory that it was read into, messages of
/// other workloads included.
fn into_message(message: async_nats::Message) -> Message {
    Message {
        subject: message.subject.into_string(),
        body: message.payload.to_vec(),
        reply_to: message.reply.map(|reply| reply.into_string()),
    }
}
