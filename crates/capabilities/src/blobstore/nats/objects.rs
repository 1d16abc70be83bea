//! Objects in a stream, as all clients of NATS lay them out: the last message of `$O.BUCKET.M.NAME`
//! says what an object is, and the messages of `$O.BUCKET.C.ID` are its bytes.
//!
//! The bytes are asked for message by message, when somebody wants them: those of an object that is
//! read slowly, or not at all, stay in the server. Who says what an object is says it in place of
//! what was said last, and deletes the bytes of that: so those who write at a time, in whichever host,
//! leave no bytes that nobody knows of. A connection that breaks in between may.

use std::{collections::HashMap, io, sync::Arc};

use async_nats::{
    HeaderMap, datetime,
    header::{NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, NATS_ROLLUP},
    jetstream::{
        Context,
        context::PublishErrorKind,
        message::StreamMessage,
        object_store::{ObjectInfo, ObjectOptions},
        stream::{DirectGetErrorKind, LastRawMessageErrorKind, Stream},
    },
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE};
use bytes::Bytes;
use futures::stream::try_unfold;
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncReadExt as _;
use tokio_util::io::StreamReader;
use uuid::Uuid;

use crate::{
    blobstore::store::{Reader, StoreError, unreadable},
    nats::NatsError,
};

/// Bytes of a message.
const PART: usize = 128 << 10;

/// The objects of one bucket.
pub(super) struct Objects {
    context: Context,
    stream: Stream,
    bucket: String,
}

/// What was said last of an object.
struct Last {
    sequence: u64,
    info: ObjectInfo,
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
    pub(super) fn new(context: Context, stream: Stream, bucket: &str) -> Self {
        Self {
            context,
            stream,
            bucket: bucket.to_owned(),
        }
    }

    /// What an object is, if it is there.
    pub(super) async fn info(&self, name: &str) -> Result<Option<ObjectInfo>, NatsError> {
        let last = self.last(name).await?.map(|last| last.info);
        Ok(last.filter(|info| !info.deleted))
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

    /// Makes an object or replaces one.
    pub(super) async fn write(&self, name: &str, value: &mut Reader) -> Result<(), StoreError> {
        let mut info = ObjectInfo {
            name: name.to_owned(),
            description: None,
            metadata: HashMap::new(),
            headers: None,
            options: Some(ObjectOptions {
                link: None,
                max_chunk_size: Some(PART),
            }),
            bucket: self.bucket.clone(),
            nuid: Uuid::new_v4().simple().to_string(),
            size: 0,
            chunks: 0,
            modified: None,
            digest: None,
            deleted: false,
        };
        if let Err(error) = self.write_parts(&mut info, value).await {
            // Nobody would know of those that were kept.
            let parts = self.stream.purge().filter(self.bytes_of(&info));
            if let Err(error) = parts.await {
                tracing::warn!("NATS: the parts of an object that failed stay: {error}");
            }
            return Err(error);
        }
        info.modified = Some(datetime::now());
        Ok(self.say(name, |_| Some(info.clone())).await?)
    }

    /// Writes the bytes of an object, and how many there are into what is said of it.
    async fn write_parts(
        &self,
        info: &mut ObjectInfo,
        value: &mut Reader,
    ) -> Result<(), StoreError> {
        let subject = self.bytes_of(info);
        let mut written = Sha256::new();
        loop {
            let mut part = Vec::with_capacity(PART);
            let read = value.take(PART as u64).read_to_end(&mut part).await;
            if read.map_err(unreadable)? == 0 {
                break;
            }
            written.update(&part);
            info.size += part.len();
            info.chunks += 1;
            let sent = self.context.publish(subject.clone(), part.into()).await;
            let kept = sent.map_err(NatsError::failed)?.await;
            kept.map_err(NatsError::failed)?;
        }
        info.digest = Some(digest(written));
        Ok(())
    }

    /// Deletes an object, if it is there.
    pub(super) async fn delete(&self, name: &str) -> Result<(), NatsError> {
        let deleted = |last: Option<&ObjectInfo>| {
            let last = last.filter(|last| !last.deleted)?.clone();
            Some(ObjectInfo {
                size: 0,
                chunks: 0,
                deleted: true,
                ..last
            })
        };
        self.say(name, deleted).await
    }

    /// Says what an object is, knowing what was said last, and deletes the bytes of that.
    async fn say(
        &self,
        name: &str,
        what: impl Fn(Option<&ObjectInfo>) -> Option<ObjectInfo>,
    ) -> Result<(), NatsError> {
        loop {
            let last = self.last(name).await?;
            let Some(info) = what(last.as_ref().map(|last| &last.info)) else {
                return Ok(());
            };
            let sequence = last.as_ref().map_or(0, |last| last.sequence);
            let mut headers = HeaderMap::new();
            headers.insert(NATS_ROLLUP, "sub");
            headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, sequence.to_string());
            let text = serde_json::to_vec(&info).map_err(NatsError::failed)?;
            let subject = self.subject(name);
            let sent = self
                .context
                .publish_with_headers(subject, headers, text.into());
            match sent.await.map_err(NatsError::failed)?.await {
                Ok(_) => {}
                // Somebody was faster: what they said is the last now.
                Err(error) if error.kind() == PublishErrorKind::WrongLastSequence => continue,
                Err(error) => return Err(NatsError::failed(error)),
            }
            if let Some(last) = last {
                let old = self.stream.purge().filter(self.bytes_of(&last.info));
                old.await.map_err(NatsError::failed)?;
            }
            return Ok(());
        }
    }

    async fn last(&self, name: &str) -> Result<Option<Last>, NatsError> {
        let subject = self.subject(name);
        match self.stream.get_last_raw_message_by_subject(&subject).await {
            Ok(last) => Ok(Some(Last {
                sequence: last.sequence,
                info: serde_json::from_slice(&last.payload).map_err(NatsError::failed)?,
            })),
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(NatsError::failed(error)),
        }
    }

    /// Where it is said what an object is.
    fn subject(&self, name: &str) -> String {
        format!("$O.{}.M.{}", self.bucket, URL_SAFE.encode(name))
    }

    fn bytes_of(&self, info: &ObjectInfo) -> String {
        format!("$O.{}.C.{}", self.bucket, info.nuid)
    }

    /// The first message of a subject from a sequence on.
    async fn first(&self, subject: &str, from: u64) -> io::Result<StreamMessage> {
        let failed = |error: String| {
            let text = "NATS does not answer, or the object is not there any more";
            io::Error::other(format!("{text}: {error}"))
        };
        if self.stream.cached_info().config.allow_direct {
            let found = self.stream.direct_get_next_for_subject(subject, Some(from));
            match found.await {
                Ok(found) => return Ok(found),
                // A replica that does not know it yet may have answered.
                Err(error) if error.kind() == DirectGetErrorKind::NotFound => {}
                Err(error) => return Err(failed(error.to_string())),
            }
        }
        let found = self.stream.get_first_raw_message_by_subject(subject, from);
        found.await.map_err(|error| failed(error.to_string()))
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
