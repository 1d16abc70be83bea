//! A span for each request, as OpenTelemetry's conventions for HTTP servers name its parts. Where
//! spans go is the business of whoever made the tracer.

use std::sync::LazyLock;

use http::Request;
use opentelemetry::{
    Context, KeyValue,
    propagation::TextMapPropagator,
    trace::{Span as _, SpanKind, Status, TraceContextExt, Tracer},
};
use opentelemetry_http::{HeaderExtractor, HeaderInjector};
use opentelemetry_sdk::{
    propagation::TraceContextPropagator,
    trace::{SdkTracer, Span},
};

use crate::{reason::Reason, running::RunningWorkload};

/// W3C Trace Context.
static PROPAGATOR: LazyLock<TraceContextPropagator> = LazyLock::new(TraceContextPropagator::new);

/// The span of a request that is being answered.
pub(crate) struct RequestSpan(Span);

impl RequestSpan {
    /// Begins a span below the one that the request names, and names it in the request, so that the
    /// guest's own are below it.
    pub(super) fn begin<B>(
        tracer: &SdkTracer,
        request: &mut Request<B>,
        request_id: &str,
        host: Option<String>,
    ) -> Self {
        let none = Context::new();
        let parent = PROPAGATOR.extract_with_context(&none, &HeaderExtractor(request.headers()));
        let mut attributes = vec![
            KeyValue::new("http.request.method", request.method().to_string()),
            // Without the query, in which there may be secrets.
            KeyValue::new("url.path", request.uri().path().to_owned()),
            KeyValue::new("url.scheme", "http"),
            KeyValue::new("waft.request.id", request_id.to_owned()),
        ];
        attributes.extend(host.map(|host| KeyValue::new("server.address", host)));
        let span = tracer
            .span_builder(request.method().to_string())
            .with_kind(SpanKind::Server)
            .with_attributes(attributes)
            .start_with_context(tracer, &parent);
        let here = none.with_remote_span_context(span.span_context().clone());
        PROPAGATOR.inject_context(&here, &mut HeaderInjector(request.headers_mut()));
        Self(span)
    }

    /// Ends it with what became of the request. No status: the client left before there was one.
    pub(super) fn end(
        mut self,
        workload: Option<&RunningWorkload>,
        status: Option<u16>,
        reason: Option<Reason>,
    ) {
        let span = &mut self.0;
        if let Some(workload) = workload {
            let (namespace, name) = workload.key.split_once('/').unwrap_or(("", &workload.key));
            span.set_attributes([
                KeyValue::new("k8s.namespace.name", namespace.to_owned()),
                KeyValue::new("waft.workload", name.to_owned()),
                KeyValue::new("waft.component", workload.component.to_string()),
            ]);
        }
        if let Some(status) = status {
            span.set_attribute(KeyValue::new(
                "http.response.status_code",
                i64::from(status),
            ));
        }
        let failed = status.is_some_and(|status| status >= 500);
        let error = match (reason, status) {
            (Some(reason), _) => Some(reason.as_str().to_owned()),
            (None, Some(status)) => failed.then(|| status.to_string()),
            (None, None) => Some("ClientGone".to_owned()),
        };
        if let Some(error) = error {
            span.set_attribute(KeyValue::new("error.type", error));
        }
        if failed {
            span.set_status(Status::error(""));
        }
        span.end();
    }
}
