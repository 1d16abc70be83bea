//! The NATS server of a host: one connection, made when it is first used, and made again by itself
//! when it is lost. All namespaces share the server; the bucket [`OWNERS`] says whose what is there.

use std::{collections::HashSet, fmt, time::Duration};

use async_nats::{
    Client, ConnectOptions, Event, ServerAddr,
    jetstream::{
        self,
        context::CreateKeyValueError,
        kv::{self, CreateErrorKind},
        stream::RawMessageErrorKind,
    },
};
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{OnceCell, watch};
use waft_ir::{Failure, FailureReason};

/// How long a call waits for a connection that was lost.
const RECONNECTED_WITHIN: Duration = Duration::from_secs(2);
/// How long the server may take to answer.
pub(crate) const WITHIN: Duration = Duration::from_secs(5);
/// Between two tries to connect.
const PAUSE: Duration = Duration::from_millis(250);
/// Messages of one subscription between the connection and who takes them in. The connection may read
/// megabytes before others have their turn, and what does not fit is lost and counted nowhere.
const ON_THE_WAY: usize = 1 << 20;

/// The bucket with the owners of all others: the namespaces that named them first, or `*` for
/// everybody, when somebody wrote that.
pub(crate) const OWNERS: &str = "waft-owners";

/// The server.
#[derive(Debug)]
pub(crate) struct Nats {
    address: ServerAddr,
    client: OnceCell<(Client, watch::Receiver<bool>)>,
}

/// The server does not answer.
#[derive(Debug, thiserror::Error)]
#[error("NATS does not answer")]
pub(crate) struct NotConnected;

/// Why something that is kept in JetStream can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NatsError {
    #[error(transparent)]
    NotConnected(#[from] NotConnected),
    #[error("a bucket in NATS has a name of letters, digits, `-` and `_`")]
    Name,
    #[error("it is of another namespace")]
    NotOwned,
    /// Whether a change was made before the connection was lost is not known.
    #[error("NATS does not answer as it should: {0}")]
    Failed(String),
}

/// What was said last of a key.
#[derive(Debug)]
pub(crate) struct Last {
    /// By which it is told from what is said later.
    pub revision: u64,
    /// `None`: it was deleted.
    pub value: Option<Bytes>,
}

/// Whose what is: what was seen to fit, as (namespace, name), is not asked for again.
#[derive(Debug, Default)]
pub(crate) struct Owners(Mutex<HashSet<(String, String)>>);

impl NatsError {
    pub(crate) fn failed(error: impl fmt::Display) -> Self {
        tracing::warn!("NATS: {error}");
        Self::Failed(error.to_string())
    }
}

impl Owners {
    /// Whether a name is of a namespace; it is from now on if it was nobody's.
    pub(crate) async fn check(
        &self,
        context: &jetstream::Context,
        namespace: &str,
        name: &str,
    ) -> Result<(), NatsError> {
        let whose = (namespace.to_owned(), name.to_owned());
        if self.0.lock().contains(&whose) {
            return Ok(());
        }
        let owners = bucket(context, OWNERS).await.map_err(NatsError::failed)?;
        match owners.create(name, whose.0.clone().into()).await {
            Ok(_) => {}
            Err(error) if error.kind() == CreateErrorKind::AlreadyExists => {
                let owner = last(&owners, name).await?.and_then(|last| last.value);
                let owner = owner.unwrap_or_default();
                if owner != namespace.as_bytes() && &*owner != b"*" {
                    return Err(NatsError::NotOwned);
                }
            }
            Err(error) => return Err(NatsError::failed(error)),
        }
        self.0.lock().insert(whose);
        Ok(())
    }
}

/// Refuses what can't be the name of a bucket.
pub(crate) fn check_bucket(name: &str) -> Result<(), NatsError> {
    let is_fine = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    match !name.is_empty() && name.chars().all(is_fine) {
        true => Ok(()),
        false => Err(NatsError::Name),
    }
}

/// A bucket of keys and values, made when it is first named.
pub(crate) async fn bucket(
    context: &jetstream::Context,
    name: &str,
) -> Result<kv::Store, CreateKeyValueError> {
    if let Ok(known) = context.get_key_value(name).await {
        return Ok(known);
    }
    let config = kv::Config {
        bucket: name.to_owned(),
        history: 1,
        ..kv::Config::default()
    };
    context.create_key_value(config).await
}

/// What was said last of a key, by the server that takes all changes: others, which answer too, need
/// not know yet what was said a moment ago. It has to be a key: `*` is any.
pub(crate) async fn last(store: &kv::Store, key: &str) -> Result<Option<Last>, NatsError> {
    let subject = format!("{}{key}", store.prefix);
    let last = store.stream.get_last_raw_message_by_subject(&subject).await;
    let last = match last {
        Ok(last) => last,
        Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => return Ok(None),
        Err(error) => return Err(NatsError::failed(error)),
    };
    let header = |name: &str| last.headers.get(name).map(|value| value.as_str());
    let is_set = header("KV-Operation").is_none_or(|operation| operation == "PUT")
        && header("Nats-Marker-Reason").is_none();
    Ok(Some(Last {
        revision: last.sequence,
        value: is_set.then_some(last.payload),
    }))
}

impl Nats {
    /// Checks the URL; nothing is connected to yet.
    pub(crate) fn new(url: &str) -> Result<Self, Failure> {
        let address = url.parse().map_err(|error| {
            let text = format!("--nats: {error}; write it as nats://HOST:PORT");
            Failure::new(FailureReason::StartFailed, text)
        })?;
        Ok(Self {
            address,
            client: OnceCell::new(),
        })
    }

    /// The connection, which is there, or was a moment ago.
    pub(crate) async fn client(&self) -> Result<&Client, NotConnected> {
        let connect = || connect(self.address.clone());
        let (client, connected) = self.client.get_or_try_init(connect).await?;
        let mut connected = connected.clone();
        let waiting = connected.wait_for(|connected| *connected);
        match tokio::time::timeout(RECONNECTED_WITHIN, waiting).await {
            Ok(Ok(_)) => Ok(client),
            _ => Err(NotConnected),
        }
    }
}

async fn connect(address: ServerAddr) -> Result<(Client, watch::Receiver<bool>), NotConnected> {
    let (state, connected) = watch::channel(false);
    let options = ConnectOptions::new()
        .name("waft")
        .retry_on_initial_connect()
        .connection_timeout(WITHIN)
        .subscription_capacity(ON_THE_WAY)
        .request_timeout(Some(WITHIN))
        .reconnect_delay_callback(|_| PAUSE)
        .event_callback(move |event| {
            match &event {
                Event::Connected => state.send_replace(true),
                Event::Disconnected | Event::Closed => state.send_replace(false),
                _ => false,
            };
            async move {
                match event {
                    Event::Connected => tracing::debug!("NATS: connected"),
                    event => tracing::warn!("NATS: {event}"),
                }
            }
        });
    let client = options.connect(address).await.map_err(|error| {
        tracing::warn!("NATS: {error}");
        NotConnected
    })?;
    Ok((client, connected))
}
