//! The one store type: everything a host function may need, each at a fixed place.

use std::sync::Arc;

use http::HeaderName;
use waft_ir::{Limits, LogSource};
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{
    DEFAULT_FORBIDDEN_HEADERS, Error, ForbiddenHeaderFilter, RequestOptions, WasiBody, WasiHttpCtx,
    WasiHttpCtxView, WasiHttpHooks, WasiHttpView,
};

use crate::{
    CapabilityId,
    capability::Slot,
    files::{Mount, Quotas},
    limits::{HEADER_MAP_BYTES, Limiter, RANDOM_BYTES_PER_CALL, RESOURCE_TABLE_ENTRIES},
    log::{InstanceLog, LineStream},
    outgoing::{self, Network, Sending},
    sockets::Net,
    stats::Counters,
};

/// The state of one instance.
pub struct Ctx {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    hooks: Hooks,
    table: ResourceTable,
    limiter: Limiter,
    log: Arc<InstanceLog>,
    output: [LineStream; 2],
    quotas: Quotas,
    given: Arc<Given>,
}

/// What all instances of one guest share: it is never copied for a request.
pub(crate) struct Given {
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) slots: Vec<Option<Slot>>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) network: Arc<Network>,
    pub(crate) net: Arc<Net>,
    pub(crate) mounts: Vec<Mount>,
}

/// What `wasi:http` asks its host: which headers are the host's own, and where requests go.
struct Hooks {
    network: Arc<Network>,
    log: Arc<InstanceLog>,
}

impl Ctx {
    /// The state of a new instance: no files, no network, no arguments.
    pub(crate) fn new(limits: &Limits, log: Arc<InstanceLog>, given: Arc<Given>) -> Self {
        let output =
            [LogSource::Stdout, LogSource::Stderr].map(|of| LineStream::new(log.clone(), of));
        let mut wasi = WasiCtxBuilder::new();
        wasi.stdout(output[0].clone())
            .stderr(output[1].clone())
            .max_random_size(RANDOM_BYTES_PER_CALL)
            // Nothing could be done with a socket, and each would take a descriptor of the host.
            .allow_tcp(false)
            .allow_udp(false);
        for mount in &given.mounts {
            if let Err(error) = mount.open(&mut wasi) {
                log.line(
                    LogSource::Host,
                    &format!("the volume at {} can't be opened: {error}", mount.path),
                );
            }
        }
        let wasi = wasi.build();
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(HEADER_MAP_BYTES);
        let mut table = ResourceTable::new();
        table.set_max_capacity(RESOURCE_TABLE_ENTRIES);
        Self {
            wasi,
            http,
            hooks: Hooks {
                network: given.network.clone(),
                log: log.clone(),
            },
            table,
            limiter: Limiter::new(limits, given.counters.clone()),
            log,
            output,
            quotas: Quotas::default(),
            given,
        }
    }

    /// What a capability keeps for this guest. `None` when the guest was not granted it.
    pub fn slot<T: Send + Sync + 'static>(&self, id: CapabilityId) -> Option<&T> {
        self.given.slots[id.index()].as_ref()?.downcast_ref()
    }

    /// The resources of this instance.
    pub fn table(&mut self) -> &mut ResourceTable {
        &mut self.table
    }

    /// Adds a line to the component's log, marked with the request being served.
    pub fn log_line(&self, source: LogSource, text: &str) {
        self.log.line(source, text);
    }

    /// The network of the instance.
    pub(crate) fn net(&self) -> &Arc<Net> {
        &self.given.net
    }

    pub(crate) fn mounts(&self) -> &[Mount] {
        &self.given.mounts
    }

    pub(crate) fn quotas(&mut self) -> &mut Quotas {
        &mut self.quotas
    }

    pub(crate) fn environment(&self) -> &[(String, String)] {
        &self.given.environment
    }

    pub(crate) fn limiter(&mut self) -> &mut Limiter {
        &mut self.limiter
    }

    pub(crate) fn begin_call(&mut self, request: Option<Arc<str>>) {
        self.limiter.begin_call();
        self.log.set_request(request);
    }

    /// Marks the lines from here on.
    pub(crate) fn set_request(&self, request: Option<Arc<str>>) {
        self.log.set_request(request);
    }

    /// Passes on lines that the guest began and did not end.
    pub(crate) fn end_call(&mut self) {
        for stream in &self.output {
            stream.end_line();
        }
    }
}

impl WasiView for Ctx {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

impl WasiHttpView for Ctx {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView {
            hooks: &mut self.hooks,
            table: &mut self.table,
            ctx: &mut self.http,
        }
    }
}

impl WasiHttpHooks for Hooks {
    fn is_forbidden_header(&mut self, name: &HeaderName) -> bool {
        is_forbidden(name)
    }

    fn forbidden_header_filter(&mut self) -> ForbiddenHeaderFilter {
        Arc::new(is_forbidden)
    }

    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Sending {
        outgoing::send(&self.network, &self.log, request, options)
    }
}

fn is_forbidden(name: &HeaderName) -> bool {
    DEFAULT_FORBIDDEN_HEADERS.contains(name)
}
