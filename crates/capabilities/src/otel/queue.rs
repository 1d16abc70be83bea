//! What guests said and nobody has sent yet: bounded in bytes, for all and for each, so that one that
//! says too much takes no room from others.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use opentelemetry_proto::tonic::common::v1::KeyValue;
use prost::Message;
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
    /// What is true of all that comes from this host.
    attributes: Arc<[(String, String)]>,
}

/// Gives what guests said, in order.
pub struct TelemetryReceiver {
    receiver: mpsc::UnboundedReceiver<Told>,
}

/// Something that was said. It takes room until it is dropped.
pub struct Told {
    /// What it is.
    pub signal: Signal,
    /// A `ResourceSpans`, `ResourceLogs` or `ResourceMetrics` of the OpenTelemetry protocol: a field 1 of
    /// the request that brings it to a collector.
    pub message: Vec<u8>,
    _room: [OwnedSemaphorePermit; 2],
}

/// What guests say.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Signal {
    /// A span.
    Spans,
    /// A log record.
    Logs,
    /// Values of metrics.
    Metrics,
}

impl Telemetry {
    /// A queue: where guests put things, and where they come out. All that is in it has these attributes,
    /// beside those that say whose it is.
    pub fn new(attributes: Vec<(String, String)>) -> (Self, TelemetryReceiver) {
        // Room bounds it.
        let (sender, receiver) = mpsc::unbounded_channel();
        let telemetry = Self {
            sender,
            room: Arc::new(Semaphore::new(ALL)),
            dropped: Arc::default(),
            attributes: attributes.into(),
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

    /// What is true of all that comes from this host.
    pub(super) fn attributes(&self) -> impl Iterator<Item = KeyValue> + '_ {
        let pairs = self.attributes.iter();
        pairs.map(|(key, value)| super::message::pair(key.clone(), super::message::string(value)))
    }

    /// Whether there was room.
    pub(super) fn tell(
        &self,
        signal: Signal,
        message: &impl Message,
        own: &Arc<Semaphore>,
    ) -> bool {
        let units = message.encoded_len() / UNIT + 1;
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        let of = |room: &Arc<Semaphore>| room.clone().try_acquire_many_owned(units).ok();
        let room = of(own).and_then(|own| Some([own, of(&self.room)?]));
        let sent = room.is_some_and(|room| {
            let told = Told {
                signal,
                message: message.encode_to_vec(),
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
        let (telemetry, mut receiver) = Telemetry::new(Vec::new());
        let (loud, quiet) = (room_of_a_guest(), room_of_a_guest());
        let small = KeyValue::default();
        let large = KeyValue {
            key: "x".repeat(1 << 20),
            ..KeyValue::default()
        };
        let tell = |message, room| telemetry.tell(Signal::Logs, message, room);
        let taken = (0..10).filter(|_| tell(&large, &loud)).count();
        assert_eq!((taken, telemetry.dropped()), (3, 7));
        assert!(tell(&small, &quiet));
        let mut all = Vec::new();
        assert_eq!(receiver.next(&mut all, 100).await, 4);
        assert!(!tell(&large, &loud), "it is not sent yet");
        all.clear();
        assert!(tell(&large, &loud));
    }
}
