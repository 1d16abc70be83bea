//! Containers in a server that speaks S3: each is a bucket of its name, and objects have their names
//! as keys.
//!
//! The server is shared by all namespaces, and perhaps by others: the object [`OWNER`] in a bucket
//! says of which namespace it is, `*` is everybody's. A bucket without one is nobody's, so that no
//! workload reaches what was there before. Large objects go in parts and appear when all are there.

mod client;
#[cfg(test)]
mod tests;

use std::{
    io,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use futures::{StreamExt as _, TryStreamExt as _, stream::try_unfold};
use parking_lot::Mutex;
use reqwest::{
    Method, Response,
    header::{ETAG, HeaderMap, HeaderName, HeaderValue, IF_NONE_MATCH, LAST_MODIFIED, RANGE},
};
use rusty_s3::{
    Bucket,
    actions::{
        AbortMultipartUpload, CompleteMultipartUpload, CompleteMultipartUploadResponse,
        CreateBucket, CreateMultipartUpload, DeleteBucket, DeleteObject, DeleteObjects, GetObject,
        HeadObject, ListObjectsV2, ObjectIdentifier, PutObject, UploadPart,
    },
};
use tokio::{io::AsyncReadExt as _, sync::Semaphore};
use tokio_util::io::StreamReader;
use waft_ir::Failure;

use super::{
    staged::{Staged, on_disk, uncancelled},
    store::{
        Container, Content, Info, PAGE, Reader, Span, Store, StoreError, check_name, unreadable,
    },
};
use client::{Client, Refused};

pub use client::S3Server;

/// The object that says whose a bucket is. No guest sees it.
const OWNER: &str = ".waft-owner";
/// Bytes of an object that are sent at once; more go in parts of so many. The least that servers
/// take is 5 MiB, and 10 000 parts.
const PART: u64 = 8 << 20;
/// Objects that are sent at a time, each with a part in memory.
const SENDING: usize = 8;
/// Objects that are deleted at a time.
const AT_A_TIME: usize = 16;
/// Objects that one request deletes: the server has to answer it in time.
const TOGETHER: usize = 50;
/// The sum of what is sent.
const CONTENT_MD5: HeaderName = HeaderName::from_static("content-md5");

/// How long it is relied on that a bucket is still its namespace's: it may be deleted, and made again by
/// another one, while somebody holds it.
const STILL_OURS: Duration = Duration::from_secs(1);

/// The server of a host.
pub(super) struct S3(Arc<Client>, Arc<Semaphore>);

/// One container.
struct Kept {
    client: Arc<Client>,
    bucket: Bucket,
    namespace: String,
    created: u64,
    sending: Arc<Semaphore>,
    /// When it was known to be its namespace's.
    looked: Mutex<Instant>,
}

/// What is known of a bucket that a namespace may use.
struct Owned {
    created: u64,
    /// What [`OWNER`] says.
    owner: String,
}

/// An object on its way.
struct Sending {
    client: Arc<Client>,
    bucket: Bucket,
    object: String,
}

impl S3 {
    /// Nothing is connected to yet.
    pub(super) fn new(server: &S3Server, extra_ca: &[PathBuf]) -> Result<Self, Failure> {
        let client = Client::new(server, extra_ca)?;
        Ok(Self(Arc::new(client), Arc::new(Semaphore::new(SENDING))))
    }

    fn kept(&self, namespace: &str, bucket: Bucket, created: u64) -> Kept {
        Kept {
            client: self.0.clone(),
            bucket,
            namespace: namespace.into(),
            created,
            sending: self.1.clone(),
            looked: Mutex::new(Instant::now()),
        }
    }
}

#[async_trait]
impl Store for S3 {
    async fn create(&self, namespace: &str, name: &str) -> Result<Arc<dyn Container>, StoreError> {
        let bucket = self.0.bucket(name)?;
        if let Some(known) = look(&self.0, namespace, &bucket).await? {
            return Ok(Arc::new(self.kept(namespace, bucket, known.created)));
        }
        let action = CreateBucket::new(&bucket, self.0.credentials());
        let body = action.body();
        match self.0.send(Method::PUT, &bucket, &action, None, body).await {
            // Somebody was faster: whose it is says the owner's object.
            Ok(_) | Err(Refused::Conflict) => {}
            Err(error) => return Err(error.into()),
        }
        mark(&self.0, &bucket, namespace.to_owned()).await?;
        match look(&self.0, namespace, &bucket).await? {
            Some(known) => Ok(Arc::new(self.kept(namespace, bucket, known.created))),
            None => Err(StoreError::Gone),
        }
    }

    async fn find(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Arc<dyn Container>>, StoreError> {
        // What can't be a bucket is not there.
        let Ok(bucket) = self.0.bucket(name) else {
            return Ok(None);
        };
        let Some(known) = look(&self.0, namespace, &bucket).await? else {
            return Ok(None);
        };
        Ok(Some(Arc::new(self.kept(namespace, bucket, known.created))))
    }

    async fn delete(&self, namespace: &str, name: &str) -> Result<(), StoreError> {
        let Ok(bucket) = self.0.bucket(name) else {
            return Ok(());
        };
        let Some(known) = look(&self.0, namespace, &bucket).await? else {
            return Ok(());
        };
        let kept = self.kept(namespace, bucket, known.created);
        match kept.clear().await {
            Ok(()) => {}
            // Somebody else was faster.
            Err(StoreError::Gone) => return Ok(()),
            Err(error) => return Err(error),
        }
        uncancelled(async move { kept.remove().await }).await
    }
}

#[async_trait]
impl Container for Kept {
    fn created(&self) -> u64 {
        self.created
    }

    async fn info(&self, object: &str) -> Result<Option<Info>, StoreError> {
        if check_object(object).is_err() {
            return Ok(None);
        }
        self.still_ours().await?;
        let action = HeadObject::new(&self.bucket, Some(self.client.credentials()), object);
        let found = self
            .client
            .send(Method::HEAD, &self.bucket, &action, None, "");
        match found.await {
            Ok(found) => Ok(Some(Info {
                created: modified(&found),
                size: client::length(&found),
            })),
            Err(Refused::Missing | Refused::NoBucket) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn read(&self, object: &str, span: Span) -> Result<Option<Content>, StoreError> {
        let Some(info) = self.info(object).await? else {
            return Ok(None);
        };
        let (first, size) = span.within(info.size);
        if size == 0 {
            let reader: Reader = Box::new(tokio::io::empty());
            return Ok(Some(Content { size, reader }));
        }
        let range = format!("bytes={first}-{}", first + size - 1);
        let range = HeaderValue::try_from(range).map_err(io::Error::other)?;
        let headers = HeaderMap::from_iter([(RANGE, range)]);
        let action = GetObject::new(&self.bucket, Some(self.client.credentials()), object);
        let found = self
            .client
            .send(Method::GET, &self.bucket, &action, Some(headers), "");
        let found = match found.await {
            Ok(found) => found,
            Err(Refused::Missing | Refused::NoBucket) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        // It may have been replaced by a shorter one since.
        let size = client::length(&found);
        let bytes = try_unfold(found, |mut found| async move {
            let next = client::chunk(&mut found).await.map_err(io::Error::other)?;
            Ok::<_, io::Error>(next.map(|bytes| (bytes, found)))
        });
        let reader = Box::new(StreamReader::new(Box::pin(bytes)).take(size));
        Ok(Some(Content { size, reader }))
    }

    async fn write(&self, object: &str, mut value: Staged) -> Result<(), StoreError> {
        check_object(object)?;
        self.still_ours().await?;
        let sending = Sending {
            client: self.client.clone(),
            bucket: self.bucket.clone(),
            object: object.to_owned(),
        };
        let permits = self.sending.clone();
        uncancelled(async move {
            let _permit = permits.acquire_owned().await.map_err(io::Error::other)?;
            let (mut reader, value) = on_disk(move || Ok((value.reader()?, value))).await?;
            match value.size() {
                size if size <= PART => sending.whole(&mut reader).await,
                _ => sending.in_parts(&mut reader).await,
            }
        })
        .await
    }

    async fn delete(&self, objects: &[String]) -> Result<(), StoreError> {
        self.still_ours().await?;
        // As they are needed: a guest may name hundreds of thousands.
        let deleting = futures::stream::iter(0..objects.len()).map(|at| async move {
            match check_object(&objects[at]) {
                Ok(()) => delete(&self.client, &self.bucket, &objects[at]).await,
                // It can't be there.
                Err(_) => Ok(()),
            }
            .map_err(StoreError::from)
        });
        deleting.buffer_unordered(AT_A_TIME).try_collect().await
    }

    async fn list(&self, after: Option<&str>) -> Result<Vec<String>, StoreError> {
        self.still_ours().await?;
        let mut names = Vec::new();
        let mut last = after.map(ToOwned::to_owned);
        // A page may be short of what is no object of a container.
        loop {
            let (keys, is_last) = self.keys(last).await?;
            last = keys.last().cloned();
            names.extend(keys.into_iter().filter(|key| check_object(key).is_ok()));
            if names.len() >= PAGE || is_last {
                names.truncate(PAGE);
                return Ok(names);
            }
        }
    }

    async fn clear(&self) -> Result<(), StoreError> {
        let mut last = None;
        loop {
            self.still_ours().await?;
            let (keys, is_last) = self.keys(last).await?;
            last = keys.last().cloned();
            let keys = keys.into_iter().filter(|key| key != OWNER);
            let (names, others): (Vec<_>, Vec<_>) = keys.partition(|key| check_object(key).is_ok());
            self.delete(&names).await?;
            self.delete_others(others).await?;
            if is_last {
                return Ok(());
            }
        }
    }
}

impl Kept {
    /// Looks whether the bucket is still its namespace's, if that was not looked at just now.
    async fn still_ours(&self) -> Result<(), StoreError> {
        if self.looked.lock().elapsed() < STILL_OURS {
            return Ok(());
        }
        let known = look(&self.client, &self.namespace, &self.bucket).await?;
        known.ok_or(StoreError::Gone)?;
        *self.looked.lock() = Instant::now();
        Ok(())
    }

    /// Deletes the bucket, with nothing in it but its owner's object. One that stays, stays its owner's.
    async fn remove(&self) -> Result<(), StoreError> {
        let (client, bucket) = (&self.client, &self.bucket);
        // Somebody else may have deleted it meanwhile, and another namespace made it.
        let Some(known) = look(client, &self.namespace, bucket).await? else {
            return Ok(());
        };
        let action = DeleteBucket::new(bucket, client.credentials());
        let deleted = match delete(client, bucket, OWNER).await {
            Ok(()) => client.send(Method::DELETE, bucket, &action, None, "").await,
            // Perhaps it is deleted, and only the answer was lost.
            Err(error) => Err(error),
        };
        let error = match deleted {
            Ok(_) | Err(Refused::NoBucket) => return Ok(()),
            Err(error) => error,
        };
        if let Err(error) = mark(client, bucket, known.owner).await {
            tracing::warn!(
                "S3: the bucket `{}` is nobody's now: {error}",
                bucket.name()
            );
        }
        Err(error.into())
    }

    /// The first keys after this one, whatever they are, and whether they are the last.
    async fn keys(&self, after: Option<String>) -> Result<(Vec<String>, bool), StoreError> {
        let mut action = ListObjectsV2::new(&self.bucket, Some(self.client.credentials()));
        action.with_max_keys(PAGE);
        if let Some(after) = after {
            action.with_start_after(after);
        }
        let found = self
            .client
            .send(Method::GET, &self.bucket, &action, None, "");
        let found = match found.await {
            Ok(found) => client::text(found).await?,
            Err(Refused::NoBucket) => return Ok((Vec::new(), true)),
            Err(error) => return Err(error.into()),
        };
        let page = ListObjectsV2::parse_response(&found).map_err(client::malformed)?;
        let is_last = page.next_continuation_token.is_none() || page.contents.is_empty();
        let keys = page.contents.into_iter().map(|object| object.key);
        Ok((keys.collect(), is_last))
    }

    /// Deletes keys that the server has listed and that can't be part of a URL: other programs made
    /// them.
    async fn delete_others(&self, keys: Vec<String>) -> Result<(), StoreError> {
        let keys: Vec<_> = keys.into_iter().map(ObjectIdentifier::new).collect();
        for keys in keys.chunks(TOGETHER) {
            let credentials = Some(self.client.credentials());
            let mut action = DeleteObjects::new(&self.bucket, credentials, keys.iter());
            action.set_quiet(true);
            let (body, sum) = action.clone().body_with_md5();
            let sum = HeaderValue::try_from(sum).map_err(io::Error::other)?;
            let sum = HeaderMap::from_iter([(CONTENT_MD5, sum)]);
            let done = self
                .client
                .send(Method::POST, &self.bucket, &action, Some(sum), body);
            let done = client::text(done.await?).await?;
            // Of those that were deleted it says nothing.
            if let Some(code) = client::code(&done) {
                let text = format!("S3 refuses to delete objects of other programs: {code}");
                return Err(StoreError::Other(text));
            }
        }
        Ok(())
    }
}

impl Sending {
    async fn whole(&self, reader: &mut Reader) -> Result<(), StoreError> {
        let bytes = part(reader).await?;
        let action = PutObject::new(&self.bucket, Some(self.client.credentials()), &self.object);
        let sent = self
            .client
            .send(Method::PUT, &self.bucket, &action, None, bytes);
        sent.await?;
        Ok(())
    }

    async fn in_parts(&self, reader: &mut Reader) -> Result<(), StoreError> {
        let credentials = Some(self.client.credentials());
        let action = CreateMultipartUpload::new(&self.bucket, credentials, &self.object);
        let begun = self
            .client
            .send(Method::POST, &self.bucket, &action, None, "");
        let begun = client::text(begun.await?).await?;
        let begun = CreateMultipartUpload::parse_response(&begun).map_err(client::malformed)?;
        let id = begun.upload_id();
        let sent = self.parts(reader, id).await;
        if sent.is_err() {
            let action = AbortMultipartUpload::new(&self.bucket, credentials, &self.object, id);
            let given_up = self
                .client
                .send(Method::DELETE, &self.bucket, &action, None, "");
            if let Err(error) = given_up.await {
                tracing::warn!("S3: the parts of an object that failed stay: {error}");
            }
        }
        sent
    }

    async fn parts(&self, reader: &mut Reader, id: &str) -> Result<(), StoreError> {
        let credentials = Some(self.client.credentials());
        let mut tags = Vec::new();
        for number in 1.. {
            let bytes = part(reader).await?;
            if bytes.is_empty() {
                break;
            }
            let action = UploadPart::new(&self.bucket, credentials, &self.object, number, id);
            let sent = self
                .client
                .send(Method::PUT, &self.bucket, &action, None, bytes);
            let sent = sent.await?;
            let tag = sent.headers().get(ETAG).and_then(|tag| tag.to_str().ok());
            let tag = tag.ok_or_else(|| client::malformed("a part without an ETag"))?;
            tags.push(tag.to_owned());
        }
        self.complete(id, &tags).await
    }

    /// Puts the object together of its parts.
    async fn complete(&self, id: &str, tags: &[String]) -> Result<(), StoreError> {
        let credentials = Some(self.client.credentials());
        let tags = tags.iter().map(String::as_str);
        let action =
            CompleteMultipartUpload::new(&self.bucket, credentials, &self.object, id, tags);
        let body = action.clone().body();
        let done = self.client.complete(&self.bucket, &action, body).await?;
        CompleteMultipartUploadResponse::parse(done.trim()).map_err(client::malformed)?;
        Ok(())
    }
}

/// A bucket, if it is there and a namespace may use it.
async fn look(
    client: &Client,
    namespace: &str,
    bucket: &Bucket,
) -> Result<Option<Owned>, StoreError> {
    let action = GetObject::new(bucket, Some(client.credentials()), OWNER);
    let found = client.send(Method::GET, bucket, &action, None, "").await;
    let found = match found {
        Ok(found) => found,
        Err(Refused::NoBucket) => return Ok(None),
        Err(Refused::Missing) => {
            return Err(StoreError::Other(format!(
                "the bucket `{}` of the S3 server is nobody's: its administrator may write a \
                 namespace, or `*` for all, into its object `{OWNER}`",
                bucket.name()
            )));
        }
        Err(error) => return Err(error.into()),
    };
    let created = modified(&found);
    let owner = client::text(found).await?;
    match owner.trim() {
        whose if whose == "*" || whose == namespace => Ok(Some(Owned { created, owner })),
        _ => Err(StoreError::NotOwned),
    }
}

/// Says whose a bucket is, if nobody has yet.
async fn mark(client: &Client, bucket: &Bucket, owner: String) -> Result<(), Refused> {
    let action = PutObject::new(bucket, Some(client.credentials()), OWNER);
    let first = HeaderMap::from_iter([(IF_NONE_MATCH, HeaderValue::from_static("*"))]);
    let marked = client.send(Method::PUT, bucket, &action, Some(first), owner);
    match marked.await {
        Ok(_) | Err(Refused::Conflict) => Ok(()),
        Err(error) => Err(error),
    }
}

async fn delete(client: &Client, bucket: &Bucket, object: &str) -> Result<(), Refused> {
    let action = DeleteObject::new(bucket, Some(client.credentials()), object);
    match client.send(Method::DELETE, bucket, &action, None, "").await {
        Ok(_) | Err(Refused::Missing | Refused::NoBucket) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The next part of a value, empty at its end.
async fn part(reader: &mut Reader) -> Result<Vec<u8>, StoreError> {
    let mut bytes = Vec::new();
    let read = reader.take(PART).read_to_end(&mut bytes).await;
    read.map_err(unreadable)?;
    Ok(bytes)
}

/// A key is part of a URL, in which `.` and `..` and nothing between two `/` mean something else.
fn check_object(name: &str) -> Result<(), StoreError> {
    check_name(name)?;
    if name == OWNER || name.split('/').any(|part| matches!(part, "" | "." | "..")) {
        let name = name.escape_debug();
        let text = format!("`{name}` can't be the name of an object in S3");
        return Err(StoreError::Other(text));
    }
    Ok(())
}

fn modified(found: &Response) -> u64 {
    let at = found.headers().get(LAST_MODIFIED);
    let at = at.and_then(|at| at.to_str().ok());
    let at = at.and_then(|at| jiff::fmt::rfc2822::parse(at).ok());
    at.and_then(|at| u64::try_from(at.timestamp().as_second()).ok())
        .unwrap_or_default()
}
