//! HTTP clients that check every answer.

use std::{
    net::SocketAddr,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    Request,
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{net::TcpStream, sync::mpsc, task::JoinSet};

/// A request that is sent again and again, and the only answer that is right.
#[derive(Clone, Debug)]
pub(crate) struct Exchange {
    /// Host name.
    pub(crate) host: String,
    /// Path and query.
    pub(crate) path: String,
    /// Body of the request; with one it is a POST.
    pub(crate) body: Bytes,
    /// Body of the answer.
    pub(crate) expected: Bytes,
}

/// One connection, or one of the streams of one.
#[derive(Debug)]
pub(crate) struct Client {
    sender: Sender,
}

#[derive(Debug)]
enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// What came of some load.
#[derive(Clone, Debug, Default)]
pub(crate) struct Load {
    /// Answers, all of them right.
    pub(crate) answers: u64,
    /// How long it was.
    pub(crate) took: Duration,
    /// How long each answer took.
    pub(crate) latencies: Vec<Duration>,
}

impl Exchange {
    /// A GET of `/`.
    pub(crate) fn get(host: &str, expected: &'static str) -> Self {
        Self {
            host: host.into(),
            path: "/".into(),
            body: Bytes::new(),
            expected: Bytes::from_static(expected.as_bytes()),
        }
    }

    fn request(&self, uri: &str) -> Result<Request<Full<Bytes>>> {
        let method = if self.body.is_empty() { "GET" } else { "POST" };
        Ok(Request::builder()
            .method(method)
            .uri(uri)
            .header("host", &self.host)
            .body(Full::new(self.body.clone()))?)
    }
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// If nobody listens.
    pub(crate) async fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // Ends with the sender; what goes wrong shows as a failed request.
        tokio::spawn(connection);
        let sender = Sender::Http1(sender);
        Ok(Self { sender })
    }

    /// So many streams of one connection over HTTP/2.
    ///
    /// # Errors
    /// If nobody listens.
    pub(crate) async fn connect_streams(address: SocketAddr, count: usize) -> Result<Vec<Self>> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let io = TokioIo::new(stream);
        let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
        tokio::spawn(connection);
        let sender = || Sender::Http2(sender.clone());
        Ok((0..count).map(|_| Self { sender: sender() }).collect())
    }

    /// Sends the request and checks the answer.
    ///
    /// # Errors
    /// If the answer is not the right one.
    pub(crate) async fn exchange(&mut self, exchange: &Exchange) -> Result<()> {
        let response = self.response(exchange).await?;
        check(response, exchange).await
    }

    async fn response(&mut self, exchange: &Exchange) -> Result<hyper::Response<Incoming>> {
        Ok(match &mut self.sender {
            Sender::Http1(sender) => {
                sender.ready().await?;
                sender
                    .send_request(exchange.request(&exchange.path)?)
                    .await?
            }
            Sender::Http2(sender) => {
                sender.ready().await?;
                let uri = format!("http://{}{}", exchange.host, exchange.path);
                sender.send_request(exchange.request(&uri)?).await?
            }
        })
    }
}

/// The text that a path of a host is answered with.
///
/// # Errors
/// If the answer is not 200.
pub(crate) async fn text(address: SocketAddr, host: &str, path: &str) -> Result<String> {
    let mut client = Client::connect(address).await?;
    let mut exchange = Exchange::get(host, "");
    exchange.path = path.into();
    let response = client.response(&exchange).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    ensure!(status == 200, "{host}{path}: {status}");
    Ok(String::from_utf8(body.to_vec())?)
}

async fn check(response: hyper::Response<Incoming>, exchange: &Exchange) -> Result<()> {
    let status = response.status();
    let reason = response.headers().get("x-waft-reason").cloned();
    let body = response.into_body().collect().await?.to_bytes();
    ensure!(status == 200, "{}: {status} {reason:?}", exchange.host);
    ensure!(
        body == exchange.expected,
        "{}: {} bytes that are not the right ones",
        exchange.host,
        body.len()
    );
    Ok(())
}

/// Sends over so many connections, each as fast as it is answered, for so long.
///
/// # Errors
/// If one answer is not the right one.
pub(crate) async fn closed_loop(
    address: SocketAddr,
    exchange: &Exchange,
    connections: usize,
    time: Duration,
) -> Result<Load> {
    let exchange = Arc::new(exchange.clone());
    let mut tasks = JoinSet::new();
    for _ in 0..connections {
        let mut client = Client::connect(address).await?;
        client.exchange(&exchange).await?;
        let exchange = exchange.clone();
        tasks.spawn(async move {
            let (began, mut latencies) = (Instant::now(), Vec::new());
            while began.elapsed() < time {
                let sent = Instant::now();
                client.exchange(&exchange).await?;
                latencies.push(sent.elapsed());
            }
            anyhow::Ok(latencies)
        });
    }
    let began = Instant::now();
    let mut load = Load::default();
    while let Some(done) = tasks.join_next().await {
        load.latencies.extend(done.context("a client failed")??);
    }
    load.took = began.elapsed();
    load.answers = load.latencies.len() as u64;
    Ok(load)
}

/// Sends so many requests a second, whether or not earlier ones are answered, and measures from the
/// time that each was due.
///
/// # Errors
/// If one answer is not the right one.
pub(crate) async fn open_loop(
    address: SocketAddr,
    exchange: &Exchange,
    per_second: u32,
    time: Duration,
) -> Result<Load> {
    /// Connections that take turns.
    const CONNECTIONS: u32 = 50;
    let exchange = Arc::new(exchange.clone());
    let mut tasks = JoinSet::new();
    let mut turns = Vec::new();
    for _ in 0..CONNECTIONS {
        let (sender, mut due) = mpsc::unbounded_channel::<Instant>();
        turns.push(sender);
        let mut client = Client::connect(address).await?;
        let exchange = exchange.clone();
        tasks.spawn(async move {
            let mut latencies = Vec::new();
            while let Some(due) = due.recv().await {
                client.exchange(&exchange).await?;
                latencies.push(due.elapsed());
            }
            anyhow::Ok(latencies)
        });
    }
    let interval = Duration::from_secs(1) / per_second;
    let start = Instant::now() + Duration::from_millis(100);
    let pace = thread::spawn(move || pace(&turns, start, interval, time));
    let mut load = Load::default();
    while let Some(done) = tasks.join_next().await {
        load.latencies.extend(done.context("a client failed")??);
    }
    let _ = pace.join();
    load.took = start.elapsed();
    load.answers = load.latencies.len() as u64;
    Ok(load)
}

/// Tells one after the other when its next request is due. A thread sleeps more precisely than a runtime's
/// timers, which count milliseconds.
fn pace(
    turns: &[mpsc::UnboundedSender<Instant>],
    start: Instant,
    interval: Duration,
    time: Duration,
) {
    let due = (0..).map(|number| start + interval * number);
    let due = due.take_while(|due| *due < start + time);
    for (turn, due) in turns.iter().cycle().zip(due) {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        // One whose client has failed takes no more.
        let _ = turn.send(due);
    }
}
