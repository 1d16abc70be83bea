//! A host and a registry that do as they are told.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use tokio::sync::watch;
use waft_ir::{
    Artifact, Artifacts, ByteStream, ComponentState, Failure, FailureReason, HostId, HostInfo,
    HostLink, Hosts, Image, LogQuery, LogStream, Phase, StateMap, States, Workload, WorkloadId,
    WorkloadState,
};

/// A link to hosts that exist only here.
pub(crate) struct FakeLink {
    hosts: watch::Sender<Arc<BTreeMap<HostId, HostInfo>>>,
    states: watch::Sender<StateMap>,
    script: Mutex<Script>,
}

#[derive(Default)]
struct Script {
    /// What becomes of a workload with this image; others run.
    phases: BTreeMap<String, Phase>,
    /// Whether workloads that are stopped linger until [`FakeLink::release`].
    hold_stops: bool,
    started: Vec<(HostId, Arc<Workload>)>,
    stopped: Vec<WorkloadId>,
}

impl FakeLink {
    pub(crate) fn new(hosts: impl IntoIterator<Item = HostInfo>) -> Arc<Self> {
        let hosts = hosts
            .into_iter()
            .map(|host| (host.id.clone(), host))
            .collect();
        Arc::new(Self {
            hosts: watch::Sender::new(Arc::new(hosts)),
            states: watch::Sender::default(),
            script: Mutex::default(),
        })
    }

    /// From now on, a workload with this image comes so far and no farther.
    pub(crate) fn script(&self, image: &str, phase: Phase) {
        self.script
            .lock()
            .unwrap()
            .phases
            .insert(image.into(), phase);
    }

    /// Changes how the running workloads of an image are, and those that follow.
    pub(crate) fn turn(&self, image: &str, phase: Phase) {
        self.script(image, phase.clone());
        let started = self.started();
        self.change_states(|states| {
            for (_, workload) in &started {
                if workload.components[0].image.reference == image
                    && let Some(state) = states.get_mut(&workload.id)
                {
                    state.phase = phase.clone();
                }
            }
        });
    }

    pub(crate) fn hold_stops(&self) {
        self.script.lock().unwrap().hold_stops = true;
    }

    /// Lets go of what is stopping.
    pub(crate) fn release(&self) {
        self.script.lock().unwrap().hold_stops = false;
        self.change_states(|states| states.retain(|_, state| state.phase != Phase::Stopping));
    }

    pub(crate) fn started(&self) -> Vec<(HostId, Arc<Workload>)> {
        self.script.lock().unwrap().started.clone()
    }

    pub(crate) fn stopped(&self) -> Vec<WorkloadId> {
        self.script.lock().unwrap().stopped.clone()
    }

    pub(crate) fn set_hosts(&self, hosts: impl IntoIterator<Item = HostInfo>) {
        let hosts = hosts
            .into_iter()
            .map(|host| (host.id.clone(), host))
            .collect();
        self.hosts.send_replace(Arc::new(hosts));
    }

    /// A host process ends, and with it what it ran.
    pub(crate) fn lose(&self, host: &str) {
        self.change_states(|states| states.retain(|_, state| state.host.0 != host));
    }

    pub(crate) fn states_now(&self) -> StateMap {
        self.states.borrow().clone()
    }

    pub(crate) fn add_state(&self, id: &str, state: WorkloadState) {
        self.change_states(|states| {
            states.insert(WorkloadId(id.into()), state);
        });
    }

    fn change_states(&self, change: impl FnOnce(&mut BTreeMap<WorkloadId, WorkloadState>)) {
        self.states.send_modify(|states| {
            let known = states.iter();
            let mut all = known
                .map(|(id, state)| (id.clone(), WorkloadState::clone(state)))
                .collect();
            change(&mut all);
            let all = all.into_iter();
            *states = all.map(|(id, state)| (id, Arc::new(state))).collect();
        });
    }
}

#[async_trait::async_trait]
impl HostLink for FakeLink {
    fn start(&self, host: &HostId, workload: Arc<Workload>) {
        let image = workload.components[0].image.reference.clone();
        let phase = {
            let mut script = self.script.lock().unwrap();
            script.started.push((host.clone(), workload.clone()));
            script.phases.get(&image).cloned().unwrap_or(Phase::Running)
        };
        let state = running(&host.0, &workload, phase);
        self.change_states(|states| {
            let known = states.get(&workload.id);
            if known.is_none_or(|known| matches!(known.phase, Phase::Failed(_))) {
                states.insert(workload.id.clone(), state);
            }
        });
    }

    fn stop(&self, _host: &HostId, workload: &WorkloadId) {
        let hold = {
            let mut script = self.script.lock().unwrap();
            script.stopped.push(workload.clone());
            script.hold_stops
        };
        self.change_states(|states| {
            if !hold {
                states.remove(workload);
            } else if let Some(state) = states.get_mut(workload) {
                state.phase = Phase::Stopping;
            }
        });
    }

    fn hosts(&self) -> Hosts {
        self.hosts.subscribe()
    }

    fn states(&self) -> States {
        self.states.subscribe()
    }

    async fn logs(&self, _workload: &WorkloadId, _query: LogQuery) -> LogStream {
        Box::pin(futures::stream::empty())
    }

    async fn connect(&self, _workload: &WorkloadId) -> std::io::Result<ByteStream> {
        Err(std::io::ErrorKind::NotConnected.into())
    }
}

fn running(host: &str, workload: &Workload, phase: Phase) -> WorkloadState {
    WorkloadState {
        host: HostId(host.into()),
        phase,
        components: workload
            .components
            .iter()
            .map(|component| ComponentState {
                name: component.name.clone(),
                http: Some("0.2".into()),
                ..ComponentState::default()
            })
            .collect(),
        warnings: vec![],
    }
}

/// A host as it reports itself.
pub(crate) fn host(id: &str) -> HostInfo {
    HostInfo {
        id: HostId(id.into()),
        name: format!("name-{id}"),
        hostname: "localhost".into(),
        http_port: Some(8000),
        labels: [("hostgroup".to_owned(), "default".to_owned())].into(),
        environment: None,
        version: "1".into(),
        os_name: "linux".into(),
        os_arch: "x86_64".into(),
        os_kernel: "6".into(),
        cpu_percent: 1.0,
        memory_total: 1 << 30,
        memory_free: 1 << 29,
        components: 0,
        workloads: 0,
        offers: ["wasi:http@0.2.6", "wasi:config", "wasi:logging@0.1.0-draft"]
            .map(|name| name.parse().unwrap())
            .into(),
    }
}

/// A registry that exists only here.
#[derive(Default)]
pub(crate) struct FakeArtifacts {
    answers: Mutex<BTreeMap<String, Result<Artifact, Failure>>>,
    asked: Mutex<Vec<Image>>,
    /// Images whose registry takes the question and does not answer.
    hanging: watch::Sender<BTreeSet<String>>,
}

impl FakeArtifacts {
    pub(crate) fn answer(&self, image: &str, digest: &str, export: &str) {
        let artifact = Artifact {
            digest: digest.into(),
            pinned: format!("{image}@{digest}"),
            imports: vec![],
            exports: vec![export.parse().unwrap()],
        };
        self.answers
            .lock()
            .unwrap()
            .insert(image.into(), Ok(artifact));
    }

    pub(crate) fn fail(&self, image: &str, reason: FailureReason) {
        let failure = Failure::new(reason, format!("image `{image}`: {reason}"));
        self.answers
            .lock()
            .unwrap()
            .insert(image.into(), Err(failure));
    }

    pub(crate) fn hang(&self, image: &str) {
        self.hanging.send_modify(|hanging| {
            hanging.insert(image.into());
        });
    }

    /// Whatever hangs is answered.
    pub(crate) fn go_on(&self) {
        self.hanging.send_modify(BTreeSet::clear);
    }

    pub(crate) fn asked(&self, image: &str) -> usize {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|of| of.reference == image).count()
    }
}

#[async_trait::async_trait]
impl Artifacts for FakeArtifacts {
    async fn resolve(&self, image: &Image) -> Result<Artifact, Failure> {
        self.asked.lock().unwrap().push(image.clone());
        let mut hanging = self.hanging.subscribe();
        let answers = hanging.wait_for(|hanging| !hanging.contains(&image.reference));
        // The sender lives as long as this registry.
        drop(answers.await);
        let answer = self.answers.lock().unwrap().get(&image.reference).cloned();
        answer.unwrap_or_else(|| Err(Failure::new(FailureReason::ImageNotFound, "not there")))
    }
}
