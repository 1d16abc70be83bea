//! What `kubectl logs` and `kubectl port-forward` reach: the host's logs of a workload, and its
//! HTTP entry.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt as _, stream::BoxStream};
use jiff::Timestamp;
use waft_apiserver::{ByteStream, Connect, LogOptions, Status};
use waft_ir::{HostLink, LogLine, LogQuery, Phase, WorkloadState};

use crate::{
    index::{Index, Known},
    waiting,
};

/// Pods that are workloads of the host.
pub(crate) struct Workloads {
    /// The host.
    pub(crate) link: Arc<dyn HostLink>,
    /// Which workload a Pod stands for.
    pub(crate) index: Index,
}

impl Workloads {
    fn find(&self, namespace: &str, pod: &str) -> Result<Arc<Known>, Status> {
        self.index.named(namespace, pod).ok_or_else(|| {
            Status::bad_request(format!(
                "pod {pod} is not run: Waft runs components, not containers"
            ))
        })
    }

    /// Why a workload does not run, unless it does or has. Who follows waits for one that is on the
    /// way.
    fn not_started(&self, known: &Known, follow: bool) -> Option<String> {
        let states = self.link.states();
        let states = states.borrow();
        let Some(state) = states.get(&known.id) else {
            return Some(known.waits_for.clone());
        };
        waiting::of_state(state)
            .filter(|_| waits(state, follow))
            .map(|(reason, _)| reason)
    }

    /// Whether a component has a log: one that failed after it ran may.
    async fn has_lines(&self, known: &Known, component: &str) -> bool {
        let last = LogQuery {
            component: Some(component.into()),
            tail: Some(1),
            ..LogQuery::default()
        };
        self.link.logs(&known.id, last).await.next().await.is_some()
    }
}

#[async_trait]
impl Connect for Workloads {
    async fn logs(
        &self,
        namespace: &str,
        pod: &str,
        options: LogOptions,
    ) -> Result<BoxStream<'static, Bytes>, Status> {
        let known = self.find(namespace, pod)?;
        let component = container(&known, options.container.as_deref())?;
        if options.previous {
            return Err(Status::bad_request(format!(
                "container \"{component}\" in pod \"{pod}\" has one log for all its runs, the \
                 earlier ones too: ask without --previous"
            )));
        }
        if let Some(reason) = self.not_started(&known, options.follow)
            && !self.has_lines(&known, &component).await
        {
            return Err(Status::bad_request(format!(
                "container \"{component}\" in pod \"{pod}\" is waiting to start: {reason}"
            )));
        }
        let query = LogQuery {
            component: Some(component),
            tail: options.tail_lines.map(saturating),
            since: since(&options)?,
            follow: options.follow,
        };
        let lines = self.link.logs(&known.id, query).await;
        let timestamps = options.timestamps;
        let lines = lines.map(move |line| text(&line, timestamps));
        Ok(match options.limit_bytes {
            Some(limit) => limited(lines.boxed(), limit),
            None => lines.boxed(),
        })
    }

    async fn port_forward(
        &self,
        namespace: &str,
        pod: &str,
        _port: u16,
    ) -> Result<Box<dyn ByteStream>, Status> {
        let known = self.find(namespace, pod)?;
        // A component has one entry, whatever port is asked for.
        match self.link.connect(&known.id).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(error) => Err(Status::bad_request(format!(
                "pod {pod} does not serve HTTP now: {error}"
            ))),
        }
    }
}

/// Whether a workload has yet to start for the first time.
fn waits(state: &WorkloadState, follow: bool) -> bool {
    // Whatever fails once it runs leaves its error.
    let has_run = state.components.iter().any(|c| c.last_error.is_some());
    match state.phase {
        Phase::Failed(_) => !has_run,
        Phase::Pulling | Phase::Compiling => !has_run && !follow,
        Phase::Running | Phase::Restarting(_) | Phase::Completed | Phase::Stopping => false,
    }
}

/// The container whose lines are wanted.
fn container(known: &Known, wanted: Option<&str>) -> Result<String, Status> {
    let pod = &known.name;
    match (wanted, known.containers.as_slice()) {
        (Some(name), all) if all.iter().any(|c| c == name) => Ok(name.into()),
        (Some(name), _) => Err(Status::bad_request(format!(
            "container {name} is not valid for pod {pod}"
        ))),
        (None, [only]) => Ok(only.clone()),
        (None, all) => Err(Status::bad_request(format!(
            "a container name must be specified for pod {pod}, choose one of: [{}]",
            all.join(" ")
        ))),
    }
}

/// The time from which lines are wanted.
fn since(options: &LogOptions) -> Result<Option<SystemTime>, Status> {
    if let Some(seconds) = options.since_seconds {
        return Ok(SystemTime::now().checked_sub(Duration::from_secs(seconds)));
    }
    let Some(text) = &options.since_time else {
        return Ok(None);
    };
    let time = text.parse::<Timestamp>().map_err(|error| {
        Status::bad_request(format!(
            "sinceTime `{text}` is not an RFC 3339 time: {error}"
        ))
    })?;
    Ok(Some(time.into()))
}

/// A line as kubectl prints it.
fn text(line: &LogLine, timestamps: bool) -> Bytes {
    let mut text = String::with_capacity(line.text.len() + 40);
    if timestamps && let Ok(time) = Timestamp::try_from(line.time) {
        text.push_str(&format!("{time:.9} "));
    }
    text.push_str(&line.text);
    text.push('\n');
    text.into()
}

/// The first so many bytes.
fn limited(lines: BoxStream<'static, Bytes>, limit: u64) -> BoxStream<'static, Bytes> {
    lines
        .scan(saturating(limit), |left, mut line| {
            if *left == 0 {
                return std::future::ready(None);
            }
            line.truncate(*left);
            *left -= line.len();
            std::future::ready(Some(line))
        })
        .boxed()
}

fn saturating(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use waft_ir::{ComponentState, Failure, FailureReason, HostId, LogSource, WorkloadId};

    use super::*;

    fn known(containers: &[&str]) -> Known {
        Known {
            id: WorkloadId("1".into()),
            namespace: "default".into(),
            name: "hello-x".into(),
            shown: "hello".into(),
            containers: containers.iter().map(|&c| c.into()).collect(),
            waits_for: "Pending".into(),
        }
    }

    #[test]
    fn one_container_needs_no_name_and_several_do() {
        assert_eq!(container(&known(&["http"]), None).unwrap(), "http");
        assert_eq!(container(&known(&["a", "b"]), Some("b")).unwrap(), "b");
        let message = |wanted| container(&known(&["a", "b"]), wanted).unwrap_err().message;
        assert!(message(None).ends_with("choose one of: [a b]"));
        assert_eq!(
            message(Some("c")),
            "container c is not valid for pod hello-x"
        );
    }

    #[test]
    fn what_ran_and_failed_does_not_wait_for_its_start() {
        let state = |reason, last_error: Option<&str>| WorkloadState {
            host: HostId("1".into()),
            phase: Phase::Failed(Failure::new(reason, "it failed")),
            components: vec![ComponentState {
                last_error: last_error.map(Into::into),
                ..ComponentState::default()
            }],
            warnings: Vec::new(),
        };
        assert!(waits(&state(FailureReason::FileNotFound, None), false));
        let mut ran = state(FailureReason::RestartsExhausted, Some("Trap: unreachable"));
        assert!(!waits(&ran, false));
        ran.phase = Phase::Pulling;
        assert!(!waits(&ran, false));
    }

    #[tokio::test]
    async fn lines_carry_times_and_stop_at_the_limit() {
        let line = |text: &str| LogLine {
            time: SystemTime::UNIX_EPOCH + Duration::from_nanos(1_500_000_000),
            component: "http".into(),
            source: LogSource::Stdout,
            request: None,
            text: text.into(),
        };
        assert_eq!(text(&line("a"), true), "1970-01-01T00:00:01.500000000Z a\n");
        let all = futures::stream::iter(["abc", "def"].map(|t| text(&line(t), false)));
        let cut = limited(all.boxed(), 6).collect::<Vec<_>>().await;
        assert_eq!(cut.concat(), b"abc\nde");
    }

    #[test]
    fn a_malformed_time_is_refused() {
        let options = LogOptions {
            since_time: Some("yesterday".into()),
            ..LogOptions::default()
        };
        assert!(since(&options).unwrap_err().message.contains("yesterday"));
    }
}
