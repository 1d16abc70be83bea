//! The NATS server of a host: one connection, made when it is first used, and made again by itself
//! when it is lost.

use std::time::Duration;

use async_nats::{Client, ConnectOptions, Event, ServerAddr};
use tokio::sync::{OnceCell, watch};
use waft_ir::{Failure, FailureReason};

/// How long a call waits for a connection that was lost.
const RECONNECTED_WITHIN: Duration = Duration::from_secs(2);
/// How long the server may take to answer.
pub(crate) const WITHIN: Duration = Duration::from_secs(5);
/// Between two tries to connect.
const PAUSE: Duration = Duration::from_millis(250);
/// Messages of one subscription that wait in this process; the server is told of no more room, and
/// those that come then are lost, as with any subscriber of core NATS that is too slow.
const WAITING: usize = 1024;

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
        .request_timeout(Some(WITHIN))
        .subscription_capacity(WAITING)
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
