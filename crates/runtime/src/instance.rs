//! One instance of a component: its store, what it exports, and how much of it is used up.

use std::{sync::Arc, time::Duration};

use wasmtime::{Engine, Store};
use wasmtime_wasi_http::{p2, p3};

use crate::{
    Ctx, HttpVersion,
    epoch::Meter,
    limits::{BYTES_PER_HOST_CALL, COMPONENT_HANDLES},
    room::Occupied,
};

/// A component with its imports resolved: instances are made from it without further look-ups.
#[derive(Clone)]
pub(crate) enum Pre {
    P2(p2::bindings::ProxyPre<Ctx>),
    P3(p3::bindings::ServicePre<Ctx>),
}

/// The exported handler of an instance.
pub(crate) enum Handler {
    P2(p2::bindings::Proxy),
    P3(p3::bindings::Service),
}

/// A store that holds no instance yet, or no longer one that works.
pub(crate) struct Cell {
    pub(crate) store: Store<Ctx>,
    pub(crate) meter: Arc<Meter>,
    /// Behind the store, so that there is room again when it says so.
    _occupied: Occupied,
}

/// An instance that can be called.
pub(crate) struct Instance {
    pub(crate) cell: Cell,
    pub(crate) handler: Handler,
    /// Calls it has served.
    pub(crate) calls: u32,
}

impl Pre {
    pub(crate) fn new(
        pre: wasmtime::component::InstancePre<Ctx>,
        version: HttpVersion,
    ) -> wasmtime::Result<Self> {
        Ok(match version {
            HttpVersion::P2 => Self::P2(p2::bindings::ProxyPre::new(pre)?),
            HttpVersion::P3 => Self::P3(p3::bindings::ServicePre::new(pre)?),
        })
    }

    pub(crate) async fn instantiate(&self, store: &mut Store<Ctx>) -> wasmtime::Result<Handler> {
        Ok(match self {
            Self::P2(pre) => Handler::P2(pre.instantiate_async(store).await?),
            Self::P3(pre) => Handler::P3(pre.instantiate_async(store).await?),
        })
    }
}

impl Cell {
    pub(crate) fn new(engine: &Engine, ctx: Ctx, meter: Meter, occupied: Occupied) -> Self {
        let mut store = Store::new(engine, ctx);
        store.limiter(|ctx| ctx.limiter());
        store.set_hostcall_fuel(BYTES_PER_HOST_CALL);
        store.set_max_component_handles(COMPONENT_HANDLES);
        let meter = Arc::new(meter);
        meter.watch(&mut store);
        Self {
            store,
            meter,
            _occupied: occupied,
        }
    }

    /// Makes the store ready for a call that may go on for as long as its workload does.
    pub(crate) fn begin_unbounded_call(&mut self) {
        self.begin_call(None, Duration::MAX);
    }

    /// Makes the store ready for a call: limits start anew, lines carry the request.
    pub(crate) fn begin_call(&mut self, request: Option<Arc<str>>, cpu_time: Duration) {
        self.meter.begin_call(cpu_time);
        self.store.set_epoch_deadline(1);
        self.store.data_mut().begin_call(request);
    }
}
