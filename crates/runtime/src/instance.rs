//! One instance of a component: its store, what it exports, and how much of it is used up.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};
use wasmtime::{Engine, Store, component::InstancePre};
use wasmtime_wasi_http::{p2, p3};

use crate::{
    Ctx, HttpVersion, MessagingVersion, Origin, TrapReason, changes,
    epoch::Meter,
    guest::GuestInner,
    limits::{BYTES_PER_HOST_CALL, COMPONENT_HANDLES},
    messages::{self, MessageHandler},
    room::Occupied,
};

/// A component with its imports resolved: instances are made from it without further look-ups.
#[derive(Clone)]
pub(crate) struct Pre {
    instance: InstancePre<Ctx>,
    http: Option<HttpIndices>,
    messages: Option<messages::Indices>,
    watcher: Option<changes::Indices>,
}

#[derive(Clone)]
enum HttpIndices {
    P2(p2::bindings::ProxyIndices),
    P3(p3::bindings::ServiceIndices),
}

/// What an instance exports that is called from outside.
pub(crate) struct Handlers {
    pub(crate) http: Option<HttpHandler>,
    pub(crate) messages: Option<MessageHandler>,
    pub(crate) watcher: Option<changes::Watcher>,
}

/// The exported HTTP handler of an instance.
pub(crate) enum HttpHandler {
    P2(p2::bindings::Proxy),
    P3(p3::bindings::Service),
}

/// Why the guest trapped in one call. Known before anything of its store is gone, which may take long,
/// to who waits for the call as well.
pub(crate) type Trap = Arc<OnceLock<TrapReason>>;

/// A store that holds no instance yet, or no longer one that works.
pub(crate) struct Cell {
    pub(crate) store: Store<Ctx>,
    pub(crate) meter: Arc<Meter>,
    pub(crate) trap: Trap,
    /// Behind the store, so that there is room again when it says so.
    _occupied: Occupied,
    /// Held while its guest has something to do; behind the store, so that nothing of it is left when
    /// this is given back.
    at_work: Option<TaskTrackerToken>,
    all_at_work: TaskTracker,
}

/// An instance that can be called.
pub(crate) struct Instance {
    pub(crate) cell: Cell,
    pub(crate) handlers: Handlers,
    /// Calls it has served.
    pub(crate) calls: u32,
    /// Made when it is first looked at.
    pub(crate) over: Option<CancellationToken>,
}

impl Instance {
    /// The guest's token that ends what goes on after its calls. An instance looks at one of its own, as
    /// others look at theirs at the same time.
    pub(crate) fn over(&mut self, guest: &GuestInner) -> CancellationToken {
        let own = || guest.over().child_token();
        self.over.get_or_insert_with(own).clone()
    }
}

impl Pre {
    /// `None` for a component that exports nothing that is called from outside.
    pub(crate) fn new(
        instance: InstancePre<Ctx>,
        http: Option<HttpVersion>,
        messages: Option<MessagingVersion>,
        watches: bool,
    ) -> wasmtime::Result<Option<Self>> {
        if http.is_none() && messages.is_none() && !watches {
            return Ok(None);
        }
        let http = match http {
            None => None,
            Some(HttpVersion::P2) => {
                Some(HttpIndices::P2(p2::bindings::ProxyIndices::new(&instance)?))
            }
            Some(HttpVersion::P3) => Some(HttpIndices::P3(p3::bindings::ServiceIndices::new(
                &instance,
            )?)),
        };
        let messages = messages.map(|version| messages::Indices::new(&instance, version));
        Ok(Some(Self {
            http,
            messages: messages.transpose()?,
            watcher: watches
                .then(|| changes::Indices::new(&instance))
                .transpose()?,
            instance,
        }))
    }

    pub(crate) async fn instantiate(&self, store: &mut Store<Ctx>) -> wasmtime::Result<Handlers> {
        let instance = self.instance.instantiate_async(&mut *store).await?;
        let http = match &self.http {
            None => None,
            Some(HttpIndices::P2(indices)) => {
                Some(HttpHandler::P2(indices.load(&mut *store, &instance)?))
            }
            Some(HttpIndices::P3(indices)) => {
                Some(HttpHandler::P3(indices.load(&mut *store, &instance)?))
            }
        };
        let messages = match &self.messages {
            None => None,
            Some(indices) => Some(indices.load(&mut *store, &instance)?),
        };
        let watcher = match &self.watcher {
            None => None,
            Some(indices) => Some(indices.load(store, &instance)?),
        };
        Ok(Handlers {
            http,
            messages,
            watcher,
        })
    }
}

impl Cell {
    pub(crate) fn new(
        engine: &Engine,
        mut ctx: Ctx,
        meter: Arc<Meter>,
        occupied: Occupied,
        all_at_work: TaskTracker,
    ) -> Self {
        if engine.pooling_allocator_metrics().is_none() {
            ctx.limiter().is_alone();
        }
        let mut store = Store::new(engine, ctx);
        store.limiter(|ctx| ctx.limiter());
        store.set_hostcall_fuel(BYTES_PER_HOST_CALL);
        store.set_max_component_handles(COMPONENT_HANDLES);
        meter.watch(&mut store);
        Self {
            store,
            meter,
            trap: Trap::default(),
            _occupied: occupied,
            at_work: None,
            all_at_work,
        }
    }

    /// Makes the store ready for a call that may go on for as long as its workload does.
    pub(crate) fn begin_unbounded_call(&mut self) {
        self.begin_call(None, Duration::MAX);
    }

    /// Makes the store ready for a call: limits start anew, lines carry the request.
    pub(crate) fn begin_call(&mut self, origin: Option<Origin>, cpu_time: Duration) {
        self.at_work = Some(self.all_at_work.token());
        // Who still holds that of the call before learns nothing of this one.
        if Arc::strong_count(&self.trap) > 1 {
            self.trap = Trap::default();
        }
        self.begin_limits(origin, cpu_time);
    }

    /// Makes the store ready for another message of the same call.
    pub(crate) fn begin_limits(&mut self, origin: Option<Origin>, cpu_time: Duration) {
        self.meter.begin_call(cpu_time);
        self.store.set_epoch_deadline(1);
        self.store.data_mut().begin_call(origin);
    }

    /// Its guest has nothing to do until the next call.
    pub(crate) fn rest(&mut self) {
        self.at_work = None;
    }
}
