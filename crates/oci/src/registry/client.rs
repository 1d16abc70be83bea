//! HTTP as registries need it: one client for TLS, one for plain HTTP, bounded reading.

use std::{
    net::IpAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use reqwest::{Client, ClientBuilder, Response, StatusCode, header, redirect};
use url::Url;

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait for the next bytes of an answer.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// Most redirects; blobs commonly take one.
const REDIRECTS: usize = 5;

/// The clients. The one for TLS is built when it is first needed, since it reads the machine's
/// certificates.
#[derive(Debug, Default)]
pub(super) struct Clients {
    tls: OnceLock<Result<Client, String>>,
    plain: OnceLock<Result<Client, String>>,
}

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum SendError {
    /// No client could be built, or the answer is too long.
    #[error("{0}")]
    Own(String),
    /// The request failed.
    #[error("{}", root_cause(.0))]
    Http(#[from] reqwest::Error),
}

impl Clients {
    /// The client for an address.
    pub(super) fn of(&self, url: &Url) -> Result<&Client, SendError> {
        let client = match url.scheme() {
            "https" => self.tls.get_or_init(|| {
                build(builder()).map_err(|e| {
                    format!("no TLS client ({e}); install the system's CA certificates")
                })
            }),
            _ => self.plain.get_or_init(|| {
                // Without roots, so that no certificate store is needed to speak plain HTTP; a
                // redirect to TLS fails then. Registries on loopback are not behind a proxy.
                build(builder().no_proxy().tls_backend_preconfigured(no_roots()?))
            }),
        };
        client.as_ref().map_err(|e| SendError::Own(e.clone()))
    }
}

fn builder() -> ClientBuilder {
    // An answer that came by TLS is not continued in the clear.
    let follow = redirect::Policy::custom(|attempt| {
        let was_tls = attempt
            .previous()
            .first()
            .is_some_and(|u| u.scheme() == "https");
        if attempt.previous().len() > REDIRECTS {
            attempt.error("too many redirects")
        } else if was_tls && attempt.url().scheme() != "https" {
            attempt.error("a redirect from HTTPS to plain HTTP")
        } else {
            attempt.follow()
        }
    });
    Client::builder()
        .user_agent(concat!("waft/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT)
        .redirect(follow)
}

fn build(builder: ClientBuilder) -> Result<Client, String> {
    builder.build().map_err(|e| root_cause(&e))
}

fn no_roots() -> Result<rustls::ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?;
    Ok(config
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth())
}

/// Reads an answer of at most `limit` bytes.
pub(super) async fn read(mut response: Response, limit: u64) -> Result<Bytes, SendError> {
    let mut bytes = BytesMut::new();
    while let Some(chunk) = response.chunk().await? {
        if (bytes.len() + chunk.len()) as u64 > limit {
            return Err(SendError::Own(format!("an answer above {limit} bytes")));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.freeze())
}

/// Whether the trouble behind a status may pass by itself.
pub(super) fn may_pass(status: StatusCode) -> bool {
    status.is_server_error()
        || matches!(
            status,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT
        )
}

/// How long the registry asks to wait. Dates are not understood and count as absent.
pub(super) fn retry_after(response: &Response) -> Option<Duration> {
    let header = response.headers().get(header::RETRY_AFTER)?;
    let seconds = header.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// Host and port of an address, the port only if it is not the scheme's own.
pub(super) fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.into(),
    }
}

/// Whether a registry's host is this machine, and plain HTTP with it acceptable.
pub(super) fn is_loopback(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    name == "localhost" || name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

/// The innermost error, which is the one that says what happened.
fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
