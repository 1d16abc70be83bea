//! Counters of one guest.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::{CallError, EgressStats, Refusal, TrapReason, lane::Traps};

/// Live counters; each is written by whoever sees the event, never under a lock.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) requests: AtomicU64,
    pub(crate) in_flight: AtomicU64,
    pub(crate) queued: AtomicU64,
    pub(crate) instances_created: AtomicU64,
    pub(crate) traps: [AtomicU64; TrapReason::ALL.len()],
    /// Not shown: what they mean for the next call.
    pub(crate) recent_traps: Traps,
    pub(crate) deadlines: AtomicU64,
    pub(crate) queue_full: AtomicU64,
    pub(crate) queue_timeouts: AtomicU64,
    pub(crate) at_capacity: AtomicU64,
    pub(crate) instances_lost: AtomicU64,
    pub(crate) bad_answers: AtomicU64,
    pub(crate) clients_gone: AtomicU64,
    pub(crate) cpu_nanos: AtomicU64,
    pub(crate) memory_bytes: AtomicU64,
    pub(crate) instances_reclaimed: AtomicU64,
    pub(crate) memory_refused: AtomicU64,
    pub(crate) table_refused: AtomicU64,
    pub(crate) volume_refused: AtomicU64,
    pub(crate) refused: [AtomicU64; Refusal::ALL.len()],
}

/// The counters of one guest at one moment. All but the gauges only grow.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct GuestStats {
    /// Calls that were begun, refused ones included.
    pub requests: u64,
    /// Gauge: calls that run.
    pub in_flight: u64,
    /// Gauge: calls that wait for a place.
    pub queued: u64,
    /// Instances made.
    pub instances_created: u64,
    /// Gauge: idle instances that are kept.
    pub warm: u64,
    /// Instances ended by a trap, by reason, in the order of [`TrapReason::ALL`].
    pub traps: [u64; TrapReason::ALL.len()],
    /// Calls ended because no response came in time.
    pub deadlines: u64,
    /// Calls refused because the queue was full.
    pub queue_full: u64,
    /// Calls refused after waiting too long.
    pub queue_timeouts: u64,
    /// Calls refused because the host had no room.
    pub at_capacity: u64,
    /// Calls that lost their instance to another call.
    pub instances_lost: u64,
    /// Calls answered with an error code, or with nothing that is HTTP.
    pub bad_answers: u64,
    /// Calls whose client left first.
    pub clients_gone: u64,
    /// Time the guest's code ran, in nanoseconds.
    pub cpu_nanos: u64,
    /// Gauge: bytes of linear memory and of tables of all its instances, busy and idle.
    pub memory_bytes: u64,
    /// Lines that its log, and those of the components it is composed with, did not take.
    pub log_lines_dropped: u64,
    /// How often guest code had to wait because of the limit on processor time.
    pub throttled: u64,
    /// Idle instances that were ended to give back what they hold.
    pub instances_reclaimed: u64,
    /// Growths of memory that `localResources.memoryLimitMb` refused.
    pub memory_refused: u64,
    /// Growths of tables that `limits.tableElements` refused.
    pub table_refused: u64,
    /// Writes that the `sizeLimit` of a volume refused.
    pub volume_refused: u64,
    /// What it tried and was refused, by reason, in the order of [`Refusal::ALL`].
    pub refused: [u64; Refusal::ALL.len()],
    /// What it sent out.
    pub egress: EgressStats,
}

impl Counters {
    pub(crate) fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Relaxed);
    }

    pub(crate) fn sub(counter: &AtomicU64) {
        counter.fetch_sub(1, Relaxed);
    }

    pub(crate) fn trap(&self, reason: TrapReason) {
        Self::add(&self.traps[reason as usize]);
        self.recent_traps.trapped();
    }

    pub(crate) fn refuse(&self, reason: Refusal) {
        Self::add(&self.refused[reason as usize]);
    }

    /// Counts a call that failed, except for traps, which are counted where they are classified.
    pub(crate) fn failed(&self, error: &CallError) {
        let counter = match error {
            CallError::Trap { .. } => return,
            CallError::Deadline => &self.deadlines,
            CallError::QueueFull => &self.queue_full,
            CallError::QueueTimeout => &self.queue_timeouts,
            CallError::HostAtCapacity => &self.at_capacity,
            CallError::InstanceLost => &self.instances_lost,
            CallError::GuestErrorCode(_)
            | CallError::NoResponse
            | CallError::Malformed
            | CallError::NotHttp
            | CallError::NotMessaging => &self.bad_answers,
        };
        Self::add(counter);
    }

    pub(crate) fn snapshot(&self) -> GuestStats {
        let read = |counter: &AtomicU64| counter.load(Relaxed);
        GuestStats {
            requests: read(&self.requests),
            in_flight: read(&self.in_flight),
            queued: read(&self.queued),
            instances_created: read(&self.instances_created),
            warm: 0,
            traps: std::array::from_fn(|at| read(&self.traps[at])),
            deadlines: read(&self.deadlines),
            queue_full: read(&self.queue_full),
            queue_timeouts: read(&self.queue_timeouts),
            at_capacity: read(&self.at_capacity),
            instances_lost: read(&self.instances_lost),
            bad_answers: read(&self.bad_answers),
            clients_gone: read(&self.clients_gone),
            cpu_nanos: read(&self.cpu_nanos),
            memory_bytes: read(&self.memory_bytes),
            log_lines_dropped: 0,
            throttled: 0,
            instances_reclaimed: read(&self.instances_reclaimed),
            memory_refused: read(&self.memory_refused),
            table_refused: read(&self.table_refused),
            volume_refused: read(&self.volume_refused),
            refused: std::array::from_fn(|at| read(&self.refused[at])),
            egress: EgressStats::default(),
        }
    }
}

impl GuestStats {
    /// Instances ended by traps of one reason.
    pub fn traps_of(&self, reason: TrapReason) -> u64 {
        self.traps[reason as usize]
    }
}
