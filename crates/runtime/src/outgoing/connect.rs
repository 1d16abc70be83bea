//! New connections: resolve, check each address, connect to that very address, encrypt.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::OwnedSemaphorePermit,
};
use wasmtime_wasi_http::Error;

use super::{
    Failed, Network,
    pool::{Key, STREAMS, Sender, of_hyper},
    tls,
};
use crate::{Denied, Destination, Grant};

/// Bytes of response headers.
const HEADER_BYTES: usize = 128 << 10;
/// Number of response headers.
const HEADERS: usize = 256;
/// How long to wait for a place when all connections are in use.
const WAIT_FOR_PLACE: Duration = Duration::from_secs(2);
/// Bytes of one response over HTTP/2 that may wait for the guest to read them.
const STREAM_WINDOW: u32 = 128 << 10;
/// How often an HTTP/2 connection is asked whether it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// Makes a connection for a destination whose name was granted.
pub(super) async fn connect(
    network: &Arc<Network>,
    key: &Key,
    destination: Destination,
) -> Result<Sender, Failed> {
    let addresses = match destination {
        Destination::Machine(port) => {
            let own: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
            own.map(|ip| SocketAddr::new(ip, port)).to_vec()
        }
        Destination::Workload => return within(network, key).await,
        Destination::Remote(grant) => admitted(network, key, grant).await?,
    };
    let place = place(network).await?;
    let stream = first_that_answers(&addresses).await?;
    let _ = stream.set_nodelay(true);
    if !key.tls {
        return handshake(stream, key.prior_knowledge, place).await;
    }
    let connector = network.outside().tls().await?;
    let stream = connector.connect(&key.host, stream).await?;
    let http2 = tls::is_http2(&stream);
    handshake(stream, http2, place).await
}

/// A connection to the service of the workload. It never leaves the process, and is not encrypted.
async fn within(network: &Arc<Network>, key: &Key) -> Result<Sender, Failed> {
    if key.tls {
        return Err(Failed::Other(Error::ConnectionRefused));
    }
    let (v4, v6) = (false, true);
    let families: &[bool] = if key.host.starts_with('[') {
        &[v6]
    } else if key.host.parse::<Ipv4Addr>().is_ok() {
        &[v4]
    } else {
        // A name is both.
        &[v4, v6]
    };
    let mut families = families.iter();
    let stream = families.find_map(|v6| network.loopback().open(*v6, key.port));
    let stream = stream.ok_or(Failed::Denied(Denied::NothingListens))?;
    let place = place(network).await?;
    handshake(stream, key.prior_knowledge, place).await
}

/// The addresses of the host that may be connected to.
async fn admitted(network: &Network, key: &Key, grant: Grant) -> Result<Vec<SocketAddr>, Failed> {
    let host = key.host.trim_start_matches('[').trim_end_matches(']');
    let found = match host.parse::<IpAddr>() {
        Ok(address) => vec![address],
        Err(_) => network.resolve(host).await.map_err(|_| unresolved())?,
    };
    let mut denied: Option<Denied> = None;
    let mut addresses = Vec::new();
    for ip in found {
        match grant.admits(ip) {
            Ok(()) => addresses.push(SocketAddr::new(ip, key.port)),
            Err(reason) => denied = Some(reason),
        }
    }
    match denied {
        Some(reason) if addresses.is_empty() => Err(Failed::Denied(reason)),
        None if addresses.is_empty() => Err(unresolved()),
        _ => Ok(addresses),
    }
}

fn unresolved() -> Failed {
    Failed::Other(Error::DnsError {
        rcode: Some("address not available".into()),
        info_code: None,
    })
}

/// A place among the guest's connections, if need be that of a connection that waits.
async fn place(network: &Network) -> Result<OwnedSemaphorePermit, Failed> {
    let places = network.places();
    loop {
        if let Ok(place) = places.clone().try_acquire_owned() {
            return Ok(place);
        }
        let evicted = network.pool().evict();
        let waiting = tokio::time::timeout(WAIT_FOR_PLACE, places.clone().acquire_owned());
        match waiting.await {
            Ok(Ok(place)) => return Ok(place),
            _ if evicted => {}
            _ => {
                network.count_over_limit();
                return Err(Failed::Other(Error::ConnectionLimitReached));
            }
        }
    }
}

async fn first_that_answers(addresses: &[SocketAddr]) -> Result<TcpStream, Failed> {
    let mut last = Error::DestinationUnavailable;
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = of_io(&error),
        }
    }
    Err(Failed::Other(last))
}

fn of_io(error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Error::ConnectionRefused,
        io::ErrorKind::TimedOut => Error::ConnectionTimeout,
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            Error::DestinationIpUnroutable
        }
        _ => Error::DestinationUnavailable,
    }
}

/// Begins HTTP on a stream. A task carries its bytes and holds its place until it is closed.
async fn handshake<S>(stream: S, http2: bool, place: OwnedSemaphorePermit) -> Result<Sender, Failed>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let stream = TokioIo::new(stream);
    let failed = |error| Failed::Other(of_hyper(error));
    if http2 {
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(KEEP_ALIVE)
            .max_header_list_size(HEADER_BYTES as u32)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(STREAM_WINDOW * STREAMS)
            .handshake(stream)
            .await
            .map_err(failed)?;
        tokio::spawn(carry(connection, place));
        return Ok(sender.into());
    }
    let (sender, connection) = http1::Builder::new()
        .max_buf_size(HEADER_BYTES)
        .max_headers(HEADERS)
        .handshake(stream)
        .await
        .map_err(failed)?;
    tokio::spawn(carry(connection, place));
    Ok(Sender::Http1(sender))
}

/// Carries a connection's bytes until it is closed.
async fn carry(connection: impl Future, place: OwnedSemaphorePermit) {
    connection.await;
    drop(place);
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}
