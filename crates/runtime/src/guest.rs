//! A component linked for one workload: what it is given, its places and warm instances, and the
//! way in for requests.

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak, atomic::Ordering::Relaxed},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::sync::oneshot;
use waft_ir::{CapabilityGrant, Limits, LogSource, Pool};
use wasmtime::PoolConcurrencyLimitError;
use wasmtime_wasi_http::WasiBody;

use crate::{
    Body, CallError, Compiled, Ctx, GuestStats, HttpVersion, LogSink, ResponseBody, TrapReason,
    admission::Admission,
    body::into_wasi,
    call::{Answer, Call, Seat},
    capability::Slot,
    ctx::Given,
    epoch::{Metered, Ticker},
    instance::{Cell, Instance, Pre},
    log::InstanceLog,
    shared::{SharedCall, SharedInstances},
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
    given: Arc<Given>,
    neighbours: Arc<Neighbours>,
    admission: Admission,
    /// Calls one instance serves at a time.
    concurrency: u32,
    warm: Mutex<Vec<Instance>>,
    shared: SharedInstances,
    pub(crate) counters: Arc<Counters>,
}

impl Guest {
    pub(crate) fn new(
        engine: wasmtime::Engine,
        ticker: Arc<Ticker>,
        compiled: Compiled,
        pre: Option<Pre>,
        spec: GuestSpec,
        slots: Vec<Option<Slot>>,
        neighbours: Arc<Neighbours>,
    ) -> Self {
        let limits = &spec.limits;
        let at_a_time = concurrency(&spec.pool, compiled.http());
        let places = match spec.pool.size {
            0 => limits.max_in_flight,
            size => limits.max_in_flight.min(size.saturating_mul(at_a_time)),
        };
        let admission = Admission::new(places, limits.queue, limits.queue_timeout);
        let counters = Arc::<Counters>::default();
        let given = Arc::new(Given {
            environment: spec.environment.clone().into_iter().collect(),
            slots,
            counters: counters.clone(),
        });
        let inner = Arc::new(GuestInner {
            engine,
            ticker,
            compiled,
            pre,
            spec,
            given,
            neighbours,
            admission,
            concurrency: at_a_time,
            warm: Mutex::new(Vec::new()),
            shared: SharedInstances::default(),
            counters,
        });
        inner.neighbours.add(&inner);
        Self(inner)
    }

    /// The version of `wasi:http` it serves, if any.
    pub fn http(&self) -> Option<HttpVersion> {
        self.0.compiled.http()
    }

    /// Its counters.
    pub fn stats(&self) -> GuestStats {
        GuestStats {
            log_lines_dropped: self.0.spec.log.dropped(),
            ..self.0.counters.snapshot()
        }
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

    pub(crate) fn inner(&self) -> &Arc<GuestInner> {
        &self.0
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
        let making = async move { guest.seated(Seat::New(cell)).await };
        let metered = Metered::new(Box::pin(making), inner.ticker.clone(), meter);
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

    pub(crate) fn pool(&self) -> &Pool {
        &self.spec.pool
    }

    /// Calls one instance serves at a time.
    pub(crate) fn concurrency(&self) -> u32 {
        self.concurrency
    }

    pub(crate) fn shares_instances(&self) -> bool {
        self.concurrency > 1
    }

    /// Hands a call to an instance that serves several.
    pub(crate) fn share(
        self: &Arc<Self>,
        request: http::Request<WasiBody>,
        request_id: Arc<str>,
        answer: oneshot::Sender<Answer>,
    ) -> SharedCall {
        self.shared.give(self, request, request_id, answer)
    }

    /// An instance that waits for work, or a store for a new one.
    pub(crate) fn take_seat(&self) -> Seat {
        match self.take_warm() {
            Some(instance) => Seat::Warm(instance),
            None => Seat::New(self.new_cell()),
        }
    }

    /// The instance of a seat, made now if it is a new one.
    pub(crate) async fn seated(&self, seat: Seat) -> Result<Instance, CallError> {
        let mut cell = match seat {
            Seat::Warm(instance) => return Ok(instance),
            Seat::New(cell) => cell,
        };
        let Some(pre) = &self.pre else {
            return Err(CallError::NotHttp);
        };
        let mut result = pre.instantiate(&mut cell.store).await;
        while self.makes_room(&result) {
            result = pre.instantiate(&mut cell.store).await;
        }
        let handler = self.made(&mut cell, result)?;
        Ok(Instance {
            cell,
            handler,
            calls: 0,
        })
    }

    /// Whether there was no room for an instance and now is, at the cost of an idle one.
    pub(crate) fn makes_room<T>(&self, result: &wasmtime::Result<T>) -> bool {
        let full = |error: &wasmtime::Error| error.is::<PoolConcurrencyLimitError>();
        result.as_ref().err().is_some_and(full) && self.neighbours.reclaim_idle()
    }

    /// Counts an instance that was made, or says why it was not.
    pub(crate) fn made<T>(
        &self,
        cell: &mut Cell,
        result: wasmtime::Result<T>,
    ) -> Result<T, CallError> {
        match result {
            Ok(made) => {
                Counters::add(&self.counters.instances_created);
                Ok(made)
            }
            Err(error) if error.is::<PoolConcurrencyLimitError>() => Err(CallError::HostAtCapacity),
            Err(error) => Err(self.trapped(cell, &error)),
        }
    }

    /// Counts a trap and writes it to the component's log, backtrace and all.
    pub(crate) fn trapped(&self, cell: &mut Cell, error: &wasmtime::Error) -> CallError {
        let ctx = cell.store.data_mut();
        let reason = TrapReason::of(error, ctx.limiter().memory_refused());
        self.counters.trap(reason);
        let memory = ctx.limiter().memory_used();
        ctx.log_line(
            LogSource::Host,
            &format!(
                "trap ({}), {memory} bytes of memory in use:",
                reason.as_str()
            ),
        );
        for line in format!("{error:?}").lines() {
            ctx.log_line(LogSource::Host, line);
        }
        CallError::Trap { reason }
    }

    /// A store for a new instance.
    pub(crate) fn new_cell(&self) -> Cell {
        let log = InstanceLog::new(self.spec.log.clone());
        let ctx = Ctx::new(&self.spec.limits, log, self.given.clone());
        Cell::new(&self.engine, ctx)
    }

    /// An instance that waits for work. The last one used comes first: its memory is warm.
    fn take_warm(&self) -> Option<Instance> {
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

/// All guests of an engine, so that one that needs room can have what another keeps idle.
#[derive(Default)]
pub(crate) struct Neighbours(Mutex<Vec<Weak<GuestInner>>>);

impl Neighbours {
    fn add(&self, guest: &Arc<GuestInner>) {
        let mut guests = self.0.lock();
        // Tidied when it would grow, so that a start costs the same however many there are.
        if guests.len() == guests.capacity() {
            guests.retain(|known| known.strong_count() > 0);
        }
        guests.push(Arc::downgrade(guest));
    }

    /// Ends one idle instance, of the guest that keeps the most. `false` when there is none.
    fn reclaim_idle(&self) -> bool {
        let guests = self.0.lock();
        let most = guests
            .iter()
            .filter_map(Weak::upgrade)
            .max_by_key(|guest| guest.counters.warm.load(Relaxed));
        drop(guests);
        most.is_some_and(|guest| guest.take_warm().is_some())
    }
}

/// Calls one instance serves at a time: more than one only where instances are kept and the
/// interface allows for it.
fn concurrency(pool: &Pool, http: Option<HttpVersion>) -> u32 {
    match http {
        Some(HttpVersion::P3) if pool.size > 0 => pool.max_concurrency.max(1),
        _ => 1,
    }
}
