use waft_ir::{Failure, FailureReason, WorkloadId};

use super::*;
use crate::condition::find;

fn workload() -> Arc<Workload> {
    Arc::new(Workload {
        id: WorkloadId("u".into()),
        namespace: "default".into(),
        name: "w".into(),
        app: "w".into(),
        annotations: Default::default(),
        components: vec![],
        service: None,
        grants: vec![],
        volumes: vec![],
    })
}

fn content(of: &str) -> Content {
    Content {
        workload: of.into(),
        credentials: "none".into(),
    }
}

fn host(id: &str) -> Candidate {
    Candidate {
        id: HostId(id.into()),
        name: id.into(),
        labels: Default::default(),
        environment: None,
        offers: vec![],
        workloads: 0,
        memory_free: 0,
    }
}

fn state(phase: Phase) -> WorkloadState {
    WorkloadState {
        host: HostId("a".into()),
        phase,
        components: vec![],
        warnings: vec![],
    }
}

struct Case {
    wanted: Result<(Arc<Workload>, Content), Problem>,
    placement: Placement,
    hosts: Vec<Candidate>,
    state: Option<WorkloadState>,
    memory: Memory,
    restarts_in_place: bool,
    now: Instant,
}

impl Case {
    fn new() -> Self {
        Self {
            wanted: Ok((workload(), content("one"))),
            placement: Placement::default(),
            hosts: vec![host("a"), host("b")],
            state: None,
            memory: Memory::default(),
            restarts_in_place: true,
            now: Instant::now(),
        }
    }

    fn decide(&self) -> Decision {
        decide(&Situation {
            wanted: self.wanted.clone(),
            placement: Some(&self.placement),
            hosts: &self.hosts,
            state: self.state.as_ref(),
            memory: &self.memory,
            restarts_in_place: self.restarts_in_place,
            now: self.now,
        })
    }
}

fn reason(decision: &Decision, type_: &str) -> String {
    let verdict = decision.verdicts.iter().find(|(of, _)| *of == type_);
    verdict.unwrap().1.reason.clone().into_owned()
}

#[test]
fn it_is_started_once_and_then_watched() {
    let mut case = Case::new();
    let started = case.decide();
    assert_eq!(
        started.action,
        Action::Start(HostId("a".into()), workload())
    );
    assert_eq!(reason(&started, types::READY), "Starting");
    case.memory = started.memory;
    case.state = Some(state(Phase::Compiling));
    let compiling = case.decide();
    assert_eq!(compiling.action, Action::None);
    assert_eq!(reason(&compiling, types::READY), "Compiling");
    case.state = Some(state(Phase::Running));
    let running = case.decide();
    assert_eq!(reason(&running, types::READY), "Available");
    let types: Vec<_> = running.verdicts.iter().map(|(type_, _)| *type_).collect();
    assert_eq!(types, waft_api::conditions::OF_WORKLOAD);
    let written = crate::condition::merge(&[], &running.verdicts, Some(1), Default::default());
    assert!(find(&written, types::SYNC).unwrap().is_true());
}

#[test]
fn a_second_look_before_the_host_answers_asks_the_same_host() {
    let mut case = Case::new();
    case.hosts = vec![host("b")];
    case.memory = case.decide().memory;
    case.hosts = vec![host("a"), host("b")];
    assert_eq!(
        case.decide().action,
        Action::Start(HostId("b".into()), workload())
    );
    case.hosts = vec![host("a")];
    assert_eq!(
        case.decide().action,
        Action::Start(HostId("a".into()), workload())
    );
}

#[test]
fn what_is_missing_is_said_and_nothing_is_started() {
    let mut case = Case::new();
    case.wanted = Err(Problem::new(Reason::ConfigMapNotFound, "ConfigMap `c`"));
    let decision = case.decide();
    assert_eq!(decision.action, Action::None);
    assert_eq!(reason(&decision, types::CONFIG), "ConfigMapNotFound");
    assert_eq!(reason(&decision, types::READY), "ConfigMapNotFound");
    assert_eq!(reason(&decision, types::PLACEMENT), "Waiting");
}

#[test]
fn no_host_is_a_condition() {
    let mut case = Case::new();
    case.hosts.clear();
    let decision = case.decide();
    assert_eq!(reason(&decision, types::CONFIG), "Available");
    assert_eq!(reason(&decision, types::READY), "NoMatchingHost");
}

#[test]
fn passing_failures_are_tried_again_later_and_later() {
    let mut case = Case::new();
    case.memory = case.decide().memory;
    let failed = Failure::new(FailureReason::ImagePullFailed, "registry is down");
    case.state = Some(state(Phase::Failed(failed)));
    let mut pauses = vec![];
    for _ in 0..3 {
        let seen = case.decide();
        assert_eq!(reason(&seen, types::READY), "ImagePullFailed");
        let Next::After(pause) = seen.next else {
            panic!("{:?}", seen.next)
        };
        pauses.push(pause.as_secs());
        case.memory = seen.memory;
        // Another look changes nothing.
        assert_eq!(case.decide().memory, case.memory);
        case.now += pause;
        let again = case.decide();
        assert!(matches!(again.action, Action::Start(..)));
        assert_eq!(reason(&again, types::READY), "ImagePullFailed");
        case.memory = again.memory;
        let failed = case.state.replace(state(Phase::Pulling));
        let pulling = case.decide();
        assert_eq!(
            reason(&pulling, types::READY),
            "ImagePullFailed",
            "still so"
        );
        case.memory = pulling.memory;
        case.state = failed;
    }
    assert_eq!(pauses, [1, 2, 4]);
    case.state = Some(state(Phase::Running));
    assert_eq!(case.decide().memory.failures, 0);
}

#[test]
fn a_try_that_fails_before_anyone_sees_it_is_not_the_last() {
    let mut case = Case::new();
    case.memory = case.decide().memory;
    let failed = Failure::new(FailureReason::HostAtCapacity, "full");
    case.state = Some(state(Phase::Failed(failed)));
    for _ in 0..3 {
        let started = loop {
            let decision = case.decide();
            let Next::After(pause) = decision.next else {
                panic!("{:?}", decision.next)
            };
            case.now += pause;
            case.memory = decision.memory;
            if decision.action != Action::None {
                break decision.action;
            }
        };
        assert!(matches!(started, Action::Start(..)));
    }
}

#[test]
fn other_failures_wait_for_a_change() {
    let mut case = Case::new();
    case.memory = case.decide().memory;
    let failed = Failure::new(FailureReason::NotWasm, "no");
    case.state = Some(state(Phase::Failed(failed)));
    let seen = case.decide();
    assert_eq!((&seen.action, seen.next), (&Action::None, Next::Await));
    case.wanted = Ok((workload(), content("two")));
    assert!(matches!(case.decide().action, Action::Start(..)));
}

#[test]
fn a_change_restarts_in_place_unless_a_deployment_rolls() {
    let mut case = Case::new();
    case.memory = case.decide().memory;
    case.state = Some(state(Phase::Running));
    case.wanted = Ok((workload(), content("two")));
    let stopped = case.decide();
    assert_eq!(stopped.action, Action::Stop(HostId("a".into())));
    assert_eq!(reason(&stopped, types::READY), "Reconciling");
    case.restarts_in_place = false;
    assert_eq!(case.decide().action, Action::None);
}

#[test]
fn new_credentials_are_a_reason_to_try_again_and_none_to_restart() {
    let mut case = Case::new();
    case.memory = case.decide().memory;
    let rotated = Content {
        credentials: "new".into(),
        ..content("one")
    };
    case.wanted = Ok((workload(), rotated));
    case.state = Some(state(Phase::Running));
    assert_eq!(case.decide().action, Action::None);
    let failed = Failure::new(FailureReason::ImagePullUnauthorized, "no");
    case.state = Some(state(Phase::Failed(failed)));
    assert!(matches!(case.decide().action, Action::Start(..)));
}

#[test]
fn one_from_an_earlier_operator_is_taken_as_it_runs() {
    let mut case = Case::new();
    case.state = Some(state(Phase::Running));
    let adopted = case.decide();
    assert_eq!(adopted.action, Action::None);
    assert_eq!(adopted.memory.content, Some(content("one")));
}

#[test]
fn warnings_are_told_beside_readiness() {
    let mut case = Case::new();
    let mut running = state(Phase::Running);
    let warnings = [
        ("EmbeddedBackend", "in memory"),
        ("EmbeddedBackend", "in memory"),
        ("EmbeddedBackend", "in a file"),
        ("OtherServer", "not that one"),
    ];
    running.warnings = warnings
        .map(|(reason, text)| (reason.into(), text.into()))
        .into();
    case.state = Some(running);
    let decision = case.decide();
    assert_eq!(reason(&decision, types::DEGRADED), "EmbeddedBackend");
    let mut told = decision.verdicts.iter();
    let (_, told) = told.find(|(type_, _)| *type_ == types::DEGRADED).unwrap();
    assert_eq!(
        told.message,
        "in memory; in a file; OtherServer: not that one"
    );
    assert_eq!(reason(&decision, types::READY), "Available");
}

#[test]
fn what_a_host_refuses_to_link_is_a_matter_of_placement() {
    for (why, placed) in [
        (FailureReason::UnsupportedImport, false),
        (FailureReason::LinkFailed, false),
        (FailureReason::MultipleHttpHandlers, false),
        (FailureReason::NotSupportedYet, false),
        (FailureReason::StartFailed, true),
    ] {
        let mut case = Case::new();
        case.state = Some(state(Phase::Failed(Failure::new(why, "because"))));
        let decision = case.decide();
        let of = |type_| reason(&decision, type_);
        assert_eq!(of(types::READY), why.as_str());
        let told_by = if placed {
            types::SYNC
        } else {
            types::PLACEMENT
        };
        assert_eq!(of(told_by), why.as_str());
    }
}
