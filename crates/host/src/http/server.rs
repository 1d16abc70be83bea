//! Accepts connections, as many as leave files to the rest of the process.

use std::{sync::Arc, time::Duration};

use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    connection::{self, is_of_one_connection},
    service::Entry,
    socket::Socket,
};
use crate::serving::Serving;

/// Pause after an accept that failed for want of something, files as a rule.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(50);

/// Connections where nothing says how many files the process may have open.
const CONNECTIONS: usize = 10_000;

/// Room for connections: three quarters of the files that the process may have open. Past that,
/// clients wait in the kernel's queue, and the database, logs and registries still have theirs.
pub(crate) fn places() -> Arc<Semaphore> {
    let files = std::fs::read_to_string("/proc/self/limits")
        .ok()
        .and_then(|limits| open_files(&limits));
    let places = files.map_or(CONNECTIONS, |files| files / 4 * 3);
    Arc::new(Semaphore::new(places.clamp(1, Semaphore::MAX_PERMITS)))
}

/// The soft limit of open files, from the kernel's table of limits.
fn open_files(limits: &str) -> Option<usize> {
    let row = limits
        .lines()
        .find_map(|l| l.strip_prefix("Max open files"))?;
    row.split_whitespace().next()?.parse().ok()
}

/// Accepts until `stop`; each connection is a task of its own, counted in `connections`.
pub(crate) async fn accept(
    listener: TcpListener,
    serving: Arc<Serving>,
    connections: TaskTracker,
    places: Arc<Semaphore>,
    stop: CancellationToken,
) {
    loop {
        let next = async {
            // The semaphore is never closed.
            let place = places.clone().acquire_owned().await.ok();
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            next = next => next,
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
                connections.spawn(async move {
                    connection::serve(Socket::new(stream), serving, Entry::Routed, stop).await;
                    drop(place);
                });
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "can't accept connections");
                tokio::time::sleep(EXHAUSTED_PAUSE).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_of_files_is_found() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units\n\
                      Max processes             127235               127235               processes\n\
                      Max open files            1024                 524288               files\n";
        assert_eq!(open_files(limits), Some(1024));
        assert_eq!(
            open_files("Max open files   unlimited unlimited files"),
            None
        );
        assert!(places().available_permits() > 0);
    }
}
