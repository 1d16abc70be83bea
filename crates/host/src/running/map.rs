//! All workloads that serve, by id: read by every request, changed by starts and stops.

use std::{collections::HashMap, sync::Arc};

use arc_swap::ArcSwap;
use waft_ir::WorkloadId;

use super::RunningWorkload;

/// Parts of the map. A change copies one of them, and a look-up reads one, without a lock.
const PARTS: usize = 256;

type Part = HashMap<WorkloadId, Arc<RunningWorkload>>;

/// The map.
pub(crate) struct RunningMap {
    parts: Box<[ArcSwap<Part>]>,
}

impl Default for RunningMap {
    fn default() -> Self {
        Self {
            parts: (0..PARTS).map(|_| ArcSwap::default()).collect(),
        }
    }
}

impl RunningMap {
    pub(crate) fn get(&self, id: &WorkloadId) -> Option<Arc<RunningWorkload>> {
        self.part(id).load().get(id).cloned()
    }

    pub(crate) fn insert(&self, workload: &Arc<RunningWorkload>) {
        self.part(&workload.id).rcu(|part| {
            let mut part = Part::clone(part);
            part.insert(workload.id.clone(), workload.clone());
            part
        });
    }

    pub(crate) fn remove(&self, id: &WorkloadId) {
        self.part(id).rcu(|part| {
            let mut part = Part::clone(part);
            part.remove(id);
            part
        });
    }

    /// All of them, in no order.
    pub(crate) fn all(&self) -> Vec<Arc<RunningWorkload>> {
        let parts = self.parts.iter().map(ArcSwap::load);
        parts
            .flat_map(|part| part.values().cloned().collect::<Vec<_>>())
            .collect()
    }

    fn part(&self, id: &WorkloadId) -> &ArcSwap<Part> {
        // Ids are random; all this needs is that each of their bytes counts.
        let mix = |sum: usize, byte: u8| sum.wrapping_mul(31).wrapping_add(byte.into());
        let sum = id.0.bytes().fold(0, mix);
        &self.parts[sum % self.parts.len()]
    }
}
