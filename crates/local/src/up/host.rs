//! The host of this process: its engine, its images, and the runtime its guests run on.

use std::{path::Path, sync::Arc, time::Duration};

use opentelemetry_sdk::trace::SdkTracer;
use tokio::runtime::{Builder, Handle, Runtime};
use uuid::Uuid;
use waft_api::names::LABEL_HOSTGROUP;
use waft_capabilities::{Backends, Capabilities, S3Server, Telemetry};
use waft_host::{Host, HostConfig};
use waft_ir::{Failure, HostId};
use waft_oci::{FileRoots, Mirror, Store, StoreConfig};
use waft_runtime::{Engine, EngineBuilder, EngineConfig};

use crate::{event::UpError, folders, manifest::Manifests, options::UpOptions};

/// How long a workload that is replaced or deleted may go on with its requests.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// The runtime of guests and their connections, apart from the one of the control plane: a guest
/// that is busy delays no controller. Dropping it ends whatever runs on it.
pub(super) struct GuestRuntime(Option<Runtime>);

impl GuestRuntime {
    /// Starts its threads.
    pub(super) fn start() -> Result<Self, UpError> {
        let runtime = Builder::new_multi_thread()
            .thread_name("waft-guest")
            .enable_all()
            .build()
            .map_err(|error| UpError::Internal(format!("no threads for guests: {error}")))?;
        Ok(Self(Some(runtime)))
    }

    fn handle(&self) -> Result<Handle, UpError> {
        let runtime = self.0.as_ref().map(Runtime::handle);
        let gone = || UpError::Internal("the runtime of guests is gone".into());
        runtime.cloned().ok_or_else(gone)
    }
}

impl Drop for GuestRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // Waiting for it is not allowed on another runtime, and it was drained before.
            runtime.shutdown_background();
        }
    }
}

/// Opens the host and the images.
pub(super) fn open(
    options: &UpOptions,
    working_dir: &Path,
    data_dir: &Path,
    manifests: &Manifests,
    guests: &GuestRuntime,
    tracer: Option<SdkTracer>,
    telemetry: Option<Telemetry>,
) -> Result<(Arc<Host>, Store), UpError> {
    let mut config = StoreConfig::new(options.cache_dir.join("images"), working_dir);
    config.roots = FileRoots {
        working_dir: working_dir.into(),
        manifest_dirs: folders::remember(data_dir, &manifests.folders)?,
        extra: options.file_roots.clone(),
    };
    for (host, url) in &options.registry_mirrors {
        let mirror = format!("{host}={url}").parse::<Mirror>();
        let mirror = mirror.map_err(|error| UpError::Internal(error.to_string()))?;
        config.mirrors.push(mirror);
    }
    let store = Store::new(config).map_err(|failure| UpError::Cache(failure.message))?;
    let variable = |name: &str| std::env::var(name).ok();
    let s3 = options.s3.as_deref();
    let s3 = s3.map(|url| S3Server::new(url, variable));
    let capabilities = Capabilities::new(Backends {
        data_dir: Some(data_dir.to_path_buf()),
        nats: options.nats.clone(),
        redis: options.redis.clone(),
        s3: s3.transpose().map_err(failed)?,
        postgres: options.postgres.clone(),
        extra_ca: options.outbound_ca.clone(),
        telemetry,
    })
    .map_err(failed)?;
    let engine = engine(options, &capabilities)?;
    let mut labels = options.host_labels.clone();
    labels
        .entry(LABEL_HOSTGROUP.into())
        .or_insert_with(|| "default".into());
    let config = HostConfig {
        id: HostId(Uuid::new_v4().to_string()),
        name: machine_name(),
        hostname: options.http.ip().to_string(),
        labels,
        environment: options.environment.clone(),
        log_dir: Some(data_dir.join("logs")),
        stop_grace: STOP_GRACE,
        allow_host_loopback: options.allow_host_loopback,
        volume_dir: Some(data_dir.join("volumes")),
        host_path_roots: options.host_path_roots.clone(),
        tracer,
        control_runtime: Handle::current(),
        guest_runtime: guests.handle()?,
    };
    let host = Host::new(config, engine, capabilities, store.clone()).map_err(|source| {
        UpError::DataDir {
            path: data_dir.join("logs"),
            source,
        }
    })?;
    Ok((host, store))
}

fn engine(options: &UpOptions, capabilities: &Capabilities) -> Result<Engine, UpError> {
    let mut builder = EngineBuilder::new(EngineConfig {
        cache_dir: Some(options.cache_dir.join("compiled")),
        extra_ca: options.outbound_ca.clone(),
        ..EngineConfig::default()
    });
    capabilities.register(&mut builder);
    builder.build().map_err(failed)
}

fn failed(failure: Failure) -> UpError {
    UpError::Internal(failure.message)
}

/// The machine's name as the kernel has it; empty where that can't be told.
pub(super) fn hostname() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default()
}

/// The machine's name as the name of an object: it stays the same when `waft up` is started again.
fn machine_name() -> String {
    let is_fine = |c: &char| c.is_ascii_alphanumeric() || *c == '-';
    let name: String = hostname()
        .to_lowercase()
        .chars()
        .filter(is_fine)
        .take(63)
        .collect();
    match name.trim_matches('-') {
        "" => "localhost".into(),
        name => name.into(),
    }
}
