//! Accepts connections.

use std::{sync::Arc, time::Duration};

use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    connection::{self, is_of_one_connection},
    service::Entry,
};
use crate::serving::Serving;

/// Pause after an accept that failed for want of something, files as a rule.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(50);

/// Accepts until `stop`; each connection is a task of its own, counted in `connections`.
pub(crate) async fn accept(
    listener: TcpListener,
    serving: Arc<Serving>,
    connections: TaskTracker,
    stop: CancellationToken,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        match accepted {
            Ok((stream, _)) => {
                // Answers are written whole; waiting for more to send only delays them.
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "a client left at once");
                    continue;
                }
                let (serving, stop) = (serving.clone(), stop.clone());
                connections.spawn(connection::serve(stream, serving, Entry::Routed, stop));
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "can't accept connections");
                tokio::time::sleep(EXHAUSTED_PAUSE).await;
            }
        }
    }
}
