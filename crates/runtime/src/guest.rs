//! A component linked for one workload: what it is given, its places and warm instances, and the
//! way in for requests.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::sync::oneshot;
use waft_ir::{CapabilityGrant, Limits, Pool};

use crate::{
    Body, CallError, Compiled, Ctx, GuestStats, HttpVersion, LogSink, ResponseBody,
    admission::Admission,
    body::into_wasi,
    call::Call,
    capability::Slot,
    epoch::Ticker,
    instance::{Cell, Instance, Pre},
    log::InstanceLog,
    stats::Counters,
};

/// What a workload gives to one of its components.
#[derive(Clone)]
pub struct GuestSpec {
    /// The workload, as `namespace/name`.
    pub workload: String,
    /// The component's name in the workload.
    pub component: String,
    /// How instances are kept.
    pub pool: Pool,
    /// Its limits.
    pub limits: Limits,
    /// Environment variables.
    pub environment: BTreeMap<String, String>,
    /// Its own `wasi:config` values (`localResources.config`).
    pub config: BTreeMap<String, String>,
    /// The workload's `hostInterfaces` entries.
    pub grants: Vec<CapabilityGrant>,
    /// Where its lines go.
    pub log: Arc<dyn LogSink>,
}

/// What comes with one request.
#[derive(Clone, Debug)]
pub struct CallInfo {
    /// Marks the guest's lines.
    pub request_id: Arc<str>,
    /// Longest wait for response headers. `None`: the component's own limit; `Some(None)`: no
    /// bound.
    pub timeout: Option<Option<Duration>>,
}

/// A component that can be called. Clones are the same guest; with the last one its warm instances
/// go.
#[derive(Clone)]
pub struct Guest(Arc<GuestInner>);

pub(crate) struct GuestInner {
    engine: wasmtime::Engine,
    ticker: Arc<Ticker>,
    compiled: Compiled,
    pre: Option<Pre>,
    spec: GuestSpec,
    environment: Vec<(String, String)>,
    slots: Arc<[Option<Slot>]>,
    admission: Admission,
    warm: Mutex<Vec<Instance>>,
    pub(crate) counters: Counters,
}

impl Guest {
    pub(crate) fn new(
        engine: wasmtime::Engine,
        ticker: Arc<Ticker>,
        compiled: Compiled,
        pre: Option<Pre>,
        spec: GuestSpec,
        slots: Arc<[Option<Slot>]>,
    ) -> Self {
        let limits = &spec.limits;
        let places = match spec.pool.size {
            0 => limits.max_in_flight,
            size => limits.max_in_flight.min(size),
        };
        let admission = Admission::new(places, limits.queue, limits.queue_timeout);
        Self(Arc::new(GuestInner {
            engine,
            ticker,
            compiled,
            pre,
            environment: spec.environment.clone().into_iter().collect(),
            spec,
            slots,
            admission,
            warm: Mutex::new(Vec::new()),
            counters: Counters::default(),
        }))
    }

    /// The version of `wasi:http` it serves, if any.
    pub fn http(&self) -> Option<HttpVersion> {
        self.0.compiled.http()
    }

    /// Its counters.
    pub fn stats(&self) -> GuestStats {
        self.0.counters.snapshot()
    }

    /// Waits until no call runs. Nothing stops new calls from coming: that is the caller's doing.
    pub async fn drained(&self) {
        self.0.admission.drained().await;
    }

    /// Answers a request. The URI or the `Host` header names the authority.
    ///
    /// The guest runs inside this future, and then inside the body of the response: dropping either
    /// ends the call.
    pub async fn handle(
        &self,
        request: http::Request<Body>,
        info: CallInfo,
    ) -> Result<http::Response<ResponseBody>, CallError> {
        let inner = &self.0;
        Counters::add(&inner.counters.requests);
        let result = self.try_handle(request, info).await;
        if let Err(error) = &result {
            inner.counters.failed(error);
        }
        result
    }

    async fn try_handle(
        &self,
        request: http::Request<Body>,
        info: CallInfo,
    ) -> Result<http::Response<ResponseBody>, CallError> {
        let inner = &self.0;
        if inner.pre.is_none() {
            return Err(CallError::NotHttp);
        }
        let timeout = info.timeout.unwrap_or(inner.spec.limits.request_timeout);
        let place = inner.admission.enter(&inner.counters.queued).await?;
        let method = request.method().clone();
        let (sender, answer) = oneshot::channel();
        let request = request.map(into_wasi);
        let call = Call::begin(inner.clone(), place, request, info.request_id, sender);
        call.respond(method, timeout, answer).await
    }

    /// Makes the first warm instance, if instances are kept.
    pub(crate) async fn warm_up(&self) -> Result<(), CallError> {
        let inner = &self.0;
        if inner.spec.pool.size == 0 || inner.pre.is_none() {
            return Ok(());
        }
        let mut cell = inner.new_cell();
        cell.begin_call(None, inner.limits().cpu_time);
        let (guest, meter) = (inner.clone(), cell.meter.clone());
        let making = async move { crate::call::instantiate(&guest, cell).await };
        let metered = crate::epoch::Metered::new(Box::pin(making), inner.ticker.clone(), meter);
        let limit = inner.limits().request_timeout.unwrap_or(Duration::MAX);
        let instance = tokio::time::timeout(limit, metered)
            .await
            .unwrap_or(Err(CallError::Deadline))?;
        inner.give_back(instance);
        Ok(())
    }
}

impl GuestInner {
    pub(crate) fn limits(&self) -> &Limits {
        &self.spec.limits
    }

    pub(crate) fn ticker(&self) -> &Arc<Ticker> {
        &self.ticker
    }

    pub(crate) fn pre(&self) -> Option<&Pre> {
        self.pre.as_ref()
    }

    /// A store for a new instance.
    pub(crate) fn new_cell(&self) -> Cell {
        let log = InstanceLog::new(self.spec.log.clone());
        let slots = self.slots.clone();
        let ctx = Ctx::new(&self.environment, &self.spec.limits, log, slots);
        Cell::new(&self.engine, ctx)
    }

    /// An instance that waits for work. The last one used comes first: its memory is warm.
    pub(crate) fn take_warm(&self) -> Option<Instance> {
        if self.spec.pool.size == 0 {
            return None;
        }
        let instance = self.warm.lock().pop()?;
        Counters::sub(&self.counters.warm);
        Some(instance)
    }

    /// Keeps an instance for the next call, or ends it when it is used up.
    pub(crate) fn give_back(&self, instance: Instance) {
        let pool = &self.spec.pool;
        let used_up = pool.max_invocations != 0 && instance.calls >= pool.max_invocations;
        if pool.size == 0 || used_up {
            return;
        }
        let mut warm = self.warm.lock();
        if warm.len() < pool.size as usize {
            warm.push(instance);
            Counters::add(&self.counters.warm);
        }
    }
}
