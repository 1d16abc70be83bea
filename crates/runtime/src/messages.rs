//! One message through `wasmcloud:messaging/handler`, 0.2 or 0.3.

use std::sync::Arc;

use tokio::sync::oneshot;
use wasmtime::{
    Store,
    component::{Accessor, Instance, InstancePre},
};

use crate::{Ctx, MessagingVersion};

mod p2 {
    wasmtime::component::bindgen!({
        path: "wit/messaging-p2",
        world: "wasmcloud:messaging/worker",
        exports: { default: async },
        ownership: Borrowing { duplicate_if_necessary: false },
    });
}

mod p3 {
    wasmtime::component::bindgen!({
        path: "wit/messaging-p3",
        world: "wasmcloud:messaging/worker",
        exports: { default: async | store },
    });
}

use p2::wasmcloud::messaging::types as types_p2;
use p3::wasmcloud::messaging::types as types_p3;

/// A message as brokers carry it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Message {
    /// Where it was published.
    pub subject: String,
    /// What it says.
    pub body: Vec<u8>,
    /// The subject on which an answer is expected.
    pub reply_to: Option<String>,
}

impl Message {
    /// Bytes it takes.
    pub fn size(&self) -> usize {
        let reply_to = self.reply_to.as_ref().map_or(0, String::len);
        self.subject.len() + self.body.len() + reply_to
    }
}

/// A message that was handled, or the guest's words why not.
pub(crate) type Handled = Result<(), String>;

#[derive(Clone)]
pub(crate) enum Indices {
    P2(p2::WorkerIndices),
    P3(p3::WorkerIndices),
}

/// The exported handler of an instance.
pub(crate) enum MessageHandler {
    P2(p2::Worker),
    P3(p3::Worker),
}

impl Indices {
    pub(crate) fn new(
        instance: &InstancePre<Ctx>,
        version: MessagingVersion,
    ) -> wasmtime::Result<Self> {
        Ok(match version {
            MessagingVersion::P2 => Self::P2(p2::WorkerIndices::new(instance)?),
            MessagingVersion::P3 => Self::P3(p3::WorkerIndices::new(instance)?),
        })
    }

    pub(crate) fn load(
        &self,
        store: &mut Store<Ctx>,
        instance: &Instance,
    ) -> wasmtime::Result<MessageHandler> {
        Ok(match self {
            Self::P2(indices) => MessageHandler::P2(indices.load(store, instance)?),
            Self::P3(indices) => MessageHandler::P3(indices.load(store, instance)?),
        })
    }
}

/// Calls the handler of an instance.
pub(crate) async fn call_p2(
    store: &mut Store<Ctx>,
    worker: &p2::Worker,
    message: &Message,
    handled: oneshot::Sender<Handled>,
) -> wasmtime::Result<()> {
    let result = handle_p2(store, worker, message).await?;
    // Nobody waits any more when the deadline has passed.
    let _ = handled.send(result);
    Ok(())
}

/// Calls the handler of an instance, and returns what it says.
pub(crate) async fn handle_p2(
    store: &mut Store<Ctx>,
    worker: &p2::Worker,
    message: &Message,
) -> wasmtime::Result<Handled> {
    let message = types_p2::BrokerMessage {
        subject: &message.subject,
        body: &message.body,
        reply_to: message.reply_to.as_deref(),
    };
    let handler = worker.wasmcloud_messaging_handler();
    handler.call_handle_message(store, message).await
}

/// Calls the handler of an instance that does one thing at a time, until the guest has no task left.
pub(crate) async fn call_p3(
    store: &mut Store<Ctx>,
    worker: &p3::Worker,
    message: Arc<Message>,
    handled: oneshot::Sender<Handled>,
) -> wasmtime::Result<()> {
    store
        .run_concurrent(async |accessor| {
            handle(accessor, worker, message, handled).await?;
            std::future::poll_fn(|cx| accessor.poll_no_interesting_tasks(cx)).await;
            Ok(())
        })
        .await?
}

/// Calls the handler within a running event loop.
pub(crate) async fn handle(
    accessor: &Accessor<Ctx>,
    worker: &p3::Worker,
    message: Arc<Message>,
    handled: oneshot::Sender<Handled>,
) -> wasmtime::Result<()> {
    let message = Arc::unwrap_or_clone(message);
    let message = types_p3::BrokerMessage {
        subject: message.subject,
        body: message.body,
        reply_to: message.reply_to,
    };
    let handler = worker.wasmcloud_messaging_handler();
    let result = handler.call_handle_message(accessor, message).await?;
    // Nobody waits any more when the deadline has passed.
    let _ = handled.send(result.map_err(|error| match error {
        types_p3::Error::SubjectInvalid => "subject-invalid".into(),
        types_p3::Error::AccessDenied => "access-denied".into(),
        types_p3::Error::Timeout => "timeout".into(),
        types_p3::Error::BrokerUnavailable => "broker-unavailable".into(),
        types_p3::Error::MessageTooLarge => "message-too-large".into(),
        types_p3::Error::QuotaExceeded => "quota-exceeded".into(),
        types_p3::Error::Other(text) => text,
    }));
    Ok(())
}
