//! Containers in NATS JetStream: each is an object store of its name.
//!
//! The server is shared by all namespaces: `blobstore/NAME` in the bucket of owners says whose a
//! container is. A part of an object is read from its beginning, because the server has no other
//! way; one that is replaced while it is read can't be read on.

mod objects;
#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, sync::Arc};

use async_nats::jetstream::{
    self, ErrorCode,
    context::GetStreamErrorKind,
    object_store::{self, ObjectInfo, ObjectStore},
};
use async_trait::async_trait;
use futures::StreamExt as _;
use tokio::{io::AsyncReadExt as _, time::timeout};

use super::{
    staged::{Staged, on_disk, uncancelled},
    store::{
        Container, Content, Info, PAGE, Reader, Span, Store, StoreError, check_name, unreadable,
    },
};
use crate::nats::{Nats, NatsError, Owners, WITHIN, check_bucket};
use objects::Objects;

/// The server of a host.
pub(super) struct NatsStore {
    nats: Arc<Nats>,
    owners: Owners,
}

/// One container.
struct Kept {
    /// Asked for each call, so that one meanwhile lost is told at once.
    nats: Arc<Nats>,
    store: ObjectStore,
    objects: Arc<Objects>,
    created: u64,
}

impl NatsStore {
    pub(super) fn new(nats: Arc<Nats>) -> Self {
        Self {
            nats,
            owners: Owners::default(),
        }
    }

    async fn context(&self) -> Result<jetstream::Context, NatsError> {
        let client = self.nats.client().await?;
        Ok(jetstream::new(client.clone()))
    }

    async fn check_owner(
        &self,
        context: &jetstream::Context,
        namespace: &str,
        name: &str,
    ) -> Result<(), NatsError> {
        let owned = format!("blobstore/{name}");
        self.owners.check(context, namespace, &owned).await
    }

    /// A container that is there, whosever it is.
    async fn look(
        &self,
        context: &jetstream::Context,
        name: &str,
    ) -> Result<Option<Kept>, NatsError> {
        let stream = match context.get_stream(format!("OBJ_{name}")).await {
            Ok(stream) => stream,
            Err(error) => {
                return match error.kind() {
                    GetStreamErrorKind::JetStream(error)
                        if error.error_code() == ErrorCode::STREAM_NOT_FOUND =>
                    {
                        Ok(None)
                    }
                    _ => Err(NatsError::failed(error)),
                };
            }
        };
        let created = stream.cached_info().created.unix_timestamp();
        let store = context.get_object_store(name).await;
        Ok(Some(Kept {
            nats: self.nats.clone(),
            store: store.map_err(NatsError::failed)?,
            objects: Arc::new(Objects::new(context.clone(), stream, name)),
            created: u64::try_from(created).unwrap_or_default(),
        }))
    }
}

#[async_trait]
impl Store for NatsStore {
    async fn create(&self, namespace: &str, name: &str) -> Result<Arc<dyn Container>, StoreError> {
        check_name(name)?;
        check_bucket(name)?;
        let context = self.context().await?;
        self.check_owner(&context, namespace, name).await?;
        if let Some(known) = self.look(&context, name).await? {
            return Ok(Arc::new(known));
        }
        let config = object_store::Config {
            bucket: name.to_owned(),
            ..object_store::Config::default()
        };
        let made = context.create_object_store(config).await;
        made.map_err(NatsError::failed)?;
        match self.look(&context, name).await? {
            Some(made) => Ok(Arc::new(made)),
            None => Err(StoreError::Gone),
        }
    }

    async fn find(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Arc<dyn Container>>, StoreError> {
        if check_bucket(name).is_err() {
            return Ok(None);
        }
        let context = self.context().await?;
        // What is not there becomes nobody's by being looked for.
        let Some(found) = self.look(&context, name).await? else {
            return Ok(None);
        };
        self.check_owner(&context, namespace, name).await?;
        Ok(Some(Arc::new(found)))
    }

    /// It stays its namespace's, whose name it can be again.
    async fn delete(&self, namespace: &str, name: &str) -> Result<(), StoreError> {
        if self.find(namespace, name).await?.is_some() {
            let context = self.context().await?;
            let deleted = context.delete_object_store(name).await;
            deleted.map_err(NatsError::failed)?;
        }
        Ok(())
    }
}

impl Kept {
    async fn objects(&self) -> Result<&Arc<Objects>, NatsError> {
        self.nats.client().await?;
        Ok(&self.objects)
    }

    async fn look(&self, object: &str) -> Result<Option<ObjectInfo>, StoreError> {
        if check_name(object).is_err() {
            return Ok(None);
        }
        Ok(self.objects().await?.info(object).await?)
    }
}

#[async_trait]
impl Container for Kept {
    fn created(&self) -> u64 {
        self.created
    }

    async fn info(&self, object: &str) -> Result<Option<Info>, StoreError> {
        let info = self.look(object).await?;
        Ok(info.map(|info| Info {
            created: info
                .modified
                .and_then(|at| u64::try_from(at.unix_timestamp()).ok())
                .unwrap_or_default(),
            size: info.size as u64,
        }))
    }

    async fn read(&self, object: &str, span: Span) -> Result<Option<Content>, StoreError> {
        let Some(info) = self.look(object).await? else {
            return Ok(None);
        };
        let (first, size) = span.within(info.size as u64);
        let empty: Reader = Box::new(tokio::io::empty());
        let reader = match size {
            0 => empty,
            size => {
                let mut reader = self.objects.read(info);
                let mut before = (&mut reader).take(first);
                let skipped = tokio::io::copy(&mut before, &mut tokio::io::sink()).await;
                skipped.map_err(unreadable)?;
                Box::new(reader.take(size))
            }
        };
        Ok(Some(Content { size, reader }))
    }

    async fn write(&self, object: &str, mut value: Staged) -> Result<(), StoreError> {
        check_name(object)?;
        let (objects, object) = (self.objects().await?.clone(), object.to_owned());
        uncancelled(async move {
            let (mut reader, _value) = on_disk(move || Ok((value.reader()?, value))).await?;
            objects.write(&object, &mut reader).await
        })
        .await
    }

    async fn delete(&self, names: &[String]) -> Result<(), StoreError> {
        let (objects, names) = (self.objects().await?.clone(), names.to_vec());
        uncancelled(async move {
            for name in names.iter().filter(|name| check_name(name).is_ok()) {
                objects.delete(name).await?;
            }
            Ok(())
        })
        .await
    }

    async fn list(&self, after: Option<&str>) -> Result<Vec<String>, StoreError> {
        self.nats.client().await.map_err(NatsError::from)?;
        let mut all = self.store.list().await.map_err(NatsError::failed)?;
        // The server gives all of them, in the order of their writing.
        let mut first = BTreeSet::new();
        loop {
            let next = timeout(WITHIN, all.next()).await;
            match next.map_err(NatsError::failed)? {
                None => return Ok(first.into_iter().collect()),
                Some(Ok(info)) => {
                    if after.is_none_or(|after| info.name.as_str() > after) {
                        first.insert(info.name);
                    }
                    if first.len() > PAGE {
                        first.pop_last();
                    }
                }
                Some(Err(error)) => return Err(NatsError::failed(error).into()),
            }
        }
    }
}

impl From<NatsError> for StoreError {
    fn from(error: NatsError) -> Self {
        match error {
            NatsError::NotOwned => Self::NotOwned,
            error => Self::Other(error.to_string()),
        }
    }
}
