//! What the operator remembers of all workloads that it started.

use std::collections::HashMap;

use waft_ir::{HostId, WorkloadId};

use super::decide::Memory;

/// Memories by workload, and how many lead to each host.
#[derive(Debug, Default)]
pub(crate) struct Memories {
    by_id: HashMap<WorkloadId, Memory>,
    placed: HashMap<HostId, usize>,
}

impl Memories {
    /// What is remembered of a workload.
    pub(crate) fn get(&self, id: &WorkloadId) -> Memory {
        self.by_id.get(id).cloned().unwrap_or_default()
    }

    /// Remembers something else of a workload.
    pub(crate) fn set(&mut self, id: &WorkloadId, memory: Memory) {
        if let Some(host) = &memory.host {
            *self.placed.entry(host.clone()).or_default() += 1;
        }
        if let Some(before) = self.by_id.insert(id.clone(), memory) {
            self.leave(&before);
        }
    }

    /// Forgets a workload.
    pub(crate) fn remove(&mut self, id: &WorkloadId) {
        if let Some(before) = self.by_id.remove(id) {
            self.leave(&before);
        }
    }

    /// Forgets all workloads but these.
    pub(crate) fn retain(&mut self, is_known: impl Fn(&WorkloadId) -> bool) {
        let gone = self.by_id.extract_if(|id, _| !is_known(id));
        for (_, before) in gone.collect::<Vec<_>>() {
            self.leave(&before);
        }
    }

    /// How many workloads were started on a host.
    pub(crate) fn placed(&self, host: &HostId) -> usize {
        self.placed.get(host).copied().unwrap_or_default()
    }

    fn leave(&mut self, before: &Memory) {
        let Some(host) = &before.host else { return };
        if let Some(count) = self.placed.get_mut(host) {
            *count -= 1;
            if *count == 0 {
                self.placed.remove(host);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workloads_are_counted_where_they_were_started_last() {
        let on = |host: &HostId| Memory {
            host: Some(host.clone()),
            ..Memory::default()
        };
        let (a, b) = (HostId("a".into()), HostId("b".into()));
        let (one, two) = (WorkloadId("1".into()), WorkloadId("2".into()));
        let mut memories = Memories::default();
        memories.set(&one, on(&a));
        memories.set(&one, on(&a));
        memories.set(&two, on(&a));
        assert_eq!((memories.placed(&a), memories.placed(&b)), (2, 0));
        memories.set(&two, on(&b));
        assert_eq!((memories.placed(&a), memories.placed(&b)), (1, 1));
        memories.remove(&one);
        memories.retain(|_| false);
        assert_eq!((memories.placed(&a), memories.placed(&b)), (0, 0));
        assert_eq!(memories.get(&two), Memory::default());
    }
}
