//! The port to whatever runs the pods: logs and connections into them.
//!
//! The server knows pods as objects only. Whoever projects workloads as pods registers a [`Connect`].

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use tokio::io::{AsyncRead, AsyncWrite};
pub use waft_apimachinery::request::LogOptions;
use waft_apimachinery::status::Status;

/// A connection in both directions.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for T {}

/// Streams into and out of running pods.
#[async_trait]
pub trait Connect: Send + Sync {
    /// The lines that a container wrote. The stream ends when there are no more, or, with `follow`,
    /// when the pod is gone or the reader leaves.
    async fn logs(
        &self,
        namespace: &str,
        pod: &str,
        options: LogOptions,
    ) -> Result<BoxStream<'static, Bytes>, Status>;

    /// A connection to a port of the pod.
    async fn port_forward(
        &self,
        namespace: &str,
        pod: &str,
        port: u16,
    ) -> Result<Box<dyn ByteStream>, Status>;
}

/// Nothing runs here.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoConnect;

#[async_trait]
impl Connect for NoConnect {
    async fn logs(
        &self,
        _namespace: &str,
        pod: &str,
        _options: LogOptions,
    ) -> Result<BoxStream<'static, Bytes>, Status> {
        Err(Status::bad_request(format!(
            "pod {pod} does not run on this server"
        )))
    }

    async fn port_forward(
        &self,
        _namespace: &str,
        pod: &str,
        _port: u16,
    ) -> Result<Box<dyn ByteStream>, Status> {
        Err(Status::bad_request(format!(
            "pod {pod} does not run on this server"
        )))
    }
}
