//! The composition: opens what each part needs, plugs the parts into each other, and takes them
//! apart again in order.

mod api;
mod host;
mod listen;
mod telemetry;
mod traces;

use std::{mem::take, path::Path, sync::Arc, time::Duration};

use kube::Client;
use tokio::{
    runtime::Handle,
    sync::mpsc,
    task::{JoinSet, spawn_blocking},
};
use tokio_util::sync::CancellationToken;
use waft_apiserver::ApiServer;
use waft_host::Host;
use waft_oci::Store;
use waft_operator::{Operator, OperatorConfig};

use crate::{
    admin::{self, Readiness},
    apply::{Applier, DEFAULT_NAMESPACE},
    connect::Workloads,
    data_dir::DataDir,
    event::{UpError, UpEvent},
    index::Index,
    manifest::{Manifests, load},
    options::UpOptions,
    projection::Projection,
    report::Report,
    watching::Watching,
};
use host::GuestRuntime;
use listen::Listeners;
use telemetry::GuestTelemetry;
use traces::Traces;

/// How long the operator may take to finish what it is at.
const PATIENCE: Duration = Duration::from_secs(5);

/// Namespace of the Host object.
const OPERATOR_NAMESPACE: &str = "default";

/// Runs the platform until told to stop: manifests are applied, requests are served, and what
/// happens is told as events. Runs on the tokio runtime it is called on; guests get their own.
///
/// Returns an error when it can't start, or when a manifest is refused; then nothing of the set was
/// applied. What fails later is told as an event, and the rest keeps serving.
pub async fn up(
    options: UpOptions,
    events: mpsc::Sender<UpEvent>,
    shutdown: CancellationToken,
) -> Result<(), UpError> {
    options.check()?;
    let working_dir = std::env::current_dir().map_err(|source| UpError::Io {
        path: ".".into(),
        source,
    })?;
    let manifests = tokio::select! {
        manifests = read(&options, &working_dir) => manifests?,
        () = shutdown.cancelled() => return Ok(()),
    };
    let data_dir = DataDir::open(options.data_dir.as_deref())?;
    let listeners = Listeners::bind(&options)?;
    let guests = GuestRuntime::start()?;
    tracing::debug!("manifests are read, listeners are open");
    let traces = options.traces.then(Traces::start).transpose()?;
    let (telemetry, telling) = match options.guest_telemetry {
        true => GuestTelemetry::start()?.unzip(),
        false => (None, None),
    };
    let (host, store) = host::open(
        &options,
        &working_dir,
        data_dir.path(),
        &manifests,
        &guests,
        traces.as_ref().map(Traces::tracer),
        telemetry,
    )?;
    tracing::debug!("the host is open");
    let index = Index::default();
    let connect = Workloads {
        link: host.clone(),
        index: index.clone(),
    };
    let server = api::open(&options, data_dir.path(), connect).await?;
    tracing::debug!("the API is open and has our definitions");
    let platform = Platform {
        client: Client::new(server.service(), "default"),
        server: server.clone(),
        host,
        store,
        index,
        events,
        shutdown,
        stop: CancellationToken::new(),
        operator_ended: CancellationToken::new(),
        readiness: Readiness::default(),
        tasks: JoinSet::new(),
    };
    let done = platform
        .run(
            &options,
            &working_dir,
            data_dir.path(),
            manifests,
            listeners,
        )
        .await;
    server.shut_down();
    if let Some(telling) = telling {
        telling.end().await;
    }
    if let Some(traces) = traces {
        traces.end().await;
    }
    done
}

/// Reads the sources, on a thread of its own: standard input, a pipe or a slow disk may hold it for
/// as long as they like, and whoever wants to stop must be heard meanwhile.
async fn read(options: &UpOptions, working_dir: &Path) -> Result<Manifests, UpError> {
    let (sources, folder) = (options.sources.clone(), working_dir.to_owned());
    let runtime = Handle::current();
    let reading = spawn_blocking(move || runtime.block_on(load(&sources, &folder)));
    match reading.await {
        Ok(manifests) if options.sources.is_empty() => Ok(manifests?),
        Ok(manifests) => Ok(manifests?.not_empty()?.each_once(DEFAULT_NAMESPACE)?),
        Err(error) => Err(UpError::Internal(error.to_string())),
    }
}

/// The parts, once they are open.
struct Platform {
    client: Client,
    server: Arc<ApiServer>,
    host: Arc<Host>,
    store: Store,
    index: Index,
    events: mpsc::Sender<UpEvent>,
    /// The user wants it to end.
    shutdown: CancellationToken,
    /// Requests are finished: whoever serves the platform itself ends.
    stop: CancellationToken,
    /// The operator has finished what it was at.
    operator_ended: CancellationToken,
    readiness: Readiness,
    /// What runs until the end. Whatever ends earlier has failed.
    tasks: JoinSet<Result<(), UpError>>,
}

impl Platform {
    async fn run(
        mut self,
        options: &UpOptions,
        working_dir: &std::path::Path,
        data_dir: &std::path::Path,
        mut manifests: Manifests,
        listeners: Listeners,
    ) -> Result<(), UpError> {
        let mut applier = Applier::new(self.client.clone());
        // Before anything runs: a set that is refused must leave no trace.
        let checked = applier.check(take(&mut manifests.objects)).await?;
        tracing::debug!("the manifests are accepted");
        if self.shutdown.is_cancelled() {
            applier.withdraw(&checked).await;
            return Ok(());
        }

        let Listeners { http, api, admin } = listeners;
        let http_address = listen::address(&http)?;
        self.serve_api(api, data_dir).await?;
        self.serve_admin(admin).await?;
        self.start_controllers(http)?;
        tracing::debug!("everything runs");
        self.tell(UpEvent::HttpReady {
            address: http_address,
        })
        .await;
        for applied in applier.apply(&checked, &self.shutdown).await? {
            let object = applied.object.to_string();
            let change = applied.change;
            self.tell(UpEvent::Applied { object, change }).await;
        }
        if self.shutdown.is_cancelled() {
            self.finish(options).await;
            return Ok(());
        }
        if options.watch {
            let watching = Watching::start(
                &options.sources,
                working_dir,
                &manifests,
                &checked,
                &mut applier,
            )
            .await?;
            let (events, shutdown) = (self.events.clone(), self.shutdown.clone());
            self.tasks.spawn(async move {
                watching.run(applier, events, shutdown).await;
                Ok(())
            });
        }
        // Thousands of them are many megabytes, and nobody reads them again.
        drop((checked, manifests));
        self.readiness.set(true);
        tracing::debug!("the manifests are applied");
        self.tell(UpEvent::Started).await;
        let done = tokio::select! {
            () = self.shutdown.cancelled() => Ok(()),
            Some(ended) = self.tasks.join_next() => Err(early_end(ended)),
        };
        self.finish(options).await;
        done
    }

    /// Opens the Kubernetes API to the outside, and writes the kubeconfig.
    async fn serve_api(
        &mut self,
        listener: std::net::TcpListener,
        data_dir: &std::path::Path,
    ) -> Result<(), UpError> {
        let address = listen::address(&listener)?;
        let (access, kubeconfig) = api::access(address, data_dir)?;
        let listener = listen::to_tokio(listener)?;
        let server = self.server.clone();
        self.tasks.spawn(async move {
            server
                .serve(listener, &access)
                .await
                .map_err(api::no_access)
        });
        let url = format!("https://{}", api::reached(address));
        self.tell(UpEvent::ApiReady { url, kubeconfig }).await;
        Ok(())
    }

    async fn serve_admin(&mut self, listener: std::net::TcpListener) -> Result<(), UpError> {
        let address = listen::address(&listener)?;
        let listener = listen::to_tokio(listener)?;
        let serving = admin::serve(
            listener,
            self.host.clone(),
            self.readiness.clone(),
            self.stop.clone(),
        );
        self.tasks.spawn(async move {
            let done = serving.await;
            done.map_err(|error| UpError::Internal(format!("the admin listener failed: {error}")))
        });
        self.tell(UpEvent::AdminReady { address }).await;
        Ok(())
    }

    /// Starts the operator, the router, the projection and the report.
    fn start_controllers(&mut self, http: std::net::TcpListener) -> Result<(), UpError> {
        let operator = Operator::new(
            self.client.clone(),
            self.host.clone(),
            Arc::new(self.store.clone()),
            OperatorConfig {
                operator_namespace: OPERATOR_NAMESPACE.into(),
            },
        );
        let routes = operator.routes();
        let http_address = listen::address(&http)?;
        // Before the operator, which reports the port in statuses.
        self.host
            .serve_http(http, routes.clone())
            .map_err(|error| UpError::Internal(format!("HTTP can't be served: {error}")))?;
        let (stop, ended) = (self.stop.clone(), self.operator_ended.clone().drop_guard());
        self.tasks.spawn(async move {
            operator.run(stop).await;
            drop(ended);
            Ok(())
        });
        let projection = Projection::new(
            self.client.clone(),
            self.index.clone(),
            waft_ir::HostLink::states(&*self.host),
            self.events.clone(),
        );
        self.tasks.spawn(async move {
            projection.run().await;
            Ok(())
        });
        let report = Report {
            client: self.client.clone(),
            host: self.host.clone(),
            routes,
            index: self.index.clone(),
            http: http_address,
        };
        let events = self.events.clone();
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            report.run(events).await;
            // Nobody listens any more; that is no failure.
            stop.cancelled().await;
            Ok(())
        });
        Ok(())
    }

    /// Ends in order: no new requests, those in flight are finished, then the rest.
    async fn finish(mut self, options: &UpOptions) {
        self.readiness.set(false);
        // A terminal that is paused must not keep the platform from ending.
        let _ = self.events.try_send(UpEvent::Stopping);
        self.host.drain(options.grace).await;
        self.stop.cancel();
        // It still needs the API for that.
        let _ = tokio::time::timeout(PATIENCE, self.operator_ended.cancelled()).await;
        self.server.shut_down();
        self.tasks.shutdown().await;
        self.host.remove_volumes();
    }

    async fn tell(&self, event: UpEvent) {
        // Nobody listening is no reason not to serve.
        let _ = self.events.send(event).await;
    }
}

/// Why a part that should have run to the end did not.
fn early_end(ended: Result<Result<(), UpError>, tokio::task::JoinError>) -> UpError {
    match ended {
        Ok(Err(error)) => error,
        Ok(Ok(())) => UpError::Internal("a part of the platform ended by itself".into()),
        Err(error) => UpError::Internal(format!("a part of the platform failed: {error}")),
    }
}
