//! `pods/portforward`: byte streams to a pod's ports through an upgraded connection.
//!
//! Three ways in: SPDY tunnelled through a WebSocket (kubectl), channels in a WebSocket (`kube`), and
//! SPDY on the bare connection (older kubectl). What is connected to is the business of [`Connect`].

mod channels;
mod compression;
mod frames;
mod session;

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use bytes::Bytes;
use futures::{Sink, SinkExt, Stream, StreamExt};
use http::header::{CONNECTION, HeaderValue, UPGRADE};
use http::request::Parts;
use http::{HeaderName, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio_util::codec::{BytesCodec, FramedRead, FramedWrite};
use waft_apimachinery::status::Status;

use crate::connect::{ByteStream, Connect};
use crate::open::ApiServer;
use crate::service::Body;

/// SPDY frames in binary messages.
const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";

/// Numbered channels, two a port.
const CHANNELS: [&str; 2] = ["v5.channel.k8s.io", "v4.channel.k8s.io"];

/// SPDY frames on the bare connection.
const SPDY: &str = "SPDY/3.1";

/// The pod that a connection leads to.
pub(crate) struct Target {
    connect: Arc<dyn Connect>,
    namespace: String,
    pod: String,
}

impl Target {
    pub(crate) async fn open(&self, port: u16) -> Result<Box<dyn ByteStream>, Status> {
        self.connect
            .port_forward(&self.namespace, &self.pod, port)
            .await
    }
}

impl ApiServer {
    /// Upgrades a connection and forwards ports through it.
    pub(crate) async fn forward(
        &self,
        namespace: &str,
        pod: &str,
        ports: Vec<u16>,
        mut parts: Parts,
    ) -> Result<Response<Body>, Status> {
        let target = Arc::new(Target {
            connect: self.connect.clone(),
            namespace: namespace.to_owned(),
            pod: pod.to_owned(),
        });
        let closing = self.closing.clone();
        let upgrade = parts
            .headers
            .get(UPGRADE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        if upgrade.eq_ignore_ascii_case(SPDY) {
            return bare(target, parts, closing);
        }
        let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &())
            .await
            .map_err(|_| Status::bad_request("Upgrade request required"))?;
        let upgrade = upgrade.protocols([TUNNEL, CHANNELS[0], CHANNELS[1]]);
        match upgrade
            .selected_protocol()
            .and_then(|protocol| protocol.to_str().ok())
        {
            Some(TUNNEL) => Ok(upgrade.on_upgrade(move |socket| async move {
                let (outgoing, incoming) = tunnel(socket);
                let work = session::run(incoming, outgoing, target);
                tokio::select! { () = work => {} () = closing.cancelled() => {} }
            })),
            Some(_) if ports.is_empty() => {
                Err(Status::bad_request("you must specify at least 1 port"))
            }
            Some(_) => Ok(upgrade.on_upgrade(move |socket| async move {
                let work = channels::run(socket, target, ports);
                tokio::select! { () = work => {} () = closing.cancelled() => {} }
            })),
            None => Err(Status::bad_request(format!(
                "unable to upgrade: no subprotocol in common, the server speaks {TUNNEL}, {}",
                CHANNELS.join(", ")
            ))),
        }
    }
}

/// The bytes inside a WebSocket's binary messages.
fn tunnel(
    socket: WebSocket,
) -> (
    impl Sink<Bytes, Error = axum::Error> + Send + 'static,
    impl Stream<Item = Bytes> + Send + Unpin + 'static,
) {
    let (outgoing, incoming) = socket.split();
    let outgoing = outgoing
        .with(|bytes: Bytes| std::future::ready(Ok::<_, axum::Error>(Message::Binary(bytes))));
    let incoming = incoming
        .take_while(|message| {
            std::future::ready(!matches!(message, Err(_) | Ok(Message::Close(_))))
        })
        .filter_map(|message| {
            std::future::ready(match message {
                Ok(Message::Binary(bytes)) => Some(bytes),
                _ => None,
            })
        });
    (outgoing, incoming)
}

/// SPDY on the connection itself, after a `101`.
fn bare(
    target: Arc<Target>,
    mut parts: Parts,
    closing: tokio_util::sync::CancellationToken,
) -> Result<Response<Body>, Status> {
    let upgrade = parts
        .extensions
        .remove::<hyper::upgrade::OnUpgrade>()
        .ok_or_else(|| Status::bad_request("this connection cannot be upgraded"))?;
    tokio::spawn(async move {
        let Ok(connection) = upgrade.await else {
            return;
        };
        let (read, write) = tokio::io::split(TokioIo::new(connection));
        let incoming = FramedRead::new(read, BytesCodec::new())
            .take_while(|piece| std::future::ready(piece.is_ok()))
            .filter_map(|piece| std::future::ready(piece.ok().map(bytes::BytesMut::freeze)));
        let work = session::run(incoming, FramedWrite::new(write, BytesCodec::new()), target);
        tokio::select! { () = work => {} () = closing.cancelled() => {} }
    });
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static(SPDY));
    let protocol = HeaderName::from_static("x-stream-protocol-version");
    headers.insert(protocol, HeaderValue::from_static("portforward.k8s.io"));
    Ok(response)
}
