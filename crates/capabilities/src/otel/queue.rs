//! What guests said and nobody has sent yet: bounded in bytes, for all and for each, so that one that
//! says too much takes no room from others.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use opentelemetry_proto::tonic::{
    logs::v1::ResourceLogs, metrics::v1::ResourceMetrics, trace::v1::ResourceSpans,
};
use prost::Message as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// Room is counted in units of so many bytes; what is smaller takes one.
const UNIT: usize = 1 << 10;
/// Units of all guests: 16 MiB.
const ALL: usize = 16 << 10;
/// Units of one guest: 4 MiB.
const EACH: usize = 4 << 10;

/// Takes what guests say. Clones are the same.
#[derive(Clone)]
pub struct Telemetry {
    sender: mpsc::UnboundedSender<Told>,
    room: Arc<Semaphore>,
    dropped: Arc<AtomicU64>,
}

/// Gives what guests said, in order.
pub struct TelemetryReceiver {
    receiver: mpsc::UnboundedReceiver<Told>,
}

/// Something that was said. It takes room until it is dropped.
pub struct Told {
    /// What it is.
    pub signal: Signal,
    _room: [OwnedSemaphorePermit; 2],
}

/// What guests say, as it goes over the wire.
#[derive(Clone, Debug, PartialEq)]
pub enum Signal {
    /// A span.
    Spans(ResourceSpans),
    /// A log record.
    Logs(ResourceLogs),
    /// Values of metrics.
    Metrics(ResourceMetrics),
}

impl Telemetry {
    /// A queue: where guests put things, and where they come out.
    pub fn new() -> (Self, TelemetryReceiver) {
        // Room bounds it.
        let (sender, receiver) = mpsc::unbounded_channel();
        let telemetry = Self {
            sender,
            room: Arc::new(Semaphore::new(ALL)),
            dropped: Arc::default(),
        };
        (telemetry, TelemetryReceiver { receiver })
    }

    /// How much was not taken or not delivered so far.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    /// Counts something that was not taken or not delivered.
    pub fn count_dropped(&self) {
        self.dropped.fetch_add(1, Relaxed);
    }

    /// Whether there was room.
    pub(super) fn tell(&self, signal: Signal, own: &Arc<Semaphore>) -> bool {
        let size = match &signal {
            Signal::Spans(spans) => spans.encoded_len(),
            Signal::Logs(logs) => logs.encoded_len(),
            Signal::Metrics(metrics) => metrics.encoded_len(),
        };
        let units = u32::try_from(size / UNIT + 1).unwrap_or(u32::MAX);
        let of = |room: &Arc<Semaphore>| room.clone().try_acquire_many_owned(units).ok();
        let room = of(own).and_then(|own| Some([own, of(&self.room)?]));
        let sent = room.is_some_and(|room| {
            let told = Told {
                signal,
                _room: room,
            };
            self.sender.send(told).is_ok()
        });
        if !sent {
            self.count_dropped();
        }
        sent
    }
}

impl TelemetryReceiver {
    /// Waits until something was said, and gives that and what else is there, at most `limit`. Nothing,
    /// when nobody says anything any more.
    pub async fn next(&mut self, all: &mut Vec<Told>, limit: usize) -> usize {
        self.receiver.recv_many(all, limit).await
    }

    /// What is there already, at most `limit`.
    pub fn rest(&mut self, all: &mut Vec<Told>, limit: usize) {
        while all.len() < limit
            && let Ok(told) = self.receiver.try_recv()
        {
            all.push(told);
        }
    }
}

/// The room of one guest.
pub(super) fn room_of_a_guest() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(EACH))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_that_says_too_much_takes_no_room_from_others() {
        let (telemetry, mut receiver) = Telemetry::new();
        let (loud, quiet) = (room_of_a_guest(), room_of_a_guest());
        let small = || Signal::Spans(ResourceSpans::default());
        let large = || {
            Signal::Logs(ResourceLogs {
                schema_url: "x".repeat(1 << 20),
                ..ResourceLogs::default()
            })
        };
        let taken = (0..10).filter(|_| telemetry.tell(large(), &loud)).count();
        assert_eq!((taken, telemetry.dropped()), (3, 7));
        assert!(telemetry.tell(small(), &quiet));
        let mut all = Vec::new();
        assert_eq!(receiver.next(&mut all, 100).await, 4);
        assert!(!telemetry.tell(large(), &loud), "it is not sent yet");
        all.clear();
        assert!(telemetry.tell(large(), &loud));
    }
}
