//! What to do with a workload now, and what its status says: a pure function of the object's
//! spec, its host's report and what was tried before.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;
use waft_api::{Reason, conditions as types};
use waft_ir::{Failure, HostId, Phase, Placement, Workload, WorkloadState};

use crate::{
    condition::{Verdict, Verdicts, summary},
    failure,
    problem::Problem,
    queue::{Next, backoff},
    schedule::{Candidate, schedule},
};

/// The first pause before a failed start is tried again.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// The longest such pause.
const LONGEST_RETRY: Duration = Duration::from_secs(300);

/// What the operator remembers of a workload that it started.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Memory {
    /// The host it was started on.
    pub host: Option<HostId>,
    /// What was started.
    pub content: Option<Content>,
    /// How often in a row it failed.
    pub failures: u32,
    /// When the next try is due, once a failure was seen.
    pub retry_at: Option<Instant>,
    /// What it failed with last, until it runs: while it is tried again, that is what is wrong.
    pub last: Option<Failure>,
}

/// Hashes of a workload.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Content {
    /// Of what runs.
    pub workload: String,
    /// Of the credentials for its images: new ones are a reason to try again, none to restart.
    pub credentials: String,
}

/// What a workload is decided by.
#[derive(Clone, Debug)]
pub(crate) struct Situation<'a> {
    /// The workload as it should run, with a hash of it; or why it can't be built.
    pub wanted: Result<(Arc<Workload>, Content), Problem>,
    /// What it asks of its host; `None` if the spec makes no sense.
    pub placement: Option<&'a Placement>,
    /// The hosts that report.
    pub hosts: &'a [Candidate],
    /// What its host says of it.
    pub state: Option<&'a WorkloadState>,
    /// What was tried before.
    pub memory: &'a Memory,
    /// Whether a changed spec or configuration restarts it in place. Not so below a deployment,
    /// which rolls instead.
    pub restarts_in_place: bool,
    /// Now.
    pub now: Instant,
}

/// What to tell the host.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Action {
    /// Nothing.
    None,
    /// Start it.
    Start(HostId, Arc<Workload>),
    /// Stop it, to start it again.
    Stop(HostId),
}

/// What was decided.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Decision {
    /// What to tell the host.
    pub action: Action,
    /// The conditions.
    pub verdicts: Verdicts,
    /// Where it runs.
    pub host: Option<HostId>,
    /// What to remember.
    pub memory: Memory,
    /// When to look again.
    pub next: Next,
}

/// Decides.
pub(crate) fn decide(situation: &Situation<'_>) -> Decision {
    match situation.state {
        Some(state) => decide_placed(situation, state),
        None => decide_unplaced(situation),
    }
}

/// A host knows it.
fn decide_placed(situation: &Situation<'_>, state: &WorkloadState) -> Decision {
    let mut memory = situation.memory.clone();
    memory.host = Some(state.host.clone());
    let content = situation.wanted.as_ref().ok().map(|(_, content)| content);
    let before = situation.memory.content.as_ref();
    let anything_new = content.is_some() && before.is_some() && before != content;
    let changed = anything_new
        && before.map(|before| &before.workload) != content.map(|content| &content.workload);
    let mut action = Action::None;
    let mut next = Next::Await;
    let mut config = Verdict::good();
    let sync = match &state.phase {
        Phase::Stopping => Verdict::no(Reason::Stopping, "requests are finished before it goes"),
        Phase::Failed(failed) => match &situation.wanted {
            Ok((workload, content)) if anything_new => {
                memory = remembered(&state.host, content, 0);
                action = Action::Start(state.host.clone(), workload.clone());
                // If it fails the same way before anyone saw that it was started, that is no news.
                next = Next::After(FIRST_RETRY);
                Verdict::unknown(
                    Reason::Starting,
                    "it is started again with what has changed",
                )
            }
            Ok((workload, _)) => {
                next = retry(failed, &mut memory, situation.now);
                if next == Next::Await && failed.reason.is_transient() {
                    action = Action::Start(state.host.clone(), workload.clone());
                    // As above.
                    next = Next::After(FIRST_RETRY);
                }
                failure::verdict(failed)
            }
            Err(problem) => {
                config = problem.verdict();
                failure::verdict(failed)
            }
        },
        _ if changed && situation.restarts_in_place => {
            action = Action::Stop(state.host.clone());
            Verdict::unknown(Reason::Reconciling, "it is restarted with what has changed")
        }
        phase => {
            if let (Err(problem), true) = (&situation.wanted, situation.restarts_in_place) {
                // It goes on as it was started; what is wrong with the newest spec is said.
                config = problem.verdict();
            }
            running(phase, &mut memory)
        }
    };
    if memory.content.is_none() {
        // Started by an operator before this one: what runs is taken for what is wanted.
        memory.content = content.cloned();
    }
    let refused =
        matches!(&state.phase, Phase::Failed(failed) if failure::is_refusal(failed.reason));
    let (placement, sync) = if refused && sync.is_bad() {
        (sync, Verdict::unknown(Reason::Waiting, ""))
    } else {
        (Verdict::good(), sync)
    };
    let ready = summary([&config, &placement, &sync]);
    let mut verdicts = vec![
        (types::CONFIG, config),
        (types::HOST_SELECTION, Verdict::good()),
        (types::PLACEMENT, placement),
        (types::SYNC, sync),
        (types::READY, ready),
    ];
    verdicts.extend(degraded(state));
    Decision {
        action,
        verdicts,
        host: Some(state.host.clone()),
        memory,
        next,
    }
}

/// Keeps the time of the next try. Nothing is left to wait for once it has come, and for failures
/// that no other try would cure.
fn retry(failed: &Failure, memory: &mut Memory, now: Instant) -> Next {
    if !failed.reason.is_transient() {
        return Next::Await;
    }
    memory.last = Some(failed.clone());
    match memory.retry_at {
        Some(due) if due <= now => {
            memory.retry_at = None;
            Next::Await
        }
        Some(due) => Next::After(due - now),
        None => {
            let pause = backoff(memory.failures, FIRST_RETRY, LONGEST_RETRY);
            memory.failures += 1;
            memory.retry_at = Some(now + pause);
            Next::After(pause)
        }
    }
}

/// What a phase other than failing and stopping says.
fn running(phase: &Phase, memory: &mut Memory) -> Verdict {
    match phase {
        Phase::Pulling | Phase::Compiling if let Some(last) = &memory.last => {
            failure::verdict(last)
        }
        Phase::Pulling => Verdict::unknown(Reason::Pulling, "its images are being fetched"),
        Phase::Compiling => {
            Verdict::unknown(Reason::Compiling, "its components are being compiled")
        }
        Phase::Restarting(failed) => failure::verdict(failed),
        Phase::Completed => Verdict::yes(Reason::Completed, "its service ended well"),
        _ => {
            memory.failures = 0;
            memory.retry_at = None;
            memory.last = None;
            Verdict::good()
        }
    }
}

/// No host knows it.
fn decide_unplaced(situation: &Situation<'_>) -> Decision {
    let waiting = || Verdict::unknown(Reason::Waiting, "");
    let mut decision = Decision {
        action: Action::None,
        verdicts: Vec::new(),
        host: None,
        memory: situation.memory.clone(),
        next: Next::Await,
    };
    let (config, selection) = match (&situation.wanted, situation.placement) {
        (Ok((workload, content)), Some(placement)) => match choose(situation, placement) {
            Ok(host) => {
                decision.memory = remembered(&host, content, situation.memory.failures);
                decision.action = Action::Start(host.clone(), workload.clone());
                decision.host = Some(host);
                (Verdict::good(), Verdict::good())
            }
            Err(message) => (
                Verdict::good(),
                Verdict::no(Reason::NoMatchingHost, message),
            ),
        },
        (Err(problem), _) => (problem.verdict(), waiting()),
        (Ok(_), None) => (waiting(), waiting()),
    };
    let (placement, sync) = if decision.host.is_some() {
        let starting = Verdict::unknown(Reason::Starting, "its host was told to start it");
        (Verdict::good(), starting)
    } else {
        (waiting(), waiting())
    };
    let ready = summary([&config, &selection, &placement, &sync]);
    decision.verdicts = vec![
        (types::CONFIG, config),
        (types::HOST_SELECTION, selection),
        (types::PLACEMENT, placement),
        (types::SYNC, sync),
        (types::READY, ready),
    ];
    decision
}

/// The host to start it on. Where it was told to start before, it is told again as long as that
/// host reports: asking twice is harmless, asking two hosts is not.
fn choose(situation: &Situation<'_>, placement: &Placement) -> Result<HostId, String> {
    let before = situation.memory.host.as_ref();
    let again = situation
        .hosts
        .iter()
        .filter(|host| Some(&host.id) == before);
    let again: Vec<Candidate> = again.cloned().collect();
    if !again.is_empty()
        && let Ok(host) = schedule(placement, &again)
    {
        return Ok(host);
    }
    schedule(placement, situation.hosts)
}

fn remembered(host: &HostId, content: &Content, failures: u32) -> Memory {
    Memory {
        host: Some(host.clone()),
        content: Some(content.clone()),
        failures,
        retry_at: None,
        last: None,
    }
}

/// What a user must know although it runs.
fn degraded(state: &WorkloadState) -> Option<(&'static str, Verdict)> {
    let (first, _) = state.warnings.first()?;
    let mut texts: Vec<String> = Vec::new();
    for (reason, message) in &state.warnings {
        let text = match reason == first {
            true => message.clone(),
            false => format!("{reason}: {message}"),
        };
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    let reason = Reason::parse(first).unwrap_or(Reason::Internal);
    Some((types::DEGRADED, Verdict::yes(reason, texts.join("; "))))
}

#[cfg(test)]
mod tests;
