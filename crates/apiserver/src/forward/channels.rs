//! Forwarding through numbered channels: the first byte of each message says which.
//!
//! The port at position `i` has channel `2i` for data and `2i + 1` for errors; both begin with the
//! port's number.

use std::sync::Arc;

use axum::extract::ws::{Message, WebSocket};
use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt, WriteHalf};
use tokio::sync::mpsc;

use super::Target;
use crate::connect::ByteStream;

/// Messages that wait for a slow client.
const QUEUE: usize = 16;

/// Channels are numbered by one byte.
const PORTS: usize = 127;

pub(super) async fn run(socket: WebSocket, target: Arc<Target>, ports: Vec<u16>) {
    let (mut outgoing, mut incoming) = socket.split();
    let (messages, mut waiting) = mpsc::channel::<Vec<u8>>(QUEUE);
    let mut writers: Vec<Option<WriteHalf<Box<dyn ByteStream>>>> = Vec::new();
    let mut readers = tokio::task::JoinSet::new();
    for (channel, port) in (0u8..).step_by(2).zip(ports.into_iter().take(PORTS)) {
        let [low, high] = port.to_le_bytes();
        for begin in [vec![channel, low, high], vec![channel + 1, low, high]] {
            if outgoing.send(Message::Binary(begin.into())).await.is_err() {
                return;
            }
        }
        match target.open(port).await {
            Ok(stream) => {
                let (mut read, write) = tokio::io::split(stream);
                writers.push(Some(write));
                let messages = messages.clone();
                readers.spawn(async move {
                    let mut buffer = vec![0; 16 << 10];
                    while let Ok(length) = read.read(&mut buffer).await {
                        if length == 0 {
                            break;
                        }
                        let message = [&[channel], &buffer[..length]].concat();
                        if messages.send(message).await.is_err() {
                            break;
                        }
                    }
                });
            }
            Err(status) => {
                writers.push(None);
                let message = [&[channel + 1], status.message.as_bytes()].concat();
                if outgoing
                    .send(Message::Binary(message.into()))
                    .await
                    .is_err()
                {
                    return;
                }
            }
        }
    }
    drop(messages);
    let write = async {
        while let Some(message) = waiting.recv().await {
            if outgoing
                .send(Message::Binary(message.into()))
                .await
                .is_err()
            {
                return;
            }
        }
        // Every port has said its last word.
        let _ = outgoing.close().await;
    };
    let read = async {
        while let Some(Ok(message)) = incoming.next().await {
            let data: Bytes = match message {
                Message::Binary(data) => data,
                Message::Close(_) => break,
                _ => continue,
            };
            let Some((channel, data)) = data.split_first() else {
                continue;
            };
            let writer = writers
                .get_mut(usize::from(channel / 2))
                .filter(|_| channel % 2 == 0);
            if let Some(Some(writer)) = writer
                && writer.write_all(data).await.is_err()
            {
                break;
            }
        }
    };
    tokio::select! { () = write => {} () = read => {} }
}
