//! A SPDY session of port forwarding: for each connection a data stream and an error stream, paired
//! by a request id.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::{Sink, SinkExt, Stream, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use super::Target;
use super::frames::{Decoder, Encoder, Frame, Headers};
use crate::connect::ByteStream;

/// Frames that wait for a slow client, and pieces that wait for a slow pod.
const QUEUE: usize = 32;

/// Streams open at a time; two for each forwarded connection.
const STREAMS: usize = 512;

/// SPDY's code for a stream that is refused.
const REFUSED: u32 = 3;

/// SPDY's code for a stream that nobody wants any more.
const CANCEL: u32 = 5;

/// Serves a session until its connection ends.
pub(super) async fn run<I, O>(incoming: I, outgoing: O, target: Arc<Target>)
where
    I: Stream<Item = Bytes> + Send,
    O: Sink<Bytes> + Send,
{
    let (frames, mut waiting) = mpsc::channel::<Frame>(QUEUE);
    let write = async {
        let mut outgoing = std::pin::pin!(outgoing);
        let mut encoder = Encoder::default();
        while let Some(frame) = waiting.recv().await {
            if outgoing.send(encoder.encode(&frame)).await.is_err() {
                return;
            }
        }
    };
    let read = async {
        let mut session = Session {
            target,
            frames,
            streams: HashMap::new(),
            errors: HashMap::new(),
            work: Default::default(),
        };
        let mut incoming = std::pin::pin!(incoming);
        let mut decoder = Decoder::new();
        while let Some(bytes) = incoming.next().await {
            decoder.push(&bytes);
            loop {
                match decoder.next() {
                    Ok(Some(frame)) => match session.handle(frame).await {
                        true => {}
                        false => return,
                    },
                    Ok(None) => break,
                    Err(broken) => {
                        tracing::debug!(?broken, "a port-forwarding client does not speak SPDY");
                        return;
                    }
                }
            }
        }
    };
    tokio::select! { () = write => {} () = read => {} }
}

struct Session {
    target: Arc<Target>,
    frames: mpsc::Sender<Frame>,
    /// Where the bytes of data streams go.
    streams: HashMap<u32, mpsc::Sender<Bytes>>,
    /// Error streams by request id, until their data stream comes.
    errors: HashMap<String, u32>,
    /// The connections; they end with the session.
    work: tokio::task::JoinSet<()>,
}

impl Session {
    /// Whether the session goes on.
    async fn handle(&mut self, frame: Frame) -> bool {
        match frame {
            Frame::Open {
                stream, headers, ..
            } => self.open(stream, &headers).await,
            Frame::Data { stream, data, fin } => {
                if let Some(sender) = self.streams.get(&stream) {
                    let gone = !data.is_empty() && sender.send(data).await.is_err();
                    if fin || gone {
                        self.streams.remove(&stream);
                    }
                }
                true
            }
            Frame::Reset { stream, .. } => {
                self.streams.remove(&stream);
                true
            }
            Frame::Ping(id) => self.frames.send(Frame::Ping(id)).await.is_ok(),
            Frame::GoAway => false,
            Frame::Reply { .. } | Frame::Other => true,
        }
    }

    async fn open(&mut self, stream: u32, headers: &Headers) -> bool {
        while self.work.try_join_next().is_some() {}
        self.streams.retain(|_, sender| !sender.is_closed());
        let header = |name: &str| {
            headers
                .iter()
                .find(|(key, _)| key == name)
                .map_or("", |(_, value)| value)
        };
        let request = match header("requestid") {
            "" => header("port").to_owned(),
            id => id.to_owned(),
        };
        let port = header("port").parse::<u16>().ok().filter(|port| *port > 0);
        let full = self.streams.len() + self.errors.len() >= STREAMS;
        let refused = Frame::Reset {
            stream,
            code: REFUSED,
        };
        let reply = Frame::Reply {
            stream,
            headers: Vec::new(),
        };
        match (header("streamtype"), port) {
            _ if full => self.frames.send(refused).await.is_ok(),
            ("error", Some(_)) => {
                self.errors.insert(request, stream);
                self.frames.send(reply).await.is_ok()
            }
            ("data", Some(port)) => {
                let Some(error) = self.errors.remove(&request) else {
                    return self.frames.send(refused).await.is_ok();
                };
                let (sender, pieces) = mpsc::channel(QUEUE);
                self.streams.insert(stream, sender);
                let connection = Connection {
                    target: self.target.clone(),
                    frames: self.frames.clone(),
                    stream,
                    error,
                    port,
                };
                self.work.spawn(connection.run(pieces));
                self.frames.send(reply).await.is_ok()
            }
            _ => self.frames.send(refused).await.is_ok(),
        }
    }
}

/// One forwarded connection.
struct Connection {
    target: Arc<Target>,
    frames: mpsc::Sender<Frame>,
    stream: u32,
    error: u32,
    port: u16,
}

impl Connection {
    async fn run(self, pieces: mpsc::Receiver<Bytes>) {
        let (stream, error) = (self.stream, self.error);
        match self.target.open(self.port).await {
            Ok(pod) => {
                self.copy(pod, pieces).await;
                self.send(Frame::Data {
                    stream: error,
                    data: Bytes::new(),
                    fin: true,
                })
                .await;
            }
            Err(status) => {
                let message = format!(
                    "error forwarding port {} to pod {}: {status}",
                    self.port, self.target.pod
                );
                self.send(Frame::Data {
                    stream: error,
                    data: message.into(),
                    fin: true,
                })
                .await;
                self.send(Frame::Reset {
                    stream,
                    code: CANCEL,
                })
                .await;
            }
        }
    }

    /// Copies both ways until both sides have said their last.
    async fn copy(&self, pod: Box<dyn ByteStream>, mut pieces: mpsc::Receiver<Bytes>) {
        let (mut read, mut write) = tokio::io::split(pod);
        let to_pod = async {
            while let Some(piece) = pieces.recv().await {
                if write.write_all(&piece).await.is_err() {
                    return;
                }
            }
            let _ = write.shutdown().await;
        };
        let from_pod = async {
            let mut buffer = vec![0; 16 << 10];
            loop {
                let length = read.read(&mut buffer).await.unwrap_or(0);
                let data = Bytes::copy_from_slice(&buffer[..length]);
                if !self
                    .send(Frame::Data {
                        stream: self.stream,
                        data,
                        fin: length == 0,
                    })
                    .await
                    || length == 0
                {
                    return;
                }
            }
        };
        // A pod that has said its last isn't talked to any more; a client may still be listening.
        let mut to_pod = std::pin::pin!(to_pod);
        let mut from_pod = std::pin::pin!(from_pod);
        tokio::select! {
            () = &mut to_pod => from_pod.await,
            () = &mut from_pod => {}
        }
    }

    async fn send(&self, frame: Frame) -> bool {
        self.frames.send(frame).await.is_ok()
    }
}
