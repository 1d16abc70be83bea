//! The port from the control plane to hosts.
//!
//! State is handed over as watches of whole values, never as events: a reader that was slow or
//! away sees the newest value and has lost nothing.

use std::{collections::BTreeMap, pin::Pin, sync::Arc, time::SystemTime};

use async_trait::async_trait;
use futures::Stream;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::watch,
};

use crate::{Failure, HostId, HostInfo, PartMap, Workload, WorkloadId};

/// All hosts that report, by id.
pub type Hosts = watch::Receiver<Arc<BTreeMap<HostId, HostInfo>>>;

/// The state of every workload that was started and not forgotten, by id.
pub type StateMap = PartMap<WorkloadId, Arc<WorkloadState>>;

/// The newest states.
pub type States = watch::Receiver<StateMap>;

/// Lines of log, oldest first.
pub type LogStream = Pin<Box<dyn Stream<Item = LogLine> + Send>>;

/// A connection to a workload: bytes both ways.
pub trait Duplex: AsyncRead + AsyncWrite + Send {}
impl<T: AsyncRead + AsyncWrite + Send> Duplex for T {}

/// A boxed connection.
pub type ByteStream = Pin<Box<dyn Duplex>>;

/// How far a workload has come.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum Phase {
    /// Its images are being fetched.
    Pulling,
    /// Its components are being compiled, or loaded from the cache, and linked.
    Compiling,
    /// It serves.
    Running,
    /// Its service has failed and waits for its next start, or has begun again and is not up yet.
    /// The components serve all the same; it is not ready.
    Restarting(Failure),
    /// Its service ended well and it has nothing else to serve.
    Completed,
    /// It finishes its requests and goes. Once gone it leaves the map.
    Stopping,
    /// It does not run, and won't unless started again.
    Failed(Failure),
}

/// The state of one workload on its host.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct WorkloadState {
    /// The host it is on.
    pub host: HostId,
    /// How far it is.
    pub phase: Phase,
    /// Its components and service, in manifest order, the service last.
    pub components: Vec<ComponentState>,
    /// Things a user must know that don't stop it, as (CamelCase reason, message).
    pub warnings: Vec<(String, String)>,
}

/// The state of one component or service.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct ComponentState {
    /// Its name in the workload.
    pub name: String,
    /// Digest of its image once known.
    pub digest: Option<String>,
    /// How often it was started again: services after a failure; components never.
    pub restarts: u32,
    /// Whether it ended well and is not started again: services only.
    pub completed: bool,
    /// The last error it caused, without guest text that might hold a secret.
    pub last_error: Option<String>,
    /// Whether it exports `wasi:http/handler@0.3` (`Some("0.3")`) or `incoming-handler@0.2`
    /// (`Some("0.2")`).
    pub http: Option<String>,
}

/// Where a log line came from.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum LogSource {
    /// The guest's standard output.
    Stdout,
    /// The guest's standard error.
    Stderr,
    /// `wasi:logging`.
    Logging,
    /// The host, about the guest: traps, dropped lines.
    Host,
}

/// One line of a guest's log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogLine {
    /// When it was written.
    pub time: SystemTime,
    /// The component or service.
    pub component: String,
    /// Where it came from.
    pub source: LogSource,
    /// The request that was served, if any.
    pub request: Option<String>,
    /// The text, without the line's end.
    pub text: String,
}

/// Which log lines are wanted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LogQuery {
    /// Only of this component or service.
    pub component: Option<String>,
    /// Only the last so many of those kept.
    pub tail: Option<usize>,
    /// Only lines at or after this time.
    pub since: Option<SystemTime>,
    /// Whether to go on with new lines until the workload is gone.
    pub follow: bool,
}

/// The control plane's way to its hosts.
#[async_trait]
pub trait HostLink: Send + Sync {
    /// Starts a workload on a host. Returns at once; what becomes of it shows in
    /// [`states`](Self::states). Starting an id that is already there changes nothing, unless it
    /// has failed: then it is tried again.
    fn start(&self, host: &HostId, workload: Arc<Workload>);

    /// Stops a workload: it finishes its requests and leaves the map of states. Returns at once.
    /// An unknown id is not an error.
    fn stop(&self, host: &HostId, workload: &WorkloadId);

    /// The hosts that report.
    fn hosts(&self) -> Hosts;

    /// The workloads' states.
    fn states(&self) -> States;

    /// Log lines of one workload; ends at once for one that is unknown.
    async fn logs(&self, workload: &WorkloadId, query: LogQuery) -> LogStream;

    /// Opens a connection to the workload's HTTP entry, whatever its routes are. Fails with
    /// `NotConnected` if it does not serve.
    async fn connect(&self, workload: &WorkloadId) -> std::io::Result<ByteStream>;
}
