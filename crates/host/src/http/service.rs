//! One request: which replica gets it, and under which limits.

use std::sync::{Arc, atomic::AtomicBool};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, Uri, Version,
    header::{HOST, UPGRADE},
    uri::Authority,
};
use http_body::Body;
use waft_ir::{WorkloadId, normalize_host, split_port};
use waft_runtime::{CallInfo, Origin, TraceContext, request_body};

use super::{
    answering::{Answering, Called},
    body::{Finish, LimitedBody, Record},
    head::HEADER_LINES,
    request_id,
    router::Target,
    signals::Signals,
    trace::RequestSpan,
};
use crate::{reason::Reason, serving::Serving};

/// Where a connection's requests go.
#[derive(Clone, Debug)]
pub(crate) enum Entry {
    /// By host name and path.
    Routed,
    /// To one workload, whatever the host name.
    Pinned(WorkloadId),
}

/// What all requests of one connection share.
pub(crate) struct ConnectionService {
    pub(crate) serving: Arc<Serving>,
    pub(crate) entry: Entry,
    pub(crate) signals: Arc<Signals>,
}

impl ConnectionService {
    /// Answers one request. Dropping the future, because the client left, ends the guest's call.
    /// What need not wait is done at once, not at the first poll: before that hyper looks for the
    /// end of the stream.
    pub(crate) fn answer<B>(self: Arc<Self>, mut request: Request<B>) -> Answering
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
    {
        let (active, refused) = self.signals.begin();
        // Over HTTP/1 they were counted before.
        let too_many = request.headers().len() > HEADER_LINES;
        let mut finish = Finish::new(active, self.clone());
        let request_id = request_id::of(request.headers());
        let head_only = request.method() == Method::HEAD;
        if self.serving.events.wanted() {
            let mut record = self.record(&request, request_id.clone());
            if refused.is_some() {
                // The request at hand is a stand-in for one that could not be read.
                record.method = "-".into();
                record.path = "-".into();
            }
            finish.record = Some(record);
        }
        if let Some(tracer) = &self.serving.tracer
            && refused.is_none()
        {
            let host = host_name(&request);
            let span = RequestSpan::begin(tracer, &mut request, &request_id, host);
            finish.span = Some(Box::new(span));
        }
        let called = match refused {
            Some(reason) => Err(reason),
            None if too_many => Err(Reason::HeadersTooLarge),
            None => self.call(request, request_id, &mut finish),
        };
        Answering::new(called, head_only, finish)
    }

    /// Finds who gets a request, and begins to ask them.
    fn call<B>(
        &self,
        mut request: Request<B>,
        request_id: Arc<str>,
        finish: &mut Finish,
    ) -> Result<Called, Reason>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
    {
        let target = self.target(&request)?;
        let workload = target.workload;
        finish.in_flight = Some(workload.enter());
        let workload = &**finish.workload.insert(workload);
        if is_upgrade(&request) {
            return Err(Reason::UpgradeNotSupported);
        }
        let limits = &workload.limits;
        if header_bytes(request.headers()) > limits.header_bytes as usize {
            return Err(Reason::HeadersTooLarge);
        }
        let limit = limits.body_bytes;
        if limit.is_some_and(|limit| request.body().size_hint().lower() > limit) {
            return Err(Reason::BodyTooLarge);
        }
        prefer_target_authority(&mut request);
        let origin = Origin::new(request_id, TraceContext::of(request.headers()));
        let info = CallInfo {
            origin,
            timeout: Some(target.timeout),
        };
        let mut exceeded = None;
        let request = request.map(|body| {
            if body.is_end_stream() {
                return waft_runtime::Body::default();
            }
            let flag = exceeded.insert(Arc::<AtomicBool>::default()).clone();
            request_body(LimitedBody::new(body, limit, flag))
        });
        let handling = workload.guest.handle(request, info);
        // A client that sends many is likely to send the next one too.
        self.signals.give_way(workload.guest.has_had_its_turn());
        Ok(Called::new(handling, exceeded))
    }

    fn target<B>(&self, request: &Request<B>) -> Result<Target, Reason> {
        let running = &self.serving.running;
        let host = host_of(request)?;
        if let Entry::Pinned(id) = &self.entry {
            let workload = running.get(id).ok_or(Reason::NoReadyBackend)?;
            let timeout = workload.limits.request_timeout;
            return Ok(Target { workload, timeout });
        }
        let host = normalize_host(host.ok_or(Reason::MissingHost)?).ok_or(Reason::InvalidHost)?;
        self.serving
            .router
            .find(&host, request.uri().path(), running)
    }

    fn record<B>(&self, request: &Request<B>, request_id: Arc<str>) -> Record {
        Record {
            events: self.serving.events.clone(),
            request_id,
            method: request.method().as_str().into(),
            host: host_name(request).unwrap_or_default(),
            path: request.uri().path().into(),
        }
    }
}

/// The host that a request names, as routes name it.
fn host_name<B>(request: &Request<B>) -> Option<String> {
    host_of(request).ok().flatten().and_then(normalize_host)
}

/// The host that a request names, unless it contradicts itself. The target's own goes before the
/// header: RFC 9112, 3.2.2.
fn host_of<B>(request: &Request<B>) -> Result<Option<&str>, Reason> {
    let mut headers = request.headers().get_all(HOST).iter();
    let header = match (headers.next(), headers.next()) {
        (_, Some(_)) => return Err(Reason::InvalidHost),
        (Some(value), None) => Some(value.to_str().map_err(|_| Reason::InvalidHost)?),
        (None, None) => None,
    };
    if let Some(host) = header
        && !host.is_empty()
        && !is_authority(host)
    {
        return Err(Reason::InvalidHost);
    }
    let of_target = request.uri().authority().map(Authority::as_str);
    // HTTP/1.1 wants the header even then: RFC 9112, 3.2.
    if header.is_none() && request.version() == Version::HTTP_11 {
        return Err(Reason::MissingHost);
    }
    if of_target.is_some_and(|target| !is_authority(target)) {
        return Err(Reason::InvalidHost);
    }
    // HTTP/2 knows no reason for two that differ: RFC 9113, 8.3.1.
    let contradicts = of_target.zip(header).is_some_and(|(t, h)| t != h);
    if contradicts && request.version() >= Version::HTTP_2 {
        return Err(Reason::InvalidHost);
    }
    Ok(of_target.or(header).filter(|host| !host.is_empty()))
}

/// Whether a text is a host name or address with, perhaps, a port. Each request is asked: it
/// allocates nothing.
fn is_authority(host: &str) -> bool {
    let Some((name, _)) = split_port(host) else {
        return false;
    };
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    let address = name.strip_prefix('[').and_then(|n| n.strip_suffix(']'));
    match address {
        Some(address) => address.bytes().all(|b| is_plain(b) || b":%".contains(&b)),
        None => name.bytes().all(is_plain),
    }
}

/// Makes the `Host` header agree with an absolute target.
fn prefer_target_authority<B>(request: &mut Request<B>) {
    if request.version() >= Version::HTTP_2 {
        return;
    }
    let Some(authority) = request.uri().authority() else {
        return;
    };
    let host = HeaderValue::from_str(authority.as_str());
    let path = request.uri().path_and_query().cloned();
    if let Ok(host) = host {
        request.headers_mut().insert(HOST, host);
    }
    *request.uri_mut() = path.map(Uri::from).unwrap_or_default();
}

/// Whether a request wants to leave HTTP. `Upgrade: h2c` may be passed over: RFC 9110, 7.8.
fn is_upgrade<B>(request: &Request<B>) -> bool {
    if request.method() == Method::CONNECT {
        return true;
    }
    let offers = request.headers().get_all(UPGRADE).iter();
    offers
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(','))
        .any(|protocol| protocol.trim().eq_ignore_ascii_case("websocket"))
}

fn header_bytes(headers: &HeaderMap) -> usize {
    headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum()
}
