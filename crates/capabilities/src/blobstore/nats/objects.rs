//! Objects in a stream, as all clients of NATS lay them out: the last message of `$O.BUCKET.M.NAME`
//! says what an object is, and the messages of `$O.BUCKET.C.ID` are its bytes.
//!
//! The bytes are asked for message by message, when somebody wants them: those of an object that is
//! read slowly, or not at all, stay in the server.

use std::{io, sync::Arc};

use async_nats::jetstream::{
    message::StreamMessage,
    object_store::ObjectInfo,
    stream::{LastRawMessageErrorKind, Stream},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE};
use bytes::Bytes;
use futures::stream::try_unfold;
use sha2::{Digest as _, Sha256};
use tokio_util::io::StreamReader;

use crate::{blobstore::store::Reader, nats::NatsError};

/// The objects of one bucket.
pub(super) struct Objects {
    stream: Stream,
    bucket: String,
}

/// An object that is read.
struct Reading {
    objects: Arc<Objects>,
    /// Of its bytes.
    subject: String,
    /// Of the message that was read last.
    sequence: u64,
    /// Bytes to come.
    left: usize,
    read: Sha256,
    /// What they are all together, if somebody has said.
    digest: Option<String>,
}

impl Objects {
    pub(super) fn new(stream: Stream, bucket: &str) -> Self {
        Self {
            stream,
            bucket: bucket.to_owned(),
        }
    }

    /// What an object is, if it is there.
    pub(super) async fn info(&self, name: &str) -> Result<Option<ObjectInfo>, NatsError> {
        let subject = format!("$O.{}.M.{}", self.bucket, URL_SAFE.encode(name));
        let last = self.stream.get_last_raw_message_by_subject(&subject).await;
        let last = match last {
            Ok(last) => last,
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => {
                return Ok(None);
            }
            Err(error) => return Err(NatsError::failed(error)),
        };
        let info: ObjectInfo = serde_json::from_slice(&last.payload).map_err(NatsError::failed)?;
        Ok((!info.deleted).then_some(info))
    }

    /// The bytes of an object.
    pub(super) fn read(self: &Arc<Self>, info: ObjectInfo) -> Reader {
        let reading = Reading {
            objects: self.clone(),
            subject: self.bytes_of(&info),
            sequence: 0,
            left: info.size,
            read: Sha256::new(),
            digest: info.digest,
        };
        let parts = try_unfold(reading, Reading::next);
        Box::new(StreamReader::new(Box::pin(parts)))
    }

    fn bytes_of(&self, info: &ObjectInfo) -> String {
        format!("$O.{}.C.{}", self.bucket, info.nuid)
    }

    /// The first message of a subject from a sequence on.
    async fn first(&self, subject: &str, from: u64) -> io::Result<StreamMessage> {
        let found = match self.stream.cached_info().config.allow_direct {
            true => {
                let found = self.stream.direct_get_next_for_subject(subject, Some(from));
                found.await.map_err(|error| error.to_string())
            }
            false => {
                let found = self.stream.get_first_raw_message_by_subject(subject, from);
                found.await.map_err(|error| error.to_string())
            }
        };
        found.map_err(|error| {
            let text = "NATS does not answer, or the object is not there any more";
            io::Error::other(format!("{text}: {error}"))
        })
    }
}

impl Reading {
    async fn next(mut self) -> io::Result<Option<(Bytes, Self)>> {
        if self.left == 0 {
            return Ok(None);
        }
        let message = self.objects.first(&self.subject, self.sequence + 1).await?;
        self.sequence = message.sequence;
        self.read.update(&message.payload);
        let left = self.left.checked_sub(message.payload.len());
        self.left = left.ok_or_else(damaged)?;
        if self.left == 0 {
            let read = digest(std::mem::take(&mut self.read));
            if self.digest.as_ref().is_some_and(|known| *known != read) {
                return Err(damaged());
            }
        }
        Ok(Some((message.payload, self)))
    }
}

/// As clients of NATS write it.
fn digest(bytes: Sha256) -> String {
    format!("SHA-256={}", URL_SAFE.encode(bytes.finalize()))
}

fn damaged() -> io::Error {
    let text = "the object's bytes in NATS are not those that were written";
    io::Error::new(io::ErrorKind::InvalidData, text)
}
