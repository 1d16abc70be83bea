//! One workload's way from its images to requests: fetch, compile, link, and serve.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use futures::future::try_join_all;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use waft_ir::{Failure, FailureReason, Image, InterfaceName, Phase, Workload};
use waft_oci::Store;
use waft_runtime::{Command, Compiled, EgressPolicy, Engine, Guest, GuestSpec, Loopback};

use crate::{
    composition::Composition,
    log::{Sink, WorkloadLog},
    member::{Member, members},
    messages::{Place, Worker},
    roles::Roles,
    running::RunningWorkload,
    service::Service,
    states::StateBoard,
    volumes::{Volumes, WorkloadVolumes},
};

/// Images on this machine that are read at a time.
const LOCAL_READS: usize = 16;
/// Images that are pulled from registries, or read from their cache, at a time.
const PULLS: usize = 64;

/// What starting needs.
pub(crate) struct Starter {
    pub(crate) engine: Engine,
    /// Whether guests may reach the machine's loopback.
    pub(crate) allow_host_loopback: bool,
    pub(crate) volumes: Volumes,
    pub(crate) store: Store,
    pub(crate) states: Arc<StateBoard>,
    /// Where guests run, the code of their start included.
    pub(crate) guest_runtime: tokio::runtime::Handle,
    pub(crate) turns: Turns,
}

/// How many images are read at a time: their bytes and the threads that read them are a burden that
/// would grow with the number of workloads that start together. A slow registry keeps nobody from
/// reading a file.
pub(crate) struct Turns {
    local: Arc<Semaphore>,
    remote: Arc<Semaphore>,
}

/// A workload that can serve.
#[derive(Default)]
pub(crate) struct Started {
    /// What gets its requests, if it serves HTTP.
    pub(crate) http: Option<Arc<RunningWorkload>>,
    /// Those of its components that take messages.
    pub(crate) workers: Vec<Arc<Worker>>,
    /// Its service, if it is one that runs; it does not run yet.
    pub(crate) service: Option<Arc<Service>>,
    /// Held as long as it serves: they go with it.
    pub(crate) volumes: WorkloadVolumes,
}

/// A member that was given what its manifest grants.
enum Linked {
    Guest(Guest),
    Command(Command),
    /// It is part of another one.
    Part,
}

impl Default for Turns {
    fn default() -> Self {
        Self {
            local: Arc::new(Semaphore::new(LOCAL_READS)),
            remote: Arc::new(Semaphore::new(PULLS)),
        }
    }
}

impl Turns {
    /// Waits for a turn; it ends when what is returned is dropped.
    async fn take(&self, image: &Image) -> Option<OwnedSemaphorePermit> {
        let is_local = ["file:", "oci:"]
            .iter()
            .any(|s| image.reference.starts_with(s));
        let turns = if is_local { &self.local } else { &self.remote };
        // They are never closed.
        turns.clone().acquire_owned().await.ok()
    }
}

impl Starter {
    /// Brings a workload up. Dropping the future gives up; what other workloads share with it goes
    /// on.
    pub(crate) async fn start(
        &self,
        workload: &Workload,
        log: &WorkloadLog,
    ) -> Result<Started, Failure> {
        let members = members(workload);
        let to_fetch = AtomicUsize::new(members.len());
        let images = members.iter().enumerate();
        let compiled = try_join_all(images.map(async |(position, member)| {
            let turn = self.turns.take(member.image).await;
            let fetched = self.store.fetch(member.image).await;
            let fetched = fetched.map_err(|failure| member.about(failure))?;
            self.states.update(&workload.id, |state| {
                if let Some(state) = state.components.get_mut(position) {
                    state.digest = Some(fetched.digest.clone());
                }
                if to_fetch.fetch_sub(1, Relaxed) == 1 {
                    state.phase = Phase::Compiling;
                }
            });
            let name = &member.image.reference;
            let (bytes, hash) = (fetched.bytes, fetched.content_digest.bytes());
            let loaded = self.engine.load_verified(bytes, hash, name, turn).await;
            loaded.map_err(|failure| member.about(failure))
        }))
        .await?;
        self.states.update(&workload.id, |state| {
            for (state, compiled) in state.components.iter_mut().zip(&compiled) {
                state.http = compiled.http().map(|version| version.as_str().into());
            }
        });
        let composition = Composition::of(&members, &compiled)?;
        let roles = Roles::of(workload, &members, &compiled, &composition)?;
        let unused = roles.unused(workload, &members, &compiled, &composition);
        if !unused.is_empty() {
            self.states.update(&workload.id, |state| {
                state.warnings.retain(|known| !unused.contains(known));
                state.warnings.extend(unused);
            });
        }

        let loopback = Loopback::default();
        let volumes = self.volumes.prepare(workload)?;
        let specs = members.iter().enumerate().map(|(position, member)| {
            let sink = Arc::new(Sink(log.component(position)));
            let spec = self.guest_spec(workload, member, &loopback, &volumes, sink)?;
            let wants = composition.wants(position);
            self.engine
                .check_imports(&compiled[position], &spec, wants)
                .map(|()| spec)
                .map_err(|failure| member.about(composition.explain(position, failure)))
        });
        let specs = specs.collect::<Result<Vec<_>, _>>()?;
        let links = members.iter().enumerate();
        let linked = try_join_all(links.map(async |(position, member)| {
            let is_root = roles.are_of(position);
            let closure = composition.closure(position);
            if !is_root && (closure.len() > 1 || composition.is_used(position, |_| true)) {
                // It is part of those that need it.
                return Ok(Linked::Part);
            }
            let joined = match closure.len() {
                1 => Ok(compiled[position].clone()),
                _ => self.join(&members, &composition, &closure).await,
            };
            let linked = match joined {
                Ok(joined) => {
                    let (spec, others) = shares(&specs, &closure);
                    let runs = roles.runs == Some(position);
                    self.link(&joined, spec, others, runs).await
                }
                Err(failure) => Err(failure),
            };
            linked.map_err(|failure| member.about(failure))
        }))
        .await?;
        let key: Arc<str> = workload.key().into();
        let name = |at: usize| -> Arc<str> { members[at].name.into() };
        let mut started = Started {
            volumes,
            ..Started::default()
        };
        for (at, linked) in linked.into_iter().enumerate() {
            match linked {
                Linked::Command(command) => {
                    started.service = Some(Arc::new(Service {
                        workload: workload.id.clone(),
                        key: key.clone(),
                        name: name(at),
                        position: at,
                        command,
                        max_restarts: workload.service.as_ref().map_or(0, |s| s.max_restarts),
                        listens: imports_tcp(&compiled[at]).then(|| loopback.clone()),
                        guest_runtime: self.guest_runtime.clone(),
                    }));
                }
                Linked::Guest(guest) => {
                    if roles.messages.contains(&at) {
                        let place = Place {
                            workload,
                            position: at,
                            name: name(at),
                            resources: members[at].resources,
                            queue: members[at].limits.queue,
                            serves_http: roles.http == Some(at),
                        };
                        let (states, runtime) = (self.states.clone(), self.guest_runtime.clone());
                        let worker = Worker::new(place, guest.clone(), states, runtime);
                        started.workers.push(Arc::new(worker));
                    }
                    if roles.http == Some(at) {
                        started.http = Some(Arc::new(RunningWorkload::new(
                            workload.id.clone(),
                            key.clone(),
                            (at, name(at)),
                            guest,
                            members[at].limits.clone(),
                        )));
                    }
                }
                Linked::Part => {}
            }
        }
        Ok(started)
    }

    /// What the manifest gives to one member of a workload.
    fn guest_spec(
        &self,
        workload: &Workload,
        member: &Member<'_>,
        loopback: &Loopback,
        volumes: &WorkloadVolumes,
        log: Arc<Sink>,
    ) -> Result<GuestSpec, Failure> {
        let mut pool = member.pool;
        if member.is_service {
            // One instance is kept and serves all requests that come at a time.
            pool.size = 1;
            pool.max_concurrency = member.limits.max_in_flight;
        }
        let egress = EgressPolicy::new(member.resources, self.allow_host_loopback)
            .map_err(|invalid| Failure::new(FailureReason::StartFailed, invalid.to_string()))?;
        Ok(GuestSpec {
            workload: workload.key(),
            app: workload.app.clone(),
            component: member.name.into(),
            pool,
            limits: member.limits.clone(),
            environment: member.resources.environment.clone(),
            config: member.resources.config.clone(),
            grants: workload.grants.clone(),
            egress: Arc::new(egress),
            loopback: if member.is_service {
                loopback.for_service()
            } else {
                loopback.clone()
            },
            mounts: volumes.mounts(member.resources)?,
            log,
        })
    }

    /// The composition of these members, the one that is called first.
    async fn join(
        &self,
        members: &[Member<'_>],
        composition: &Composition,
        closure: &[usize],
    ) -> Result<Compiled, Failure> {
        let parts = try_join_all(closure.iter().map(async |at| {
            let member = &members[*at];
            let fetched = self.store.fetch(member.image).await;
            let fetched = fetched.map_err(|failure| member.about(failure))?;
            let wants = composition.wants(*at).iter().cloned().map(|mut want| {
                let from = closure.iter().position(|known| *known == want.from);
                want.from = from.unwrap_or_default();
                want
            });
            Ok::<_, Failure>((member.name.to_owned(), fetched.bytes, wants.collect()))
        }))
        .await?;
        self.engine.compose(parts).await
    }

    async fn link(
        &self,
        compiled: &Compiled,
        spec: GuestSpec,
        others: Vec<GuestSpec>,
        runs: bool,
    ) -> Result<Linked, Failure> {
        let (engine, compiled) = (self.engine.clone(), compiled.clone());
        let linking = self.guest_runtime.spawn(async move {
            if runs {
                let linked = engine.link_command(&compiled, spec, others).await;
                return linked.map(Linked::Command);
            }
            let linked = engine.link_composed(&compiled, spec, others).await;
            linked.map(Linked::Guest)
        });
        linking.await.unwrap_or_else(|_| {
            Err(Failure::new(
                FailureReason::Internal,
                "the host failed while it linked the component: please report this",
            ))
        })
    }
}

/// What the members of a composition are given, the first apart. One instance holds them all, so
/// it may hold what they may together.
fn shares(specs: &[GuestSpec], closure: &[usize]) -> (GuestSpec, Vec<GuestSpec>) {
    let mut all = closure.iter().map(|at| specs[*at].clone());
    let mut first = all.next().unwrap_or_else(|| specs[0].clone());
    let others: Vec<_> = all.collect();
    for other in &others {
        let limits = &mut first.limits;
        limits.memory_bytes = limits
            .memory_bytes
            .saturating_add(other.limits.memory_bytes);
        limits.table_elements = limits.table_elements.max(other.limits.table_elements);
        // What it computes can't be told apart by member, so that none may compute more than is its due.
        let shares = [limits.cpu_millis, other.limits.cpu_millis];
        limits.cpu_millis = shares.into_iter().flatten().min();
    }
    (first, others)
}

/// Whether a component may listen.
fn imports_tcp(compiled: &Compiled) -> bool {
    let sockets = |name: &InterfaceName| {
        let interface = name.interface.as_deref();
        name.namespace == "wasi"
            && name.package == "sockets"
            && matches!(interface, Some("tcp" | "types"))
    };
    compiled.imports().iter().any(sockets)
}
