//! Downloads under way, as one watch of whole values.

use std::{collections::BTreeMap, sync::Arc};

use tokio::sync::watch;

/// All downloads under way, by image reference.
pub type Transfers = watch::Receiver<Arc<BTreeMap<String, Transfer>>>;

/// How far one download is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Transfer {
    /// Bytes received so far.
    pub received: u64,
    /// Bytes in all.
    pub total: u64,
}

/// The writing end.
#[derive(Clone, Debug)]
pub(crate) struct Progress(watch::Sender<Arc<BTreeMap<String, Transfer>>>);

/// One download; when dropped, it is under way no more.
pub(crate) struct Ticket<'a> {
    progress: &'a Progress,
    reference: String,
    shown: u64,
}

/// Bytes between two updates: a watcher needs no more, and each copies the map.
const STEP: u64 = 256 << 10;

impl Progress {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(Arc::default()))
    }

    pub(crate) fn subscribe(&self) -> Transfers {
        self.0.subscribe()
    }

    /// Announces a download.
    pub(crate) fn begin(&self, reference: &str, total: u64) -> Ticket<'_> {
        let reference = reference.to_owned();
        self.0.send_modify(|map| {
            Arc::make_mut(map).insert(reference.clone(), Transfer { received: 0, total });
        });
        Ticket {
            progress: self,
            reference,
            shown: 0,
        }
    }
}

impl Ticket<'_> {
    /// Says how many bytes are there.
    pub(crate) fn received(&mut self, received: u64) {
        if received.abs_diff(self.shown) < STEP {
            return;
        }
        self.shown = received;
        self.progress.0.send_modify(|map| {
            if let Some(transfer) = Arc::make_mut(map).get_mut(&self.reference) {
                transfer.received = received;
            }
        });
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.progress.0.send_modify(|map| {
            Arc::make_mut(map).remove(&self.reference);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_download_shows_while_it_runs() {
        let progress = Progress::new();
        let watch = progress.subscribe();
        let mut ticket = progress.begin("a:1", 2 * STEP);
        ticket.received(STEP - 1);
        assert_eq!(watch.borrow()["a:1"].received, 0);
        ticket.received(STEP);
        let total = 2 * STEP;
        let expected = Transfer {
            received: STEP,
            total,
        };
        assert_eq!(watch.borrow()["a:1"], expected);
        drop(ticket);
        assert!(watch.borrow().is_empty());
    }
}
