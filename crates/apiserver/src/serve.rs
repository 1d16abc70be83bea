//! HTTPS: connections, who is on their other end, and their end.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{HeaderMap, Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;
use tower::Service as _;
use waft_apimachinery::status::Status;

use crate::access::{Access, AccessError};
use crate::answer;
use crate::identity::User;
use crate::open::ApiServer;
use crate::service::Body;
use crate::tokens::ISSUER;

/// How long a client may take to get through the TLS handshake, or to send a request's head.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long open requests may take to end when the server does.
const DRAIN: Duration = Duration::from_secs(5);

/// Connections beyond this wait until others have gone.
const CONNECTIONS: usize = 1024;

/// The largest head of a request, bytes; 431 beyond it.
const HEAD: usize = 64 << 10;

/// The largest number of headers; 431 beyond it. Each group that is impersonated takes one.
const HEADERS: usize = 256;

impl ApiServer {
    /// Answers HTTPS requests until [`ApiServer::shut_down`]; returns when connections have ended.
    pub async fn serve(
        self: &Arc<Self>,
        listener: TcpListener,
        access: &Access,
    ) -> Result<(), AccessError> {
        let acceptor = TlsAcceptor::from(Arc::new(access.tls()?));
        let (server, root) = (self.clone(), access.root().to_owned());
        tokio::spawn(async move { server.publish_root(&root).await });
        let connections = TaskTracker::new();
        let places = Arc::new(tokio::sync::Semaphore::new(CONNECTIONS));
        loop {
            let Ok(place) = places.clone().acquire_owned().await else {
                break;
            };
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = self.closing.cancelled() => break,
            };
            match accepted {
                Ok((stream, _)) => {
                    let (server, acceptor) = (self.clone(), acceptor.clone());
                    connections.spawn(async move {
                        server.connection(stream, acceptor).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    // Out of descriptors, most likely: others must go first.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
        drop(listener);
        connections.close();
        let _ = tokio::time::timeout(DRAIN, connections.wait()).await;
        Ok(())
    }

    async fn connection(self: Arc<Self>, stream: TcpStream, acceptor: TlsAcceptor) {
        // Watch events are small and wanted at once.
        let _ = stream.set_nodelay(true);
        let Ok(Ok(stream)) = tokio::time::timeout(PATIENCE, acceptor.accept(stream)).await else {
            return;
        };
        let chain = stream.get_ref().1.peer_certificates();
        let certified = chain
            .and_then(|chain| User::of_certificate(chain.first()?))
            .map(Arc::new);
        let server = self.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let (server, certified) = (server.clone(), certified.clone());
            async move { Ok::<_, Infallible>(server.admit_caller(request, certified).await) }
        });
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .max_buf_size(HEAD)
            .max_headers(HEADERS)
            .header_read_timeout(PATIENCE);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_header_list_size(u32::try_from(HEAD).unwrap_or(u32::MAX))
            .max_concurrent_streams(250);
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        let result = tokio::select! {
            result = connection.as_mut() => result,
            () = self.closing.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = result {
            tracing::debug!(%error, "a connection ended early");
        }
    }

    /// Finds out who asks. Only the two probes are for everyone.
    async fn admit_caller(
        self: &Arc<Self>,
        mut request: Request<Incoming>,
        certified: Option<Arc<User>>,
    ) -> Response<Body> {
        let probe = matches!(request.uri().path(), "/livez" | "/readyz");
        let user = match certified {
            Some(user) => Some(user),
            None => self.bearer(request.headers()).map(Arc::new),
        };
        match user {
            Some(user) => {
                request.extensions_mut().insert(user);
            }
            None if probe => {}
            None => return answer::status(&Status::unauthorized()),
        }
        match self.service().call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }

    /// Whose token the request carries.
    fn bearer(&self, headers: &HeaderMap) -> Option<User> {
        let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
        let (scheme, token) = value.split_once(' ')?;
        let token = token.trim();
        (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty())
            .then(|| self.user_of_token(token, &[ISSUER.to_owned()]))?
    }
}
