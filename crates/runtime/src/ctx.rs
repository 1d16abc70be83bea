//! The one store type: everything a host function may need, each at a fixed place.

use std::sync::Arc;

use http::{HeaderMap, HeaderName};
use waft_ir::{Limits, LogSource};
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{
    DEFAULT_FORBIDDEN_HEADERS, Error, ForbiddenHeaderFilter, RequestOptions, WasiBody, WasiHttpCtx,
    WasiHttpCtxView, WasiHttpHooks, WasiHttpView,
};
use wasmtime_wasi_tls::{WasiTlsCtx, WasiTlsCtxView, WasiTlsView};

use crate::{
    CapabilityId, MEMBERS, Origin, Refusal, TraceContext,
    capability::Slot,
    epoch::Meter,
    files::{Mount, OpenFiles, Quotas},
    limits::{HEADER_MAP_BYTES, Limiter, RANDOM_BYTES_PER_CALL, RESOURCE_TABLE_ENTRIES},
    log::{InstanceLog, LineStream},
    outgoing::{self, Network, Sending},
    sockets::Net,
    stats::Counters,
    tls,
};

/// The state of one instance.
pub struct Ctx {
    /// One for a component alone; one for each member of a composition, the one that is called
    /// first.
    members: Vec<Member>,
    /// What is imported under names of their own.
    names: Arc<[Named]>,
    /// The member whose host call was the last to say so.
    current: usize,
    /// The name under which it was asked, by its place among `names`.
    name: Option<usize>,
    http: WasiHttpCtx,
    table: ResourceTable,
    limiter: Limiter,
    quotas: Quotas,
}

/// What one member of an instance has for itself.
struct Member {
    wasi: WasiCtx,
    hooks: Hooks,
    /// Made when it is first used.
    tls: Option<WasiTlsCtx>,
    log: Arc<InstanceLog>,
    output: [LineStream; 2],
    given: Arc<Given>,
}

/// What all instances of one guest share: it is never copied for a request.
pub(crate) struct Given {
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) slots: Vec<Option<Slot>>,
    pub(crate) network: Arc<Network>,
    pub(crate) net: Arc<Net>,
    pub(crate) mounts: Vec<Mount>,
    pub(crate) counters: Arc<Counters>,
}

/// What one import under a name of its own is given.
pub(crate) struct Named {
    /// The place of the member that imports it.
    pub(crate) member: usize,
    pub(crate) slots: Vec<Option<Slot>>,
}

/// What `wasi:http` asks its host: which headers are the host's own, and where requests go.
struct Hooks {
    network: Arc<Network>,
    log: Arc<InstanceLog>,
    counters: Arc<Counters>,
    /// Whether the headers that are looked at came from outside, and are no try of the guest.
    receives: bool,
}

impl Ctx {
    /// The state of a new instance of these members, the one that is called first.
    pub(crate) fn new(
        limits: &Limits,
        counters: Arc<Counters>,
        open_files: Arc<OpenFiles>,
        members: impl IntoIterator<Item = (Arc<InstanceLog>, Arc<Given>)>,
        names: Arc<[Named]>,
        meter: Arc<Meter>,
    ) -> Self {
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(HEADER_MAP_BYTES);
        let mut table = ResourceTable::new();
        table.set_max_capacity(RESOURCE_TABLE_ENTRIES);
        let members = members.into_iter();
        Self {
            members: members
                .map(|(log, given)| Member::new(log, given))
                .collect(),
            names,
            current: 0,
            name: None,
            http,
            table,
            quotas: Quotas::new(counters.clone(), open_files),
            limiter: Limiter::new(limits, counters, meter),
        }
    }

    /// The same store, for a call from this place: of a member of a composition, or by a name that
    /// one imports an interface under.
    pub fn of_place(&mut self, place: usize) -> &mut Self {
        self.name = place.checked_sub(MEMBERS);
        // Who is linked to a place has what is in it.
        self.current = self.name.map_or(place, |name| self.names[name].member);
        self
    }

    fn member(&self) -> &Member {
        // A composition has a member in each place that it names.
        &self.members[self.current]
    }

    /// What a capability keeps for this guest. `None` when the guest was not granted it.
    pub fn slot<T: Send + Sync + 'static>(&self, id: CapabilityId) -> Option<&T> {
        let slots = match self.name {
            Some(name) => &self.names[name].slots,
            None => &self.member().given.slots,
        };
        slots[id.index()].as_ref()?.downcast_ref()
    }

    /// The resources of this instance.
    pub fn table(&mut self) -> &mut ResourceTable {
        &mut self.table
    }

    /// Counts what the guest tried and was refused.
    pub fn count_refusal(&self, reason: Refusal) {
        self.member().given.counters.refuse(reason);
    }

    /// Takes in headers of somebody else: what of them is the host's own is left out, and nobody's
    /// fault.
    pub(crate) fn receive<T>(&mut self, take: impl FnOnce(WasiHttpCtxView<'_>) -> T) -> T {
        let current = self.current;
        self.members[current].hooks.receives = true;
        let taken = take(self.http());
        self.members[current].hooks.receives = false;
        taken
    }

    /// The trace of the call that is running. `None` when it has none, or when several calls run and
    /// it can't be told which of them asks.
    pub fn trace(&self) -> Option<TraceContext> {
        self.member().log.trace()
    }

    /// Adds a line to the component's log, marked with the request being served.
    pub fn log_line(&self, source: LogSource, text: &str) {
        self.member().log.line(source, text);
    }

    /// Counts the lines of a text's rest, which was too long to be added to the component's log.
    pub fn drop_log_rest(&self, rest: &str) {
        self.member().log.drop_rest(rest);
    }

    /// The network of the instance.
    pub(crate) fn net(&self) -> &Arc<Net> {
        &self.member().given.net
    }

    pub(crate) fn mounts(&self) -> &[Mount] {
        &self.member().given.mounts
    }

    pub(crate) fn quotas(&mut self) -> &mut Quotas {
        &mut self.quotas
    }

    pub(crate) fn environment(&self) -> &[(String, String)] {
        &self.member().given.environment
    }

    pub(crate) fn limiter(&mut self) -> &mut Limiter {
        &mut self.limiter
    }

    pub(crate) fn begin_call(&mut self, origin: Option<Origin>) {
        self.limiter.begin_call();
        let depth = origin.as_ref().map_or(0, |origin| origin.depth);
        self.set_origin(origin, depth);
    }

    /// Marks lines and outgoing requests from here on. `depth`: of the deepest of the calls that run.
    pub(crate) fn set_origin(&self, origin: Option<Origin>, depth: u8) {
        for member in &self.members {
            member.log.set_origin(origin.clone(), depth);
        }
    }

    /// Passes on lines that the guest began and did not end.
    pub(crate) fn end_call(&mut self) {
        for stream in self.members.iter().flat_map(|member| &member.output) {
            stream.end_line();
        }
        // What the host says of the instance is said of the one that was called.
        self.of_place(0);
    }
}

impl Member {
    /// Its folders, and no arguments.
    fn new(log: Arc<InstanceLog>, given: Arc<Given>) -> Self {
        let output =
            [LogSource::Stdout, LogSource::Stderr].map(|of| LineStream::new(log.clone(), of));
        let mut wasi = WasiCtxBuilder::new();
        wasi.stdout(output[0].clone())
            .stderr(output[1].clone())
            .max_random_size(RANDOM_BYTES_PER_CALL)
            // `wasi:sockets` is not wasmtime's.
            .allow_tcp(false)
            .allow_udp(false);
        for mount in &given.mounts {
            if let Err(error) = mount.open(&mut wasi) {
                let text = format!("the volume at {} can't be opened: {error}", mount.path);
                log.line(LogSource::Host, &text);
            }
        }
        Self {
            wasi: wasi.build(),
            hooks: Hooks {
                network: given.network.clone(),
                log: log.clone(),
                counters: given.counters.clone(),
                receives: false,
            },
            tls: None,
            log,
            output,
            given,
        }
    }
}

impl WasiView for Ctx {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.members[self.current].wasi,
            table: &mut self.table,
        }
    }
}

impl WasiHttpView for Ctx {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView {
            hooks: &mut self.members[self.current].hooks,
            table: &mut self.table,
            ctx: &mut self.http,
        }
    }
}

impl WasiTlsView for Ctx {
    fn tls(&mut self) -> WasiTlsCtxView<'_> {
        let member = &mut self.members[self.current];
        let network = &member.given.network;
        WasiTlsCtxView {
            ctx: member.tls.get_or_insert_with(|| tls::context(network)),
            table: &mut self.table,
        }
    }
}

impl WasiHttpHooks for Hooks {
    fn is_forbidden_header(&mut self, name: &HeaderName) -> bool {
        let forbidden = is_forbidden(name);
        if forbidden && !self.receives {
            self.counters.refuse(Refusal::Header);
        }
        forbidden
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

/// Leaves out the headers that are about one connection, before a guest takes them in.
pub(crate) fn strip_forbidden(headers: &mut HeaderMap) {
    for name in DEFAULT_FORBIDDEN_HEADERS {
        headers.remove(name);
    }
}
