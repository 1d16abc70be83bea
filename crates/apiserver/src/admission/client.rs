//! HTTPS to webhooks: one pool of connections for each, with whom it trusts.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Request, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::RwLock;
use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use waft_apimachinery::admission::webhook::Client;

type Pool = legacy::Client<Connector, Full<Bytes>>;
type Stream = TokioIo<tokio_rustls::client::TlsStream<TcpStream>>;

/// Posts to one webhook. Made when it is first asked.
pub(super) struct Caller {
    authorities: Vec<u8>,
    pool: OnceLock<Result<Pool, String>>,
    backends: Arc<RwLock<Vec<String>>>,
}

/// Why there is no answer.
pub(super) struct Failure {
    pub(super) why: String,
    /// The other end has answered, though not as it should.
    pub(super) sent: bool,
}

impl Caller {
    pub(super) fn new(client: &Client) -> Caller {
        Caller {
            authorities: client.authorities.clone(),
            pool: OnceLock::new(),
            backends: Arc::default(),
        }
    }

    /// Posts JSON and reads JSON. New connections go to `backends`; without any, to the URL's host.
    pub(super) async fn post(
        &self,
        url: &str,
        body: Bytes,
        backends: Vec<String>,
        limit: usize,
    ) -> Result<Value, Failure> {
        let not_sent = |why: String| Failure { why, sent: false };
        *self.backends.write() = backends;
        let pool = self.pool.get_or_init(|| self.open());
        let pool = pool.as_ref().map_err(|why| not_sent(why.clone()))?;
        let request = Request::post(url)
            .header(CONTENT_TYPE, "application/json")
            .header("accept", "application/json")
            .header("user-agent", "waft-apiserver")
            .body(Full::new(body))
            .map_err(|error| not_sent(error.to_string()))?;
        let response = pool.request(request).await;
        let response = response.map_err(|error| not_sent(innermost(&error)))?;
        let code = response.status();
        let read = Limited::new(response.into_body(), limit).collect().await;
        let bytes = read
            .map_err(|error| Failure {
                why: format!("the answer could not be read: {error}"),
                sent: true,
            })?
            .to_bytes();
        if !code.is_success() {
            return Err(Failure {
                why: refused(code.as_u16(), &bytes),
                sent: true,
            });
        }
        serde_json::from_slice(&bytes).map_err(|error| Failure {
            why: format!("the answer is no JSON: {error}"),
            sent: true,
        })
    }

    fn open(&self) -> Result<Pool, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(self.roots()?)
            .with_no_client_auth();
        let connector = Connector {
            tls: TlsConnector::from(Arc::new(tls)),
            backends: self.backends.clone(),
        };
        Ok(legacy::Client::builder(TokioExecutor::new()).build(connector))
    }

    fn roots(&self) -> Result<RootCertStore, String> {
        let mut roots = RootCertStore::empty();
        if self.authorities.is_empty() {
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
            return Ok(roots);
        }
        for certificate in CertificateDer::pem_slice_iter(&self.authorities) {
            let certificate = certificate
                .map_err(|error| format!("unable to load root certificates: {error}"))?;
            roots
                .add(certificate)
                .map_err(|error| format!("unable to load root certificates: {error}"))?;
        }
        match roots.is_empty() {
            true => Err("unable to load root certificates: caBundle has none".to_owned()),
            false => Ok(roots),
        }
    }
}

/// What the real client says of an answer that isn't one.
fn refused(code: u16, body: &[u8]) -> String {
    if code == 404 {
        return "the server could not find the requested resource".to_owned();
    }
    let text = String::from_utf8_lossy(body);
    let text: String = text.trim().chars().take(2048).collect();
    let text = if text.is_empty() {
        "unknown".into()
    } else {
        text
    };
    match code {
        500.. => {
            format!("an error on the server ({text:?}) has prevented the request from succeeding")
        }
        _ => format!("the server rejected our request ({code}): {text}"),
    }
}

/// The cause of causes: what goes around it only says that a connection failed.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

#[derive(Clone)]
struct Connector {
    tls: TlsConnector,
    backends: Arc<RwLock<Vec<String>>>,
}

impl tower::Service<Uri> for Connector {
    type Response = Secured;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = std::io::Result<Secured>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move { connector.connect(&uri).await })
    }
}

impl Connector {
    async fn connect(&self, uri: &Uri) -> std::io::Result<Secured> {
        let other = |why: String| std::io::Error::other(why);
        let host = uri.host().unwrap_or_default();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let mut addresses = self.backends.read().clone();
        if addresses.is_empty() {
            addresses.push(format!("{host}:{}", uri.port_u16().unwrap_or(443)));
        }
        let mut failure = other("there is no address".into());
        for address in addresses {
            match TcpStream::connect(&address).await {
                Ok(stream) => {
                    let _ = stream.set_nodelay(true);
                    let name = ServerName::try_from(bare.to_owned())
                        .map_err(|error| other(error.to_string()))?;
                    let stream = self.tls.connect(name, stream).await;
                    let stream = stream.map_err(|error| other(tls_failure(&error)))?;
                    return Ok(Secured(TokioIo::new(stream)));
                }
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                    failure = other(format!("dial tcp {address}: connect: connection refused"));
                }
                Err(error) => failure = other(format!("dial tcp {address}: {error}")),
            }
        }
        Err(failure)
    }
}

fn tls_failure(error: &std::io::Error) -> String {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref());
    match cause {
        Some(rustls::Error::InvalidCertificate(
            rustls::CertificateError::UnknownIssuer | rustls::CertificateError::BadSignature,
        )) => "tls: failed to verify certificate: x509: certificate signed by unknown authority"
            .to_owned(),
        Some(rustls::Error::InvalidCertificate(why)) => {
            format!("tls: failed to verify certificate: {why}")
        }
        _ => format!("tls: {error}"),
    }
}

/// A connection that the pool may keep.
struct Secured(Stream);

impl Connection for Secured {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl hyper::rt::Read for Secured {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl hyper::rt::Write for Secured {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, buffer)
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
