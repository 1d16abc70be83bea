//! What a guest has of the network: its policy, its connections, its counters.

use std::{
    io,
    net::IpAddr,
    path::PathBuf,
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use tokio::sync::Semaphore;
use waft_ir::Failure;

use super::{
    LocalRoutes, Resolve,
    names::{LookUps, Resolver},
    pool::Pool,
    tls::{self, Roots},
};
use crate::{Denied, EgressPolicy, Loopback};

/// What all guests of an engine share.
pub(crate) struct Outside {
    resolver: Resolver,
    routes: OnceLock<Weak<dyn LocalRoutes>>,
    roots: Roots,
}

/// The network of one guest.
pub(crate) struct Network {
    outside: Arc<Outside>,
    policy: Arc<EgressPolicy>,
    /// The network within the workload.
    loopback: Loopback,
    look_ups: LookUps,
    pool: Pool,
    places: Arc<Semaphore>,
    limit: u32,
    requests: AtomicU64,
    denied: [AtomicU64; Denied::ALL.len()],
    refused_by_limit: AtomicU64,
}

/// Counters of what one guest sent out, at one moment. All but the gauge only grow.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct EgressStats {
    /// Requests that were answered.
    pub requests: u64,
    /// Requests, look-ups and connections that were denied, by reason, in the order of
    /// [`Denied::ALL`].
    pub denied: [u64; Denied::ALL.len()],
    /// Connections refused by `limits.outboundConnections`.
    pub over_limit: u64,
    /// Gauge: connections that are open.
    pub connections: u64,
}

impl EgressStats {
    /// Both together.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            requests: self.requests + other.requests,
            denied: std::array::from_fn(|at| self.denied[at] + other.denied[at]),
            over_limit: self.over_limit + other.over_limit,
            connections: self.connections + other.connections,
        }
    }
}

impl Outside {
    pub(crate) fn new(resolver: Option<Arc<dyn Resolve>>, extra_ca: Vec<PathBuf>) -> Self {
        Self {
            resolver: Resolver::new(resolver),
            routes: OnceLock::new(),
            roots: Roots::new(extra_ca),
        }
    }

    /// Checks what would otherwise fail at the first request.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        self.roots.check()
    }

    /// The routes are known once only.
    pub(crate) fn set_routes(&self, routes: Weak<dyn LocalRoutes>) {
        let _ = self.routes.set(routes);
    }

    pub(super) fn routes(&self) -> Option<Arc<dyn LocalRoutes>> {
        self.routes.get()?.upgrade()
    }

    pub(super) async fn tls(&self) -> Result<tls::Connector, wasmtime_wasi_http::Error> {
        self.roots.connector().await
    }
}

impl Network {
    pub(crate) fn new(
        outside: Arc<Outside>,
        policy: Arc<EgressPolicy>,
        loopback: Loopback,
        connections: u32,
    ) -> Self {
        Self {
            outside,
            policy,
            loopback,
            look_ups: LookUps::default(),
            pool: Pool::default(),
            places: Arc::new(Semaphore::new(connections as usize)),
            limit: connections,
            requests: AtomicU64::new(0),
            denied: Default::default(),
            refused_by_limit: AtomicU64::new(0),
        }
    }

    /// What encrypts the guest's own streams, trusting whom its requests trust.
    pub(crate) async fn encryption(
        &self,
    ) -> Result<tokio_rustls::TlsConnector, wasmtime_wasi_http::Error> {
        Ok(self.outside.tls().await?.without_protocols())
    }

    /// The network within the workload.
    pub(super) fn loopback(&self) -> &Loopback {
        &self.loopback
    }

    /// What may be reached.
    pub(crate) fn policy(&self) -> &EgressPolicy {
        &self.policy
    }

    /// One place for each connection to another machine, of `wasi:http` and `wasi:sockets` alike.
    pub(crate) fn places(&self) -> &Arc<Semaphore> {
        &self.places
    }

    /// Counts something that was denied.
    pub(crate) fn count_denied(&self, reason: Denied) {
        let at = Denied::ALL.iter().position(|known| *known == reason);
        if let Some(at) = at {
            self.denied[at].fetch_add(1, Relaxed);
        }
    }

    /// Counts a connection that found no place.
    pub(crate) fn count_over_limit(&self) {
        self.refused_by_limit.fetch_add(1, Relaxed);
    }

    pub(crate) fn stats(&self) -> EgressStats {
        let open = (self.limit as usize).saturating_sub(self.places.available_permits());
        EgressStats {
            requests: self.requests.load(Relaxed),
            denied: std::array::from_fn(|at| self.denied[at].load(Relaxed)),
            over_limit: self.refused_by_limit.load(Relaxed),
            connections: open as u64,
        }
    }

    /// The addresses of a name. It waits while as many look-ups are under way as there may be.
    pub(crate) async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        self.look_ups.resolve(&self.outside.resolver, name).await
    }

    pub(super) fn count_request(&self) {
        self.requests.fetch_add(1, Relaxed);
    }

    pub(super) fn outside(&self) -> &Outside {
        &self.outside
    }

    pub(super) fn pool(&self) -> &Pool {
        &self.pool
    }
}
