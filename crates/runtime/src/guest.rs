//! A component linked for one workload: what it is given, its places and warm instances, and the
//! way in for requests.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use tokio_util::{sync::CancellationToken, task::TaskTracker};
use waft_ir::{CapabilityGrant, InterfaceName, Limits, LogSource, Pool};
use wasmtime::PoolConcurrencyLimitError;

use crate::{
    Body, CallError, Compiled, Ctx, Delivery, EgressPolicy, EgressStats, GuestStats, HttpVersion,
    LogSink, MessagingVersion, Mount, Origin, TrapReason,
    admission::Admission,
    backtrace,
    call::{Job, Seat},
    capability::Slot,
    ctx::{Given, Named},
    delivering::Delivering,
    epoch::{Meter, Metered},
    files::OpenFiles,
    handling::Handling,
    instance::{Cell, Instance, Pre},
    lane::Driver,
    log::InstanceLog,
    outgoing::Network,
    quota::Quota,
    room::{Neighbours, Search},
    shared::{SharedCall, SharedInstances},
    sockets::{Loopback, Net},
    stats::Counters,
    threads::Threads,
    together::{Marked, Together},
    turns::{Callers, Turns},
    warm::WarmInstances,
};

/// What a workload gives to one of its components.
#[derive(Clone)]
pub struct GuestSpec {
    /// The workload, as `namespace/name`.
    pub workload: String,
    /// What the replicas of the workload have in common: the name of its deployment.
    pub app: String,
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
    /// Where it may send.
    pub egress: Arc<EgressPolicy>,
    /// The network within its workload.
    pub loopback: Loopback,
    /// The folders it has.
    pub mounts: Vec<Mount>,
    /// Where its lines go.
    pub log: Arc<dyn LogSink>,
}

/// What one member of a composition is given; that of a component alone as well.
pub(crate) struct Gift {
    pub(crate) spec: GuestSpec,
    pub(crate) slots: Vec<Option<Slot>>,
    pub(crate) network: Arc<Network>,
}

/// What comes with one request.
#[derive(Clone, Debug)]
pub struct CallInfo {
    /// What it is known by.
    pub origin: Origin,
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
    threads: Arc<Threads>,
    compiled: Compiled,
    pre: Option<Pre>,
    spec: GuestSpec,
    /// What its members are given, its own first.
    members: Vec<(Arc<dyn LogSink>, Arc<Given>)>,
    names: Arc<[Named]>,
    neighbours: Arc<Neighbours>,
    admission: Admission,
    /// What its instances may use together.
    quota: Option<Arc<Quota>>,
    /// Calls one instance serves at a time.
    concurrency: u32,
    turns: Turns,
    warm: WarmInstances,
    shared: SharedInstances,
    open_files: Arc<OpenFiles>,
    /// Its instances that have something to do.
    at_work: TaskTracker,
    /// Cancelled when what goes on after its calls has to end.
    over: CancellationToken,
    pub(crate) counters: Arc<Counters>,
}

/// What all guests of an engine share.
pub(crate) struct Machine {
    pub(crate) engine: wasmtime::Engine,
    pub(crate) threads: Arc<Threads>,
    pub(crate) callers: Arc<Callers>,
    pub(crate) neighbours: Arc<Neighbours>,
}

impl Guest {
    pub(crate) fn new(
        machine: Machine,
        compiled: Compiled,
        pre: Option<Pre>,
        spec: GuestSpec,
        members: Vec<Gift>,
        names: Vec<Named>,
    ) -> Self {
        let limits = &spec.limits;
        let at_a_time = concurrency(&spec.pool, &compiled);
        let places = match spec.pool.size {
            0 => limits.max_in_flight,
            size => limits.max_in_flight.min(size.saturating_mul(at_a_time)),
        };
        let admission = Admission::new(places, limits.queue, limits.queue_timeout);
        let counters = Arc::<Counters>::default();
        let quota = limits.cpu_millis.map(|millis| Arc::new(Quota::new(millis)));
        let members = members
            .into_iter()
            .map(|gift| gift.for_instances(&counters));
        let members = members.collect();
        let inner = Arc::new(GuestInner {
            engine: machine.engine,
            threads: machine.threads,
            compiled,
            pre,
            spec,
            members,
            names: names.into(),
            neighbours: machine.neighbours,
            admission,
            quota,
            concurrency: at_a_time,
            turns: Turns::new(machine.callers),
            warm: WarmInstances::default(),
            shared: SharedInstances::default(),
            open_files: Arc::default(),
            at_work: TaskTracker::new(),
            over: CancellationToken::new(),
            counters,
        });
        inner.neighbours.add(&inner);
        Self(inner)
    }

    /// The version of `wasi:http` it serves, if any.
    pub fn http(&self) -> Option<HttpVersion> {
        self.0.http()
    }

    /// The interfaces it exports.
    pub fn exports(&self) -> &[InterfaceName] {
        self.0.compiled.exports()
    }

    /// The version of `wasmcloud:messaging/handler` it exports, if any.
    pub fn messaging(&self) -> Option<MessagingVersion> {
        self.0.messaging()
    }

    /// Whether it exports `wasi:keyvalue/watcher`.
    pub fn watches(&self) -> bool {
        self.0.compiled.watches()
    }

    /// Its limits.
    pub fn limits(&self) -> &Limits {
        self.0.limits()
    }

    /// Calls it takes at a time, as its pool and its limits have it.
    pub fn places(&self) -> u32 {
        self.0.admission.places()
    }

    /// Its counters.
    pub fn stats(&self) -> GuestStats {
        GuestStats {
            log_lines_dropped: self.0.members.iter().map(|(log, _)| log.dropped()).sum(),
            throttled: self.0.quota.as_ref().map_or(0, |quota| quota.waits()),
            egress: self.0.egress(),
            warm: self.0.idle(),
            ..self.0.counters.snapshot()
        }
    }

    /// Whether it has had so many calls in the current tick (a millisecond) that others, which had some lately,
    /// should go first.
    pub fn has_had_its_turn(&self) -> bool {
        let calls = self.0.counters.requests.load(Relaxed);
        self.0.turns.is_over(self.0.threads.ticker.ticks(), calls)
    }

    /// Waits until no call runs, and nothing that one has left to do. Nothing stops new calls from
    /// coming: that is the caller's doing.
    pub async fn drained(&self) {
        self.0.admission.drained().await;
        self.0.at_work.close();
        self.0.at_work.wait().await;
    }

    /// Ends what goes on after its calls, now and from here on. Calls end with those who wait for them.
    pub fn end(&self) {
        self.0.over.cancel();
    }

    /// Answers a request. The URI or the `Host` header names the authority.
    ///
    /// The guest runs inside this future, and then inside the body of the response: dropping either
    /// ends the call.
    pub fn handle(&self, request: http::Request<Body>, info: CallInfo) -> Handling {
        Handling::new(self.0.clone(), request, info)
    }

    /// Has it handle a message or a change.
    ///
    /// The guest runs inside this future: dropping it ends the call.
    pub fn deliver(&self, delivery: Delivery, info: CallInfo) -> Delivering {
        Delivering::new(self.0.clone(), delivery, info)
    }

    /// Has one instance handle messages one after the other, beginning none after it has computed for `turn`.
    ///
    /// The guest runs inside this future: dropping it ends the call.
    ///
    /// # Errors
    /// The messages, if each is to be delivered for itself: there are fewer than two, instances are not kept or
    /// serve several at a time, or calls often trap.
    pub fn deliver_together(
        &self,
        messages: Vec<Marked>,
        turn: Duration,
    ) -> Result<Together, Vec<Marked>> {
        let inner = &self.0;
        let is_kept = inner.pool().size > 0 && !inner.shares_instances();
        let is_p2 = inner.messaging() == Some(MessagingVersion::P2);
        let is_good = !inner.counters.recent_traps.are_often();
        match messages.as_slice() {
            [(Delivery::Message(_), origin), _, ..] if is_kept && is_p2 && is_good => {
                let origin = origin.clone();
                Ok(Together::new(inner.clone(), messages, origin, turn))
            }
            _ => Err(messages),
        }
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
        let driver = inner.driver(Box::pin(making), meter);
        let limit = inner.limits().request_timeout.unwrap_or(Duration::MAX);
        let instance = tokio::time::timeout(limit, driver)
            .await
            .unwrap_or(Err(CallError::Deadline))?;
        inner.give_back(instance);
        Ok(())
    }
}

impl Gift {
    fn for_instances(self, counters: &Arc<Counters>) -> (Arc<dyn LogSink>, Arc<Given>) {
        let Self {
            spec,
            slots,
            network,
        } = self;
        let given = Given {
            net: Arc::new(Net::new(spec.loopback, network.clone())),
            environment: spec.environment.into_iter().collect(),
            slots,
            network,
            mounts: spec.mounts,
            counters: counters.clone(),
        };
        (spec.log, Arc::new(given))
    }
}

impl GuestInner {
    /// What all its members sent out.
    fn egress(&self) -> EgressStats {
        let stats = self.members.iter().map(|(_, given)| given.network.stats());
        stats.reduce(EgressStats::and).unwrap_or_default()
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.spec.limits
    }

    pub(crate) fn http(&self) -> Option<HttpVersion> {
        self.compiled.http()
    }

    pub(crate) fn messaging(&self) -> Option<MessagingVersion> {
        self.compiled.messaging()
    }

    /// What runs guest code.
    pub(crate) fn driver<T>(
        &self,
        whole: Pin<Box<dyn Future<Output = T> + Send>>,
        meter: Arc<Meter>,
    ) -> Driver<T> {
        let begins_behind = self.counters.recent_traps.are_often();
        Driver::new(Metered::new(whole, meter), begins_behind)
    }

    pub(crate) fn pool(&self) -> &Pool {
        &self.spec.pool
    }

    /// Cancelled when what goes on after its calls has to end.
    pub(crate) fn over(&self) -> &CancellationToken {
        &self.over
    }

    /// Calls one instance serves at a time.
    pub(crate) fn concurrency(&self) -> u32 {
        self.concurrency
    }

    pub(crate) fn shares_instances(&self) -> bool {
        self.concurrency > 1
    }

    /// Hands a call to an instance that serves several.
    pub(crate) fn share(self: &Arc<Self>, job: Job, origin: Origin) -> SharedCall {
        self.shared.give(self, job, origin)
    }

    /// An instance that waits for work, or a store for a new one.
    pub(crate) fn take_seat(&self) -> Seat {
        match self.warm.take() {
            Some(instance) => Seat::Warm(instance),
            None => Seat::New(self.new_cell()),
        }
    }

    /// The instance of a seat, made now if it is a new one.
    pub(crate) async fn seated(&self, seat: Seat) -> Result<Instance, CallError> {
        match seat {
            Seat::Warm(instance) => Ok(instance),
            // Only who makes one has to have room for that.
            Seat::New(cell) => Box::pin(self.instantiate(cell)).await,
        }
    }

    async fn instantiate(&self, mut cell: Cell) -> Result<Instance, CallError> {
        let Some(pre) = &self.pre else {
            return Err(CallError::NotHttp);
        };
        let mut search = Search::new(self);
        let mut result = pre.instantiate(&mut cell.store).await;
        while search.again(&result).await {
            result = pre.instantiate(&mut cell.store).await;
        }
        let handlers = self.made(&mut cell, result)?;
        Ok(Instance {
            cell,
            handlers,
            calls: 0,
            over: None,
        })
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

    /// Its places and the queue before them.
    pub(crate) fn admission(&self) -> &Admission {
        &self.admission
    }

    /// Adds a line about one call to its log.
    pub(crate) fn log_line(&self, request_id: &str, text: &str) {
        self.spec.log.line(LogSource::Host, Some(request_id), text);
    }

    /// Counts a message that the guest has not handled, and writes its words to its log.
    pub(crate) fn refused(&self, request_id: &str, text: &str) {
        Counters::add(&self.counters.bad_answers);
        self.log_line(request_id, &format!("the message was not handled: {text}"));
    }

    pub(crate) fn takes(&self, delivery: &Delivery) -> bool {
        match delivery {
            Delivery::Message(_) => self.messaging().is_some(),
            Delivery::Change(_) => self.compiled.watches(),
        }
    }

    /// Counts a trap and writes it to the component's log, backtrace and all.
    pub(crate) fn trapped(&self, cell: &mut Cell, error: &wasmtime::Error) -> CallError {
        let ctx = cell.store.data_mut();
        let reason = TrapReason::of(error, ctx.limiter().memory_refused());
        self.counters.trap(reason);
        // Before anything of the store is gone.
        let _ = cell.trap.set(reason);
        let memory = ctx.limiter().memory_used();
        ctx.log_line(
            LogSource::Host,
            &format!(
                "trap ({}), {memory} bytes of memory in use:",
                reason.as_str()
            ),
        );
        for line in backtrace::text(error).lines() {
            ctx.log_line(LogSource::Host, line);
        }
        CallError::Trap { reason }
    }

    /// A store for a new instance.
    pub(crate) fn new_cell(&self) -> Cell {
        let members = self.members.iter().map(|(log, given)| {
            let log = InstanceLog::new(log.clone());
            (log, given.clone())
        });
        let (counters, open_files) = (self.counters.clone(), self.open_files.clone());
        let meter = Meter::new(&self.engine, self.threads.clone(), self.quota.clone());
        let meter = Arc::new(meter);
        let ctx = Ctx::new(
            &self.spec.limits,
            counters,
            open_files,
            members,
            self.names.clone(),
            meter.clone(),
        );
        let occupied = self.neighbours.occupy();
        Cell::new(&self.engine, ctx, meter, occupied, self.at_work.clone())
    }

    /// Whether an instance may serve no other call.
    pub(crate) fn is_used_up(&self, instance: &Instance) -> bool {
        let most = self.spec.pool.max_invocations;
        most != 0 && instance.calls >= most
    }

    /// Keeps an instance for the next call, or ends it when it is used up.
    pub(crate) fn give_back(self: &Arc<Self>, mut instance: Instance) {
        if self.spec.pool.size == 0 || self.is_used_up(&instance) {
            return;
        }
        instance.cell.rest();
        self.warm.put(self, instance);
        self.neighbours.has_idle();
    }

    pub(crate) fn shared(&self) -> &SharedInstances {
        &self.shared
    }

    pub(crate) fn warm(&self) -> &WarmInstances {
        &self.warm
    }

    pub(crate) fn neighbours(&self) -> &Neighbours {
        &self.neighbours
    }

    /// Its idle instances.
    pub(crate) fn idle(&self) -> u64 {
        self.warm.count() as u64
    }

    /// Ends one idle instance, for somebody who needs its room. Returns whether there was one.
    pub(crate) fn reclaim_idle(&self) -> bool {
        let instance = self.warm.take_oldest();
        if instance.is_some() {
            self.count_reclaimed(1);
        }
        instance.is_some()
    }

    /// Counts idle instances that were ended.
    pub(crate) fn count_reclaimed(&self, count: u64) {
        self.counters.instances_reclaimed.fetch_add(count, Relaxed);
    }
}

/// Calls one instance serves at a time: more than one only where instances are kept and all of its
/// handlers allow for it.
fn concurrency(pool: &Pool, compiled: &Compiled) -> u32 {
    let is_one_by_one = compiled.http() == Some(HttpVersion::P2)
        || compiled.messaging() == Some(MessagingVersion::P2)
        || compiled.watches();
    match pool.size {
        0 => 1,
        _ if is_one_by_one => 1,
        _ => pool.max_concurrency.max(1),
    }
}
