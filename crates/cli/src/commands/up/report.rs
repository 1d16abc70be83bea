//! The words for what happens while the platform runs. Pure.

use jiff::Timestamp;
use serde_json::{Value, json};
use waft_local::UpEvent;

use crate::arguments::Report;

/// Something to print.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Words {
    /// A line that was asked for as data; printed even when quiet.
    Data(String),
    /// A line of the report that people read; not printed when quiet.
    Told(String),
    /// A guest's line, or one about its requests, and whose it is; not printed when quiet.
    Guest(String, String),
    /// A remark.
    Note(String),
    /// Something that is wrong.
    Warning(String),
    /// How far something is.
    Progress(String),
    /// It is done.
    Done,
}

/// Finds the words; remembers what the later ones need.
#[derive(Debug)]
pub(super) struct Reporter {
    report: Report,
    kubeconfig: Option<String>,
}

impl Reporter {
    pub(super) fn new(report: Report) -> Self {
        Self {
            report,
            kubeconfig: None,
        }
    }

    /// The words for an event.
    pub(super) fn words(&mut self, event: &UpEvent) -> Vec<Words> {
        match self.report {
            Report::Text => self.text(event),
            Report::Json => vec![Words::Data(as_json(event).to_string())],
        }
    }

    fn text(&mut self, event: &UpEvent) -> Vec<Words> {
        let told = |name: &str, value: &str| vec![Words::Told(format!("{name:<12}{value}"))];
        match event {
            UpEvent::ApiReady { url, kubeconfig } => {
                let kubeconfig = kubeconfig.display().to_string();
                let mut words = told("api", url);
                words.extend(told("kubeconfig", &kubeconfig));
                self.kubeconfig = Some(kubeconfig);
                words
            }
            UpEvent::HttpReady { address } => told("http", &format!("http://{address}")),
            UpEvent::AdminReady { address } => told("admin", &format!("http://{address}/metrics")),
            UpEvent::Applied { object, change } => vec![Words::Note(format!("{object} {change}"))],
            UpEvent::Deleted { object } => vec![Words::Note(format!("{object} deleted"))],
            UpEvent::SourceFailed { message } => vec![Words::Warning(message.clone())],
            UpEvent::Progress { workload, step } => match *step {
                "pulling" | "compiling" => vec![Words::Progress(format!("{step} {workload}"))],
                _ => vec![Words::Done],
            },
            UpEvent::RouteReady { url, source } => told("ready", &format!("{url}  ({source})")),
            UpEvent::Failed {
                object,
                reason,
                message,
            } => vec![Words::Warning(format!("{object}: {reason}: {message}"))],
            UpEvent::Log { workload, line } => {
                let prefix = format!("{workload}/{} ", line.component);
                vec![Words::Guest(prefix, line.text.clone())]
            }
            UpEvent::Access { line } => vec![Words::Guest(String::new(), line.clone())],
            UpEvent::Started => match &self.kubeconfig {
                Some(path) => {
                    let path = shell_word(path);
                    told(
                        "try",
                        &format!("kubectl --kubeconfig {path} get workloaddeployments"),
                    )
                }
                None => Vec::new(),
            },
            UpEvent::Stopping => vec![Words::Note("stopping".into())],
        }
    }
}

/// One object per event; `event` says which.
fn as_json(event: &UpEvent) -> Value {
    match event {
        UpEvent::ApiReady { url, kubeconfig } => {
            json!({"event": "apiReady", "url": url, "kubeconfig": kubeconfig})
        }
        UpEvent::HttpReady { address } => json!({"event": "httpReady", "address": address}),
        UpEvent::AdminReady { address } => json!({"event": "adminReady", "address": address}),
        UpEvent::Applied { object, change } => {
            json!({"event": "applied", "object": object, "change": change})
        }
        UpEvent::Deleted { object } => json!({"event": "deleted", "object": object}),
        UpEvent::SourceFailed { message } => json!({"event": "sourceFailed", "message": message}),
        UpEvent::Progress { workload, step } => {
            json!({"event": "progress", "workload": workload, "step": step})
        }
        UpEvent::RouteReady { url, source } => {
            json!({"event": "routeReady", "url": url, "source": source})
        }
        UpEvent::Failed {
            object,
            reason,
            message,
        } => json!({"event": "failed", "object": object, "reason": reason, "message": message}),
        UpEvent::Log { workload, line } => json!({
            "event": "log",
            "time": Timestamp::try_from(line.time).ok().map(|time| time.to_string()),
            "workload": workload,
            "component": line.component,
            "source": line.source,
            "request": line.request,
            "text": line.text,
        }),
        UpEvent::Access { line } => json!({"event": "access", "line": line}),
        UpEvent::Started => json!({"event": "started"}),
        UpEvent::Stopping => json!({"event": "stopping"}),
    }
}

/// A word that a shell takes as it stands, to be copied.
fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%".contains(c);
    match !text.is_empty() && text.chars().all(plain) {
        true => text.into(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use waft_ir::{LogLine, LogSource};

    use super::*;

    fn log() -> UpEvent {
        UpEvent::Log {
            workload: "hello".into(),
            line: LogLine {
                time: SystemTime::UNIX_EPOCH,
                component: "web".into(),
                source: LogSource::Stdout,
                request: Some("r1".into()),
                text: "hi".into(),
            },
        }
    }

    #[test]
    fn the_first_command_names_the_kubeconfig() {
        let mut reporter = Reporter::new(Report::Text);
        let api = UpEvent::ApiReady {
            url: "https://127.0.0.1:7443".into(),
            kubeconfig: "/a b/kubeconfig".into(),
        };
        let told = |text: &str| Words::Told(text.into());
        let expected = [
            told("api         https://127.0.0.1:7443"),
            told("kubeconfig  /a b/kubeconfig"),
        ];
        assert_eq!(reporter.words(&api), expected);
        let command = "kubectl --kubeconfig '/a b/kubeconfig' get workloaddeployments";
        let expected = [told(&format!("try         {command}"))];
        assert_eq!(reporter.words(&UpEvent::Started), expected);
    }

    #[test]
    fn guests_lines_say_whose_they_are() {
        let words = Reporter::new(Report::Text).words(&log());
        assert_eq!(words, [Words::Guest("hello/web ".into(), "hi".into())]);
        let words = Reporter::new(Report::Json).words(&log());
        let expected = json!({
            "event": "log", "time": "1970-01-01T00:00:00Z", "workload": "hello",
            "component": "web", "source": "Stdout", "request": "r1", "text": "hi",
        });
        assert_eq!(words, [Words::Data(expected.to_string())]);
    }

    #[test]
    fn progress_ends() {
        let mut reporter = Reporter::new(Report::Text);
        let mut words = |step| {
            let workload = "default/hello".into();
            reporter.words(&UpEvent::Progress { workload, step })
        };
        let compiling = Words::Progress("compiling default/hello".into());
        assert_eq!(words("compiling"), [compiling]);
        assert_eq!(words("running"), [Words::Done]);
    }

    #[test]
    fn failures_are_warnings() {
        let failed = UpEvent::Failed {
            object: "Workload/a".into(),
            reason: "ImageNotFound".into(),
            message: "no `x`".into(),
        };
        let words = Reporter::new(Report::Text).words(&failed);
        let expected = "Workload/a: ImageNotFound: no `x`";
        assert_eq!(words, [Words::Warning(expected.into())]);
    }
}
