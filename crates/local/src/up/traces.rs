//! Spans on their way to a collector, over OTLP. Address, headers, sampling and batches are what
//! the variables of the OpenTelemetry specification say, which its SDK reads.

use std::{env, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use opentelemetry::trace::TracerProvider;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    trace::{SdkTracer, SdkTracerProvider},
};
use tokio::runtime::Handle;

use crate::event::UpError;

/// Name of the service, unless `OTEL_SERVICE_NAME` gives one.
const SERVICE: &str = "waft";
/// How long the last spans may take to be sent.
pub(super) const LAST_SPANS: Duration = Duration::from_secs(2);

/// Sends spans until it is dropped.
pub(super) struct Traces(SdkTracerProvider);

/// Sends what the exporter's own thread has, on the runtime of this process.
#[derive(Debug)]
struct Client {
    client: reqwest::Client,
    runtime: Handle,
}

impl Traces {
    /// Starts the thread that sends. An unreachable collector is no error: spans are lost then.
    pub(super) fn start() -> Result<Self, UpError> {
        let failed = |error: &dyn std::fmt::Display| {
            UpError::Internal(format!("no traces by the OTEL_ variables: {error}"))
        };
        check_protocol("TRACES")?;
        let client = reqwest::Client::builder().build();
        let client = Client {
            client: client.map_err(|error| failed(&error))?,
            runtime: Handle::current(),
        };
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_protocol(Protocol::HttpBinary)
            .build()
            .map_err(|error| failed(&error))?;
        let mut resource = Resource::builder();
        if env::var_os("OTEL_SERVICE_NAME").is_none() {
            resource = resource.with_service_name(SERVICE);
        }
        let provider = SdkTracerProvider::builder()
            .with_resource(resource.build())
            .with_batch_exporter(exporter)
            .build();
        Ok(Self(provider))
    }

    pub(super) fn tracer(&self) -> SdkTracer {
        self.0.tracer("waft")
    }

    /// Sends what is left.
    pub(super) async fn end(self) {
        // It waits for its thread, which waits for this runtime.
        let ending = move || self.0.shutdown_with_timeout(LAST_SPANS);
        if let Ok(Err(error)) = tokio::task::spawn_blocking(ending).await {
            tracing::debug!(%error, "the last spans were not sent");
        }
    }
}

/// Refuses what is said of the protocol of a signal, unless it is the one that is served.
pub(super) fn check_protocol(signal: &str) -> Result<(), UpError> {
    let own = format!("OTEL_EXPORTER_OTLP_{signal}_PROTOCOL");
    for name in [own.as_str(), "OTEL_EXPORTER_OTLP_PROTOCOL"] {
        match env::var(name) {
            Ok(value) if !["", "http/protobuf"].contains(&value.as_str()) => {
                let text = format!(
                    "no telemetry by the OTEL_ variables: {name} is `{value}`, and only \
                     `http/protobuf` is served"
                );
                return Err(UpError::Internal(text));
            }
            _ => {}
        }
    }
    Ok(())
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(
        &self,
        request: http::Request<Bytes>,
    ) -> Result<http::Response<Bytes>, HttpError> {
        let client = self.client.clone();
        let sending = self.runtime.spawn(async move {
            let mut response = client.execute(request.try_into()?).await?;
            let mut answer = http::Response::builder().status(response.status());
            if let Some(headers) = answer.headers_mut() {
                *headers = std::mem::take(response.headers_mut());
            }
            Ok::<_, HttpError>(answer.body(response.bytes().await?)?)
        });
        sending.await?
    }
}
