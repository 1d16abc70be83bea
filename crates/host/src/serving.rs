//! What the request path shares with the workloads' lifecycle. Each part is read without a lock.

use std::{collections::BTreeMap, sync::Arc};

use opentelemetry_sdk::trace::SdkTracer;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use waft_ir::{HostId, WorkloadId};

use crate::{
    event::Events,
    http::Router,
    messages::Worker,
    reason::Reason,
    running::{Counters, RunningMap, RunningWorkload},
    service::Service,
    states::StateBoard,
};

pub(crate) struct Serving {
    pub(crate) router: Arc<Router>,
    pub(crate) running: RunningMap,
    pub(crate) events: Arc<Events>,
    /// Makes the spans of requests, where they are wanted.
    pub(crate) tracer: Option<SdkTracer>,
    /// Counts requests that no workload got.
    pub(crate) unrouted: Arc<Counters>,
    pub(crate) states: Arc<StateBoard>,
    /// Services that run, for their counters; no request looks here.
    services: Mutex<BTreeMap<WorkloadId, Arc<Service>>>,
    /// Components that take messages, for their counters.
    workers: Mutex<BTreeMap<WorkloadId, Vec<Arc<Worker>>>>,
}

impl Serving {
    pub(crate) fn new(
        host: HostId,
        events: Arc<Events>,
        tracer: Option<SdkTracer>,
        control: Handle,
    ) -> Self {
        Self {
            router: Arc::new(Router::new(host)),
            running: RunningMap::default(),
            events,
            tracer,
            unrouted: Arc::default(),
            states: StateBoard::new(control),
            services: Mutex::default(),
            workers: Mutex::default(),
        }
    }

    /// Lets a workload get requests.
    pub(crate) fn admit(&self, workload: &Arc<RunningWorkload>) {
        self.running.insert(workload);
    }

    /// Keeps new requests from a workload.
    pub(crate) fn retire(&self, workload: &RunningWorkload) {
        self.running.remove(&workload.id);
    }

    /// Counts a service in.
    pub(crate) fn add_service(&self, service: &Arc<Service>) {
        let id = service.workload.clone();
        self.services.lock().insert(id, service.clone());
    }

    /// Counts the service of a workload out, if it has one.
    pub(crate) fn remove_service(&self, workload: &WorkloadId) {
        self.services.lock().remove(workload);
    }

    /// The services that run.
    pub(crate) fn services(&self) -> Vec<Arc<Service>> {
        self.services.lock().values().cloned().collect()
    }

    /// Counts the components of a workload in that take messages.
    pub(crate) fn add_workers(&self, workload: &WorkloadId, workers: Vec<Arc<Worker>>) {
        if !workers.is_empty() {
            self.workers.lock().insert(workload.clone(), workers);
        }
    }

    /// Counts them out.
    pub(crate) fn remove_workers(&self, workload: &WorkloadId) {
        self.workers.lock().remove(workload);
    }

    /// The components that take messages.
    pub(crate) fn workers(&self) -> Vec<Arc<Worker>> {
        self.workers.lock().values().flatten().cloned().collect()
    }

    /// Puts an error of a workload into its state.
    pub(crate) fn report_error(&self, workload: &RunningWorkload, reason: Reason) {
        let text = format!("{}: {}", reason.as_str(), reason.text().trim_end());
        self.states.update(&workload.id, |state| {
            if let Some(component) = state.components.get_mut(workload.position) {
                component.last_error = Some(text);
            }
        });
    }
}
