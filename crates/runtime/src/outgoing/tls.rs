//! TLS of outgoing requests: which authorities are trusted, and what a failure is called.

use std::{io, path::PathBuf, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::{net::TcpStream, sync::OnceCell};
use tokio_rustls::{TlsConnector, client::TlsStream};
use waft_ir::{Failure, FailureReason};
use wasmtime_wasi_http::Error;

/// The authorities: those of the system (`SSL_CERT_FILE` and `SSL_CERT_DIR` name others), and those
/// in extra files. Read at the first request that needs them.
pub(super) struct Roots {
    extra: Vec<PathBuf>,
    connector: OnceCell<Connector>,
}

/// Makes TLS connections.
#[derive(Clone)]
pub(super) struct Connector(TlsConnector);

impl Roots {
    pub(super) fn new(extra: Vec<PathBuf>) -> Self {
        Self {
            extra,
            connector: OnceCell::new(),
        }
    }

    /// Whether the extra files can be read.
    pub(super) fn check(&self) -> Result<(), Failure> {
        let refused = |message: String| Failure::new(FailureReason::FileNotFound, message);
        read(&self.extra).map(drop).map_err(refused)
    }

    pub(super) async fn connector(&self) -> Result<Connector, Error> {
        let made = self.connector.get_or_try_init(|| async {
            let extra = self.extra.clone();
            let making = tokio::task::spawn_blocking(move || connector(&extra));
            making.await.map_err(|_| Error::ConfigurationError)?
        });
        made.await.cloned()
    }
}

impl Connector {
    /// The same for protocols that are no HTTP, and say nothing of which they are.
    pub(super) fn without_protocols(&self) -> TlsConnector {
        let mut config = ClientConfig::clone(self.0.config());
        config.alpn_protocols.clear();
        TlsConnector::from(Arc::new(config))
    }

    /// Encrypts a stream to a host.
    pub(super) async fn connect(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, Error> {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(bare.trim_end_matches('.').to_owned())
            .map_err(|_| Error::HttpRequestUriInvalid)?;
        let made = self.0.connect(name, stream).await;
        made.map_err(|error| of_tls(&error))
    }
}

/// Whether the server chose HTTP/2.
pub(super) fn is_http2(stream: &TlsStream<TcpStream>) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(b"h2")
}

fn connector(extra: &[PathBuf]) -> Result<Connector, Error> {
    let mut config = client_tls(extra).map_err(|message| {
        tracing::warn!("{message}");
        Error::ConfigurationError
    })?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Connector(TlsConnector::from(Arc::new(config))))
}

/// How clients of this process make TLS connections: by rustls and ring, trusting the authorities of
/// the system and those in extra files. It reads files, which blocks; the error says which of them
/// can't be read.
pub fn client_tls(extra: &[PathBuf]) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    let system = rustls_native_certs::load_native_certs();
    if system.certs.is_empty() {
        tracing::warn!("the system has no certificate authorities; the built-in ones are used");
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    roots.add_parsable_certificates(system.certs);
    roots.add_parsable_certificates(read(extra)?);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

fn read(files: &[PathBuf]) -> Result<Vec<CertificateDer<'static>>, String> {
    let mut all = Vec::new();
    for file in files {
        let unreadable = |what: String| {
            format!(
                "{} can't be read as certificates in PEM: {what}",
                file.display()
            )
        };
        let found = CertificateDer::pem_file_iter(file)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| unreadable(error.to_string()))?;
        if found.is_empty() {
            return Err(unreadable("it holds none".into()));
        }
        all.extend(found);
    }
    Ok(all)
}

fn of_tls(error: &io::Error) -> Error {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    match inner {
        Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented) => {
            Error::TlsCertificateError
        }
        Some(rustls::Error::AlertReceived(alert)) => Error::TlsAlertReceived {
            alert_id: Some(u8::from(*alert)),
            alert_message: Some(format!("{alert:?}")),
        },
        Some(_) => Error::TlsProtocolError,
        None => Error::ConnectionTerminated,
    }
}
