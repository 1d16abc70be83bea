//! A connection to a side.

use anyhow::{Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, Response, body::Incoming, client::conn::http1::SendRequest};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;

use crate::sides::Side;

/// One request.
pub(crate) struct Ask {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) media: &'static str,
    pub(crate) body: Bytes,
}

/// One connection, HTTP/1.1 over TLS.
pub(crate) struct Client {
    sender: SendRequest<Full<Bytes>>,
}

impl Ask {
    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path, "application/json", Bytes::new())
    }

    pub(crate) fn new(
        method: Method,
        path: impl Into<String>,
        media: &'static str,
        body: impl Into<Bytes>,
    ) -> Self {
        Self {
            method,
            path: path.into(),
            media,
            body: body.into(),
        }
    }
}

impl Client {
    pub(crate) async fn connect(side: &Side) -> Result<Self> {
        let stream = TcpStream::connect(side.address).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::IpAddress(side.address.ip().into());
        let stream = side.tls.connect(name, stream).await?;
        let (sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        // Ends with the sender; what goes wrong shows as a failed request.
        tokio::spawn(connection);
        Ok(Self { sender })
    }

    /// Sends a request; the answer is one of success.
    pub(crate) async fn begin(&mut self, ask: Ask) -> Result<Response<Incoming>> {
        self.sender.ready().await?;
        let request = Request::builder()
            .method(ask.method)
            .uri(&ask.path)
            .header("host", "127.0.0.1")
            .header("user-agent", "bench/1")
            .header("accept", "application/json")
            .header("content-type", ask.media)
            .body(Full::new(ask.body))?;
        let response = self.sender.send_request(request).await?;
        let status = response.status();
        if !status.is_success() {
            let body = response.into_body().collect().await?.to_bytes();
            let text = String::from_utf8_lossy(&body);
            bail!("{}: {status}: {text}", ask.path);
        }
        Ok(response)
    }

    /// Sends a request; returns the whole answer.
    pub(crate) async fn ask(&mut self, ask: Ask) -> Result<Bytes> {
        let response = self.begin(ask).await?;
        Ok(response.into_body().collect().await?.to_bytes())
    }

    /// Sends a request; returns the length of the answer.
    pub(crate) async fn count(&mut self, ask: Ask) -> Result<usize> {
        let mut body = self.begin(ask).await?.into_body();
        let mut length = 0;
        while let Some(frame) = body.frame().await {
            length += frame?.data_ref().map_or(0, Bytes::len);
        }
        Ok(length)
    }
}
