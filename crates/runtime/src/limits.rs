//! What one instance may hold: the store's limiter, and the fixed limits on what a guest makes the
//! host hold.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use waft_ir::Limits;
use wasmtime::{ResourceLimiter, Result};

use crate::{
    config::{CORE_MODULES, MEMORIES, TABLES},
    epoch::Meter,
    stats::Counters,
};

/// Resources (streams, bodies, fields, pollables …) one instance may hold at a time.
pub(crate) const RESOURCE_TABLE_ENTRIES: usize = 10_000;
/// Handles of the component model one instance may hold at a time.
pub(crate) const COMPONENT_HANDLES: usize = 20_000;
/// Bytes a guest may pass to the host in one call.
pub(crate) const BYTES_PER_HOST_CALL: usize = 16 << 20;
/// Random bytes in one call.
pub(crate) const RANDOM_BYTES_PER_CALL: u64 = 1 << 20;
/// Bytes of one header map, names, values and bookkeeping.
pub(crate) const HEADER_MAP_BYTES: usize = 128 << 10;

/// Bytes of one element of a table.
const TABLE_ELEMENT: usize = 8;

/// Memories, tables and core modules that a store may have where the pool bounds those of each
/// component: trying again for room counts them again.
const BOUNDED_BY_POOL: usize = usize::MAX;

/// Bytes of memory that one call may add before it goes on behind all others: the kernel's time for
/// them counts as the guest's, and so does that for taking them back. Filling them takes about as
/// long as other guests may compute before they go there.
const MUCH: usize = 16 << 20;

/// Counts the memory of one instance, its tables included, for itself and for its guest, and refuses
/// what goes past its limits.
pub(crate) struct Limiter {
    memory_limit: usize,
    memory_used: usize,
    memory_refused: bool,
    /// Bytes added in the current call.
    added: usize,
    table_limit: usize,
    /// Whether the instance has a place in a pool.
    is_pooled: bool,
    counters: Arc<Counters>,
    /// Told of a call that takes much memory.
    meter: Arc<Meter>,
}

impl Limiter {
    pub(crate) fn new(limits: &Limits, counters: Arc<Counters>, meter: Arc<Meter>) -> Self {
        Self {
            memory_limit: usize::try_from(limits.memory_bytes).unwrap_or(usize::MAX),
            memory_used: 0,
            memory_refused: false,
            added: 0,
            table_limit: limits.table_elements as usize,
            is_pooled: true,
            counters,
            meter,
        }
    }

    /// Whether memory was refused since [`begin_call`](Self::begin_call).
    pub(crate) fn memory_refused(&self) -> bool {
        self.memory_refused
    }

    /// The instance has no place in a pool, which would bound how many parts it has.
    pub(crate) fn is_alone(&mut self) {
        self.is_pooled = false;
    }

    /// Bytes of all the instance's memories and tables.
    pub(crate) fn memory_used(&self) -> usize {
        self.memory_used
    }

    pub(crate) fn begin_call(&mut self) {
        self.memory_refused = false;
        self.added = 0;
    }

    /// Counts what a memory or a table is about to have, unless that is too much.
    fn takes(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> bool {
        let total = self
            .memory_used
            .saturating_sub(current)
            .saturating_add(desired);
        if total > self.memory_limit {
            self.memory_refused = true;
            Counters::add(&self.counters.memory_refused);
            return false;
        }
        // Past its own maximum it won't grow, so nothing is added.
        if maximum.is_none_or(|maximum| desired <= maximum) {
            let grown = total.saturating_sub(self.memory_used);
            self.counters.memory_bytes.fetch_add(grown as u64, Relaxed);
            self.memory_used = total;
            self.grows(current, grown);
        }
        true
    }

    fn parts(&self, most: u32) -> usize {
        match self.is_pooled {
            true => BOUNDED_BY_POOL,
            false => most as usize,
        }
    }

    /// What a memory has from its start is no growth.
    fn grows(&mut self, current: usize, grown: usize) {
        if current > 0 {
            self.added = self.added.saturating_add(grown);
        }
        if self.added >= MUCH {
            self.meter.takes_much();
        }
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool> {
        Ok(self.takes(current, desired, maximum))
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool> {
        if desired > self.table_limit {
            Counters::add(&self.counters.table_refused);
            return Ok(false);
        }
        let bytes = |elements: usize| elements.saturating_mul(TABLE_ELEMENT);
        Ok(self.takes(bytes(current), bytes(desired), maximum.map(bytes)))
    }

    fn memories(&self) -> usize {
        self.parts(MEMORIES)
    }

    fn tables(&self) -> usize {
        self.parts(TABLES)
    }

    fn instances(&self) -> usize {
        self.parts(CORE_MODULES)
    }
}

impl Drop for Limiter {
    fn drop(&mut self) {
        let used = self.memory_used as u64;
        self.counters.memory_bytes.fetch_sub(used, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limiter() -> Limiter {
        let limits = Limits {
            memory_bytes: 100,
            table_elements: 10,
            ..Limits::default()
        };
        let meter = Arc::new(Meter::of_nobody());
        Limiter::new(&limits, Arc::default(), meter)
    }

    #[test]
    fn memories_are_counted_together() {
        let mut limiter = limiter();
        assert!(limiter.memory_growing(0, 60, None).unwrap());
        assert!(limiter.memory_growing(0, 30, None).unwrap());
        assert!(limiter.memory_growing(60, 70, None).unwrap());
        assert_eq!(limiter.memory_used(), 100);
        let counters = limiter.counters.clone();
        assert_eq!(counters.memory_bytes.load(Relaxed), 100);
        assert!(!limiter.memory_refused());
        assert!(!limiter.memory_growing(30, 31, None).unwrap());
        assert!(limiter.memory_refused());
        assert_eq!(counters.memory_refused.load(Relaxed), 1);
        limiter.begin_call();
        assert!(!limiter.memory_refused());
        drop(limiter);
        assert_eq!(counters.memory_bytes.load(Relaxed), 0);
    }

    #[test]
    fn a_growth_past_the_memorys_own_maximum_is_not_counted() {
        let mut limiter = limiter();
        assert!(limiter.memory_growing(10, 50, Some(20)).unwrap());
        assert_eq!(limiter.memory_used(), 0);
    }

    #[test]
    fn tables_are_bounded() {
        let mut limiter = limiter();
        assert!(limiter.table_growing(0, 10, None).unwrap());
        assert!(!limiter.table_growing(10, 11, None).unwrap());
        assert_eq!(limiter.counters.table_refused.load(Relaxed), 1);
        assert!(!limiter.memory_refused());
    }

    #[test]
    fn tables_take_memory() {
        let mut limiter = limiter();
        assert!(limiter.table_growing(0, 5, None).unwrap());
        assert!(limiter.table_growing(5, 10, None).unwrap());
        assert_eq!(limiter.memory_used(), 80);
        assert!(!limiter.table_growing(0, 3, None).unwrap());
        assert!(limiter.memory_refused());
        assert!(limiter.memory_growing(0, 20, None).unwrap());
        let counters = limiter.counters.clone();
        drop(limiter);
        assert_eq!(counters.memory_bytes.load(Relaxed), 0);
    }

    #[test]
    fn without_a_pool_the_store_bounds_the_parts() {
        let mut limiter = limiter();
        limiter.is_alone();
        let parts = [limiter.memories(), limiter.tables(), limiter.instances()];
        assert_eq!(parts, [64, 128, 256]);
    }
}
