//! One workload's way from its images to requests: fetch, compile, link, and serve.

use std::sync::Arc;

use futures::future::try_join_all;
use waft_ir::{Component, Failure, FailureReason, Phase, Workload};
use waft_oci::Store;
use waft_runtime::{Compiled, Engine, Guest, GuestSpec};

use crate::{
    log::{Sink, WorkloadLog},
    running::RunningWorkload,
    states::StateBoard,
};

/// What starting needs.
pub(crate) struct Starter {
    pub(crate) engine: Engine,
    pub(crate) store: Store,
    pub(crate) states: Arc<StateBoard>,
    /// Where guests run, the code of their start included.
    pub(crate) guest_runtime: tokio::runtime::Handle,
}

impl Starter {
    /// Brings a workload up. Dropping the future gives up; what other workloads share with it goes
    /// on.
    pub(crate) async fn start(
        &self,
        workload: &Workload,
        log: &WorkloadLog,
    ) -> Result<RunningWorkload, Failure> {
        if let Some(service) = &workload.service {
            return Err(Failure::new(
                FailureReason::NotSupportedYet,
                format!("service `{}`: services are not served yet", service.name),
            ));
        }
        let pulls = workload.components.iter().enumerate();
        let images = try_join_all(pulls.map(async |(position, component)| {
            let fetched = self.store.fetch(&component.image).await;
            let fetched = fetched.map_err(|failure| about(component, failure))?;
            self.states.update(&workload.id, |state| {
                if let Some(state) = state.components.get_mut(position) {
                    state.digest = Some(fetched.digest.clone());
                }
            });
            Ok::<_, Failure>(fetched.bytes)
        }))
        .await?;

        self.states
            .update(&workload.id, |state| state.phase = Phase::Compiling);
        let loads = workload.components.iter().zip(images);
        let compiled = try_join_all(loads.map(async |(component, bytes)| {
            let loaded = self.engine.load(bytes, &component.image.reference).await;
            loaded.map_err(|failure| about(component, failure))
        }))
        .await?;
        self.states.update(&workload.id, |state| {
            for (state, compiled) in state.components.iter_mut().zip(&compiled) {
                state.http = compiled.http().map(|version| version.as_str().into());
            }
        });
        let serving = http_component(workload, &compiled)?;

        let links = workload.components.iter().zip(&compiled).enumerate();
        let guests = try_join_all(links.map(async |(position, (component, compiled))| {
            let linked = self.link(workload, position, compiled, log).await;
            linked.map_err(|failure| about(component, failure))
        }))
        .await?;
        let component = &workload.components[serving];
        Ok(RunningWorkload::new(
            workload.id.clone(),
            workload.key().into(),
            (serving, component.name.as_str().into()),
            guests[serving].clone(),
            component.limits.clone(),
        ))
    }

    async fn link(
        &self,
        workload: &Workload,
        position: usize,
        compiled: &Compiled,
        log: &WorkloadLog,
    ) -> Result<Guest, Failure> {
        let component = &workload.components[position];
        let spec = GuestSpec {
            workload: workload.key(),
            component: component.name.clone(),
            pool: component.pool,
            limits: component.limits.clone(),
            environment: component.resources.environment.clone(),
            config: component.resources.config.clone(),
            grants: workload.grants.clone(),
            log: Arc::new(Sink(log.component(position))),
        };
        let (engine, compiled) = (self.engine.clone(), compiled.clone());
        let linking = self
            .guest_runtime
            .spawn(async move { engine.link(&compiled, spec).await });
        linking.await.unwrap_or_else(|_| {
            Err(Failure::new(
                FailureReason::Internal,
                "the host failed while it linked the component: please report this",
            ))
        })
    }
}

/// The one component that serves HTTP.
fn http_component(workload: &Workload, compiled: &[Compiled]) -> Result<usize, Failure> {
    let with_http: Vec<usize> = (0..compiled.len())
        .filter(|at| compiled[*at].http().is_some())
        .collect();
    let names = |positions: &[usize]| {
        let names = positions.iter().map(|at| &workload.components[*at].name);
        names
            .map(|name| format!("`{name}`"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    match with_http[..] {
        [one] => Ok(one),
        [] => {
            let all: Vec<usize> = (0..compiled.len()).collect();
            Err(Failure::new(
                FailureReason::MissingExport,
                format!(
                    "no component of the workload ({}) exports an HTTP handler: one must export \
                     `wasi:http/incoming-handler@0.2` or `wasi:http/handler@0.3`",
                    names(&all)
                ),
            ))
        }
        _ => Err(Failure::new(
            FailureReason::LinkFailed,
            format!(
                "components {} all export an HTTP handler, and a workload serves HTTP with one: \
                 give each its own WorkloadDeployment",
                names(&with_http)
            ),
        )),
    }
}

/// A failure that names its component and image.
fn about(component: &Component, failure: Failure) -> Failure {
    let reference = &component.image.reference;
    let image = if failure.message.contains(reference.as_str()) {
        String::new()
    } else {
        format!(" ({reference})")
    };
    Failure::new(
        failure.reason,
        format!("component `{}`{image}: {}", component.name, failure.message),
    )
}
