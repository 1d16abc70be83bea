//! From host name and path to a replica on this host.

use std::{
    ptr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use waft_ir::{HostId, PartMap, Route, RouteTable, Routes};

use crate::{
    reason::Reason,
    running::{RunningMap, RunningWorkload},
};

/// The newest table of routes, to be read without a lock.
pub(crate) struct Router {
    host: HostId,
    table: ArcSwap<Table>,
}

#[derive(Default)]
struct Table {
    routes: Arc<RouteTable>,
    /// Whose turn it is of the routes that have several replicas, by the place of the route in
    /// memory, which stays while the route does.
    turns: PartMap<usize, Arc<AtomicUsize>>,
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
            table: ArcSwap::default(),
        }
    }

    /// Takes over each new table, until the control plane is gone.
    pub(crate) async fn follow(self: Arc<Self>, mut routes: Routes) {
        loop {
            let table = routes.borrow_and_update().clone();
            let next = self.table.load().followed_by(table);
            self.table.store(Arc::new(next));
            if routes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Whether a route names this very host, normalised, and has the path.
    pub(crate) fn names(&self, host: &str, path: &str) -> bool {
        self.table.load().routes.names(host, path)
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
        let turns = (count > 1).then(|| table.turns.get(&place(route)));
        let turn = turns.flatten();
        let turn = turn.map_or(0, |turn| turn.fetch_add(1, Ordering::Relaxed));
        // A replica that has just gone is passed over; the next table won't name it.
        (0..count)
            .map(|offset| &route.backends[turn.wrapping_add(offset) % count])
            .filter(|backend| backend.host == self.host)
            .find_map(|backend| running.get(&backend.workload))
            .map(|workload| Target {
                timeout: workload.limits.timeout_by(route.timeout),
                workload,
            })
            .ok_or(Reason::NoReadyBackend)
    }
}

impl Table {
    /// The next table. Costs what has changed.
    fn followed_by(&self, routes: Arc<RouteTable>) -> Self {
        let mut turns = self.turns.clone();
        for (before, after) in routes.changed(&self.routes) {
            let (gone, new) = (places(&before, &after), places(&after, &before));
            for route in gone {
                turns.remove(&route);
            }
            for route in new {
                turns.insert(route, Arc::default());
            }
        }
        Self { routes, turns }
    }
}

/// Where the routes with several replicas are that stand in one list and not in another.
fn places(routes: &[Arc<Route>], others: &[Arc<Route>]) -> Vec<usize> {
    let several = routes.iter().filter(|route| route.backends.len() > 1);
    let only = several.filter(|route| !others.iter().any(|other| Arc::ptr_eq(route, other)));
    only.map(|route| place(route)).collect()
}

fn place(route: &Route) -> usize {
    ptr::from_ref(route).addr()
}
