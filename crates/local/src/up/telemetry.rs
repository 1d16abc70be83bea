//! What guests say by `wasi:otel`, on its way to the collector, over OTLP. The variables are those that
//! spans of requests have as well ([`traces`](super::traces)); each of the three signals may have an
//! address and headers of its own, or be left out.

use std::{env, time::Duration};

use http::HeaderValue;
use prost::encoding::{WireType, encode_key, encode_varint};
use reqwest::{Client, header::HeaderMap};
use tokio::{
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use waft_capabilities::{Telemetry, TelemetryReceiver, Told};

use super::traces::{LAST_SPANS, check_protocol};
use crate::event::UpError;

/// How long a batch is collected, unless `OTEL_BSP_SCHEDULE_DELAY` says so.
const DELAY: Duration = Duration::from_secs(1);
/// How long the collector may take, unless `OTEL_EXPORTER_OTLP_TIMEOUT` says so.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Most that goes into one batch.
const BATCH: usize = 512;

/// Sends until it is ended.
pub(super) struct GuestTelemetry {
    task: JoinHandle<()>,
    stop: CancellationToken,
}

/// Where one signal goes.
struct Destination {
    url: String,
    headers: HeaderMap,
}

struct Exporter {
    client: Client,
    telemetry: Telemetry,
    /// In the order of [`Signal`]. `None`: not wanted.
    to: [Option<Destination>; 3],
    delay: Duration,
}

impl GuestTelemetry {
    /// Starts sending, if the variables name a collector: also what guests are given.
    pub(super) fn start() -> Result<Option<(Telemetry, Self)>, UpError> {
        let to = ["TRACES", "LOGS", "METRICS"].map(|of| destination(of, &variable));
        if variable("OTEL_SDK_DISABLED").as_deref() == Some("true")
            || to.iter().all(Option::is_none)
        {
            return Ok(None);
        }
        for signal in ["TRACES", "LOGS", "METRICS"] {
            check_protocol(signal)?;
        }
        let milliseconds = |name: &str| variable(name)?.parse().ok().map(Duration::from_millis);
        let answer_within = milliseconds("OTEL_EXPORTER_OTLP_TIMEOUT").unwrap_or(ANSWER_WITHIN);
        let client = Client::builder().timeout(answer_within).build();
        let client = client.map_err(|error| UpError::Internal(format!("no telemetry: {error}")))?;
        let of_host = variable("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
        let of_host = pairs(&of_host).filter(|(key, _)| key != "service.name");
        let (telemetry, receiver) = Telemetry::new(of_host.collect());
        let exporter = Exporter {
            client,
            telemetry: telemetry.clone(),
            to,
            delay: milliseconds("OTEL_BSP_SCHEDULE_DELAY").unwrap_or(DELAY),
        };
        let stop = CancellationToken::new();
        let task = tokio::spawn(exporter.run(receiver, stop.clone()));
        Ok(Some((telemetry, Self { task, stop })))
    }

    /// Sends what is left.
    pub(super) async fn end(self) {
        self.stop.cancel();
        let aborted = self.task.abort_handle();
        if timeout(LAST_SPANS, self.task).await.is_err() {
            aborted.abort();
        }
    }
}

/// A variable that says something.
fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// Where a signal goes: to an address of its own, or to a path below the one for all.
fn destination(signal: &str, variable: &impl Fn(&str) -> Option<String>) -> Option<Destination> {
    if variable(&format!("OTEL_{signal}_EXPORTER")).as_deref() == Some("none") {
        return None;
    }
    let path = signal.to_lowercase();
    let own = variable(&format!("OTEL_EXPORTER_OTLP_{signal}_ENDPOINT"));
    let below = || {
        let base = variable("OTEL_EXPORTER_OTLP_ENDPOINT")?;
        Some(format!("{}/v1/{path}", base.trim_end_matches('/')))
    };
    let mut headers = HeaderMap::new();
    let own_headers = variable(&format!("OTEL_EXPORTER_OTLP_{signal}_HEADERS"));
    let said = own_headers.or_else(|| variable("OTEL_EXPORTER_OTLP_HEADERS"));
    for (name, value) in pairs(&said.unwrap_or_default()) {
        let name = name.parse::<http::HeaderName>();
        if let (Ok(name), Ok(mut value)) = (name, HeaderValue::from_str(&value)) {
            value.set_sensitive(true);
            headers.insert(name, value);
        }
    }
    headers.insert(
        http::header::CONTENT_TYPE,
        HeaderValue::from_static("application/x-protobuf"),
    );
    Some(Destination {
        url: own.or_else(below)?,
        headers,
    })
}

/// `key=value` with commas between them, percent-encoded.
fn pairs(text: &str) -> impl Iterator<Item = (String, String)> + '_ {
    let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
    pairs.map(|(key, value)| {
        // As a form has them, but that a plus is a plus.
        let coded = value.trim().replace('+', "%2B");
        let decoded = url::form_urlencoded::parse(coded.as_bytes()).next();
        (
            key.trim().to_owned(),
            decoded.map_or_else(String::new, |(value, _)| value.into()),
        )
    })
}

impl Exporter {
    async fn run(self, mut receiver: TelemetryReceiver, stop: CancellationToken) {
        let mut batch = Vec::new();
        loop {
            tokio::select! {
                count = receiver.next(&mut batch, BATCH) => {
                    if count == 0 {
                        return;
                    }
                    if batch.len() < BATCH {
                        tokio::select! {
                            () = sleep(self.delay) => {}
                            () = stop.cancelled() => {}
                        }
                        receiver.rest(&mut batch, BATCH);
                    }
                    self.send(&mut batch).await;
                }
                () = stop.cancelled() => {
                    receiver.rest(&mut batch, usize::MAX);
                    self.send(&mut batch).await;
                    return;
                }
            }
        }
    }

    /// Sends a batch, each signal to its place. What can't be delivered is gone, and counted.
    async fn send(&self, batch: &mut Vec<Told>) {
        let (mut bodies, mut counts) = ([const { Vec::new() }; 3], [0; 3]);
        // Their room is taken until they are sent.
        for told in batch.iter() {
            let at = told.signal as usize;
            // Field 1 of the request, as often as there are some.
            encode_key(1, WireType::LengthDelimited, &mut bodies[at]);
            encode_varint(told.message.len() as u64, &mut bodies[at]);
            bodies[at].extend_from_slice(&told.message);
            counts[at] += 1;
        }
        for ((body, count), to) in bodies.into_iter().zip(counts).zip(&self.to) {
            let (Some(to), 1..) = (to, count) else {
                continue;
            };
            let request = self
                .client
                .post(&to.url)
                .headers(to.headers.clone())
                .body(body);
            let sent = request
                .send()
                .await
                .and_then(reqwest::Response::error_for_status);
            if let Err(error) = sent {
                tracing::debug!(%error, "telemetry of guests was not sent");
                (0..count).for_each(|_| self.telemetry.count_dropped());
            }
        }
        batch.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_signal_has_its_place() {
        let given = |set: &'static [(&str, &str)]| {
            move |name: &str| {
                let found = set.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| (*value).to_owned())
            }
        };
        let all = given(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318/"),
            ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://l/x"),
            ("OTEL_METRICS_EXPORTER", "none"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=b%20c, d = e+f"),
            ("OTEL_EXPORTER_OTLP_LOGS_HEADERS", "only=logs"),
        ]);
        let traces = destination("TRACES", &all).unwrap();
        assert_eq!(traces.url, "http://c:4318/v1/traces");
        assert_eq!(
            (&traces.headers["a"], &traces.headers["d"]),
            (
                &HeaderValue::from_static("b c"),
                &HeaderValue::from_static("e+f")
            )
        );
        let logs = destination("LOGS", &all).unwrap();
        assert_eq!(
            (logs.url.as_str(), logs.headers.get("a")),
            ("http://l/x", None)
        );
        assert!(destination("METRICS", &all).is_none());
        assert!(destination("TRACES", &given(&[])).is_none());
    }
}
