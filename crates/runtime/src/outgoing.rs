//! Outgoing HTTP: from a guest's request to the server's response, or the interface's own error.
//!
//! Whether a request may be sent is asked of the [`EgressPolicy`](crate::EgressPolicy), for its
//! name before anything is resolved and for each address before it is connected to. Requests to the
//! names of routes go to the other workload without leaving the process. Connections are kept for
//! each guest alone: what one component was granted is never used by another. Redirects are the
//! guest's business.

mod body;
mod connect;
mod local;
mod names;
mod network;
mod patience;
mod pool;
mod tls;

use std::{future::Future, sync::Arc, time::Duration};

use http::{
    HeaderMap, HeaderValue, Method, Request, Response, Uri, Version,
    header::{CONTENT_TYPE, HOST},
};
use waft_ir::LogSource;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody};

use crate::{Denied, Destination, ctx::strip_forbidden, log::InstanceLog};
pub use local::LocalRoutes;
pub(crate) use local::depth;
pub use names::Resolve;
pub use network::EgressStats;
pub(crate) use network::{Network, Outside};
use pool::{Key, Protocol};
pub use tls::client_tls;

/// How long a connection may take to be made, name look-up and TLS included, unless the guest wants
/// it shorter.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a server may take to answer or to send more, unless the guest wants it shorter. What
/// bounds the guest's own call is usually shorter still.
const READ: Duration = Duration::from_secs(600);

/// What the hook of `wasi:http` returns.
pub(crate) type Sending = Box<
    dyn Future<
            Output = Result<
                (
                    Response<WasiBody>,
                    Box<dyn Future<Output = Result<(), Error>> + Send>,
                ),
                Error,
            >,
        > + Send,
>;

/// How long each step may take.
#[derive(Clone, Copy, Debug)]
struct Timeouts {
    connect: Duration,
    first_byte: Duration,
    between_bytes: Duration,
}

/// Sends a request. What is refused is counted and said in the component's log.
pub(crate) fn send(
    network: &Arc<Network>,
    log: &Arc<InstanceLog>,
    mut request: Request<WasiBody>,
    options: Option<RequestOptions>,
) -> Sending {
    // While the guest's code runs: later it can't be told whose request this is.
    let depth = log.depth();
    if let Some(trace) = log.trace() {
        trace.mark(request.headers_mut());
    }
    let (network, log) = (network.clone(), log.clone());
    let timeouts = Timeouts::from(options);
    Box::new(async move {
        let target = Target::of(request.uri()).inspect_err(|_| {
            network.count_denied(Denied::NotAHost);
        })?;
        let mut response = match route(&network, &target, request.uri().path(), depth) {
            Ok(Way::Local(routes)) => local::answer(routes, request, depth, timeouts).await?,
            Ok(Way::Out(destination)) => {
                exchange(&network, &target, destination, request, timeouts)
                    .await
                    .inspect_err(|failed| note(&network, &log, &target, failed))
                    .map_err(Error::from)?
            }
            Err(failed) => {
                note(&network, &log, &target, &failed);
                return Err(failed.into());
            }
        };
        network.count_request();
        strip_forbidden(response.headers_mut());
        let done: Box<dyn Future<Output = Result<(), Error>> + Send> = Box::new(async { Ok(()) });
        Ok((response, done))
    })
}

/// Where a request is to go.
struct Target {
    tls: bool,
    /// As in the URI: an IPv6 address has brackets.
    host: String,
    port: u16,
}

/// Which way it takes.
enum Way {
    Local(Arc<dyn LocalRoutes>),
    Out(Destination),
}

/// Why there is no response.
#[derive(Debug)]
enum Failed {
    Denied(Denied),
    Other(Error),
}

impl Target {
    fn of(uri: &Uri) -> Result<Self, Error> {
        let authority = uri.authority().ok_or(Error::HttpRequestUriInvalid)?;
        let host = uri.host().filter(|host| !host.is_empty());
        let host = host.ok_or(Error::HttpRequestUriInvalid)?.to_owned();
        // User information would be part of the Host header, and says nothing to HTTP.
        if authority.as_str().contains('@') {
            return Err(Error::HttpRequestUriInvalid);
        }
        let tls = uri.scheme_str() == Some("https");
        let port = authority.as_str().strip_prefix(&host);
        let port = match (port.and_then(|rest| rest.strip_prefix(':')), tls) {
            // "host:" has an empty port, which is none.
            (None | Some(""), true) => 443,
            (None | Some(""), false) => 80,
            (Some(digits), _) => port_of(digits).ok_or(Error::HttpRequestUriInvalid)?,
        };
        Ok(Self { tls, host, port })
    }

    fn scheme(&self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }
}

/// The port that is written so, if it is one.
fn port_of(digits: &str) -> Option<u16> {
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|port| is_number && *port != 0)
}

/// Asks the policy for the name.
fn route(network: &Network, target: &Target, path: &str, depth: u8) -> Result<Way, Failed> {
    let (scheme, host, port) = (target.scheme(), target.host.as_str(), target.port);
    let policy = network.policy();
    if let Some(routes) = network.outside().routes()
        && let Some(name) = waft_ir::normalize_host(host)
        && policy.grants_name(scheme, &name, port)
        && routes.serves(&name, path)
    {
        if depth >= local::MAX_DEPTH {
            return Err(Failed::Other(Error::LoopDetected));
        }
        return Ok(Way::Local(routes));
    }
    policy
        .http(scheme, host, port)
        .map(Way::Out)
        .map_err(Failed::Denied)
}

/// Sends the request over a connection that is kept, or a new one.
async fn exchange(
    network: &Arc<Network>,
    target: &Target,
    destination: Destination,
    mut request: Request<WasiBody>,
    timeouts: Timeouts,
) -> Result<Response<WasiBody>, Failed> {
    if request.method() == Method::CONNECT {
        // A tunnel would lead past what was checked.
        return Err(Failed::Other(Error::HttpRequestMethodInvalid));
    }
    let key = Key {
        tls: target.tls,
        host: target.host.to_ascii_lowercase(),
        port: target.port,
        // gRPC is HTTP/2 by definition; without TLS nothing else would say so.
        prior_knowledge: !target.tls && is_grpc(request.headers()),
    };
    let pool = network.pool();
    loop {
        let (mut sender, is_new) = match pool.take(&key) {
            Some(sender) => (sender, false),
            None => {
                let making = connect::connect(network, &key, destination.clone());
                let made = tokio::time::timeout(timeouts.connect, making).await;
                let made = made.unwrap_or(Err(Failed::Other(Error::ConnectionTimeout)));
                let made = made?;
                if let Some(shared) = made.shared() {
                    pool.give(key.clone(), shared);
                }
                (made, true)
            }
        };
        prepare(&mut request, sender.protocol());
        let sending = sender.send(request);
        match tokio::time::timeout(timeouts.first_byte, sending).await {
            Err(_) => return Err(Failed::Other(Error::ConnectionReadTimeout)),
            Ok(Ok(response)) => {
                return Ok(body::receive(
                    response,
                    sender,
                    key,
                    network.clone(),
                    timeouts.between_bytes,
                ));
            }
            // A kept connection may close just when it is used; then nothing was sent.
            Ok(Err((_, Some(back)))) if !is_new => request = *back,
            Ok(Err((error, _))) => return Err(Failed::Other(error)),
        }
    }
}

/// Gives the request the form its connection's protocol has.
fn prepare(request: &mut Request<WasiBody>, protocol: Protocol) {
    match protocol {
        Protocol::Http1 => {
            if !request.headers().contains_key(HOST)
                && let Some(authority) = request.uri().authority()
                && let Ok(value) = HeaderValue::from_str(authority.as_str())
            {
                request.headers_mut().insert(HOST, value);
            }
            let path = request.uri().path_and_query().cloned();
            if request.uri().authority().is_some() {
                // Kept for another try on another connection.
                let whole = request.uri().clone();
                request.extensions_mut().insert(WholeUri(whole));
            }
            *request.uri_mut() = path.map(Uri::from).unwrap_or_default();
            *request.version_mut() = Version::HTTP_11;
        }
        Protocol::Http2 => {
            if let Some(WholeUri(whole)) = request.extensions_mut().remove() {
                *request.uri_mut() = whole;
            }
            request.headers_mut().remove(HOST);
            *request.version_mut() = Version::HTTP_2;
        }
    }
}

/// The URI of a request that was cut down to its path.
#[derive(Clone)]
struct WholeUri(Uri);

/// Whether a request is gRPC. gRPC-Web is another protocol, which any HTTP carries.
fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let rest = kind.and_then(|kind| kind.strip_prefix(b"application/grpc"));
    matches!(rest, Some([] | [b'+' | b';', ..]))
}

/// Counts a refusal, and says it where the component's author looks.
fn note(network: &Network, log: &InstanceLog, target: &Target, failed: &Failed) {
    let Failed::Denied(reason) = failed else {
        return;
    };
    network.count_denied(*reason);
    let (scheme, host, port) = (target.scheme(), &target.host, target.port);
    let name: String = host.chars().take(255).collect();
    log.line(
        LogSource::Host,
        &format!("request to {scheme}://{name}:{port} denied: {reason}"),
    );
}

impl From<Option<RequestOptions>> for Timeouts {
    fn from(options: Option<RequestOptions>) -> Self {
        let options = options.unwrap_or_default();
        let or = |own: Option<Duration>, most: Duration| own.map_or(most, |own| own.min(most));
        Self {
            connect: or(options.connect_timeout, CONNECT),
            first_byte: or(options.first_byte_timeout, READ),
            between_bytes: or(options.between_bytes_timeout, READ),
        }
    }
}

impl From<Failed> for Error {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Denied(Denied::Forbidden | Denied::PrivateNeedsName) => {
                Self::DestinationIpProhibited
            }
            Failed::Denied(Denied::NothingListens) => Self::ConnectionRefused,
            Failed::Denied(Denied::NotAHost) => Self::HttpRequestUriInvalid,
            Failed::Denied(_) => Self::HttpRequestDenied,
            Failed::Other(error) => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_is_told_by_its_whole_name() {
        for (kind, grpc) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc;charset=utf-8", true),
            ("application/grpc-web", false),
            ("application/grpc-web+proto", false),
            ("application/json", false),
        ] {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))]);
            assert_eq!(is_grpc(&headers), grpc, "{kind}");
        }
        assert!(!is_grpc(&HeaderMap::new()));
    }
}
