//! Where a call comes from: what its guest's lines and outgoing requests are marked with.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};

/// The header that names the trace and the span that a request belongs to.
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// The header in which tracing systems keep what is their own about it.
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// What one call is known by.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Origin {
    /// Marks the guest's lines.
    pub request_id: Arc<str>,
    /// The trace it belongs to. The guest's outgoing requests that name none belong to it too.
    pub trace: Option<TraceContext>,
    /// How many workloads called each other to get to it.
    pub(crate) depth: u8,
}

impl Origin {
    /// A call that comes from outside, as far as its request doesn't say otherwise.
    pub fn new(request_id: Arc<str>, trace: Option<TraceContext>) -> Self {
        Self {
            request_id,
            trace,
            depth: 0,
        }
    }
}

/// A place in a trace, as requests carry it: W3C Trace Context, level 1. The values are passed on as
/// they came.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TraceContext {
    parent: HeaderValue,
    state: Option<HeaderValue>,
}

impl From<Arc<str>> for Origin {
    /// A call that belongs to no trace.
    fn from(request_id: Arc<str>) -> Self {
        Self::new(request_id, None)
    }
}

impl TraceContext {
    /// What the headers of a request say.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        Some(Self {
            parent: headers.get(TRACEPARENT)?.clone(),
            state: headers.get(TRACESTATE).cloned(),
        })
    }

    /// The trace, the span and their flags, as `traceparent` says them.
    pub fn parent(&self) -> &str {
        self.parent.to_str().unwrap_or_default()
    }

    /// What tracing systems say of it, as `tracestate` says it.
    pub fn state(&self) -> Option<&str> {
        self.state.as_ref()?.to_str().ok()
    }

    /// Says so in the headers of a request, unless they name a trace already.
    pub(crate) fn mark(&self, headers: &mut HeaderMap) {
        if headers.contains_key(TRACEPARENT) {
            return;
        }
        headers.insert(TRACEPARENT, self.parent.clone());
        if let Some(state) = &self.state {
            headers.insert(TRACESTATE, state.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn a_request_without_a_trace_gets_that_of_its_call() {
        let call = headers(&[("traceparent", "00-1-2-01"), ("tracestate", "a=b")]);
        let trace = TraceContext::of(&call).unwrap();
        let mut sent = headers(&[("accept", "text/plain")]);
        trace.mark(&mut sent);
        assert_eq!(sent["traceparent"], "00-1-2-01");
        assert_eq!(sent["tracestate"], "a=b");
    }

    #[test]
    fn a_request_keeps_its_own_trace() {
        let call = headers(&[("traceparent", "00-1-2-01"), ("tracestate", "a=b")]);
        let own = headers(&[("traceparent", "00-3-4-01")]);
        let mut sent = own.clone();
        TraceContext::of(&call).unwrap().mark(&mut sent);
        assert_eq!(sent, own);
        assert_eq!(TraceContext::of(&headers(&[("tracestate", "a=b")])), None);
    }
}
