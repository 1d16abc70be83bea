//! The host: workloads by id, their state machine, and the [`HostLink`] over them.

use std::{
    collections::{BTreeMap, HashMap},
    future::pending,
    io,
    net::TcpListener,
    path::PathBuf,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures::{StreamExt, future::join_all};
use opentelemetry_sdk::trace::SdkTracer;
use parking_lot::Mutex;
use tokio::{
    runtime::Handle,
    sync::{Notify, Semaphore, broadcast, watch},
    time::{Instant, timeout, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use waft_capabilities::Capabilities;
use waft_ir::{
    ByteStream, ComponentState, Failure, HostId, HostInfo, HostLink, Hosts, LogQuery, LogStream,
    Phase, Routes, States, Workload, WorkloadId, WorkloadState,
};
use waft_oci::Store;
use waft_runtime::{Engine, Guest};

use crate::{
    event::{Event, Events},
    http::{self, Entry},
    info,
    lifecycle::{Started, Starter, Turns},
    log::{Logs, WorkloadLog},
    member::{Member, members},
    metrics,
    service::Health,
    serving::Serving,
    volumes::Volumes,
};

/// Bytes on their way through a connection made by [`HostLink::connect`].
const PIPE: usize = 64 << 10;

/// How long guests that were ended are waited for: one that computes ends at its next tick.
const ENDED_WITHIN: Duration = Duration::from_secs(1);

/// What a host is told about itself.
#[derive(Clone, Debug)]
pub struct HostConfig {
    /// Its id: never that of another host process.
    pub id: HostId,
    /// Name of its Host object.
    pub name: String,
    /// Name or address under which its HTTP port is reached.
    pub hostname: String,
    /// Labels of its Host object.
    pub labels: BTreeMap<String, String>,
    /// Its environment; `None` matches any.
    pub environment: Option<String>,
    /// Folder of the guests' log files. `None`: a little is kept in memory.
    pub log_dir: Option<PathBuf>,
    /// How long a workload that is stopped may go on with its requests.
    pub stop_grace: Duration,
    /// Whether guests may reach the ports of the machine's loopback that their manifest lists.
    pub allow_host_loopback: bool,
    /// Folder of ephemeral volumes; it is emptied. `None`: a folder of the system's for temporary
    /// files.
    pub volume_dir: Option<PathBuf>,
    /// Folders below which `hostPath` volumes may lie.
    pub host_path_roots: Vec<PathBuf>,
    /// Makes a span of each request. `None`: requests only pass on the trace that they name.
    pub tracer: Option<SdkTracer>,
    /// Where lifecycles and timers run.
    pub control_runtime: Handle,
    /// Where connections and guests run.
    pub guest_runtime: Handle,
}

/// Runs workloads and serves their HTTP.
pub struct Host {
    config: HostConfig,
    serving: Arc<Serving>,
    capabilities: Capabilities,
    /// The engine does not keep it.
    #[expect(dead_code, reason = "held for the engine")]
    inside: Arc<http::Inside>,
    starter: Starter,
    logs: Logs,
    info: watch::Sender<Arc<BTreeMap<HostId, HostInfo>>>,
    workloads: Mutex<HashMap<WorkloadId, Entered>>,
    connections: TaskTracker,
    /// One for each connection from outside.
    places: Arc<Semaphore>,
    stop_accepting: CancellationToken,
    draining: AtomicBool,
    /// For the tasks of workloads, which outlive the call that starts them.
    itself: Weak<Host>,
}

/// A workload that was started and has not gone.
struct Entered {
    log: Arc<WorkloadLog>,
    /// Ends the task that starts or runs it.
    stop: CancellationToken,
    /// Tries again after a failure.
    retry: Arc<Retry>,
}

/// A workload to start, and where its guests write to.
struct Wanted {
    workload: Arc<Workload>,
    log: Arc<WorkloadLog>,
}

/// What a workload that has failed is started with again.
#[derive(Default)]
struct Retry {
    wanted: Mutex<Option<Wanted>>,
    told: Notify,
}

impl Retry {
    /// Has it started again, as it is wanted now.
    fn tell(&self, wanted: Wanted) {
        *self.wanted.lock() = Some(wanted);
        self.told.notify_one();
    }

    /// Waits to be told.
    async fn next(&self) -> Wanted {
        loop {
            if let Some(wanted) = self.wanted.lock().take() {
                return wanted;
            }
            self.told.notified().await;
        }
    }
}

impl Host {
    /// Sets up a host that runs nothing and listens nowhere yet.
    ///
    /// `capabilities` are those that the engine has.
    pub fn new(
        config: HostConfig,
        engine: Engine,
        capabilities: Capabilities,
        store: Store,
    ) -> io::Result<Arc<Self>> {
        let events = Arc::new(Events::new());
        let logs = Logs::start(config.log_dir.clone(), events.clone())?;
        let serving = Arc::new(Serving::new(
            config.id.clone(),
            events,
            config.tracer.clone(),
            config.control_runtime.clone(),
        ));
        let inside = Arc::new(http::Inside(serving.clone()));
        let routes: Weak<http::Inside> = Arc::downgrade(&inside);
        engine.set_local_routes(routes);
        let volumes = Volumes::new(
            config.volume_dir.clone().unwrap_or_else(|| {
                std::env::temp_dir().join(format!("waft-volumes-{}", config.id))
            }),
            config.host_path_roots.clone(),
        )?;
        let first = info::read(&config, &capabilities);
        let host = Arc::new_cyclic(|itself| Self {
            itself: itself.clone(),
            starter: Starter {
                engine: engine.clone(),
                allow_host_loopback: config.allow_host_loopback,
                volumes,
                store,
                states: serving.states.clone(),
                guest_runtime: config.guest_runtime.clone(),
                turns: Turns::default(),
            },
            info: watch::Sender::new(Arc::new(BTreeMap::from([(config.id.clone(), first)]))),
            inside,
            serving,
            capabilities,
            logs,
            workloads: Mutex::default(),
            connections: TaskTracker::new(),
            places: http::places(),
            stop_accepting: CancellationToken::new(),
            draining: AtomicBool::new(false),
            config,
        });
        let refresh = info::refresh(host.itself.clone());
        host.config.control_runtime.spawn(refresh);
        Ok(host)
    }

    /// Serves HTTP on a listener, by the newest of these tables. Returns at once.
    pub fn serve_http(&self, listener: TcpListener, routes: Routes) -> io::Result<()> {
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let listener = {
            let _guard = self.config.guest_runtime.enter();
            tokio::net::TcpListener::from_std(listener)?
        };
        self.update_info(|info| info.http_port = Some(port));
        self.config
            .control_runtime
            .spawn(self.serving.router.clone().follow(routes));
        self.config.guest_runtime.spawn(http::accept(
            listener,
            self.serving.clone(),
            self.connections.clone(),
            self.places.clone(),
            self.stop_accepting.clone(),
        ));
        Ok(())
    }

    /// Guests' lines and requests from now on. A listener that is slow misses some.
    pub fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.serving.events.subscribe()
    }

    /// Counters in the text format of Prometheus.
    pub fn metrics(&self) -> String {
        metrics::text(&self.serving, self.capabilities.telemetry_dropped())
    }

    /// Ends in order: no new connections and workloads, the requests in flight are finished within
    /// the grace period, and so are messages, which are taken for half of it at most, and what guests do
    /// after their answers; then what is left is cut off. Logs stay: the workloads are still wanted.
    pub async fn drain(&self, grace: Duration) {
        self.draining.store(true, Ordering::Relaxed);
        self.stop_accepting.cancel();
        self.connections.close();
        let began = Instant::now();
        let until = began + grace;
        let requests = async {
            if timeout_at(until, self.connections.wait()).await.is_err() {
                for workload in self.serving.running.all() {
                    workload.cut_off().cancel();
                }
            }
        };
        let messages = async {
            // Requests may need the answers to messages. One that lasts must not cost all messages their
            // time.
            let _ = timeout_at(began + grace / 2, self.connections.wait()).await;
            let workers = self.serving.workers();
            let left = until.saturating_duration_since(Instant::now());
            join_all(workers.iter().map(|worker| worker.drain(left))).await;
            workers
        };
        let ((), workers) = tokio::join!(requests, messages);
        let running = self.serving.running.all();
        let guests = running.iter().map(|workload| &workload.guest);
        let guests = guests.chain(workers.iter().map(|worker| &worker.guest));
        join_all(guests.map(|guest| end(guest, until))).await;
        self.logs.flush().await;
    }

    /// Deletes what was made for workloads and is theirs alone: their temporary volumes, and the
    /// files of their ConfigMaps and Secrets. The last thing before the process ends.
    pub fn remove_volumes(&self) {
        self.starter.volumes.remove_all();
    }

    /// Changes what the host says about itself; nobody is woken when nothing changed.
    pub(crate) fn update_info(&self, change: impl FnOnce(&mut HostInfo)) {
        self.info.send_if_modified(|hosts| {
            let Some(mut info) = hosts.get(&self.config.id).cloned() else {
                return false;
            };
            change(&mut info);
            let changed = hosts.get(&self.config.id) != Some(&info);
            if changed {
                Arc::make_mut(hosts).insert(self.config.id.clone(), info);
            }
            changed
        });
    }

    fn count_workloads(&self) {
        self.update_info(|info| {
            // Read within the change, so that the newest count is told last.
            let running = self.serving.states.running();
            info.workloads = running.workloads;
            info.components = running.components;
        });
    }

    /// The life of one workload, from start to gone. What is not needed while it runs is not kept:
    /// thousands of them do nothing else.
    async fn run(self: Arc<Self>, mut wanted: Wanted, stop: CancellationToken, retry: Arc<Retry>) {
        let id = wanted.workload.id.clone();
        loop {
            let Wanted { workload, log } = wanted;
            // Boxed, so that what it needs is not kept for as long as the workload runs.
            let start = Box::pin(self.starter.start(&workload, &log));
            let started = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                started = start => started,
            };
            let key = workload.key();
            drop(workload);
            let served = match started {
                Ok(started) => self.serve(&id, started, &stop).await,
                Err(failure) => Err(failure),
            };
            match served {
                Ok(()) => break,
                Err(failure) => self.fail(&id, &key, failure),
            }
            wanted = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                wanted = retry.next() => wanted,
            };
        }
        if let Some(entered) = self.workloads.lock().remove(&id) {
            entered.log.close();
        }
        self.serving.states.remove(&id);
    }

    /// Serves until it is stopped, or until its service has failed for good. The service goes on
    /// while the requests in flight are finished, and what guests do after their answers, because they
    /// may need it.
    async fn serve(
        &self,
        id: &WorkloadId,
        started: Started,
        stop: &CancellationToken,
    ) -> Result<(), Failure> {
        // They wait for the service, as requests do.
        let mut workers = Vec::new();
        for worker in &started.workers {
            // Boxed for the same reason, whether there is one or not.
            let subscribing = Box::pin(worker.subscribe(&self.capabilities));
            let subscribed = tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                subscribed = subscribing => subscribed?,
            };
            workers.push((worker.clone(), subscribed));
        }
        let stop_service = CancellationToken::new();
        let _stop_if_dropped = stop_service.clone().drop_guard();
        let mut service = started.service.map(|service| {
            self.serving.add_service(&service);
            let states = self.serving.states.clone();
            service.supervise(&self.config.control_runtime, states, stop_service.clone())
        });
        // Requests and messages wait until it is up, or has failed for the first time.
        let mut health = match &mut service {
            None => Health::Up,
            Some(service) => tokio::select! {
                biased;
                () = stop.cancelled() => Health::Starting,
                health = service.change() => health,
            },
        };
        if matches!(health, Health::Failed(_)) {
            workers.clear();
        } else if let Some(running) = &started.http {
            self.serving.admit(running);
        }
        let taking: Vec<_> = workers.iter().map(|(worker, _)| worker.clone()).collect();
        self.serving.add_workers(id, taking.clone());
        // A host that ends from here on finds them.
        if !self.draining.load(Ordering::Relaxed) {
            for (worker, subscribed) in workers {
                worker.begin(subscribed);
            }
        }
        let serves = started.http.is_some() || !taking.is_empty();

        let failed = loop {
            match health {
                Health::Starting => {}
                Health::Restarting(failure) => self.set_phase(id, Phase::Restarting(failure)),
                Health::Ended if !serves => self.set_phase(id, Phase::Completed),
                Health::Up | Health::Ended => self.set_phase(id, Phase::Running),
                Health::Failed(failure) => break Err(failure),
            }
            self.count_workloads();
            let changed = async {
                match &mut service {
                    Some(service) => service.change().await,
                    None => pending().await,
                }
            };
            health = tokio::select! {
                biased;
                () = stop.cancelled() => break Ok(()),
                health = changed => health,
            };
        };
        let until = Instant::now() + self.config.stop_grace;
        if let Some(running) = &started.http {
            self.serving.retire(running);
        }
        // Said when no request comes any more, not before.
        if failed.is_ok() {
            self.set_phase(id, Phase::Stopping);
        }
        if let Some(running) = &started.http {
            running.drain(self.config.stop_grace).await;
        }
        let draining = taking.iter();
        join_all(draining.map(|worker| worker.drain(self.config.stop_grace))).await;
        let guests = started.http.iter().map(|running| &running.guest);
        let guests = guests.chain(started.workers.iter().map(|worker| &worker.guest));
        join_all(guests.map(|guest| end(guest, until))).await;
        self.serving.remove_workers(id);
        stop_service.cancel();
        if let Some(service) = service {
            service.gone().await;
        }
        self.serving.remove_service(id);
        drop(started.volumes);
        self.count_workloads();
        failed
    }

    fn open_log(&self, workload: &Workload) -> Arc<WorkloadLog> {
        Arc::new(self.logs.open(workload, log_rates(&members(workload))))
    }

    /// What has failed is started as it is wanted now: its components may be others than before.
    fn start_again(&self, entered: &mut Entered, workload: Arc<Workload>) {
        if entered.log.is_of(log_rates(&members(&workload))) {
            self.set_phase(&workload.id, Phase::Pulling);
        } else {
            entered.log.close();
            entered.log = self.open_log(&workload);
            let state = self.first_state(&workload);
            self.serving.states.set(&workload.id, state);
        }
        let log = entered.log.clone();
        entered.retry.tell(Wanted { workload, log });
    }

    fn fail(&self, id: &WorkloadId, key: &str, failure: Failure) {
        tracing::warn!(
            workload = key,
            reason = failure.reason.as_str(),
            "{}",
            failure.message
        );
        self.set_phase(id, Phase::Failed(failure));
    }

    fn set_phase(&self, id: &WorkloadId, phase: Phase) {
        self.serving.states.update(id, |state| state.phase = phase);
    }

    fn first_state(&self, workload: &Workload) -> WorkloadState {
        let component = |name: &str| ComponentState {
            name: name.into(),
            ..ComponentState::default()
        };
        WorkloadState {
            host: self.config.id.clone(),
            phase: Phase::Pulling,
            components: members(workload)
                .iter()
                .map(|member| component(member.name))
                .collect(),
            warnings: self.capabilities.warnings(workload),
        }
    }
}

/// Lets a guest do what its calls have left to do, until the grace period is over; then ends it.
async fn end(guest: &Guest, until: Instant) {
    let is_done = timeout_at(until, guest.drained()).await.is_ok();
    guest.end();
    if !is_done {
        let _ = timeout(ENDED_WITHIN, guest.drained()).await;
    }
}

/// The components whose lines are kept, and how many bytes each may write a second.
fn log_rates<'a>(members: &[Member<'a>]) -> impl Iterator<Item = (&'a str, u64)> {
    let rate = |member: &Member<'a>| (member.name, member.limits.log_bytes_per_second);
    members.iter().map(rate)
}

#[async_trait]
impl HostLink for Host {
    fn start(&self, host: &HostId, workload: Arc<Workload>) {
        if *host != self.config.id || self.draining.load(Ordering::Relaxed) {
            return;
        }
        let Some(this) = self.itself.upgrade() else {
            return;
        };
        let mut workloads = self.workloads.lock();
        if let Some(entered) = workloads.get_mut(&workload.id) {
            let state = self.serving.states.get(&workload.id);
            if state.is_some_and(|s| matches!(s.phase, Phase::Failed(_))) {
                self.start_again(entered, workload);
            }
            return;
        }
        let entered = Entered {
            log: self.open_log(&workload),
            stop: CancellationToken::new(),
            retry: Arc::default(),
        };
        let (log, stop, retry) = (
            entered.log.clone(),
            entered.stop.clone(),
            entered.retry.clone(),
        );
        self.serving
            .states
            .set(&workload.id, self.first_state(&workload));
        workloads.insert(workload.id.clone(), entered);
        let life = this.run(Wanted { workload, log }, stop, retry);
        self.config.control_runtime.spawn(life);
    }

    fn stop(&self, host: &HostId, workload: &WorkloadId) {
        if *host != self.config.id {
            return;
        }
        if let Some(entered) = self.workloads.lock().get(workload) {
            entered.stop.cancel();
        }
    }

    fn hosts(&self) -> Hosts {
        self.info.subscribe()
    }

    fn states(&self) -> States {
        self.serving.states.subscribe()
    }

    async fn logs(&self, workload: &WorkloadId, query: LogQuery) -> LogStream {
        let log = self.workloads.lock().get(workload).map(|e| e.log.clone());
        match log {
            Some(log) => log.read(query).await,
            None => futures::stream::empty().boxed(),
        }
    }

    async fn connect(&self, workload: &WorkloadId) -> io::Result<ByteStream> {
        if self.serving.running.get(workload).is_none() {
            return Err(io::Error::new(
                io::ErrorKind::NotConnected,
                "the workload does not serve",
            ));
        }
        let (near, far) = tokio::io::duplex(PIPE);
        let connection = http::serve(
            far,
            self.serving.clone(),
            Entry::Pinned(workload.clone()),
            self.stop_accepting.clone(),
        );
        self.connections
            .spawn_on(connection, &self.config.guest_runtime);
        Ok(Box::pin(near))
    }
}
