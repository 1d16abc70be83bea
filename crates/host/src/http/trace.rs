//! A span for each request, as OpenTelemetry's conventions for HTTP servers name its parts. Where
//! spans go is the business of whoever made the tracer.

use std::sync::LazyLock;

use http::{HeaderValue, Request};
use opentelemetry::{
    Context, KeyValue,
    propagation::{Extractor, TextMapPropagator},
    trace::{Span as _, SpanKind, Status, TraceContextExt, Tracer},
};
use opentelemetry_http::HeaderInjector;
use opentelemetry_sdk::{
    propagation::TraceContextPropagator,
    trace::{SdkTracer, Span},
};
use waft_runtime::TraceContext;

use crate::{reason::Reason, running::RunningWorkload};

/// W3C Trace Context.
static PROPAGATOR: LazyLock<TraceContextPropagator> = LazyLock::new(TraceContextPropagator::new);

/// The name under which the propagator gives what tracing systems say.
const TRACESTATE: &str = "tracestate";

/// What a request says of its trace.
struct Named(Option<TraceContext>);

/// The span of a request that is being answered.
pub(crate) struct RequestSpan(Span);

impl Extractor for Named {
    fn get(&self, key: &str) -> Option<&str> {
        let trace = self.0.as_ref()?;
        match key {
            TRACESTATE => trace.state(),
            _ => Some(trace.parent()),
        }
    }

    fn keys(&self) -> Vec<&str> {
        Vec::new()
    }
}

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
        let named = Named(TraceContext::of(request.headers()));
        let parent = PROPAGATOR.extract_with_context(&none, &named);
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
        let headers = request.headers_mut();
        PROPAGATOR.inject_context(&here, &mut HeaderInjector(headers));
        if headers.get(TRACESTATE).is_some_and(HeaderValue::is_empty) {
            headers.remove(TRACESTATE);
        }
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

#[cfg(test)]
mod tests {
    use opentelemetry::trace::TracerProvider;
    use opentelemetry_sdk::trace::SdkTracerProvider;

    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    /// What the guest sees of a request's trace.
    fn seen(headers: &[(&str, &str)]) -> (String, Vec<String>) {
        let tracer = SdkTracerProvider::builder().build().tracer("test");
        let mut request = Request::get("/");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(()).unwrap();
        let span = RequestSpan::begin(&tracer, &mut request, "id", None);
        span.end(None, Some(200), None);
        let all = |name| {
            let values = request.headers().get_all(name).iter();
            values.map(|v| v.to_str().unwrap().to_owned()).collect()
        };
        let parents: Vec<_> = all("traceparent");
        assert_eq!(parents.len(), 1);
        (parents[0].clone(), all(TRACESTATE))
    }

    #[test]
    fn all_that_tracing_systems_say_goes_on() {
        let named = [
            ("traceparent", PARENT),
            (TRACESTATE, "a=b"),
            (TRACESTATE, "c=d"),
        ];
        let (parent, states) = seen(&named);
        assert_eq!((&parent[..36], &parent[52..]), (&PARENT[..36], "-01"));
        assert_eq!(states, ["a=b,c=d"]);
    }

    #[test]
    fn where_nothing_is_said_nothing_goes_on() {
        assert_eq!(seen(&[("traceparent", PARENT)]).1, [""; 0]);
        assert_eq!(seen(&[]).1, [""; 0]);
        // What is said of a trace that is none belongs to no other.
        let (parent, states) = seen(&[("traceparent", "x"), (TRACESTATE, "a=b")]);
        assert_eq!((parent.len(), states.len()), (PARENT.len(), 0));
    }
}
