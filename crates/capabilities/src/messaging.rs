//! `wasmcloud:messaging`, 0.2 and 0.3: guests publish, ask, and take messages.
//!
//! The broker behind it is chosen here; calling the handlers of guests is the host's business.

mod broker;
mod memory;
mod nats;
mod subject;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use async_trait::async_trait;
use waft_ir::{CapabilityGrant, Failure, FailureReason, InterfaceName};
use waft_runtime::{
    Capability, CapabilityId, Ctx, Delivery, GuestSpec, Message, PLACES, Refusal, Slot, grants_it,
    views,
};
use wasmtime::component::{Accessor, HasData, LinkerInstance};

use crate::{
    Source,
    backends::{Backend, Backends},
    granted,
    nats::Nats,
    slots::MESSAGING,
};
use broker::{Broker, BrokerError, LARGEST, Reason, Settings, Subscribe};
use memory::Memory;
use nats::NatsBroker;

pub use broker::Subscription;

mod p2 {
    wasmtime::component::bindgen!({
        path: "../runtime/wit/messaging-p2",
        world: "wasmcloud:messaging/imports",
        imports: { default: async | trappable },
    });
}

mod p3 {
    wasmtime::component::bindgen!({
        path: "../runtime/wit/messaging-p3",
        world: "wasmcloud:messaging/imports",
        imports: { default: async | store | trappable },
    });
}

use p2::wasmcloud::messaging::{consumer as consumer_p2, types as types_p2};
use p3::wasmcloud::messaging::{consumer as consumer_p3, types as types_p3};

/// How long a request waits for its answer when the guest says 0.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// The `wasmcloud:messaging` capability.
#[derive(Clone)]
pub struct Messaging {
    memory: Arc<Memory>,
    nats: Option<Arc<NatsBroker>>,
    backends: Backends,
}

/// One component that takes messages.
#[derive(Clone, Copy, Debug)]
pub struct Subscriber<'a> {
    /// Namespace of its workload.
    pub namespace: &'a str,
    /// What its replicas have in common: the application and the component.
    pub owner: &'a str,
    /// Its own configuration, which goes before that of the entry.
    pub config: &'a BTreeMap<String, String>,
    /// The `hostInterfaces` of its workload.
    pub grants: &'a [CapabilityGrant],
    /// The interfaces that it exports.
    pub exports: &'a [InterfaceName],
    /// Messages that may wait.
    pub queue: u32,
    /// Counts the messages and changes that were lost, because so many waited already.
    pub lost: &'a Arc<AtomicU64>,
}

/// A subscription and how many of its messages are handled at a time.
pub struct Subscribed {
    /// The messages.
    pub messages: Box<dyn Source>,
    /// The manifest's `max_in_flight`.
    pub max_in_flight: Option<u32>,
    /// The manifest's `admission_wait`: how long a message is tried while there is no room for it.
    pub admission_wait: Option<Duration>,
}

/// The messages of a subscription.
struct Messages(Box<dyn Subscription>);

#[async_trait]
impl Source for Messages {
    async fn next(&mut self) -> Option<Delivery> {
        self.0.next().await.map(delivery)
    }

    fn try_next(&mut self) -> Option<Delivery> {
        self.0.try_next().map(delivery)
    }

    async fn gather(&mut self) {
        self.0.gather().await;
    }

    async fn drain(&mut self) {
        self.0.drain().await;
    }
}

fn delivery(message: Message) -> Delivery {
    Delivery::Message(Arc::new(message))
}

/// What one guest may do, by the version that it speaks.
struct Bound {
    p2: Option<Arc<Granted>>,
    p3: Option<Arc<Granted>>,
}

/// What it may do by one version.
struct Granted {
    broker: Arc<dyn Broker>,
    namespace: String,
}

/// The store as a host call sees it.
struct View<'a>(&'a mut Ctx);

struct Getter;

impl HasData for Getter {
    type Data<'a> = View<'a>;
}

impl Messaging {
    pub(crate) fn new(backends: &Backends, nats: Option<Arc<Nats>>) -> Self {
        Self {
            memory: Arc::default(),
            nats: nats.map(|nats| Arc::new(NatsBroker(nats))),
            backends: backends.clone(),
        }
    }

    /// Begins to take messages for a component. A subscription for each entry of the manifest that
    /// names subjects.
    pub async fn subscribe(&self, of: &Subscriber<'_>) -> Result<Vec<Subscribed>, Failure> {
        let mut all = Vec::new();
        let handlers = || {
            let is_handler = |name: &&InterfaceName| {
                is_messaging(name) && name.interface.as_deref() == Some("handler")
            };
            of.exports.iter().filter(is_handler)
        };
        // An entry of a version is for handlers of that version.
        let fits = |grant: &&CapabilityGrant| handlers().any(|handler| grants_it(grant, handler));
        let entries = of.grants.iter().filter(fits);
        let refuse = |text: String| Failure::new(FailureReason::StartFailed, text);
        for entry in entries {
            let settings = Settings::read(of.config, &entry.config, of.owner, of.queue, of.lost)
                .map_err(|text| refuse(format!("`hostInterfaces[{}]`: {text}", entry.package)))?;
            let Some(settings) = settings else {
                continue;
            };
            let broker = self.broker(entry);
            let messages = broker.subscribe(of.namespace, settings.wish).await;
            let messages = messages.map(|messages| Box::new(Messages(messages)) as Box<dyn Source>);
            all.push(Subscribed {
                messages: messages.map_err(|error| match error.reason {
                    Reason::Unavailable => {
                        Failure::new(FailureReason::BackendUnavailable, error.to_string())
                    }
                    _ => refuse(error.to_string()),
                })?,
                max_in_flight: settings.max_in_flight,
                admission_wait: settings.admission_wait,
            });
        }
        if all.is_empty() {
            let names: Vec<_> = handlers().map(ToString::to_string).collect();
            let text = format!(
                "it exports {} and subscribes to nothing: grant {{namespace: wasmcloud, package: \
                 messaging, interfaces: [handler]}} in spec.hostInterfaces, of that version if of one, \
                 with subjects in `config.subscriptions`",
                names.join(", ")
            );
            return Err(refuse(text));
        }
        Ok(all)
    }

    fn broker(&self, entry: &CapabilityGrant) -> Arc<dyn Broker> {
        match (self.backends.choose(entry), &self.nats) {
            (Backend::Nats, Some(nats)) => nats.clone(),
            _ => self.memory.clone(),
        }
    }
}

/// Whether it is of 0.2; the other is 0.3.
fn is_p2(interface: &InterfaceName) -> bool {
    interface.version.as_ref().is_some_and(|v| v.minor == 2)
}

fn is_messaging(package: &InterfaceName) -> bool {
    package.namespace == "wasmcloud" && package.package == "messaging"
}

impl Capability for Messaging {
    fn id(&self) -> CapabilityId {
        MESSAGING
    }

    fn interfaces(&self) -> Vec<InterfaceName> {
        crate::interfaces_of("wasmcloud", "messaging")
    }

    fn link(
        &self,
        instance: &mut LinkerInstance<'_, Ctx>,
        interface: &InterfaceName,
        place: usize,
    ) -> wasmtime::Result<()> {
        const VIEWS: [fn(&mut Ctx) -> View<'_>; PLACES] = views!(ctx => View(ctx));
        let view = VIEWS[place];
        match (interface.interface.as_deref(), is_p2(interface)) {
            (Some("types"), true) => {
                types_p2::add_to_linker_instance::<Ctx, Getter>(instance, view)
            }
            (Some("types"), false) => {
                types_p3::add_to_linker_instance::<Ctx, Getter>(instance, view)
            }
            (Some("consumer"), true) => {
                consumer_p2::add_to_linker_instance::<Ctx, Getter>(instance, view)
            }
            (Some("consumer"), false) => {
                consumer_p3::add_to_linker_instance::<Ctx, Getter>(instance, view)
            }
            _ => Ok(()),
        }
    }

    fn concurrent_interfaces(&self) -> Vec<InterfaceName> {
        let mut interfaces = self.interfaces();
        interfaces.retain(|name| !is_p2(name));
        interfaces
    }

    fn bind(&self, guest: &GuestSpec, grants: &[&CapabilityGrant]) -> Result<Slot, Failure> {
        let namespace = guest.workload.split('/').next().unwrap_or_default();
        let of = |is_p2: fn(&InterfaceName) -> bool| {
            let mut interfaces = self.interfaces().into_iter();
            let consumer = interfaces
                .find(|name| name.interface.as_deref() == Some("consumer") && is_p2(name))?;
            let grant = granted::entry_of(grants, &consumer)?;
            Some(Arc::new(Granted {
                broker: self.broker(grant),
                namespace: namespace.into(),
            }))
        };
        Ok(Arc::new(Bound {
            p2: of(is_p2),
            p3: of(|name| !is_p2(name)),
        }))
    }
}

impl Granted {
    async fn publish(&self, message: Message) -> Result<(), BrokerError> {
        subject::check(&message.subject)?;
        // Whoever answers publishes there, with the rights that it has.
        message.reply_to.as_deref().map_or(Ok(()), subject::check)?;
        self.broker.publish(&self.namespace, message).await
    }

    async fn request(
        &self,
        subject: String,
        body: Vec<u8>,
        timeout_ms: u32,
    ) -> Result<Message, BrokerError> {
        subject::check(&subject)?;
        let timeout = match timeout_ms {
            0 => ANSWER_WITHIN,
            some => Duration::from_millis(some.into()),
        };
        let message = Message {
            subject,
            body,
            reply_to: None,
        };
        self.broker.request(&self.namespace, message, timeout).await
    }
}

impl View<'_> {
    fn granted(&self, by: fn(&Bound) -> &Option<Arc<Granted>>) -> wasmtime::Result<Arc<Granted>> {
        // Linking refuses components whose import was not granted, so this is the host's mistake.
        let granted = self.0.slot::<Bound>(MESSAGING).map(by);
        let missing = || wasmtime::format_err!("wasmcloud:messaging was not granted");
        granted.cloned().flatten().ok_or_else(missing)
    }

    /// Counts what the guest was refused.
    fn counted<T>(&self, result: Result<T, BrokerError>) -> Result<T, BrokerError> {
        let refusal = match &result {
            Ok(_) => None,
            Err(error) => match error.reason {
                Reason::SubjectInvalid | Reason::AccessDenied => Some(Refusal::Subject),
                Reason::TooLarge => Some(Refusal::MessageSize),
                Reason::Timeout | Reason::QuotaExceeded | Reason::Unavailable | Reason::Other => {
                    None
                }
            },
        };
        if let Some(refusal) = refusal {
            self.0.count_refusal(refusal);
        }
        result
    }
}

impl types_p2::Host for View<'_> {}

impl consumer_p2::Host for View<'_> {
    async fn request(
        &mut self,
        subject: String,
        body: Vec<u8>,
        timeout_ms: u32,
    ) -> wasmtime::Result<Result<types_p2::BrokerMessage, String>> {
        let granted = self.granted(|b| &b.p2)?;
        let answer = granted.request(subject, body, timeout_ms).await;
        let answer = self.counted(answer);
        Ok(answer
            .map(|message| types_p2::BrokerMessage {
                subject: message.subject,
                body: message.body,
                reply_to: message.reply_to,
            })
            .map_err(|error| error.to_string()))
    }

    async fn publish(
        &mut self,
        message: types_p2::BrokerMessage,
    ) -> wasmtime::Result<Result<(), String>> {
        let message = Message {
            subject: message.subject,
            body: message.body,
            reply_to: message.reply_to,
        };
        let granted = self.granted(|b| &b.p2)?;
        let published = granted.publish(message).await;
        let published = self.counted(published);
        Ok(published.map_err(|error| error.to_string()))
    }
}

impl types_p3::Host for View<'_> {}

impl consumer_p3::Host for View<'_> {}

impl<T: Send> consumer_p3::HostWithStore<T> for Getter {
    async fn request(
        accessor: &Accessor<T, Self>,
        subject: String,
        body: Vec<u8>,
        timeout_ms: u32,
    ) -> wasmtime::Result<Result<types_p3::BrokerMessage, types_p3::Error>> {
        let granted = accessor.with(|mut access| access.get().granted(|b| &b.p3))?;
        let answer = granted.request(subject, body, timeout_ms).await;
        let answer = accessor.with(|mut access| access.get().counted(answer));
        Ok(answer
            .map(|message| types_p3::BrokerMessage {
                subject: message.subject,
                body: message.body,
                reply_to: message.reply_to,
            })
            .map_err(Into::into))
    }

    async fn publish(
        accessor: &Accessor<T, Self>,
        message: types_p3::BrokerMessage,
    ) -> wasmtime::Result<Result<(), types_p3::Error>> {
        let granted = accessor.with(|mut access| access.get().granted(|b| &b.p3))?;
        let message = Message {
            subject: message.subject,
            body: message.body,
            reply_to: message.reply_to,
        };
        let published = granted.publish(message).await;
        let published = accessor.with(|mut access| access.get().counted(published));
        Ok(published.map_err(Into::into))
    }
}

impl From<BrokerError> for types_p3::Error {
    fn from(error: BrokerError) -> Self {
        match error.reason {
            Reason::SubjectInvalid => Self::SubjectInvalid,
            Reason::AccessDenied => Self::AccessDenied,
            Reason::Timeout => Self::Timeout,
            Reason::TooLarge => Self::MessageTooLarge,
            Reason::QuotaExceeded => Self::QuotaExceeded,
            Reason::Unavailable => Self::BrokerUnavailable,
            Reason::Other => Self::Other(error.to_string()),
        }
    }
}
