//! `wasi:otel`: spans, logs and metrics of guests.
//!
//! What a guest says is written as OpenTelemetry has it on the wire, marked with whose it is, and
//! queued; sending is the business of whoever made the queue. Without one, the calls do nothing.

mod message;
mod queue;
mod size;

use std::{collections::HashSet, sync::Arc};

use opentelemetry_proto::tonic::{common::v1::KeyValue, resource::v1::Resource};
use prost::Message;
use tokio::sync::Semaphore;
use waft_ir::{CapabilityGrant, Failure, InterfaceName};
use waft_runtime::{Capability, CapabilityId, Ctx, GuestSpec, PLACES, Slot, views};
use wasmtime::component::{HasData, LinkerInstance};

use crate::slots::OTEL;

pub use queue::{Signal, Telemetry, TelemetryReceiver, Told};

mod bindings {
    wasmtime::component::bindgen!({
        path: "wit/otel",
        world: "wasi:otel/imports",
        imports: { default: trappable },
    });
}

use bindings::wasi::otel::{logs, metrics, tracing, types};

/// The `wasi:otel` capability.
#[derive(Clone)]
pub struct Otel(Option<Telemetry>);

/// What one guest is told by.
struct Teller {
    telemetry: Telemetry,
    /// Who it is.
    resource: Resource,
    /// Its own part of the queue.
    room: Arc<Semaphore>,
}

/// The store as a host call sees it.
struct View<'a>(&'a mut Ctx);

struct Getter;

impl HasData for Getter {
    type Data<'a> = View<'a>;
}

impl Otel {
    pub(crate) fn new(telemetry: Option<Telemetry>) -> Self {
        Self(telemetry)
    }
}

impl Capability for Otel {
    fn id(&self) -> CapabilityId {
        OTEL
    }

    fn interfaces(&self) -> Vec<InterfaceName> {
        crate::interfaces_of("wasi", "otel")
    }

    fn link(
        &self,
        instance: &mut LinkerInstance<'_, Ctx>,
        interface: &InterfaceName,
        place: usize,
    ) -> wasmtime::Result<()> {
        const VIEWS: [fn(&mut Ctx) -> View<'_>; PLACES] = views!(ctx => View(ctx));
        let view = VIEWS[place];
        match interface.interface.as_deref() {
            Some("types") => types::add_to_linker_instance::<Ctx, Getter>(instance, view),
            Some("tracing") => tracing::add_to_linker_instance::<Ctx, Getter>(instance, view),
            Some("logs") => logs::add_to_linker_instance::<Ctx, Getter>(instance, view),
            Some("metrics") => metrics::add_to_linker_instance::<Ctx, Getter>(instance, view),
            _ => Ok(()),
        }
    }

    fn own_interfaces(&self) -> Vec<InterfaceName> {
        let mut own = self.interfaces();
        own.retain(|name| name.interface.as_deref() != Some("types"));
        own
    }

    fn bind(&self, guest: &GuestSpec, _: &[&CapabilityGrant]) -> Result<Slot, Failure> {
        let teller = self.0.as_ref().map(|telemetry| Teller {
            telemetry: telemetry.clone(),
            resource: resource(guest, telemetry),
            room: queue::room_of_a_guest(),
        });
        Ok(Arc::new(teller))
    }
}

/// Who a guest is, and what is true of all that comes from this host.
fn resource(guest: &GuestSpec, telemetry: &Telemetry) -> Resource {
    let workload = guest.workload.as_str();
    let (namespace, workload) = workload.split_once('/').unwrap_or(("", workload));
    let own = [
        ("service.name", guest.app.as_str()),
        ("service.namespace", namespace),
        ("service.instance.id", workload),
        ("k8s.namespace.name", namespace),
        ("waft.workload", workload),
        ("waft.component", &guest.component),
    ];
    let own = own.map(|(key, value)| message::pair(key.into(), message::string(value)));
    let mut resource = Resource {
        attributes: own.into(),
        ..Resource::default()
    };
    add(&mut resource, telemetry.attributes());
    resource
}

/// Adds attributes that are not there yet.
fn add(resource: &mut Resource, more: impl Iterator<Item = KeyValue>) {
    let keys = resource.attributes.iter().map(|own| own.key.clone());
    let mut known: HashSet<String> = keys.collect();
    let new = more.filter(|pair| known.insert(pair.key.clone()));
    resource.attributes.extend(new);
}

impl Teller {
    /// The guest's resource, with what it says of itself. It can't say that it is somebody else.
    fn resource(&self, said: Option<types::Resource>) -> (Resource, String) {
        let mut resource = self.resource.clone();
        let Some(said) = said else {
            return (resource, String::new());
        };
        add(
            &mut resource,
            message::attributes(said.attributes).into_iter(),
        );
        (resource, said.schema_url.unwrap_or_default())
    }

    /// Whether there was room.
    fn tell(&self, signal: Signal, message: &impl Message) -> bool {
        self.telemetry.tell(signal, message, &self.room)
    }
}

impl View<'_> {
    fn teller(&self) -> Option<&Teller> {
        self.0.slot::<Option<Teller>>(OTEL)?.as_ref()
    }
}

impl types::Host for View<'_> {}

impl tracing::Host for View<'_> {
    fn on_start(&mut self, _: tracing::SpanContext) -> wasmtime::Result<()> {
        Ok(())
    }

    fn on_end(&mut self, span: tracing::SpanData) -> wasmtime::Result<()> {
        let Some(teller) = self.teller() else {
            return Ok(());
        };
        // What the guest's sampler left out is not sent.
        if !span
            .span_context
            .trace_flags
            .contains(tracing::TraceFlags::SAMPLED)
        {
            return Ok(());
        }
        let fits = size::of_span(&span) <= size::LARGEST;
        let (resource, _) = teller.resource(None);
        match fits.then(|| message::span(span, resource)).flatten() {
            Some(spans) => _ = teller.tell(Signal::Spans, &spans),
            None => teller.telemetry.count_dropped(),
        }
        Ok(())
    }

    fn outer_span_context(&mut self) -> wasmtime::Result<tracing::SpanContext> {
        let trace = self.0.trace();
        let read = trace
            .as_ref()
            .and_then(|trace| message::context(trace.parent(), trace.state()));
        // All zeros is no span, by the specification.
        Ok(read.unwrap_or_else(|| tracing::SpanContext {
            trace_id: "0".repeat(32),
            span_id: "0".repeat(16),
            trace_flags: tracing::TraceFlags::empty(),
            is_remote: false,
            trace_state: Vec::new(),
        }))
    }
}

impl logs::Host for View<'_> {
    fn on_emit(&mut self, mut record: logs::LogRecord) -> wasmtime::Result<()> {
        let Some(teller) = self.teller() else {
            return Ok(());
        };
        // A line that belongs to no trace belongs to that of its call.
        if record.trace_id.as_deref().unwrap_or_default().is_empty() {
            let trace = self.0.trace();
            let of = trace
                .as_ref()
                .and_then(|trace| message::context(trace.parent(), None));
            if let Some(of) = of {
                record.trace_flags = Some(of.trace_flags);
                (record.trace_id, record.span_id) = (Some(of.trace_id), Some(of.span_id));
            }
        }
        if size::of_log(&record) > size::LARGEST {
            teller.telemetry.count_dropped();
            return Ok(());
        }
        let (resource, schema) = teller.resource(record.resource.take());
        teller.tell(Signal::Logs, &message::log(record, resource, schema));
        Ok(())
    }
}

impl metrics::Host for View<'_> {
    fn export(
        &mut self,
        said: metrics::ResourceMetrics,
    ) -> wasmtime::Result<Result<(), metrics::Error>> {
        let Some(teller) = self.teller() else {
            return Ok(Ok(()));
        };
        if size::of_metrics(&said) > size::LARGEST {
            teller.telemetry.count_dropped();
            return Ok(Err(format!(
                "it has more than {} bytes of attributes",
                size::LARGEST
            )));
        }
        let (resource, schema) = teller.resource(Some(said.resource));
        let told = message::metrics(said.scope_metrics, resource, schema);
        let taken = teller.tell(Signal::Metrics, &told);
        let full = || "the host has no room for more telemetry".to_owned();
        Ok(taken.then_some(()).ok_or_else(full))
    }
}
