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
/// they came, but several of `tracestate` as one.
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
    /// What the headers of a request say, if it has a trace that others understand.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut parents = headers.get_all(TRACEPARENT).iter();
        let parent = parents.next().filter(|it| is_parent(it.as_bytes()))?;
        if parents.next().is_some() {
            return None;
        }
        let states = headers.get_all(TRACESTATE).iter();
        let states: Vec<_> = states
            .map(HeaderValue::as_bytes)
            .filter(|state| !state.is_empty())
            .collect();
        let state = match states.is_empty() {
            true => None,
            false => HeaderValue::from_bytes(&states.join(&b","[..])).ok(),
        };
        Some(Self {
            parent: parent.clone(),
            state,
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

/// Whether a `traceparent` is one: version, trace, span and flags; later versions may say more.
fn is_parent(value: &[u8]) -> bool {
    let is_hex = |part: &[u8]| {
        let mut bytes = part.iter();
        bytes.all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    let is_zero = |part: &[u8]| part.iter().all(|b| *b == b'0');
    let mut parts = value.splitn(5, |b| *b == b'-');
    let mut next = |length: usize| {
        let part = parts.next()?;
        (part.len() == length && is_hex(part)).then_some(part)
    };
    let (Some(version), Some(trace), Some(span), Some(_)) = (next(2), next(32), next(16), next(2))
    else {
        return false;
    };
    let says_more = parts.next().is_some();
    let is_none = version == b"ff" || (version == b"00" && says_more);
    !is_none && !is_zero(trace) && !is_zero(span)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const OTHER: &str = "00-0af7651916cd43dd8448eb211c80319d-b7ad6b7169203332-00";

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        };
        // Several of one name stay.
        let mut headers = HeaderMap::new();
        for (name, value) in pairs.iter().map(pair) {
            headers.append(name, value);
        }
        headers
    }

    #[test]
    fn a_request_without_a_trace_gets_that_of_its_call() {
        let call = headers(&[
            ("traceparent", ONE),
            ("tracestate", "a=b"),
            ("tracestate", ""),
            ("tracestate", "c=d,e=f"),
        ]);
        let trace = TraceContext::of(&call).unwrap();
        let mut sent = headers(&[("accept", "text/plain")]);
        trace.mark(&mut sent);
        assert_eq!(sent["traceparent"], ONE);
        assert_eq!(sent["tracestate"], "a=b,c=d,e=f");
        let bare = TraceContext::of(&headers(&[("traceparent", ONE), ("tracestate", "")]));
        assert_eq!(bare.unwrap().state(), None);
    }

    #[test]
    fn a_request_keeps_its_own_trace() {
        let call = headers(&[("traceparent", ONE), ("tracestate", "a=b")]);
        let own = headers(&[("traceparent", OTHER)]);
        let mut sent = own.clone();
        TraceContext::of(&call).unwrap().mark(&mut sent);
        assert_eq!(sent, own);
        assert_eq!(TraceContext::of(&headers(&[("tracestate", "a=b")])), None);
    }

    #[test]
    fn what_is_no_trace_goes_no_further() {
        let later = ["01", &ONE[2..], "-more"].concat();
        assert!(is_parent(ONE.as_bytes()) && is_parent(later.as_bytes()));
        for bad in [
            "",
            "x",
            "00-1-2-01",
            &ONE.to_uppercase(),
            &ONE[..ONE.len() - 1],
            &[ONE, "-more"].concat(),
            &["ff", &ONE[2..]].concat(),
            &["00-", &"0".repeat(32), &ONE[35..]].concat(),
            &[&ONE[..36], &"0".repeat(16), "-01"].concat(),
        ] {
            assert!(!is_parent(bad.as_bytes()), "{bad}");
        }
        let two = headers(&[("traceparent", ONE), ("traceparent", OTHER)]);
        assert_eq!(TraceContext::of(&two), None);
    }
}
