//! From host name and path to a replica on this host.

use std::{
    collections::HashMap,
    ptr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use waft_ir::{HostId, Route, RouteTable, Routes};

use crate::{
    reason::Reason,
    running::{RunningMap, RunningWorkload},
};

/// The newest table of routes, to be read without a lock.
pub(crate) struct Router {
    host: HostId,
    table: ArcSwap<Table>,
}

struct Table {
    routes: Arc<RouteTable>,
    /// Whose turn it is, by the place of the route in memory, which stays while the table does.
    turns: HashMap<usize, AtomicUsize>,
}

/// Where a request goes.
pub(crate) struct Target {
    pub(crate) workload: Arc<RunningWorkload>,
    /// Longest wait for response headers.
    pub(crate) timeout: Option<Duration>,
}

impl Router {
    pub(crate) fn new(host: HostId) -> Self {
        Self {
            host,
            table: ArcSwap::from_pointee(Table::new(Arc::default())),
        }
    }

    /// Takes over each new table, until the control plane is gone.
    pub(crate) async fn follow(self: Arc<Self>, mut routes: Routes) {
        loop {
            let table = routes.borrow_and_update().clone();
            self.table.store(Arc::new(Table::new(table)));
            if routes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Whether a route has a normalised host and a path.
    pub(crate) fn knows(&self, host: &str, path: &str) -> bool {
        self.table.load().routes.find(host, path).is_some()
    }

    /// The next replica in turn of the route for a normalised host and a path.
    pub(crate) fn find(
        &self,
        host: &str,
        path: &str,
        running: &RunningMap,
    ) -> Result<Target, Reason> {
        let table = self.table.load();
        let route = table.routes.find(host, path).ok_or(Reason::NoRoute)?;
        let count = route.backends.len();
        let turn = table
            .turns
            .get(&ptr::from_ref(route).addr())
            .map_or(0, |turn| turn.fetch_add(1, Ordering::Relaxed));
        // A replica that has just gone is passed over; the next table won't name it.
        (0..count)
            .map(|offset| &route.backends[turn.wrapping_add(offset) % count])
            .filter(|backend| backend.host == self.host)
            .find_map(|backend| running.get(&backend.workload))
            .map(|workload| Target {
                workload,
                timeout: route.timeout,
            })
            .ok_or(Reason::NoReadyBackend)
    }
}

impl Table {
    fn new(routes: Arc<RouteTable>) -> Self {
        let turns = routes
            .iter()
            .map(|route: &Route| (ptr::from_ref(route).addr(), AtomicUsize::new(0)))
            .collect();
        Self { routes, turns }
    }
}
